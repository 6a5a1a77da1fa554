//! Decoders: from an encoder's features to logits. Names are CSAIL's, and segmentation_models_pytorch's for its U-Net.

mod c1;
mod deep_supervision;
mod pyramid;
mod unet;
mod upernet;

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

pub use c1::{C1, C1Config};
pub use deep_supervision::{DeepSupervision, DeepSupervisionConfig};
pub use pyramid::{DropoutUnit, Pyramid, PyramidConfig, PyramidForm};
pub use unet::{UnetDecoder, UnetDecoderConfig};
pub use upernet::{UperNet, UperNetConfig};

use super::resnet::{Features, ResNetConfig};
use crate::base::{Error, Result, require};
use crate::nn::layer::Init;
use crate::nn::ops::Resampling;

/// Most weights of one convolution: 8 GiB as float32.
const MAX_WEIGHTS: u128 = 2 << 30;

/// A decoder and its hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum DecoderConfig {
    /// One 3x3 convolution.
    C1(C1Config),
    /// Pyramid pooling: PSPNet's head.
    Pyramid(PyramidConfig),
    /// Pyramid pooling on top of a feature pyramid.
    #[serde(rename = "upernet")]
    UperNet(UperNetConfig),
    /// Enlargement stage by stage, joined with the encoder's features.
    Unet(UnetDecoderConfig),
}

impl DecoderConfig {
    /// Says what is wrong with the hyperparameters.
    pub fn check(&self, encoder: &ResNetConfig, outputs: usize) -> Result<()> {
        match self {
            Self::C1(config) => config.check(encoder, outputs),
            Self::Pyramid(config) => config.check(encoder, outputs),
            Self::UperNet(config) => config.check(encoder, outputs),
            Self::Unet(config) => config.check(encoder, outputs),
        }
    }

    /// Builds the decoder, with PyTorch's initial weights; the hyperparameters have been checked.
    pub fn init(&self, encoder: &ResNetConfig, outputs: usize, init: &mut Init) -> Decoder {
        match self {
            Self::C1(config) => Decoder::C1(config.init(encoder, outputs, init)),
            Self::Pyramid(config) => Decoder::Pyramid(config.init(encoder, outputs, init)),
            Self::UperNet(config) => Decoder::UperNet(config.init(encoder, outputs, init)),
            Self::Unet(config) => Decoder::Unet(config.init(encoder, outputs, init)),
        }
    }

    /// With the widths written out that follow from the encoder where they are left out.
    pub fn resolve(&mut self, encoder: &ResNetConfig) {
        match self {
            Self::C1(config) => config.resolve(encoder),
            Self::Pyramid(config) => config.resolve(encoder),
            Self::UperNet(config) => config.resolve(encoder),
            Self::Unet(_) => {}
        }
    }

    /// Weight of the second head's loss, if there is such a head.
    pub fn deep_supervision(&self) -> Option<f64> {
        let config = match self {
            Self::C1(config) => config.deep_supervision.as_ref(),
            Self::Pyramid(config) => config.deep_supervision.as_ref(),
            Self::UperNet(_) | Self::Unet(_) => None,
        };
        config.map(|config| config.weight)
    }
}

/// Any decoder.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // one decoder a network: boxing would buy nothing
pub enum Decoder {
    /// One 3x3 convolution.
    C1(C1),
    /// Pyramid pooling.
    Pyramid(Pyramid),
    /// Pyramid pooling on top of a feature pyramid.
    UperNet(UperNet),
    /// Enlargement stage by stage.
    Unet(UnetDecoder),
}

/// What a decoder gives, not yet at the input's size.
#[derive(Debug, Clone)]
pub(super) struct Heads {
    /// Logits.
    pub(super) logits: Tensor<4>,
    /// Logits of the head on the last stage but one, in training.
    pub(super) auxiliary: Option<Tensor<4>>,
}

