//! Large sets: stopped and gone on with, shared out over machines, in folders below folders.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use image::{GrayImage, Luma};
use segtool::nn::device::DeviceChoice;
use segtool::nn::precision::Precision;
use segtool::predict::{JOURNAL, Options, Outputs, Predictor, Shard, State, Target, read_journal};

use crate::common::{Segtool, assert_says, files_below, segtool, small_run, text, wait_for};

/// Images to predict.
struct Set {
    folder: tempfile::TempDir,
}

impl Set {
    /// With `count` images in the folder `images`.
    fn new(count: u32) -> Self {
        let set = Self { folder: tempfile::tempdir().unwrap() };
        (0..count).for_each(|number| set.draw(&format!("images/{number:03}.png"), number));
        set
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn draw(&self, name: &str, seed: u32) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        GrayImage::from_fn(96, 64, |x, y| Luma([((x * 7 + y * 13 + seed * 29) % 251) as u8])).save(path).unwrap();
    }

    /// Predicts into a folder; what to predict is still to be added.
    fn predict(&self, out: &str) -> Segtool {
        let predict = segtool("predict").arg("--run", small_run()).arg("--device", "flex").flag("--prob");
        predict.arg("--output-path", self.path(out))
    }

    /// Predicts all images into a folder.
    fn predict_images(&self, out: &str) -> Segtool {
        self.predict(out).file(self.path("images"))
    }

