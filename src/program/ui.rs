//! Everything that is printed: progress and errors on standard error, results on standard output.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use segtool::base::Remedy;
use segtool::base::event::{EpochReport, Event, Left, Outlook, Sink, Task};

use crate::program::flags;

/// Between two progress lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// Most classes whose IoU is shown after each epoch; the log has them all.
const MAX_CLASSES: usize = 4;

/// Draws events: a bar on a terminal, lines elsewhere.
pub(crate) struct Progress {
    hidden: bool,
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
    /// What follows this stretch, where it is one of a training.
    outlook: Option<(Stage, Outlook)>,
}

/// The stretches of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Training,
    Closing,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let (title, epochs, total, done_before) = (String::new(), 0, 0, 0);
        let state = State { bar: None, title, epochs, total, done_before, began: now, last_line: now, outlook: None };
        Self { hidden: false, terminal: !is_quiet() && io::stderr().is_terminal(), state: Mutex::new(state) }
    }

    /// Draws nothing: of processes that work together, one speaks for all.
    pub(crate) fn hidden() -> Self {
        Self { hidden: true, terminal: false, ..Self::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Progress {
    fn event(&self, event: Event) {
        if self.hidden {
            return;
        }
        let mut state = self.state();
        match event {
            Event::Started { task, total, done } => state.start(task, total, done, self.terminal),
            Event::Outlook(outlook) => state.outlook = Some((Stage::Training, outlook)),
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
            Event::Skipped { reason, .. } => {
                let text = format!("skipped: {}", flags::worded(reason, &[Remedy::DefineLabel]));
                state.suspended(|| warn(&text));
            }
            _ => {}
        }
    }
}

impl State {
    fn start(&mut self, task: Task, total: usize, done: usize, terminal: bool) {
        if let Task::Train(_, epochs) = task {
            self.epochs = epochs;
        }
        self.outlook = match (&task, self.outlook) {
            (Task::Train(..), Some((_, outlook))) => Some((Stage::Training, outlook)),
            (Task::Validate, Some((_, outlook))) => Some((Stage::Closing, outlook)),
            _ => None,
        };
        self.title = title(&task);
        self.total = total;
        self.done_before = done;
        self.began = Instant::now();
        self.last_line = self.began;
        if terminal {
            let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}  {per_sec}  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style);
            bar.set_prefix(self.title.clone());
            bar.set_position(done as u64);
            bar.reset_eta();
            self.bar = Some(bar);
        }
    }

    fn advance(&mut self, done: usize, loss: Option<f64>) {
        let loss = loss.map_or_else(String::new, |loss| format!("  loss {loss:.4}"));
        let now = Instant::now();
        let rate = done.saturating_sub(self.done_before) as f64 / now.duration_since(self.began).as_secs_f64();
        let left = left_in_words(self.left(done, rate, now));
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            bar.set_message(format!("{left}{loss}"));
        } else if now.duration_since(self.last_line) >= LINE_INTERVAL {
            self.last_line = now;
            self.line(&format!("{} {done}/{}  {rate:.2}/s  {left}{loss}", self.title, self.total));
        }
    }

    /// The time until the whole job is over: of a training until its last epoch is.
    fn left(&self, done: usize, rate: f64, now: Instant) -> Left {
        let rate = rate.max(1e-6);
        let (rest, whole) = (self.total.saturating_sub(done) as f64 / rate, self.total as f64 / rate);
        match self.outlook {
            Some((Stage::Training, outlook)) => outlook.in_training(rest, whole, now),
            Some((Stage::Closing, outlook)) => outlook.in_closing(rest, whole, now),
            None => Left { time: Duration::from_secs_f64(rest), by_deadline: false },
        }
    }

    fn line(&self, text: &str) {
        self.suspended(|| say(text));
    }

    /// Prints without tearing the bar apart.
    fn suspended(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

fn title(task: &Task) -> String {
    match task {
        Task::Download(name) => format!("download {name} (MiB)"),
        Task::Check => "check data".into(),
        Task::Train(epoch, epochs) => format!("epoch {epoch}/{epochs}"),
        Task::Validate => "validate".into(),
        Task::Predict => "predict".into(),
        Task::Features => "features".into(),
        Task::Fit(what) => format!("fit {what}"),
        Task::Score => "score".into(),
        Task::Gray => "convert".into(),
        Task::Draw => "draw".into(),
        Task::Convert => "convert".into(),
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
        let class = |(name, iou): &(String, Option<f64>)| {
            format!("{} {}", one_line(name), iou.map_or("-".into(), |i| format!("{i:.3}")))
        };
        format!("{text}  ({})", v.class_iou.iter().map(class).collect::<Vec<_>>().join(", "))
    });
    let left = report.left.map_or_else(String::new, |left| format!("  {}", left_in_words(left)));
    format!(
        "epoch {}/{epochs}  learning rate {:.2e}  loss {:.4}{scores}  {:.1} s  {:.2} images/s  waiting for data {:.1} %{left}{}",
        report.epoch,
        report.learning_rate,
        report.train_loss,
        report.seconds,
        report.images_per_second,
        100.0 * report.wait,
        if report.best { "  best" } else { "" }
    )
}

