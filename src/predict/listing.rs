//! `predictions.txt`: the list of the results of a folder.

use std::path::Path;

use super::formats::GEOJSON;
use crate::base::Result;
use crate::base::event::{Event, Sink};
use crate::base::files::write_bytes;

/// The file's name.
pub(super) const LIST: &str = "predictions.txt";

/// Writes the list of the label maps that were written, if any were; polygons cannot be scored. Names that a list would take for something else are written as
/// paths from the folder.
pub(super) fn write_list(folder: &Path, written: &[&str], sink: &dyn Sink) -> Result<()> {
    let mut list = String::new();
    for &name in written.iter().filter(|name| !name.ends_with(GEOJSON)) {
        if name.contains(['\n', '\r']) {
            sink.event(Event::Note(format!(
                "{name:?} contains a line break, so it is left out of {LIST}; rename the image"
            )));
            continue;
        }
        let plain = !name.starts_with(['#', '"', '\'']) && name.trim() == name;
        list.extend([if plain { "" } else { "./" }, name, "\n"]);
    }
    if list.is_empty() { Ok(()) } else { write_bytes(&folder.join(LIST), list.as_bytes()) }
}
