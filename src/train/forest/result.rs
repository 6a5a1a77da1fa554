//! The run folder of a forest.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::base::Result;
use crate::base::files::{absolute, write_atomically};
use crate::data::{Dataset, Pair};
use crate::nn::device::DeviceChoice;
use crate::nn::model::FeatureEncoder;
use crate::pixels::forest::Forest;
use crate::pixels::hypercolumn::HypercolumnConfig;
use crate::recipe::ForestRecipe;
use crate::report::{ForestReport, Importance, SamplePrediction};
use crate::run::{ForestRun, ForestRunConfig, Samples, utc, write_json};
use crate::weights::save_encoder;

/// Features that the report names.
const STRONGEST: usize = 10;

/// What is written to a run folder.
pub(crate) struct RunContent<'a> {
    pub(crate) recipe: &'a ForestRecipe,
    pub(crate) dataset: &'a Dataset,
    /// Files of the encoder's weights.
    pub(crate) weights: &'a [PathBuf],
    pub(crate) seed: u64,
    pub(crate) device: DeviceChoice,
    pub(crate) began: SystemTime,
    pub(crate) encoder: &'a FeatureEncoder,
    pub(crate) forest: &'a Forest,
    pub(crate) report: &'a ForestReport,
    /// Images of the report.
    pub(crate) shown: &'a [SamplePrediction],
}

impl RunContent<'_> {
    /// Writes it with the pairs that were learnt from and scored on, in the place of a run that is in the folder.
    pub(crate) fn write(&self, folder: &Path, (train, validation): (Vec<Pair>, Vec<Pair>)) -> Result<()> {
        let config = ForestRunConfig {
            version: env!("CARGO_PKG_VERSION").into(),
            seed: self.seed,
            device: self.device.resolve()?.to_string(),
            weights: self.weights.iter().map(|path| absolute(path)).collect(),
            started: Some(utc(self.began)),
            class_weights: None,
            recipe: self.recipe.clone(),
            dataset: self.dataset.clone(),
        };
        let samples = Samples { train, validation, presence: Default::default() };
        let fill = |run: &ForestRun| {
            save_encoder(self.encoder, &run.encoder_path())?;
            write_json(&run.scores_path(), self.report)?;
            self.report.write_html(run, &run.report_path(), self.shown)?;
            write_atomically(&run.forest_path(), |out| self.forest.write(out))
        };
        ForestRun::create_with(folder, config, &samples, fill).map(drop)
    }
}

/// Importances by tap, in the order of the features, and the strongest single features.
pub(crate) fn importances(
    of_features: &[f64],
    config: &HypercolumnConfig,
    bands: usize,
) -> Result<(Vec<Importance>, Vec<Importance>)> {
    let (mut by_tap, mut single, mut rest) = (Vec::new(), Vec::new(), of_features);
    for part in config.parts(bands)? {
        let (own, after) = rest.split_at(part.channels);
        rest = after;
        by_tap.push(Importance { name: part.to_string(), channels: part.channels, importance: own.iter().sum() });
        single.extend(own.iter().enumerate().map(|(channel, importance)| Importance {
            name: format!("{part} channel {channel}"),
            channels: 1,
            importance: *importance,
        }));
    }
    single.sort_by(|a, b| b.importance.total_cmp(&a.importance));
    single.truncate(STRONGEST);
    Ok((by_tap, single))
}
