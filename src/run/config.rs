//! What a run was made with.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::{Result, require};
use crate::data::Dataset;
use crate::recipe::{ForestRecipe, NetworkRecipe};
use crate::weights::Description;

/// What a run was made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig<R> {
    /// Version of segtool that wrote it.
    pub version: String,
    /// Seed of weights, order, splits and augmentation.
    pub seed: u64,
    /// Where it was trained, or features were computed; resumed there too unless told otherwise.
    pub device: String,
    /// Files of the weights it began with, if it did not begin with random ones.
    #[serde(default)]
    pub weights: Vec<PathBuf>,
    /// When it began, by [`utc`](super::utc); older runs do not say.
    #[serde(default)]
    pub started: Option<String>,
    /// The recipe as used.
    pub recipe: R,
    /// Weight of each class's pixels in the losses that are means over pixels, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<Vec<f32>>,
    /// The data set as used: merged classes and measured normalisation are in it.
    pub dataset: Dataset,
}

/// Configuration of a network's run.
pub type NetworkRunConfig = RunConfig<NetworkRecipe>;
/// Configuration of a random forest's run.
pub type ForestRunConfig = RunConfig<ForestRecipe>;

/// A recipe of one kind of model, as runs hold it.
pub trait RunRecipe: Clone + Serialize {
    /// Says what is wrong with it, alone or with that data set.
    fn check_with(&self, dataset: &Dataset) -> Result<()>;
}

impl RunRecipe for NetworkRecipe {
    fn check_with(&self, dataset: &Dataset) -> Result<()> {
        let mut recipe = self.clone();
        // Epochs beside phases, a mistake in a recipe, change nothing in a run that went by its phases.
        if !recipe.training.phases.is_empty() {
            recipe.training.epochs = 0;
        }
        recipe.fit(dataset).map(drop)
    }
}

impl RunRecipe for ForestRecipe {
    fn check_with(&self, dataset: &Dataset) -> Result<()> {
        self.check(dataset)
    }
}

impl<R: RunRecipe> RunConfig<R> {
    /// Checks what recipe and data set files are checked for, and that both go together.
    pub(super) fn check(&self) -> Result<()> {
        self.dataset.validate()?;
        let (bands, most) = (self.dataset.bands, usize::from(u16::MAX));
        require(bands <= most, "bands", bands, format!("at most {most}, as in images"))?;
        self.recipe.check_with(&self.dataset)
    }

    /// Names of the classes.
    pub(crate) fn class_names(&self) -> Vec<String> {
        self.dataset.classes.iter().map(|class| class.name.clone()).collect()
    }
}

impl NetworkRunConfig {
    /// What its weights are of.
    pub fn description(&self) -> Description {
        let own = Description::own(self.recipe.network.clone(), self.dataset.normalisation.clone());
        own.deciding_by(self.recipe.activation, self.recipe.threshold).of_classes(self.dataset.clone())
    }
}
