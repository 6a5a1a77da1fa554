//! Encoders as givers of features: what their inner layers, the taps, show of an image.

use super::tap::{Reach, Tap};
use std::fmt;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Namer;
use super::parameters::Named;
use super::resnet::{self, Dilation, ResNet, ResNetConfig, Stem, Style, Variant, published_width};
use super::vgg::{Vgg, VggConfig};
use crate::base::{Error, Result};
use crate::nn::device::begin_pass;
use crate::nn::layer::Init;
use crate::nn::precision::Precision;

impl From<Tap> for String {
    fn from(tap: Tap) -> Self {
        tap.to_string()
    }
}

/// Which encoder gives features, as a recipe writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "lowercase")]
pub enum FeatureEncoderConfig {
    /// The convolutions of VGG-16.
    Vgg16(VggConfig),
    /// A residual network.
    Resnet(ResNetFeaturesConfig),
}

/// A residual network whose features are used: as deep as the taps need, and not dilated unless it says so, as
/// torchvision has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetFeaturesConfig {
    /// The depth.
    pub variant: Variant,
    /// As [`ResNetConfig::width`].
    #[serde(default = "published_width")]
    pub width: usize,
    /// What comes before the first stage.
    #[serde(default)]
    pub stem: Stem,
    /// Where strides give way to dilation.
    #[serde(default = "undilated")]
    pub dilation: Dilation,
    /// Which convolution of a bottleneck has the stride.
    #[serde(default)]
    pub style: Style,
}

fn undilated() -> Dilation {
    Dilation::None
}

impl ResNetFeaturesConfig {
    /// torchvision's hyperparameters for this variant.
    pub fn new(variant: Variant) -> Self {
        Self::from(ResNetConfig { dilation: Dilation::None, ..ResNetConfig::new(variant) })
    }

    /// With this many stages.
    fn network(&self, stages: usize) -> ResNetConfig {
        let Self { variant, width, stem, dilation, style } = *self;
        ResNetConfig { variant, width, stem, dilation, style, stages }
    }
}

impl From<ResNetConfig> for ResNetFeaturesConfig {
    fn from(ResNetConfig { variant, width, stem, dilation, style, stages: _ }: ResNetConfig) -> Self {
        Self { variant, width, stem, dilation, style }
    }
}

impl FeatureEncoderConfig {
    /// Channels, stride and receptive field of the features at `tap`, for images of `bands` bands; an error that lists the
    /// taps if this encoder does not have it.
    pub fn reach(&self, tap: Tap, bands: usize) -> Result<Reach> {
        let reach = match (self, tap) {
            (_, Tap::Colors) => Some(Reach { channels: bands, ..Reach::default() }),
            (Self::Vgg16(_), tap) => VggConfig::reach(tap, bands),
            (Self::Resnet(config), Tap::Stem) => Some(config.network(1).reach(0)),
            (Self::Resnet(config), Tap::Layer(stage @ 1..=4)) => Some(config.network(stage).reach(stage)),
            (Self::Resnet(_), _) => None,
        };
        reach.ok_or_else(|| {
            let known: Vec<String> = self.taps().iter().map(Tap::to_string).collect();
            Error::invalid("tap", tap, format!("one of the taps of {self}: colors, {}", known.join(", ")))
        })
    }

    /// The taps beside the colours.
    pub fn taps(&self) -> Vec<Tap> {
        match self {
            Self::Vgg16(_) => VggConfig::taps(),
            Self::Resnet(_) => [Tap::Stem].into_iter().chain((1..=4).map(Tap::Layer)).collect(),
        }
    }

