//! Everything that is printed: progress and errors on standard error, results on standard output.

#![allow(clippy::print_stderr)] // the one place that may

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use segtool::event::{EpochReport, Event, Sink, Task};

/// Between two progress lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// Most classes whose IoU is shown after each epoch; the log has them all.
const MAX_CLASSES: usize = 4;

/// Draws events: a bar on a terminal, lines elsewhere.
pub(crate) struct Progress {
    terminal: bool,
    state: Mutex<State>,
}

struct State {
    bar: Option<ProgressBar>,
    title: String,
    epochs: usize,
    total: usize,
    /// Items done before this stretch began, and when it did.
    done_before: usize,
    began: Instant,
    last_line: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let (title, epochs, total, done_before) = (String::new(), 0, 0, 0);
        let state = State { bar: None, title, epochs, total, done_before, began: now, last_line: now };
        Self { terminal: std::io::stderr().is_terminal(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Progress {
    fn event(&self, event: Event) {
        let mut state = self.state();
        match event {
            Event::Started { task, total, done } => state.start(task, total, done, self.terminal),
            Event::Advanced { done, loss } => state.advance(done, loss),
            Event::Finished => {
                if let Some(bar) = state.bar.take() {
                    bar.finish_and_clear();
                }
            }
            Event::Epoch(report) => {
                let text = epoch_line(&report, state.epochs);
                state.line(&text);
            }
            Event::Note(text) => state.line(&format!("note: {text}")),
            Event::Skipped { reason, .. } => state.line(&format!("skipped: {reason}")),
            _ => {}
        }
    }
}

impl State {
    fn start(&mut self, task: Task, total: usize, done: usize, terminal: bool) {
        if let Task::Train(_, epochs) = task {
            self.epochs = epochs;
        }
        self.title = title(&task);
        self.total = total;
        self.done_before = done;
        self.began = Instant::now();
        self.last_line = self.began;
        if terminal {
            let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}  {per_sec}  {eta} left  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style);
            bar.set_prefix(self.title.clone());
            bar.set_position(done as u64);
            bar.reset_eta();
            self.bar = Some(bar);
        }
    }

    fn advance(&mut self, done: usize, loss: Option<f64>) {
        let loss = loss.map(|loss| format!("loss {loss:.4}"));
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            if let Some(loss) = loss {
                bar.set_message(loss);
            }
        } else if self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            let loss = loss.map_or_else(String::new, |loss| format!("  {loss}"));
            let rate = (done - self.done_before) as f64 / self.began.elapsed().as_secs_f64();
            let left = HumanDuration(Duration::from_secs_f64((self.total - done) as f64 / rate.max(1e-6)));
            let text = format!("{} {done}/{}  {rate:.2}/s  {left} left{loss}", self.title, self.total);
            self.line(&text);
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}

fn title(task: &Task) -> String {
    match task {
        Task::Download(name) => format!("download {name} (MiB)"),
        Task::Check => "check".into(),
        Task::Train(epoch, epochs) => format!("epoch {epoch}/{epochs}"),
        Task::Validate => "validate".into(),
        Task::Predict => "predict".into(),
        Task::Features => "features".into(),
        Task::Fit(what) => format!("fit {what}"),
        Task::Score => "score".into(),
        Task::Gray => "rgb2gray".into(),
        Task::Concat => "concat".into(),
        _ => "work".into(),
    }
}

fn epoch_line(report: &EpochReport, epochs: usize) -> String {
    let scores = report.validation.as_ref().map_or_else(String::new, |v| {
        let loss = v.loss.map_or_else(String::new, |loss| format!("  val loss {loss:.4}"));
        if !v.is_numeric() {
            return format!("{loss}  val scores are not numbers");
        }
        let text = format!("{loss}  val mean IoU {:.4}  pixel accuracy {:.4}", v.mean_iou, v.pixel_accuracy);
        if v.class_iou.len() > MAX_CLASSES {
            return text;
        }
        let class =
            |(name, iou): &(String, Option<f64>)| format!("{name} {}", iou.map_or("-".into(), |i| format!("{i:.3}")));
        format!("{text}  ({})", v.class_iou.iter().map(class).collect::<Vec<_>>().join(", "))
    });
    let left = report.seconds * epochs.saturating_sub(report.epoch) as f64;
    let left =
        if left > 0.0 { format!("  {} left", HumanDuration(Duration::from_secs_f64(left))) } else { String::new() };
    format!(
        "epoch {}/{epochs}  loss {:.4}{scores}  {:.1} s  {:.2} images/s  data wait {:.1} %{left}{}",
        report.epoch,
        report.train_loss,
        report.seconds,
        report.images_per_second,
        100.0 * report.wait,
        if report.best { "  best" } else { "" }
    )
}

/// Prints a result. A reader that has gone (`| head`) ends the output in silence.
pub(crate) fn result(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints a line about what happens.
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Prints an error with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
