//! Predictions on their way to files.

use std::path::Path;

use image::RgbImage;

use super::formats::{CHART, COLOR, Formats, OVERLAY, PNG, SHARES};
use super::model::{Part, Strip};
use super::strips::StripWriter;
use super::{Along, Outputs, Prediction};
use crate::base::Result;
use crate::base::files::write_bytes;
use crate::data::Dataset;
use crate::draw::{Classes, color_labels, overlay_labels, write_png};
use crate::image::{Pixels, encode_label_png, encode_png};
use crate::tools::proportions::{Axis, Proportions};

/// Writes predictions as they come, whole or some rows at a time.
pub(super) struct Writing<'a> {
    outputs: &'a Outputs,
    dataset: &'a Dataset,
    /// The files of the image whose rows come.
    growing: Option<StripWriter<'a>>,
}

impl<'a> Writing<'a> {
    pub(super) fn new(outputs: &'a Outputs, dataset: &'a Dataset) -> Self {
        Self { outputs, dataset, growing: None }
    }

    /// Writes what comes of an image, whose label map has these formats; whether all its files are written.
    pub(super) fn take(&mut self, part: Part, (input, formats): (&Path, Formats), folder: &Path) -> Result<bool> {
        match part {
            Part::Whole(mut pending) => {
                let (shown, _reserved) = (pending.shown.take(), pending.reserved.take());
                write_whole(self.outputs, self.dataset, (input, formats), pending.finish(), shown, folder)?;
                Ok(true)
            }
            Part::Strip(strip) => {
                let mut files = match self.growing.take() {
                    Some(files) => files,
                    None => StripWriter::new(self.outputs, self.dataset, (input, formats), strip.size, folder)?,
                };
                files.push(&strip)?;
                if strip.is_last() {
                    files.finish()?;
                } else {
                    self.growing = Some(files);
                }
                Ok(strip.is_last())
            }
            Part::Abandoned => {
                self.growing = None;
                Ok(false)
            }
        }
    }
}

/// Writes the files of one image, its label map in these formats.
fn write_whole(
    outputs: &Outputs,
    dataset: &Dataset,
    (input, formats): (&Path, Formats),
    prediction: Prediction,
    shown: Option<RgbImage>,
    output: &Path,
) -> Result<()> {
    let stem = input.file_stem().unwrap_or_default().to_string_lossy();
    let file = |ending: &str| output.join(format!("{stem}{ending}"));
    let size = prediction.size();
    let classes = &prediction.labels.classes;
    let Classes { names, colors, .. } = Classes::of(dataset);
    let image = |image: RgbImage| encode_png(size, Pixels::Rgb8(image.as_raw()));
    if formats.png {
        write_bytes(&file(PNG), &encode_label_png(size, &prediction.label_values(), dataset.largest_value())?)?;
    }
    if outputs.color {
        write_bytes(&file(COLOR), &image(color_labels(classes, size.width, &colors))?)?;
    }
    if let Some(shown) = shown.as_ref().filter(|_| outputs.overlay) {
        write_bytes(&file(OVERLAY), &image(overlay_labels(shown, classes, &colors, outputs.opacity))?)?;
    }
    if let Some(Along { parts, axis, depths }) = outputs.proportions {
        let axis = axis.unwrap_or_else(|| Axis::longer(size));
        let proportions = Proportions::of(&prediction.labels, names.len(), axis, parts)?;
        write_bytes(&file(SHARES), proportions.to_csv(&names, depths)?.as_bytes())?;
        write_png(&file(CHART), &proportions.image(shown.as_ref(), &colors, &names, depths)?)?;
    }
    let mut files = StripWriter::new(outputs, dataset, (input, formats), size, output)?;
    files.push(&Strip::whole(prediction))?;
    files.finish()
}
