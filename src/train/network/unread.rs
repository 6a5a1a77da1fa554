//! Steps whose losses are read later than they were taken.

use std::collections::VecDeque;

use super::course::Position;
use crate::base::Result;
use crate::data::Batch;
use crate::nn::group::Group;
use crate::nn::learner::Losses;

/// A step that was begun.
pub(super) struct Step {
    losses: Losses,
    batches: Vec<Seen>,
    /// Its number over all epochs, from 1.
    pub(super) number: usize,
    pub(super) rate: f64,
}

/// A batch of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its number in the epoch, from 1.
    pub(super) place: usize,
    /// Its samples' positions in the loader's pairs; of several processes, those of this one.
    pub(super) indices: Vec<usize>,
    /// Its samples in all.
    pub(super) total: usize,
}

/// What the losses of a step came to.
#[derive(Debug, PartialEq)]
pub(super) enum Reading {
    /// Their mean.
    Mean(f64),
    /// One that is not finite, and its batch.
    Spoilt(f64, Seen),
}

impl Step {
    /// A step that was begun on `batches` at the place where `position` stands, which moves on.
    pub(super) fn begun(losses: Losses, batches: &[Batch], rate: f64, position: &mut Position) -> Self {
        let first = position.batch + 1;
        let seen =
            |(i, batch): (usize, &Batch)| Seen { place: first + i, indices: batch.indices.clone(), total: batch.total };
        position.batch += batches.len();
        position.steps += 1;
        Self { losses, batches: batches.iter().enumerate().map(seen).collect(), number: position.steps, rate }
    }

    /// Waits for the losses and counts them in the position's epoch; in a group, the processes' summands are added up.
    pub(super) fn read(self, position: &mut Position, group: Option<&Group>) -> Result<Reading> {
        let mut losses = self.losses.read()?;
        if let Some(group) = group {
            let own: Vec<f32> = losses.iter().map(|&loss| loss as f32).collect();
            losses = group.sum(&own).into_iter().map(f64::from).collect();
        }
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        for (batch, loss) in self.batches.into_iter().zip(losses) {
            if !loss.is_finite() {
                return Ok(Reading::Spoilt(loss, batch));
            }
            position.samples += batch.total;
            position.loss_sum += loss * batch.total as f64;
        }
        Ok(Reading::Mean(mean))
    }
}

/// Steps in their order, the last of which a GPU may still work on.
#[derive(Default)]
pub(super) struct Unread(VecDeque<Step>);

impl Unread {
    pub(super) fn push(&mut self, step: Step) {
        self.0.push_back(step);
    }

    /// The first step, unless there are no more than `ahead`.
    pub(super) fn next(&mut self, ahead: usize) -> Option<Step> {
        if self.0.len() > ahead { self.0.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::base::Size;

    fn batch(indices: &[usize]) -> Batch {
        let (count, size) = (indices.len(), Size { width: 1, height: 1 });
        let (planes, classes, indices) = (Vec::new(), vec![0; count], indices.to_vec());
        Batch { count, bands: 1, size, planes, classes, indices, first: 0, total: count }
    }

    fn begun(losses: &[f32], batches: &[Batch], position: &mut Position) -> Step {
        let losses = Losses::new(losses.iter().map(|&loss| Tensor::from_floats([loss], &Device::flex())).collect());
        Step::begun(losses, batches, 0.1, position)
    }

    #[test]
    fn what_is_read_a_step_later_is_the_same() {
        let mut position = Position { batch: 4, steps: 10, ..Position::default() };
        let mut unread = Unread::default();
        unread.push(begun(&[1.0, 4.0], &[batch(&[7, 8]), batch(&[9])], &mut position));
        assert!(unread.next(1).is_none());
        assert_eq!((position.batch, position.steps, position.samples), (6, 11, 0));
        unread.push(begun(&[2.0, f32::NAN], &[batch(&[3]), batch(&[1, 2])], &mut position));
        let first = unread.next(1).unwrap();
        assert_eq!(first.number, 11);
        assert_eq!(first.read(&mut position, None).unwrap(), Reading::Mean(2.5));
        assert_eq!((position.samples, position.loss_sum), (3, 6.0));
        assert!(unread.next(1).is_none());
        let Reading::Spoilt(loss, seen) = unread.next(0).unwrap().read(&mut position, None).unwrap() else {
            panic!("finite")
        };
        assert!(loss.is_nan());
        assert_eq!(seen, Seen { place: 8, indices: vec![1, 2], total: 2 });
        assert!(unread.next(0).is_none());
    }
}
