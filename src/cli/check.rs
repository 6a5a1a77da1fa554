//! `segtool check`.

use std::path::PathBuf;

use clap::Args;

use super::data::{LabelledImages, WAYS};
use super::given::Given;
use super::headings::{DATA, HARDWARE, OUTPUT};
use super::values::{positive, threads};

#[derive(Debug, Args)]
#[command(
    override_usage = "\
segtool check --images DIR [--labels DIR|FILE] [OPTIONS]
       segtool check --train-list FILE [--label-list FILE] [OPTIONS]
       segtool check --mask-folders DIR [OPTIONS]
       segtool check --label-csv FILE.csv [OPTIONS]",
    after_help = "\
Examples:
  segtool check --images photos --labels masks --write-dataset my.toml
  segtool check --dataset my.toml --images photos --labels masks \\
      --val-fraction 0.1 --group-by '^(scene[0-9]+)_'
  segtool check --dataset seeps --train-list train_images.txt \\
      --label-list train_masks.txt --val-list val_images.txt \\
      --val-label-list val_masks.txt --json > check.json
  segtool check --images photos --labels instances.json
  segtool check --dataset my.toml --images photos --labels masks \\
      --report review.html --samples 40

Reads every image and its labels once, and lists what is wrong with the data
set: errors, which would make training fail; warnings, which would not, but may
make the model or its scores wrong; and notes. Then follow the share of each
class, statistics of the images, and suggestions for training.

Files: pairs missing on either side, damaged or cut files, sizes that differ,
files named twice, images and labels swapped.
Labels: values outside the data set, with the first pixel of each; masks of 0
and 255, palettes and colours, with the mapping; empty labels; labels shifted
against the image; the same labels for different images.
Images: mixed numbers of bands, sample types or value ranges, orientation tags,
pixels without data, constant images.
Split: duplicates and near-duplicates, crops of one scene found by content, by
georeference or by name on both sides; classes that one side lacks.

--report writes a web page for reviewing images with their annotations: rate
them good, doubtful or bad, and save the ratings as a table for --exclude. The
page is one file and needs no network.

--images alone takes a data set in the folders of Pascal VOC, Cityscapes,
ADE20K, mmsegmentation (img_dir, ann_dir) or nnU-Net, with its validation part.

Without --dataset or --recipe, labels are described, but not checked against a
data set; --write-dataset writes a data set file that fits them.

Exit codes: 0 if training would start, with or without warnings; 1 if it would
fail."
)]
pub(crate) struct Check {
    /// Data set that the labels should follow: a built-in name, a .toml file or a run folder [default: the recipe's, if
    /// one is given]
    #[arg(long, value_name = "NAME|FILE|RUN", help_heading = DATA)]
    pub(crate) dataset: Option<String>,
    /// Recipe to train with: its data set is the default
    #[arg(long, short = 'm', value_name = "NAME|FILE|RUN", help_heading = DATA)]
    pub(crate) recipe: Option<String>,
    #[command(flatten)]
    pub(crate) data: LabelledImages,
    /// Random seed of the split, as in training, and of the samples of --report
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = DATA)]
    pub(crate) seed: u64,
    /// Predictions to show in --report beside the annotations, matched by file stem; the samples are then those with the
    /// lowest mean IoU, the worst first
    #[arg(long, value_name = "DIR", requires = "report", help_heading = DATA)]
    pub(crate) predictions: Option<PathBuf>,
    /// Print one JSON object instead of text, with all files of each finding
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
    /// Write a data set file that fits the labels
    #[arg(long, value_name = "FILE.toml", conflicts_with = "label_csv", help_heading = OUTPUT)]
    pub(crate) write_dataset: Option<PathBuf>,
    /// Write a table with the columns file,group for --group-by: duplicates, near-duplicates and overlapping images are one
    /// group
    #[arg(long, value_name = "FILE.csv", conflicts_with = "label_csv", help_heading = OUTPUT)]
    pub(crate) write_groups: Option<PathBuf>,
    /// Write a web page for reviewing and rating images with their annotations
    #[arg(long, value_name = "FILE.html", conflicts_with = "label_csv", help_heading = OUTPUT)]
    pub(crate) report: Option<PathBuf>,
    /// Number of samples of --report, drawn at random [default: 40]
    #[arg(long, value_name = "N", value_parser = positive, requires = "report", help_heading = OUTPUT)]
    pub(crate) samples: Option<usize>,
    /// Replace existing files
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) overwrite: bool,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = threads, help_heading = HARDWARE)]
    pub(crate) workers: Option<usize>,
    /// What was given on the command line.
    #[arg(skip)]
    pub(crate) given: Given,
}

impl Check {
    /// Names every way to give images and labels, where none is taken.
    pub(super) fn check_data(&self) -> Result<(), String> {
        if self.data.are_named() { Ok(()) } else { Err(format!("nothing to check: {WAYS}")) }
    }
}
