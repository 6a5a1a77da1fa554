//! An encoder and a decoder: PSPNet and its family.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::decoder::{Decoder, DecoderConfig, Heads};
use super::resnet::{self, Features, ResNet, ResNetConfig};
use super::{Namer, Outputs, sizes};
use crate::base::Result;
use crate::nn::layer::Init;
use crate::nn::ops::{NormSettings, Resampling, interpolate};

/// Hyperparameters of [`EncoderDecoder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderDecoderConfig {
    /// The encoder (backbone).
    pub encoder: ResNetConfig,
    /// The decoder, which turns the encoder's features into logits.
    pub decoder: DecoderConfig,
    /// How the pyramid's levels and the logits are enlarged.
    #[serde(default)]
    pub resampling: Resampling,
    /// Of all batch norms.
    #[serde(default)]
    pub norm: NormSettings,
    /// Input bands; open until a data set is chosen.
    pub bands: Option<usize>,
    /// Output channels; open until a data set is chosen.
    pub outputs: Option<usize>,
}

impl EncoderDecoderConfig {
    /// Hyperparameters for `bands` input bands and `outputs` channels of logits; bilinear upsampling, PyTorch's batch norm.
    pub fn new(encoder: ResNetConfig, decoder: DecoderConfig, bands: usize, outputs: usize) -> Self {
        let (resampling, norm) = (Resampling::default(), NormSettings::default());
        Self { encoder, decoder, resampling, norm, bands: Some(bands), outputs: Some(outputs) }
    }

    /// Bands and outputs, if everything is within what can be built.
    pub(super) fn checked(&self) -> Result<[usize; 2]> {
        let [bands, outputs] = sizes(self.bands, self.outputs)?;
        self.encoder.check()?;
        self.decoder.check(&self.encoder, outputs)?;
        Ok([bands, outputs])
    }

    /// Builds the network: torchvision's initial weights in the encoder, PyTorch's in the decoder.
    pub fn init(&self, init: &mut Init) -> Result<EncoderDecoder> {
        let [bands, outputs] = self.checked()?;
        init.set_norm(self.norm);
        Ok(EncoderDecoder {
            encoder: self.encoder.init(bands, init),
            decoder: self.decoder.init(&self.encoder, outputs, init),
            resampling: self.resampling,
            deep_supervision: self.decoder.deep_supervision().unwrap_or_default(),
        })
    }
}

/// The network; see [`EncoderDecoderConfig`].
#[derive(Module, Debug)]
pub struct EncoderDecoder {
    encoder: ResNet,
    decoder: Decoder,
    #[module(skip)]
    resampling: Resampling,
    #[module(skip)]
    deep_supervision: f64,
}

impl EncoderDecoder {
    /// Logits `[batch, outputs, height, width]` for an image `[batch, bands, height, width]` whose sides are multiples
    /// of [`Self::multiple`].
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = input.dims();
        interpolate(self.heads(input).logits, [height, width], self.resampling)
    }

    pub(super) fn encoder(&self) -> &ResNet {
        &self.encoder
    }

    /// The logits of all heads for an image of that height and width.
    pub(super) fn finish(&self, features: Features, size: [usize; 2], draw: u64) -> Outputs {
        let enlarge = |logits| interpolate(logits, size, self.resampling);
        let Heads { logits, auxiliary } = self.decoder.forward(features, size, Some(draw), self.resampling);
        let auxiliary = auxiliary.map(|logits| (enlarge(logits), self.deep_supervision));
        Outputs { logits: enlarge(logits), auxiliary: auxiliary.into_iter().collect() }
    }

    /// Logits at the size that the decoder works at, and how they are enlarged to the input's.
    pub(super) fn forward_small(&self, input: Tensor<4>) -> (Tensor<4>, Resampling) {
        (self.heads(input).logits, self.resampling)
    }

    /// Leaves what only prediction needs, with every batch norm a part of the convolution before it.
    pub(super) fn fold(&mut self) {
        self.encoder.fold();
        self.decoder.fold();
    }

    fn heads(&self, input: Tensor<4>) -> Heads {
        let [_, _, height, width] = input.dims();
        self.decoder.forward(self.encoder.forward(input), [height, width], None, self.resampling)
    }

    /// The number that both sides of the input must be a multiple of.
    pub fn multiple(&self) -> usize {
        self.decoder.multiple()
    }

    /// Whether the logits are much smaller than the input, whatever its size.
    pub(super) fn gives_small_logits(&self) -> bool {
        self.multiple() == 1 && !matches!(self.decoder, Decoder::Unet(_))
    }

    /// The name of the layer that gives the logits.
    pub(super) fn head(&self) -> &'static str {
        self.decoder.head()
    }

    /// `encoder.` and torchvision's name, or `decoder.` and CSAIL's; segmentation_models_pytorch's for its U-Net.
    pub(super) fn namer(&self) -> Namer {
        let decoder_name = self.decoder.namer();
        Box::new(move |parts| match parts {
            ["encoder", rest @ ..] => Some(format!("encoder.{}", resnet::torch_name(rest)?)),
            ["decoder", "head", leaf] => Some(format!("segmentation_head.0.{leaf}")),
            ["decoder", rest @ ..] => Some(format!("decoder.{}", decoder_name(rest)?)),
            _ => None,
        })
    }
}