    /// The files of a folder but the journal, which holds times, by their names below it.
    fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = files_below(&self.path(folder));
        found.retain(|name, _| !name.ends_with(JOURNAL));
        found
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn complete_results_are_kept_and_only_these() {
    let set = Set::new(6);
    fs::write(set.path("images/bad.png"), "no image").unwrap();
    set.predict_images("out").fails_with(3);
    let whole = set.files("out");
    let journal = read_journal(&set.path("out")).unwrap();
    assert_eq!(journal.values().filter(|line| line.state == State::Done).count(), 6);
    let bad = journal.values().find(|line| line.input.ends_with("bad.png")).unwrap();
    assert!(bad.state == State::Skipped && bad.files.is_empty() && bad.reason.is_some());
    assert_eq!(lines(&set.path("out").join(JOURNAL)).len(), 7);
    let again = || set.predict_images("out").flag("--skip-existing");
    let goes_on = |count: usize| {
        let said = again().fails_with(3);
        let kept = format!("{} of 7 images have complete results in ", 6 - count);
        assert_says(&said, &["1 of 7 images were", if count == 6 { "" } else { &kept }]);
        assert!(set.files("out") == whole);
    };
    goes_on(0);
    // A file that is gone, one of another size, an image that was touched, and the end of a journal.
    fs::remove_file(set.path("out/000.npy")).unwrap();
    fs::write(set.path("out/001.npy"), "half").unwrap();
    let image = fs::File::options().append(true).open(set.path("images/002.png")).unwrap();
    image.set_modified(std::time::SystemTime::now() - Duration::from_secs(9)).unwrap();
    goes_on(3);
    let journal = fs::read(set.path("out").join(JOURNAL)).unwrap();
    fs::write(set.path("out").join(JOURNAL), &journal[..journal.len() - 250]).unwrap();
    goes_on(1);
    fs::remove_file(set.path("out").join(JOURNAL)).unwrap();
    goes_on(6);
    // Further files, other options.
    let said = again().flag("--png").fails_with(3);
    assert_says(&said, &["note: replacing 6 results of the same network"]);
    assert!(!said.contains("have complete results"), "{said}");
    assert_says(&again().flag("--flip").fails_with(1), &["was made by run ", "--overwrite"]);
    assert!(!again().flag("--flip").flag("--overwrite").fails_with(3).contains("have complete results"));
    let said = again().flag("--flip").fails_with(3);
    assert_says(&said, &["6 of 7 images have complete results"]);
}

#[test]
fn a_record_that_is_not_ours_is_not_added_to() {
    let set = Set::new(1);
    fs::create_dir(set.path("out")).unwrap();
    fs::write(set.path("out").join(JOURNAL), "{\"mine\": 1}\n").unwrap();
    assert_says(&set.predict_images("out").fails_with(1), &["predictions.jsonl already exists", "--overwrite"]);
    set.predict_images("out").flag("--overwrite").run();
    assert_eq!(lines(&set.path("out").join(JOURNAL)).len(), 1);
}

#[test]
fn four_shards_give_the_same_files() {
    let set = Set::new(10);
    set.predict_images("whole").run();
    let shard = |out: &str, shard: &str| set.predict_images(out).arg("--shard", shard);
    std::thread::scope(|scope| {
        for index in 1..=4 {
            let shard = &shard;
            scope.spawn(move || shard("shards", &format!("{index}/4")).run());
        }
    });
    assert!(set.files("shards") == set.files("whole"));
    assert_eq!(lines(&set.path("shards").join(JOURNAL)).len(), 10);
    // A shard that was lost is made up for, by whatever command.
    fs::remove_file(set.path("shards/002.npy")).unwrap();
    assert_says(&shard("shards", "3/4").flag("--skip-existing").says(), &["1 of 2 images have complete results"]);
    assert!(set.files("shards") == set.files("whole"));
    assert_says(&shard("shards", "11/11").flag("--skip-existing").says(), &["there are no images of shard 11 of 11"]);
    let said = set.predict_images("shards").flag("--skip-existing").says();
    assert_says(&said, &["10 of 10 images have complete results"]);
    assert!(set.files("shards") == set.files("whole"));
    // Scores of parts add up to those of the whole.
    let scored = |list: &str, more: &[&str]| {
        let metrics = segtool("metrics").arg("--list-predict", set.path(list)).arg("--list-true", set.path(list));
        metrics.arg("--dataset", "demo").args(more).flag("--json").run()
    };
    for part in 0..11 {
        let shard = format!("{}/11", part + 1);
        let partial = text(&set.path(&format!("part{part}.json")));
        scored("whole/predictions.txt", &["--shard", &shard, "--partial", &partial]);
    }
    let parts = (0..11).map(|part| set.path(&format!("part{part}.json")));
    let merged = parts.fold(segtool("metrics").flag("--merge"), Segtool::file).flag("--json").run();
    assert_eq!(merged, scored("whole/predictions.txt", &[]));
}

#[test]
fn schedulers_spread_the_shards() {
    let set = Set::new(5);
    set.predict_images("whole").run();
    let task = |out: &str, shard: &str, variables: &[(&str, String)]| {
        let mut program = set.predict_images(out).arg("--shard", shard).command();
        let output = program.envs(variables.iter().map(|(name, value)| (*name, value))).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    for index in 0..3 {
        let number = |index: i32| index.to_string();
        let slurm = [
            ("SLURM_ARRAY_TASK_ID", number(index + 7)),
            ("SLURM_ARRAY_TASK_MIN", number(7)),
            ("SLURM_ARRAY_TASK_COUNT", number(3)),
        ];
        task("slurm", "auto", &slurm);
        let batch = [("AWS_BATCH_JOB_ARRAY_INDEX", number(index)), ("AWS_BATCH_JOB_ARRAY_SIZE", number(3))];
        task("batch", "auto", &batch);
        task("kubernetes", "auto/3", &[("JOB_COMPLETION_INDEX", number(index))]);
    }
    for out in ["slurm", "batch", "kubernetes"] {
        assert!(set.files(out) == set.files("whole"), "{out}");
    }
    for (shard, words) in [("0/3", "I/N with I from 1 to N"), ("3", "I/N, as in 3/8"), ("auto", "none of SLURM_ARRAY")]
    {
        assert_says(&set.predict_images("out").arg("--shard", shard).fails_with(2), &[words]);
    }
    let without = segtool("predict").arg("--run", small_run()).arg("--shard", "1/2").file(set.path("images"));
    assert_says(&without.fails_with(2), &["--output-path"]);
}

#[test]
fn folders_below_keep_their_results_apart() {
    let set = Set::new(2);
    for (name, seed) in [("images/a/000.png", 7), ("images/a/b/000.png", 8), ("images/c/000.png", 9)] {
        set.draw(name, seed);
    }
    set.predict_images("flat").run();
    set.predict_images("deep").flag("--recursive").run();
    let names = ["000.npy", "001.npy", "a/000.npy", "a/b/000.npy", "c/000.npy"];
    assert_eq!(lines(&set.path("deep/predictions.txt")), names);
    assert!(names.iter().all(|name| set.files("deep").contains_key(*name)));
    assert_eq!(set.files("deep")["000_prob.npy"], set.files("flat")["000_prob.npy"]);
    assert!(set.files("deep")["000_prob.npy"] != set.files("deep")["a/000_prob.npy"]);
    let again = set.predict_images("deep").flag("--recursive").flag("--skip-existing").says();
    assert_says(&again, &["5 of 5 images have complete results"]);
    // A pattern finds the same, and so does a folder that holds the results of before.
    set.predict("pattern").file(set.path("images/**/*.png")).run();
    set.predict("images/out").flag("--recursive").flag("--png").file(set.path("images")).run();
    set.predict("images/out").flag("--recursive").flag("--png").file(set.path("images")).run();
    for out in ["pattern", "images/out"] {
        assert_eq!(lines(&set.path(out).join("predictions.txt")), names, "{out}");
        names.iter().for_each(|name| assert_eq!(set.files(out)[*name], set.files("deep")[*name], "{out}"));
    }
    // Who made them is known further up.
    let list = set.path("deep/predictions.txt");
    let metrics = segtool("metrics").arg("--list-predict", &list).arg("--list-true", &list).arg("--dataset", "demo");
    assert!(!metrics.says().contains("not recorded"));
    set.predict_images("deep").flag("--recursive").flag("--flip").flag("--overwrite").run();
    fs::copy(set.path("images/out/a/000.npy"), set.path("deep/a/copy.npy")).unwrap();
    let mixed = set.path("mixed.txt");
    fs::write(&mixed, "deep/a/000.npy\nimages/out/a/000.npy\n").unwrap();
    let metrics = segtool("metrics").arg("--list-predict", &mixed).arg("--list-true", &mixed).arg("--dataset", "demo");
    assert_says(&metrics.says(), &["predictions with different options: 1 by run "]);
    // Equal names in one folder stay a fault.
    let both = set.predict("both").file(set.path("images/a/000.png")).file(set.path("images/c/000.png"));
    assert_says(&both.fails_with(1), &["a/000.png and ", "would both be written as"]);
    assert_says(&set.predict("none").file(set.path("images/*.jpg")).fails_with(1), &["no file matches this pattern"]);
}

#[test]
fn a_set_that_is_killed_again_and_again_ends_with_the_same_bytes() {
    let set = Set::new(40);
    let began = Instant::now();
    set.predict_images("whole").run();
    let time = began.elapsed();
    let mut kept = 0;
    for kill in 1..=5u32 {
        let mut program = set.predict_images("killed").flag("--skip-existing").command();
        let mut child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(time * (2 + kill) / 10);
        child.kill().unwrap();
        child.wait().unwrap();
        let done = read_journal(&set.path("killed")).unwrap().len();
        assert!(done >= kept, "{done} after {kept}");
        kept = done;
    }
    let said = set.predict_images("killed").flag("--skip-existing").run();
    let expected = if kept == 0 { String::new() } else { format!("; {kept} were there already") };
    assert_says(&said, &["listed in ", &expected]);
    assert!(set.files("killed") == set.files("whole"));
}

#[test]
fn a_file_beyond_the_limit_ends_the_work_in_words() {
    let set = Set::new(2);
    GrayImage::new(600, 600).save(set.path("images/001.png")).unwrap();
    let (run, out, images) = (text(small_run()), text(&set.path("out")), text(&set.path("images")));
    let program = env!("CARGO_BIN_EXE_segtool");
    // In blocks of 512 or 1024 bytes.
    let line = format!("ulimit -f 64; exec {program} predict --device flex --run {run} --output-path {out} {images}");
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_says(&said, &["cannot write ", "001.npy", "File too large", "1 of 2 images have complete results"]);
    assert_eq!(lines(&set.path("out/predictions.txt")), ["000.npy"]);
}

#[test]
fn an_output_folder_that_vanishes_ends_the_work_in_words() {
    let set = Set::new(60);
    let predict = set.predict_images("out").args(&["--tile", "16", "--stride", "4"]);
    let child = predict.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(|| set.path("out/001.npy").exists());
    fs::rename(set.path("out"), set.path("away")).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_says(&said, &["cannot write", "out", "No such file or directory", "which --skip-existing keeps"]);
    assert!(!set.path("out").exists());
    // It is back.
    fs::rename(set.path("away"), set.path("out")).unwrap();
    assert_says(&predict.flag("--skip-existing").run(), &["were there already"]);
    assert_eq!(lines(&set.path("out/predictions.txt")).len(), 60);
}

#[test]
fn the_library_has_it_all() {
    let set = Set::new(4);
    let predictor = Predictor::open_on(small_run(), DeviceChoice::Flex, Precision::Float32).unwrap();
    let inputs: Vec<PathBuf> = (0..4).map(|number| set.path(&format!("images/{number:03}.png"))).collect();
    let (folder, outputs, options) =
        (set.path("out"), Outputs { prob: true, ..Outputs::default() }, Options::default());
    let predict = |target: &Target<'_>| predictor.predict_files(&inputs, target, &outputs, &options, &|_| ()).unwrap();
    let shard = Some(Shard::new(2, 3).unwrap());
    let part = predict(&Target { shard, ..Target::new(&folder) });
    assert_eq!((part.inputs, part.kept, part.written), (1, 0, vec![folder.join("001.npy")]));
    let rest = predict(&Target { skip_existing: true, ..Target::new(&folder) });
    assert_eq!((rest.inputs, rest.kept, rest.written.len()), (4, 1, 3));
}
