//! What a training leaves for people to look at: log, curves, event files, report.

use std::sync::Arc;
use std::time::SystemTime;

use super::report::{Gallery, Report, Status};
use super::tensorboard::Board;
use super::{Position, Row, curves, log};
use crate::data::Pair;
use crate::error::Result;
use crate::event::{EpochReport, Event, Sink};
use crate::metric::ConfusionMatrix;
use crate::named::classes_that;
use crate::run::Run;

/// The best weights on the validation set.
struct Best {
    matrix: ConfusionMatrix,
    gallery: Gallery,
}

/// Keeps the record of a training.
pub(super) struct Record<'a> {
    run: Run,
    classes: Vec<String>,
    training: usize,
    validation: Arc<Vec<Pair>>,
    rows: Vec<Row>,
    board: Board<'a>,
    best: Option<Best>,
    sink: &'a dyn Sink,
}

impl<'a> Record<'a> {
    /// Goes on where a training on so many pictures stands, which will take so many steps in all.
    pub(super) fn open(
        run: &Run,
        (training, steps): (usize, usize),
        validation: Arc<Vec<Pair>>,
        position: &Position,
        sink: &'a dyn Sink,
    ) -> Result<Self> {
        let classes: Vec<String> = run.config.dataset.classes.iter().map(|class| class.name.clone()).collect();
        let rows = log::read(&run.log_path(), &classes, position.epoch)?;
        let board = Board::open(&run.tensorboard_path(), position.steps, steps, sink);
        Ok(Self { run: run.clone(), classes, training, validation, rows, board, best: None, sink })
    }

    /// Records a step, counted from 1 over all epochs.
    pub(super) fn step(&mut self, step: usize, loss: f64, learning_rate: f64) {
        self.board.step(step, loss, learning_rate);
    }

    /// What the pictures of a validation are to be shown to.
    pub(super) fn gallery(&self) -> Gallery {
        Gallery::new(self.validation.len(), self.classes.len())
    }

    /// Hands on what is buffered, before a save.
    pub(super) fn flush(&mut self) {
        self.board.flush();
    }

    /// Keeps the result of a validation, of weights that are the best so far.
    pub(super) fn keep_best(&mut self, matrix: ConfusionMatrix, gallery: Gallery) {
        self.best = Some(Best { matrix, gallery });
    }

    /// Whether there is a validation set, but no result of the best weights on it: none of the epochs since the
    /// training was resumed was the best.
    pub(super) fn lacks_best(&self) -> bool {
        self.best.is_none() && !self.validation.is_empty()
    }

    /// Says which classes occur in the validation set, but are never predicted by the best weights.
    pub(super) fn note_never_predicted(&self) {
        let never = self.best.iter().flat_map(|best| best.matrix.never_predicted());
        let names = never.map(|class| self.classes[class].as_str());
        if let Some(classes) = classes_that(names, ["occurs", "occur"]) {
            self.sink.event(Event::Note(format!(
                "{classes} in the validation set, but in no prediction of the best weights"
            )));
        }
    }

    /// Records an epoch that ended with a step.
    pub(super) fn epoch(&mut self, report: &EpochReport, learning_rate: f64, step: usize) -> Result<()> {
        let row = Row::new(report, learning_rate, self.classes.len());
        self.board.epoch(step, &row, &self.classes);
        self.rows.push(row);
        log::write(&self.run.log_path(), &self.classes, &self.rows)?;
        curves::write(&self.run.curves_path(), &self.rows)
    }

    /// Writes the report. If that fails, it is said; the training is saved all the same.
    pub(super) fn report(&mut self, status: Status, position: &Position) {
        self.board.flush();
        if let Err(e) = self.write_report(status, position) {
            self.sink.event(Event::Note(format!("no report: {e}")));
        }
    }

    fn write_report(&self, status: Status, position: &Position) -> Result<()> {
        let samples = match &self.best {
            Some(best) => best.gallery.samples(&self.validation, &self.run.config.dataset)?,
            None => Vec::new(),
        };
        let report = Report {
            config: &self.run.config,
            rows: &self.rows,
            best_epoch: position.best.map(|best| best.epoch),
            matrix: self.best.as_ref().map(|best| &best.matrix),
            samples: &samples,
            pictures: (self.training, self.validation.len()),
            status,
            written: SystemTime::now(),
        };
        report.write(&self.run.report_path())
    }
}
