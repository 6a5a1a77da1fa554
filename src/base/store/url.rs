//! URLs as paths.

use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};

/// What the URLs of stores begin with.
const SCHEMES: [&str; 8] = ["s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://", "http://", "https://"];
/// Those of web servers, which do not list what they have.
const WEB: [&str; 2] = ["http://", "https://"];

/// Whether a path is the URL of an object or of a folder in a store.
pub fn is_url(path: &Path) -> bool {
    begins(path, &SCHEMES)
}

/// Whether it is the URL of a web server.
pub fn is_web(path: &Path) -> bool {
    begins(path, &WEB)
}

fn begins(path: &Path, schemes: &[&str]) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    schemes.iter().any(|scheme| text.get(..scheme.len()).is_some_and(|begin| begin == scheme.as_bytes()))
}

/// Refuses a URL in a place that takes files alone; `use_instead` is what to do.
pub fn refuse(path: &Path, use_instead: &str) -> Result<()> {
    if is_url(path) { Err(Error::content(path, format!("is a URL; {use_instead}"))) } else { Ok(()) }
}

/// The URL of what is called `name` in the folder `url`.
pub(crate) fn below(url: &Path, name: &str) -> PathBuf {
    let folder = url.to_string_lossy();
    format!("{}/{name}", folder.trim_end_matches('/')).into()
}

/// An object as a listing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its URL.
    pub(crate) url: PathBuf,
    /// Its name below the folder, with `/` between the parts.
    pub(crate) name: String,
    /// Bytes of it.
    pub(crate) bytes: u64,
    /// When it was last changed, in seconds since 1970.
    pub(crate) modified: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        for url in ["s3://bucket/a.tif", "gs://b/x/", "az://c/a", "http://localhost:1/a.png", "https://h/a.tif"] {
            assert!(is_url(Path::new(url)), "{url}");
        }
        for path in ["s3:/bucket/a.tif", "a.tif", "file:///a.tif", "scenes/s3://x", "", "C:\\a.tif"] {
            assert!(!is_url(Path::new(path)), "{path}");
        }
        assert!(is_web(Path::new("https://h/a")) && !is_web(Path::new("s3://b/a")));
        // A URL is a path whose parts are known.
        let url = Path::new("s3://bucket/scenes/north/a.tif");
        assert_eq!(url.file_stem().unwrap(), "a");
        assert_eq!(url.strip_prefix("s3://bucket/scenes/").unwrap(), Path::new("north/a.tif"));
        assert_eq!(below(Path::new("s3://bucket/out/"), "x/a.npy"), Path::new("s3://bucket/out/x/a.npy"));
    }
}
