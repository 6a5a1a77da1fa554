//! Optimisers, by kinds of parameters.

use std::collections::HashSet;

use burn::module::{ParamGroup, ParamId};
use burn::optim::{LearningRate, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor};

use super::config::{AdamSettings, Decayed, Freeze, OptimizerConfig, OptimizerKind};
use super::rules::{Adam, Sgd};
use crate::nn::model::{Network, ParameterShape, shapes};
use crate::nn::ops::{AdamStep, SgdStep, Updates};

/// What the parameters of a network are.
pub(super) struct Kinds {
    encoder: Option<&'static str>,
    parameters: Vec<ParameterShape>,
    /// Names of the batch norms.
    norms: HashSet<String>,
}

impl Kinds {
    /// Those of `network`.
    pub(super) fn of(network: &Network) -> Self {
        let parameters = shapes(network);
        let norms = parameters.iter().filter_map(|p| p.name.strip_suffix(".running_mean").map(str::to_owned));
        Self { encoder: network.encoder_prefix(), norms: norms.collect(), parameters }
    }

    pub(super) fn has_encoder(&self) -> bool {
        self.encoder.is_some()
    }

    pub(super) fn has_norms(&self) -> bool {
        !self.norms.is_empty()
    }

    fn in_encoder(&self, name: &str) -> bool {
        self.encoder.is_some_and(|prefix| name.starts_with(prefix))
    }

    /// Whether the parameter of that name, or the batch norm whose `training` it is, stays as it is.
    pub(super) fn is_frozen(&self, name: &str, freeze: &[Freeze]) -> bool {
        let norm = || name.rsplit_once('.').is_some_and(|(layer, _)| self.norms.contains(layer));
        freeze.iter().any(|what| match what {
            Freeze::Encoder => self.in_encoder(name),
            Freeze::Norm => norm(),
        })
    }

    fn ids(&self, wanted: impl Fn(&ParameterShape) -> bool) -> Vec<ParamId> {
        self.parameters.iter().filter(|parameter| wanted(parameter)).map(|parameter| parameter.id).collect()
    }
}

/// The optimiser of a network, as a recipe has it: `head_rate` is a factor on the learning rate of what is not in the
/// encoder. A step only defers changes to `updates`, which are to be run after it.
pub(super) fn optimizer_of(
    config: &OptimizerConfig,
    head_rate: f64,
    kinds: &Kinds,
    updates: &Updates,
) -> ModuleOptimizer {
    let decay = (config.weight_decay, config.decay);
    match config.kind {
        OptimizerKind::Adam(settings) | OptimizerKind::AdamW(settings) => {
            let decoupled = matches!(config.kind, OptimizerKind::AdamW(_));
            grouped(|decay| adam(settings, decay, decoupled, updates), decay, head_rate, kinds)
        }
        OptimizerKind::Sgd { momentum, nesterov } => {
            let numbers = |decay: f32| SgdStep { rate: 0.0, momentum, nesterov, weight_decay: decay.into() };
            grouped(|decay| Sgd { numbers: numbers(decay), updates: updates.clone() }, decay, head_rate, kinds)
        }
    }
}

fn adam(settings: AdamSettings, weight_decay: f32, decoupled: bool, updates: &Updates) -> Adam {
    let AdamSettings { beta_1, beta_2, epsilon } = settings;
    let [beta_1, beta_2, epsilon, weight_decay] = [beta_1, beta_2, epsilon, weight_decay].map(f64::from);
    let numbers = AdamStep { rate: 0.0, beta_1, beta_2, epsilon, weight_decay, decoupled, time: 0 };
    Adam { numbers, updates: updates.clone() }
}

/// One optimiser, with exceptions for what does not decay and for what learns at another rate.
fn grouped<O: Optimizer>(
    build: impl Fn(f32) -> O,
    (weight_decay, decay): (f32, Decayed),
    head_rate: f64,
    kinds: &Kinds,
) -> ModuleOptimizer {
    let all_decay = decay == Decayed::All || weight_decay == 0.0;
    let mut optimizer: ModuleOptimizer = Scaled { inner: build(weight_decay), rate: 1.0 }.into();
    // The only parameters with more than one dimension.
    let is_kernel = |parameter: &ParameterShape| parameter.shape.len() > 1;
    let head = |parameter: &ParameterShape| head_rate != 1.0 && !kinds.in_encoder(&parameter.name);
    for (in_head, rate) in [(false, 1.0), (true, head_rate)] {
        for (kernels, weight_decay) in [(true, weight_decay), (false, if all_decay { weight_decay } else { 0.0 })] {
            let ids = kinds.ids(|p| head(p) == in_head && (all_decay || is_kernel(p)) == kernels);
            if !ids.is_empty() && (in_head || !kernels) {
                let member = Scaled { inner: build(weight_decay), rate };
                optimizer = optimizer.with_group(ParamGroup::from_ids(ids), member, None);
            }
        }
    }
    optimizer
}

