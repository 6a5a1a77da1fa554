//! Crops of one scene that were saved as JPEG since.

use std::fs::{self, File};

use image::codecs::jpeg::JpegEncoder;
use image::{GrayImage, Luma};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segtool::check::{Check, Finding, Kind, Report, Severity};
use segtool::data::Dataset;
use segtool::train::{Source, Validation};

use super::copy;

/// Images with labels of one class, for training and validation.
struct Photos {
    folder: tempfile::TempDir,
}

impl Photos {
    fn new() -> Self {
        let photos = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["images", "labels", "val_images", "val_labels"] {
            fs::create_dir(photos.folder.path().join(folder)).unwrap();
        }
        photos
    }

    /// Writes an image as JPEG of a quality.
    fn write(&self, prefix: &str, name: &str, image: &GrayImage, quality: u8) {
        let path = self.folder.path().join(format!("{prefix}images/{name}.jpg"));
        JpegEncoder::new_with_quality(File::create(path).unwrap(), quality).encode_image(image).unwrap();
        let label = GrayImage::from_pixel(image.width(), image.height(), Luma([0]));
        label.save(self.folder.path().join(format!("{prefix}labels/{name}.png"))).unwrap();
    }

    fn report(&self) -> Report {
        let path = |name: String| self.folder.path().join(name);
        let folders = |prefix: &str| Source::Folders {
            images: path(format!("{prefix}images")),
            labels: path(format!("{prefix}labels")),
        };
        let check = Check {
            validation: Validation::Source(folders("val_")),
            dataset: Some(Dataset::find("demo").unwrap()),
            ..Check::new(folders(""))
        };
        check.run(&|_| ()).unwrap()
    }
}

/// A soft texture, of 320x240 pixels.
fn texture(seed: u64) -> GrayImage {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let noise = GrayImage::from_fn(320, 240, |_, _| Luma([rng.random_range(0..=255)]));
    let soft = image::imageops::blur(&noise, 2.5);
    GrayImage::from_fn(320, 240, |x, y| {
        let value = 128.0 + 5.0 * (f32::from(soft.get_pixel(x, y)[0]) - 128.0);
        Luma([value.clamp(0.0, 255.0) as u8])
    })
}

fn crop(of: &GrayImage, left: u32, top: u32) -> GrayImage {
    image::imageops::crop_imm(of, left, top, 240, 180).to_image()
}

fn overlaps(report: &Report) -> Vec<&Finding> {
    report.of_kind(Kind::Overlap).collect()
}

#[test]
fn crops_across_the_split_are_found_though_compressed_apart() {
    let photos = Photos::new();
    let scene = texture(1);
    photos.write("", "a", &crop(&scene, 0, 0), 85);
    photos.write("", "other", &crop(&texture(2), 0, 0), 85);
    photos.write("val_", "b", &crop(&scene, 53, 37), 75);
    let report = photos.report();
    let [found] = overlaps(&report)[..] else { panic!("{:?}", report.findings) };
    assert_eq!((found.severity, found.places.len()), (Severity::Warning, 1), "{found:?}");
    let place = &found.places[0];
    assert!(place.file.ends_with("images/a.jpg") && place.with.as_ref().unwrap().ends_with("val_images/b.jpg"));
    assert!(place.detail.contains("begins at (53, 37) in the first"), "{place:?}");
}

#[test]
fn different_scenes_are_no_crops() {
    let photos = Photos::new();
    for seed in 0..8 {
        photos.write(if seed < 6 { "" } else { "val_" }, &format!("{seed}"), &texture(10 + seed), 80);
    }
    let report = photos.report();
    assert!(overlaps(&report).is_empty(), "{:?}", report.findings);
}

#[test]
fn identical_files_are_duplicates_and_nothing_else() {
    let photos = Photos::new();
    photos.write("", "a", &texture(3), 80);
    for to in ["", "val_"] {
        let path = |name: &str| photos.folder.path().join(name);
        copy(&path("images/a.jpg"), &path(&format!("{to}images/c.jpg")));
        copy(&path("labels/a.png"), &path(&format!("{to}labels/c.png")));
    }
    let report = photos.report();
    let found = report.of_kind(Kind::Duplicate).next().unwrap();
    assert_eq!(found.places.len(), 2, "{found:?}");
    let others = [Kind::Overlap, Kind::NearDuplicate].map(|kind| report.of_kind(kind).count());
    assert_eq!(others, [0, 0], "{:?}", report.findings);
}
