//! The objects that are in use, and what is known of others: so that an object is asked for once, and not at each opening.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{Error as IoError, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};

use super::client::{Place, again, answer, in_words};
use super::object::{Known, Reader};
use super::url::{Listed, is_url, is_web};
use crate::base::{Error, Result, locked};

/// Most objects that are kept open, besides those in use.
const OPEN: usize = 32;
/// How long an object that could not be opened is not asked for again: planning, trying out and reading each open it.
const FORGET_AFTER: Duration = Duration::from_secs(60);
/// Bytes of a part of a large file that is sent, and parts at the same time.
const PART: usize = 8 << 20;
const PARTS: usize = 4;
/// Removals at the same time.
const REMOVALS: usize = 8;

/// What is known of objects.
#[derive(Debug, Default)]
struct State {
    /// Those used last at the end.
    open: VecDeque<Arc<Known>>,
    failed: HashMap<PathBuf, (Instant, ErrorKind, String)>,
    /// Bytes and time of the last change, as listings had them.
    listed: HashMap<PathBuf, (u64, i64)>,
    /// Folders of which all objects are listed.
    folders: HashSet<PathBuf>,
    /// Whether there are objects that may lie beside others.
    beside: HashMap<PathBuf, bool>,
}

fn state() -> MutexGuard<'static, State> {
    static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);
    locked(&STATE)
}

impl State {
    fn find(&mut self, url: &Path) -> Option<Arc<Known>> {
        let at = self.open.iter().position(|known| known.url == url)?;
        let known = self.open.remove(at)?;
        self.open.push_back(Arc::clone(&known));
        Some(known)
    }

    fn keep(&mut self, known: &Arc<Known>) {
        self.open.push_back(Arc::clone(known));
        // What is in use stays: whoever reads ahead for a reader must find the same object.
        let spare = self.open.len().saturating_sub(OPEN);
        let unused: Vec<_> =
            self.open.iter().filter(|known| Arc::strong_count(known) == 1).take(spare).cloned().collect();
        self.open.retain(|known| !unused.iter().any(|unused| Arc::ptr_eq(known, unused)));
    }

    fn forget(&mut self, url: &Path) {
        self.open.retain(|known| known.url != url);
        self.failed.remove(url);
        self.listed.remove(url);
        self.beside.remove(url);
    }

    /// Whether an object is there, if that is known: of a folder that was listed, what was not listed is not there, unless
    /// it was written since.
    fn is_there(&self, url: &Path) -> Option<bool> {
        let listed = self.listed.contains_key(url).then_some(true);
        let asked = listed.or_else(|| self.beside.get(url).copied());
        asked.or_else(|| url.parent().filter(|folder| self.folders.contains(*folder)).map(|_| false))
    }
}

fn known(url: &Path) -> Result<Arc<Known>> {
    if let Some(known) = state().find(url) {
        return Ok(known);
    }
    if let Some((when, kind, words)) = state().failed.get(url)
        && when.elapsed() < FORGET_AFTER
    {
        return Err(Error::read(url, IoError::new(*kind, words.clone())));
    }
    match Known::open(url, Place::of(url)?) {
        Ok(known) => {
            let known = Arc::new(known);
            state().keep(&known);
            Ok(known)
        }
        Err(cause) => {
            state().failed.insert(url.into(), (Instant::now(), cause.kind(), cause.to_string()));
            Err(Error::read(url, cause))
        }
    }
}

/// An open object of which any part can be read.
#[derive(Debug, Clone)]
pub(crate) struct Object(Arc<Known>);

impl Object {
    /// Bytes of it.
    pub(crate) fn len(&self) -> u64 {
        self.0.bytes
    }

    /// Exactly those bytes.
    pub(crate) fn read_at(&self, offset: u64, length: usize) -> std::io::Result<Vec<u8>> {
        self.0.read_at(offset, length)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // The list of open objects has the other.
        if Arc::strong_count(&self.0) <= 2 {
            self.0.drop_parts();
        }
    }
}

/// Says what of a URL cannot be used, before any request.
///
/// # Errors
///
/// If it is no URL of an object, or the settings of its store are not complete.
pub fn check(path: &Path) -> Result<()> {
    if is_url(path) { Place::of(path).map(drop) } else { Ok(()) }
}

/// The object that a URL names; `None` of a path.
pub(crate) fn object(path: &Path) -> Result<Option<Object>> {
    if is_url(path) { known(path).map(|known| Some(Object(known))) } else { Ok(None) }
}

/// An object to be read from its beginning, and its bytes.
pub(crate) fn open(url: &Path) -> Result<(Reader, u64)> {
    let known = known(url)?;
    let bytes = known.bytes;
    Ok((Reader::new(known), bytes))
}

/// The whole object.
pub(crate) fn read(url: &Path) -> Result<Vec<u8>> {
    known(url)?.read().map_err(|cause| Error::read(url, cause))
}

/// Reads parts of an object, by offset and length, that will be wanted soon.
pub(crate) fn fetch_ahead(url: &Path, parts: &[(u64, u64)]) -> Result<()> {
    known(url)?.fetch_ahead(parts).map_err(|cause| Error::read(url, cause))
}

