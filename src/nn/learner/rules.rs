//! How one parameter moves, and what is kept of it from step to step.

use burn::optim::{AdamState, AdaptiveMomentumState, LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};

use crate::nn::ops::{AdamStep, SgdStep, Updates};

/// Stochastic gradient descent as PyTorch has it: the gradient is not dampened when it joins the velocity.
#[derive(Debug, Clone)]
pub(super) struct Sgd {
    /// Its numbers; the learning rate is that of a step.
    pub(super) numbers: SgdStep,
    pub(super) updates: Updates,
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
        let step = SgdStep { rate, ..self.numbers };
        let (parameter, velocity) = self.updates.sgd(parameter, gradient, velocity, step);
        (parameter, Some(SgdState { velocity }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        SgdState { velocity: state.velocity.map(|velocity| velocity.to_device(device)) }
    }
}

/// Adam or AdamW, with the state of burn's own.
#[derive(Debug, Clone)]
pub(super) struct Adam {
    /// Its numbers; learning rate and time are those of a step.
    pub(super) numbers: AdamStep,
    pub(super) updates: Updates,
}

impl Optimizer for Adam {
    type State<const D: usize> = AdamState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (time, moments) = match state.map(|state| state.momentum) {
            Some(state) => (state.time + 1, Some([state.moment_1, state.moment_2])),
            None => (1, None),
        };
        let step = AdamStep { rate, time, ..self.numbers };
        let (parameter, [moment_1, moment_2]) = self.updates.adam(parameter, gradient, moments, step);
        (parameter, Some(AdamState::new(AdaptiveMomentumState::new(time, moment_1, moment_2))))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        burn::optim::Adam::to_device::<D>(state, device)
    }
}
