//! Standard output and standard error that are full or closed, and numbers that no machine can serve.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use image::{Rgb, RgbImage};
use tempfile::TempDir;

use crate::common::{small_data, small_recipe, stderr_of, stdout_of, text};

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// The program with these arguments; standard output and error are thrown away unless changed.
fn program(arguments: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_segtool"));
    program.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    program
}

/// Runs it with a reader of standard error that goes at once.
fn without_reader(arguments: &[&str]) -> ExitStatus {
    let mut child = program(arguments).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    child.wait().unwrap()
}

/// A folder with data, and a recipe that trains in a second.
fn bench() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let recipe = small_recipe(folder.path(), 2);
    (folder, recipe)
}

#[test]
fn a_training_does_not_need_its_standard_error() {
    let (folder, recipe) = bench();
    let at = |name: &str| text(&folder.path().join(name));
    let (images, labels, run) = (at("data/images"), at("data/labels"), at("run"));
    let train = ["train", "--recipe", &recipe, "--images", &images, "--labels", &labels, "--val-fraction", "0.3"];
    let train = [&train[..], &["--device", "flex", "--overwrite", "--output-path", &run]].concat();
    let onto_a_full_disk = || program(&train).stderr(full()).status().unwrap();
    for ends in [&onto_a_full_disk as &dyn Fn() -> ExitStatus, &|| without_reader(&train)] {
        assert!(ends().success());
        assert!(Path::new(&run).join("report.html").exists());
        fs::remove_file(Path::new(&run).join("report.html")).unwrap();
    }
    // The whole log, to a reader that leaves after its first line.
    let line = format!("'{}' {} 2>&1 | head -1", env!("CARGO_BIN_EXE_segtool"), train.join(" "));
    let ends =
        Command::new("bash").args(["-c", &format!("{line} >/dev/null; exit ${{PIPESTATUS[0]}}")]).status().unwrap();
    assert!(ends.success() && Path::new(&run).join("report.html").exists(), "{ends}");
    // Closed from the start.
    let line = format!("exec '{}' {} 2>&-", env!("CARGO_BIN_EXE_segtool"), train.join(" "));
    assert!(Command::new("bash").args(["-c", &line]).stdout(Stdio::null()).status().unwrap().success());
}

