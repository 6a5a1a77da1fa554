//! A training of any kind, prepared.

use std::path::{Path, PathBuf};

use super::job::Job;
use super::session::{Outcome, Session};
use super::{forest, network};
use crate::base::event::Sink;
use crate::base::{Error, Result};
use crate::data::{Dataset, Pair};
use crate::nn::device::DeviceChoice;
use crate::recipe::Recipe;

/// A training that is ready to start: every file was read and checked.
#[derive(Debug, Clone)]
pub enum Plan {
    /// Of a network.
    Network(Box<network::Plan>),
    /// Of a random forest.
    Forest(Box<forest::Plan>),
}

impl Plan {
    /// Reads the lists, checks the files, fits recipe and data set to the weights to begin with, and settles what depends
    /// on the data, such as a measured normalisation.
    pub fn new(job: Job, sink: &dyn Sink) -> Result<Self> {
        Ok(match job.recipe.clone() {
            Recipe::Network(recipe) => Self::Network(Box::new(network::Plan::new(*recipe, &job, sink)?)),
            Recipe::Forest(recipe) => Self::Forest(Box::new(forest::Plan::new(*recipe, &job, sink)?)),
        })
    }

    /// Name and summary of the recipe.
    pub fn recipe(&self) -> (&str, &str) {
        match self {
            Self::Network(plan) => (&plan.recipe.name, &plan.recipe.summary),
            Self::Forest(plan) => (&plan.recipe.name, &plan.recipe.summary),
        }
    }

    /// The data set as trained on.
    pub fn dataset(&self) -> &Dataset {
        match self {
            Self::Network(plan) => &plan.dataset,
            Self::Forest(plan) => &plan.dataset,
        }
    }

    /// Images to train on, and to validate on.
    pub fn images(&self) -> (usize, usize) {
        match self {
            Self::Network(plan) => (plan.train.len(), plan.validation.len()),
            Self::Forest(plan) => (plan.images.len(), plan.validation.len()),
        }
    }

    /// The files of the images to train on and of their labels.
    pub fn files(&self) -> Vec<PathBuf> {
        let of = |pair: Pair| std::iter::once(pair.image).chain(pair.label.files().to_vec());
        match self {
            Self::Network(plan) => plan.train.iter().cloned().flat_map(of).collect(),
            Self::Forest(plan) => plan.images.iter().map(forest::LabelledImage::pair).flat_map(of).collect(),
        }
    }

    /// Notes worth showing before a training on `device`, which is resolved.
    pub fn advice(&self, device: DeviceChoice) -> Vec<&'static str> {
        match self {
            Self::Network(plan) => plan.advice(device),
            Self::Forest(plan) => plan.advice(),
        }
    }

    /// Writes a PNG of training samples, augmented as the network would see them.
    pub fn write_contact_sheet(&self, path: &Path, workers: usize) -> Result<()> {
        match self {
            Self::Network(plan) => {
                let augment = &plan.recipe.training.resolved_phases()[0].augment;
                network::write_contact_sheet(path, &plan.loader(workers)?, plan.seed, augment)
            }
            Self::Forest(_) => Err(Error::conflict(
                "augment",
                "has no effect on a random forest, which is trained without augmentation",
            )),
        }
    }

    /// Trains into `folder`.
    ///
    /// # Errors
    ///
    /// Before anything is written: if the folder holds a run and the session does not overwrite it, if it holds other
    /// files, if the memory does not suffice, if the run would overwrite the weights that it begins with.
    pub fn start(self, folder: &Path, session: &Session<'_>) -> Result<Outcome> {
        let session = Session { device: session.device.resolve()?, ..*session };
        match self {
            Self::Network(plan) => network::start(*plan, folder, &session),
            Self::Forest(_) if session.group.is_some() => Err(Error::conflict(
                "processes",
                "do not train a random forest together: it is fitted by one process, on all cores of its machine",
            )),
            Self::Forest(plan) => forest::train(*plan, folder, &session),
        }
    }
}
