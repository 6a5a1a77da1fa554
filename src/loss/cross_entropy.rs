//! Softmax cross-entropy.

use burn::tensor::Tensor;

use super::Target;
use crate::label::IGNORE;
use crate::ops;

/// Mean over the labelled pixels of `-log softmax(logits)[class]`; 0 if no pixel has a label. PyTorch's
/// `cross_entropy` with `ignore_index`, except that PyTorch gives NaN for a batch without labels.
pub fn cross_entropy(logits: Tensor<4>, target: &Target) -> Tensor<1> {
    let classes = target.classes.clone();
    let labels = match &target.labelled {
        None => classes,
        Some(labelled) => classes.mask_fill(labelled.clone().bool_not(), i32::from(IGNORE)),
    };
    ops::cross_entropy(logits, labels, None, i64::from(IGNORE))
}
