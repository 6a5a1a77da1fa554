//! Soft Dice over classes.

use burn::tensor::activation::softmax;
use burn::tensor::{Int, Tensor};

use super::Target;

/// Added to numerator and denominator, so that an empty class that is not predicted costs nothing.
const SMOOTH: f64 = 1.0;

/// Mean over the classes 1..K-1 of `1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1)`, sums over the batch; class 0 is the
/// background and left out (V-Net, arXiv 1606.04797, one term a class).
pub fn soft_dice(logits: Tensor<4>, target: &Target) -> Tensor<1> {
    let [_, classes, _, _] = logits.dims();
    let device = logits.device();
    let index: Tensor<4, Int> = Tensor::<1, Int>::arange(0..classes as i64, &device).reshape([1, classes, 1, 1]);
    let labels: Tensor<4, Int> = target.classes.clone().unsqueeze_dim(1);
    let shape = logits.dims();
    let mut truth = labels.expand(shape).equal(index.expand(shape)).float();
    let mut probability = softmax(logits, 1);
    if let Some(weights) = target.weights() {
        let weights: Tensor<4> = weights.unsqueeze_dim(1);
        truth = truth * weights.clone();
        probability = probability * weights;
    }
    let both = per_class(probability.clone() * truth.clone());
    let dice = (both * 2.0 + SMOOTH) / (per_class(probability) + per_class(truth) + SMOOTH);
    dice.narrow(0, 1, classes - 1).mean().neg() + 1.0
}

/// Sums over everything but the channel.
fn per_class(tensor: Tensor<4>) -> Tensor<1> {
    let [_, classes, _, _] = tensor.dims();
    tensor.sum_dim(0).sum_dim(2).sum_dim(3).reshape([classes])
}
