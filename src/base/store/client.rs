//! Requests to stores: which client a URL needs, and what went wrong in words.

use std::collections::HashMap;
use std::error::Error as Cause;
use std::io::{Error as IoError, ErrorKind};
use std::iter::successors;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path as Key;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig};
use reqwest::Url;
use tokio::runtime::{Builder, Runtime};

use super::url::is_web;
use crate::base::{Error, Result, locked};

/// Threads that wait for answers; those that ask are others.
const THREADS: usize = 2;
/// How often a request that failed on its way is made again, with growing pauses, which add up to about 20 seconds.
const RETRIES: usize = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// No request is made again after this time.
const PATIENCE: Duration = Duration::from_secs(50);
/// Most characters of a server's words that are shown.
const LONGEST_ANSWER: usize = 300;

/// How often a request is made again that the client does not repeat: its answer broke off, or it removes something.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(200);

/// A place in a store.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) key: Key,
    /// What stands before the key in the URL, with the last `/`; of a web server nothing.
    base: String,
}

impl Place {
    /// Where a URL leads.
    pub(super) fn of(url: &Path) -> Result<Self> {
        let text = url.to_str().ok_or_else(|| Error::content(url, "is a URL that is not UTF-8"))?;
        let unclear = |e: &dyn std::fmt::Display| Error::content(url, format!("is not a URL that can be used: {e}"));
        if !is_web(url) {
            // Keys are taken as they are: `#`, `?` and `%` belong to them.
            let start = text.find("://").map_or(0, |at| at + 3);
            let (bucket, key) = text[start..].split_once('/').unwrap_or((&text[start..], ""));
            let base = format!("{}{bucket}/", &text[..start]);
            let parsed = Url::parse(&base).map_err(|e| unclear(&e))?;
            let key = Key::parse(key.trim_end_matches('/')).map_err(|e| unclear(&e))?;
            return Ok(Self { store: store(url, &parsed)?, key, base });
        }
        let parsed = Url::parse(text).map_err(|e| unclear(&e))?;
        if parsed.query().is_some() || parsed.fragment().is_some() {
            let reason = "has a part behind ? or #, as signed URLs have, which is not sent; download the file, or give \
                          credentials and the URL s3://, gs:// or az://";
            return Err(Error::content(url, reason));
        }
        let key = Key::from_url_path(parsed.path()).map_err(|e| unclear(&e))?;
        // Nothing is listed there, so that nothing is put behind it.
        let base = String::new();
        Ok(Self { store: store(url, &parsed)?, key, base })
    }

    /// The URL of an object of the same store.
    pub(super) fn url(&self, key: &Key) -> String {
        format!("{}{key}", self.base)
    }
}

/// The client of a URL's store, made once.
fn store(url: &Path, parsed: &Url) -> Result<Arc<dyn ObjectStore>> {
    static STORES: LazyLock<Mutex<HashMap<String, Arc<dyn ObjectStore>>>> = LazyLock::new(Mutex::default);
    // What stores have under https:// as well is open to all there.
    let scheme = match is_web(url) {
        true => ObjectStoreScheme::Http,
        false => ObjectStoreScheme::parse(parsed).map_err(|e| Error::content(url, e))?.0,
    };
    let name = parsed.as_str().strip_suffix(parsed.path()).unwrap_or(parsed.as_str());
    let mut stores = locked(&STORES);
    if let Some(known) = stores.get(name) {
        return Ok(Arc::clone(known));
    }
    let made = make(&scheme, parsed, name).map_err(|e| Error::read(url, in_words(url, &e)))?;
    stores.insert(name.to_owned(), Arc::clone(&made));
    Ok(made)
}

fn make(scheme: &ObjectStoreScheme, url: &Url, host: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    // Whoever chose another before keeps it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let backoff = BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: LONGEST_PAUSE, base: 2.0 };
    let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: PATIENCE };
    Ok(match scheme {
        // Not every server of the protocol removes several objects at once.
        ObjectStoreScheme::AmazonS3 => Arc::new(
            AmazonS3Builder::from_env()
                .with_url(url.as_str())
                .with_retry(retry)
                .with_disable_bulk_delete(true)
                .build()?,
        ),
        ObjectStoreScheme::GoogleCloudStorage => {
            Arc::new(GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry).build()?)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            Arc::new(MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry).build()?)
        }
        _ => {
            // Whoever writes http:// means it.
            let options = ClientOptions::new().with_allow_http(true);
            Arc::new(HttpBuilder::new().with_url(host).with_client_options(options).with_retry(retry).build()?)
        }
    })
}

/// Waits for the answer to a request.
pub(super) fn answer<T>(request: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let start = || Builder::new_multi_thread().worker_threads(THREADS).thread_name("store").enable_all().build();
    RUNTIME.get_or_init(|| start().expect("the system gives no threads")).block_on(request)
}

