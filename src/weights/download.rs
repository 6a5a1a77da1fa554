//! Files from the web into the user's cache: whole, verified, or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use etcetera::BaseStrategy;
use ureq::http::StatusCode;

use crate::base::event::{Event, Sink, Task};
use crate::base::files::create_folder;
use crate::base::words::mebibytes;
use crate::base::{Error, Result};
use crate::nn::model::Checksum;

/// Overrides the folder of the cache.
const CACHE_VARIABLE: &str = "SEGTOOL_CACHE";
/// A published beginning of a checksum has at least this many digits.
const SHORTEST_CHECKSUM: usize = 8;
/// Pauses before a broken transfer goes on.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];
/// For a connection, for the head of an answer, and between two parts of its body.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: u32 = 10;
const MIB: u64 = 1 << 20;
/// Most bytes of a file's name that are kept; file systems take 255, with what is put before and after it.
const LONGEST_NAME: usize = 200;

/// A file on the web whose checksum is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    url: String,
    /// The SHA-256 in lower-case hexadecimal digits, or the beginning of it.
    sha256: String,
}

impl Remote {
    /// A URL with the file's SHA-256 or at least 8 digits from its beginning.
    pub(super) fn new(url: &str, sha256: &str) -> Result<Self> {
        let sha256 = sha256.to_lowercase();
        if !(SHORTEST_CHECKSUM..=64).contains(&sha256.len()) || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            let expected = format!("{SHORTEST_CHECKSUM} to 64 hexadecimal digits of the SHA-256 of {url}");
            return Err(Error::invalid("sha256", format!("'{sha256}'"), expected));
        }
        Ok(Self { url: url.into(), sha256 })
    }

    /// A URL that ends with `#sha256=...`, or whose file name ends with a dash and digits of the checksum, as PyTorch's
    /// and OpenMMLab's do.
    pub(super) fn parse(url: &str) -> Result<Self> {
        if let Some((url, sha256)) = url.split_once("#sha256=") {
            return Self::new(url, sha256);
        }
        let stem = file_name(url).rsplit_once('.').map_or("", |(stem, _)| stem);
        match stem.rsplit_once('-') {
            Some((_, digits)) if digits.len() >= SHORTEST_CHECKSUM && digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Self::new(url, digits)
            }
            _ => {
                let expected = format!("followed by the file's SHA-256, by which it is verified: {url}#sha256=...");
                Err(Error::invalid("weights", url, expected))
            }
        }
    }

    /// Where it lies in the cache, or will.
    pub(super) fn path(&self) -> Result<PathBuf> {
        Ok(cache()?.join(format!("{}-{}", &self.sha256[..SHORTEST_CHECKSUM], file_name(&self.url))))
    }
}

/// The last part of a URL's path; of a very long one, its end, which tells the type of the file.
fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let name = path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("weights");
    &name[name.ceil_char_boundary(name.len().saturating_sub(LONGEST_NAME))..]
}

/// The folder that downloads are kept in.
pub fn cache() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(CACHE_VARIABLE).filter(|value| !value.is_empty()) {
        return Ok(folder.into());
    }
    let strategy = etcetera::choose_base_strategy().map_err(|e| {
        let advice = format!("set {CACHE_VARIABLE} to a folder that you may write to");
        Error::no_data(format!("no folder for downloads: {e}"), advice)
    })?;
    Ok(strategy.cache_dir().join("segtool").join("weights"))
}

/// The file in the cache, downloaded first if it is not there yet. A transfer that breaks goes on where it stopped, in this
/// call or in a later one; what does not have the checksum is thrown away.
pub(super) fn fetch(remote: &Remote, sink: &dyn Sink) -> Result<PathBuf> {
    let target = remote.path()?;
    // What is there and whole needs no lock, so that a cache that others fill, which cannot be written to, serves, too.
    if target.exists() && checksum(&target)?.starts_with(&remote.sha256) {
        return Ok(target);
    }
    download(remote, &target, sink).map_err(unwritable)
}

/// A failed write, with the way out that there is here.
fn unwritable(error: Error) -> Error {
    match error {
        Error::Write { path, cause } => Error::content(
            path,
            format!(
                "a download cannot be kept here: {cause}; with {CACHE_VARIABLE}, name a folder that you may write to"
            ),
        ),
        other => other,
    }
}

