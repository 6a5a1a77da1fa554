//! Files, those in memory and objects in stores alike.

use std::io::Cursor;
use std::path::Path;

use super::open_file;
use crate::base::error::Result;
use crate::base::store::{self, Opened};

/// [`open_file`] of a file, of one in memory or of an object in a store.
pub(crate) fn open_input(path: &Path) -> Result<(Opened, u64)> {
    if let Some(held) = store::held(path) {
        let length = held.len();
        return Ok((Opened::Held(Cursor::new(held)), length));
    }
    if store::is_url(path) {
        return store::open(path).map(|(object, length)| (Opened::Object(object), length));
    }
    open_file(path).map(|(file, length)| (Opened::File(file), length))
}

/// Whether a path is that of a file or of an object that is there.
pub(crate) fn is_file(path: &Path) -> bool {
    if store::is_url(path) { store::is_there(path) } else { store::held(path).is_some() || path.is_file() }
}