#[test]
fn a_batch_does_not_need_its_standard_error() {
    let (folder, _) = bench();
    let at = |name: &str| text(&folder.path().join(name));
    let (good, gone, out) = (at("data/images/000.png"), at("gone.png"), at("gray"));
    let gray = ["rgb2gray", "--overwrite", "--output-folder", &out, &good, &gone];
    let scores = || {
        let (predictions, labels) = (at("p.txt"), at("l.txt"));
        fs::write(&predictions, "data/labels/000.png\ndata/labels/001.png\n").unwrap();
        // In another order, which is worth a note, and one that is missing.
        fs::write(&labels, "data/labels/001.png\ngone.png\n").unwrap();
        [predictions, labels]
    };
    let [predictions, labels] = scores();
    let metrics = ["metrics", "--list-predict", &predictions, "--list-true", &labels, "--dataset", "demo"];
    let wrong = ["metrics", "--list-predict", &gone, "--list-true", &labels, "--dataset", "demo"];
    for (arguments, code) in [(&gray[..], 3), (&metrics, 3), (&wrong, 1), (&["nothing"], 2)] {
        assert_eq!(program(arguments).stderr(full()).status().unwrap().code(), Some(code), "{arguments:?}");
        assert_eq!(without_reader(arguments).code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn results_that_cannot_be_printed_are_a_failure() {
    let (folder, recipe) = bench();
    let at = |name: &str| text(&folder.path().join(name));
    let (images, labels, run, out) = (at("data/images"), at("data/labels"), at("run"), at("out"));
    let train = ["train", "--recipe", &recipe, "--images", &images, "--labels", &labels, "--num-epoch", "1"];
    let train = [&train[..], &["--device", "flex", "--overwrite", "--output-path", &run]].concat();
    stdout_of(&train);
    let (image, gray, figures) = (at("data/images/000.png"), at("gray"), at("figures"));
    let predict = ["predict", "--run", &run, "--output-path", &out, &image];
    stdout_of(&predict);
    let (prediction, table) = (at("out/000.npy"), at("scores.csv"));
    let weights = at("weights.safetensors");
    let metrics = ["metrics", "--predictions", &labels, "--labels", &labels, "--dataset", "demo"];
    let commands: [&[&str]; 17] = [
        &train,
        &predict,
        &metrics,
        &[&metrics[..], &["--json"]].concat(),
        &[&metrics[..], &["--csv", "--per-image", &table]].concat(),
        &["rgb2gray", "--overwrite", "--output-folder", &gray, &image],
        &["concat", "--image-predict", &prediction, "--images", &image, "--output-path", &figures],
        &["dataset", &labels],
        &["dataset", &labels, "--json"],
        &["info", "--recipes"],
        &["info", "--print", "unet-seeps"],
        &["info", "--recipe", "unet-demo", "--size", "32"],
        &["bench", "--recipe", "unet-demo", "--steps", "1", "--size", "32"],
        &["import", &run, "--output", &weights],
        &["--help"],
        &["train", "--help"],
        &["--version"],
    ];
    for arguments in commands {
        let output = program(arguments).stdout(full()).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("standard output: No space left on device"), "{arguments:?}: {said}");
        // A reader that has seen enough is no failure.
        let mut child = program(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("error"), "{arguments:?}: {said}");
    }
}

#[test]
fn numbers_beyond_reason_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    fs::write(at("p.txt"), "a.png\n").unwrap();
    RgbImage::from_pixel(4, 4, Rgb([9, 200, 3])).save(at("a.png")).unwrap();
    let (list, image, out) = (at("p.txt"), at("a.png"), at("out"));
    let most = u64::MAX.to_string();
    let metrics = ["metrics", "--list-predict", &list, "--list-true", &list];
    let info = ["info", "--recipe", "unet-seeps"];
    let bench = ["bench", "--recipe", "unet-demo"];
    let gray = ["rgb2gray", "--output-folder", &out, &image];
    let train = ["train", "--recipe", "unet-demo", "--images", "i", "--labels", "l", "--output-path", &out];
    let predict = ["predict", "--run", "r", "--output-path", &out, &image];
    let wrong: [(&[&str], &str); 20] = [
        (&metrics[..], "--workers"),
        (&gray, "--workers"),
        (&train, "--workers"),
        (&predict, "--workers"),
        (&info, "--classes"),
        (&info, "--width"),
        (&info, "--batch"),
        (&info, "--size"),
        (&bench, "--classes"),
        (&bench, "--size"),
        (&bench, "--batch"),
        (&bench, "--width"),
        (&bench, "--steps"),
        (&train, "--num-epoch"),
        (&train, "--batch-size"),
        (&train, "--accumulate"),
        (&train, "--width"),
        (&train, "--patience"),
        (&predict, "--tile"),
        (&predict, "--batch-size"),
    ];
    // In turn: all these flags are read alike.
    let numbers = ["4294967296", &most, "99999999999999999999999999"];
    for ((command, flag), number) in wrong.into_iter().zip(numbers.into_iter().cycle()) {
        let said = stderr_of(&[command, &[&*format!("{flag}={number}")]].concat(), 2);
        assert!(said.contains("must be at most "), "{flag}: {said}");
    }
    // In range, and still more than there can be.
    for (command, more, code, expected) in [
        (&info[..], "--classes=1000000000", 2, "`network.outputs` is 1000000000; it must be 1 to 65535"),
        (&info, "--width=1000000000", 2, "width"),
        (&bench, "--classes=1000000000", 2, "`network.outputs` is 1000000000"),
        (&bench, "--size=1000000", 1, "use a smaller --batch, or use a smaller --size"),
        (&bench, "--batch=1000000000", 1, "use a smaller --batch, or use a smaller --size"),
        (&bench, "--width=1000000000", 2, "width"),
        (&metrics, "--num-class=1000000000", 2, "--num-class is 1000000000"),
    ] {
        let said = stderr_of(&[command, &[more]].concat(), code);
        assert!(said.contains(expected) && !said.contains("panicked"), "{more}: {said}");
    }
    assert!(stderr_of(&[&train[..], &["--max-time", "99999999999years"]].concat(), 2).contains("max-time"));
}

#[test]
fn threads_from_the_environment_are_limited() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    RgbImage::from_pixel(4, 4, Rgb([9, 200, 3])).save(at("a.png")).unwrap();
    let (image, out) = (at("a.png"), at("out"));
    for (number, noted) in [("1000000", true), ("18446744073709551615", true), ("2", false), ("0", false), ("x", false)]
    {
        let gray = ["rgb2gray", "--overwrite", "--output-folder", &out, &image];
        let output = program(&gray).env("RAYON_NUM_THREADS", number).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{number}: {said}");
        assert_eq!(said.contains(&format!("RAYON_NUM_THREADS is {number}; ")), noted, "{said}");
    }
}
