//! What weights are of, as segtool's own files say it.

use super::names::Names;
use crate::data::{Dataset, Normalisation};
use crate::nn::activation::{Activation, Rule};
use crate::nn::model::{NetworkConfig, ResNetConfig};
use serde::{Deserialize, Serialize};
/// The kind of network that weights belong to, with its hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// A whole network.
    Network(NetworkConfig),
    /// A residual encoder alone, such as one that was trained on ImageNet.
    Encoder {
        /// The encoder.
        encoder: ResNetConfig,
        /// Its input bands.
        bands: usize,
    },
    /// The convolutions of a VGG-16.
    Vgg16 {
        /// Its input bands.
        bands: usize,
        /// Whether a batch norm follows every convolution.
        #[serde(default)]
        batch_norm: bool,
    },
}

/// Metadata of a weight file: origin, network, normalisation, activation and classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Version of segtool that wrote it.
    pub version: String,
    /// Whose weights they were.
    pub names: Names,
    /// What they are of.
    pub content: Content,
    /// How samples became the network's input, if that is known.
    pub normalisation: Option<Normalisation>,
    /// How a whole network's scores become probabilities.
    #[serde(default)]
    pub activation: Activation,
    /// With a sigmoid: the probability above which a class is there.
    #[serde(default = "half")]
    pub threshold: f64,
    /// What the classes of a whole network are, if that is known: names, label values, colours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Box<Dataset>>,
}

impl Description {
    /// Describes weights that segtool trained.
    pub fn own(network: NetworkConfig, normalisation: Normalisation) -> Self {
        Self::new(Names::Segtool, Content::Network(network), Some(normalisation))
    }

    /// With the activation that weights of those names have.
    pub(super) fn new(names: Names, content: Content, normalisation: Option<Normalisation>) -> Self {
        let activation = activation(names, &content);
        let version = env!("CARGO_PKG_VERSION").into();
        Self { version, names, content, normalisation, activation, threshold: half(), dataset: None }
    }

    /// Adds the data set whose classes the outputs stand for.
    #[must_use]
    pub fn of_classes(self, dataset: Dataset) -> Self {
        Self { dataset: Some(Box::new(dataset)), ..self }
    }

    /// Replaces activation and threshold; the threshold is a probability and counts with a sigmoid only.
    #[must_use]
    pub fn deciding_by(self, activation: Activation, threshold: f64) -> Self {
        Self { activation, threshold, ..self }
    }

    /// Says which numbers are beyond what can be built.
    pub(super) fn check(&self) -> Result<(), String> {
        match &self.content {
            Content::Network(network) => network.check().map_err(|e| e.to_string())?,
            Content::Encoder { encoder, .. } => encoder.check().map_err(|e| e.to_string())?,
            Content::Vgg16 { .. } => {}
        }
        let bands = bands(&self.content).unwrap_or(0);
        if !(1..=usize::from(u16::MAX)).contains(&bands) {
            return Err(format!("it is said to be of {bands} bands"));
        }
        if let Some(dataset) = &self.dataset {
            dataset.validate().map_err(|e| e.to_string())?;
        }
        let normalisation = self.normalisation.as_ref().map(|normalisation| normalisation.validate(bands));
        normalisation.transpose().map(drop).map_err(|e| e.to_string())
    }

    /// How its network's scores become classes.
    pub fn rule(&self) -> Rule {
        Rule::new(self.activation, self.threshold)
    }
}

pub(super) fn half() -> f64 {
    0.5
}

/// Input bands, where a network says them.
pub(super) fn bands(content: &Content) -> Option<usize> {
    match content {
        Content::Network(network) => network.bands_and_outputs().0,
        Content::Encoder { bands, .. } | Content::Vgg16 { bands, .. } => Some(*bands),
    }
}

/// The residual encoder of weights, and what the names of its tensors begin with, if there is one.
pub(super) fn residual(content: &Content) -> Option<(ResNetConfig, &'static str)> {
    match content {
        Content::Encoder { encoder, .. } => Some((encoder.clone(), "encoder.")),
        Content::Network(network) => network.clone().encoder_mut().map(|(encoder, prefix)| (encoder.clone(), prefix)),
        Content::Vgg16 { .. } => None,
    }
}

/// Outputs of a whole network.
pub(crate) fn outputs(content: &Content) -> Option<usize> {
    match content {
        Content::Network(network) => network.bands_and_outputs().1,
        Content::Encoder { .. } | Content::Vgg16 { .. } => None,
    }
}

/// What each project makes of its outputs. A single one can only be a sigmoid's.
fn activation(names: Names, content: &Content) -> Activation {
    match (names, outputs(content)) {
        (Names::Seeps | Names::SeepsResnet, _) | (_, Some(1)) => Activation::Sigmoid,
        _ => Activation::Softmax,
    }
}
