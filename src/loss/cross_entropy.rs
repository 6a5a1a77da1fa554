//! Softmax cross-entropy.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

use super::Target;

/// Mean over the labelled pixels of `-log softmax(logits)[class]`; 0 if no pixel has a label. PyTorch's
/// `cross_entropy` with `ignore_index`, except that PyTorch gives NaN for a batch without labels.
pub fn cross_entropy(logits: Tensor<4>, target: &Target) -> Tensor<1> {
    let picked = log_softmax(logits, 1).gather(1, target.classes.clone().unsqueeze_dim(1));
    match target.weights() {
        None => picked.mean().neg(),
        Some(weights) => {
            let weights = weights.unsqueeze_dim(1);
            (picked * weights.clone()).sum().neg() / weights.sum().clamp_min(1.0)
        }
    }
}
