//! Recipes of hypercolumns and a random forest.

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};
use crate::data::Dataset;
use crate::pixels::forest::{ClassWeights, Settings};
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
        let classes = dataset.class_count();
        if self.max_pixels < 2 {
            return Err(Error::Config(format!("`max_pixels` is {}; it must be 2 at the least", self.max_pixels)));
        }
        match &self.forest.class_weights {
            ClassWeights::Numbers(weights) if weights.len() != classes => Err(Error::Config(format!(
                "forest: class_weights has {} numbers, but data set '{}' has {classes} classes; give one number a class",
                weights.len(),
                dataset.name
            ))),
            _ => Ok(()),
        }
    }
}
