//! Focal loss (arXiv 1708.02002) and, as its form with gamma 0, binary cross-entropy.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, sigmoid as logistic};

use super::pixels::{Part, Pixels, as_image, total};

/// The least `1 - p` that float32 tells from 0.
const LEAST: f64 = f32::EPSILON as f64;

/// Mean over the labelled pixels of `-(1 - p)^gamma log p`, `p` the probability of the pixel's class; with class
/// weights divided by the sum of the pixels' weights. `alpha` is a factor on pixels of all classes but class 0, `1 -
/// alpha` that on pixels of class 0.
pub(super) fn softmax(pixels: &Pixels, gamma: f64, alpha: Option<f64>) -> Part {
    let log = pixels.log_probability();
    let weights = pixels.weights();
    let sum = pixels.over_group(total(weights.clone()));
    let factor = weights * as_image(sum.clone().mask_fill(sum.equal_elem(0.0), 1.0)).recip();
    let factor = match alpha {
        None => factor,
        Some(alpha) => {
            let background = pixels.classes().equal_elem(0);
            (factor.clone() * alpha).mask_where(background, factor * (1.0 - alpha))
        }
    };
    let probability = log.clone().exp();
    let rest = probability.clone().neg() + 1.0;
    let factor = factor * power(rest.clone(), gamma);
    let value = total(factor.clone() * log.clone()).neg();
    let by_logit = pixels.wants_gradient.then(|| {
        // Of -(1 - p)^gamma log p for log p; near p = 1, log p / (1 - p) is -1.
        let slope = (log / rest.clamp_min(LEAST) * probability * gamma - 1.0) * factor;
        (pixels.truth() - pixels.probability()) * slope
    });
    Part { value, by_probability: None, by_logit }
}

/// Mean over the labelled pixels and the outputs of `-(1 - p)^gamma log p`, `p` the probability of what is true: that
/// the output's class is there, or that it is not. Where it is there, its class weight and `alpha` are factors; where
/// it is not, the weight of class 0 and `1 - alpha`. As PyTorch's `binary_cross_entropy_with_logits`, this does not
/// divide by the weights.
pub(super) fn sigmoid(pixels: &Pixels, gamma: f64, alpha: Option<f64>) -> Part {
    let outputs = pixels.logits.dims()[1];
    let truth = pixels.truth();
    let sign = truth.clone() * 2.0 - 1.0;
    // The logit of what is true.
    let logit = pixels.logits.clone() * sign.clone();
    let log = log_sigmoid(logit.clone());
    let rest = logistic(logit.neg());
    let factor = pixels.fill_unlabelled(power(rest.clone(), gamma), 0.0) / as_image(pixels.count() * outputs as f64);
    let factor = match pixels.output_weights() {
        None => factor,
        Some((there, not)) => factor * (truth.clone() * (there - not) + not),
    };
    let factor = match alpha {
        None => factor,
        Some(alpha) => factor * (truth * (2.0 * alpha - 1.0) + (1.0 - alpha)),
    };
    let value = total(factor.clone() * log.clone()).neg();
    let by_logit = pixels.wants_gradient.then(|| {
        let focus = if gamma == 0.0 { rest.neg() } else { (rest.clone().neg() + 1.0) * log * gamma - rest };
        focus * factor * sign
    });
    Part { value, by_probability: None, by_logit }
}

fn power(x: Tensor<4>, exponent: f64) -> Tensor<4> {
    match exponent {
        0.0 => x.ones_like(),
        1.0 => x,
        2.0 => x.clone() * x,
        _ => x.powf_scalar(exponent),
    }
}
