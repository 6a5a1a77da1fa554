//! Where a training stands and what comes next: phases, epochs, steps, learning rates.

use serde::{Deserialize, Serialize};

use crate::event::Validation;
use crate::recipe::{Criterion, Training};

/// Where a training stands. Order and augmentation follow from seed, epoch and place in the epoch, so no random state is
/// needed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Phases that are over.
    pub phase: usize,
    /// Epochs of the current phase that are over.
    pub phase_epoch: usize,
    /// Epochs of all phases that are over.
    pub epoch: usize,
    /// Batches done of the current epoch.
    pub batch: usize,
    /// Steps of the optimiser in all phases.
    pub steps: usize,
    /// Sum of the losses of the current epoch, weighted by samples.
    pub loss_sum: f64,
    /// Samples seen in the current epoch.
    pub samples: usize,
    /// Seconds spent in the current epoch.
    pub seconds: f64,
    /// Seconds of these spent waiting for data.
    pub waited: f64,
    /// The best validation so far.
    pub best: Option<Best>,
    /// Epochs of the current phase since it was found.
    pub since_best: usize,
}

/// The best validation so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its epoch, from 1.
    pub epoch: usize,
    /// What it was chosen by: higher is better, but for the loss.
    pub value: f64,
    /// Its mean IoU.
    pub mean_iou: f64,
}

impl Position {
    /// The place at which the next epoch begins.
    fn after_epoch(&self) -> Self {
        Self {
            phase: self.phase,
            phase_epoch: self.phase_epoch + 1,
            epoch: self.epoch + 1,
            steps: self.steps,
            best: self.best,
            since_best: self.since_best,
            ..Self::default()
        }
    }

    /// The place at which the next phase begins.
    pub(super) fn next_phase(&self) -> Self {
        Self { phase: self.phase + 1, phase_epoch: 0, since_best: 0, ..self.clone() }
    }

    /// Moves on to the next epoch; says whether its weights are to be kept: `validation` is the best so far, or there
    /// is none yet that is a number, so that the latest weights are the best guess.
    pub(super) fn close_epoch(&mut self, criterion: Criterion, validation: Option<&Validation>) -> bool {
        let Some(validation) = validation else {
            *self = self.after_epoch();
            return true;
        };
        let value = match criterion {
            Criterion::MeanIou => validation.mean_iou,
            Criterion::PixelAccuracy => validation.pixel_accuracy,
            Criterion::Loss => validation.loss.unwrap_or(f64::INFINITY),
        };
        let better = |best: &Best| if criterion == Criterion::Loss { value < best.value } else { value > best.value };
        let found = value.is_finite() && self.best.as_ref().is_none_or(better);
        let none_yet = self.best.is_none();
        *self = self.after_epoch();
        if found {
            self.best = Some(Best { epoch: self.epoch, value, mean_iou: validation.mean_iou });
            self.since_best = 0;
        } else {
            self.since_best += 1;
        }
        found || none_yet
    }
}

/// The phases of a training, and how many steps they have.
#[derive(Debug, Clone)]
pub(super) struct Course {
    phases: Vec<Training>,
    epoch_batches: usize,
}

impl Course {
    pub(super) fn new(training: &Training, epoch_batches: usize) -> Self {
        Self { phases: training.resolved_phases(), epoch_batches }
    }

    /// The current phase; `None` if all are over.
    pub(super) fn phase(&self, position: &Position) -> Option<&Training> {
        self.phases.get(position.phase)
    }

    pub(super) fn phases(&self) -> usize {
        self.phases.len()
    }

    /// Epochs of all phases.
    pub(super) fn epochs(&self) -> usize {
        self.phases.iter().map(|phase| phase.epochs).sum()
    }

    /// Steps of all phases.
    pub(super) fn steps(&self) -> usize {
        self.phases.iter().map(|phase| phase.epochs * self.epoch_batches.div_ceil(phase.accumulate)).sum()
    }

    /// Whether the current phase is over: its epochs are done, or its patience is at an end.
    pub(super) fn phase_is_over(&self, position: &Position) -> bool {
        self.phase(position).is_none_or(|phase| {
            position.phase_epoch >= phase.epochs || phase.patience.is_some_and(|most| position.since_best >= most)
        })
    }

    /// The learning rate of the step that begins at a place of the current phase.
    pub(super) fn learning_rate(&self, position: &Position) -> f64 {
        self.rate_of_step(position, 0)
    }

    /// The learning rate of the step that ends there.
    pub(super) fn last_learning_rate(&self, position: &Position) -> f64 {
        self.rate_of_step(position, 1)
    }

    fn rate_of_step(&self, position: &Position, back: usize) -> f64 {
        let Some(phase) = self.phase(position) else { return 0.0 };
        let epoch_steps = self.epoch_batches.div_ceil(phase.accumulate);
        let step = position.phase_epoch * epoch_steps + position.batch.div_ceil(phase.accumulate);
        phase.learning_rate * phase.schedule.factor(step.saturating_sub(back), phase.epochs * epoch_steps, epoch_steps)
    }
}
