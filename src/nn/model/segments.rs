//! Networks in segments, one after the other: what gradient checkpointing computes twice.

use burn::tensor::Tensor;

use super::padding::{Crop, mirror_pad};
use super::resnet::{ResNet, State};
use super::{Network, Outputs};

impl Network {
    /// What the first segment gets for an input `[batch, bands, height, width]`, and how the logits are cropped back.
    pub fn begin(&self, input: Tensor<4>) -> (State, Crop) {
        let (input, crop) = mirror_pad(input, self.multiple(), self.smallest());
        (vec![input], crop)
    }

    /// How many segments come before [`Self::finish`].
    pub fn segments(&self) -> usize {
        match self {
            Self::EncoderDecoder(network) => network.encoder().segments(),
            Self::Unet(network) => network.segments(),
            Self::ResnetUnet(network) => network.segments(),
            Self::AttentionUnet(network) => network.segments(),
        }
    }

    /// Whether all of them belong to the encoder.
    pub fn segments_are_encoder(&self) -> bool {
        matches!(self, Self::EncoderDecoder(_))
    }

    /// Computes segment `i` in training.
    pub fn segment(&self, i: usize, state: State, draw: u64) -> State {
        match self {
            Self::EncoderDecoder(network) => network.encoder().segment(i, state),
            Self::Unet(network) => network.segment(i, state, Some(draw)),
            Self::ResnetUnet(network) => network.segment(i, state),
            Self::AttentionUnet(network) => network.segment(i, state),
        }
    }

    /// What is left after the last segment, for a padded input of that height and width.
    pub fn finish(&self, state: State, size: [usize; 2], crop: Crop, draw: u64) -> Outputs {
        let outputs = match self {
            Self::EncoderDecoder(network) => network.finish(ResNet::features(state), size, draw),
            Self::Unet(network) => Outputs { logits: network.finish(state, Some(draw)), auxiliary: Vec::new() },
            Self::ResnetUnet(network) => Outputs { logits: network.finish(state), auxiliary: Vec::new() },
            Self::AttentionUnet(network) => network.finish(state),
        };
        let cropped = |(logits, weight)| (crop.apply(logits), weight);
        Outputs { logits: crop.apply(outputs.logits), auxiliary: outputs.auxiliary.into_iter().map(cropped).collect() }
    }
}
