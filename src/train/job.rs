//! What is to be learnt from what.

use std::path::PathBuf;

use super::forest::Split;
use crate::base::event::Sink;
use crate::base::{Error, Result};
use crate::data::{Dataset, Pair, pair_folders, pair_lists, pair_mask_folders, read_pairs};
use crate::recipe::Recipe;
use crate::run::find_dataset;

/// A training to prepare: a recipe, images with labels, and what it begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The model and how it is trained.
    pub recipe: Recipe,
    /// What labels mean; the recipe's own data set if left out.
    pub dataset: Option<Dataset>,
    /// Images to learn from, with their labels.
    pub images: Source,
    /// What is scored.
    pub validation: Validation,
    /// Files of the weights to begin with; random ones if there are none.
    pub weights: Vec<PathBuf>,
    /// Whether the classification head begins with random weights nevertheless. Of a network alone.
    pub new_head: bool,
    /// Which labelled pixels are held out to be scored. Of a random forest alone; connected regions if left out.
    pub split: Option<Split>,
    /// Seed of weights, order, splits and augmentation.
    pub seed: u64,
}

/// What a training is scored on.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Validation {
    /// Nothing of its own: a network's last weights count as the best, a forest is scored on 5 % of its pixels.
    #[default]
    None,
    /// A share of the training set, between 0 and 1: of a network's images, of a forest's labelled pixels.
    Fraction(f64),
    /// Images of their own.
    Source(Source),
}

/// Where pairs come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Two lists, paired line by line.
    Lists {
        /// Images.
        images: PathBuf,
        /// Label images.
        labels: PathBuf,
    },
    /// A list of an image and its label image in each line.
    PairList(PathBuf),
    /// Two folders, paired by stem.
    Folders {
        /// Images.
        images: PathBuf,
        /// Label images.
        labels: PathBuf,
    },
    /// A folder with a folder for each image, which may have several masks.
    MaskFolders(PathBuf),
    /// A table of labelled points or rectangles, for a random forest; see [`read_label_csv`](crate::data::read_label_csv).
    Table {
        /// The CSV file.
        table: PathBuf,
        /// Folder of the images that it names; beside the table if left out.
        images: Option<PathBuf>,
    },
    /// Pairs that are at hand.
    Pairs(Vec<Pair>),
}

impl Source {
    /// The pairs.
    pub fn pairs(&self, sink: &dyn Sink) -> Result<Vec<Pair>> {
        match self {
            Self::Lists { images, labels } => pair_lists(images, labels, sink),
            Self::PairList(list) => read_pairs(list, sink),
            Self::Folders { images, labels } => pair_folders(images, labels, sink),
            Self::MaskFolders(root) => pair_mask_folders(root),
            Self::Table { table, .. } => Err(Error::content(
                table,
                "is a table of labelled points, which only a random forest learns from; give label images",
            )),
            Self::Pairs(pairs) => Ok(pairs.clone()),
        }
    }
}

impl Job {
    /// Trains a recipe from random weights, without validation.
    pub fn new(recipe: Recipe, images: Source) -> Self {
        Self {
            recipe,
            dataset: None,
            images,
            validation: Validation::None,
            weights: Vec::new(),
            new_head: false,
            split: None,
            seed: 0,
        }
    }

    /// The data set to train with.
    pub(super) fn dataset(&self) -> Result<Dataset> {
        match (&self.dataset, self.recipe.dataset()) {
            (Some(dataset), _) => Ok(dataset.clone()),
            (None, Some(name)) => find_dataset(name),
            (None, None) => Err(Error::Config(format!(
                "recipe '{}' names no data set, and `dataset` is not given",
                self.recipe.name()
            ))),
        }
    }
}
