//! Batches that are killed, or whose disk fails, at each call that changes the disk.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use segtool::predict::{State, origins, read_journal};

use crate::common::faults::{BROKEN, Fate, KILL, NO_SPACE, at, faulty, shim, sweep};
use crate::common::tiny::{Tiny, strings};
use crate::common::{assert_says, stdout_of, text};

/// Name and bytes of every file in a folder.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    // A program that is killed early has not made it yet.
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        found.insert(path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
    }
    found
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    contents(from).into_iter().for_each(|(name, bytes)| fs::write(to.join(name), bytes).unwrap());
}

/// Arguments that predict four images with a run.
fn predict(tiny: &Tiny, run: &Path, results: &Path) -> Vec<String> {
    let images = (0..4).map(|i| text(&tiny.path(&format!("data/images/{i:03}.png"))));
    let first = ["predict", "--run", &text(run), "--output-path", &text(results), "--device", "flex", "--workers", "1"];
    let more = ["--prob", "--png", "--overwrite"];
    first.iter().chain(&more).map(ToString::to_string).chain(images).collect()
}

/// Each result is one of before or one of now, whole, and a list names those of one network or is known to mix them.
fn check_results(results: &Path, [before, now]: [&BTreeMap<String, Vec<u8>>; 2], what: &str) {
    let is_result = |name: &str| !name.starts_with(".segtool-") && !is_text(name);
    let found = contents(results);
    for (name, bytes) in found.iter().filter(|(name, _)| is_result(name)) {
        assert!(before.get(name) == Some(bytes) || now.get(name) == Some(bytes), "{name} is half: {what}");
    }
    let Some(list) = found.get("predictions.txt") else { return };
    let list = String::from_utf8(list.clone()).unwrap();
    let listed: Vec<PathBuf> = list.lines().map(|line| results.join(Path::new(line).file_name().unwrap())).collect();
    assert!(!listed.is_empty(), "{what}");
    let of = |all: &BTreeMap<String, Vec<u8>>| {
        listed.iter().all(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            found.get(&name).is_some_and(|bytes| all.get(&name) == Some(bytes))
        })
    };
    let notes = origins(listed.iter().map(PathBuf::as_path));
    assert!(of(before) || of(now) || !notes.is_empty(), "a list of both networks without a word: {what}");
}

#[test]
fn predictions_over_those_of_another_network_are_never_mixed_nor_half() {
    let Some(shim) = shim() else { return };
    let tiny = Tiny::new();
    let runs = ["a", "b"].map(|name| tiny.path(name));
    for (run, seed) in runs.iter().zip(["1", "2"]) {
        stdout_of(&strings(&tiny.train(run, &["--seed", seed])));
    }
    let [old, new] = ["old", "new"].map(|name| tiny.path(name));
    stdout_of(&strings(&predict(&tiny, &runs[0], &old)));
    copy_files(&old, &new);
    stdout_of(&strings(&predict(&tiny, &runs[1], &new)));
    let (before, now) = (contents(&old), contents(&new));
    assert!(before.iter().any(|(name, bytes)| name.ends_with(".npy") && now[name] != *bytes));
    for (kind, step) in [(KILL, 1), (NO_SPACE, 3), (BROKEN, 3)] {
        let count = sweep(step, |number| {
            let results = tiny.path(&format!("results-{kind}-{number}"));
            copy_files(&old, &results);
            let arguments = predict(&tiny, &runs[1], &results);
            let Fate { output, call } = at(shim, &results, (number, kind), &[], &strings(&arguments));
            let Some(call) = call else { return false };
            let what = format!("{kind} at call {number}, {call}{}", String::from_utf8_lossy(&output.stderr));
            check_results(&results, [&before, &now], &what);
            stdout_of(&strings(&arguments));
            let after = contents(&results);
            assert_eq!(after.keys().collect::<Vec<_>>(), now.keys().collect::<Vec<_>>(), "{what}");
            assert!(after.iter().all(|(name, bytes)| is_text(name) || now[name] == *bytes), "{what}");
            fs::remove_dir_all(results).unwrap();
            true
        });
        println!("{count} with {kind}");
        assert!(count > 10, "{count} calls with {kind}");
    }
}

/// Holds paths, which differ from folder to folder, or times.
fn is_text(name: &str) -> bool {
    matches!(name, "predictions.txt" | "predictions.json" | "predictions.jsonl")
}

#[test]
fn a_set_that_ends_at_any_call_goes_on_to_the_same_bytes() {
    let Some(shim) = shim() else { return };
    let tiny = Tiny::new();
    let (run, whole) = (tiny.path("run"), tiny.path("whole"));
    stdout_of(&strings(&tiny.train(&run, &[])));
    let arguments = |results: &Path| {
        let arguments = predict(&tiny, &run, results).into_iter().filter(|argument| argument != "--overwrite");
        arguments.chain(["--skip-existing".to_owned()]).collect::<Vec<String>>()
    };
    stdout_of(&strings(&arguments(&whole)));
    let timeless = |folder: &Path| {
        let mut found = contents(folder);
        found.remove("predictions.jsonl");
        found
    };
    let expected = timeless(&whole);
    for (kind, step) in [(KILL, 1), (NO_SPACE, 2), (BROKEN, 2)] {
        let count = sweep(step, |number| {
            let results = tiny.path(&format!("results-{kind}-{number}"));
            let Fate { output, call } = at(shim, &results, (number, kind), &[], &strings(&arguments(&results)));
            let Some(call) = call else { return false };
            let said = String::from_utf8_lossy(&output.stderr);
            let what = format!("{kind} at call {number}, {call}{said}");
            for (name, bytes) in contents(&results).iter().filter(|(name, _)| name.ends_with("npy")) {
                assert!(expected[name] == *bytes, "{name} is half: {what}");
            }
            let journal = read_journal(&results).unwrap();
            let done = journal.values().filter(|line| line.state == State::Done).count();
            let again = stdout_of(&strings(&arguments(&results)));
            assert!(done == 0 || again.contains(&format!("; {done} were there already")), "{what}{again}");
            assert!(timeless(&results) == expected, "{what}");
            assert_eq!(read_journal(&results).unwrap().len(), 4, "{what}");
            fs::remove_dir_all(results).unwrap();
            true
        });
        println!("{count} with {kind}");
        assert!(count > 10, "{count} calls with {kind}");
    }
}

