//! Lists, data sets and disks that a training cannot begin or go on with.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Bench;
use crate::common::{assert_says, read_json, read_tensors};

#[test]
fn an_empty_list_is_refused() {
    let bench = Bench::new();
    let list = bench.data("empty.txt");
    fs::write(&list, "# no line\n\n").unwrap();
    assert_says(&bench.refused(&list, &bench.data("train_labels.txt")), &["empty.txt", "names no files"]);
}

#[test]
fn a_missing_list_is_refused() {
    let bench = Bench::new();
    assert_says(&bench.refused("nowhere.txt", &bench.data("train_labels.txt")), &["cannot read nowhere.txt"]);
}

#[test]
fn faults_of_a_data_set_are_listed_together() {
    let bench = Bench::new();
    let images = bench.path("data/images");
    // Missing, truncated, of another size, of an unknown value: one pair each.
    fs::remove_file(images.join("000.png")).unwrap();
    let whole = fs::read(images.join("001.png")).unwrap();
    fs::write(images.join("001.png"), &whole[..whole.len() / 2]).unwrap();
    image::GrayImage::new(31, 32).save(images.join("002.png")).unwrap();
    let mut label = image::open(bench.path("data/labels/003.png")).unwrap().into_luma8();
    label.put_pixel(5, 7, image::Luma([9]));
    label.save(bench.path("data/labels/003.png")).unwrap();
    fs::write(images.join("004.png"), b"").unwrap();
    let message = bench.refused(&bench.data("train_images.txt"), &bench.data("train_labels.txt"));
    assert_says(
        &message,
        &[
            "the data set has 5 faults",
            "000.png: No such file",
            "001.png: damaged or unsupported image",
            "002.png is 31x32",
            "labels/002.png is 32x32",
            "003.png: label 9 at pixel (5, 7), in 1 of its pixels; data set 'demo' defines values 0..=3",
            "004.png: the file is empty",
        ],
    );
}

#[test]
fn at_most_twenty_faults_are_listed_with_their_total() {
    let bench = Bench::new();
    let list = bench.data("many.txt");
    let names: String = (0..30).map(|i| format!("gone{i}.png\n")).collect();
    fs::write(&list, &names).unwrap();
    let message = bench.refused(&list, &list);
    assert_says(&message, &["the data set has 60 faults", "... and 40 more"]);
    assert_eq!(message.lines().filter(|line| line.contains("cannot read")).count(), 20);
}

#[test]
fn an_existing_run_is_kept_unless_told_otherwise() {
    let bench = Bench::new();
    let run = bench.trained();
    let weights = || fs::read(Path::new(&run).join("model.safetensors")).unwrap();
    let before = weights();
    assert_says(&bench.train(&run).fails_with(1), &["already holds a run", "--resume", "--overwrite"]);
    assert_eq!(weights(), before);
    bench.train(&run).flag("--overwrite").arg("--seed", "5").run();
    assert_ne!(weights(), before);
    // A folder that is no run is never replaced.
    let message = bench.train(bench.path("data")).flag("--overwrite").fails_with(1);
    assert_says(&message, &["is not a run folder"]);
}

/// Mounts a tmpfs on `folder`; `None`, saying so, where that is not allowed.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn new(folder: &'a Path, options: &str) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder).output();
        if status.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        #[allow(clippy::print_stdout)]
        {
            println!("skipped: a tmpfs cannot be mounted here");
        }
        None
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_leaves_no_half_files() {
    let bench = Bench::new();
    let disk = bench.path("disk");
    let Some(_mount) = Mount::new(&disk, "size=48k") else { return };
    let run = disk.join("run");
    let message = bench.train(&run).fails_with(1);
    assert_says(&message, &["cannot write", "No space left on device", "free some space"]);
    check_whole(&run);
    // The run that failed half-way can be overwritten, once there is room.
    assert_says(&bench.train(&run).flag("--overwrite").fails_with(1), &["cannot write", "No space left on device"]);
}

/// Every file below the folder is complete, and no temporary one is left over.
fn check_whole(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!name.contains(".segtool-") && !name.ends_with(".new"), "{name} is left over");
        match path.extension().and_then(|e| e.to_str()) {
            _ if path.is_dir() => check_whole(&path),
            Some("json") => drop(read_json(&path)),
            Some("png") => drop(image::open(&path).unwrap()),
            Some("safetensors") => drop(read_tensors(&path)),
            _ => {}
        }
    }
}

#[test]
fn a_read_only_folder_is_named_with_the_way_out() {
    let bench = Bench::new();
    let disk = bench.path("disk");
    let Some(_mount) = Mount::new(&disk, "ro") else { return };
    let message = bench.train(disk.join("run")).fails_with(1);
    assert_says(&message, &["cannot write", "Read-only file system", "--output-path"]);
}

#[test]
fn a_network_too_large_to_build_is_refused_at_once() {
    let bench = Bench::new();
    let message = bench.train(bench.path("run")).arg("--width", "200000").fails_with(2);
    assert_says(&message, &["width` 200000", "use a smaller --width"]);
}
