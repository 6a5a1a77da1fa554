//! One step of training: loss, gradients, optimiser. Training and benchmark take the same one.

mod average;
mod checkpointed;
mod config;
mod gradients;
mod optimizer;
mod rules;
mod summed;

use crate::nn::group::{Group, Share};
use crate::nn::loss::Target;
use crate::nn::ops::{Arriving, Updates};
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Bytes, Device, Tensor};

use super::loss::Loss;
use super::model::Network;
use crate::base::{Error, Result};
use crate::nn::model::freeze;

pub use config::{AdamSettings, Decayed, Freeze, OptimizerConfig, OptimizerKind};

use average::moved;
use gradients::{Sum, limit};
use optimizer::{Kinds, optimizer_of};
pub(crate) use summed::broadcast;
use summed::{Summand, summed, with_common_statistics};

/// How a network learns.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How gradients become steps.
    pub optimizer: OptimizerConfig,
    /// Factor on the learning rate of everything but the encoder.
    pub head_rate: f64,
    /// What does not learn.
    pub freeze: Vec<Freeze>,
    /// Largest Euclidean norm of all gradients.
    pub clip_norm: Option<f64>,
    /// Share that the moving average keeps of itself at each step.
    pub ema: Option<f64>,
    /// Whether activations are computed again for the gradients.
    pub checkpointing: bool,
}

impl Settings {
    /// The optimiser alone.
    pub fn plain(optimizer: OptimizerConfig) -> Self {
        Self { optimizer, head_rate: 1.0, freeze: Vec::new(), clip_norm: None, ema: None, checkpointing: false }
    }

    /// Whether `network` has what they name.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if it has no encoder, or no batch norm, and one is to be frozen or to have a learning rate of
    /// its own.
    pub fn check(&self, network: &Network) -> Result<()> {
        let kinds = Kinds::of(network);
        let frozen = |part| self.freeze.contains(&part);
        if !kinds.has_encoder() && (self.head_rate != 1.0 || frozen(Freeze::Encoder)) {
            let field = if frozen(Freeze::Encoder) { "training.freeze" } else { "training.head_rate" };
            let reason =
                "needs an encoder to freeze or to train at another rate, but the network has no separate encoder";
            return Err(Error::conflict(field, format!("{reason}; leave this setting out")));
        }
        if frozen(Freeze::Norm) && !kinds.has_norms() {
            let reason = "[\"norm\"] would do nothing: the network has no batch norms; leave it out";
            return Err(Error::conflict("training.freeze", reason));
        }
        Ok(())
    }
}

/// A batch on the device.
#[derive(Debug, Clone)]
pub struct Part {
    /// Images `[batch, bands, height, width]`.
    pub input: Tensor<4>,
    /// Their labels.
    pub target: Target,
    /// What decides on dropout.
    pub draw: u64,
    /// Place of the first of them in the batch, where several processes have a share each.
    pub first: usize,
    /// Whether they are all of the batch.
    pub whole: bool,
}

impl Part {
    /// A batch of one process.
    pub fn whole(input: Tensor<4>, target: Target, draw: u64) -> Self {
        Self { input, target, draw, first: 0, whole: true }
    }
}

/// The processes that learn together.
#[derive(Debug, Clone)]
pub struct Members {
    /// The process group, as seen by this process.
    pub group: Group,
    /// Whether batch norms go by the statistics of the whole batch; else each process's by those of its share.
    pub synchronised: bool,
}

/// The losses of a step's parts, one number each, still on the device.
#[derive(Debug)]
pub struct Losses(Vec<Tensor<1>>);

impl Losses {
    pub(crate) fn new(losses: Vec<Tensor<1>>) -> Self {
        Self(losses.into_iter().map(Tensor::inner).collect())
    }

    /// Sends those of several steps off to main memory, in one copy.
    pub(crate) fn send(all: Vec<Self>) -> Arriving {
        let mut losses: Vec<Tensor<1>> = all.into_iter().flat_map(|losses| losses.0).collect();
        Arriving::new(if losses.len() == 1 { losses.remove(0) } else { Tensor::cat(losses, 0) })
    }
}

/// A network that learns.
pub struct Learner {
    /// Only missing while the optimiser has it.
    network: Option<Network>,
    optimizer: ModuleOptimizer,
    updates: Updates,
    loss: Loss,
    settings: Settings,
    /// The moving average of the weights, on a device that does not differentiate.
    average: Option<Network>,
    /// The processes that have the other shares of each batch.
    members: Option<Members>,
}

