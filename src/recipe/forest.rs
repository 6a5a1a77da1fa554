//! Recipes of hypercolumns and a random forest.

use serde::{Deserialize, Serialize};

use crate::base::{Result, require};
use crate::data::Dataset;
use crate::pixels::forest::Settings;
use crate::pixels::hypercolumn::HypercolumnConfig;

/// Features of pixels and the forest that classifies them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForestRecipe {
    /// Its short name.
    pub name: String,
    /// One line on what it is.
    #[serde(default)]
    pub summary: String,
    /// The data set it is made for; `--dataset` chooses another.
    pub dataset: Option<String>,
    /// Most labelled pixels to learn from; of more, a random part of every class is taken.
    #[serde(default = "many")]
    pub max_pixels: usize,
    /// What is known of a pixel.
    pub features: HypercolumnConfig,
    /// What learns from it.
    #[serde(default)]
    pub forest: Settings,
}

fn many() -> usize {
    200_000
}

impl ForestRecipe {
    /// Checks that everything goes together and with a data set.
    pub fn check(&self, dataset: &Dataset) -> Result<()> {
        self.features.check(dataset.bands)?;
        self.forest.check()?;
        require(self.max_pixels >= 2, "max_pixels", self.max_pixels, "2 at the least")?;
        self.forest.check_classes(dataset.class_count())
    }
}