impl Decoder {
    /// Logits of the features of an input of that height and width; in training, `draw` decides on dropout.
    pub(super) fn forward(
        &self,
        features: Features,
        size: [usize; 2],
        draw: Option<u64>,
        resampling: Resampling,
    ) -> Heads {
        let main = |logits| Heads { logits, auxiliary: None };
        match self {
            Self::C1(decoder) => decoder.forward(features, draw),
            Self::Pyramid(decoder) => decoder.forward(features, draw, resampling),
            Self::UperNet(decoder) => main(decoder.forward(features, resampling)),
            Self::Unet(decoder) => main(decoder.forward(features, size)),
        }
    }

    /// Leaves what only prediction needs, with every batch norm a part of the convolution before it.
    pub(super) fn fold(&mut self) {
        match self {
            Self::C1(decoder) => decoder.fold(),
            Self::Pyramid(decoder) => decoder.fold(),
            Self::UperNet(decoder) => decoder.fold(),
            Self::Unet(decoder) => decoder.fold(),
        }
    }

    /// The number that both sides of the input must be a multiple of.
    pub(super) fn multiple(&self) -> usize {
        match self {
            Self::C1(_) | Self::UperNet(_) | Self::Unet(_) => 1,
            Self::Pyramid(decoder) => decoder.multiple(),
        }
    }

    /// The name of the layer that gives the logits.
    pub(super) fn head(&self) -> &'static str {
        match self {
            Self::C1(_) => "decoder.conv_last",
            Self::Pyramid(_) => "decoder.conv_last.4",
            Self::UperNet(_) => "decoder.conv_last.1",
            Self::Unet(_) => "segmentation_head.0",
        }
    }

    /// What turns a path through the modules, in parts, into the name.
    pub(super) fn namer(&self) -> fn(&[&str]) -> Option<String> {
        match self {
            Self::C1(_) => c1::torch_name,
            Self::Pyramid(_) => pyramid::torch_name,
            Self::UperNet(_) => upernet::torch_name,
            Self::Unet(_) => unet::torch_name,
        }
    }
}

/// The features of the last stage, and of the one before it for a second head.
fn last_two(mut features: Features) -> (Tensor<4>, Option<Tensor<4>>) {
    (features.stages.pop().unwrap_or(features.stem), features.stages.pop())
}

/// Channels of features and the levels of a pyramid together.
fn joined(encoder: &ResNetConfig, bins: &[usize], level: usize) -> usize {
    encoder.channels(encoder.stages).saturating_add(bins.len().saturating_mul(level))
}

/// Entry of a convolution and of the batch norm after it in a `Sequential` that begins with `first`.
fn entry(part: &str, first: usize) -> usize {
    first + usize::from(part == "norm")
}

fn check_weights(decoder: &str, inputs: usize, outputs: usize) -> Result<()> {
    let weights = (inputs as u128).saturating_mul(outputs as u128).saturating_mul(9);
    if weights <= MAX_WEIGHTS {
        return Ok(());
    }
    let reason = format!("gives a convolution of this {decoder} decoder {weights} weights");
    Err(Error::conflict("width", format!("{reason}, but at most {MAX_WEIGHTS} are sensible; use smaller widths")))
}

fn check_positive(decoder: &str, numbers: &[(&str, usize)]) -> Result<()> {
    let expected = format!("at least 1 for the {decoder} decoder");
    numbers.iter().try_for_each(|(name, number)| require(*number > 0, (*name).to_owned(), number, &expected))
}

fn check_bins(bins: &[usize]) -> Result<()> {
    require(!bins.is_empty() && !bins.contains(&0), "decoder.bins", format!("{bins:?}"), "numbers of at least 1")
}

fn check_stages(decoder: &str, encoder: &ResNetConfig, wanted: usize) -> Result<()> {
    let expected = format!("at least {wanted} for the {decoder} decoder");
    require(encoder.stages >= wanted, "encoder.stages", encoder.stages, expected)
}
