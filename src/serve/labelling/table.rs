//! Labels as a table of rectangles, which `segtool train --label-csv` reads.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::patch::Rect;
use super::place::ImageFile;
use crate::base::files::write_atomically;
use crate::base::{Result, Size};

/// Rectangles of equal labels that cover all labelled pixels once: runs of rows, joined with those above that begin and end
/// alike; in the order of their first pixels.
pub(super) fn rectangles(size: Size, values: &[u8]) -> Vec<(Rect, u8)> {
    let mut found: Vec<(Rect, u8)> = Vec::new();
    // By first column: the place among those found of a rectangle that the row before was the last of.
    let mut open: BTreeMap<usize, usize> = BTreeMap::new();
    for (y, row) in values.chunks_exact(size.width.max(1)).enumerate() {
        let mut next = BTreeMap::new();
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            let (start, value) = (x, run[0]);
            x += run.len();
            if value == 0 {
                continue;
            }
            let above = open.get(&start).copied();
            let joined = above.filter(|place| (found[*place].0.width, found[*place].1) == (run.len(), value));
            let place = joined.unwrap_or(found.len());
            match joined {
                Some(place) => found[place].0.height += 1,
                None => found.push((Rect { x: start, y, width: run.len(), height: 1 }, value)),
            }
            next.insert(start, place);
        }
        open = next;
    }
    found
}

/// Writes a table of the labels of images.
pub(super) fn write_table(path: &Path, labels: &[(&ImageFile, Arc<Vec<u8>>)]) -> Result<()> {
    let folder = crate::base::files::folder_of(path);
    write_atomically(path, |out| {
        let mut table = csv::Writer::from_writer(&mut *out);
        table.write_record(["file", "x0", "y0", "x1", "y1", "class"])?;
        for (image, values) in labels {
            let name = name_from(folder, &image.path);
            for (Rect { x, y, width, height }, value) in rectangles(image.size, values) {
                let corners = [x, y, x + width - 1, y + height - 1].map(|number| number.to_string());
                let [left, top, right, bottom] = &corners;
                table.write_record([name.as_str(), left, top, right, bottom, &value.to_string()])?;
            }
        }
        table.flush()?;
        drop(table);
        out.flush()
    })
}

/// The image as a table in `folder` names it. A plain name would mean the label image beside the table.
fn name_from(folder: &Path, image: &Path) -> String {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.into());
    let (folder, image) = (whole(folder), whole(image));
    let name: PathBuf = match folder.parent().and_then(|above| image.strip_prefix(above).ok()) {
        Some(below) => Path::new("..").join(below),
        None => image,
    };
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::label_map::IGNORE;
    use crate::data::{Dataset, read_label_csv};

    #[test]
    fn rectangles_cover_what_is_labelled_once() {
        let rows = ["..111.22", "..111.22", "33111..2", "3....111", "3....111"];
        let values: Vec<u8> =
            rows.iter().flat_map(|row| row.bytes().map(|b| if b == b'.' { 0 } else { b - b'0' })).collect();
        let size = Size { width: 8, height: 5 };
        let found = rectangles(size, &values);
        assert_eq!(found[0], (Rect { x: 2, y: 0, width: 3, height: 3 }, 1));
        assert_eq!(found.len(), 6);
        let mut painted = vec![0; 40];
        for (rect, value) in found {
            for (x, y) in rect.places() {
                assert_eq!(std::mem::replace(&mut painted[y * 8 + x], value), 0);
            }
        }
        assert_eq!(painted, values);
    }

    #[test]
    fn a_table_is_read_as_the_labels_that_it_was_written_from() {
        let folder = tempfile::tempdir().unwrap();
        let (images, labels) = (folder.path().join("my images"), folder.path().join("labels"));
        std::fs::create_dir_all(&images).unwrap();
        std::fs::create_dir_all(&labels).unwrap();
        let image = images.join("a, b.png");
        // The label image of that name lies beside the table.
        std::fs::write(&image, "").unwrap();
        std::fs::write(labels.join("a, b.png"), "").unwrap();
        let (size, values) = (Size { width: 4, height: 2 }, [1, 1, 0, 2, 0, 1, 1, 2]);
        let table = labels.join("labels.csv");
        let file = ImageFile { path: image.clone(), size, labels: labels.join("a, b.png") };
        write_table(&table, &[(&file, Arc::new(values.to_vec()))]).unwrap();
        let read = read_label_csv(&table, &Dataset::find("core").unwrap(), None).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].image.canonicalize().unwrap(), image.canonicalize().unwrap());
        let map = read[0].paint(&table, size).unwrap();
        assert_eq!(map.classes, values.map(|value| if value == 0 { IGNORE } else { u16::from(value) - 1 }));
    }
}
