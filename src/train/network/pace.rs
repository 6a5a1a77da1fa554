//! How fast a training goes.

use std::time::{Duration, Instant};

use crate::base::event::Outlook;

/// What an image takes to be validated, as a share of what it takes to be trained on: the forward pass alone.
const FORWARD_SHARE: f64 = 1.0 / 3.0;

/// Mean seconds of what was measured.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, seconds: f64) {
        self.sum += seconds;
        self.count += 1;
    }

    fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

/// How long epochs take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    training: Mean,
    closing: Mean,
    closing_share: f64,
}

impl Pace {
    /// Of epochs on this many samples, with this many images to validate.
    pub(super) fn new(samples: usize, validation: usize) -> Self {
        let closing_share = FORWARD_SHARE * validation as f64 / samples.max(1) as f64;
        Self { training: Mean::default(), closing: Mean::default(), closing_share }
    }

    /// Counts the training of an epoch.
    pub(super) fn trained(&mut self, seconds: f64) {
        self.training.add(seconds);
    }

    /// Counts what followed it: validation, saving, drawing.
    pub(super) fn closed(&mut self, time: Duration) {
        self.closing.add(time.as_secs_f64());
    }

    /// What follows if this many epochs do.
    pub(super) fn outlook(&self, epochs: usize, deadline: Option<Instant>) -> Outlook {
        Outlook {
            epochs,
            training: self.training.value(),
            closing: self.closing.value(),
            closing_share: self.closing_share,
            deadline,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outlook_has_the_means_of_what_was_measured() {
        let mut pace = Pace::new(300, 90);
        let before = pace.outlook(4, None);
        assert_eq!((before.training, before.closing), (None, None));
        assert!((before.closing_share - 0.1).abs() < 1e-12);
        for (training, closing) in [(10.0, 2), (14.0, 4)] {
            pace.trained(training);
            pace.closed(Duration::from_secs(closing));
        }
        let after = pace.outlook(2, None);
        assert_eq!((after.epochs, after.training, after.closing), (2, Some(12.0), Some(3.0)));
    }
}
