//! Networks. Parameter names are PyTorch's, so that saved weights load in Python.

mod attention_unet;
mod checksum;
mod decoder;
mod encoder_decoder;
mod features;
mod inference;
mod padding;
mod parameters;
mod resnet;
mod resnet_unet;
mod segments;
mod tap;
mod unet;
mod vgg;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

pub use attention_unet::{AttentionUnet, AttentionUnetConfig};
pub(crate) use checksum::{Checksum, checksum_of, checksum_of_text};
pub use decoder::{
    C1, C1Config, Decoder, DecoderConfig, DeepSupervision, DeepSupervisionConfig, DropoutUnit, Pyramid, PyramidConfig,
    PyramidForm, UnetDecoder, UnetDecoderConfig, UperNet, UperNetConfig,
};
pub use encoder_decoder::{EncoderDecoder, EncoderDecoderConfig};
pub use features::{FeatureEncoder, FeatureEncoderConfig, ResNetFeaturesConfig};
pub use inference::{InferenceNetwork, Scores};
pub(crate) use padding::mirrored;
pub use padding::{Crop, mirror_pad};
pub use parameters::{
    Named, Parameter, ParameterShape, are_finite, collect, collect_gradients, freeze, identify, replace, shapes,
};
pub use resnet::{Dilation, Features, ResNet, ResNetConfig, State, Stem, Style, Variant};
pub use resnet_unet::{ResnetUnet, ResnetUnetConfig};
pub use tap::{Reach, Tap};
pub use unet::{Enlargement, Form, Unet, UnetConfig};
pub use vgg::{Vgg, VggConfig};

use crate::base::{Error, Result};
use crate::nn::layer::Init;

/// Architecture and hyperparameters of a network, as a recipe writes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "kebab-case")]
pub enum NetworkConfig {
    /// A residual encoder and a decoder: PSPNet, UPerNet and their family.
    EncoderDecoder(EncoderDecoderConfig),
    /// The U-Net of the oil-seep system.
    UnetSeeps(UnetConfig),
    /// The U-Net of milesial/Pytorch-UNet.
    UnetMilesial(UnetConfig),
    /// The U-Net of the earthquake system.
    UnetEarthquake(UnetConfig),
    /// The oil-seep system's U-Net on ResNet-18.
    UnetResnet(ResnetUnetConfig),
    /// The attention U-Net with input pyramid and deep supervision.
    UnetAttention(AttentionUnetConfig),
}

impl NetworkConfig {
    /// Checks the hyperparameters, then builds the network; its initial weights are the same for the same seed on
    /// every device.
    pub fn init(&self, seed: u64, device: &Device) -> Result<Network> {
        self.build(&mut Init::new(seed, device))
    }

    /// Like [`Self::init`], with weights that have shapes but no values, for weights that are loaded next and for dry runs.
    pub fn hollow(&self, device: &Device) -> Result<Network> {
        self.build(&mut Init::hollow(device))
    }

    fn build(&self, init: &mut Init) -> Result<Network> {
        Ok(match self {
            Self::EncoderDecoder(config) => Network::EncoderDecoder(config.init(init)?),
            Self::UnetSeeps(config) => Network::Unet(config.init(Form::Seeps, init)?),
            Self::UnetMilesial(config) => Network::Unet(config.init(Form::Milesial, init)?),
            Self::UnetEarthquake(config) => Network::Unet(config.init(Form::Earthquake, init)?),
            Self::UnetResnet(config) => Network::ResnetUnet(config.init(init)?),
            Self::UnetAttention(config) => Network::AttentionUnet(config.init(init)?),
        })
    }

