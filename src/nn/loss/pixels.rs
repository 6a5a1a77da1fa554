//! The pixels of a batch off the graph, and what several losses need of them, computed once.

use std::cell::OnceCell;

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Bool, Device, Int, Tensor};

use super::target::{Target, UNLABELLED};
use crate::nn::activation::Activation;
use crate::nn::group::Group;
use crate::nn::ops::{all_reduce, noted, upload};

/// A loss `[1]` and its gradient: one part for the probabilities, one for the logits, both of the logits' shape. Either
/// may be missing, and both are where [`Pixels::wants_gradient`] is false.
pub(super) struct Part {
    pub(super) value: Tensor<1>,
    pub(super) by_probability: Option<Tensor<4>>,
    pub(super) by_logit: Option<Tensor<4>>,
}

impl Part {
    pub(super) fn scale(self, factor: f64) -> Self {
        if factor == 1.0 {
            return self;
        }
        let times = |gradient: Option<Tensor<4>>| gradient.map(|gradient| gradient.mul_scalar(factor));
        Self {
            value: self.value.mul_scalar(factor),
            by_probability: times(self.by_probability),
            by_logit: times(self.by_logit),
        }
    }

    pub(super) fn add(self, other: Self) -> Self {
        Self {
            value: self.value + other.value,
            by_probability: sum(self.by_probability, other.by_probability),
            by_logit: sum(self.by_logit, other.by_logit),
        }
    }
}

fn sum(first: Option<Tensor<4>>, second: Option<Tensor<4>>) -> Option<Tensor<4>> {
    first.into_iter().chain(second).reduce(|a, b| a + b)
}

/// Logits and labels of a batch off the graph.
pub(super) struct Pixels {
    /// `[batch, outputs, height, width]`.
    pub(super) logits: Tensor<4>,
    /// Whether anyone will ask for gradients.
    pub(super) wants_gradient: bool,
    pub(super) activation: Activation,
    /// Class indices `[batch, 1, height, width]`; [`UNLABELLED`] where there is no label.
    labels: Tensor<4, Int>,
    complete: bool,
    classes: OnceCell<Tensor<4, Int>>,
    labelled: OnceCell<Tensor<4, Bool>>,
    class_weights: Option<Vec<f32>>,
    /// The processes that have the other samples of the batch.
    group: Option<Group>,
    probability: OnceCell<Tensor<4>>,
    truth: OnceCell<Tensor<4>>,
}

impl Pixels {
    pub(super) fn new(
        logits: &Tensor<4>,
        target: &Target,
        activation: Activation,
        class_weights: Option<&[f32]>,
        group: Option<&Group>,
    ) -> Self {
        Self {
            wants_gradient: logits.is_autodiff(),
            logits: logits.clone().inner(),
            activation,
            labels: target.labels.clone().inner().unsqueeze_dim(1),
            complete: target.complete,
            classes: OnceCell::new(),
            labelled: OnceCell::new(),
            class_weights: class_weights.map(<[f32]>::to_vec),
            group: group.cloned(),
            probability: OnceCell::new(),
            truth: OnceCell::new(),
        }
    }

    /// The sum of a few numbers over the processes that have the batch.
    pub(super) fn over_group(&self, x: Tensor<1>) -> Tensor<1> {
        match &self.group {
            None => x,
            Some(group) => all_reduce(x, group),
        }
    }

    /// `loss`, a mean of this process's pixels by `weights`, as a summand of the mean over all processes' pixels.
    pub(super) fn summand_of_mean(&self, loss: Tensor<1>, weights: impl FnOnce() -> Tensor<4>) -> Tensor<1> {
        if self.group.is_none() {
            return loss;
        }
        let own = total(weights());
        // Without any labelled pixel, both are 0.
        let all = self.over_group(own.clone()).clamp_min(f32::MIN_POSITIVE);
        let share = own / all;
        loss.clone() * if loss.is_autodiff() { share.autodiff() } else { share }
    }

    /// This process's part of a value that all compute alike.
    pub(super) fn part(&self) -> f64 {
        self.group.as_ref().map_or(1.0, |group| 1.0 / group.size() as f64)
    }

    /// Which share of the batch's samples this process has.
    pub(super) fn share_of_samples(&self) -> f64 {
        let own = self.logits.dims()[0] as f32;
        self.group.as_ref().map_or(1.0, |group| f64::from(own) / f64::from(group.sum(&[own])[0].max(1.0)))
    }

    pub(super) fn device(&self) -> Device {
        self.logits.device()
    }

    /// Class indices `[batch, height, width]`, and [`UNLABELLED`] where there is no label or `kept` `[batch, 1, height,
    /// width]` is false.
    pub(super) fn labels(&self, kept: Option<Tensor<4, Bool>>) -> Tensor<3, Int> {
        let labels = self.labels.clone();
        kept.into_iter().fold(labels, |labels, kept| labels.mask_fill(kept.bool_not(), UNLABELLED)).squeeze_dim(1)
    }

    /// Class indices `[batch, 1, height, width]`; 0 where there is no label.
    pub(super) fn classes(&self) -> Tensor<4, Int> {
        self.classes
            .get_or_init(|| if self.complete { self.labels.clone() } else { self.labels.clone().clamp_min(0) })
            .clone()
    }

