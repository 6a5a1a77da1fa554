//! What a check has found.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::base::path_text;
use crate::base::words::counted;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Training would fail.
    Error,
    /// Training would run, but the model or its scores would probably be wrong.
    Warning,
    /// Worth knowing.
    Note,
}

/// The kind of a finding. Names in JSON are in kebab case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// An image without a label image.
    MissingLabel,
    /// A label image without an image.
    MissingImage,
    /// A file that is listed, but does not exist.
    MissingFile,
    /// Lists that name different numbers of files.
    ListLength,
    /// Several files with the same stem, of which only one can be paired.
    SameStem,
    /// Names of images and label images that do not match.
    NamesDiffer,
    /// A file that is in more than one pair.
    ListedTwice,
    /// Images and label images are swapped.
    Swapped,
    /// A source in which pairs cannot be found, such as a folder without images.
    Source,
    /// A file that is damaged, truncated or in an unknown format.
    Unreadable,
    /// An image and its label image differ in size.
    SizeMismatch,
    /// A label value or colour that the data set does not define.
    UndefinedLabel,
    /// Shapes in an annotation file that cannot be drawn: their class is not in the data set, or they were made for an
    /// image of another size or location.
    Annotation,
    /// Masks of 0 and 255, palettes or colours, with the mapping that fits.
    LabelCoding,
    /// Numbers of bands that differ from the data set's or from one another.
    Bands,
    /// Mixed sample types, such as 8 and 16 bits.
    SampleType,
    /// Mixed value ranges, such as decibels and linear intensities.
    ValueRange,
    /// A normalisation that does not fit the samples.
    Normalisation,
    /// Orientation tags.
    Orientation,
    /// Pixels without data.
    Nodata,
    /// An image with the same value in all pixels.
    ConstantImage,
    /// The same image more than once.
    Duplicate,
    /// The same image with different labels.
    ConflictingLabels,
    /// Near-duplicate images: they look the same, but are not identical.
    NearDuplicate,
    /// The same labels for different images.
    CopiedLabels,
    /// Overlapping crops of one scene, found by content.
    Overlap,
    /// Images whose georeferences overlap.
    Georeference,
    /// Images of one scene on both sides of the split, judging by their names.
    SceneNames,
    /// Images of one group on both sides of the split.
    SplitGroup,
    /// Labels with the first class only.
    EmptyLabels,
    /// Labels without a labelled pixel.
    NoLabels,
    /// Labels that are shifted relative to the edges in the image.
    ShiftedLabels,
    /// A class that is missing from one or both sides of the split.
    MissingClass,
}

/// A file that a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file.
    #[serde(serialize_with = "path_text::one")]
    pub file: PathBuf,
    /// The other file, where a finding is about two.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "path_text::optional")]
    pub with: Option<PathBuf>,
    /// What was found there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Place {
    /// A file, with what was found there.
    pub fn new(file: &Path, detail: impl Into<String>) -> Self {
        Self { file: file.into(), with: None, detail: detail.into() }
    }

    /// Two files.
    pub fn two(file: &Path, with: &Path, detail: impl Into<String>) -> Self {
        Self { with: Some(with.into()), ..Self::new(file, detail) }
    }
}

/// Something found, in one or more files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// How much it matters.
    pub severity: Severity,
    /// A description, without the files.
    pub message: String,
    /// What to do; empty where there is nothing to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// All files concerned.
    pub places: Vec<Place>,
}

impl Finding {
    pub(super) fn new(kind: Kind, severity: Severity, message: impl Into<String>, places: Vec<Place>) -> Self {
        Self { kind, severity, message: message.into(), remedy: String::new(), places }
    }

    /// Something found in places, with a message such as "3 images without a label". `None` if there are no places.
    pub(super) fn about(
        kind: Kind,
        severity: Severity,
        places: Vec<Place>,
        (noun, what): (&str, &str),
        remedy: impl Into<String>,
    ) -> Option<Self> {
        let message = format!("{} {what}", counted(places.len(), noun));
        (!places.is_empty()).then(|| Self::new(kind, severity, message, places).remedy(remedy))
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn files_whose_names_are_not_utf_8_are_in_json() {
        let [file, with] = [&b"a\xff.png"[..], b"b.png"].map(|name| Path::new(OsStr::from_bytes(name)));
        let json = |place: Place| serde_json::to_value(place).unwrap();
        assert_eq!(json(Place::new(file, "x")), serde_json::json!({ "file": "a\u{fffd}.png", "detail": "x" }));
        assert_eq!(json(Place::two(with, file, "")), serde_json::json!({ "file": "b.png", "with": "a\u{fffd}.png" }));
    }
}
