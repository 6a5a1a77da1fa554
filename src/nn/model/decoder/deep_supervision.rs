//! A second head, on the last stage but one, whose loss is added in training (arXiv 1612.01105, section 3.2).

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{check_positive, check_stages, check_weights, entry};
use crate::base::{Result, require};
use crate::nn::layer::{Conv2d, ConvNorm, Init, Initialisation, dropout_channels};
use crate::nn::model::ResNetConfig;

/// Hyperparameters of [`DeepSupervision`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeepSupervisionConfig {
    /// Weight of its loss.
    pub weight: f64,
    /// Channels between its two convolutions; half of what the stage has, as CSAIL does it, if left out.
    pub width: Option<usize>,
    /// Share of the channels that are set to 0 before its last convolution.
    pub dropout: f64,
}

impl Default for DeepSupervisionConfig {
    fn default() -> Self {
        Self { weight: 0.4, width: None, dropout: 0.0 }
    }
}

impl DeepSupervisionConfig {
    /// Channels of the stage whose loss is added; of an encoder that [`Self::check`] refuses, some number.
    fn inputs(encoder: &ResNetConfig) -> usize {
        encoder.channels(encoder.stages.saturating_sub(1))
    }

    fn width(&self, encoder: &ResNetConfig) -> usize {
        self.width.unwrap_or_else(|| Self::inputs(encoder).div_ceil(2))
    }

    pub(super) fn resolve(&mut self, encoder: &ResNetConfig) {
        self.width = Some(self.width(encoder));
    }

    pub(super) fn check(&self, encoder: &ResNetConfig) -> Result<()> {
        check_stages("deeply supervised", encoder, 2)?;
        let width = self.width(encoder);
        check_positive("deep-supervision", &[("width", width)])?;
        check_weights("deep-supervision", Self::inputs(encoder), width)?;
        let Self { dropout, weight, .. } = *self;
        require((0.0..1.0).contains(&dropout), "deep_supervision.dropout", dropout, "a share from 0 to below 1")?;
        let expected = "above 0 (for none, leave `deep_supervision` out)";
        require(weight > 0.0 && weight.is_finite(), "deep_supervision.weight", weight, expected)
    }

    pub(super) fn init(&self, encoder: &ResNetConfig, outputs: usize, init: &mut Init) -> DeepSupervision {
        let how = Initialisation::Pytorch;
        let width = self.width(encoder);
        DeepSupervision {
            unit: init.unit([Self::inputs(encoder), width], 3, 1, 1, how),
            last: init.conv2d(width, outputs, 1, how),
            dropout: self.dropout,
        }
    }
}

/// A 3x3 convolution, batch norm, ReLU, dropout, a 1x1 convolution.
#[derive(Module, Debug)]
pub struct DeepSupervision {
    unit: ConvNorm,
    last: Conv2d,
    #[module(skip)]
    dropout: f64,
}

impl DeepSupervision {
    /// Logits of a stage, with dropout as `draw` decides.
    pub(super) fn forward(&self, x: Tensor<4>, draw: u64) -> Tensor<4> {
        // Another draw than the main head's.
        self.last.forward(dropout_channels(self.unit.forward_relu(x), self.dropout, draw ^ 1 << 63))
    }
}

/// CSAIL's names.
pub(super) fn torch_name(parts: &[&str]) -> Option<String> {
    match parts {
        ["deep_supervision", "unit", part, leaf] => Some(format!("cbr_deepsup.{}.{leaf}", entry(part, 0))),
        ["deep_supervision", "last", leaf] => Some(format!("conv_last_deepsup.{leaf}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::model::Variant;

    #[test]
    fn encoders_that_cannot_be_built_are_resolved_and_then_refused() {
        for (stages, width) in [(0, 64), (1, 64), (9, 64), (4, usize::MAX)] {
            let encoder = ResNetConfig { stages, width, ..ResNetConfig::new(Variant::Resnet50) };
            let mut config = DeepSupervisionConfig::default();
            config.resolve(&encoder);
            assert!(config.width.is_some());
            assert!(encoder.check().is_err() || config.check(&encoder).is_err(), "{stages} stages, width {width}");
        }
    }
}
