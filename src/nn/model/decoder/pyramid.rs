//! Pyramid pooling (Zhao et al., arXiv 1612.01105): PSPNet's head, in every form that is about.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::deep_supervision::{self, DeepSupervision, DeepSupervisionConfig};
use super::{Heads, check_bins, check_positive, check_stages, check_weights, entry, joined, last_two};
use crate::base::{Result, require};
use crate::nn::layer::{Conv2d, ConvNorm, Init, Initialisation, dropout_channels, dropout_pixels};
use crate::nn::model::{Features, ResNetConfig};
use crate::nn::ops::{Resampling, adaptive_avg_pool2d, concatenate, interpolate};

/// Hyperparameters of [`Pyramid`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PyramidConfig {
    /// Sides of the levels: the features are averaged over 1x1, 2x2, ... areas.
    pub bins: Vec<usize>,
    /// Channels of each level; if left out, 8 times the encoder's width, as published, or (segmentation_models_pytorch) a
    /// quarter of the features' channels.
    pub level_width: Option<usize>,
    /// Channels before the last convolution; 8 times the encoder's width, as published, if left out.
    pub width: Option<usize>,
    /// How the levels are made and joined.
    pub form: PyramidForm,
    /// Share of the values that are set to 0 before the last convolution, in training.
    pub dropout: f64,
    /// What is dropped together.
    pub dropout_unit: DropoutUnit,
    /// A second head on the last stage but one, in training.
    pub deep_supervision: Option<DeepSupervisionConfig>,
}

/// How the levels of a pyramid are made and joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PyramidForm {
    /// As published: features, then levels, a 3x3 and a 1x1 convolution.
    #[default]
    Published,
    /// segmentation_models_pytorch's: levels, then features, a 1x1 and a 3x3 convolution; the level of a single area has
    /// a bias and no batch norm.
    Smp,
}

impl PyramidForm {
    /// Kernels of the two convolutions.
    fn kernels(self) -> [usize; 2] {
        match self {
            Self::Published => [3, 1],
            Self::Smp => [1, 3],
        }
    }
}

/// What a dropout sets to 0 together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropoutUnit {
    /// Whole channels, PyTorch's `Dropout2d`.
    #[default]
    Channel,
    /// Single values, Keras' `Dropout`.
    Pixel,
}

impl Default for PyramidConfig {
    /// The published hyperparameters, without a second head.
    fn default() -> Self {
        Self {
            bins: vec![1, 2, 3, 6],
            level_width: None,
            width: None,
            form: PyramidForm::Published,
            dropout: 0.1,
            dropout_unit: DropoutUnit::Channel,
            deep_supervision: None,
        }
    }
}

impl PyramidConfig {
    /// Channels of a level and before the last convolution.
    fn widths(&self, encoder: &ResNetConfig) -> [usize; 2] {
        let published = encoder.width.saturating_mul(8);
        let level = match self.form {
            PyramidForm::Published => published,
            PyramidForm::Smp => encoder.channels(encoder.stages) / 4,
        };
        [self.level_width.unwrap_or(level), self.width.unwrap_or(published)]
    }

    pub(super) fn resolve(&mut self, encoder: &ResNetConfig) {
        [self.level_width, self.width] = self.widths(encoder).map(Some);
        self.deep_supervision.iter_mut().for_each(|config| config.resolve(encoder));
    }

    pub(super) fn check(&self, encoder: &ResNetConfig, outputs: usize) -> Result<()> {
        let [level, width] = self.widths(encoder);
        check_stages("pyramid", encoder, 1)?;
        check_positive("pyramid", &[("level_width", level), ("width", width), ("outputs", outputs)])?;
        check_bins(&self.bins)?;
        require((0.0..1.0).contains(&self.dropout), "decoder.dropout", self.dropout, "a share from 0 to below 1")?;
        check_weights("pyramid", joined(encoder, &self.bins, level), width)?;
        check_weights("pyramid", width, outputs)?;
        self.deep_supervision.iter().try_for_each(|config| config.check(encoder))
    }

