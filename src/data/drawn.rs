//! Label maps drawn from the shapes of annotation files.

use std::path::Path;

use super::dataset::Dataset;
use crate::annotation;
use crate::base::label_map::{IGNORE, LabelMap};
use crate::base::{Result, Size};

/// Draws what a file of annotations says of an image, which has that size; `name` is what the file calls it. What no shape
/// covers is of the class called background, or has no label where there is none.
pub(super) fn draw_labels(
    (image, size): (&Path, Size),
    (file, name): (&Path, &str),
    dataset: &Dataset,
) -> Result<LabelMap> {
    let annotations = annotation::open(file)?;
    let shapes = annotations.shapes(annotations.image(name)?, image, size)?;
    let background = dataset.background_class().unwrap_or(IGNORE);
    let classes = annotation::draw(&shapes, size, background, |class| dataset.expect_class(class, file))?;
    Ok(LabelMap { size, classes })
}
