//! Sums and norms of gradients.

use crate::nn::device::is_gpu;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{DType, Tensor};

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
        if self.count > 1 { scaled(network, gradients, Factor::Here(1.0 / self.count as f64)) } else { gradients }
    }
}

/// `gradients`, scaled down to a Euclidean norm of `most` over all parameters where it is larger: PyTorch's
/// `clip_grad_norm_`. With a norm that is not finite they stay as they are, and spoil the weights, which shows.
pub(super) fn limit(network: &Network, gradients: GradientsParams, most: f64) -> GradientsParams {
    let mut squares = Squares { gradients: &gradients, sum: None };
    network.visit(&mut squares);
    let Some(sum) = squares.sum else { return gradients };
    if is_gpu(&sum.device()) {
        return scaled(network, gradients, Factor::There(Box::new(factor_there(sum, most))));
    }
    let norm = f64::from(sum.into_scalar::<f32>()).sqrt();
    let factor = most / (norm + EPSILON);
    if norm.is_finite() && factor < 1.0 { scaled(network, gradients, Factor::Here(factor)) } else { gradients }
}

/// What gradients are multiplied by, computed where they are: a program that reads the norm waits for the GPU.
fn factor_there(squares: Tensor<1>, most: f64) -> Tensor<1> {
    let norm = squares.cast(DType::F64).sqrt();
    let spoilt = norm.clone().is_finite().bool_not();
    let factor = norm.add_scalar(EPSILON).recip().mul_scalar(most).clamp_max(1.0);
    factor.mask_fill(spoilt, 1.0).cast(DType::F32)
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
        let squares = (gradient.clone() * gradient).sum();
        self.sum = self.sum.take().into_iter().chain([squares]).reduce(|a, b| a + b);
    }
}

/// What all gradients are multiplied by.
enum Factor {
    Here(f64),
    /// A tensor on their device.
    There(Box<Tensor<1>>),
}

fn scaled(network: &Network, gradients: GradientsParams, factor: Factor) -> GradientsParams {
    let mut scaler = Scaler { gradients, factor };
    network.visit(&mut scaler);
    scaler.gradients
}

struct Scaler {
    gradients: GradientsParams,
    factor: Factor,
}

impl ModuleVisitor for Scaler {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            let scaled = match &self.factor {
                Factor::Here(factor) => gradient.mul_scalar(*factor),
                Factor::There(factor) => gradient * factor.as_ref().clone().reshape([1; D]),
            };
            self.gradients.register(param.id, scaled);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_factor_is_that_of_the_norm() {
        let most = 0.5;
        for (squares, expected) in
            [(9.0f32, (most / (3.0 + EPSILON)) as f32), (0.04, 1.0), (0.0, 1.0), (f32::INFINITY, 1.0), (f32::NAN, 1.0)]
        {
            let found = factor_there(Tensor::from_floats([squares], &Device::flex()), most);
            assert_eq!(found.into_scalar::<f32>(), expected, "{squares}");
        }
    }
}