fn download(remote: &Remote, target: &Path, sink: &dyn Sink) -> Result<PathBuf> {
    let folder = target.parent().unwrap_or(Path::new("."));
    create_folder(folder)?;
    // A file of its own, which is never renamed or removed: two processes cannot hold locks on different files.
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let lock_path = folder.join(format!(".{name}.lock"));
    let lock_failed = |e| Error::write(&lock_path, e);
    let open = |path: &Path| OpenOptions::new().create(true).read(true).write(true).truncate(false).open(path);
    let lock = open(&lock_path).map_err(lock_failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            sink.note(format!("another process is downloading {name}; waiting for it"));
            lock.lock().map_err(lock_failed)?;
        }
        Err(TryLockError::Error(e)) => return Err(lock_failed(e)),
    }
    if target.exists() {
        if checksum(target)?.starts_with(&remote.sha256) {
            return Ok(target.into());
        }
        sink.note(format!("{} is damaged and will be downloaded again", target.display()));
        fs::remove_file(target).map_err(|e| Error::write(target, e))?;
    }
    let part_path = part_path(target);
    let failed = |e| Error::write(&part_path, e);
    let mut part = open(&part_path).map_err(failed)?;
    let resumed = part.metadata().map_err(failed)?.len() > 0;
    transfer_all(remote, &mut part, &part_path, sink).inspect_err(|_| {
        // Nothing has arrived that would help a later call. That the transfer failed is what counts.
        if part.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            let _ = fs::remove_file(&part_path);
        }
    })?;
    let mut found = checksum(&part_path)?;
    if resumed && !found.starts_with(&remote.sha256) {
        // What was there from before may be of another version of the file.
        part.set_len(0).map_err(failed)?;
        transfer_all(remote, &mut part, &part_path, sink)?;
        found = checksum(&part_path)?;
    }
    if !found.starts_with(&remote.sha256) {
        fs::remove_file(&part_path).map_err(failed)?;
        return Err(Error::Download {
            url: remote.url.clone(),
            reason: format!(
                "the file's SHA-256 is {found}, expected {}; the download was deleted. Either the file has changed, or something on the \
                 way answered in its place (a proxy, a login page)",
                remote.sha256
            ),
        });
    }
    part.sync_all().map_err(failed)?;
    fs::rename(&part_path, target).map_err(|e| Error::write(target, e))?;
    Ok(target.into())
}

fn part_path(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    target.with_file_name(name)
}

/// SHA-256 of a file, in hexadecimal digits.
fn checksum(path: &Path) -> Result<String> {
    let mut checksum = Checksum::default();
    File::open(path).and_then(|mut file| io::copy(&mut file, &mut checksum)).map_err(|e| Error::read(path, e))?;
    Ok(checksum.hex())
}

/// How a transfer failed.
enum Failure {
    /// It may go on where it stopped.
    Broken(String),
    /// Trying again would not help.
    Refused(Error),
}

/// Transfers what misses, with pauses where the connection breaks.
fn transfer_all(remote: &Remote, part: &mut File, path: &Path, sink: &dyn Sink) -> Result<()> {
    let config = ureq::Agent::config_builder()
        .max_redirects(MAX_REDIRECTS)
        .http_status_as_error(false)
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        .user_agent(concat!("segtool/", env!("CARGO_PKG_VERSION")))
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let mut pauses = PAUSES.iter();
    loop {
        let before = part.metadata().map_err(|e| Error::write(path, e))?.len();
        let reason = match transfer(&agent, remote, part, path, sink) {
            Ok(()) => return Ok(()),
            Err(Failure::Refused(error)) => return Err(error),
            Err(Failure::Broken(reason)) => reason,
        };
        let now = part.metadata().map_err(|e| Error::write(path, e))?.len();
        if now > before {
            // It gets on, if slowly.
            pauses = PAUSES.iter();
        }
        let Some(pause) = pauses.next() else {
            return Err(Error::Download {
                url: remote.url.clone(),
                reason: format!(
                    "{reason}. What has arrived ({}) is kept: the same command continues from there",
                    mebibytes(now)
                ),
            });
        };
        sink.note(format!("{reason}; trying again"));
        sleep(*pause);
    }
}

