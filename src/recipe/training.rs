//! How a network is trained.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Schedule;
use crate::data::{Augmentation, Sampling};
use crate::error::{Error, Result};
use crate::loss::{ClassWeights, LossTerm};
use crate::named::by_name;
use crate::precision::Precision;

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Passes over the training set; the sum of the phases' if there are phases.
    #[serde(default)]
    pub epochs: usize,
    /// Pictures a batch.
    pub batch_size: usize,
    /// Batches whose gradients are averaged to make one step.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// Factor on the learning rate of everything but the encoder.
    #[serde(default = "whole")]
    pub head_rate: f64,
    /// How gradients become steps.
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// What is minimised: the sum of these.
    pub loss: Vec<LossTerm>,
    /// What a pixel of each class counts in the losses that are means over pixels.
    #[serde(default)]
    pub class_weights: ClassWeights,
    /// Gradients of a larger Euclidean norm than this, over all parameters, are scaled down to it.
    pub clip_norm: Option<f64>,
    /// What does not learn.
    #[serde(default)]
    pub freeze: Vec<Freeze>,
    /// Share of the last average that the moving average of the weights keeps at each step, such as 0.999. If there is
    /// one, it is what is validated and predicts.
    pub ema: Option<f64>,
    /// Random changes of the training pictures, in this order.
    #[serde(default)]
    pub augment: Vec<Augmentation>,
    /// Which pictures make up an epoch and its batches.
    #[serde(default)]
    pub sampling: Sampling,
    /// In which numbers to compute.
    #[serde(default)]
    pub precision: Precision,
    /// Whether activations are computed again for the gradients instead of being kept: less memory, more time.
    #[serde(default)]
    pub checkpointing: bool,
    /// By what the best weights are chosen.
    #[serde(default)]
    pub best_by: Criterion,
    /// Epochs without a new best after which a phase is over.
    pub patience: Option<usize>,
    /// Trained one after the other; where they are silent, what stands above holds.
    #[serde(default)]
    pub phases: Vec<Phase>,
}

fn one() -> usize {
    1
}

fn whole() -> f64 {
    1.0
}

/// A stretch of epochs with its own settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Passes over the training set.
    pub epochs: usize,
    /// Learning rate at the start.
    pub learning_rate: Option<f64>,
    /// How the learning rate changes, over this phase alone.
    pub schedule: Option<Schedule>,
    /// What is minimised.
    pub loss: Option<Vec<LossTerm>>,
    /// Another optimiser.
    pub optimizer: Option<OptimizerConfig>,
    /// What does not learn.
    pub freeze: Option<Vec<Freeze>>,
    /// Random changes of the training pictures.
    pub augment: Option<Vec<Augmentation>>,
    /// Whether it begins with the best weights so far instead of the last.
    #[serde(default)]
    pub from_best: bool,
}

/// Parts of a network that do not learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Freeze {
    /// The encoder's parameters; the statistics of its batch norms, too.
    Encoder,
    /// All batch norms: their parameters stay, and they use and keep their running statistics.
    Norm,
}

/// What makes weights the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// The highest mean IoU over the classes that occur.
    #[default]
    MeanIou,
    /// The highest pixel accuracy.
    PixelAccuracy,
    /// The lowest validation loss.
    Loss,
}

/// Optimisers. Where a recipe is silent, Adam and AdamW have PyTorch's defaults and SGD a momentum of 0.9.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Adam (arXiv 1412.6980).
    Adam {
        /// Decay of the mean of the gradient.
        #[serde(default = "beta_1")]
        beta_1: f32,
        /// Decay of the mean of its square.
        #[serde(default = "beta_2")]
        beta_2: f32,
        /// Added to the denominator.
        #[serde(default = "epsilon")]
        epsilon: f32,
        /// L2 penalty.
        #[serde(default)]
        weight_decay: f32,
        /// What the penalty is on.
        #[serde(default)]
        decay: Decayed,
    },
    /// Adam with decoupled weight decay (arXiv 1711.05101).
    #[serde(rename = "adamw", alias = "adam-w", alias = "adam_w")]
    AdamW {
        /// Decay of the mean of the gradient.
        #[serde(default = "beta_1")]
        beta_1: f32,
        /// Decay of the mean of its square.
        #[serde(default = "beta_2")]
        beta_2: f32,
        /// Added to the denominator.
        #[serde(default = "epsilon")]
        epsilon: f32,
        /// Share of the weights, times the learning rate, that goes at each step.
        #[serde(default = "adam_w_decay")]
        weight_decay: f32,
        /// What decays.
        #[serde(default)]
        decay: Decayed,
    },
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Share of the last step that is kept; 0 for none.
        #[serde(default = "momentum")]
        momentum: f64,
        /// Nesterov's form of the momentum.
        #[serde(default)]
        nesterov: bool,
        /// L2 penalty.
        #[serde(default)]
        weight_decay: f32,
        /// What the penalty is on.
        #[serde(default)]
        decay: Decayed,
    },
}

/// Which parameters weight decay is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decayed {
    /// All, as PyTorch's optimisers do unless told otherwise.
    #[default]
    All,
    /// The kernels of convolutions: neither biases nor batch norms.
    Kernels,
}

fn beta_1() -> f32 {
    0.9
}

fn beta_2() -> f32 {
    0.999
}

fn epsilon() -> f32 {
    1e-8
}

fn adam_w_decay() -> f32 {
    0.01
}

