//! Signals that end a training, after it has saved.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::program::exit::Exit;
use crate::program::ui;

/// Terminals, shells and process managers send a signal to a process and once more to its group: within this time, a second
/// one is the same one.
const SAME: Duration = Duration::from_secs(1);

/// While it lives, the first SIGINT, SIGTERM or SIGHUP asks the training to stop after its step, and one that comes later
/// than the echo of the first ends the program at once. Before and after, each does.
pub(crate) struct Stop;

static STOP: AtomicBool = AtomicBool::new(false);
static TRAINING: AtomicBool = AtomicBool::new(false);
static ANNOUNCED: Mutex<&'static str> = Mutex::new("stopping");
static FIRST: Mutex<Option<First>> = Mutex::new(None);

/// The signal that asked to stop.
#[derive(Debug, Clone, Copy)]
struct First {
    exit: Exit,
    at: Instant,
}

/// What a signal does.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Stop,
    Nothing,
    End,
}

impl Stop {
    pub(crate) fn on_signal() -> Result<Self> {
        Self::announcing("stopping as soon as everything is saved")
    }

    /// [`Self::on_signal`] with words of its own for what happens then.
    pub(crate) fn announcing(text: &'static str) -> Result<Self> {
        if let Ok(mut announced) = ANNOUNCED.lock() {
            *announced = text;
        }
        TRAINING.store(true, Ordering::Relaxed);
        listen(take).context("cannot listen for signals")?;
        Ok(Self)
    }

    /// Set once it is time to stop.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &STOP
    }

    /// How a program ends that was asked to stop; `None` if it stopped by itself.
    pub(crate) fn exit(&self) -> Option<Exit> {
        FIRST.lock().ok().and_then(|first| first.map(|first| first.exit))
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        TRAINING.store(false, Ordering::Relaxed);
    }
}

fn take(exit: Exit) {
    let now = Instant::now();
    let answer = match FIRST.lock() {
        Ok(mut first) if TRAINING.load(Ordering::Relaxed) => answer(&mut first, First { exit, at: now }),
        _ => Answer::End,
    };
    match answer {
        Answer::Nothing => {}
        Answer::End => std::process::exit(exit as i32),
        Answer::Stop => {
            STOP.store(true, Ordering::Relaxed);
            let text = ANNOUNCED.lock().map_or("stopping", |text| *text);
            ui::say(&format!("{text}; press Ctrl-C again after a second to quit at once"));
        }
    }
}

fn answer(first: &mut Option<First>, signal: First) -> Answer {
    match first {
        None => {
            *first = Some(signal);
            Answer::Stop
        }
        Some(first) if signal.at.duration_since(first.at) < SAME => Answer::Nothing,
        Some(_) => Answer::End,
    }
}

#[cfg(unix)]
fn listen(take: fn(Exit)) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = vec![SIGINT, SIGTERM];
    if !is_hangup_ignored() {
        signals.push(SIGHUP);
    }
    // A file beyond `ulimit -f` is then a write that fails in words, not the end of the program.
    signal_hook::flag::register(libc::SIGXFSZ, std::sync::Arc::default())?;
    let mut signals = signal_hook::iterator::Signals::new(signals)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            take(match signal {
                SIGTERM => Exit::Terminated,
                SIGHUP => Exit::HungUp,
                _ => Exit::Interrupted,
            });
        }
    })?;
    Ok(())
}

/// `nohup` has it so, and it is to stay so.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let bits = ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| (bits >> (signal_hook::consts::SIGHUP - 1)) & 1 == 1)
}

#[cfg(not(unix))]
fn listen(take: fn(Exit)) -> std::io::Result<()> {
    ctrlc::set_handler(move || take(Exit::Interrupted)).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_signal_within_a_second_is_the_same_one() {
        let (mut first, began) = (None, Instant::now());
        let mut after = |millis, exit| answer(&mut first, First { exit, at: began + Duration::from_millis(millis) });
        assert_eq!(after(0, Exit::Terminated), Answer::Stop);
        assert_eq!(after(1, Exit::Terminated), Answer::Nothing);
        assert_eq!(after(999, Exit::Interrupted), Answer::Nothing);
        assert_eq!(after(1000, Exit::Interrupted), Answer::End);
        assert_eq!(first.map(|first| first.exit), Some(Exit::Terminated));
    }
}
