//! One process a run, and how signals end it.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::faults::{faulty, shim};
use crate::common::tiny::{Tiny, strings};
use crate::common::{output_of, signal, stderr_of, stdout_of, text, wait_for};

const LOCK: &str = ".segtool.lock";
/// More epochs than any test waits for.
const LONG: [&str; 2] = ["--num-epoch", "20000,1"];

fn spawn(arguments: &[&str]) -> Child {
    piped(Command::new(env!("CARGO_BIN_EXE_segtool")).args(arguments))
}

fn piped(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until a run has saved more than its beginning.
fn wait_for_steps(run: &Path) {
    wait_for(|| fs::read_to_string(run.join("log.csv")).is_ok_and(|log| log.lines().count() > 1));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("last/model.safetensors")).unwrap()
}

#[test]
fn a_run_that_is_being_trained_is_refused_by_the_name_of_its_process() {
    let tiny = Tiny::new();
    let run = tiny.path("run");
    let child = spawn(&strings(&tiny.train(&run, &LONG)));
    wait_for_steps(&run);
    let named = format!("{}: is being trained by process {} (since ", run.display(), child.id());
    let core = tiny.path("core.png");
    image::GrayImage::new(8, 8).save(&core).unwrap();
    let (run_text, core) = (text(&run), text(&core));
    let resume = ["train", "--resume", &run_text].map(String::from).to_vec();
    let forest = ["train", "--recipe", "hypercolumn-core", "--images", &core, "--labels", &core, "--overwrite"];
    let forest = forest.into_iter().chain(["--output-path", &run_text]).map(String::from).collect();
    for arguments in [resume, tiny.train(&run, &["--overwrite"]), tiny.train(&run, &[]), forest] {
        let words = stderr_of(&strings(&arguments), 1);
        assert!(words.contains(&named) && words.contains("wait until it ends"), "{words}");
    }
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{}", said(&output));
    assert!(!run.join(LOCK).exists());
}

#[test]
fn of_two_processes_one_goes_on_unhurt() {
    let tiny = Tiny::new();
    let (base, whole) = (tiny.path("base"), tiny.path("whole"));
    stdout_of(&strings(&tiny.train(&whole, &[])));
    let stopped = output_of(&strings(&tiny.train(&base, &["--max-time", "1ms"])));
    assert!(stopped.status.success(), "{}", said(&stopped));
    let pairs = std::env::var("SEGTOOL_PAIRS").map_or(6, |pairs| pairs.parse().unwrap());
    let mut refused = 0;
    for pair in 0..pairs {
        let run = tiny.path(&format!("pair{pair}"));
        let resumed = ["train", "--resume", &text(&run)].map(String::from).to_vec();
        let arguments = if pair % 2 == 0 {
            assert!(Command::new("cp").arg("-r").args([&base, &run]).status().unwrap().success());
            resumed.clone()
        } else {
            tiny.train(&run, &[])
        };
        let first = spawn(&strings(&arguments));
        sleep(Duration::from_millis(pair * 3 % 25));
        let second = spawn(&strings(&arguments));
        let both = [first, second].map(|child| child.wait_with_output().unwrap());
        assert!(both.iter().any(|output| output.status.success()), "{}{}", said(&both[0]), said(&both[1]));
        for output in &both {
            let words = said(output);
            let known = ["is being trained by", "already holds a run"].iter().any(|text| words.contains(text));
            assert!(output.status.success() || known, "{words}");
            refused += usize::from(!output.status.success());
        }
        stdout_of(&strings(&resumed));
        assert!(weights(&run) == weights(&whole) && !run.join(LOCK).exists(), "pair {pair}");
        assert_eq!(
            fs::read(run.join("model.safetensors")).unwrap(),
            fs::read(whole.join("model.safetensors")).unwrap()
        );
    }
    println!("{refused} of {pairs} refused");
    assert!(refused > 0);
}

#[test]
fn the_lock_of_a_killed_process_is_taken_over() {
    let tiny = Tiny::new();
    let run = tiny.path("run");
    let mut child = spawn(&strings(&tiny.train(&run, &LONG)));
    wait_for_steps(&run);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(run.join(LOCK).exists());
    let words = stderr_of(&["train", "--resume", &text(&run), "--max-time", "1ms"], 0);
    assert!(words.contains("resuming"), "{words}");
    assert!(!run.join(LOCK).exists());
}

