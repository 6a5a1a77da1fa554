//! What label mode is started with.

use std::path::PathBuf;

use crate::base::{Error, Result};
use crate::nn::device::DeviceChoice;
use crate::recipe::{ForestRecipe, Recipe};

/// The recipe that is usual.
const RECIPE: &str = "hypercolumn-core";

/// What label mode is started with.
#[derive(Debug, Clone)]
pub struct LabelOptions {
    /// The folder of the images, or one image.
    pub images: PathBuf,
    /// Where labels go; a folder beside the images if left out.
    pub labels: Option<PathBuf>,
    /// Features and forest.
    pub recipe: ForestRecipe,
    /// Files of the encoder's weights; random ones if there are none.
    pub weights: Vec<PathBuf>,
    /// Where features are computed.
    pub device: DeviceChoice,
    /// Most bytes that features may take in memory; a quarter of what is free if left out.
    pub memory: Option<u64>,
    /// A folder that keeps features for the next time.
    pub cache_features: Option<PathBuf>,
    /// Seed of forest, random weights and splits.
    pub seed: u64,
}

impl LabelOptions {
    /// Of a folder or an image, with everything else as usual.
    pub fn new(images: impl Into<PathBuf>, recipe: ForestRecipe) -> Self {
        Self {
            images: images.into(),
            labels: None,
            recipe,
            weights: Vec::new(),
            device: DeviceChoice::Auto,
            memory: None,
            cache_features: None,
            seed: 0,
        }
    }

    /// The same with a recipe by its name or file, which must be of a forest; `hypercolumn-core` if left out.
    pub fn find(images: impl Into<PathBuf>, recipe: Option<&str>) -> Result<Self> {
        let name = recipe.unwrap_or(RECIPE);
        let Recipe::Forest(recipe) = Recipe::find(name)? else {
            let reason = format!("{name} is a network, but label mode trains random forests; choose {RECIPE}");
            return Err(Error::conflict("recipe", reason));
        };
        Ok(Self::new(images, *recipe))
    }
}
