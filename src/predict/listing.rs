//! `predictions.txt`: the list of the results of a folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::formats::GEOJSON;
use super::shard::{Shard, own_name};
use crate::base::event::Sink;
use crate::base::files::{entries, write_bytes};
use crate::base::store;
use crate::base::{Error, Result};

/// The file's name.
pub(super) const LIST: &str = "predictions.txt";

/// The list of the results in a folder. In a store, each shard has one of its own.
pub fn list_of(folder: &Path, shard: Option<Shard>) -> PathBuf {
    if store::is_url(folder) { store::below(folder, &own_name(LIST, shard)) } else { folder.join(LIST) }
}

/// Writes the list of the label maps that were written, if any were; polygons cannot be scored. Names that a list would
/// take for something else begin with `./`.
pub(super) fn write_list(folder: &Path, written: &[&str], sink: &dyn Sink) -> Result<()> {
    let mut list = String::new();
    for &name in written.iter().filter(|name| !name.ends_with(GEOJSON)) {
        if name.contains(['\n', '\r']) {
            sink.note(format!("{name:?} contains a line break, so it is left out of {LIST}; rename the image"));
            continue;
        }
        let plain = !name.starts_with(['#', '"', '\'']) && name.trim() == name;
        list.extend([if plain { "" } else { "./" }, name, "\n"]);
    }
    if list.is_empty() { Ok(()) } else { write_bytes(&folder.join(LIST), list.as_bytes()) }
}

/// Names in a folder; none if it is not there.
pub(super) fn names_in(folder: &Path) -> Result<BTreeSet<String>> {
    let found = match entries(folder) {
        Err(Error::Read { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        found => found?,
    };
    Ok(found.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}
