//! The run folder of the forest that is shown.

use super::features::FeatureStore;
use super::input::Input;
use super::model::Trained;
use super::place::{ImageFile, Place};
use crate::base::Result;
use crate::base::files::absolute;
use crate::data::Pair;
use crate::nn::device::DeviceChoice;
use crate::recipe::ForestRecipe;
use crate::report::ForestReport;
use crate::run::RunLock;
use crate::train::forest::{RunContent, importances};

/// Writes a run with the forest of a model, in the place of an older one; a program that is killed leaves one of the two.
pub(super) fn save_run(
    input: &Input,
    (seed, device): (u64, DeviceChoice),
    place: &Place,
    store: &FeatureStore,
    model: &Trained,
) -> Result<()> {
    let folder = place.run();
    let _lock = RunLock::claim(&folder, true)?;
    let content = RunContent {
        recipe: &input.recipe,
        dataset: &model.dataset,
        weights: input.weights.as_ref().map_or(&[], |weights| &weights.checkpoint.paths),
        seed,
        device,
        began: model.began,
        encoder: &store.encoder,
        forest: &model.forest,
        report: &report(&input.recipe, store, model)?,
        shown: &[],
    };
    let pair = |image: &usize| pair(&place.images[*image]);
    content.write(&folder, (model.summary.images.iter().map(pair).collect(), Vec::new()))
}

fn report(recipe: &ForestRecipe, store: &FeatureStore, model: &Trained) -> Result<ForestReport> {
    let (importances, strongest) = importances(model.forest.importances(), &recipe.features, model.dataset.bands)?;
    let score = model.score();
    Ok(ForestReport {
        classes: model.classes.clone(),
        by_region: score.by_region,
        by_pixel: score.by_pixel,
        importances,
        strongest,
        features: store.features(),
        labelled_pixels: model.summary.labelled,
        pixels: model.samples.classes.len(),
        trees: model.forest.trees(),
        splits: model.forest.splits(),
        feature_seconds: model.feature_seconds,
        fit_seconds: model.fit_seconds,
        ..ForestReport::default()
    })
}

fn pair(image: &ImageFile) -> Pair {
    Pair { image: absolute(&image.path), label: absolute(&image.labels).into() }
}