fn momentum() -> f64 {
    0.9
}

impl FromStr for Freeze {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        by_name("part", name, &[("encoder", Self::Encoder), ("norm", Self::Norm)])
    }
}

impl FromStr for Criterion {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let table = [("mean-iou", Self::MeanIou), ("pixel-accuracy", Self::PixelAccuracy), ("loss", Self::Loss)];
        by_name("score", name, &table)
    }
}

impl OptimizerConfig {
    /// Adam with its defaults.
    pub fn adam() -> Self {
        let (beta_1, beta_2, epsilon) = (beta_1(), beta_2(), epsilon());
        Self::Adam { beta_1, beta_2, epsilon, weight_decay: 0.0, decay: Decayed::All }
    }

    /// AdamW with its defaults.
    pub fn adam_w() -> Self {
        let (beta_1, beta_2, epsilon) = (beta_1(), beta_2(), epsilon());
        Self::AdamW { beta_1, beta_2, epsilon, weight_decay: adam_w_decay(), decay: Decayed::All }
    }

    /// SGD with its defaults.
    pub fn sgd() -> Self {
        Self::Sgd { momentum: momentum(), nesterov: false, weight_decay: 0.0, decay: Decayed::All }
    }
}

impl OptimizerConfig {
    /// Says what is wrong with the numbers.
    fn check(&self) -> Result<()> {
        let (shares, decay): (Vec<(&str, f64)>, f32) = match *self {
            Self::Adam { beta_1, beta_2, epsilon, weight_decay, .. }
            | Self::AdamW { beta_1, beta_2, epsilon, weight_decay, .. } => {
                if !(epsilon > 0.0 && epsilon.is_finite()) {
                    return Err(Error::Config(format!("`epsilon` of the optimiser must be above 0, not {epsilon}")));
                }
                (vec![("beta_1", beta_1.into()), ("beta_2", beta_2.into())], weight_decay)
            }
            Self::Sgd { momentum, nesterov, weight_decay, .. } => {
                if nesterov && momentum == 0.0 {
                    return Err(Error::Config("`nesterov` needs a momentum above 0".into()));
                }
                (vec![("momentum", momentum)], weight_decay)
            }
        };
        if let Some((name, value)) = shares.into_iter().find(|(_, value)| !(0.0..1.0).contains(value)) {
            return Err(Error::Config(format!("`{name}` of the optimiser is a share from 0 to below 1, not {value}")));
        }
        if !(decay >= 0.0 && decay.is_finite()) {
            return Err(Error::Config(format!("`weight_decay` must be 0 or above, not {decay}")));
        }
        Ok(())
    }
}

impl Training {
    /// The phases with everything written out; one if the recipe has none.
    pub fn resolved_phases(&self) -> Vec<Training> {
        let plain = Training { phases: Vec::new(), ..self.clone() };
        if self.phases.is_empty() {
            return vec![plain];
        }
        let resolve = |phase: &Phase| {
            let mut training = plain.clone();
            training.epochs = phase.epochs;
            training.learning_rate = phase.learning_rate.unwrap_or(training.learning_rate);
            training.schedule = phase.schedule.clone().unwrap_or(training.schedule);
            training.loss = phase.loss.clone().unwrap_or(training.loss);
            training.optimizer = phase.optimizer.clone().unwrap_or(training.optimizer);
            training.freeze = phase.freeze.clone().unwrap_or(training.freeze);
            training.augment = phase.augment.clone().unwrap_or(training.augment);
            training
        };
        self.phases.iter().map(resolve).collect()
    }

    /// Epochs of all phases.
    pub fn all_epochs(&self) -> usize {
        if self.phases.is_empty() { self.epochs } else { self.phases.iter().map(|phase| phase.epochs).sum() }
    }

    /// Says what is wrong with the numbers.
    pub fn check(&self) -> Result<()> {
        if !self.phases.is_empty() && self.epochs != 0 {
            return Err(Error::Config(format!(
                "`epochs = {}` stands beside phases, which have their own; set phases.0.epochs and so on",
                self.epochs
            )));
        }
        for training in self.resolved_phases() {
            training.check_phase()?;
        }
        Ok(())
    }

    fn check_phase(&self) -> Result<()> {
        let counts = [("epochs", self.epochs), ("batch_size", self.batch_size), ("accumulate", self.accumulate)];
        if let Some((name, _)) = counts.iter().find(|(_, value)| *value == 0) {
            return Err(Error::Config(format!("`{name}` must be at least 1")));
        }
        let rates = [
            ("learning_rate", Some(self.learning_rate)),
            ("head_rate", Some(self.head_rate)),
            ("clip_norm", self.clip_norm),
        ];
        for (name, value) in rates {
            if value.is_some_and(|value| !(value > 0.0 && value.is_finite())) {
                return Err(Error::Config(format!("`{name}` must be above 0, not {}", value.unwrap_or_default())));
            }
        }
        if self.ema.is_some_and(|share| !(0.0..1.0).contains(&share)) {
            return Err(Error::Config(format!(
                "`ema` is a share from 0 to just below 1, such as 0.999, not {}",
                self.ema.unwrap_or_default()
            )));
        }
        if self.patience == Some(0) {
            return Err(Error::Config("`patience` must be at least 1; leave it out to train all epochs".into()));
        }
        self.optimizer.check()?;
        self.augment.iter().try_for_each(Augmentation::check)?;
        self.sampling.check()?;
        self.schedule.check()
    }
}
