//! Options for cores: random forests, and proportions along a core.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use segtool::nn::model::Tap;
use segtool::tools::proportions::Axis;
use segtool::train::forest::Split;

use super::values::positive;

/// How a random forest is trained: options without effect on a network.
#[derive(Debug, Args)]
#[command(next_help_heading = "Random forest on hypercolumns (recipe hypercolumn-core)")]
pub(crate) struct ForestTraining {
    /// What is held out for scoring: region (connected regions of labels; single pixels in a second score), pixel
    /// (single pixels only), or none [default: region]
    #[arg(long, value_name = "HOW")]
    pub(crate) split: Option<Split>,
    /// Encoder layers to use as features, such as pool1,pool2 or colors,conv1_1 [default: the recipe's]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) taps: Vec<Tap>,
    /// Add features of copies downsampled by these factors, such as 1,2,4 [default: the recipe's]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = positive)]
    pub(crate) scales: Vec<usize>,
    /// Keep the computed features in this folder, so that training again with more labels takes only seconds
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_features: Option<PathBuf>,
}

/// Direction of a core.
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
    /// Also write <stem>_proportions.csv and .png: the share of each class along the image, in this many parts
    /// [default: 100]
    #[arg(long, value_name = "PARTS", num_args = 0..=1, require_equals = true, default_missing_value = "100")]
    #[arg(value_parser = positive)]
    pub(crate) proportions: Option<usize>,
    /// Direction of the core: horizontal or vertical [default: along the longer side]
    #[arg(long, value_name = "DIRECTION", requires = "proportions", ignore_case = true, hide_short_help = true)]
    pub(crate) along: Option<Along>,
    /// Depth of the left or upper end, in metres
    #[arg(long, value_name = "METRES", requires_all = ["proportions", "depth_bottom"], allow_negative_numbers = true)]
    #[arg(hide_short_help = true)]
    pub(crate) depth_top: Option<f64>,
    /// Depth of the right or lower end, in metres
    #[arg(long, value_name = "METRES", requires_all = ["proportions", "depth_top"], allow_negative_numbers = true)]
    #[arg(hide_short_help = true)]
    pub(crate) depth_bottom: Option<f64>,
}
