//! How one parameter moves: burn's arithmetic on a CPU, and on a GPU the same in one go.

use burn::optim::{
    Adam, AdamState, AdamW, AdamWState, AdaptiveMomentumState, LearningRate, Optimizer, RecordState, StateSink,
    StateSource,
};
use burn::tensor::{Device, Tensor};

use crate::nn::device::is_gpu;
use crate::nn::ops::{AdamStep, SgdStep, adam, sgd};

/// Stochastic gradient descent as PyTorch has it: the gradient is not dampened when it joins the velocity.
#[derive(Debug, Clone)]
pub(super) struct Sgd {
    pub(super) momentum: f64,
    pub(super) nesterov: bool,
    pub(super) weight_decay: f32,
}

/// The state of [`Sgd`].
#[derive(Debug, Clone)]
pub(super) struct SgdState<const D: usize> {
    velocity: Option<Tensor<D>>,
}

/// What burn's own optimiser calls the velocity.
const VELOCITY: &str = "momentum.velocity";

impl<const D: usize> RecordState for SgdState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        if let Some(velocity) = &self.velocity {
            out.push_tensor(prefix, VELOCITY, velocity.to_data());
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        Some(Self { velocity: source.take_tensor(prefix, VELOCITY).map(|data| Tensor::from_data(data, device)) })
    }
}

impl Optimizer for Sgd {
    type State<const D: usize> = SgdState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let velocity = state.and_then(|state| state.velocity);
        if self.momentum > 0.0 && is_gpu(&parameter.device()) {
            let velocity = velocity.unwrap_or_else(|| gradient.zeros_like());
            let Self { momentum, nesterov, weight_decay } = *self;
            let step = SgdStep { rate, momentum, nesterov, weight_decay: weight_decay.into() };
            let (parameter, velocity) = sgd(parameter, gradient, velocity, step);
            return (parameter, Some(SgdState { velocity: Some(velocity) }));
        }
        let gradient = match self.weight_decay {
            0.0 => gradient,
            decay => parameter.clone().mul_scalar(decay).add(gradient),
        };
        if self.momentum == 0.0 {
            return (parameter - gradient.mul_scalar(rate), Some(SgdState { velocity: None }));
        }
        let share = self.momentum as f32;
        let velocity = match velocity {
            Some(velocity) => gradient.clone().add(velocity.mul_scalar(share)),
            None => gradient.clone(),
        };
        let direction = if self.nesterov { velocity.clone().mul_scalar(share).add(gradient) } else { velocity.clone() };
        (parameter - direction.mul_scalar(rate), Some(SgdState { velocity: Some(velocity) }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        SgdState { velocity: state.velocity.map(|velocity| velocity.to_device(device)) }
    }
}

/// The numbers of Adam or, if `decoupled`, AdamW; rate and time are those of a step.
pub(super) fn adam_step([beta_1, beta_2, epsilon, weight_decay]: [f32; 4], decoupled: bool) -> AdamStep {
    let [beta_1, beta_2, epsilon, weight_decay] = [beta_1, beta_2, epsilon, weight_decay].map(f64::from);
    AdamStep { rate: 0.0, beta_1, beta_2, epsilon, weight_decay, decoupled, time: 0 }
}

/// burn's Adam or AdamW.
#[derive(Clone)]
pub(super) struct Adaptive<O> {
    pub(super) inner: O,
    pub(super) numbers: AdamStep,
}

/// The state of burn's Adam or AdamW.
pub(super) trait Moments<const D: usize>: Sized {
    fn open(self) -> AdaptiveMomentumState<D>;
    fn close(moments: AdaptiveMomentumState<D>) -> Self;
}

fn fused<const D: usize, S: Moments<D>>(
    numbers: AdamStep,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    state: Option<S>,
) -> (Tensor<D>, Option<S>) {
    let (time, moments) = match state.map(S::open) {
        Some(state) => (state.time + 1, [state.moment_1, state.moment_2]),
        None => (1, [gradient.zeros_like(), gradient.zeros_like()]),
    };
    let (parameter, [moment_1, moment_2]) = adam(parameter, gradient, moments, AdamStep { time, ..numbers });
    (parameter, Some(S::close(AdaptiveMomentumState { time, moment_1, moment_2, max_moment_2: None })))
}

macro_rules! adaptive {
    ($inner:ty, $state:ident) => {
        impl<const D: usize> Moments<D> for $state<D> {
            fn open(self) -> AdaptiveMomentumState<D> {
                self.momentum
            }

            fn close(moments: AdaptiveMomentumState<D>) -> Self {
                Self { momentum: moments }
            }
        }

        impl Optimizer for Adaptive<$inner> {
            type State<const D: usize> = $state<D>;

            fn step<const D: usize>(
                &self,
                rate: LearningRate,
                parameter: Tensor<D>,
                gradient: Tensor<D>,
                state: Option<Self::State<D>>,
            ) -> (Tensor<D>, Option<Self::State<D>>) {
                if is_gpu(&parameter.device()) {
                    return fused(AdamStep { rate, ..self.numbers }, parameter, gradient, state);
                }
                self.inner.step(rate, parameter, gradient, state)
            }

            fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
                <$inner as Optimizer>::to_device(state, device)
            }
        }
    };
}

adaptive!(Adam, AdamState);
adaptive!(AdamW, AdamWState);
