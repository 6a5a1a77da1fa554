//! Updates that wait until they can all be made in one call.

use burn::backend::LibTorch;
use burn::backend::libtorch::TchTensor;
use burn::tensor::Tensor;
use tch::Kind;

use super::sums::all_reduce;
use super::{lists, writable};
use crate::nn::group::Group;
use crate::nn::ops::{AdamStep, SgdStep};

/// What happens to tensors.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Update {
    Sgd(SgdStep),
    Adam(AdamStep),
    /// By that share towards another tensor.
    Towards(f64),
    Scaled(f64),
    /// All of them together, down to that Euclidean norm; with what is added to the norm that they have.
    Limited(f64, f64),
    /// Summed over the processes.
    Summed,
}

/// Updates that wait, and their tensors in a list for each role: parameters first, then gradients or targets, then the
/// state.
#[derive(Debug, Default)]
pub(in crate::nn::ops) struct Gathered(Vec<(Update, [Vec<tch::Tensor>; 4])>);

impl Gathered {
    /// A step of SGD; without momentum there is no velocity.
    pub(in crate::nn::ops) fn sgd<const D: usize>(
        &mut self,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        velocity: Option<Tensor<D>>,
        step: SgdStep,
    ) -> (Tensor<D>, Option<Tensor<D>>) {
        let parameter = mine(parameter);
        let velocity = velocity.map(|velocity| laid_out_as(mine(velocity), &parameter));
        self.add(Update::Sgd(step), [Some(&parameter), Some(&opened(gradient)), velocity.as_ref(), None]);
        (closed(parameter), velocity.map(closed))
    }

    /// A step of Adam or AdamW.
    pub(in crate::nn::ops) fn adam<const D: usize>(
        &mut self,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        moments: [Tensor<D>; 2],
        step: AdamStep,
    ) -> (Tensor<D>, [Tensor<D>; 2]) {
        let parameter = mine(parameter);
        let moments = moments.map(|moment| laid_out_as(mine(moment), &parameter));
        let [first, second] = &moments;
        self.add(Update::Adam(step), [Some(&parameter), Some(&opened(gradient)), Some(first), Some(second)]);
        (closed(parameter), moments.map(closed))
    }

    /// A move by a share of the way to `target`.
    pub(in crate::nn::ops) fn towards<const D: usize>(
        &mut self,
        tensor: Tensor<D>,
        target: Tensor<D>,
        share: f64,
    ) -> Tensor<D> {
        let tensor = mine(tensor);
        self.add(Update::Towards(share), [Some(&tensor), Some(&opened(target)), None, None]);
        closed(tensor)
    }

    /// Multiplied by a factor.
    pub(in crate::nn::ops) fn scaled<const D: usize>(&mut self, tensor: Tensor<D>, factor: f64) -> Tensor<D> {
        let tensor = mine(tensor);
        self.add(Update::Scaled(factor), [Some(&tensor), None, None, None]);
        closed(tensor)
    }

    /// Scaled down together with the others that are, to a norm of `most` over all of them.
    pub(in crate::nn::ops) fn limited<const D: usize>(
        &mut self,
        tensor: Tensor<D>,
        most: f64,
        epsilon: f64,
    ) -> Tensor<D> {
        let tensor = mine(tensor);
        self.add(Update::Limited(most, epsilon), [Some(&tensor), None, None, None]);
        closed(tensor)
    }

    /// Summed over the processes of the group that [`Self::run`] is given.
    pub(in crate::nn::ops) fn summed<const D: usize>(&mut self, tensor: Tensor<D>) -> Tensor<D> {
        let tensor = mine(tensor).contiguous();
        self.add(Update::Summed, [Some(&tensor), None, None, None]);
        closed(tensor)
    }