/// An optimiser at a multiple of the learning rate.
#[derive(Debug, Clone)]
struct Scaled<O> {
    inner: O,
    rate: f64,
}

impl<O: Optimizer> Optimizer for Scaled<O> {
    type State<const D: usize> = O::State<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        self.inner.step(lr * self.rate, tensor, grad, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        O::to_device(state, device)
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::optim::decay::WeightDecayConfig;
    use burn::optim::momentum::MomentumConfig;
    use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, SgdConfig};

    use super::*;
    use crate::nn::device::DeviceChoice;
    use crate::nn::model::{NetworkConfig, UnetConfig, collect};

    const RATE: f64 = 0.01;

    fn gradients(network: &Network) -> GradientsParams {
        let device = network.devices().remove(0);
        let values: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin()).collect();
        let input = Tensor::<1>::from_floats(values.as_slice(), &device).reshape([1, 1, 8, 8]);
        let logits = network.forward_training(input, 0).logits;
        GradientsParams::from_grads((logits.clone() * logits).mean().backward(), network)
    }

    fn assert_close(what: &str, found: &Network, expected: &Network) {
        for (found, expected) in collect(found).iter().zip(&collect(expected)) {
            let apart = found.data.iter::<f32>().zip(expected.data.iter::<f32>()).map(|(f, e)| (f - e).abs());
            let apart = apart.fold(0.0, f32::max);
            assert!(apart < 1e-6, "{} is {apart} apart with {what}", found.name);
        }
    }

    /// What was saved by an earlier version, with burn's own optimisers, is continued, and the other way round.
    #[test]
    fn states_are_those_of_burns_own_optimisers() {
        let settings = AdamSettings { beta_1: 0.8, beta_2: 0.95, epsilon: 1e-6 };
        let AdamSettings { beta_1, beta_2, epsilon } = settings;
        let adam = AdamConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(epsilon);
        let adam_w = AdamWConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(epsilon);
        let momentum = MomentumConfig::new().with_momentum(0.8).with_dampening(0.0).with_nesterov(true);
        let penalty = Some(WeightDecayConfig::new(0.1));
        for choice in [DeviceChoice::Flex, DeviceChoice::Cpu] {
            let device = choice.open().unwrap();
            for (kind, theirs) in [
                (OptimizerKind::Adam(settings), adam.clone().with_weight_decay(penalty.clone()).init()),
                (OptimizerKind::AdamW(settings), adam_w.clone().with_weight_decay(0.1).init()),
                (
                    OptimizerKind::Sgd { momentum: 0.8, nesterov: true },
                    SgdConfig::new().with_momentum(Some(momentum.clone())).with_weight_decay(penalty.clone()).init(),
                ),
            ] {
                let what = format!("{kind:?} on {choice}");
                let network = NetworkConfig::UnetSeeps(UnetConfig::new(2, 2, 1, 3)).init(0, &device).unwrap().train();
                let config = OptimizerConfig { kind, weight_decay: 0.1, decay: Decayed::All };
                let mut theirs = theirs;
                let updates = Updates::on(&device);
                let ours = optimizer_of(&config, 1.0, &Kinds::of(&network), &updates);
                let network = theirs.step(RATE, network.clone(), gradients(&network));
                let mut ours = ours.from_bytes(theirs.into_bytes().unwrap()).unwrap();
                let expected = theirs.step(RATE, network.clone(), gradients(&network));
                let found = ours.step(RATE, network.clone(), gradients(&network));
                updates.run(None);
                assert_close(&what, &found, &expected);
                let mut theirs = theirs.from_bytes(ours.into_bytes().unwrap()).unwrap();
                let expected = ours.step(RATE, found.clone(), gradients(&found));
                updates.run(None);
                let found = theirs.step(RATE, found.clone(), gradients(&found));
                assert_close(&what, &found, &expected);
            }
        }
    }
}
