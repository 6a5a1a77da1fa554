//! Sums and norms of gradients.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;

use crate::nn::model::Network;
use crate::nn::ops::{Updates, read_number, sum};

/// Kept away from a division by 0, as in PyTorch's `clip_grad_norm_`.
const EPSILON: f64 = 1e-6;

/// Gradients of several batches.
#[derive(Default)]
pub(super) struct Sum {
    gradients: GradientsAccumulator<Network>,
    count: usize,
}

impl Sum {
    pub(super) fn add(&mut self, network: &Network, gradients: GradientsParams) {
        self.gradients.accumulate(network, gradients);
        self.count += 1;
    }

    pub(super) fn mean(mut self, network: &Network, updates: &Updates) -> GradientsParams {
        let gradients = self.gradients.grads();
        if self.count > 1 { scaled(network, gradients, 1.0 / self.count as f64, updates) } else { gradients }
    }
}

/// `gradients`, scaled down to a Euclidean norm of `most` over all parameters where it is larger: PyTorch's
/// `clip_grad_norm_`. With a norm that is not finite they stay as they are, and spoil the weights, which shows.
pub(super) fn limit(network: &Network, gradients: GradientsParams, most: f64, updates: &Updates) -> GradientsParams {
    if updates.wait() {
        return updated(network, gradients, Change::Limited(most), updates);
    }
    let mut squares = Squares { gradients: &gradients, sum: None };
    network.visit(&mut squares);
    let Some(sum) = squares.sum else { return gradients };
    let norm = read_number(sum).sqrt();
    let factor = most / (norm + EPSILON);
    if norm.is_finite() && factor < 1.0 { scaled(network, gradients, factor, updates) } else { gradients }
}

fn scaled(network: &Network, gradients: GradientsParams, factor: f64, updates: &Updates) -> GradientsParams {
    updated(network, gradients, Change::Scaled(factor), updates)
}

fn updated(network: &Network, gradients: GradientsParams, change: Change, updates: &Updates) -> GradientsParams {
    let mut updater = Updater { gradients, change, updates };
    network.visit(&mut updater);
    updates.run(None);
    updater.gradients
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
        let squares = sum(gradient.clone() * gradient);
        self.sum = self.sum.take().into_iter().chain([squares]).reduce(|a, b| a + b);
    }
}

/// What happens to all gradients.
#[derive(Debug, Clone, Copy)]
enum Change {
    Scaled(f64),
    /// Down to that norm.
    Limited(f64),
}

struct Updater<'a> {
    gradients: GradientsParams,
    change: Change,
    updates: &'a Updates,
}

impl ModuleVisitor for Updater<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return };
        let gradient = match self.change {
            Change::Scaled(factor) => self.updates.scaled(gradient, factor),
            Change::Limited(most) => self.updates.limited(gradient, most, EPSILON),
        };
        self.gradients.register(param.id, gradient);
    }
}
