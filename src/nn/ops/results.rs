//! What kernels return and keep for their gradients.

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;

/// Which of the inputs a gradient is wanted for, in the order of the operation's arguments.
pub(super) type Wanted<const N: usize> = [bool; N];

/// Gradients in the order of the operation's arguments; `None` where none was wanted.
pub(super) type Gradients<B, const N: usize> = [Option<FloatTensor<B>>; N];

/// The result of a batch norm in training, and the statistics of its batch.
#[derive(Debug, Clone)]
pub(super) struct Normalised<B: Backend, S = Statistics<B>> {
    /// The normalised, scaled and shifted input.
    pub(super) output: FloatTensor<B>,
    /// Running mean after this batch.
    pub(super) running_mean: FloatTensor<B>,
    /// Running variance after this batch, from the unbiased variance of the batch.
    pub(super) running_var: FloatTensor<B>,
    /// What the gradient needs.
    pub(super) statistics: S,
}

/// Statistics of a batch, for the gradient.
#[derive(Debug, Clone)]
pub(super) struct Statistics<B: Backend> {
    /// Mean by channel.
    pub(super) mean: FloatTensor<B>,
    /// `1 / sqrt(variance + epsilon)` by channel, with the biased variance.
    pub(super) inverse_deviation: FloatTensor<B>,
    /// What a backend's own kernel keeps beside, and the number of that kernel.
    #[cfg_attr(not(feature = "libtorch"), allow(dead_code))] // only libtorch keeps any
    pub(super) reserved: Option<(FloatTensor<B>, i64)>,
}

/// A cross-entropy and what its gradient needs.
#[derive(Debug, Clone)]
pub(super) struct CrossEntropy<B: Backend> {
    /// The loss, of shape `[1]`.
    pub(super) loss: FloatTensor<B>,
    /// A tensor like the logits: what that is, is the backend's own affair.
    pub(super) kept: FloatTensor<B>,
    /// Sum of the weights of the labelled pixels, one number; 1 if it would be 0.
    pub(super) total_weight: FloatTensor<B>,
}
