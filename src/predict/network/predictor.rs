//! A trained network with what its classes mean.

use std::sync::Arc;

use burn::tensor::Device;

use super::procedure::Procedure;
use crate::base::{Error, Result};
use crate::data::{Dataset, Normalisation, ValidPixels};
use crate::nn::activation::{Activation, Rule};
use crate::nn::device::DeviceChoice;
use crate::nn::model::{InferenceNetwork, Network, NetworkConfig, checksum_of};
use crate::nn::precision::Precision;
use crate::run::NetworkRun;
use crate::weights::{self, Names, Report, Weights};

/// Weights with this number of classes are taken for ADE20K's, unless a data set is given.
const ADE20K_CLASSES: usize = 150;
/// Weights of the oil-seep system with this number of classes are for its data set.
const SEEPS_CLASSES: usize = 8;

/// A trained network with what its classes mean.
#[derive(Debug)]
pub(crate) struct NetworkPredictor {
    pub(super) network: InferenceNetwork,
    /// Where its weights come from, and what tells them from others.
    pub(super) source: String,
    pub(super) checksum: String,
    pub(super) config: NetworkConfig,
    pub(super) dataset: Arc<Dataset>,
    pub(super) choice: DeviceChoice,
    pub(super) device: Device,
    pub(super) precision: Precision,
    pub(super) rule: Rule,
}

impl NetworkPredictor {
    /// Loads the best weights of a run.
    pub(crate) fn open(run: NetworkRun, device: DeviceChoice, precision: Precision) -> Result<Self> {
        run.config.dataset.follow_orientation();
        let path = run.weights_path();
        if !path.exists() {
            return Err(Error::content(
                run.folder(),
                "the run has no model.safetensors yet: it is written after the first epoch; continue the training \
                 with `segtool train --resume`",
            ));
        }
        let choice = device.resolve()?;
        let precision = choice.settle(precision)?;
        let device = choice.open_for(precision)?;
        let rule = run.config.recipe.rule();
        let source = format!("run {}", run.folder().display());
        let config = run.config.recipe.network;
        let network = weights::load(config.hollow(&device)?, &path)?;
        let given = Given { source, network, config, dataset: run.config.dataset, rule };
        given.on(choice, device, precision)
    }

    /// See [`Predictor::from_weights`](crate::predict::Predictor::from_weights).
    pub(crate) fn from_weights(
        weights: &Weights,
        dataset: Option<Dataset>,
        device: DeviceChoice,
        precision: Precision,
    ) -> Result<(Self, Report)> {
        let config = weights.network()?.clone();
        let dataset = dataset_of(weights, &config, dataset)?;
        let choice = device.resolve()?;
        let precision = choice.settle(precision)?;
        let device = choice.open_for(precision)?;
        let (network, report) = weights.load(config.hollow(&device)?, false)?;
        let (source, rule) = (weights.checkpoint.label(), weights.description.rule());
        let given = Given { source, network, config, dataset, rule };
        Ok((given.on(choice, device, precision)?, report))
    }

    /// A network that is at hand, which decides by `rule`, on `choice`, in float32.
    pub(crate) fn from_network(
        config: NetworkConfig,
        network: Network,
        dataset: Dataset,
        rule: Rule,
        choice: DeviceChoice,
    ) -> Result<Self> {
        let choice = choice.resolve()?;
        let device = choice.open()?;
        let given = Given { source: "a network in memory".into(), network, config, dataset, rule };
        given.on(choice, device, Precision::Float32)
    }

    /// A procedure as this network is run by its project, in windows that it takes.
    pub(super) fn fitted(&self, procedure: &Procedure) -> Procedure {
        let procedure = procedure.clone().fitted_to(&self.config);
        Procedure { tiles: procedure.tiles.map(|tiles| tiles.fitted_to(self.network.multiple())), ..procedure }
    }
}

/// What a predictor is made of.
struct Given {
    source: String,
    network: Network,
    config: NetworkConfig,
    dataset: Dataset,
    rule: Rule,
}

impl Given {
    fn on(self, choice: DeviceChoice, device: Device, precision: Precision) -> Result<NetworkPredictor> {
        let Self { source, network, config, dataset, rule } = self;
        let hyperparameters =
            serde_json::to_string(&config).map_err(|e| Error::failed("write the hyperparameters", e))?;
        let checksum = checksum_of(&hyperparameters, &network);
        let network = network.into();
        let dataset = Arc::new(dataset);
        Ok(NetworkPredictor { network, source, checksum, config, dataset, choice, device, precision, rule })
    }
}

/// What the classes of weights mean and how their images are normalised.
fn dataset_of(weights: &Weights, config: &NetworkConfig, dataset: Option<Dataset>) -> Result<Dataset> {
    let (bands, outputs) = config.bands_and_outputs();
    let (bands, outputs) = (bands.unwrap_or(0), outputs.unwrap_or(0));
    let activation = weights.description.activation;
    let classes = activation.classes(outputs);
    let known = weights.description.normalisation.clone();
    let told = weights.description.dataset.as_deref().filter(|told| told.class_count() == classes);
    let mut dataset = match (dataset, told) {
        (Some(dataset), _) if activation == Activation::Sigmoid && classes == 2 => dataset.merged(),
        (Some(dataset), _) => dataset,
        (None, Some(told)) => {
            told.follow_orientation();
            told.clone()
        }
        (None, None) if classes == ADE20K_CLASSES => Dataset::find("ade20k")?,
        (None, None) if is_seeps(weights, classes) => Dataset::find("seeps")?,
        (None, None) => {
            let measured = Normalisation::PerDataset { valid: ValidPixels::All };
            let values = weights.checkpoint.label_values().filter(|values| values.len() == classes);
            Dataset::unnamed(classes, values, (bands, known.clone().unwrap_or(measured)))?
        }
    };
    if dataset.class_count() != classes {
        return Err(weights.checkpoint.error(format!(
            "the weights have {outputs} outputs{}, but data set '{}' has {} classes; give the data set they were trained on",
            if activation == Activation::Sigmoid { " besides the background" } else { "" },
            dataset.name,
            dataset.class_count()
        )));
    }
    dataset.bands = bands;
    dataset.normalisation = known.unwrap_or(dataset.normalisation);
    dataset.normalisation.validate(bands).map_err(|reason| weights.checkpoint.error(reason))?;
    if let Normalisation::PerDataset { .. } = dataset.normalisation {
        return Err(weights.checkpoint.error(
            "it is not known how the training images were normalised; give a `dataset` whose normalisation is fixed or \
             per-image",
        ));
    }
    Ok(dataset)
}

/// Whether weights are Oil_Seep_Detection's for its seven classes of seeps.
fn is_seeps(weights: &Weights, classes: usize) -> bool {
    matches!(weights.description.names, Names::Seeps | Names::SeepsResnet) && classes == SEEPS_CLASSES
}