    fn add(&mut self, update: Update, roles: [Option<&tch::Tensor>; 4]) {
        let place = self.0.iter().position(|(other, _)| *other == update).unwrap_or_else(|| {
            self.0.push((update, Default::default()));
            self.0.len() - 1
        });
        for (list, tensor) in self.0[place].1.iter_mut().zip(roles) {
            list.extend(tensor.map(tch::Tensor::shallow_clone));
        }
    }

    /// Makes all updates, and empties the lists. `group`: the processes over which to sum; `None`: no sums.
    pub(in crate::nn::ops) fn run(&mut self, group: Option<&Group>) {
        for (update, [tensors, others, first, second]) in std::mem::take(&mut self.0) {
            match update {
                Update::Sgd(step) => lists::sgd(&tensors, &others, &first, step),
                Update::Adam(step) => {
                    let time = tch::Tensor::full(&[] as &[i64], step.time as f64, (Kind::Float, tensors[0].device()));
                    lists::adam(&tensors, &others, [&first, &second], &time, step);
                }
                Update::Towards(share) => lists::move_towards(&tensors, &others, share),
                Update::Scaled(factor) => lists::scale(&tensors, factor),
                Update::Limited(most, epsilon) => lists::limit_norm(&tensors, most, epsilon),
                Update::Summed => group.iter().for_each(|group| all_reduce(&tensors, group)),
            }
        }
    }
}

/// A tensor's own.
fn opened<const D: usize>(tensor: Tensor<D>) -> tch::Tensor {
    primitive(tensor).tensor
}

/// [`opened`], and nobody else's.
fn mine<const D: usize>(tensor: Tensor<D>) -> tch::Tensor {
    writable(primitive(tensor))
}

