//! `segtool convert`.

use std::path::PathBuf;

use clap::Args;
use segtool::tools::convert::Format;

use super::headings::{CONVERSION, DATA, HARDWARE, OUTPUT};

#[derive(Debug, Args)]
#[command(
    override_usage = "\
segtool convert LABELS --images DIR --to FORMAT --output DIR|FILE [OPTIONS]
       segtool convert --mask-folders DIR --to FORMAT --output DIR|FILE [OPTIONS]",
    after_help = "\
Examples:
  segtool convert annotations.json --images photos --to png --output masks
  segtool convert masks --images photos --dataset my.toml --to labelme \\
      --output photos
  segtool convert predictions --images scenes --dataset runs/seeps \\
      --to label-studio --output tasks.json
  segtool convert --mask-folders stage1_train --dataset earthquake \\
      --to coco --output instances.json

Takes the same labels as `segtool train --labels`, and predictions.

png and npy are label maps with the label values of the data set. labelme and
geojson write a file for each image, below the folder --output; coco, cvat and
label-studio write one file. Outlines run along the edges of pixels, so that
reading them back gives the same label map; with --simplify they have fewer
points and are less exact. Outlines in labelme, CVAT, COCO and Label Studio
cannot have holes: regions with holes become masks (labelme, CVAT), run-length
encoded masks (COCO) or brush masks (Label Studio). The class called background
is not written, since pixels outside all shapes are background; without such a
class, pixels without a label are not written.

Label Studio shows the result as predictions, to be corrected."
)]
pub(crate) struct Convert {
    /// Annotation file or a folder of such files, or a folder of label images or predictions
    #[arg(value_name = "LABELS", requires = "images", required_unless_present = "mask_folders")]
    pub(crate) labels: Option<PathBuf>,
    /// Folder of the images, or one image
    #[arg(long, value_name = "DIR|FILE", requires = "labels", help_heading = DATA)]
    pub(crate) images: Option<PathBuf>,
    /// Instead of LABELS and --images: folder with one subfolder per image, where images/ holds the image and masks/ its masks
    #[arg(long, value_name = "DIR", conflicts_with_all = ["labels", "images"], help_heading = DATA)]
    pub(crate) mask_folders: Option<PathBuf>,
    /// Data set: classes and label values; a built-in name, a .toml file or a run folder [default: the classes
    /// named in the annotations; required for label images]
    #[arg(long, value_name = "NAME|FILE|RUN", help_heading = DATA)]
    pub(crate) dataset: Option<String>,
    /// png, npy, labelme, coco, cvat, label-studio or geojson
    #[arg(long, value_name = "FORMAT", help_heading = CONVERSION)]
    pub(crate) to: Format,
    /// Simplify outlines: largest distance from the pixel edges, in pixels [default: follow the edges exactly]
    #[arg(long, value_name = "PIXELS", value_parser = super::values::rate, help_heading = CONVERSION)]
    pub(crate) simplify: Option<f64>,
    /// Folder to write to; with coco, cvat and label-studio, the file
    #[arg(long, value_name = "DIR|FILE", help_heading = OUTPUT)]
    pub(crate) output: PathBuf,
    /// Replace existing files
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) overwrite: bool,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = super::threads, help_heading = HARDWARE)]
    pub(crate) workers: Option<usize>,
}