    /// Says what is wrong with the hyperparameters, without building anything.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::EncoderDecoder(config) => config.checked(),
            Self::UnetSeeps(config) => config.checked(Form::Seeps),
            Self::UnetMilesial(config) => config.checked(Form::Milesial),
            Self::UnetEarthquake(config) => config.checked(Form::Earthquake),
            Self::UnetResnet(config) => config.checked(),
            Self::UnetAttention(config) => config.checked(),
        }
        .map(drop)
    }

    /// The same with everything written out that follows from the rest where it is left out, so that equal networks are
    /// equal here.
    #[must_use]
    pub fn resolved(mut self) -> Self {
        match &mut self {
            Self::EncoderDecoder(config) => config.decoder.resolve(&config.encoder),
            Self::UnetSeeps(config) => config.resolve(Form::Seeps),
            Self::UnetMilesial(config) => config.resolve(Form::Milesial),
            Self::UnetEarthquake(config) => config.resolve(Form::Earthquake),
            Self::UnetResnet(_) | Self::UnetAttention(_) => {}
        }
        self
    }

    /// The residual encoder, if there is one, and what the names of its parameters begin with.
    pub fn encoder_mut(&mut self) -> Option<(&mut ResNetConfig, &'static str)> {
        match self {
            Self::EncoderDecoder(config) => Some((&mut config.encoder, "encoder.")),
            Self::UnetResnet(config) => Some((&mut config.encoder, "base_model.")),
            Self::UnetSeeps(_) | Self::UnetMilesial(_) | Self::UnetEarthquake(_) | Self::UnetAttention(_) => None,
        }
    }

    /// Input bands and outputs, where they are set.
    pub fn bands_and_outputs(&self) -> (Option<usize>, Option<usize>) {
        let mut own = self.clone();
        let (bands, outputs) = own.sizes_mut();
        (*bands, *outputs)
    }

    /// Replaces the width, the number of channels after the first block.
    pub fn set_width(&mut self, width: usize) {
        *match self {
            Self::EncoderDecoder(config) => &mut config.encoder.width,
            Self::UnetSeeps(config) | Self::UnetMilesial(config) | Self::UnetEarthquake(config) => &mut config.width,
            Self::UnetResnet(config) => &mut config.encoder.width,
            Self::UnetAttention(config) => &mut config.width,
        } = width;
    }

    /// Leaves the input bands and outputs open, for another data set.
    pub fn unfit(&mut self) {
        let (bands, outputs) = self.sizes_mut();
        (*bands, *outputs) = (None, None);
    }

    /// Fills in the input bands and outputs where the recipe left them open; where it did not, they must agree.
    pub fn fit(&mut self, bands: usize, outputs: usize) -> Result<()> {
        let (own_bands, own_outputs) = self.sizes_mut();
        agree("bands", own_bands, bands)?;
        agree("outputs", own_outputs, outputs)
    }

    fn sizes_mut(&mut self) -> (&mut Option<usize>, &mut Option<usize>) {
        match self {
            Self::EncoderDecoder(config) => (&mut config.bands, &mut config.outputs),
            Self::UnetSeeps(config) | Self::UnetMilesial(config) | Self::UnetEarthquake(config) => {
                (&mut config.bands, &mut config.outputs)
            }
            Self::UnetResnet(config) => (&mut config.bands, &mut config.outputs),
            Self::UnetAttention(config) => (&mut config.bands, &mut config.outputs),
        }
    }
}

/// Bands and outputs, if they are set and can be.
fn sizes(bands: Option<usize>, outputs: Option<usize>) -> Result<[usize; 2]> {
    const MOST: usize = u16::MAX as usize;
    match (bands, outputs) {
        (Some(bands @ 1..=MOST), Some(outputs @ 1..=MOST)) => Ok([bands, outputs]),
        (Some(bands), Some(outputs)) => {
            let (field, wrong) = if (1..=MOST).contains(&bands) { ("outputs", outputs) } else { ("bands", bands) };
            Err(Error::invalid(format!("network.{field}"), wrong, format!("1 to {MOST}")))
        }
        _ => Err(Error::conflict("network", "needs its `bands` and `outputs` set; fit it to a data set first")),
    }
}