/// Bytes of an object and when it was last changed, in seconds since 1970; `None` where the store does not say.
pub(crate) fn version(url: &Path) -> Option<(u64, String)> {
    let listed = state().listed.get(url).copied();
    let (bytes, modified) = listed.or_else(|| known(url).ok().map(|known| (known.bytes, known.modified)))?;
    Some((bytes, format!("{modified}.{:09}", 0)))
}

/// Whether there is such an object; `false` where the store does not say.
pub(crate) fn is_there(url: &Path) -> bool {
    if let Some(known) = state().is_there(url) {
        return known;
    }
    let found = Place::of(url).is_ok_and(|place| answer(place.store.head(&place.key)).is_ok());
    state().beside.insert(url.into(), found);
    found
}

/// The objects of a folder, and of the folders below it if it `is_deep`, in the order of their names.
pub(crate) fn list(url: &Path, is_deep: bool) -> Result<Vec<Listed>> {
    if is_web(url) {
        return Err(Error::content(
            url,
            "is a folder of a web server, which does not list its files; name each of them",
        ));
    }
    let place = Place::of(url)?;
    let prefix = Some(&place.key).filter(|key| !key.as_ref().is_empty());
    let found = answer(again(|| async {
        match is_deep {
            true => place.store.list(prefix).try_collect().await,
            false => place.store.list_with_delimiter(prefix).await.map(|found| found.objects),
        }
    }));
    let mut found: Vec<ObjectMeta> = found.map_err(|e| Error::read(url, in_words(url, &e)))?;
    found.sort_by(|a, b| a.location.as_ref().cmp(b.location.as_ref()));
    let listed = found.into_iter().filter_map(|meta| {
        let name = match prefix {
            Some(prefix) => meta.location.as_ref().strip_prefix(prefix.as_ref())?.strip_prefix('/')?.to_owned(),
            None => meta.location.as_ref().to_owned(),
        };
        let (bytes, modified) = (meta.size, meta.last_modified.timestamp());
        Some(Listed { url: place.url(&meta.location).into(), name, bytes, modified })
    });
    let listed: Vec<Listed> = listed.collect();
    let mut state = state();
    state.folders.insert(url.into());
    for Listed { url, bytes, modified, .. } in &listed {
        state.listed.insert(url.clone(), (*bytes, *modified));
        state.folders.extend(url.parent().map(Path::to_path_buf));
    }
    Ok(listed)
}

/// Copies an object as it is now into a file.
pub(crate) fn download(url: &Path, to: &Path) -> Result<()> {
    state().forget(url);
    let bytes = read(url)?;
    state().beside.insert(url.into(), true);
    std::fs::write(to, bytes).map_err(|cause| Error::write(to, cause))
}

/// Copies a file into the place of an object, whole or not at all.
pub(crate) fn upload(from: &Path, url: &Path) -> Result<()> {
    let place = Place::of(url)?;
    let unread = |cause| Error::read(from, cause);
    let sent = match std::fs::metadata(from).map_err(unread)?.len() <= PART as u64 {
        true => {
            let bytes = PutPayload::from(std::fs::read(from).map_err(unread)?);
            answer(again(|| place.store.put(&place.key, bytes.clone()))).map(drop)
        }
        false => answer(again(|| send_in_parts(&place, from))),
    };
    state().forget(url);
    sent.map_err(|e| Error::write(url, in_words(url, &e)))?;
    state().beside.insert(url.into(), true);
    Ok(())
}

async fn send_in_parts(place: &Place, from: &Path) -> object_store::Result<()> {
    let unread = |cause| object_store::Error::Generic { store: "file", source: Box::new(cause) };
    let mut file = File::open(from).map_err(unread)?;
    let mut upload = WriteMultipart::new_with_chunk_size(place.store.put_multipart(&place.key).await?, PART);
    let mut buffer = vec![0; 1 << 20];
    loop {
        upload.wait_for_capacity(PARTS).await?;
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => upload.write(&buffer[..read]),
            Err(cause) => {
                upload.abort().await?;
                return Err(unread(cause));
            }
        }
    }
    upload.finish().await.map(drop)
}

/// Removes objects, which need not be there.
pub(crate) fn delete(urls: &[PathBuf]) -> Result<()> {
    let places: Vec<Place> = urls.iter().map(|url| Place::of(url)).collect::<Result<_>>()?;
    let removals = stream::iter(urls.iter().zip(&places)).map(|(url, place)| async move {
        match again(|| place.store.delete(&place.key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(fault) => Err(Error::write(url, in_words(url, &fault))),
        }
    });
    answer(removals.buffer_unordered(REMOVALS).try_collect::<()>())?;
    urls.iter().for_each(|url| state().forget(url));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_since_a_folder_was_listed_is_there() {
        let (folder, url) = (Path::new("s3://bucket/out"), Path::new("s3://bucket/out/a.tif"));
        let mut state = State::default();
        assert_eq!(state.is_there(url), None);
        state.folders.insert(folder.into());
        assert_eq!(state.is_there(url), Some(false));
        state.beside.insert(url.into(), true);
        assert_eq!(state.is_there(url), Some(true));
        state.forget(url);
        assert_eq!(state.is_there(url), Some(false));
    }
}
