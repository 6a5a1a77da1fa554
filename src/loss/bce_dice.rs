//! Binary cross-entropy plus soft Dice for one sigmoid output.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, sigmoid};

use super::Target;

/// Added to numerator and denominator of the Dice, as the oil-seep system does.
const SMOOTH: f64 = 1.0;

/// `bce_weight * BCE + dice_weight * (1 - Dice)` for logits `[batch, 1, height, width]`; class 1 is what is looked for.
///
/// BCE is the mean over labelled pixels; Dice is `(2 sum(p t) + 1) / (sum(p) + sum(t) + 1)` over the whole batch.
pub fn bce_dice(logits: Tensor<4>, target: &Target, bce_weight: f64, dice_weight: f64) -> Tensor<1> {
    let truth: Tensor<4> = target.classes.clone().float().unsqueeze_dim(1);
    let weights: Option<Tensor<4>> = target.weights().map(|w| w.unsqueeze_dim(1));
    // -[t log s(x) + (1 - t) log s(-x)] with log s(-x) = log s(x) - x.
    let per_pixel = (truth.clone().neg() + 1.0) * logits.clone() - log_sigmoid(logits.clone());
    let probability = sigmoid(logits);
    let (bce, probability, truth) = match weights {
        None => (per_pixel.mean(), probability, truth),
        Some(w) => {
            let labelled = w.clone().sum().clamp_min(1.0);
            ((per_pixel * w.clone()).sum() / labelled, probability * w.clone(), truth * w)
        }
    };
    let both = (probability.clone() * truth.clone()).sum();
    let dice = (both * 2.0 + SMOOTH) / (probability.sum() + truth.sum() + SMOOTH);
    bce.mul_scalar(bce_weight) + (dice.neg() + 1.0).mul_scalar(dice_weight)
}
