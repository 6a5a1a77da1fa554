//! What a check has found.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Training would fail.
    Error,
    /// Training would run, but probably not learn or score what is meant.
    Warning,
    /// Worth knowing.
    Note,
}

/// What kind of thing was found. Names in JSON are in kebab case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// An image without a label image.
    MissingLabel,
    /// A label image without an image.
    MissingImage,
    /// A file that is named, but not there.
    MissingFile,
    /// Lists that name different numbers of files.
    ListLength,
    /// Files of one stem, of which only one can be meant.
    SameStem,
    /// Names of images and label images that do not match.
    NamesDiffer,
    /// A file that stands in two pairs.
    ListedTwice,
    /// Images given as label images, and the other way round.
    Swapped,
    /// A source in which pairs cannot be found, such as a folder without images.
    Source,
    /// A file that is damaged, cut or of no known format.
    Unreadable,
    /// An image and its label image of different sizes.
    SizeMismatch,
    /// A label value or colour that the data set does not define.
    UndefinedLabel,
    /// Shapes in an annotation file that cannot be drawn: of a class that the data set does not have, or of an image of another
    /// size or place.
    Annotation,
    /// Masks of 0 and 255, palettes or colours, with the mapping that fits.
    LabelCoding,
    /// Numbers of bands that do not fit the data set or each other.
    Bands,
    /// Types of samples that differ, such as 8 beside 16 bits.
    SampleType,
    /// Ranges of numbers that differ, such as decibels beside linear intensities.
    ValueRange,
    /// A normalisation that does not fit the samples.
    Normalisation,
    /// Orientation tags.
    Orientation,
    /// Pixels without data.
    Nodata,
    /// An image of one value.
    ConstantImage,
    /// The same image more than once.
    Duplicate,
    /// The same image with different labels.
    ConflictingLabels,
    /// Images that look the same.
    NearDuplicate,
    /// The same labels for different images.
    CopiedLabels,
    /// Images that show parts of one scene, by their content.
    Overlap,
    /// Images that lie over each other, by their coordinates.
    Georeference,
    /// Images of one scene, by their names.
    SceneNames,
    /// Images of one group on both sides of the split.
    SplitGroup,
    /// Labels that show nothing but the first class.
    EmptyLabels,
    /// Labels that label nothing.
    NoLabels,
    /// Labels that are shifted against the edges in the image.
    ShiftedLabels,
    /// A class that a split lacks.
    MissingClass,
}

/// A file that a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The other file, where a finding is about two.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    /// What it is, in a sentence without the files.
    pub message: String,
    /// What to do; empty where there is nothing to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// Where, all of them.
    pub places: Vec<Place>,
}

impl Finding {
    pub(super) fn new(kind: Kind, severity: Severity, message: impl Into<String>, places: Vec<Place>) -> Self {
        Self { kind, severity, message: message.into(), remedy: String::new(), places }
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}