    pub(super) fn init(&self, encoder: &ResNetConfig, outputs: usize, init: &mut Init) -> Pyramid {
        let how = Initialisation::Pytorch;
        let [level, width] = self.widths(encoder);
        let channels = encoder.channels(encoder.stages);
        let plain = |bin| self.form == PyramidForm::Smp && bin == 1;
        let conv_level = |&bin: &usize| {
            if plain(bin) {
                ConvNorm { conv: init.conv2d(channels, level, 1, how), norm: None }
            } else {
                init.unit([channels, level], 1, 1, 1, how)
            }
        };
        let levels = self.bins.iter().map(conv_level).collect();
        let [first, last] = self.form.kernels();
        Pyramid {
            levels,
            unit: init.unit([joined(encoder, &self.bins, level), width], first, 1, 1, how),
            last: init.conv2d(width, outputs, last, how),
            deep_supervision: self.deep_supervision.as_ref().map(|config| config.init(encoder, outputs, init)),
            settings: self.clone(),
            stages: encoder.stages,
        }
    }
}

/// The decoder; see [`PyramidConfig`].
#[derive(Module, Debug)]
pub struct Pyramid {
    /// Without a batch norm where there is a bias.
    levels: Vec<ConvNorm>,
    unit: ConvNorm,
    last: Conv2d,
    deep_supervision: Option<DeepSupervision>,
    #[module(skip)]
    settings: PyramidConfig,
    #[module(skip)]
    stages: usize,
}

impl Pyramid {
    pub(super) fn forward(&self, features: Features, draw: Option<u64>, resampling: Resampling) -> Heads {
        let (x, before) = last_two(features);
        let heads = self.deep_supervision.as_ref().zip(before).zip(draw);
        let auxiliary = heads.map(|((head, x), draw)| head.forward(x, draw));
        let mut x = self.unit.forward_relu(self.pool(x, resampling));
        if let Some(draw) = draw {
            let drop = match self.settings.dropout_unit {
                DropoutUnit::Channel => dropout_channels,
                DropoutUnit::Pixel => dropout_pixels,
            };
            x = drop(x, self.settings.dropout, draw);
        }
        Heads { logits: self.last.forward(x), auxiliary }
    }

    /// Features and their averages over ever smaller areas: `[B, C, H, W] -> [B, C + levels * level width, H, W]`.
    fn pool(&self, x: Tensor<4>, resampling: Resampling) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let level = |(level, &bin): (&ConvNorm, &usize)| {
            interpolate(level.forward_relu(adaptive_avg_pool2d(x.clone(), [bin; 2])), [height, width], resampling)
        };
        let levels: Vec<_> = self.levels.iter().zip(&self.settings.bins).map(level).collect();
        let joined = match self.settings.form {
            PyramidForm::Published => [vec![x], levels].concat(),
            PyramidForm::Smp => [levels, vec![x]].concat(),
        };
        concatenate(joined)
    }

    pub(super) fn fold(&mut self) {
        self.levels.iter_mut().for_each(ConvNorm::fold);
        self.unit.fold();
        self.deep_supervision = None;
    }

    /// segmentation_models_pytorch enlarges by the encoder's reduction and takes no other sizes.
    pub(super) fn multiple(&self) -> usize {
        match self.settings.form {
            PyramidForm::Published => 1,
            PyramidForm::Smp => 2 << self.stages,
        }
    }
}

/// Entries of `Sequential`s count what has no parameters, too: pooling comes first in a level; a ReLU and a dropout come
/// before the last convolution.
pub(super) fn torch_name(parts: &[&str]) -> Option<String> {
    match parts {
        ["levels", level, part, leaf] => Some(format!("ppm.{level}.{}.{leaf}", entry(part, 1))),
        ["unit", part, leaf] => Some(format!("conv_last.{}.{leaf}", entry(part, 0))),
        ["last", leaf] => Some(format!("conv_last.4.{leaf}")),
        _ => deep_supervision::torch_name(parts),
    }
}