fn left_in_words(left: Left) -> String {
    let until = if left.by_deadline { "until --max-time" } else { "left" };
    format!("{} {until}", HumanDuration(left.time))
}

/// Why a result could not be printed.
static UNPRINTED: OnceLock<io::Error> = OnceLock::new();

/// Prints a result. A reader that has gone (`| head`) ends the output in silence; any other failure, such as a full disk,
/// is kept for [`unprinted`].
pub(crate) fn result(text: &str) {
    let mut out = io::stdout().lock();
    keep_failure(writeln!(out, "{}", visible(text)).and_then(|()| out.flush()));
}

/// Notes how printing to standard output went.
pub(crate) fn keep_failure(printed: io::Result<()>) {
    if let Err(cause) = printed
        && cause.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = UNPRINTED.set(cause);
    }
}

/// Why results are missing on standard output, if they are.
pub(crate) fn unprinted() -> Option<&'static io::Error> {
    UNPRINTED.get()
}

/// Whether `--quiet` was given.
static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on prints errors, skipped inputs and results only.
pub(crate) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Prints a line about the work, unless `--quiet` was given.
pub(crate) fn say(text: &str) {
    if !is_quiet() {
        warn(text);
    }
}

/// Prints a line that `--quiet` does not suppress. The work continues if nobody can read it: the reader may have gone, or
/// the disk with the log may be full.
pub(crate) fn warn(text: &str) {
    let text = flags::in_flags(text);
    let text = visible(&text);
    let (word, rest) = text.split_at(text.find(": ").map_or(0, |end| end + 1));
    let style = match word {
        "error:" => AnsiColor::Red.on_default().bold(),
        "skipped:" => AnsiColor::Yellow.on_default().bold(),
        "note:" => AnsiColor::Cyan.on_default(),
        _ => Style::new(),
    };
    // Without a terminal, or with NO_COLOR, the stream takes the colours out.
    let _ = writeln!(anstream::stderr().lock(), "{style}{word}{style:#}{rest}");
}

/// Prints an error with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    warn(&format!("error: {}", flags::error_text(error)));
}

/// The text with control characters, such as names may hold, written out: they could clear or recolour the terminal.
fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.is_control() && !matches!(c, '\n' | '\t'))
}

/// A name such that it takes no more than its line.
pub(crate) fn one_line(name: &str) -> Cow<'_, str> {
    escaped(name, char::is_control)
}

fn escaped(text: &str, hidden: fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if hidden(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_lines_stay_lines() {
        assert_eq!(visible("a\tb\nc é"), "a\tb\nc é");
        assert_eq!(one_line("a\tb\nc"), "a\\tb\\nc");
        assert_eq!(visible("\u{1b}[2Ja\r\u{7}\u{9b}"), "\\u{1b}[2Ja\\r\\u{7}\\u{9b}");
    }

    const FIRST: Outlook =
        Outlook { epochs: 2, training: None, closing: Some(10.0), closing_share: 0.0, deadline: None };

    fn report() -> EpochReport {
        EpochReport {
            epoch: 3,
            phase: 1,
            learning_rate: 0.000_25,
            train_loss: 0.5,
            validation: None,
            best: true,
            seconds: 12.0,
            images_per_second: 4.0,
            wait: 0.25,
            left: Some(Left { time: Duration::from_secs(7200), by_deadline: false }),
        }
    }

    #[test]
    fn the_line_of_an_epoch_has_its_rate_and_the_time_that_all_others_take() {
        let line = epoch_line(&report(), 9);
        let expected = "epoch 3/9  learning rate 2.50e-4  loss 0.5000  12.0 s  4.00 images/s  waiting for data 25.0 %  2 hours left  \
             best";
        assert_eq!(line, expected);
        let limited = Left { time: Duration::from_secs(600), by_deadline: true };
        assert!(
            epoch_line(&EpochReport { left: Some(limited), ..report() }, 9).contains("10 minutes until --max-time")
        );
        assert!(epoch_line(&EpochReport { left: None, ..report() }, 9).ends_with("waiting for data 25.0 %  best"));
    }

    #[test]
    fn within_an_epoch_the_time_left_is_that_of_the_whole_training() {
        let progress = Progress::new();
        let left = |done| {
            let state = progress.state();
            // 5 images a second.
            state.left(done, 5.0, state.began).time.as_secs()
        };
        progress.event(Event::Outlook(FIRST));
        progress.state().start(Task::Train(1, 3), 100, 0, false);
        // 15 more seconds, the validation, and two epochs of 20 seconds with theirs.
        assert_eq!(left(25), 15 + 10 + 2 * (20 + 10));
        progress.event(Event::Outlook(Outlook { training: Some(30.0), ..FIRST }));
        progress.state().start(Task::Validate, 40, 0, false);
        assert_eq!(left(20), 4 + 2 * (30 + 8));
        // What comes afterwards is no part of the training.
        progress.state().start(Task::Predict, 10, 0, false);
        assert_eq!(left(5), 1);
    }
}