#[test]
fn an_image_that_hangs_is_left_out_and_the_rest_is_predicted() {
    let Some(shim) = shim() else { return };
    let tiny = Tiny::new();
    let (run, results) = (tiny.path("run"), tiny.path("results"));
    stdout_of(&strings(&tiny.train(&run, &[])));
    let images = text(&tiny.path("data/images"));
    let output_path = text(&results);
    let arguments = ["predict", "--run", &text(&run), "--output-path", &output_path, "--device", "flex", &images]
        .map(str::to_owned);
    let within = [&strings(&arguments)[..], &["--read-timeout", "500ms"]].concat();
    let output = faulty(shim, &results, &[("FAULTS_HANG", "images/002.png")], &within).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let words =
        ["002.png: could not be opened within 500ms: its disk or network does not", "--read-timeout", "1 of 5 "];
    assert_says(&said, &words);
    let list = || fs::read_to_string(results.join("predictions.txt")).unwrap();
    assert_eq!(list(), "000.npy\n001.npy\n003.npy\n004.npy\n");
    let journal = read_journal(&results).unwrap();
    let line = journal.values().find(|line| line.input.ends_with("002.png")).unwrap();
    assert!(line.state == State::Skipped && line.reason.as_ref().unwrap().contains("500ms"), "{line:?}");
    // The disk is back.
    let again = [&strings(&arguments)[..], &["--skip-existing"]].concat();
    assert!(stdout_of(&again).contains("1 prediction in "));
    assert_eq!(list().lines().count(), 5);
}

#[test]
fn a_full_disk_ends_the_work_in_words_and_keeps_what_is_there() {
    let Some(shim) = shim() else { return };
    let tiny = Tiny::new();
    let (run, results) = (tiny.path("run"), tiny.path("results"));
    stdout_of(&strings(&tiny.train(&run, &[])));
    let arguments = predict(&tiny, &run, &results);
    // Somewhere in the files of the second image.
    let number = (1..).find(|number| {
        let _ = fs::remove_dir_all(&results);
        let Fate { call, .. } = at(shim, &results, (*number, NO_SPACE), &[], &strings(&arguments));
        call.unwrap().contains("001_prob.npy")
    });
    let _ = fs::remove_dir_all(&results);
    let output = at(shim, &results, (number.unwrap(), NO_SPACE), &[], &strings(&arguments)).output;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let words = ["No space left on device", "001_prob.npy", "note: 1 of 4 images have complete results"];
    assert_says(&said, &[&words[..], &["which --skip-existing keeps"]].concat());
    assert_eq!(fs::read_to_string(results.join("predictions.txt")).unwrap(), "000.npy\n");
    let failed = read_journal(&results).unwrap().into_values().find(|line| line.state == State::Failed).unwrap();
    assert!(failed.input.ends_with("001.png") && failed.reason.unwrap().contains("No space left"));
}

#[test]
fn grey_images_are_whole_wherever_the_program_ends() {
    let Some(shim) = shim() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("from")).unwrap();
    for i in 0..3u8 {
        let pixel = |x: u32, y: u32| Rgb([x as u8 * 7 + i, y as u8 * 5, (x * y) as u8]);
        RgbImage::from_fn(16, 16, pixel).save(path("from").join(format!("{i}.png"))).unwrap();
    }
    let from = text(&path("from"));
    let arguments = |to: &str, method: &str| -> Vec<String> {
        let settings = ["rgb2gray", "--method", method, "--overwrite", "--workers", "1"];
        let folders = ["--input-folder", &from, "--output-folder", to];
        settings.into_iter().chain(folders).map(String::from).collect()
    };
    for (name, method) in [("old", "luminance"), ("new", "gleam")] {
        stdout_of(&strings(&arguments(&text(&path(name)), method)));
    }
    let (before, now) = (contents(&path("old")), contents(&path("new")));
    for (kind, step) in [(KILL, 1), (NO_SPACE, 1), (BROKEN, 1)] {
        let count = sweep(step, |number| {
            let to = path(&format!("to-{kind}-{number}"));
            copy_files(&path("old"), &to);
            let arguments = arguments(&text(&to), "gleam");
            let Fate { output, call } = at(shim, &to, (number, kind), &[], &strings(&arguments));
            let Some(call) = call else { return false };
            let what = format!("{kind} at call {number}, {call}{}", String::from_utf8_lossy(&output.stderr));
            for (name, bytes) in contents(&to).iter().filter(|(name, _)| !name.starts_with(".segtool-")) {
                assert!(before[name] == *bytes || now[name] == *bytes, "{name} is half: {what}");
            }
            stdout_of(&strings(&arguments));
            assert!(contents(&to) == now, "{what}");
            fs::remove_dir_all(to).unwrap();
            true
        });
        println!("{count} with {kind}");
        assert!(count > 3, "{count} calls with {kind}");
    }
}
