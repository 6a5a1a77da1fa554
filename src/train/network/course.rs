//! Where a training stands and what comes next: phases, epochs, steps, learning rates.

use serde::{Deserialize, Serialize};

use crate::base::event::Validation;
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
    /// How the phase before ended, until the current one begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// How a phase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Epochs that it had.
    pub epochs: usize,
    /// Epochs since its best validation.
    pub since_best: usize,
}

/// The best validation so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its epoch, from 1.
    pub epoch: usize,
    /// What it was chosen by: higher is better, but for the loss. `None` if that was another loss than today's: any is better.
    pub value: Option<f64>,
    /// Its mean IoU.
    pub mean_iou: f64,
    /// Its loss, which decides between equal values; `None` if there was none, or if it was another loss than today's.
    #[serde(default)]
    pub loss: Option<f64>,
}

impl Best {
    /// Whether another validation takes its place.
    fn gives_way_to(&self, other: &Self, criterion: Criterion) -> bool {
        let (Some(mine), Some(theirs)) = (self.value, other.value) else { return true };
        let lower_loss = || self.loss.zip(other.loss).is_some_and(|(mine, theirs)| theirs < mine);
        match criterion {
            Criterion::Loss => theirs < mine,
            Criterion::MeanIou | Criterion::PixelAccuracy => theirs > mine || (theirs == mine && lower_loss()),
        }
    }
}

