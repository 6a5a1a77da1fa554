//! UPerNet (Xiao et al., arXiv 1807.10221), as CSAIL has it.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{check_bins, check_positive, check_stages, check_weights, entry, joined};
use crate::base::Result;
use crate::nn::layer::{Conv2d, ConvNorm, Init, Initialisation};
use crate::nn::model::{Features, ResNetConfig};
use crate::nn::ops::{Resampling, adaptive_avg_pool2d, concatenate, interpolate};

/// Hyperparameters of [`UperNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UperNetConfig {
    /// Sides of the levels of the pooling pyramid.
    pub bins: Vec<usize>,
    /// Channels of each level of the pooling pyramid; 8 times the encoder's width, as published, if left out.
    pub level_width: Option<usize>,
    /// Channels of the feature pyramid; 8 times the encoder's width, as published, if left out.
    pub width: Option<usize>,
}

impl Default for UperNetConfig {
    fn default() -> Self {
        Self { bins: vec![1, 2, 3, 6], level_width: None, width: None }
    }
}

impl UperNetConfig {
    /// Channels of a level and of the feature pyramid.
    fn widths(&self, encoder: &ResNetConfig) -> [usize; 2] {
        [self.level_width, self.width].map(|width| width.unwrap_or(encoder.width.saturating_mul(8)))
    }

    pub(super) fn resolve(&mut self, encoder: &ResNetConfig) {
        [self.level_width, self.width] = self.widths(encoder).map(Some);
    }

    pub(super) fn check(&self, encoder: &ResNetConfig, outputs: usize) -> Result<()> {
        let [level, width] = self.widths(encoder);
        check_stages("UPerNet", encoder, 2)?;
        check_positive("UPerNet", &[("level_width", level), ("width", width), ("outputs", outputs)])?;
        check_bins(&self.bins)?;
        let widest = joined(encoder, &self.bins, level).max(width.saturating_mul(encoder.stages)).max(outputs);
        check_weights("UPerNet", widest, width)
    }

    pub(super) fn init(&self, encoder: &ResNetConfig, outputs: usize, init: &mut Init) -> UperNet {
        let how = Initialisation::Pytorch;
        let [level, width] = self.widths(encoder);
        let stages = encoder.stages;
        UperNet {
            ppm_conv: self.bins.iter().map(|_| init.unit([encoder.channels(stages), level], 1, 1, 1, how)).collect(),
            ppm_last_conv: init.unit([joined(encoder, &self.bins, level), width], 3, 1, 1, how),
            fpn_in: (1..stages).map(|stage| init.unit([encoder.channels(stage), width], 1, 1, 1, how)).collect(),
            fpn_out: (1..stages).map(|_| init.unit([width, width], 3, 1, 1, how)).collect(),
            unit: init.unit([stages * width, width], 3, 1, 1, how),
            last: init.conv2d(width, outputs, 1, how),
            bins: self.bins.clone(),
        }
    }
}

/// The decoder; see [`UperNetConfig`].
#[derive(Module, Debug)]
pub struct UperNet {
    ppm_conv: Vec<ConvNorm>,
    ppm_last_conv: ConvNorm,
    /// By stage, the first first.
    fpn_in: Vec<ConvNorm>,
    fpn_out: Vec<ConvNorm>,
    unit: ConvNorm,
    last: Conv2d,
    #[module(skip)]
    bins: Vec<usize>,
}

impl UperNet {
    pub(super) fn forward(&self, mut features: Features, resampling: Resampling) -> Tensor<4> {
        let resize = |x: Tensor<4>, like: &Tensor<4>| {
            let [_, _, height, width] = like.dims();
            interpolate(x, [height, width], resampling)
        };
        let x = features.stages.pop().unwrap_or(features.stem);
        // Enlarged before its convolution here, after it in a PSPNet.
        let level =
            |(unit, &bin): (&ConvNorm, &usize)| unit.forward_relu(resize(adaptive_avg_pool2d(x.clone(), [bin; 2]), &x));
        let levels = self.ppm_conv.iter().zip(&self.bins).map(level).collect();
        let mut top = self.ppm_last_conv.forward_relu(concatenate([vec![x.clone()], levels].concat()));
        let mut pyramid = vec![top.clone()];
        for ((stage, into), out) in features.stages.into_iter().zip(&self.fpn_in).zip(&self.fpn_out).rev() {
            let lateral = into.forward_relu(stage);
            top = resize(top, &lateral) + lateral;
            pyramid.push(out.forward_relu(top.clone()));
        }
        pyramid.reverse();
        let finest = pyramid[0].clone();
        let joined = pyramid.into_iter().map(|level| resize(level, &finest)).collect();
        self.last.forward(self.unit.forward_relu(concatenate(joined)))
    }

    pub(super) fn fold(&mut self) {
        let lists = [&mut self.ppm_conv, &mut self.fpn_in, &mut self.fpn_out];
        lists.into_iter().flatten().chain([&mut self.ppm_last_conv, &mut self.unit]).for_each(ConvNorm::fold);
    }
}

pub(super) fn torch_name(parts: &[&str]) -> Option<String> {
    match parts {
        ["ppm_conv", level, part, leaf] => Some(format!("ppm_conv.{level}.{}.{leaf}", entry(part, 0))),
        ["ppm_last_conv", part, leaf] => Some(format!("ppm_last_conv.{}.{leaf}", entry(part, 0))),
        ["fpn_in", stage, part, leaf] => Some(format!("fpn_in.{stage}.{}.{leaf}", entry(part, 0))),
        ["fpn_out", stage, part, leaf] => Some(format!("fpn_out.{stage}.0.{}.{leaf}", entry(part, 0))),
        ["unit", part, leaf] => Some(format!("conv_last.0.{}.{leaf}", entry(part, 0))),
        ["last", leaf] => Some(format!("conv_last.1.{leaf}")),
        _ => None,
    }
}
