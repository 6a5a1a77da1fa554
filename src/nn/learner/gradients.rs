//! Sums and norms of gradients.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;

use crate::nn::model::Network;

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

    pub(super) fn mean(mut self, network: &Network) -> GradientsParams {
        let gradients = self.gradients.grads();
        if self.count > 1 { scaled(network, gradients, 1.0 / self.count as f64) } else { gradients }
    }
}

/// `gradients`, scaled down to a Euclidean norm of `most` over all parameters where it is larger: PyTorch's
/// `clip_grad_norm_`. With a norm that is not finite they stay as they are, and spoil the weights, which shows.
pub(super) fn limit(network: &Network, gradients: GradientsParams, most: f64) -> GradientsParams {
    let mut squares = Squares { gradients: &gradients, sum: None };
    network.visit(&mut squares);
    let norm = squares.sum.map_or(0.0, |sum| f64::from(sum.into_scalar::<f32>()).sqrt());
    let factor = most / (norm + EPSILON);
    if norm.is_finite() && factor < 1.0 { scaled(network, gradients, factor) } else { gradients }
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
        let squares = (gradient.clone() * gradient).sum();
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + squares,
            None => squares,
        });
    }
}

fn scaled(network: &Network, gradients: GradientsParams, factor: f64) -> GradientsParams {
    let mut scaler = Scaler { gradients, factor };
    network.visit(&mut scaler);
    scaler.gradients
}

struct Scaler {
    gradients: GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scaler {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient.mul_scalar(self.factor));
        }
    }
}
