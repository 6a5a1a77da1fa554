//! Labels on disk: a PNG with a palette for each image, and the data set file that says what they mean.

use std::collections::BTreeSet;
use std::path::Path;

use super::classes::{self, LabelClass, palette};
use super::place::{ImageFile, Place};
use crate::base::files::{is_there, read_text, write_bytes, write_bytes_unsynced};
use crate::base::{Error, Result};
use crate::data::{Dataset, check_size, load_sparse_labels};
use crate::image::{
    LabelImage, Pixels, RawLabels, encode_marked_png, encode_png, maker_of, read_labels, read_labels_and_alpha,
};

/// Marks label images in which nothing is labelled yet, so that they need not be decoded.
const BLANK: &str = "segtool serve: nothing labelled yet";

/// Writes the labels of an image, in the place of older ones.
pub(super) fn write_labels(image: &ImageFile, values: &[u8], classes: &[LabelClass]) -> Result<()> {
    write_bytes(&image.labels, &encode_png(image.size, Pixels::Indexed(values, &palette(classes)))?)
}

/// Writes a label image without a label for an image that has none yet.
pub(super) fn write_missing(image: &ImageFile) -> Result<()> {
    if is_there(&image.labels)? {
        return Ok(());
    }
    let pixels = vec![0; image.size.width * image.size.height];
    let blank = encode_marked_png(image.size, Pixels::Indexed(&pixels, &[[0; 3]]), BLANK)?;
    write_bytes_unsynced(&image.labels, &blank)
}

/// Whether there are labels of an image, perhaps.
fn has_labels(image: &ImageFile) -> Result<bool> {
    Ok(is_there(&image.labels)? && maker_of(&image.labels).as_deref() != Some(BLANK))
}

/// The labels of an image as a value a pixel; `None` if nothing is labelled.
pub(super) fn read_values(image: &ImageFile, dataset: &Dataset) -> Result<Option<Vec<u8>>> {
    if !has_labels(image)? {
        return Ok(None);
    }
    let labels = load_sparse_labels(&image.labels, dataset)?;
    check_size((&image.path, image.size), (&image.labels, labels.size))?;
    let value = |class: &u16| dataset.classes.get(usize::from(*class)).map_or(0, |class| class.values[0] as u8);
    Ok(Some(labels.classes.iter().map(value).collect()))
}

/// Whether a label image is read by its values alone, whatever colours the classes have.
pub(super) fn holds_values(path: &Path) -> bool {
    let is_plain = |labels: LabelImage| matches!(labels.raw, RawLabels::Values(..)) && labels.alpha.is_none();
    read_labels_and_alpha(path).is_ok_and(is_plain)
}

/// Writes what the labels mean.
pub(super) fn write_dataset(path: &Path, dataset: &Dataset) -> Result<()> {
    let failed = |e: &dyn std::fmt::Display| Error::content(path, e);
    let text = toml::to_string(dataset).map_err(|e| failed(&e))?;
    let note = "# What the label images in this folder mean; written by `segtool serve --label`.\n";
    write_bytes(path, format!("{note}{text}").as_bytes())
}

/// What labels that are there mean: as their data set file says; without one, the classes of `usual` if they cover all
/// values, else nameless ones. Two classes to begin with where there are no labels.
pub(super) fn read_classes(place: &Place, usual: &Dataset) -> Result<(Vec<LabelClass>, Option<Dataset>)> {
    let path = place.dataset();
    if is_there(&path)? {
        let dataset = Dataset::parse(&read_text(&path)?, &path)?;
        let classes = classes::of_dataset(&dataset).ok_or_else(|| {
            let reason =
                "has classes that cannot be painted: their label values must be 1 to 254, and 0 means not labelled";
            Error::content(&path, reason)
        })?;
        return Ok((classes, Some(dataset)));
    }
    let mut values = BTreeSet::new();
    for image in &place.images {
        if has_labels(image)? {
            values.extend(values_of(&image.labels)?);
        }
    }
    if values.is_empty() {
        return Ok((classes::first(), None));
    }
    let known = classes::of_dataset(usual).filter(|classes| {
        let own: BTreeSet<u8> = classes.iter().map(|class| class.value).collect();
        values.is_subset(&own)
    });
    Ok((known.unwrap_or_else(|| classes::of_values(&values)), None))
}

/// The label values of a file but 0.
fn values_of(path: &Path) -> Result<BTreeSet<u8>> {
    let unknown = |what: String| {
        let reason = format!(
            "holds {what}, but there is no dataset.toml beside it that says what they mean; label mode takes values from 1 to 254, and 0 for \
             not labelled"
        );
        Error::content(path, reason)
    };
    let RawLabels::Values(_, values) = read_labels(path)? else {
        return Err(unknown("colours or other numbers than 0 to 65535".into()));
    };
    let found: BTreeSet<u16> = values.into_iter().filter(|value| *value != 0).collect();
    let painted = |value: u16| u8::try_from(value).ok().filter(|value| *value < u8::MAX);
    found.into_iter().map(|value| painted(value).ok_or_else(|| unknown(format!("label value {value}")))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Size;
    use crate::serve::labelling::classes::{dataset, first};

    #[test]
    fn labels_are_read_as_they_were_written_and_blank_ones_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let size = Size { width: 3, height: 2 };
        let image = ImageFile { path: "a.jpg".into(), size, labels: folder.path().join("a.png") };
        let dataset = dataset(&first(), &Dataset::find("core").unwrap());
        assert_eq!(read_values(&image, &dataset).unwrap(), None);
        write_missing(&image).unwrap();
        assert!(!has_labels(&image).unwrap());
        assert_eq!(load_sparse_labels(&image.labels, &dataset).unwrap().classes, [u16::MAX; 6]);
        write_labels(&image, &[0, 1, 2, 0, 0, 2], &first()).unwrap();
        write_missing(&image).unwrap();
        assert_eq!(read_values(&image, &dataset).unwrap(), Some(vec![0, 1, 2, 0, 0, 2]));
    }

    #[test]
    fn a_data_set_file_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dataset.toml");
        let written = dataset(&first(), &Dataset::find("core").unwrap());
        write_dataset(&path, &written).unwrap();
        assert_eq!(Dataset::find(path.to_str().unwrap()).unwrap(), written);
    }
}