/// What becomes of the weights of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are kept: the best so far, or the latest where nothing is validated.
    Best,
    /// They are kept although their validation is not a number: no other was, so that they are the best guess.
    Guess,
    /// They are not kept.
    Worse,
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
        let ended = Some(Ended { epochs: self.phase_epoch, since_best: self.since_best });
        Self { phase: self.phase + 1, phase_epoch: 0, since_best: 0, ended, ..self.clone() }
    }

    /// The end of the phase before, at which the training stood when that was found to be over; `None` within a phase,
    /// and in runs of before this was recorded.
    pub(super) fn reopened(&self) -> Option<Self> {
        let Ended { epochs, since_best } = self.ended?;
        Some(Self { phase: self.phase.checked_sub(1)?, phase_epoch: epochs, since_best, ended: None, ..self.clone() })
    }

    /// Forgets what another loss than today's came to: its values are no measure of the new one's.
    pub(super) fn forget_loss(&mut self, criterion: Criterion) {
        if let Some(best) = &mut self.best {
            best.loss = None;
            if criterion == Criterion::Loss {
                best.value = None;
            }
        }
    }

    /// Moves on to the next epoch; says whether its weights are to be kept. Of validations with the same score, the one with
    /// the lower loss is better, or else the first; one whose loss or score is not a number is never the best.
    pub(super) fn close_epoch(&mut self, criterion: Criterion, validation: Option<&Validation>) -> Verdict {
        let Some(validation) = validation else {
            *self = self.after_epoch();
            return Verdict::Best;
        };
        let value = match criterion {
            Criterion::MeanIou => validation.mean_iou,
            Criterion::PixelAccuracy => validation.pixel_accuracy,
            Criterion::Loss => validation.loss.unwrap_or(f64::INFINITY),
        };
        let (value, mean_iou, loss) = (Some(value), validation.mean_iou, validation.loss);
        let own = Best { epoch: self.epoch + 1, value, mean_iou, loss };
        let before = self.best;
        *self = self.after_epoch();
        if validation.is_numeric() && before.is_none_or(|best| best.gives_way_to(&own, criterion)) {
            self.best = Some(own);
            self.since_best = 0;
            return Verdict::Best;
        }
        self.since_best += 1;
        if before.is_none() { Verdict::Guess } else { Verdict::Worse }
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

    /// Epochs that are still to begin or to end, in the current phase and those after it.
    pub(super) fn epochs_left(&self, position: &Position) -> usize {
        let later = self.phases.iter().skip(position.phase + 1).map(|phase| phase.epochs).sum::<usize>();
        let current = self.phase(position).filter(|_| !self.phase_is_over(position));
        later + current.map_or(0, |phase| phase.epochs - position.phase_epoch)
    }

    /// Steps of all phases.
    pub(super) fn steps(&self) -> usize {
        self.phases.iter().fold(0usize, |steps, phase| steps.saturating_add(self.phase_steps(phase)))
    }

    /// Steps of a phase.
    pub(super) fn phase_steps(&self, phase: &Training) -> usize {
        phase.epochs.saturating_mul(self.epoch_batches.div_ceil(phase.accumulate))
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
        phase.learning_rate * phase.schedule.factor(step.saturating_sub(back), self.phase_steps(phase), epoch_steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{NetworkRecipe, Phase};

    #[test]
    fn the_epochs_left_are_those_of_all_phases() {
        let mut training = NetworkRecipe::find("unet-demo").unwrap().training;
        training.patience = Some(2);
        training.phases = [4, 3].map(|epochs| Phase { epochs, ..Phase::default() }).to_vec();
        let course = Course::new(&training, 5);
        let at = |phase, phase_epoch, since_best| {
            course.epochs_left(&Position { phase, phase_epoch, since_best, ..Position::default() })
        };
        assert_eq!([at(0, 0, 0), at(0, 3, 1), at(0, 4, 0), at(1, 0, 0), at(1, 2, 0), at(2, 0, 0)], [7, 4, 3, 3, 1, 0]);
        // The first phase ends early, and the second follows.
        assert_eq!(at(0, 2, 2), 3);
    }

    fn validation(mean_iou: f64, loss: f64) -> Validation {
        Validation { loss: Some(loss), pixel_accuracy: mean_iou, mean_iou, class_iou: Vec::new() }
    }

    /// What becomes of the epochs, and which of them is the best in the end.
    fn judged(criterion: Criterion, epochs: &[(f64, f64)]) -> (Vec<Verdict>, Option<usize>) {
        let mut position = Position::default();
        let verdicts = epochs.iter().map(|(iou, loss)| position.close_epoch(criterion, Some(&validation(*iou, *loss))));
        (verdicts.collect(), position.best.map(|best| best.epoch))
    }

    #[test]
    fn of_equal_scores_the_lower_loss_is_best() {
        use Verdict::{Best, Worse};
        let epochs = [(0.32, 0.61), (0.32, 0.55), (0.32, 0.55), (0.32, 0.58), (0.31, 0.1)];
        for criterion in [Criterion::MeanIou, Criterion::PixelAccuracy] {
            assert_eq!(judged(criterion, &epochs), (vec![Best, Best, Worse, Worse, Worse], Some(2)));
        }
        assert_eq!(judged(Criterion::Loss, &epochs), (vec![Best, Best, Worse, Worse, Best], Some(5)));
    }

    #[test]
    fn what_is_not_a_number_is_never_the_best() {
        use Verdict::{Best, Guess, Worse};
        for criterion in [Criterion::MeanIou, Criterion::PixelAccuracy, Criterion::Loss] {
            let (nan, infinite) = ((0.9, f64::NAN), (0.9, f64::INFINITY));
            assert_eq!(judged(criterion, &[nan, infinite]), (vec![Guess, Guess], None));
            assert_eq!(judged(criterion, &[nan, (0.1, 2.0), infinite]), (vec![Guess, Best, Worse], Some(2)));
        }
    }

    #[test]
    fn another_loss_is_not_compared_with() {
        let mut position = Position::default();
        for (criterion, verdict) in [(Criterion::Loss, Verdict::Best), (Criterion::MeanIou, Verdict::Worse)] {
            position.best = None;
            position.close_epoch(criterion, Some(&validation(0.5, 0.1)));
            position.forget_loss(criterion);
            // The weights of the first epoch are not given up for some that are no numbers.
            assert_eq!(position.close_epoch(criterion, Some(&validation(0.5, f64::NAN))), Verdict::Worse);
            assert_eq!(position.close_epoch(criterion, Some(&validation(0.5, 7.0))), verdict);
        }
    }
}
