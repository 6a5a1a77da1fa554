//! Images with their labels: the options by which `segtool train` and `segtool check` are told of them.

use std::path::PathBuf;

use clap::Args;
use segtool::data::GroupBy;

use super::headings::DATA;

/// The ways to give them, for an error.
pub(super) const WAYS: &str = "give --images DIR and --labels DIR; --train-list FILE (with --label-list FILE); --mask-folders DIR; \
                               or, for a random forest, --label-csv FILE.csv";

/// Images to learn from and to validate with, and where their labels are.
#[derive(Debug, Args)]
pub(crate) struct LabelledImages {
    /// Folder of training images, matched to --labels by file stem; or one image; without --labels, the root of a data set
    /// in one of the layouts listed below
    #[arg(long, value_name = "DIR|FILE", help_heading = DATA)]
    pub(crate) images: Option<PathBuf>,
    /// Folder of their label images, or one label image; or a file of an annotation tool, or a folder of such files
    #[arg(long, value_name = "DIR|FILE", requires = "images", help_heading = DATA)]
    pub(crate) labels: Option<PathBuf>,
    /// Suffix of label images: with _mask, a_mask.png belongs to a.jpg; they may be in the folder of the images
    #[arg(long, value_name = "SUFFIX", requires = "labels", help_heading = DATA)]
    pub(crate) label_suffix: Option<String>,
    /// List of training images; each line may also name the label image (also -train)
    #[arg(long, value_name = "FILE", conflicts_with = "images", help_heading = DATA)]
    pub(crate) train_list: Option<PathBuf>,
    /// List of their label images, in the same order (also -lab)
    #[arg(long, value_name = "FILE", requires = "train_list", help_heading = DATA)]
    pub(crate) label_list: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) table: LabelTable,
    /// Share of the training images to hold out for validation, between 0 and 1, drawn with --seed [default: no
    /// validation]; for a random forest, share of the labelled pixels [default: 0.05]
    #[arg(long, value_name = "SHARE", help_heading = DATA)]
    pub(crate) val_fraction: Option<f64>,
    /// List of validation images; each line may also name the label image
    #[arg(long, value_name = "FILE", conflicts_with = "val_fraction", help_heading = DATA)]
    pub(crate) val_list: Option<PathBuf>,
    /// List of their label images, in the same order
    #[arg(long, value_name = "FILE", requires = "val_list", help_heading = DATA)]
    pub(crate) val_label_list: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) whole: WholeImages,
}

/// Labels of single pixels, which only a random forest learns from.
#[derive(Debug, Args)]
pub(crate) struct LabelTable {
    /// Table of labelled points or rectangles, for a random forest (see segtool train --help); its images are beside it or
    /// in --images
    #[arg(long, value_name = "FILE.csv", conflicts_with_all = ["train_list", "labels", "mask_folders"], help_heading = DATA)]
    pub(crate) label_csv: Option<PathBuf>,
}

/// Options without effect on a random forest, which learns from single pixels.
#[derive(Debug, Args)]
pub(crate) struct WholeImages {
    /// Folder with one subfolder per image: images/ holds the image, masks/ its masks
    #[arg(long, value_name = "DIR", conflicts_with_all = ["train_list", "images"], help_heading = DATA)]
    pub(crate) mask_folders: Option<PathBuf>,
    /// Such a folder for the validation images
    #[arg(long, value_name = "DIR", conflicts_with_all = ["val_list", "val_fraction"], help_heading = DATA)]
    pub(crate) val_mask_folders: Option<PathBuf>,
    /// Keep images of one group on one side of the split into training and validation: a regular expression whose parentheses
    /// capture the group from the file name, georeference (images that overlap), or a CSV file with the columns file,group; in
    /// training, with --val-fraction
    #[arg(long, value_name = "HOW", help_heading = DATA)]
    pub(crate) group_by: Option<GroupBy>,
    /// Leave out the pairs that this table rates bad: a CSV file with the columns file,rating (good, doubtful or bad)
    #[arg(long, value_name = "FILE.csv", help_heading = DATA)]
    pub(crate) exclude: Option<PathBuf>,
}

impl LabelledImages {
    /// Whether anything names images.
    pub(super) fn are_named(&self) -> bool {
        let places = [&self.images, &self.train_list, &self.table.label_csv, &self.whole.mask_folders];
        places.into_iter().any(Option::is_some)
    }
}