    /// Says what is wrong with the hyperparameters.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Vgg16(_) => Ok(()),
            Self::Resnet(config) => config.network(1).check(),
        }
    }

    /// Builds what the taps need, with torchvision's initial weights: the same for the same seed on every device.
    pub fn init(&self, bands: usize, taps: &[Tap], seed: u64, device: &Device) -> Result<FeatureEncoder> {
        self.build(bands, taps, &mut Init::new(seed, device))
    }

    /// Like [`Self::init`], with weights that have shapes but no values.
    pub fn hollow(&self, bands: usize, taps: &[Tap], device: &Device) -> Result<FeatureEncoder> {
        self.build(bands, taps, &mut Init::hollow(device))
    }

    fn build(&self, bands: usize, taps: &[Tap], init: &mut Init) -> Result<FeatureEncoder> {
        self.check()?;
        for tap in taps {
            self.reach(*tap, bands)?;
        }
        Ok(match self {
            Self::Vgg16(config) => FeatureEncoder::Vgg(config.init(bands, taps, init)),
            Self::Resnet(config) => {
                let stages = taps.iter().map(|tap| if let Tap::Layer(stage) = tap { *stage } else { 1 }).max();
                FeatureEncoder::Resnet(config.network(stages.unwrap_or(1)).init(bands, init))
            }
        })
    }
}

impl fmt::Display for FeatureEncoderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vgg16(VggConfig { batch_norm: false }) => f.write_str("VGG-16"),
            Self::Vgg16(VggConfig { batch_norm: true }) => f.write_str("VGG-16 with batch norm"),
            Self::Resnet(config) => write!(f, "{}", config.variant),
        }
    }
}

/// An encoder that gives features.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // one encoder a process: boxing would buy nothing
pub enum FeatureEncoder {
    /// VGG-16.
    Vgg(Vgg),
    /// A residual network.
    Resnet(ResNet),
}

impl FeatureEncoder {
    /// Feature maps `[batch, channels, height, width]` at each of `taps`, in that order, of input images
    /// `[batch, bands, height, width]`, in float32. The encoder must have been built for these taps.
    pub fn forward(&self, input: Tensor<4>, taps: &[Tap]) -> Vec<Tensor<4>> {
        let _pass = begin_pass(&input.device(), Precision::Float32);
        match self {
            Self::Vgg(network) => network.forward(input, taps),
            Self::Resnet(network) => {
                if taps.iter().all(|tap| *tap == Tap::Colors) {
                    return vec![input; taps.len()];
                }
                let colors = input.clone();
                let wanted = |tap: &Tap| matches!(tap, Tap::Layer(_));
                let features = if taps.iter().any(wanted) { network.forward(input) } else { network.stem(input) };
                let see = |tap: &Tap| match tap {
                    Tap::Layer(stage) => features.stages[stage - 1].clone(),
                    Tap::Stem => features.stem.clone(),
                    _ => colors.clone(),
                };
                taps.iter().map(see).collect()
            }
        }
    }

    /// The same encoder with its batch norms as parts of the convolutions, where no tap lies between the two.
    #[must_use]
    pub fn folded(mut self, taps: &[Tap]) -> Self {
        match &mut self {
            Self::Vgg(network) => network.fold(taps),
            Self::Resnet(network) => network.fold(),
        }
        self
    }
}

impl Named for FeatureEncoder {
    fn namer(&self) -> Namer {
        match self {
            Self::Vgg(network) => {
                let batch_norm = network.has_norms();
                Box::new(move |parts| Vgg::torch_name(batch_norm, parts))
            }
            Self::Resnet(_) => Box::new(resnet::torch_name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_read_as_they_are_written() {
        let vgg = FeatureEncoderConfig::Vgg16(VggConfig::default());
        for tap in vgg.taps().into_iter().chain([Tap::Colors, Tap::Stem, Tap::Layer(3)]) {
            assert_eq!(tap.to_string().parse::<Tap>().unwrap(), tap);
        }
        for wrong in ["pool", "conv1", "conv1_", "layer-1", "pool1_1", ""] {
            assert!(wrong.parse::<Tap>().unwrap_err().to_string().contains("conv1_1, relu1_1 and pool1"), "{wrong}");
        }
        assert_refused!(
            vgg.reach(Tap::Layer(1), 3),
            "`tap` is layer1; it must be one of the taps of VGG-16: colors, conv1_1, relu1_1"
        );
    }
}
