//! Programs whose N-th call that changes the disk fails, or never returns; see `faults.c`.

#![cfg_attr(not(target_os = "linux"), allow(dead_code))] // as the tests that need it

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::Segtool;

/// Errors of a full disk and of a broken one.
pub(crate) const NO_SPACE: &str = "28";
pub(crate) const BROKEN: &str = "5";
pub(crate) const KILL: &str = "kill";

/// The library that is loaded before all others; `None`, with a word, where there is no C compiler.
#[allow(clippy::print_stderr)] // a test that is skipped says so
pub(crate) fn shim() -> Option<&'static Path> {
    static SHIM: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let shim = SHIM.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/common/faults.c");
        let mut cc = Command::new("cc");
        let compile = cc.args(["-shared", "-fPIC", "-O1", "-w", "-o"]).arg(&library).arg(source).arg("-ldl");
        match compile.status() {
            Ok(status) => assert!(status.success(), "faults.c"),
            Err(e) => {
                eprintln!("skipped: no C compiler (cc: {e})");
                return None;
            }
        }
        Some((folder, library))
    });
    shim.as_ref().map(|(_, library)| library.as_path())
}

/// The program with what the shim is to do below `root`.
pub(crate) fn faulty(shim: &Path, root: &Path, settings: &[(&str, &str)], segtool: &Segtool) -> Command {
    let mut command = segtool.command();
    command.env("LD_PRELOAD", shim).env("FAULTS_ROOT", root).envs(settings.iter().copied());
    command
}

/// What became of a program that was to go wrong at a call.
pub(crate) struct Fate {
    pub(crate) output: Output,
    /// The call; `None` if there were not so many.
    pub(crate) call: Option<String>,
}

/// Runs the program with a fault at one call.
pub(crate) fn at(
    shim: &Path,
    root: &Path,
    (number, kind): (usize, &str),
    settings: &[(&str, &str)],
    segtool: &Segtool,
) -> Fate {
    let log = root.with_extension("call");
    let number = number.to_string();
    let log_text = log.to_string_lossy().into_owned();
    let own = [("FAULTS_AT", number.as_str()), ("FAULTS_KIND", kind), ("FAULTS_LOG", &log_text)];
    let output = faulty(shim, root, &[&own, settings].concat(), segtool).output().unwrap();
    let call = fs::read_to_string(&log).ok();
    let _ = fs::remove_file(&log);
    Fate { output, call }
}

/// Calls `trial` with 1, 2, 3 and so on, on two threads, until it says that there was no such call; of these numbers only
/// every `step`th, all with SEGTOOL_ALL_FAULTS. Returns how many there were.
pub(crate) fn sweep(step: usize, trial: impl Fn(usize) -> bool + Sync) -> usize {
    let step = if std::env::var_os("SEGTOOL_ALL_FAULTS").is_some() { 1 } else { step };
    let (next, count) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while trial(1 + step * next.fetch_add(1, Ordering::Relaxed)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    count.into_inner()
}
