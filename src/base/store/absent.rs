//! What is said of URLs by a build without the feature `cloud`.

use std::io::Empty;
use std::path::{Path, PathBuf};

use super::url::{Listed, is_url};
use crate::base::error::{Error, Result};

/// An open object, of which there is none.
#[derive(Debug, Clone)]
pub(crate) enum Object {}

impl Object {
    pub(crate) fn len(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn read_at(&self, _offset: u64, _length: usize) -> std::io::Result<Vec<u8>> {
        match *self {}
    }
}

fn refused(url: &Path) -> Error {
    let reason = "is a URL, and this build of segtool has no access to stores; build it with: cargo install --features cloud \
                  segtool, or in its source folder: cargo build --release --features cloud";
    Error::content(url, reason)
}

/// Refuses a URL.
///
/// # Errors
///
/// If the path is one.
pub fn check(path: &Path) -> Result<()> {
    if is_url(path) { Err(refused(path)) } else { Ok(()) }
}

pub(crate) fn object(path: &Path) -> Result<Option<Object>> {
    check(path).map(|()| None)
}

pub(crate) fn open(url: &Path) -> Result<(Empty, u64)> {
    Err(refused(url))
}

pub(crate) fn read(url: &Path) -> Result<Vec<u8>> {
    Err(refused(url))
}

pub(crate) fn fetch_ahead(url: &Path, _ranges: &[(u64, u64)]) -> Result<()> {
    check(url)
}

pub(crate) fn version(_url: &Path) -> Option<(u64, String)> {
    None
}

pub(crate) fn is_there(_url: &Path) -> bool {
    false
}

pub(crate) fn list(url: &Path, _is_deep: bool) -> Result<Vec<Listed>> {
    Err(refused(url))
}

pub(crate) fn download(url: &Path, _to: &Path) -> Result<()> {
    Err(refused(url))
}

pub(crate) fn upload(_from: &Path, url: &Path) -> Result<()> {
    Err(refused(url))
}

pub(crate) fn delete(urls: &[PathBuf]) -> Result<()> {
    urls.first().map_or(Ok(()), |url| Err(refused(url)))
}
