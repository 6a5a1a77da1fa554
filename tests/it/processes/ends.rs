//! When one process ends, all end, in words, with an exit code that is not 0.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::free_port;
use crate::common::{assert_says, segtool, signal, small_data, small_recipe, wait_for};

/// A training in `folder`.
fn training(folder: &Path, more: &[&str]) -> Command {
    let file = |name: &str| folder.join(name);
    let train = segtool("train").arg("--recipe", file("small.toml")).arg("--output-path", file("run"));
    let train = train.arg("--train-list", file("data/train_images.txt"));
    let train = train.arg("--label-list", file("data/train_labels.txt")).args(&["--device", "flex"]);
    let mut command = train.args(more).command();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The program as process `rank` of `size`.
fn process(rank: usize, size: usize, port: u16, folder: &Path, more: &[&str]) -> Child {
    training(folder, more)
        .envs([("RANK", rank.to_string()), ("WORLD_SIZE", size.to_string())])
        .envs([("LOCAL_RANK", rank.to_string()), ("LOCAL_WORLD_SIZE", size.to_string())])
        .envs([("MASTER_ADDR", "127.0.0.1".to_owned()), ("MASTER_PORT", port.to_string())])
        .spawn()
        .unwrap()
}

/// Exit code and standard error.
fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn prepared(epochs: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    small_recipe(folder.path(), epochs);
    folder
}

/// Until the run has a log of an epoch.
fn wait_for_an_epoch(folder: &Path) {
    wait_for(|| folder.join("run/log.csv").is_file());
}

#[test]
fn a_killed_process_ends_the_others() {
    for killed in [1, 0] {
        let folder = prepared(100_000);
        let port = free_port();
        let mut processes: Vec<_> = (0..2).map(|rank| process(rank, 2, port, folder.path(), &[])).collect();
        wait_for_an_epoch(folder.path());
        let mut victim = processes.remove(killed);
        victim.kill().unwrap();
        let since = Instant::now();
        victim.wait().unwrap();
        let (code, said) = ended(processes.remove(0));
        assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
        assert_eq!(code, Some(1), "{said}");
        assert_says(&said, &[&format!("process {killed}"), "ended unexpectedly"]);
    }
}

#[test]
fn what_ends_a_process_is_said_by_all() {
    // The second process cannot read an image.
    let folder = prepared(3);
    let other = prepared(3);
    for entry in fs::read_dir(other.path().join("data/images")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    }
    let port = free_port();
    let first = process(0, 2, port, folder.path(), &[]);
    let second = process(1, 2, port, other.path(), &[]);
    let ((first, of_first), (second, of_second)) = (ended(first), ended(second));
    assert_eq!((first, second), (Some(1), Some(1)), "{of_first}\n{of_second}");
    assert_says(&of_second, &["images/"]);
    assert_says(&of_first, &["process 1", "images/"]);
    assert!(!folder.path().join("run").exists());
}

#[test]
fn faults_that_all_find_are_listed_once() {
    let folder = prepared(3);
    for entry in fs::read_dir(folder.path().join("data/images")).unwrap() {
        fs::write(entry.unwrap().path(), "no image").unwrap();
    }
    let port = free_port();
    let processes = [0, 1].map(|rank| process(rank, 2, port, folder.path(), &[]));
    let [(first, of_first), (second, of_second)] = processes.map(ended);
    assert_eq!((first, second), (Some(1), Some(1)), "{of_first}\n{of_second}");
    assert_says(&of_first, &["images/"]);
    assert_says(&of_second, &["process 1 of 2: failed with the same error as process 0"]);
    assert!(!of_second.contains("images/"), "{of_second}");
}

#[test]
fn processes_that_are_told_different_things_are_found_before_they_begin() {
    let folder = prepared(1);
    let port = free_port();
    let first = process(0, 2, port, folder.path(), &["--seed", "1"]);
    let second = process(1, 2, port, folder.path(), &["--seed", "2"]);
    for (code, said) in [ended(first), ended(second)] {
        assert_eq!(code, Some(1), "{said}");
        assert_says(&said, &["process 1 of 2 trains with another seed", "'2' there, '1' in process 0"]);
    }
    assert!(!folder.path().join("run").exists());
}

#[test]
fn the_program_starts_processes_itself_and_stops_them_on_a_signal() {
    let folder = prepared(100_000);
    let child = training(folder.path(), &["--processes", "2"]).spawn().unwrap();
    wait_for_an_epoch(folder.path());
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    let (said, shown) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.status.code(), Some(143), "{said}");
    assert_says(&said, &["in 2 processes", "the batch size is that of all processes together"]);
    // One speaks for both.
    assert_eq!(shown.matches("stopped in epoch").count(), 1, "{shown}");
    assert_says(&shown, &["--resume"]);
    assert!(folder.path().join("run/last/position.json").is_file());
}
