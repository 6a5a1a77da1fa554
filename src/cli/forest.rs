//! What concerns pixels of cores: forests, and proportions along them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use segtool::nn::model::Tap;
use segtool::tools::proportions::Axis;
use segtool::train::forest::Split;

use super::values::positive;

/// How a random forest is trained: options without effect on a network.
#[derive(Debug, Args)]
#[command(next_help_heading = "Hypercolumns and random forest (recipe hypercolumn-core)")]
pub(crate) struct ForestTraining {
    /// Table of labelled points or rectangles; images are looked for beside it and in --images
    #[arg(long, value_name = "FILE.csv", conflicts_with_all = ["train_list", "labels", "mask_folders"])]
    pub(crate) label_csv: Option<PathBuf>,
    /// Score on connected regions and on single pixels that are held out (region), on pixels alone (pixel), or not at all
    /// (none) [default: region]
    #[arg(long, value_name = "HOW")]
    pub(crate) split: Option<Split>,
    /// Layers that are features, such as pool1,pool2 or colors,conv1_1
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) taps: Vec<Tap>,
    /// Also features of the image this many times smaller, as in 1,2,4
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = positive)]
    pub(crate) scales: Vec<usize>,
    /// Keep features of images in this folder, so that training again with other labels takes seconds
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_features: Option<PathBuf>,
}

/// Along which side a core goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Along {
    Horizontal,
    Vertical,
}

impl From<Along> for Axis {
    fn from(along: Along) -> Self {
        match along {
            Along::Horizontal => Self::Horizontal,
            Along::Vertical => Self::Vertical,
        }
    }
}

/// Shares of the classes along a core.
#[derive(Debug, Args)]
#[command(next_help_heading = "Proportions along a core")]
pub(crate) struct Core {
    /// Also write <stem>_proportions.csv and .png: shares of the classes along the image, in so many parts [100]
    #[arg(long, value_name = "PARTS", num_args = 0..=1, require_equals = true, default_missing_value = "100")]
    #[arg(value_parser = positive)]
    pub(crate) proportions: Option<usize>,
    /// Along which side [default: the longer one]
    #[arg(long, value_name = "SIDE", requires = "proportions", ignore_case = true)]
    pub(crate) along: Option<Along>,
    /// Depth of the left or upper end in metres
    #[arg(long, value_name = "METRES", requires_all = ["proportions", "depth_bottom"], allow_negative_numbers = true)]
    pub(crate) depth_top: Option<f64>,
    /// Depth of the right or lower end in metres
    #[arg(long, value_name = "METRES", requires_all = ["proportions", "depth_top"], allow_negative_numbers = true)]
    pub(crate) depth_bottom: Option<f64>,
}
