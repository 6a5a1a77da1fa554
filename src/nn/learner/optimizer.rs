//! Optimisers, by kinds of parameters.

use std::collections::HashSet;

use burn::module::{ParamGroup, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, AdamWConfig, LearningRate, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor};

use super::config::{AdamSettings, Decayed, Freeze, OptimizerConfig, OptimizerKind};
use super::rules::{Adaptive, Sgd, adam_step};
use crate::nn::model::{Network, ParameterShape, shapes};

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

/// Builds the optimiser of a recipe: `head_rate` is a factor on the learning rate of what is not in the encoder.
pub(super) fn build_optimizer(config: &OptimizerConfig, head_rate: f64, kinds: &Kinds) -> ModuleOptimizer {
    let penalty = |weight_decay: f32| (weight_decay > 0.0).then(|| WeightDecayConfig::new(weight_decay));
    let decay = (config.weight_decay, config.decay);
    match config.kind {
        OptimizerKind::Adam(AdamSettings { beta_1, beta_2, epsilon }) => {
            let build = |weight_decay| {
                let config = AdamConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(epsilon);
                let inner = config.with_weight_decay(penalty(weight_decay)).build();
                Adaptive { inner, numbers: adam_step([beta_1, beta_2, epsilon, weight_decay], false) }
            };
            grouped(build, decay, head_rate, kinds)
        }
        OptimizerKind::AdamW(AdamSettings { beta_1, beta_2, epsilon }) => {
            let build = |weight_decay| {
                let config = AdamWConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(epsilon);
                let inner = config.with_weight_decay(weight_decay).build();
                Adaptive { inner, numbers: adam_step([beta_1, beta_2, epsilon, weight_decay], true) }
            };
            grouped(build, decay, head_rate, kinds)
        }
        OptimizerKind::Sgd { momentum, nesterov } => {
            let build = |weight_decay| Sgd { momentum, nesterov, weight_decay };
            grouped(build, decay, head_rate, kinds)
        }
    }
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