#[test]
fn without_locks_of_the_file_system_the_process_counts() {
    let Some(shim) = shim() else { return };
    let tiny = Tiny::new();
    let run = tiny.path("run");
    let settings = [("FAULTS_NO_LOCKS", "1")];
    let resume = ["train", "--resume", &text(&run), "--max-time", "1ms"];
    let child = piped(&mut faulty(shim, &run, &settings, &strings(&tiny.train(&run, &LONG))));
    wait_for_steps(&run);
    let refused = faulty(shim, &run, &settings, &resume).output().unwrap();
    assert!(said(&refused).contains(&format!("process {}", child.id())), "{}", said(&refused));
    assert_eq!(refused.status.code(), Some(1));
    let lock = fs::read_to_string(run.join(LOCK)).unwrap();
    signal(&child, "-KILL");
    child.wait_with_output().unwrap();

    let after = |text: &str| {
        fs::write(run.join(LOCK), text).unwrap();
        faulty(shim, &run, &settings, &resume).output().unwrap()
    };
    // Its process is gone.
    assert!(after(&lock).status.success());
    // One of its number runs, but began at another time.
    let identity: serde_json::Value = serde_json::from_str(&lock).unwrap();
    let identity = identity["identity"].as_str().unwrap().to_owned();
    let machine = identity.split('-').next().unwrap();
    let again = lock.replace(&identity, &format!("{machine}-{}-1", std::process::id()));
    assert!(after(&again).status.success());
    // It is on another computer.
    let refused = after(&lock.replace(&identity, "00000001-2-3"));
    let words = said(&refused);
    assert!(words.contains("if it no longer runs, delete") && refused.status.code() == Some(1), "{words}");
    // Half of one, of a process that was killed while it wrote it.
    assert!(after(&lock[..9]).status.success());
}

/// Whether this process, and so its children, ignore SIGHUP.
fn hang_ups_are_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 == 1))
}

#[test]
fn signals_end_a_training_with_their_own_code_after_a_save() {
    let tiny = Tiny::new();
    for (name, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        if name == "-HUP" && hang_ups_are_ignored() {
            println!("skipped: SIGHUP is ignored here, as under nohup, and the program respects that");
            continue;
        }
        let run = tiny.path(&format!("run{name}"));
        let child = spawn(&strings(&tiny.train(&run, &LONG)));
        wait_for_steps(&run);
        signal(&child, name);
        // The echo of a terminal or a process manager.
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(words.contains("continue with: segtool train --resume"), "{words}");
        assert_eq!(said(&output).matches("stopping as soon as").count(), 1);
    }
}

#[test]
fn a_later_second_signal_ends_it_at_once_and_what_was_saved_is_kept() {
    let Some(shim) = shim() else { return };
    let tiny = Tiny::new();
    let run = tiny.path("run");
    stdout_of(&strings(&tiny.train(&run, &["--num-epoch", "1,1", "--max-time", "1ms"])));
    // A save takes half a minute on this disk.
    let slow = [("FAULTS_SLOW", "4000")];
    let child = piped(&mut faulty(shim, &run, &slow, &["train", "--resume", &text(&run), "--save-every", "1ns"]));
    wait_for(|| run.join("last.new").exists());
    let began = Instant::now();
    signal(&child, "-INT");
    sleep(Duration::from_millis(300));
    signal(&child, "-INT");
    sleep(Duration::from_millis(1200));
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{}", said(&output));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    stdout_of(&["train", "--resume", &text(&run)]);
    let whole = tiny.path("whole");
    stdout_of(&strings(&tiny.train(&whole, &["--num-epoch", "1,1"])));
    assert!(weights(&run) == weights(&whole));
}

#[test]
fn a_hang_up_that_is_ignored_stays_ignored() {
    let tiny = Tiny::new();
    let run = tiny.path("run");
    let arguments = tiny.train(&run, &LONG);
    let child = piped(Command::new("nohup").arg(env!("CARGO_BIN_EXE_segtool")).args(&arguments));
    wait_for_steps(&run);
    let before = weights(&run);
    signal(&child, "-HUP");
    wait_for(|| fs::read(run.join("last/model.safetensors")).is_ok_and(|now| now != before));
    signal(&child, "-TERM");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143));
}

#[test]
fn a_forest_that_is_stopped_says_so_by_its_code() {
    let tiny = Tiny::new();
    let (core, labels, run) = (tiny.path("core.png"), tiny.path("labels.png"), tiny.path("forest"));
    image::RgbImage::from_fn(400, 300, |x, y| image::Rgb([(x * 7) as u8, (y * 11) as u8, 3])).save(&core).unwrap();
    image::GrayImage::from_fn(400, 300, |x, _| image::Luma([1 + (x % 2) as u8])).save(&labels).unwrap();
    let arguments = ["train", "--recipe", "hypercolumn-core", "--images", &text(&core), "--labels", &text(&labels)];
    let settings = ["--set", "forest.trees=20000", "--device", "flex", "--output-path", &text(&run)];
    let child = spawn(&[&arguments[..], &settings].concat());
    wait_for(|| run.join(LOCK).exists());
    sleep(Duration::from_millis(1500));
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{}", said(&output));
    assert!(said(&output).contains("nothing was written") && !run.exists(), "{}", said(&output));
}

#[test]
fn the_interval_of_saves_is_a_time_or_none() {
    let tiny = Tiny::new();
    for interval in ["0", "0s", "none", "90s"] {
        let run = tiny.path(&format!("run{interval}"));
        let epochs = ["--num-epoch", "1,1", "--save-every", interval];
        stdout_of(&strings(&tiny.train(&run, &epochs)));
    }
    let words = stderr_of(&strings(&tiny.train(&tiny.path("run"), &["--save-every", "often"])), 2);
    assert!(words.contains("is not a time such as 45s, 90m or 1h30m, or none"), "{words}");
}
