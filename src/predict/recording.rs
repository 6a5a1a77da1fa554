//! Keeps the journal while inputs are predicted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::journal::{Journal, State};
use super::target::Claim;
use crate::base::event::{Event, Sink};
use crate::base::{Error, Result, locked};

/// Adds a line to the journal for each input, and hands events on. Inputs go by their numbers in the claim.
pub(super) struct Recording<'a> {
    claim: &'a Claim<'a>,
    numbers: HashMap<&'a Path, usize>,
    journal: Journal,
    done: Mutex<Vec<usize>>,
    sink: &'a dyn Sink,
}

impl<'a> Recording<'a> {
    pub(super) fn new(claim: &'a Claim<'a>, inputs: &'a [PathBuf], sink: &'a dyn Sink) -> Self {
        let numbers = inputs.iter().enumerate().map(|(number, input)| (input.as_path(), number)).collect();
        Self { claim, numbers, journal: claim.journal(), done: Mutex::default(), sink }
    }

    /// Says of an input that its files are written, or why one could not be.
    pub(super) fn written(&self, number: usize, written: Result<()>) -> Result<()> {
        let sent = written.and_then(|()| self.claim.send(number));
        let line = sent.and_then(|()| self.claim.line(number, State::Done, None));
        match line.and_then(|line| self.journal.add(line)) {
            Ok(()) => {
                locked(&self.done).push(number);
                self.claim.send_journal()
            }
            Err(fault) => {
                // On a full disk not even this can be written; the fault itself is what matters.
                let line = self.claim.line(number, State::Failed, Some(fault.to_string()));
                let _ = line.and_then(|line| self.journal.add(line));
                Err(fault)
            }
        }
    }

    /// The inputs that are done, in the order in which they were given.
    pub(super) fn done(self) -> Vec<usize> {
        let mut done = self.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_unstable();
        done
    }

    /// Leaves out the inputs that could not be opened in time; returns how many.
    pub(super) fn leave_out_hanging(&self, inputs: &[PathBuf]) -> usize {
        let (hanging, patience) = self.claim.hanging();
        for &number in &hanging {
            let path = inputs[number].clone();
            let reason = Error::content(
                &path,
                format!(
                    "could not be opened within {patience}: its disk or network does not respond; predict it later, or \
                     allow more time with `read_timeout`"
                ),
            );
            self.event(Event::Skipped { path, reason: reason.to_string() });
        }
        hanging.len()
    }
}

impl Sink for Recording<'_> {
    fn event(&self, event: Event) {
        if let Event::Skipped { path, reason } = &event
            && let Some(&number) = self.numbers.get(path.as_path())
        {
            let line = self.claim.line(number, State::Skipped, Some(reason.clone()));
            if let Err(fault) = line.and_then(|line| self.journal.add(line)) {
                self.sink.note(fault.to_string());
            }
        }
        self.sink.event(event);
    }
}
