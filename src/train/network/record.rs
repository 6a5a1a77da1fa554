//! What a training leaves for people to look at: log, curves, event files, report.

use std::sync::Arc;
use std::time::SystemTime;

use super::course::Position;
use super::tensorboard::Board;
use crate::base::Result;
use crate::base::event::{EpochReport, Sink};
use crate::base::named_enum::classes_that;
use crate::data::Pair;
use crate::draw::{draw_curves, write_png};
use crate::metric::ConfusionMatrix;
use crate::report::{Gallery, Report, Status, curve_panels};
use crate::run::{NetworkRun, Row, log};
use crate::train::session::Session;

/// The best weights on the validation set.
struct Best {
    matrix: ConfusionMatrix,
    gallery: Gallery,
}

/// Keeps the record of a training.
pub(super) struct Record<'a> {
    run: NetworkRun,
    classes: Vec<String>,
    training: usize,
    validation: Arc<Vec<Pair>>,
    rows: Vec<Row>,
    board: Board<'a>,
    best: Option<Best>,
    /// Whether anything is written: of several processes, one does.
    writes: bool,
    sink: &'a dyn Sink,
}

impl<'a> Record<'a> {
    /// Of a training on this many images that will take this many steps in all, and of which `rows` are over; `resumed` with a
    /// step, it goes on there.
    pub(super) fn open(
        run: &NetworkRun,
        (training, steps): (usize, usize),
        validation: Arc<Vec<Pair>>,
        (resumed, rows): (Option<usize>, Vec<Row>),
        session: &Session<'a>,
    ) -> Self {
        let (classes, sink, writes) = (run.config.class_names(), session.sink, session.writes());
        let board =
            if writes { Board::open(&run.tensorboard_path(), resumed, steps, sink) } else { Board::closed(sink) };
        let record = Self { run: run.clone(), classes, training, validation, rows, board, best: None, writes, sink };
        record.complete();
        record
    }

    /// The epochs that are over.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Writes log and curves if they are not those of the last save: a program may have been killed before it came to them.
    fn complete(&self) {
        if !self.rows.is_empty() && !log::holds(&self.run.log_path(), &self.classes, &self.rows) {
            self.write();
        }
    }

    /// Records a step, counted from 1 over all epochs.
    pub(super) fn step(&mut self, step: usize, loss: f64, learning_rate: f64) {
        self.board.step(step, loss, learning_rate);
    }

    /// What the images of a validation are to be shown to.
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
            self.sink.note(format!("{classes} in the validation set, but in no prediction of the best weights"));
        }
    }

    /// Records an epoch that ended with a step, before it is saved.
    pub(super) fn epoch(&mut self, report: &EpochReport, step: usize) {
        let row = Row::new(report, self.classes.len());
        self.board.epoch(step, &row, &self.classes);
        self.rows.push(row);
    }

    /// Writes curves and log. If that fails, it is said: the training does not need them.
    pub(super) fn write(&self) {
        if !self.writes {
            return;
        }
        // The log last: where it is complete, both are.
        let curves = write_png(&self.run.curves_path(), &draw_curves(&curve_panels(&self.rows)));
        let log = log::write(&self.run.log_path(), &self.classes, &self.rows);
        for fault in [curves, log].into_iter().filter_map(Result::err) {
            self.sink.note(format!("{fault}; the training continues"));
        }
    }

    /// Writes the report. If that fails, it is said; the training is saved all the same.
    pub(super) fn report(&mut self, status: Status, position: &Position) {
        if !self.writes {
            return;
        }
        self.board.flush();
        self.complete();
        if let Err(e) = self.write_report(status, position) {
            self.sink.note(format!("the report was not written: {e}"));
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
            images: (self.training, self.validation.len()),
            status,
            written: SystemTime::now(),
        };
        report.write(&self.run.report_path())
    }
}
