//! Steps of optimisers on one parameter: what a GPU does in one go instead of in a dozen small steps, each of which it
//! has to be told.

use burn::backend::Backend;
use burn::backend::Dispatch;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Scalar, Tensor};

use super::dispatch::Operations;

/// A step of stochastic gradient descent with momentum and without dampening, PyTorch's `SGD`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdStep {
    /// Learning rate.
    pub rate: f64,
    /// Share of the velocity that stays.
    pub momentum: f64,
    /// Whether the gradient counts again, after the velocity (Nesterov).
    pub nesterov: bool,
    /// Share of the parameter that is added to its gradient.
    pub weight_decay: f64,
}

/// A step of Adam (arXiv 1412.6980), PyTorch's `Adam` or `AdamW`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub rate: f64,
    /// Share of the first moment that stays.
    pub beta_1: f64,
    /// Share of the second moment that stays.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Share of the parameter that is added to its gradient or, if `decoupled`, times the learning rate taken off it.
    pub weight_decay: f64,
    /// AdamW (arXiv 1711.05101).
    pub decoupled: bool,
    /// The number of this step, from 1.
    pub time: usize,
}

/// Parameter and velocity after a step; the first step begins with a velocity of 0.
pub fn sgd<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    velocity: Tensor<D>,
    step: SgdStep,
) -> (Tensor<D>, Tensor<D>) {
    let (parameter, velocity) =
        Dispatch::run_sgd(parameter.into_dispatch(), gradient.into_dispatch(), velocity.into_dispatch(), step);
    (Tensor::from_dispatch(parameter), Tensor::from_dispatch(velocity))
}

/// Parameter and both moments after a step; the first step begins with moments of 0.
pub fn adam<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: [Tensor<D>; 2],
    step: AdamStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let [first, second] = moments.map(Tensor::into_dispatch);
    let (parameter, first, second) =
        Dispatch::run_adam(parameter.into_dispatch(), gradient.into_dispatch(), first, second, step);
    (Tensor::from_dispatch(parameter), [first, second].map(Tensor::from_dispatch))
}

/// [`sgd`] on any backend.
pub(super) fn generic_sgd<B: Backend>(
    parameter: FloatTensor<B>,
    gradient: FloatTensor<B>,
    velocity: FloatTensor<B>,
    step: SgdStep,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let scaled = |tensor: FloatTensor<B>, factor: f64| B::float_mul_scalar(tensor, Scalar::Float(factor));
    let gradient = B::float_add(gradient, scaled(parameter.clone(), step.weight_decay));
    let velocity = B::float_add(scaled(velocity, step.momentum), gradient.clone());
    let direction = match step.nesterov {
        true => B::float_add(gradient, scaled(velocity.clone(), step.momentum)),
        false => velocity.clone(),
    };
    (B::float_sub(parameter, scaled(direction, step.rate)), velocity)
}

/// [`adam`] on any backend.
pub(super) fn generic_adam<B: Backend>(
    parameter: FloatTensor<B>,
    gradient: FloatTensor<B>,
    [first, second]: [FloatTensor<B>; 2],
    step: AdamStep,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let scaled = |tensor: FloatTensor<B>, factor: f64| B::float_mul_scalar(tensor, Scalar::Float(factor));
    let (parameter, gradient) = if step.decoupled {
        (scaled(parameter, 1.0 - step.rate * step.weight_decay), gradient)
    } else {
        let decay = scaled(parameter.clone(), step.weight_decay);
        (parameter, B::float_add(gradient, decay))
    };
    let square = B::float_mul(gradient.clone(), gradient.clone());
    let first = B::float_add(scaled(first, step.beta_1), scaled(gradient, 1.0 - step.beta_1));
    let second = B::float_add(scaled(second, step.beta_2), scaled(square, 1.0 - step.beta_2));
    let corrections = [step.beta_1, step.beta_2].map(|beta| 1.0 - beta.powi(step.time as i32));
    let root = scaled(B::float_sqrt(second.clone()), 1.0 / corrections[1].sqrt());
    let direction = B::float_div(first.clone(), B::float_add_scalar(root, Scalar::Float(step.epsilon)));
    (B::float_sub(parameter, scaled(direction, step.rate / corrections[0])), first, second)
}
