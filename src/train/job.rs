//! What is to be learnt from what.

use std::path::{Path, PathBuf};

use super::forest::Split;
use super::session::refuse_own_weights;
use super::source::Source;
use crate::base::event::Sink;
use crate::base::{Error, Result};
use crate::data::{Dataset, GroupBy, Pair, Ratings, dataset_of_annotations, split_groups, split_validation};
use crate::recipe::Recipe;
use crate::run::find_dataset;

/// A training to prepare: a recipe, images with labels, and what it begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The model and how it is trained.
    pub recipe: Recipe,
    /// What labels mean; if left out, the classes that files of annotation tools name, or the recipe's own data set.
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
    /// Images that stay on one side where a share is set aside for validation. Of a network alone.
    pub group_by: Option<GroupBy>,
    /// Pairs to leave out. Of a network alone.
    pub exclude: Option<Ratings>,
    /// Seed of weights, order, splits and augmentation.
    pub seed: u64,
}

/// What a training is scored on.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Validation {
    /// No validation set: a network's last weights count as the best, a forest is scored on 5 % of its pixels.
    #[default]
    None,
    /// A share of the training set, between 0 and 1: of a network's images, of a forest's labelled pixels.
    Fraction(f64),
    /// Images of their own.
    Source(Source),
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
            group_by: None,
            exclude: None,
            seed: 0,
        }
    }

    /// Refuses to train into a run that the training begins with: its weights would go before there are others.
    pub fn check_weights(&self, folder: &Path) -> Result<()> {
        refuse_own_weights(&self.weights, folder)
    }

    /// Pairs to learn from and to score, without those that are to be left out.
    pub(super) fn pairs(&self, sink: &dyn Sink) -> Result<(Vec<Pair>, Vec<Pair>)> {
        let kept = |source: &Source| {
            let pairs = source.pairs(sink)?;
            match &self.exclude {
                Some(ratings) => ratings.apply(pairs, sink),
                None => Ok(pairs),
            }
        };
        let pairs = kept(&self.images)?;
        match (&self.validation, &self.group_by) {
            (Validation::Fraction(share), Some(by)) => split_groups(pairs, *share, self.seed, by),
            (Validation::Fraction(share), None) => split_validation(pairs, *share, self.seed),
            (_, Some(_)) => Err(Error::conflict(
                "group_by",
                "only tells how a share is set aside with `val_fraction`; give that, too",
            )),
            (Validation::Source(source), None) => Ok((pairs, kept(source)?)),
            (Validation::None, None) => Ok((pairs, Vec::new())),
        }
    }

    /// The data set to train with: the given one, or one of the classes that annotations name, or the recipe's.
    pub(super) fn dataset(&self, sink: &dyn Sink) -> Result<Dataset> {
        if let Some(dataset) = &self.dataset {
            return Ok(dataset.clone());
        }
        if let Some(dataset) = self.annotated_dataset(sink)? {
            return Ok(dataset);
        }
        match self.recipe.dataset() {
            Some(name) => find_dataset(name),
            None => {
                let reason = format!("is not given, and recipe '{}' names none; give one", self.recipe.name());
                Err(Error::conflict("dataset", reason))
            }
        }
    }

    /// The data set of the classes that the annotations name, if the images are labelled so.
    fn annotated_dataset(&self, sink: &dyn Sink) -> Result<Option<Dataset>> {
        let validation = match &self.validation {
            Validation::Source(source) => Some(source),
            Validation::None | Validation::Fraction(_) => None,
        };
        let mut pairs = Vec::new();
        for source in std::iter::once(&self.images).chain(validation) {
            if matches!(source, Source::MaskFolders(_) | Source::Table { .. }) {
                return Ok(None);
            }
            // Notes and faults are told when they are read to be learnt from.
            let Ok(found) = source.pairs(&|_| ()) else { return Ok(None) };
            pairs.extend(found);
        }
        dataset_of_annotations(&pairs, sink)
    }
}
