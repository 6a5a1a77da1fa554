//! Steps of optimisers on one parameter: what a GPU does in one go instead of in a dozen small steps, each of which it
//! has to be told.

use super::settings::{AdamStep, SgdStep};
use burn::backend::Dispatch;
use burn::tensor::Tensor;

use super::dispatch::Operations;

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
