//! Updates of many tensors. On libtorch, all updates of a kind are fused into one call, instead of a dozen calls per
//! tensor; other devices apply each update immediately.

#[cfg(feature = "libtorch")]
use std::sync::{Arc, Mutex, MutexGuard};

use burn::tensor::{Device, Tensor};

#[cfg(feature = "libtorch")]
use super::libtorch::{Gathered, is_libtorch};
use super::settings::{AdamStep, SgdStep};
#[cfg(feature = "libtorch")]
use crate::base::locked;
use crate::nn::group::Group;

/// Updates of tensors that do not track gradients. On libtorch, they are deferred until [`Self::run`]; until then, the
/// tensors returned hold their old values. Clones share the deferred updates.
#[derive(Debug, Clone)]
pub struct Updates {
    #[cfg(feature = "libtorch")]
    gathered: Option<Arc<Mutex<Gathered>>>,
}

impl Updates {
    /// Updates of tensors on `device`.
    pub fn on(device: &Device) -> Self {
        #[cfg(feature = "libtorch")]
        return Self { gathered: is_libtorch(device).then(Arc::default) };
        #[cfg(not(feature = "libtorch"))]
        {
            let _ = device;
            Self {}
        }
    }

    #[cfg(feature = "libtorch")]
    fn gathered(&self) -> Option<MutexGuard<'_, Gathered>> {
        self.gathered.as_ref().map(|gathered| locked(gathered))
    }

    /// Parameter and velocity after a step of stochastic gradient descent. There is no velocity before the first step,
    /// nor without momentum.
    pub fn sgd<const D: usize>(
        &self,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        velocity: Option<Tensor<D>>,
        step: SgdStep,
    ) -> (Tensor<D>, Option<Tensor<D>>) {
        #[cfg(feature = "libtorch")]
        if let Some(mut gathered) = self.gathered() {
            let velocity = (step.momentum > 0.0).then(|| velocity.unwrap_or_else(|| parameter.zeros_like()));
            return gathered.sgd(parameter, gradient, velocity, step);
        }
        let gradient = match step.weight_decay {
            0.0 => gradient,
            decay => parameter.clone().mul_scalar(decay).add(gradient),
        };
        if step.momentum == 0.0 {
            return (parameter - gradient.mul_scalar(step.rate), None);
        }
        let velocity = match velocity {
            Some(velocity) => gradient.clone().add(velocity.mul_scalar(step.momentum)),
            None => gradient.clone(),
        };
        let direction =
            if step.nesterov { velocity.clone().mul_scalar(step.momentum).add(gradient) } else { velocity.clone() };
        (parameter - direction.mul_scalar(step.rate), Some(velocity))
    }

    /// Parameter and both moments after a step of Adam. There are no moments before the first step.
    pub fn adam<const D: usize>(
        &self,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        moments: Option<[Tensor<D>; 2]>,
        step: AdamStep,
    ) -> (Tensor<D>, [Tensor<D>; 2]) {
        let [first, second] = moments.unwrap_or_else(|| [parameter.zeros_like(), parameter.zeros_like()]);
        #[cfg(feature = "libtorch")]
        if let Some(mut gathered) = self.gathered() {
            return gathered.adam(parameter, gradient, [first, second], step);
        }
        let (parameter, gradient) = match step.weight_decay {
            0.0 => (parameter, gradient),
            decay if step.decoupled => (parameter.mul_scalar(1.0 - step.rate * decay), gradient),
            decay => (parameter.clone(), parameter.mul_scalar(decay).add(gradient)),
        };
        let square = gradient.clone().square();
        let first = first.mul_scalar(step.beta_1).add(gradient.mul_scalar(1.0 - step.beta_1));
        let second = second.mul_scalar(step.beta_2).add(square.mul_scalar(1.0 - step.beta_2));
        let corrections = [step.beta_1, step.beta_2].map(|beta| 1.0 - beta.powf(step.time as f64));
        let root = second.clone().sqrt().mul_scalar(1.0 / corrections[1].sqrt()).add_scalar(step.epsilon);
        let direction = first.clone().div(root);
        (parameter - direction.mul_scalar(step.rate / corrections[0]), [first, second])
    }

    /// `tensor`, moved by `share` of the way to `target`.
    pub fn towards<const D: usize>(&self, tensor: Tensor<D>, target: Tensor<D>, share: f64) -> Tensor<D> {
        #[cfg(feature = "libtorch")]
        if let Some(mut gathered) = self.gathered() {
            return gathered.towards(tensor, target, share);
        }
        tensor.mul_scalar(1.0 - share) + target.mul_scalar(share)
    }

    /// `tensor`, multiplied by a factor.
    pub fn scaled<const D: usize>(&self, tensor: Tensor<D>, factor: f64) -> Tensor<D> {
        #[cfg(feature = "libtorch")]
        if let Some(mut gathered) = self.gathered() {
            return gathered.scaled(tensor, factor);
        }
        tensor.mul_scalar(factor)
    }

    /// Whether updates are deferred until [`Self::run`].
    pub fn wait(&self) -> bool {
        #[cfg(feature = "libtorch")]
        return self.gathered.is_some();
        #[cfg(not(feature = "libtorch"))]
        false
    }

    /// Gradient clipping: `tensor`, multiplied by `most / (norm + epsilon)` if the Euclidean norm over all tensors that
    /// are clipped together exceeds `most`. If the norm is not finite, they are unchanged. The norm stays on the
    /// device.
    ///
    /// # Panics
    ///
    /// Unless updates are deferred: the norm over all tensors must be known before the first is changed.
    pub fn limited<const D: usize>(&self, tensor: Tensor<D>, most: f64, epsilon: f64) -> Tensor<D> {
        #[cfg(feature = "libtorch")]
        if let Some(mut gathered) = self.gathered() {
            return gathered.limited(tensor, most, epsilon);
        }
        panic!("a norm of {most} over a single tensor {:?}, with {epsilon}", tensor.dims())
    }

    /// The sum of `tensor` over the processes of the group that [`Self::run`] is given.
    ///
    /// # Panics
    ///
    /// Unless updates are deferred.
    pub fn summed<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        #[cfg(feature = "libtorch")]
        if let Some(mut gathered) = self.gathered() {
            return gathered.summed(tensor);
        }
        panic!("a sum over processes of a single tensor {:?}", tensor.dims())
    }

    /// Applies the deferred updates. Sums are over the processes of `group`, all of which must have deferred them.
    pub fn run(&self, group: Option<&Group>) {
        #[cfg(feature = "libtorch")]
        if let Some(mut gathered) = self.gathered() {
            gathered.run(group);
        }
        #[cfg(not(feature = "libtorch"))]
        let _ = group;
    }
}
