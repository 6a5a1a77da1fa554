//! Losses of overlap, from soft counts of true positives, false positives and false negatives over the batch.
//!
//! All of them are the Tversky index (arXiv 1706.05721)
//!
//! ```text
//! index = (TP + smooth) / (TP + a FP + b FN + smooth)      TP = sum p t, FP = sum p (1 - t), FN = sum (1 - p) t
//! ```
//!
//! and a power of `1 - index`. The Jaccard index has a = b = 1; Dice, `(2 TP + s) / (2 TP + FP + FN + s)`, has
//! a = b = 1/2 and half the `smooth`.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::pixels::{Part, Pixels, per_channel};
use crate::nn::activation::Activation;
use crate::nn::ops;

/// The least denominator, for counts that are all 0 with a `smooth` of 0.
const LEAST: f64 = 1e-7;

/// A loss `weight * (1 - index)^exponent`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Region {
    pub(super) weight: f64,
    pub(super) false_positives: f64,
    pub(super) false_negatives: f64,
    pub(super) exponent: f64,
    pub(super) smooth: f64,
    pub(super) over: Over,
    pub(super) background: bool,
}

/// Soft counts, one an output.
#[derive(Clone)]
struct Counts {
    /// `sum p t`.
    both: Tensor<1>,
    /// `sum p`.
    predicted: Tensor<1>,
    /// `sum t`.
    present: Tensor<1>,
}

impl Counts {
    /// Those of the whole batch.
    fn over(pixels: &Pixels, own: [Tensor<1>; 3]) -> Self {
        let outputs = own[0].dims()[0];
        let all = pixels.over_group(Tensor::cat(own.into(), 0));
        let [both, predicted, present] = [0, 1, 2].map(|i| all.clone().narrow(0, i * outputs, outputs));
        Self { both, predicted, present }
    }

    fn map(self, change: impl Fn(Tensor<1>) -> Tensor<1>) -> Self {
        Self { both: change(self.both), predicted: change(self.predicted), present: change(self.present) }
    }
}

/// A loss and its derivatives for `sum p t` and `sum p` of each output.
struct Slopes {
    value: Tensor<1>,
    both: Tensor<1>,
    predicted: Tensor<1>,
}

/// The sum of several losses, whose counts are the same.
pub(super) fn loss(pixels: &Pixels, regions: &[Region]) -> Part {
    let (probability, truth) = (pixels.probability(), pixels.truth());
    let outputs = probability.dims()[1];
    let own = [per_channel(probability.clone() * truth.clone()), per_channel(probability), per_channel(truth.clone())];
    let counts = Counts::over(pixels, own);
    let start = Slopes {
        value: Tensor::zeros([1], &pixels.device()),
        both: Tensor::zeros([outputs], &pixels.device()),
        predicted: Tensor::zeros([outputs], &pixels.device()),
    };
    let sum = regions.iter().fold(start, |sum, region| {
        let one = region.slopes(&counts, pixels.activation);
        Slopes { value: sum.value + one.value, both: sum.both + one.both, predicted: sum.predicted + one.predicted }
    });
    let by_probability = pixels.wants_gradient.then(|| {
        let shape = [1, outputs as i64, 1, 1];
        truth * sum.both.reshape(shape) + sum.predicted.reshape(shape)
    });
    Part { value: sum.value.mul_scalar(pixels.part()), by_probability, by_logit: None }
}

impl Region {
    /// For all outputs; 0 for the background if that is left out.
    fn slopes(&self, counts: &Counts, activation: Activation) -> Slopes {
        let outputs = counts.both.dims()[0];
        let first = usize::from(activation == Activation::Softmax && !self.background);
        let terms = outputs - first.min(outputs);
        let device = counts.both.device();
        if terms == 0 {
            let [value, both, predicted] = [1, outputs, outputs].map(|length| Tensor::zeros([length], &device));
            return Slopes { value, both, predicted };
        }
        let counts = counts.clone().map(|count| count.narrow(0, first, terms));
        let counts = if self.over == Over::All { counts.map(Tensor::sum) } else { counts };
        let found = self.terms(counts);
        let back = |slope: Tensor<1>| Tensor::cat(vec![Tensor::zeros([first], &device), slope.expand([terms])], 0);
        let back = |slope: Tensor<1>| if first == 0 { slope.expand([terms]) } else { back(slope) };
        Slopes { value: found.value, both: back(found.both), predicted: back(found.predicted) }
    }

    /// The mean over these counts.
    fn terms(&self, counts: Counts) -> Slopes {
        let (a, b) = (self.false_positives, self.false_negatives);
        let false_positives = (counts.predicted - counts.both.clone()).clamp_min(0.0);
        let false_negatives = (counts.present - counts.both.clone()).clamp_min(0.0);
        let faults = false_positives * a + false_negatives * b;
        let right = counts.both + self.smooth;
        let per = (right.clone() + faults.clone()).clamp_min(LEAST).recip();
        // 1 - index, without the rounding of that difference.
        let (index, miss) = (right * per.clone(), faults * per.clone());
        let scale = self.weight / miss.dims()[0] as f64;
        let steepness = match self.exponent {
            1.0 => per * scale,
            // Below 1, the slope is infinite at a perfect prediction: the limit is what float32 tells from it.
            e => miss.clone().clamp_min(f32::EPSILON).powf_scalar(e - 1.0) * per * (e * scale),
        };
        let power = if self.exponent == 1.0 { miss.clone() } else { miss.clone().powf_scalar(self.exponent) };
        Slopes {
            value: ops::sum(power) * scale,
            both: (index.clone() * (a + b) + miss).neg() * steepness.clone(),
            predicted: index * a * steepness,
        }
    }
}

/// Over what a loss of overlap takes its counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// Each class has its own; the loss is the mean over classes.
    #[default]
    Classes,
    /// The sums over all classes, as if they were one.
    All,
}
