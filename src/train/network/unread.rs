//! Steps whose losses are read later than they were taken.

use std::time::{Duration, Instant};

use super::course::Position;
use crate::base::Result;
use crate::data::Batch;
use crate::nn::group::Group;
use crate::nn::learner::Losses;
use crate::nn::ops::Arriving;

/// The losses of a GPU are read after this number of steps, or this time.
const STEPS: usize = 10;
const TIME: Duration = Duration::from_millis(250);

/// A step that was begun, without its losses.
pub(super) struct Step {
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
    pub(super) fn begun(batches: &[Batch], rate: f64, position: &mut Position) -> Self {
        let first = position.batch + 1;
        let seen =
            |(i, batch): (usize, &Batch)| Seen { place: first + i, indices: batch.indices.clone(), total: batch.total };
        position.batch += batches.len();
        position.steps += 1;
        Self { batches: batches.iter().enumerate().map(seen).collect(), number: position.steps, rate }
    }

    /// Counts its losses in the position's epoch.
    pub(super) fn count(self, losses: &[f64], position: &mut Position) -> Reading {
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        for (batch, &loss) in self.batches.into_iter().zip(losses) {
            if !loss.is_finite() {
                return Reading::Spoilt(loss, batch);
            }
            position.samples += batch.total;
            position.loss_sum += loss * batch.total as f64;
        }
        Reading::Mean(mean)
    }
}

/// Steps in their order, the last of which a GPU may still work on.
pub(super) struct Unread {
    begun: Vec<(Step, Losses)>,
    /// Those whose losses are on their way to main memory.
    sent: Option<(Vec<Step>, Arriving)>,
    since: Instant,
}

/// Which losses to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that are on their way; the next ones are sent off. Nobody waits for a GPU.
    Next,
    All,
}

impl Unread {
    pub(super) fn new() -> Self {
        Self { begun: Vec::new(), sent: None, since: Instant::now() }
    }

    pub(super) fn push(&mut self, step: Step, losses: Losses) {
        self.begun.push((step, losses));
    }

    /// Whether it is time to read the next ones.
    pub(super) fn are_due(&self) -> bool {
        self.begun.len() >= STEPS || self.since.elapsed() >= TIME
    }

    /// The next steps and their losses; in a group, all processes of which call this after the same steps, the sums of their
    /// summands.
    pub(super) fn read(&mut self, which: Which, group: Option<&Group>) -> Result<Vec<(Step, Vec<f64>)>> {
        self.since = Instant::now();
        let mut read = arrived(self.sent.take())?;
        if !self.begun.is_empty() {
            let (steps, losses) = std::mem::take(&mut self.begun).into_iter().unzip();
            self.sent = Some((steps, Losses::send(losses)));
        }
        if which == Which::All {
            read.extend(arrived(self.sent.take())?);
        }
        if let Some(group) = group.filter(|_| !read.is_empty()) {
            let own: Vec<f32> = read.iter().flat_map(|(_, losses)| losses).map(|&loss| loss as f32).collect();
            let sums = group.sum(&own);
            group.check()?;
            read.iter_mut().flat_map(|(_, losses)| losses).zip(sums).for_each(|(loss, sum)| *loss = f64::from(sum));
        }
        Ok(read)
    }
}

/// Waits for what was sent.
fn arrived(sent: Option<(Vec<Step>, Arriving)>) -> Result<Vec<(Step, Vec<f64>)>> {
    let Some((steps, losses)) = sent else { return Ok(Vec::new()) };
    let mut losses = losses.read::<f32>()?.into_iter().map(f64::from);
    let own = |step: Step| {
        let own = losses.by_ref().take(step.batches.len()).collect();
        (step, own)
    };
    Ok(steps.into_iter().map(own).collect())
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::base::Size;
    use crate::nn::ops::profile::counted;

    fn batch(indices: &[usize]) -> Batch {
        let (count, size) = (indices.len(), Size { width: 1, height: 1 });
        let (planes, classes, indices) = (Vec::new(), vec![0; count], indices.to_vec());
        Batch { count, bands: 1, size, planes, classes, indices, first: 0, total: count }
    }

    fn push(unread: &mut Unread, losses: &[f32], batches: &[Batch], position: &mut Position) {
        let losses = Losses::new(losses.iter().map(|&loss| Tensor::from_floats([loss], &Device::flex())).collect());
        unread.push(Step::begun(batches, 0.1, position), losses);
    }

    #[test]
    fn what_is_read_later_is_the_same() {
        let mut position = Position { batch: 4, steps: 10, ..Position::default() };
        let mut unread = Unread::new();
        push(&mut unread, &[1.0, 4.0], &[batch(&[7, 8]), batch(&[9])], &mut position);
        assert_eq!((position.batch, position.steps, position.samples), (6, 11, 0));
        push(&mut unread, &[2.0, f32::NAN], &[batch(&[3]), batch(&[1, 2])], &mut position);
        let [(first, losses), (second, spoilt)] =
            unread.read(Which::All, None).unwrap().try_into().ok().expect("two steps");
        assert_eq!(first.number, 11);
        assert_eq!(first.count(&losses, &mut position), Reading::Mean(2.5));
        assert_eq!((position.samples, position.loss_sum), (3, 6.0));
        let Reading::Spoilt(loss, seen) = second.count(&spoilt, &mut position) else { panic!("finite") };
        assert!(loss.is_nan());
        assert_eq!(seen, Seen { place: 8, indices: vec![1, 2], total: 2 });
        assert!(unread.read(Which::All, None).unwrap().is_empty());
    }

    #[test]
    fn losses_are_read_together_and_in_order_when_they_are_due() {
        let mut position = Position::default();
        let mut unread = Unread::new();
        let mut numbers = Vec::new();
        let count = STEPS * 3 + 1;
        let ((), asked) = counted(|| {
            for i in 0..count {
                push(&mut unread, &[i as f32], &[batch(&[i])], &mut position);
                unread.since = Instant::now();
                if unread.are_due() {
                    numbers.extend(unread.read(Which::Next, None).unwrap());
                }
            }
        });
        // The last ten are on their way, and one is not sent yet.
        assert_eq!((numbers.len(), asked.reads), (STEPS * 2, 3));
        unread.since = Instant::now().checked_sub(TIME).expect("a clock that runs for a second");
        assert!(unread.are_due());
        numbers.extend(unread.read(Which::Next, None).unwrap());
        assert_eq!(numbers.len(), STEPS * 3);
        numbers.extend(unread.read(Which::All, None).unwrap());
        assert!(numbers.iter().enumerate().all(|(i, (step, losses))| step.number == i + 1 && losses == &[i as f64]));
        assert_eq!(numbers.len(), count);
    }
}