    /// Where there is a label; `None` if every pixel has one.
    fn labelled(&self) -> Option<Tensor<4, Bool>> {
        (!self.complete).then(|| self.labelled.get_or_init(|| self.labels.clone().greater_equal_elem(0)).clone())
    }

    /// `x` `[batch, any, height, width]` with `value` where there is no label.
    pub(super) fn fill_unlabelled(&self, x: Tensor<4>, value: f64) -> Tensor<4> {
        self.labelled().into_iter().fold(x, |x, labelled| x.mask_fill(labelled.bool_not(), value))
    }

    /// Softmax or sigmoid of the logits; 0 where there is no label.
    pub(super) fn probability(&self) -> Tensor<4> {
        let compute = || {
            let logits = self.logits.clone();
            let probability = match self.activation {
                Activation::Softmax => softmax(logits, 1),
                Activation::Sigmoid => sigmoid(logits),
            };
            noted(self.fill_unlabelled(probability, 0.0))
        };
        self.probability.get_or_init(compute).clone()
    }

    /// 1 where an output's class is the pixel's label, else 0: `[batch, outputs, height, width]`.
    pub(super) fn truth(&self) -> Tensor<4> {
        let compute = || {
            let shape = self.logits.dims();
            let first = i64::from(self.activation == Activation::Sigmoid);
            let index = Tensor::<1, Int>::arange(first..first + shape[1] as i64, &self.device());
            let index = index.reshape([1, shape[1] as i64, 1, 1]);
            noted(self.labels.clone().equal(index).float())
        };
        self.truth.get_or_init(compute).clone()
    }

    /// `-log softmax(logits)[class]` of every pixel but for its sign: `[batch, 1, height, width]`.
    pub(super) fn log_probability(&self) -> Tensor<4> {
        self.logits.clone().gather(1, self.classes()) - self.log_partition()
    }

    /// `log sum exp` of the logits of every pixel: `[batch, 1, height, width]`.
    pub(super) fn log_partition(&self) -> Tensor<4> {
        let largest = self.logits.clone().max_dim(1);
        (self.logits.clone() - largest.clone()).exp().sum_dim(1).log() + largest
    }

    /// The weights of the classes, if they are not equal: `[classes]`.
    pub(super) fn class_weights(&self) -> Option<Tensor<1>> {
        self.class_weights.as_deref().map(|weights| upload(weights.into(), &self.device()))
    }

    /// The weights of the outputs' classes, `[1, outputs, 1, 1]`, and the weight of class 0. For a sigmoid.
    pub(super) fn output_weights(&self) -> Option<(Tensor<4>, f32)> {
        let (first, rest) = self.class_weights.as_deref()?.split_first()?;
        Some((upload::<1>(rest.into(), &self.device()).reshape([1, rest.len() as i64, 1, 1]), *first))
    }

    /// The weight of every pixel's class, 0 where there is no label: `[batch, 1, height, width]`.
    pub(super) fn weights(&self) -> Tensor<4> {
        let shape = self.labels.dims();
        let weights = match self.class_weights() {
            None => Tensor::ones(shape, &self.device()),
            Some(weights) => weights.select(0, self.classes().flatten(0, 3)).reshape(shape),
        };
        self.fill_unlabelled(weights, 0.0)
    }

    /// How many pixels of the batch have a label, at least 1: `[1]`.
    pub(super) fn count(&self) -> Tensor<1> {
        let [batch, _, height, width] = self.logits.dims();
        let own = match self.labelled() {
            None => Tensor::full([1], (batch * height * width) as f64, &self.device()),
            Some(labelled) => total(labelled.float()),
        };
        self.over_group(own).clamp_min(1.0)
    }

    /// The loss and its gradient for the logits, if anyone asks for it.
    pub(super) fn finish(&self, part: Part) -> (Tensor<1>, Option<Tensor<4>>) {
        let through = |slope: Tensor<4>| {
            let probability = self.probability();
            match self.activation {
                Activation::Softmax => {
                    let mean = (probability.clone() * slope.clone()).sum_dim(1);
                    (slope - mean) * probability
                }
                Activation::Sigmoid => (probability.clone().neg() + 1.0) * probability * slope,
            }
        };
        let gradient = sum(part.by_probability.map(through), part.by_logit);
        // Also a loss without a gradient is a step of the graph: a backward pass may begin at it.
        let gradient = gradient.or_else(|| self.wants_gradient.then(|| self.logits.zeros_like()));
        (part.value, gradient.map(noted))
    }
}

/// The sum of all elements: `[1]`. Row by row, so that float32 stays exact over millions of pixels.
pub(super) fn total(x: Tensor<4>) -> Tensor<1> {
    x.sum_dim(3).sum_dim(2).sum_dim(1).sum_dim(0).reshape([1])
}

/// Sums over batch and image, row by row: `[channels]`.
pub(super) fn per_channel(x: Tensor<4>) -> Tensor<1> {
    let channels = x.dims()[1];
    x.sum_dim(3).sum_dim(2).sum_dim(0).reshape([channels])
}

/// `x` `[1]` in a shape that goes with images.
pub(super) fn as_image(x: Tensor<1>) -> Tensor<4> {
    x.reshape([1, 1, 1, 1])
}
