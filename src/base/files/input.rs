//! Files, those in memory and objects in stores alike.

use std::io::Cursor;
use std::path::Path;

use super::open_file;
use crate::base::error::Result;
use crate::base::store::{self, Opened};

/// [`open_file`] of a file, of one in memory or of an object in a store.
pub(crate) fn open_input(path: &Path) -> Result<(Box<dyn Opened>, u64)> {
    if let Some(held) = store::held(path) {
        let length = held.len();
        return Ok((Box::new(Cursor::new(held)), length));
    }
    if store::is_url(path) {
        let (object, length) = store::open(path)?;
        return Ok((Box::new(object), length));
    }
    let (file, length) = open_file(path)?;
    Ok((Box::new(file), length))
}

/// Whether a path is that of a file or of an object that is there.
pub(crate) fn is_file(path: &Path) -> bool {
    if store::is_url(path) { store::is_there(path) } else { store::held(path).is_some() || path.is_file() }
}