/// Makes a request again that broke off, unless the client did so before it gave up.
pub(super) async fn again<T, R>(request: impl Fn() -> R) -> object_store::Result<T>
where
    R: Future<Output = object_store::Result<T>>,
{
    let mut tried = 0;
    loop {
        let done = request().await;
        match &done {
            Err(fault) if tried < TRIES && is_broken(fault) => {}
            _ => return done,
        }
        tokio::time::sleep(PAUSE * 2_u32.pow(tried)).await;
        tried += 1;
    }
}

/// Whether it may help to ask again: nobody has yet, and the server did not say no.
fn is_broken(error: &object_store::Error) -> bool {
    let text = error.to_string();
    let has_answered = ["Server returned", "non-partial"].iter().any(|words| text.contains(words));
    matches!(error, object_store::Error::Generic { .. }) && !has_answered && retries(error).is_none()
}

/// An error and its causes, from the outside in.
pub(super) fn causes(error: &object_store::Error) -> impl Iterator<Item = &(dyn Cause + 'static)> {
    successors(Some(error as &(dyn Cause + 'static)), |&fault| fault.source())
}

/// How often the client made a request again.
fn retries(error: &object_store::Error) -> Option<u32> {
    causes(error).find_map(|fault| {
        let text = fault.to_string();
        text.split_once(", after ")?.1.split_once(" retries")?.0.parse().ok()
    })
}

/// What went wrong, and what to do about it.
pub(super) fn in_words(url: &Path, error: &object_store::Error) -> IoError {
    use object_store::Error as E;
    let said = root(error);
    let (kind, words) = match error {
        E::NotFound { .. } | E::Generic { .. } if said.contains("NoSuchBucket") => {
            (ErrorKind::NotFound, format!("there is no such bucket on this server; check {}", endpoint(url)))
        }
        E::NotFound { .. } => (ErrorKind::NotFound, "there is no such object".to_owned()),
        E::Unauthenticated { .. } | E::PermissionDenied { .. } => {
            (ErrorKind::PermissionDenied, format!("access is refused ({said}); {}", credentials(url)))
        }
        E::Precondition { .. } => {
            (ErrorKind::Other, "it was changed while it was read; run the command again".to_owned())
        }
        E::NotSupported { .. } | E::Generic { .. }
            if said.contains("non-partial") || said.contains("Range request") =>
        {
            let words = "the server does not give parts of a file; download the file and name the copy";
            (ErrorKind::Unsupported, words.to_owned())
        }
        E::Generic { .. } => {
            let words = format!("{said}; check the connection, {} and the credentials", endpoint(url));
            (ErrorKind::ConnectionAborted, words)
        }
        _ => (ErrorKind::Other, said),
    };
    IoError::new(kind, words)
}

/// The innermost cause in one line, and how often it was tried.
fn root(error: &object_store::Error) -> String {
    let cause = causes(error).last().map(|cause| cause.to_string()).unwrap_or_default();
    let tried = retries(error).map_or_else(String::new, |count| format!(", after {count} retries"));
    let mut text = cause.split_whitespace().collect::<Vec<_>>().join(" ");
    // Stores say it in XML: <Error><Code>NoSuchBucket</Code><Message>...</Message>...</Error>.
    let part =
        |name: &str| text.split_once(&format!("<{name}>"))?.1.split_once(&format!("</{name}>")).map(|(part, _)| part);
    if let (Some(code), Some(message)) = (part("Code"), part("Message")) {
        text = format!("{code}: {message}");
    }
    let shown: String = text.chars().take(LONGEST_ANSWER).collect();
    let more = if shown.len() < text.len() { "..." } else { "" };
    format!("{shown}{more}{tried}")
}

fn family(url: &Path) -> &str {
    url.to_str().and_then(|url| url.split("://").next()).unwrap_or_default()
}

/// What says where the store is.
fn endpoint(url: &Path) -> &'static str {
    match family(url) {
        "s3" | "s3a" => {
            "AWS_REGION, AWS_ENDPOINT_URL (for servers other than Amazon's; with AWS_ALLOW_HTTP=true for http://)"
        }
        "gs" => "the name of the bucket",
        "http" | "https" => "the URL",
        _ => "AZURE_STORAGE_ACCOUNT_NAME",
    }
}

/// What says who asks.
fn credentials(url: &Path) -> &'static str {
    match family(url) {
        "s3" | "s3a" => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a bucket that is open to all"
        }
        "gs" => {
            "set GOOGLE_APPLICATION_CREDENTIALS to a service account's key file, or GOOGLE_SKIP_SIGNATURE=true for \
             an open bucket"
        }
        "http" | "https" => {
            "a web server that requires a login is not supported; download the file, or give its s3://, gs:// or az:// URL"
        }
        _ => {
            "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_SKIP_SIGNATURE=true for an open container"
        }
    }
}
