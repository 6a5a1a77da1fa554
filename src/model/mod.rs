//! Networks. Parameter names are PyTorch's, so that saved weights load in Python.

mod padding;
mod parameters;
mod pspnet;
mod resnet;
mod seeps_unet;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

pub use padding::{Crop, mirror_pad};
pub use parameters::{Parameter, collect, collect_gradients, identify, replace};
pub use pspnet::{PspNet, PspNetConfig};
pub use resnet::{Dilation, ResNet, ResNetConfig, Stem, Variant};
pub use seeps_unet::{SeepsUnet, SeepsUnetConfig};

use crate::error::Result;
use crate::layer::Init;

/// Architecture and hyperparameters of a network, as a recipe writes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "kebab-case")]
pub enum NetworkConfig {
    /// The U-Net of the oil-seep system.
    UnetSeeps(SeepsUnetConfig),
    /// The pyramid scene parsing network.
    #[serde(rename = "pspnet")]
    PspNet(PspNetConfig),
}

impl NetworkConfig {
    /// Checks the hyperparameters, then builds the network; its initial weights are the same for the same seed on
    /// every device.
    pub fn init(&self, seed: u64, device: &Device) -> Result<Network> {
        let mut init = Init::new(seed, device);
        match self {
            Self::UnetSeeps(config) => Ok(Network::SeepsUnet(config.init(&mut init)?)),
            Self::PspNet(config) => Ok(Network::PspNet(config.init(&mut init)?)),
        }
    }

    /// Says what is wrong with the hyperparameters, without building anything.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::UnetSeeps(config) => config.check(),
            Self::PspNet(config) => config.check(),
        }
    }

    /// Replaces the width, the number of channels after the first block.
    pub fn set_width(&mut self, width: usize) {
        match self {
            Self::UnetSeeps(config) => config.width = width,
            Self::PspNet(config) => config.encoder.width = width,
        }
    }

    /// Fills in the input bands and outputs where the recipe left them open; where it did not, they must agree.
    pub fn fit(&mut self, bands: usize, outputs: usize) -> Result<()> {
        let (own_bands, own_outputs) = match self {
            Self::UnetSeeps(config) => (&mut config.bands, &mut config.outputs),
            Self::PspNet(config) => (&mut config.bands, &mut config.outputs),
        };
        agree("bands", own_bands, bands)?;
        agree("outputs", own_outputs, outputs)
    }
}

fn agree(name: &str, own: &mut Option<usize>, wanted: usize) -> Result<()> {
    match *own {
        Some(fixed) if fixed != wanted => Err(crate::error::Error::Config(format!(
            "the recipe sets {name} = {fixed}, but the data set needs {wanted}; remove the line from the recipe"
        ))),
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
    /// Logits of an auxiliary head, of the same shape, and the weight of their loss.
    pub auxiliary: Option<(Tensor<4>, f64)>,
}

/// Any network that segtool knows.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // one network a process: boxing would buy nothing
pub enum Network {
    /// The U-Net of the oil-seep system.
    SeepsUnet(SeepsUnet),
    /// The pyramid scene parsing network.
    PspNet(PspNet),
}

impl Network {
    /// Logits `[batch, outputs, height, width]` for an input `[batch, bands, height, width]` of any size: sides that
    /// the network cannot halve often enough are extended by mirroring, and the result is cropped back.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let (input, crop) = mirror_pad(input, self.multiple());
        let logits = match self {
            Self::SeepsUnet(network) => network.forward(input),
            Self::PspNet(network) => network.forward(input),
        };
        crop.apply(logits)
    }

    /// Like [`Self::forward`], with what only training has: an auxiliary head, and dropout that depends on `draw`
    /// alone.
    pub fn forward_training(&self, input: Tensor<4>, draw: u64) -> Outputs {
        let (input, crop) = mirror_pad(input, self.multiple());
        let outputs = match self {
            Self::SeepsUnet(network) => Outputs { logits: network.forward(input), auxiliary: None },
            Self::PspNet(network) => network.forward_training(input, draw),
        };
        Outputs {
            logits: crop.apply(outputs.logits),
            auxiliary: outputs.auxiliary.map(|(logits, weight)| (crop.apply(logits), weight)),
        }
    }

    /// The number that both sides of the input must be a multiple of.
    pub fn multiple(&self) -> usize {
        match self {
            Self::SeepsUnet(network) => network.multiple(),
            Self::PspNet(_) => 1,
        }
    }

    /// What turns a path through the modules into PyTorch's name.
    fn torch_name(&self) -> fn(&str) -> String {
        match self {
            Self::SeepsUnet(_) => seeps_unet::torch_name,
            Self::PspNet(_) => pspnet::torch_name,
        }
    }
}
