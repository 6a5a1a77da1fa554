//! How images become the encoder's input: their bands and normalisation, and weights that fit.

use std::path::{Path, PathBuf};

use super::options::LabelOptions;
use super::place::Place;
use crate::base::Result;
use crate::base::event::Sink;
use crate::data::{Dataset, Normalisation, ValidPixels, measured};
use crate::image::{SampleType, read_image};
use crate::recipe::ForestRecipe;
use crate::run::find_dataset;
use crate::train::forest::fit_to_weights;
use crate::weights::Weights;

/// Images that a normalisation is measured on.
const MEASURED: usize = 16;

/// The data set that a recipe is made for, whose classes are those of labels that are there without any explanation.
pub(super) fn usual_dataset(recipe: &ForestRecipe) -> Result<Dataset> {
    find_dataset(recipe.dataset.as_deref().unwrap_or("core"))
}

/// What features are computed with.
#[derive(Debug)]
pub(super) struct Input {
    /// The recipe with the encoder that the weights are of.
    pub(super) recipe: ForestRecipe,
    /// Bands, normalisation and nodata values; its classes are of no account.
    pub(super) dataset: Dataset,
    pub(super) weights: Option<Weights>,
}

impl Input {
    /// Settles it: as the data set file beside the labels says, or as the recipe's own data set does where that fits the
    /// images; others are normalised by what is measured of them.
    pub(super) fn settle(
        options: &LabelOptions,
        place: &Place,
        (saved, usual): (Option<Dataset>, Dataset),
        sink: &dyn Sink,
    ) -> Result<Self> {
        let mut recipe = options.recipe.clone();
        let mut dataset = match saved {
            Some(saved) => saved,
            None => fitted(usual, &place.images[0].path)?,
        };
        dataset.name = place.name();
        let weights = if options.weights.is_empty() { None } else { Some(Weights::open(&options.weights, None)?) };
        if let Some(weights) = &weights {
            fit_to_weights(weights, &mut recipe.features, &mut dataset, sink)?;
        }
        let dataset = measured(&some(place), &dataset)?;
        recipe.check(&dataset)?;
        Ok(Self { recipe, dataset, weights })
    }
}

/// A data set's bands and normalisation where an image is of 8 bits and of those bands, or grey; else the image's bands.
fn fitted(usual: Dataset, path: &Path) -> Result<Dataset> {
    let image = read_image(path)?;
    let known = image.bands == 1 || image.bands == usual.bands;
    let bands = if known { usual.bands } else { image.bands };
    let title = String::new();
    if known && image.sample_type == SampleType::Uint8 {
        return Ok(Dataset { title, ..usual });
    }
    Ok(Dataset { title, bands, normalisation: Normalisation::PerDataset { valid: ValidPixels::All }, ..usual })
}

/// Images to measure, spread over all.
fn some(place: &Place) -> Vec<PathBuf> {
    let count = place.images.len();
    let step = count.div_ceil(MEASURED).max(1);
    place.images.iter().step_by(step).map(|image| image.path.clone()).collect()
}
