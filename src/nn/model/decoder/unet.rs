//! segmentation_models_pytorch's U-Net decoder.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{check_positive, check_weights, entry};
use crate::base::{Error, Result, require};
use crate::nn::layer::{Conv2d, DoubleUnit, Init, Initialisation};
use crate::nn::model::{Dilation, Features, ResNetConfig};
use crate::nn::ops::{Interpolation, Resampling, concatenate, interpolate};

/// Hyperparameters of [`UnetDecoder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnetDecoderConfig {
    /// Channels after each enlargement, the coarsest first: one more than the encoder's stages.
    pub channels: Vec<usize>,
    /// How each block's input is enlarged, between the outer edges: `decoder_interpolation` there. Weights fit every way.
    pub interpolation: Interpolation,
}

impl Default for UnetDecoderConfig {
    fn default() -> Self {
        Self { channels: vec![256, 128, 64, 32, 16], interpolation: Interpolation::Nearest }
    }
}

impl UnetDecoderConfig {
    /// Input channels of each block, of what is enlarged and what it is joined with.
    fn inputs(&self, encoder: &ResNetConfig) -> Vec<[usize; 2]> {
        let stages = encoder.stages;
        let skips = (1..stages).rev().map(|stage| encoder.channels(stage)).chain([encoder.stem_channels(), 0]);
        let enlarged = [encoder.channels(stages)].into_iter().chain(self.channels.iter().copied());
        enlarged.zip(skips).map(|(enlarged, skip)| [enlarged, skip]).collect()
    }

    pub(super) fn check(&self, encoder: &ResNetConfig, outputs: usize) -> Result<()> {
        if encoder.dilation != Dilation::None {
            return Err(Error::conflict("encoder.dilation", "must be \"none\" with the U-Net decoder"));
        }
        let (stages, channels) = (encoder.stages, &self.channels);
        let expected = format!("{} numbers for {stages} stages", stages + 1);
        require(channels.len() == stages + 1, "decoder.channels", format!("{channels:?}"), expected)?;
        check_positive("U-Net", &[("outputs", outputs)])?;
        for ([enlarged, skip], &channels) in self.inputs(encoder).into_iter().zip(&self.channels) {
            check_positive("U-Net", &[("channels", channels)])?;
            check_weights("U-Net", enlarged.saturating_add(skip).max(channels), channels)?;
        }
        Ok(())
    }

    pub(super) fn init(&self, encoder: &ResNetConfig, outputs: usize, init: &mut Init) -> UnetDecoder {
        let how = Initialisation::Pytorch;
        let block = |([enlarged, skip], &channels): ([usize; 2], &usize)| DoubleUnit {
            conv1: init.unit([enlarged + skip, channels], 3, 1, 1, how),
            conv2: init.unit([channels, channels], 3, 1, 1, how),
        };
        let blocks = self.inputs(encoder).into_iter().zip(&self.channels).map(block).collect();
        let last = self.channels.last().copied().unwrap_or_default();
        UnetDecoder { blocks, head: init.conv2d(last, outputs, 3, how), interpolation: self.interpolation }
    }
}

/// The decoder; see [`UnetDecoderConfig`].
#[derive(Module, Debug)]
pub struct UnetDecoder {
    blocks: Vec<DoubleUnit>,
    head: Conv2d,
    #[module(skip)]
    interpolation: Interpolation,
}

impl UnetDecoder {
    /// Logits at `size`, that of the input.
    pub(super) fn forward(&self, features: Features, size: [usize; 2]) -> Tensor<4> {
        let how = Resampling { interpolation: self.interpolation, align_corners: false };
        let mut skips = [vec![features.stem], features.stages].concat();
        let mut x = skips.pop().expect("there is the stem at least");
        for block in &self.blocks {
            // The last block has nothing left to join.
            let skip = skips.pop();
            let target = skip.as_ref().map_or(size, |skip| [skip.dims()[2], skip.dims()[3]]);
            let enlarged = interpolate(x, target, how);
            x = block.forward(concatenate([vec![enlarged], skip.into_iter().collect()].concat()));
        }
        self.head.forward(x)
    }

    pub(super) fn fold(&mut self) {
        self.blocks.iter_mut().for_each(DoubleUnit::fold);
    }
}

pub(super) fn torch_name(parts: &[&str]) -> Option<String> {
    match parts {
        ["blocks", block, conv, part, leaf] => Some(format!("blocks.{block}.{conv}.{}.{leaf}", entry(part, 0))),
        _ => None,
    }
}