impl Learner {
    /// A network, and how it learns; its device must differentiate. Errors are those of
    /// [`Settings::check`].
    pub fn new(network: Network, settings: Settings, loss: Loss) -> Result<Self> {
        settings.check(&network)?;
        let kinds = Kinds::of(&network);
        let updates = network.devices().first().map_or_else(|| Updates::on(&Device::flex()), Updates::on);
        let optimizer = optimizer_of(&settings.optimizer, settings.head_rate, &kinds, &updates);
        let average = settings.ema.map(|_| network.valid());
        let mut settings = settings;
        // What is frozen keeps no activations that could be computed again.
        settings.checkpointing &= !(settings.freeze.contains(&Freeze::Encoder) && network.segments_are_encoder());
        let network = freeze(network, |name| kinds.is_frozen(name, &settings.freeze));
        Ok(Self { network: Some(network), optimizer, updates, loss, settings, average, members: None })
    }

    /// The same among other processes, all of which must take the same steps, each on its share of the batches.
    #[must_use]
    pub fn among(self, members: Option<Members>) -> Self {
        Self { members, ..self }
    }

    /// Makes running statistics the same in all processes.
    pub fn share_statistics(&mut self) {
        let Some(Members { group, synchronised: false }) = &self.members else { return };
        let common = |network: Network| with_common_statistics(network, group);
        self.network = self.network.take().map(common);
        self.average = self.average.take().map(common);
    }

    /// The network as it is now.
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("the optimiser gives the network back")
    }

    /// What predicts: the moving average if there is one, else the network as it is; without gradients, and with
    /// its own running statistics.
    pub fn predictor(&self) -> Network {
        self.average.as_ref().unwrap_or_else(|| self.network()).valid()
    }

    /// The moving average of the weights.
    pub fn average(&self) -> Option<&Network> {
        self.average.as_ref()
    }

    /// Exchanges the moving average, for one that was saved.
    pub fn set_average(&mut self, average: Network) {
        self.average = Some(average);
    }

    /// The settings that this learner was made with: optimiser, gradient clipping, frozen parts, moving average.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The loss that the training minimises.
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// The optimiser's state.
    pub fn optimizer_state(&self) -> Result<Bytes> {
        self.optimizer.into_bytes().map_err(|e| Error::failed("encode the optimiser", e))
    }

    /// Goes on with a state that was saved.
    pub fn load_optimizer_state(&mut self, state: Bytes) -> Result<(), String> {
        self.optimizer = self.optimizer.clone().from_bytes(state).map_err(|e| e.to_string())?;
        Ok(())
    }

    /// One step, the `number`th of this training from 0, by the mean gradient of `parts`; returns the loss of each
    /// before it, still to be read: until someone asks for a number, a GPU works on while the program prepares what
    /// comes next. If a loss is not finite, the network is spoilt.
    pub fn step(&mut self, parts: impl IntoIterator<Item = Part>, learning_rate: f64, number: usize) -> Losses {
        let mut sum = Sum::default();
        let mut losses = Vec::new();
        for part in parts {
            let (loss, gradients) = self.gradients(part);
            sum.add(self.network(), gradients);
            losses.push(loss);
        }
        let own = sum.mean(self.network(), &self.updates);
        let all = match &self.members {
            Some(members) => summed(self.network(), own, &members.group, &self.updates),
            None => own,
        };
        self.apply(all, learning_rate, number);
        Losses::new(losses)
    }

    /// The loss of a batch and its gradients, or this process's summands of both.
    pub fn gradients(&self, part: Part) -> (Tensor<1>, GradientsParams) {
        let others = self.members.as_ref().filter(|_| !part.whole);
        let alike = self.members.as_ref().filter(|_| part.whole).map_or(1, |members| members.group.size());
        let (group, factor) = (others.map(|members| &members.group), 1.0 / alike as f64);
        let summand = Summand { loss: &self.loss, group, factor };
        let statistics = others.filter(|members| members.synchronised).map(|members| members.group.clone());
        Share { statistics, first: part.first }.run(|| {
            if self.settings.checkpointing {
                return checkpointed::gradients(self.network(), &summand, part);
            }
            let outputs = self.network().forward_training(part.input, part.draw);
            let loss = summand.of(outputs, &part.target);
            let gradients = GradientsParams::from_grads(loss.backward(), self.network());
            (loss, gradients)
        })
    }

    /// Moves the weights against their gradients, and the average after them.
    pub fn apply(&mut self, gradients: GradientsParams, learning_rate: f64, number: usize) {
        let (most, updates) = (self.settings.clip_norm, &self.updates);
        let gradients = most.iter().fold(gradients, |all, most| limit(self.network(), all, *most, updates));
        // Given away, not shared, so that its weights are updated where they are.
        let network = self.network.take().map(|network| self.optimizer.step(learning_rate, network, gradients));
        self.updates.run(None);
        self.network = network;
        if let (Some(average), Some(share)) = (self.average.take(), self.settings.ema) {
            self.average = Some(moved(average, &self.network().valid(), share, number, &self.updates));
        }
    }
}
