//! CSAIL's simplest decoder: a 3x3 convolution, batch norm, ReLU, a 1x1 convolution.

use burn::module::Module;
use serde::{Deserialize, Serialize};

use super::deep_supervision::{self, DeepSupervision, DeepSupervisionConfig};
use super::{Heads, check_positive, check_weights, entry, last_two};
use crate::base::Result;
use crate::nn::layer::{Conv2d, ConvNorm, Init, Initialisation};
use crate::nn::model::{Features, ResNetConfig};

/// Hyperparameters of [`C1`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct C1Config {
    /// Channels between the two convolutions; a quarter of what the last stage has, as published, if left out.
    pub width: Option<usize>,
    /// A second head on the last stage but one, in training.
    pub deep_supervision: Option<DeepSupervisionConfig>,
}

impl C1Config {
    fn width(&self, encoder: &ResNetConfig) -> usize {
        self.width.unwrap_or_else(|| encoder.channels(encoder.stages).div_ceil(4))
    }

    pub(super) fn resolve(&mut self, encoder: &ResNetConfig) {
        self.width = Some(self.width(encoder));
        self.deep_supervision.iter_mut().for_each(|config| config.resolve(encoder));
    }

    pub(super) fn check(&self, encoder: &ResNetConfig, outputs: usize) -> Result<()> {
        let width = self.width(encoder);
        check_positive("C1", &[("width", width), ("outputs", outputs)])?;
        check_weights("C1", encoder.channels(encoder.stages).max(outputs), width)?;
        self.deep_supervision.iter().try_for_each(|config| config.check(encoder))
    }

    pub(super) fn init(&self, encoder: &ResNetConfig, outputs: usize, init: &mut Init) -> C1 {
        let how = Initialisation::Pytorch;
        let width = self.width(encoder);
        C1 {
            unit: init.unit([encoder.channels(encoder.stages), width], 3, 1, 1, how),
            last: init.conv2d(width, outputs, 1, how),
            deep_supervision: self.deep_supervision.as_ref().map(|config| config.init(encoder, outputs, init)),
        }
    }
}

/// The decoder; see [`C1Config`].
#[derive(Module, Debug)]
pub struct C1 {
    unit: ConvNorm,
    last: Conv2d,
    deep_supervision: Option<DeepSupervision>,
}

impl C1 {
    pub(super) fn forward(&self, features: Features, draw: Option<u64>) -> Heads {
        let (x, before) = last_two(features);
        let heads = self.deep_supervision.as_ref().zip(before).zip(draw);
        Heads {
            logits: self.last.forward(self.unit.forward_relu(x)),
            auxiliary: heads.map(|((head, x), draw)| head.forward(x, draw)),
        }
    }

    pub(super) fn fold(&mut self) {
        self.unit.fold();
        self.deep_supervision = None;
    }
}

pub(super) fn torch_name(parts: &[&str]) -> Option<String> {
    match parts {
        ["unit", part, leaf] => Some(format!("cbr.{}.{leaf}", entry(part, 0))),
        ["last", leaf] => Some(format!("conv_last.{leaf}")),
        _ => deep_supervision::torch_name(parts),
    }
}
