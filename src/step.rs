//! One step of training: loss, gradients, optimiser. Training and benchmark take the same one.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::Tensor;

use crate::loss::{LossConfig, Target};
use crate::model::Network;
use crate::recipe::OptimizerConfig;

/// A network that learns.
pub struct Learner {
    /// Only missing while the optimiser has it.
    network: Option<Network>,
    /// The optimiser and its state.
    pub optimizer: ModuleOptimizer,
    /// What is minimised.
    pub loss: LossConfig,
}

impl Learner {
    /// A network on a device that differentiates, and how it learns.
    pub fn new(network: Network, optimizer: ModuleOptimizer, loss: LossConfig) -> Self {
        Self { network: Some(network), optimizer, loss }
    }

    /// The network as it is now.
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("the optimiser gives the network back")
    }

    /// Exchanges the network.
    pub fn set_network(&mut self, network: Network) {
        self.network = Some(network);
    }

    /// One step on `input` `[batch, bands, height, width]`, with dropout as `draw` decides; returns the loss before it.
    /// If that is not finite, the network is spoilt.
    pub fn step(&mut self, input: Tensor<4>, target: &Target, learning_rate: f64, draw: u64) -> f64 {
        let (loss, gradients) = self.gradients(input, target, draw);
        self.apply(gradients, learning_rate);
        // Read last: until someone asks for a number, a GPU works on while the program prepares the next operation.
        f64::from(loss.into_scalar::<f32>())
    }

    /// The loss and its gradients.
    pub fn gradients(&self, input: Tensor<4>, target: &Target, draw: u64) -> (Tensor<1>, GradientsParams) {
        let outputs = self.network().forward_training(input, draw);
        let mut loss = self.loss.compute(outputs.logits, target);
        for (logits, weight) in outputs.auxiliary {
            loss = loss + self.loss.compute(logits, target).mul_scalar(weight);
        }
        let gradients = GradientsParams::from_grads(loss.backward(), self.network());
        (loss, gradients)
    }

    /// Moves the weights against their gradients.
    pub fn apply(&mut self, gradients: GradientsParams, learning_rate: f64) {
        // Given away, not shared, so that the weights are updated where they are.
        let network = self.network.take();
        self.network = network.map(|network| self.optimizer.step(learning_rate, network, gradients));
    }
}

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