fn transfer(
    agent: &ureq::Agent,
    remote: &Remote,
    part: &mut File,
    path: &Path,
    sink: &dyn Sink,
) -> std::result::Result<(), Failure> {
    let write_failed = |e| Failure::Refused(Error::write(path, e));
    let there = part.seek(SeekFrom::End(0)).map_err(write_failed)?;
    let response = ask(agent, remote, there)?;
    let length: Option<u64> = header(&response, "content-length").and_then(|text| text.parse().ok());
    let start = match answer(remote, &response, there)? {
        Answer::Whole => 0,
        Answer::Rest => there,
        Answer::Nothing => return Ok(()),
        Answer::Other => {
            part.set_len(0).map_err(write_failed)?;
            return Err(Failure::Broken("the server cannot go on where the last transfer stopped".into()));
        }
    };
    part.set_len(start).and_then(|()| part.seek(SeekFrom::Start(start))).map_err(write_failed)?;
    let total = length.map(|length| start + length);
    let whole = |bytes: u64| bytes.div_ceil(MIB) as usize;
    sink.event(Event::Started {
        task: Task::Download(file_name(&remote.url).into()),
        total: whole(total.unwrap_or(start)),
        done: whole(start),
    });
    let arrived = copy(&mut response.into_body().into_reader(), part, start, sink);
    sink.event(Event::Finished);
    match arrived {
        Ok(end) if total.is_none_or(|total| end == total) => Ok(()),
        Ok(end) => Err(Failure::Broken(broken(end, total, "the connection ended"))),
        Err(Copy::Write(e)) => Err(write_failed(e)),
        Err(Copy::Read(e, end)) => Err(Failure::Broken(broken(end, total, &e.to_string()))),
    }
}

type Response = ureq::http::Response<ureq::Body>;

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

fn refused(remote: &Remote, reason: String) -> Failure {
    Failure::Refused(Error::Download { url: remote.url.clone(), reason })
}

/// Asks for what comes after the first `there` bytes.
fn ask(agent: &ureq::Agent, remote: &Remote, there: u64) -> std::result::Result<Response, Failure> {
    let mut request = agent.get(&remote.url);
    if there > 0 {
        request = request.header("Range", format!("bytes={there}-"));
    }
    request.call().map_err(|e| match e {
        ureq::Error::TooManyRedirects => refused(
            remote,
            format!("it is redirected more than {MAX_REDIRECTS} times, perhaps in a loop; check the URL"),
        ),
        ureq::Error::BadUri(reason) => refused(remote, format!("not a usable URL: {reason}")),
        other => Failure::Broken(format!("no answer from the server: {other}")),
    })
}

/// What a server sends of a file.
enum Answer {
    /// All of it.
    Whole,
    /// What comes after the bytes that are there.
    Rest,
    /// Nothing is left to send; the checksum tells whether all is there.
    Nothing,
    /// Something else than was asked for.
    Other,
}

fn answer(remote: &Remote, response: &Response, there: u64) -> std::result::Result<Answer, Failure> {
    let range = header(response, "content-range").unwrap_or_default();
    match response.status() {
        StatusCode::OK => Ok(Answer::Whole),
        StatusCode::PARTIAL_CONTENT if range.starts_with(&format!("bytes {there}-")) => Ok(Answer::Rest),
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT => {
            Ok(if range.ends_with(&format!("/{there}")) { Answer::Nothing } else { Answer::Other })
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            Err(refused(remote, format!("the server says {}: the file does not exist (any more)", response.status())))
        }
        status if status.is_server_error() => Err(Failure::Broken(format!("the server says {status}"))),
        status => Err(refused(remote, format!("the server says {status}"))),
    }
}

fn broken(end: u64, total: Option<u64>, cause: &str) -> String {
    let total = total.map_or_else(String::new, |total| format!(" of {}", mebibytes(total)));
    format!("the connection broke after {}{total} ({cause})", mebibytes(end))
}

/// Which side of a copy failed; of the reading one, where.
enum Copy {
    Read(io::Error, u64),
    Write(io::Error),
}

/// Copies everything and returns the position at the end.
fn copy(from: &mut impl Read, to: &mut File, start: u64, sink: &dyn Sink) -> std::result::Result<u64, Copy> {
    let mut buffer = vec![0; 1 << 16];
    let mut position = start;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(position),
            Ok(read) => {
                to.write_all(&buffer[..read]).map_err(Copy::Write)?;
                let before = position;
                position += read as u64;
                if before / MIB != position / MIB {
                    sink.event(Event::Advanced { done: (position / MIB) as usize, loss: None });
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Copy::Read(e, position)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_carry_their_checksum() {
        for (url, sha256) in [
            ("https://a.org/resnet50-0676ba61.pth", "0676ba61"),
            ("http://a.org/x.pth#sha256=0123456789ABCDEF", "0123456789abcdef"),
        ] {
            assert_eq!(Remote::parse(url).unwrap().sha256, sha256);
        }
        for url in
            ["https://a.org/x.pth", "https://a.org/model-v2.pth", "https://a.org/x.pth#sha256=12", "https://a.org/"]
        {
            assert!(Remote::parse(url).unwrap_err().to_string().contains("SHA-256"), "{url}");
        }
    }
}
