//! A network as prediction needs it.

use burn::tensor::Tensor;

use super::Network;
use crate::nn::ops::Resampling;

/// A network whose batch norms are parts of its convolutions, and which has nothing left that only training needs.
#[derive(Debug)]
pub struct InferenceNetwork(Network);

/// Logits of a network before they are upsampled to the input size.
#[derive(Debug, Clone)]
pub struct Scores {
    /// Logits `[batch, outputs, height, width]`, at the size of the input or smaller.
    pub logits: Tensor<4>,
    /// How they come to the size of the input.
    pub enlargement: Resampling,
}

impl From<Network> for InferenceNetwork {
    fn from(mut network: Network) -> Self {
        match &mut network {
            Network::EncoderDecoder(network) => network.fold(),
            Network::Unet(network) => network.fold(),
            Network::ResnetUnet(network) => network.fold(),
            Network::AttentionUnet(network) => network.fold(),
        }
        Self(network)
    }
}

impl InferenceNetwork {
    /// Whether the logits of [`Self::scores`] are always much smaller than the input.
    pub fn gives_small_scores(&self) -> bool {
        matches!(&self.0, Network::EncoderDecoder(network) if network.gives_small_logits())
    }

    /// What both sides of an input are extended to a multiple of.
    pub fn multiple(&self) -> usize {
        self.0.multiple()
    }

    /// Logits for an input `[batch, bands, height, width]` of any size, at the size that the network gives them in.
    pub fn scores(&self, input: Tensor<4>) -> Scores {
        let [_, _, height, width] = input.dims();
        if let Network::EncoderDecoder(network) = &self.0 {
            // Otherwise the enlarged logits have to be cropped.
            if [height, width].iter().all(|side| side % network.multiple() == 0) {
                let (logits, enlargement) = network.forward_small(input);
                return Scores { logits, enlargement };
            }
        }
        Scores { logits: self.0.forward(input), enlargement: Resampling::default() }
    }
}
