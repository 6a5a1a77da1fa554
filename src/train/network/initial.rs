//! A training that begins with weights instead of random numbers.

use std::path::PathBuf;

use crate::base::files::absolute;
use crate::base::{Error, Result};
use crate::data::Dataset;
use crate::recipe::NetworkRecipe;
use crate::train::job::Job;
use crate::weights::Weights;

/// What a training begins with.
#[derive(Debug, Clone)]
pub struct Initial {
    /// The weights.
    pub weights: Weights,
    /// Whether the layers that give the classes begin with random numbers nevertheless.
    pub new_head: bool,
}

impl Initial {
    /// Opens the weights that a job begins with, if it names any.
    pub(super) fn open(job: &Job, recipe: &NetworkRecipe) -> Result<Option<Self>> {
        if job.weights.is_empty() {
            let reason = "has no effect without `weights`; leave it out";
            return if job.new_head { Err(Error::conflict("new_head", reason)) } else { Ok(None) };
        }
        Ok(Some(Self { weights: Weights::open_for(&job.weights, &recipe.network)?, new_head: job.new_head }))
    }

    /// Changes recipe and data set so that the weights fit and mean what they meant: the network's structure, and how
    /// images are normalised. Returns what was changed, a line each.
    pub fn fit(&self, recipe: &mut NetworkRecipe, dataset: &mut Dataset) -> Result<Vec<String>> {
        let (network, mut changes) = self.weights.adapt(&recipe.network)?;
        recipe.network = network;
        changes.extend(self.weights.fit_normalisation(dataset));
        Ok(changes)
    }

    /// The files, for the run's record.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.weights.checkpoint.paths.iter().map(|path| absolute(path)).collect()
    }
}
