//! One process a run, and how signals end it.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::faults::{faulty, shim};
use crate::common::tiny::{Tiny, resume};
use crate::common::{Segtool, copy_folder, segtool, signal, wait_for};

const LOCK: &str = ".segtool.lock";
/// More epochs than any test waits for.
const LONG: [&str; 2] = ["--num-epoch", "20000,1"];

fn spawn(segtool: &Segtool) -> Child {
    piped(&mut segtool.command())
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
    let child = spawn(&tiny.train(&run, &LONG));
    wait_for_steps(&run);
    let named = format!("{}: is being trained by process {} (since ", run.display(), child.id());
    let core = tiny.path("core.png");
    image::GrayImage::new(8, 8).save(&core).unwrap();
    let forest = segtool("train").arg("--recipe", "hypercolumn-core").arg("--images", &core).arg("--labels", &core);
    let forest = forest.flag("--overwrite").arg("--output-path", &run);
    for train in [resume(&run), tiny.train(&run, &["--overwrite"]), tiny.train(&run, &[]), forest] {
        let words = train.fails_with(1);
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
    tiny.train(&whole, &[]).run();
    tiny.train(&base, &["--max-time", "1ms"]).run();
    let pairs = std::env::var("SEGTOOL_PAIRS").map_or(6, |pairs| pairs.parse().unwrap());
    let mut refused = 0;
    for pair in 0..pairs {
        let run = tiny.path(&format!("pair{pair}"));
        let train = if pair % 2 == 0 {
            copy_folder(&base, &run);
            resume(&run)
        } else {
            tiny.train(&run, &[])
        };
        let first = spawn(&train);
        sleep(Duration::from_millis(pair * 3 % 25));
        let second = spawn(&train);
        let both = [first, second].map(|child| child.wait_with_output().unwrap());
        assert!(both.iter().any(|output| output.status.success()), "{}{}", said(&both[0]), said(&both[1]));
        for output in &both {
            let words = said(output);
            let known = ["is being trained by", "already holds a run"].iter().any(|text| words.contains(text));
            assert!(output.status.success() || known, "{words}");
            refused += usize::from(!output.status.success());
        }
        resume(&run).run();
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
    let mut child = spawn(&tiny.train(&run, &LONG));
    wait_for_steps(&run);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(run.join(LOCK).exists());
    let words = resume(&run).arg("--max-time", "1ms").says();
    assert!(words.contains("resuming"), "{words}");
    assert!(!run.join(LOCK).exists());
}

#[test]
fn without_locks_of_the_file_system_the_process_counts() {
    let Some(shim) = shim() else { return };
    let tiny = Tiny::new();
    let run = tiny.path("run");
    let settings = [("FAULTS_NO_LOCKS", "1")];
    let resume = resume(&run).arg("--max-time", "1ms");
    let child = piped(&mut faulty(shim, &run, &settings, &tiny.train(&run, &LONG)));
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
        let child = spawn(&tiny.train(&run, &LONG));
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
    tiny.train(&run, &["--num-epoch", "1,1", "--max-time", "1ms"]).run();
    // A save takes half a minute on this disk.
    let slow = [("FAULTS_SLOW", "4000")];
    let child = piped(&mut faulty(shim, &run, &slow, &resume(&run).arg("--save-every", "1ns")));
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
    resume(&run).run();
    let whole = tiny.path("whole");
    tiny.train(&whole, &["--num-epoch", "1,1"]).run();
    assert!(weights(&run) == weights(&whole));
}

#[test]
fn a_hang_up_that_is_ignored_stays_ignored() {
    let tiny = Tiny::new();
    let run = tiny.path("run");
    let train = tiny.train(&run, &LONG).command();
    let child = piped(Command::new("nohup").arg(train.get_program()).args(train.get_args()));
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
    let train = segtool("train").arg("--recipe", "hypercolumn-core").arg("--images", &core).arg("--labels", &labels);
    let train = train.args(&["--set", "forest.trees=20000", "--device", "flex"]).arg("--output-path", &run);
    let child = spawn(&train);
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
        tiny.train(&run, &["--num-epoch", "1,1", "--save-every", interval]).run();
    }
    let words = tiny.train(&tiny.path("run"), &["--save-every", "often"]).fails_with(2);
    assert!(words.contains("is not a time such as 45s, 90m or 1h30m, or none"), "{words}");
}
