//! Runs that are killed, or whose disk fails, at each call that changes the disk.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use image::{GrayImage, Luma};
use segtool::run::Run;
use tempfile::tempdir;

use crate::common::faults::{BROKEN, Fate, KILL, NO_SPACE, at, shim, sweep};
use crate::common::tiny::{Tiny, resume};
use crate::common::{Segtool, copy_folder, read_json, segtool};

/// What was learned, file by file. Times differ from run to run.
fn learned(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    // The optimiser's state is in no order; what comes of it is in the weights.
    for name in ["model.safetensors", "last/model.safetensors", "last/average.safetensors"] {
        found.insert(name.to_owned(), fs::read(run.join(name)).unwrap());
    }
    for name in ["log.csv", "last/log.csv"] {
        let log = fs::read_to_string(run.join(name)).unwrap();
        let timeless: String = log.lines().map(|line| line.rsplitn(4, ',').last().unwrap().to_owned() + "\n").collect();
        found.insert(name.to_owned(), timeless.into_bytes());
    }
    let mut position = read_json(run.join("last/position.json"));
    position["seconds"] = 0.into();
    position["waited"] = 0.into();
    found.insert("position".into(), position.to_string().into_bytes());
    found
}

/// Everything below a folder but event files, of which each process begins one.
fn listing(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tensorboard" {
            names.extend(listing(&path).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

/// Goes on with a run as its user would: resumes it, or trains anew where it is no run yet.
fn go_on(tiny: &Tiny, run: &Path, what: &str) {
    let resumed = resume(run).output();
    if resumed.status.success() {
        return;
    }
    let said = String::from_utf8_lossy(&resumed.stderr).into_owned();
    assert!(said.contains("is not a run folder"), "{what}: {said}");
    tiny.train(run, &[]).run();
}

/// Checks that a run is the same, and that there is no more and no less in its folder. `whole` is to be said where nothing
/// failed that people read: a training goes on without it.
fn check_same(run: &Path, reference: &Path, whole: bool, what: &str) {
    let (found, expected) = (learned(run), learned(reference));
    for (name, bytes) in &expected {
        assert!(found[name] == *bytes, "{name} differs: {what}");
    }
    let names = |folder: &Path| -> Vec<String> {
        let needed = |name: &String| whole || !matches!(name.as_str(), "report.html" | "tensorboard");
        listing(folder).into_iter().filter(needed).collect()
    };
    assert_eq!(names(run), names(reference), "{what}");
}

/// Trains with a fault at each call, and checks that whatever it was, the run ends with the bits of one without.
fn sweep_training(step: usize, kind: &str, settings: &[(&str, &str)], more: &[&str]) -> usize {
    let Some(shim) = shim() else { return 0 };
    let tiny = Tiny::new();
    let reference = tiny.path("reference");
    tiny.train(&reference, more).run();
    let count = sweep(step, |number| {
        let run = tiny.path(&format!("run{number}"));
        let Fate { output, call } = at(shim, &run, (number, kind), settings, &tiny.train(&run, more));
        let Some(call) = call else { return false };
        let what = format!("{kind} at call {number}, {call}{}", String::from_utf8_lossy(&output.stderr));
        if kind == KILL {
            assert_eq!(output.status.code(), None, "{what}");
            // Killed a second time while it mends what the first time left, and sometimes later.
            at(shim, &run, (1 + number % 40, kind), settings, &resume(&run));
        }
        go_on(&tiny, &run, &what);
        check_same(&run, &reference, kind == KILL, &what);
        fs::remove_dir_all(run).unwrap();
        true
    });
    assert!(count > 10, "{count} calls");
    count
}

#[test]
fn a_training_killed_at_any_call_ends_with_the_same_bits() {
    println!("{} kills", sweep_training(1, KILL, &[], &[]));
}

#[test]
fn a_training_killed_within_an_epoch_ends_with_the_same_bits() {
    println!("{} kills", sweep_training(13, KILL, &[], &["--save-every", "1ns"]));
}

#[test]
fn a_full_or_broken_disk_ends_with_the_same_bits() {
    println!("{} full disks", sweep_training(9, NO_SPACE, &[], &[]));
    println!("{} broken disks", sweep_training(9, BROKEN, &[], &[]));
}

#[test]
fn folders_that_cannot_be_renamed_and_file_systems_without_links_do() {
    let settings = [("FAULTS_EXDEV", "1"), ("FAULTS_NO_LINKS", "1")];
    println!("{} kills", sweep_training(17, KILL, &settings, &[]));
}

/// The files of a forest's run, wherever they are, without what differs from time to time.
fn forest_files(run: &Path) -> Vec<Vec<u8>> {
    let Run::Forest(run) = Run::open(run).unwrap() else { panic!("a network") };
    let mut config = serde_json::to_value(&run.config).unwrap();
    config["started"] = "".into();
    let scores = read_json(run.scores_path());
    let report = fs::read_to_string(run.report_path()).unwrap();
    assert!(report.ends_with("</html>\n") || report.ends_with("</html>"));
    vec![
        config.to_string().into_bytes(),
        fs::read(run.forest_path()).unwrap(),
        fs::read(run.encoder_path()).unwrap(),
        fs::read(run.folder().join("samples.json")).unwrap(),
        scores["trees"].to_string().into_bytes(),
    ]
}

/// The command that trains a tiny forest of the files of `core`.
fn forest(folder: &Path, run: &Path, more: &[&str]) -> Segtool {
    let train = segtool("train").arg("--images", folder.join("core.png")).arg("--labels", folder.join("labels.png"));
    let train = train.args(&["--recipe", "hypercolumn-core", "--taps", "conv1_1", "--split", "none"]);
    train.args(&["--device", "flex"]).arg("--output-path", run).args(more)
}

fn core(folder: &Path) {
    let pixel = |x: u32, y: u32| image::Rgb([(x * 7) as u8, (y * 11) as u8, (x * y) as u8]);
    image::RgbImage::from_fn(32, 24, pixel).save(folder.join("core.png")).unwrap();
    let label = |x, y| Luma([if y % 6 == 0 { 1 + u8::from(x > 15) } else { 0 }]);
    GrayImage::from_fn(32, 24, label).save(folder.join("labels.png")).unwrap();
}

#[test]
fn a_forest_that_replaces_another_leaves_the_old_or_the_new_one() {
    let Some(shim) = shim() else { return };
    let folder = tempdir().unwrap();
    core(folder.path());
    let (data, path) = (folder.path(), |name: &str| folder.path().join(name));
    let old = ["--set", "forest.trees=2"];
    let new = ["--set", "forest.trees=3", "--seed", "5", "--overwrite"];
    forest(data, &path("old"), &old).run();
    forest(data, &path("new"), &new).run();
    let (old, expected) = (forest_files(&path("old")), forest_files(&path("new")));
    for (kind, step) in [(KILL, 1), (NO_SPACE, 3), (BROKEN, 3)] {
        let count = sweep(step, |number| {
            let run = path(&format!("{kind}{number}"));
            copy_folder(&path("old"), &run);
            let fate = at(shim, &run, (number, kind), &[], &forest(data, &run, &new));
            let Some(call) = fate.call else { return false };
            let what = format!("{kind} at call {number}, {call}");
            let found = forest_files(&run);
            assert!(found == old || found == expected, "{what}");
            forest(data, &run, &new).run();
            assert!(forest_files(&run) == expected, "{what}");
            assert_eq!(listing(&run), listing(&path("new")), "{what}");
            fs::remove_dir_all(run).unwrap();
            true
        });
        println!("{count} with {kind}");
        assert!(count > 10, "{count} with {kind}");
    }
}

#[test]
fn a_forest_killed_in_a_new_folder_is_trained_anew() {
    let Some(shim) = shim() else { return };
    let folder = tempdir().unwrap();
    core(folder.path());
    let (data, path) = (folder.path(), |name: &str| folder.path().join(name));
    let settings = ["--set", "forest.trees=2"];
    forest(data, &path("reference"), &settings).run();
    let count = sweep(3, |number| {
        let run = path(&format!("run{number}"));
        let fate = at(shim, &run, (number, KILL), &[], &forest(data, &run, &settings));
        let Some(call) = fate.call else { return false };
        let again = forest(data, &run, &settings).output();
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(again.status.success() || said.contains("already holds a run"), "{number}, {call}: {said}");
        assert!(forest_files(&run) == forest_files(&path("reference")), "{number}, {call}");
        // Whatever a network takes the place of.
        forest(data, &run, &[&settings[..], &["--overwrite"]].concat()).run();
        assert_eq!(listing(&run), listing(&path("reference")), "{number}, {call}");
        fs::remove_dir_all(run).unwrap();
        true
    });
    println!("{count} kills");
    assert!(count > 3, "{count} kills");
}

#[test]
fn a_network_killed_while_it_replaces_a_run_leaves_one_of_them() {
    let Some(shim) = shim() else { return };
    let tiny = Tiny::new();
    let (old, new) = (tiny.path("old"), tiny.path("new"));
    tiny.train(&old, &["--num-epoch", "1,1", "--seed", "9"]).run();
    tiny.train(&new, &[]).run();
    let count = sweep(13, |number| {
        let run = tiny.path(&format!("run{number}"));
        copy_folder(&old, &run);
        let fate = at(shim, &run, (number, KILL), &[], &tiny.train(&run, &["--overwrite"]));
        let Some(call) = fate.call else { return false };
        let what = format!("call {number}, {call}");
        resume(&run).run();
        let is_old = learned(&run)["model.safetensors"] == learned(&old)["model.safetensors"];
        check_same(&run, if is_old { &old } else { &new }, true, &what);
        fs::remove_dir_all(run).unwrap();
        true
    });
    println!("{count} kills");
    assert!(count > 3, "{count} kills");
}

#[test]
fn what_killed_programs_left_counts_as_nothing() {
    let folder = tempdir().unwrap();
    core(folder.path());
    let run = folder.path().join("run");
    fs::create_dir_all(run.join(".segtool-AbCdEf")).unwrap();
    for name in [".segtool-AbCdEf.tmp", ".segtool-0000beef-1-2-AbCdEf.tmp", ".segtool.lock"] {
        fs::write(run.join(name), "").unwrap();
    }
    forest(folder.path(), &run, &["--set", "forest.trees=2"]).run();
    assert!(listing(&run).iter().all(|name| !name.starts_with('.')), "{:?}", listing(&run));
}

#[test]
fn a_batch_clears_what_one_of_before_left_when_it_was_killed() {
    let Some(shim) = shim() else { return };
    let folder = tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::create_dir_all(&from).unwrap();
    image::RgbImage::from_fn(8, 8, |x, y| image::Rgb([x as u8, y as u8, 9])).save(from.join("a.png")).unwrap();
    let convert = segtool("rgb2gray").flag("--overwrite").arg("--input-folder", &from).arg("--output-folder", &to);
    let mut left = 0;
    for number in 1.. {
        let fate = at(shim, &to, (number, KILL), &[], &convert);
        left += usize::from(to.exists() && listing(&to).iter().any(|name| name.starts_with(".segtool-")));
        convert.run();
        assert_eq!(listing(&to), ["a.png"], "{:?}", fate.call);
        if fate.call.is_none() {
            break;
        }
    }
    assert!(left > 0);
}

#[test]
fn a_log_that_cannot_be_written_is_a_note() {
    let tiny = Tiny::new();
    let (run, whole) = (tiny.path("run"), tiny.path("whole"));
    tiny.train(&whole, &[]).run();
    tiny.train(&run, &["--max-time", "1ms"]).run();
    for name in ["log.csv", "curves.png"] {
        fs::create_dir_all(run.join(name)).unwrap();
    }
    let said = resume(&run).says();
    for name in ["log.csv", "curves.png"] {
        assert!(said.contains(&format!("{name}: is a folder")) && said.contains("the training continues"), "{said}");
        fs::remove_dir(run.join(name)).unwrap();
        fs::copy(whole.join(name), run.join(name)).unwrap();
    }
    check_same(&run, &whole, true, "no log");
}
