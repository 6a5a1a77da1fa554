//! How a network is trained.

use serde::{Deserialize, Serialize};

use super::schedule::Schedule;
use crate::base::named_enum::named_enum;
use crate::base::{Error, Result, require};
use crate::data::{Augmentation, Sampling};
use crate::nn::learner::{Freeze, OptimizerConfig, Settings};
use crate::nn::loss::{ClassWeights, LossTerm};
use crate::nn::precision::Precision;

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Passes over the training set; the sum of the phases' if there are phases.
    #[serde(default)]
    pub epochs: usize,
    /// Images a batch.
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
    /// Random changes of the training images, in this order.
    #[serde(default)]
    pub augment: Vec<Augmentation>,
    /// Which images make up an epoch and its batches.
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
    /// Random changes of the training images.
    pub augment: Option<Vec<Augmentation>>,
    /// Whether it begins with the best weights so far instead of the last.
    #[serde(default)]
    pub from_best: bool,
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

named_enum!(Criterion, "score", "mean-iou" => MeanIou, "pixel-accuracy" => PixelAccuracy, "loss" => Loss);

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
            let reason = "conflicts with the phases, which have their own epochs; set phases.0.epochs and so on";
            return Err(Error::conflict("training.epochs", format!("{} {reason}", self.epochs)));
        }
        for training in self.resolved_phases() {
            training.check_phase()?;
        }
        Ok(())
    }

    fn check_phase(&self) -> Result<()> {
        let counts = [("epochs", self.epochs), ("batch_size", self.batch_size), ("accumulate", self.accumulate)];
        for (name, value) in counts {
            require(value > 0, format!("training.{name}"), value, "at least 1")?;
        }
        let rates = [
            ("learning_rate", Some(self.learning_rate)),
            ("head_rate", Some(self.head_rate)),
            ("clip_norm", self.clip_norm),
        ];
        for (name, value) in rates.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            require(value > 0.0 && value.is_finite(), format!("training.{name}"), value, "above 0")?;
        }
        let share = self.ema.unwrap_or_default();
        require((0.0..1.0).contains(&share), "training.ema", share, "a share from 0 to below 1, such as 0.999")?;
        let expected = "at least 1, or left out to train all epochs";
        require(self.patience != Some(0), "training.patience", 0, expected)?;
        self.optimizer.check()?;
        self.augment.iter().try_for_each(Augmentation::check)?;
        self.sampling.check()?;
        self.schedule.check()
    }
}

impl From<&Training> for Settings {
    fn from(training: &Training) -> Self {
        Self {
            optimizer: training.optimizer.clone(),
            head_rate: training.head_rate,
            freeze: training.freeze.clone(),
            clip_norm: training.clip_norm,
            ema: training.ema,
            checkpointing: training.checkpointing,
        }
    }
}
