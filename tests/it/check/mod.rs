//! `segtool check`: a small clean set, copies of it with one fault each (`planted`), and the command as a user types it
//! (`command`), also on a table of points (`table`). Crops saved as JPEG are in `recoded`.

mod command;
mod planted;
mod recoded;
mod review;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma};
use segtool::base::Size;
use segtool::check::{Check, Kind, Report, Severity};
use segtool::data::synthetic::section;
use segtool::data::{Dataset, pair_lists};
use segtool::train::{Source, Validation};

use crate::common::real::unpacked;

/// Side of the images.
const SIDE: u32 = 96;
/// Images to learn from, and to score.
const TRAINING: u64 = 12;
const VALIDATION: u64 = 4;

/// A part of a made section, with edges where its labels have them.
fn section_part(index: u64, left: usize, width: usize) -> (GrayImage, GrayImage) {
    let size = Size { width: 2 * SIDE as usize, height: SIDE as usize };
    let made = section(5, index, size);
    let at = |x: u32, y: u32| y as usize * size.width + left + x as usize;
    let class = |x, y| made.labels.classes[at(x, y)] as u8;
    let image = |x, y| Luma([made.pixels[at(x, y)] / 4 + 60 * class(x, y)]);
    let width = width as u32;
    (GrayImage::from_fn(width, SIDE, image), GrayImage::from_fn(width, SIDE, |x, y| Luma([class(x, y)])))
}

/// The label images of a [`Set`].
fn label_names() -> impl Iterator<Item = String> {
    let folder = |index: u64| if index < TRAINING { "labels" } else { "val_labels" };
    (0..TRAINING + VALIDATION).map(move |index| format!("{}/{index:03}.png", folder(index)))
}

/// A set of training and validation folders without a fault.
struct Set {
    folder: tempfile::TempDir,
}

impl Set {
    fn new() -> Self {
        let set = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["images", "labels", "val_images", "val_labels"] {
            fs::create_dir(set.path(folder)).unwrap();
        }
        for index in 0..TRAINING + VALIDATION {
            let prefix = if index < TRAINING { "" } else { "val_" };
            set.write(prefix, &format!("{index:03}.png"), section_part(index, 0, SIDE as usize));
        }
        set
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a pair into the folders whose names begin with `prefix`.
    fn write(&self, prefix: &str, name: &str, (image, label): (GrayImage, GrayImage)) {
        image.save(self.path(&format!("{prefix}images")).join(name)).unwrap();
        label.save(self.path(&format!("{prefix}labels")).join(name)).unwrap();
    }

    /// Changes an image.
    fn change(&self, name: &str, value: impl Fn(u32, u32, u8) -> u8) {
        let path = self.path(name);
        let old = image::open(&path).unwrap().to_luma8();
        let new = GrayImage::from_fn(old.width(), old.height(), |x, y| Luma([value(x, y, old.get_pixel(x, y)[0])]));
        new.save(path).unwrap();
    }

    fn check(&self) -> Check {
        let folders =
            |images: &str, labels: &str| Source::Folders { images: self.path(images), labels: self.path(labels) };
        Check {
            validation: Validation::Source(folders("val_images", "val_labels")),
            dataset: Some(Dataset::find("demo").unwrap()),
            ..Check::new(folders("images", "labels"))
        }
    }

    fn report(&self) -> Report {
        self.check().run(&|_| ()).unwrap()
    }
}

/// Kinds and severities of what was found.
fn kinds(report: &Report) -> Vec<(Kind, Severity)> {
    report.findings.iter().map(|finding| (finding.kind, finding.severity)).collect()
}

/// What a real data set's check finds beyond notes.
fn faults_of(name: &str, labels: &str) -> Option<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let data = unpacked(name, folder.path())?;
    let pairs = |side: &str| {
        let lists = [format!("{side}_images.txt"), format!("{side}_{labels}.txt")].map(|list| data.join(list));
        Source::Pairs(pair_lists(&lists[0], &lists[1], &|_| ()).unwrap())
    };
    let check = Check {
        validation: Validation::Source(pairs("val")),
        dataset: Some(Dataset::find(name).unwrap()),
        ..Check::new(pairs("train"))
    };
    let report = check.run(&|_| ()).unwrap();
    let serious = report.findings.iter().filter(|finding| finding.severity != Severity::Note);
    Some(serious.map(|finding| finding.message.clone()).collect())
}

#[test]
fn clean_real_sets_have_no_faults() {
    for (name, labels) in [("camvid", "labels"), ("seeps", "masks"), ("parihaka", "masks")] {
        let Some(found) = faults_of(name, labels) else { continue };
        assert_eq!(found, Vec::<String>::new(), "{name}");
    }
}

fn list(set: &Set, name: &str, files: &[String]) -> PathBuf {
    let path: PathBuf = set.path(name);
    fs::write(&path, files.iter().map(|file| format!("{file}\n")).collect::<String>()).unwrap();
    path
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}
