//! burn's optimisers, set so that their steps equal PyTorch's.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};

use crate::recipe::OptimizerConfig;

/// Builds the optimiser of a recipe.
pub fn build_optimizer(config: &OptimizerConfig) -> ModuleOptimizer {
    let decay = |penalty: f32| (penalty > 0.0).then(|| WeightDecayConfig::new(penalty));
    match *config {
        OptimizerConfig::Adam { beta_1, beta_2, epsilon, weight_decay } => AdamConfig::new()
            .with_beta_1(beta_1)
            .with_beta_2(beta_2)
            .with_epsilon(epsilon)
            .with_weight_decay(decay(weight_decay))
            .init(),
        OptimizerConfig::Sgd { momentum, nesterov, weight_decay } => {
            // burn dampens the momentum by default; PyTorch does not.
            let momentum = (momentum > 0.0).then_some(MomentumConfig { momentum, dampening: 0.0, nesterov });
            SgdConfig::new().with_weight_decay(decay(weight_decay)).with_momentum(momentum).init()
        }
    }
}