/// A state with its values in the order of its parameter's in memory, as the fused optimisers demand. One that was read from
/// a file may have another.
fn laid_out_as(state: tch::Tensor, parameter: &tch::Tensor) -> tch::Tensor {
    if state.stride() == parameter.stride() {
        return state;
    }
    let mut copy = parameter.empty_like();
    copy.copy_(&state);
    copy
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> TchTensor {
    tensor.try_into_primitive::<LibTorch>().unwrap_or_else(|_| panic!("a tensor of libtorch's without a graph"))
}

fn closed<const D: usize>(tensor: tch::Tensor) -> Tensor<D> {
    Tensor::from_primitive::<LibTorch>(TchTensor::new(tensor))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Tensor as Torch};

    use super::*;

    /// Tensors of several shapes.
    fn noise(seed: i64) -> Vec<Torch> {
        tch::manual_seed(seed);
        [[3, 4, 1, 1], [2, 3, 3, 3], [5, 1, 2, 2]].map(|shape| Torch::randn(shape, (Kind::Float, Device::Cpu))).into()
    }

    fn zeros(like: &[Torch]) -> Vec<Torch> {
        like.iter().map(Torch::zeros_like).collect()
    }

    fn assert_close(what: &str, found: &[Tensor<4>], expected: &[Torch]) {
        for (found, expected) in found.iter().zip(expected) {
            let off = (opened(found.clone()) - expected).abs().max().double_value(&[]);
            assert!(off < 1e-6, "{what}: {off} off");
        }
    }

    /// As PyTorch's manual writes it.
    fn written_out_sgd(weights: &mut [Torch], gradients: &[Torch], velocities: &mut [Torch], step: SgdStep) {
        for ((weight, gradient), velocity) in weights.iter_mut().zip(gradients).zip(velocities) {
            let gradient = gradient + &*weight * step.weight_decay;
            *velocity = &*velocity * step.momentum + &gradient;
            let direction = if step.nesterov { gradient + &*velocity * step.momentum } else { velocity.copy() };
            *weight = &*weight - direction * step.rate;
        }
    }

    fn written_out_adam(weights: &mut [Torch], gradients: &[Torch], moments: &mut [Vec<Torch>; 2], step: AdamStep) {
        let [first, second] = moments;
        let corrections = [step.beta_1, step.beta_2].map(|beta| 1.0 - beta.powi(step.time as i32));
        for (i, weight) in weights.iter_mut().enumerate() {
            let gradient = if step.decoupled {
                *weight = &*weight * (1.0 - step.rate * step.weight_decay);
                gradients[i].copy()
            } else {
                &gradients[i] + &*weight * step.weight_decay
            };
            first[i] = &first[i] * step.beta_1 + &gradient * (1.0 - step.beta_1);
            second[i] = &second[i] * step.beta_2 + gradient.square() * (1.0 - step.beta_2);
            let root = (&second[i] / corrections[1]).sqrt() + step.epsilon;
            *weight = &*weight - &first[i] / root * (step.rate / corrections[0]);
        }
    }

    fn own(tensors: &[Torch]) -> Vec<Tensor<4>> {
        tensors.iter().map(|tensor| closed(tensor.copy())).collect()
    }

    #[test]
    fn steps_of_sgd_are_as_written_out() {
        let [mut weights, gradients] = [1, 2].map(noise);
        for (momentum, nesterov, weight_decay) in [(0.9, false, 0.0), (0.9, true, 0.01), (0.0, false, 0.01)] {
            let step = SgdStep { rate: 0.1, momentum, nesterov, weight_decay };
            let mut velocities = zeros(&weights);
            let mut found = own(&weights);
            let mut kept: Vec<_> = own(&velocities).into_iter().map(|v| (momentum > 0.0).then_some(v)).collect();
            let mut gathered = Gathered::default();
            for _ in 0..3 {
                let gradients = own(&gradients);
                let next = found.into_iter().zip(gradients).zip(kept).map(|((p, g), v)| gathered.sgd(p, g, v, step));
                (found, kept) = next.unzip();
                gathered.run(None);
                written_out_sgd(&mut weights, &self::noise(2), &mut velocities, step);
            }
            assert_close("weights", &found, &weights);
            let kept: Vec<Tensor<4>> = kept.into_iter().flatten().collect();
            assert_eq!(kept.is_empty(), momentum == 0.0);
            assert_close("velocities", &kept, &velocities);
        }
    }

    #[test]
    fn steps_of_adam_are_as_written_out() {
        let [mut weights, gradients] = [1, 2].map(noise);
        for decoupled in [false, true] {
            let numbers = AdamStep {
                rate: 0.1,
                beta_1: 0.9,
                beta_2: 0.99,
                epsilon: 1e-3,
                weight_decay: 0.02,
                decoupled,
                time: 0,
            };
            let mut moments = [(); 2].map(|()| zeros(&weights));
            let mut found = own(&weights);
            let mut kept: Vec<[Tensor<4>; 2]> =
                own(&moments[0]).into_iter().zip(own(&moments[1])).map(|(a, b)| [a, b]).collect();
            let mut gathered = Gathered::default();
            for time in 1..=3 {
                let step = AdamStep { time, ..numbers };
                let next =
                    found.into_iter().zip(own(&gradients)).zip(kept).map(|((p, g), m)| gathered.adam(p, g, m, step));
                (found, kept) = next.unzip();
                gathered.run(None);
                written_out_adam(&mut weights, &gradients, &mut moments, step);
            }
            assert_close("weights", &found, &weights);
            for (i, moments) in moments.iter().enumerate() {
                let kept: Vec<Tensor<4>> = kept.iter().map(|pair| pair[i].clone()).collect();
                assert_close("moments", &kept, moments);
            }
        }
    }

    #[test]
    fn what_another_holds_and_what_lies_otherwise_in_memory_is_updated_all_the_same() {
        let step = SgdStep { rate: 0.5, momentum: 0.5, nesterov: false, weight_decay: 0.0 };
        let layout = |tensor: &Torch| super::super::ffi::converted(tensor, false, true);
        let [weights, gradients] = [1, 2].map(noise);
        let mut expected: Vec<Torch> = weights.iter().map(Torch::copy).collect();
        written_out_sgd(&mut expected, &gradients, &mut zeros(&weights), step);
        for orders in 0..8 {
            let laid_out = |bit: usize, tensor: &Torch| {
                closed::<4>(if orders >> bit & 1 == 1 { layout(tensor) } else { tensor.copy() })
            };
            let mut gathered = Gathered::default();
            let mut found = Vec::new();
            let held: Vec<Tensor<4>> = weights.iter().map(|weight| laid_out(0, weight)).collect();
            for (i, weight) in held.iter().enumerate() {
                let velocity = laid_out(2, &weights[i].zeros_like());
                let (weight, velocity) = gathered.sgd(weight.clone(), laid_out(1, &gradients[i]), Some(velocity), step);
                found.push((weight, velocity.unwrap()));
            }
            gathered.run(None);
            let (found, velocities): (Vec<_>, Vec<_>) = found.into_iter().unzip();
            assert_close("weights", &found, &expected);
            assert_close("velocities", &velocities, &gradients);
            assert_close("the weights that another holds", &held, &weights);
        }
    }

    #[test]
    fn updates_of_a_kind_are_one_call() {
        let [weights, gradients] = [1, 2].map(noise);
        let [weights, gradients] = [own(&weights), own(&gradients)];
        let step = |rate| SgdStep { rate, momentum: 0.0, nesterov: false, weight_decay: 0.0 };
        let mut gathered = Gathered::default();
        let ((), calls) = super::super::count_calls(|| {
            for (i, (weight, gradient)) in weights.into_iter().zip(gradients).enumerate() {
                drop(gathered.sgd(weight, gradient, None, step([0.1, 0.2][i % 2])));
            }
            gathered.run(None);
        });
        assert_eq!(calls.direct, [("aten::_fused_sgd_".to_owned(), 2)].into());
    }

    #[test]
    fn a_moving_average_and_a_factor() {
        let [tensors, targets] = [1, 2].map(noise);
        let mut gathered = Gathered::default();
        let mut both = |share| {
            let pairs = own(&tensors).into_iter().zip(own(&targets));
            let found: Vec<_> = pairs.map(|(tensor, target)| gathered.towards(tensor, target, share)).collect();
            gathered.run(None);
            found
        };
        for share in [0.001, 0.9] {
            let expected: Vec<Torch> =
                tensors.iter().zip(&targets).map(|(a, b)| a * (1.0 - share) + b * share).collect();
            assert_close("average", &both(share), &expected);
        }
        let found: Vec<_> = own(&tensors).into_iter().map(|tensor| gathered.scaled(tensor, 0.25)).collect();
        gathered.run(None);
        assert_close("scaled", &found, &tensors.iter().map(|tensor| tensor * 0.25).collect::<Vec<_>>());
    }

    #[test]
    fn the_norm_over_all_is_limited_where_it_is_larger_and_finite() {
        const MOST: f64 = 2.5;
        // The norm is 5 times the factor.
        for (factor, expected) in [(1.0, 0.5), (0.1, 0.1), (0.0, 0.0), (f64::INFINITY, f64::INFINITY)] {
            let parts = [3.0, 4.0].map(|value| Torch::from_slice(&[value as f32]).reshape([1, 1, 1, 1]) * factor);
            let mut gathered = Gathered::default();
            let found = parts.map(|part| gathered.limited(closed::<4>(part), MOST, 1e-6));
            gathered.run(None);
            for (found, value) in found.into_iter().zip([3.0, 4.0]) {
                let (found, expected) = (opened(found).double_value(&[0, 0, 0, 0]), value * expected);
                assert!(
                    (found - expected).abs() < 1e-5 || found == expected || expected.is_nan(),
                    "{found}, {expected}"
                );
            }
        }
        let mut gathered = Gathered::default();
        let spoilt = gathered.limited(closed::<1>(Torch::from_slice(&[f32::NAN, 7.0])), MOST, 1e-6);
        gathered.run(None);
        assert_eq!(opened(spoilt).double_value(&[1]), 7.0);
    }
}
