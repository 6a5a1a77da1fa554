//! Batches that are killed, or whose disk fails, at each call that changes the disk.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use segtool::predict::{State, origins, read_journal};

use crate::common::faults::{BROKEN, Fate, KILL, NO_SPACE, at, faulty, shim, sweep};
use crate::common::tiny::Tiny;
use crate::common::{Segtool, assert_says, copy_folder, segtool};

const OVERWRITE: &str = "--overwrite";

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

/// The command that predicts four images with a run.
fn predict(tiny: &Tiny, run: &Path, results: &Path, existing: &str) -> Segtool {
    let predict = segtool("predict").arg("--run", run).arg("--output-path", results);
    let predict = predict.args(&["--device", "flex", "--workers", "1", "--prob", "--png", existing]);
    (0..4).fold(predict, |predict, i| predict.file(tiny.path(&format!("data/images/{i:03}.png"))))
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
        tiny.train(run, &["--seed", seed]).run();
    }
    let [old, new] = ["old", "new"].map(|name| tiny.path(name));
    predict(&tiny, &runs[0], &old, OVERWRITE).run();
    copy_folder(&old, &new);
    predict(&tiny, &runs[1], &new, OVERWRITE).run();
    let (before, now) = (contents(&old), contents(&new));
    assert!(before.iter().any(|(name, bytes)| name.ends_with(".npy") && now[name] != *bytes));
    for (kind, step) in [(KILL, 1), (NO_SPACE, 3), (BROKEN, 3)] {
        let count = sweep(step, |number| {
            let results = tiny.path(&format!("results-{kind}-{number}"));
            copy_folder(&old, &results);
            let predict = predict(&tiny, &runs[1], &results, OVERWRITE);
            let Fate { output, call } = at(shim, &results, (number, kind), &[], &predict);
            let Some(call) = call else { return false };
            let what = format!("{kind} at call {number}, {call}{}", String::from_utf8_lossy(&output.stderr));
            check_results(&results, [&before, &now], &what);
            predict.run();
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
    tiny.train(&run, &[]).run();
    let predict = |results: &Path| predict(&tiny, &run, results, "--skip-existing");
    predict(&whole).run();
    let timeless = |folder: &Path| {
        let mut found = contents(folder);
        found.remove("predictions.jsonl");
        found
    };
    let expected = timeless(&whole);
    for (kind, step) in [(KILL, 1), (NO_SPACE, 2), (BROKEN, 2)] {
        let count = sweep(step, |number| {
            let results = tiny.path(&format!("results-{kind}-{number}"));
            let Fate { output, call } = at(shim, &results, (number, kind), &[], &predict(&results));
            let Some(call) = call else { return false };
            let said = String::from_utf8_lossy(&output.stderr);
            let what = format!("{kind} at call {number}, {call}{said}");
            for (name, bytes) in contents(&results).iter().filter(|(name, _)| name.ends_with("npy")) {
                assert!(expected[name] == *bytes, "{name} is half: {what}");
            }
            let journal = read_journal(&results).unwrap();
            let done = journal.values().filter(|line| line.state == State::Done).count();
            let again = predict(&results).run();
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
    tiny.train(&run, &[]).run();
    let predict = segtool("predict").arg("--run", &run).arg("--output-path", &results).args(&["--device", "flex"]);
    let predict = predict.file(tiny.path("data/images"));
    let within = predict.clone().arg("--read-timeout", "500ms");
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
    assert!(predict.flag("--skip-existing").run().contains("1 prediction in "));
    assert_eq!(list().lines().count(), 5);
}

#[test]
fn a_full_disk_ends_the_work_in_words_and_keeps_what_is_there() {
    let Some(shim) = shim() else { return };
    let tiny = Tiny::new();
    let (run, results) = (tiny.path("run"), tiny.path("results"));
    tiny.train(&run, &[]).run();
    let predict = predict(&tiny, &run, &results, OVERWRITE);
    // Somewhere in the files of the second image.
    let number = (1..).find(|number| {
        let _ = fs::remove_dir_all(&results);
        let Fate { call, .. } = at(shim, &results, (*number, NO_SPACE), &[], &predict);
        call.unwrap().contains("001_prob.npy")
    });
    let _ = fs::remove_dir_all(&results);
    let output = at(shim, &results, (number.unwrap(), NO_SPACE), &[], &predict).output;
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
    let convert = |to: &Path, method: &str| {
        let convert = segtool("rgb2gray").args(&["--method", method, "--overwrite", "--workers", "1"]);
        convert.arg("--input-folder", path("from")).arg("--output-folder", to)
    };
    for (name, method) in [("old", "luminance"), ("new", "gleam")] {
        convert(&path(name), method).run();
    }
    let (before, now) = (contents(&path("old")), contents(&path("new")));
    for (kind, step) in [(KILL, 1), (NO_SPACE, 1), (BROKEN, 1)] {
        let count = sweep(step, |number| {
            let to = path(&format!("to-{kind}-{number}"));
            copy_folder(&path("old"), &to);
            let convert = convert(&to, "gleam");
            let Fate { output, call } = at(shim, &to, (number, kind), &[], &convert);
            let Some(call) = call else { return false };
            let what = format!("{kind} at call {number}, {call}{}", String::from_utf8_lossy(&output.stderr));
            for (name, bytes) in contents(&to).iter().filter(|(name, _)| !name.starts_with(".segtool-")) {
                assert!(before[name] == *bytes || now[name] == *bytes, "{name} is half: {what}");
            }
            convert.run();
            assert!(contents(&to) == now, "{what}");
            fs::remove_dir_all(to).unwrap();
            true
        });
        println!("{count} with {kind}");
        assert!(count > 3, "{count} calls with {kind}");
    }
}