fn agree(name: &str, own: &mut Option<usize>, wanted: usize) -> Result<()> {
    match *own {
        Some(fixed) if fixed != wanted => Err(Error::conflict(
            format!("network.{name}"),
            format!("is {fixed} in the recipe, but the data set needs {wanted}; remove the line from the recipe"),
        )),
        _ => {
            *own = Some(wanted);
            Ok(())
        }
    }
}

/// What a network gives in training.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Logits `[batch, outputs, height, width]`.
    pub logits: Tensor<4>,
    /// Logits of further heads, of the same shape, and the weights of their losses.
    pub auxiliary: Vec<(Tensor<4>, f64)>,
}

/// Any network that segtool knows.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // one network a process: boxing would buy nothing
pub enum Network {
    /// A residual encoder and a decoder.
    EncoderDecoder(EncoderDecoder),
    /// A U-Net of double convolutions.
    Unet(Unet),
    /// The oil-seep system's U-Net on ResNet-18.
    ResnetUnet(ResnetUnet),
    /// The attention U-Net.
    AttentionUnet(AttentionUnet),
}

impl Network {
    /// Logits `[batch, outputs, height, width]` for an input `[batch, bands, height, width]` of any size: sides that
    /// the network cannot halve often enough are extended by mirroring, and the result is cropped back.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let (input, crop) = mirror_pad(input, self.multiple(), self.smallest());
        let logits = match self {
            Self::EncoderDecoder(network) => network.forward(input),
            Self::Unet(network) => network.forward(input),
            Self::ResnetUnet(network) => network.forward(input),
            Self::AttentionUnet(network) => network.forward(input),
        };
        crop.apply(logits)
    }

    /// Like [`Self::forward`], with what only training has: further heads, and dropout that depends on `draw` alone.
    pub fn forward_training(&self, input: Tensor<4>, draw: u64) -> Outputs {
        let (state, crop) = self.begin(input);
        let [_, _, height, width] = state[0].dims();
        let state = (0..self.segments()).fold(state, |state, i| self.segment(i, state, draw));
        self.finish(state, [height, width], crop, draw)
    }

    /// The number that both sides of the input must be a multiple of.
    pub fn multiple(&self) -> usize {
        match self {
            Self::EncoderDecoder(network) => network.multiple(),
            Self::Unet(network) => network.multiple(),
            Self::ResnetUnet(network) => network.multiple(),
            Self::AttentionUnet(network) => network.multiple(),
        }
    }

    /// The least side of the input.
    fn smallest(&self) -> usize {
        match self {
            Self::Unet(network) => network.smallest(),
            Self::EncoderDecoder(_) | Self::ResnetUnet(_) | Self::AttentionUnet(_) => 1,
        }
    }

    /// What the names of the parameters of its residual encoder begin with, if it has one.
    pub fn encoder_prefix(&self) -> Option<&'static str> {
        match self {
            Self::EncoderDecoder(_) => Some("encoder."),
            Self::ResnetUnet(_) => Some("base_model."),
            Self::Unet(_) | Self::AttentionUnet(_) => None,
        }
    }

    /// Names of the layers whose outputs are the classes.
    pub fn heads(&self) -> Vec<&'static str> {
        match self {
            Self::EncoderDecoder(network) => vec![network.head(), "decoder.conv_last_deepsup"],
            Self::Unet(network) => vec![network.head()],
            Self::ResnetUnet(_) => vec!["conv_last"],
            Self::AttentionUnet(_) => vec!["final", "pred1", "pred2", "pred3"],
        }
    }
}

impl Named for Network {
    fn namer(&self) -> Namer {
        match self {
            Self::EncoderDecoder(network) => network.namer(),
            Self::Unet(network) => network.namer(),
            Self::ResnetUnet(_) => Box::new(resnet_unet::torch_name),
            Self::AttentionUnet(_) => Box::new(attention_unet::torch_name),
        }
    }
}

/// PyTorch's name for a path through the modules, level by level; `None` where it has the same.
pub type Namer = Box<dyn Fn(&[&str]) -> Option<String>>;
