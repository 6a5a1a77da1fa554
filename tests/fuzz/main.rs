//! Damaged files of every kind that is read, by the thousand: nothing panics, hangs, or takes more memory than it may. A
//! minute of it belongs to the tests; `SEGTOOL_FUZZ_SECONDS=3600 cargo test --release --test fuzz -- --nocapture` goes on
//! for an hour. Inputs that broke something lie in `tests/fixtures/fuzz`, in a folder for each target.
//!
//! A crate of its own, for the whole process has an allocator that counts, a memory limit and a quiet panic hook.

#![allow(clippy::unwrap_used)]

mod allocator;
mod claims;
mod images;
mod mutate;
mod repair;
mod run;
mod seeds;

use std::collections::BTreeMap;
use std::path::Path;

use segtool::annotation;
use segtool::base::Size;
use segtool::data::{Dataset, read_label_csv, read_list};
use segtool::image::{
    npy_size, read_image, read_image_npy, read_label_npy, read_labels, read_probability_npy, read_size,
};
use segtool::pixels::forest::{Features, Forest};
use segtool::recipe::Recipe;
use segtool::run::{Run, find_dataset};
use segtool::tools::score::Partial;
use segtool::weights::{Checkpoint, Weights};

use run::{Target, fuzz};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

#[test]
fn arrays() {
    let read = |path: &Path| {
        npy_size(path);
        [read_label_npy(path).is_ok(), read_probability_npy(path).is_ok(), read_image_npy(path).is_ok()].contains(&true)
    };
    fuzz(&Target { name: "npy", file: "a.npy", seeds: seeds::arrays(), repair: repair::npy, read: &read });
}

#[test]
fn label_images() {
    let read = |path: &Path| {
        read_size(path);
        read_labels(path).is_ok()
    };
    // What is no label image, such as a GIF, is not among the seeds.
    let seeds: Vec<Vec<u8>> = [images::pngs(), images::bmps(), images::tiffs()]
        .concat()
        .into_iter()
        .filter(|seed| seeds::is_sound(seed, |path| read_labels(path).is_ok()))
        .collect();
    assert!(seeds.len() > 12, "{}", seeds.len());
    fuzz(&Target { name: "labels", file: "a.image", seeds, repair: repair::png, read: &read });
}

#[test]
fn color_images() {
    let read = |path: &Path| {
        read_size(path);
        read_image(path).is_ok()
    };
    let kinds =
        [images::pngs(), images::jpegs(), images::bmps(), images::webps(), images::tiffs(), vec![images::gif()]];
    let seeds: Vec<Vec<u8>> =
        kinds.concat().into_iter().filter(|seed| seeds::is_sound(seed, |path| read_image(path).is_ok())).collect();
    assert!(seeds.len() > 15, "{}", seeds.len());
    fuzz(&Target { name: "images", file: "a.image", seeds, repair: repair::png, read: &read });
}

#[test]
fn lists() {
    let read = |path: &Path| read_list(path, &|_| ()).is_ok();
    fuzz(&Target { name: "lists", file: "a.txt", seeds: seeds::lists(), repair: repair::nothing, read: &read });
}

#[test]
fn data_sets() {
    let read = |path: &Path| {
        let found = Dataset::find(&path.to_string_lossy());
        found.is_ok_and(|dataset| dataset.merged().class_count() == 2 && !dataset.shown_colors().is_empty())
    };
    fuzz(&Target { name: "datasets", file: "a.toml", seeds: seeds::data_sets(), repair: repair::nothing, read: &read });
}

#[test]
fn recipes() {
    let data_sets: BTreeMap<&str, Dataset> =
        Dataset::names().map(|name| (name, Dataset::find(name).unwrap())).collect();
    let own = |name: &Option<String>| data_sets.get(name.as_deref().unwrap_or("demo"));
    let read = |path: &Path| match Recipe::find(&path.to_string_lossy()) {
        Ok(Recipe::Network(mut recipe)) => own(&recipe.dataset).is_some_and(|own| recipe.fit(own).is_ok()),
        Ok(Recipe::Forest(recipe)) => own(&recipe.dataset).is_some_and(|own| recipe.check(own).is_ok()),
        Err(_) => false,
    };
    fuzz(&Target { name: "recipes", file: "a.toml", seeds: seeds::recipes(), repair: repair::nothing, read: &read });
}

/// Whether a file of an annotation tool is read and drawn.
fn is_drawn(path: &Path) -> bool {
    let size = Size { width: 96, height: 64 };
    let Ok(annotations) = annotation::open(path) else { return false };
    annotations.images.iter().all(|image| {
        let shapes = annotations.shapes(image, path, size);
        // Those on a map need an image that has a place there.
        let shapes = shapes.map_or_else(|_| image.shapes.clone(), |shapes| shapes.into_owned());
        annotation::draw(&shapes, size, 0, |_| Ok(1)).is_ok()
    })
}

#[test]
fn annotations() {
    let seeds = seeds::annotations();
    fuzz(&Target { name: "annotations", file: "a.json", seeds, repair: repair::nothing, read: &is_drawn });
}

#[test]
fn shapefiles() {
    let read = |path: &Path| {
        for ending in ["shx", "dbf"] {
            std::fs::write(path.with_extension(ending), seeds::fixture(&format!("annotations/map.{ending}"))).unwrap();
        }
        is_drawn(path)
    };
    let seeds = vec![seeds::fixture("annotations/map.shp")];
    fuzz(&Target { name: "shapefiles", file: "a.shp", seeds, repair: repair::nothing, read: &read });
}

#[test]
fn label_tables() {
    let dataset = Dataset::find("demo").unwrap();
    let read = |path: &Path| {
        let size = Size { width: 100, height: 60 };
        read_label_csv(path, &dataset, None)
            .is_ok_and(|tables| tables.iter().all(|table| table.paint(path, size).is_ok()))
    };
    let seeds = seeds::label_tables();
    fuzz(&Target { name: "csv", file: "a.csv", seeds, repair: repair::nothing, read: &read });
}

/// Whether a file holds the weights of a network that it makes whole.
fn are_weights(path: &Path) -> bool {
    let checkpoint = Checkpoint::open(&[path.into()]);
    checkpoint.and_then(|checkpoint| Weights::recognise(checkpoint, None)?.check()).is_ok()
}

#[test]
fn checkpoints() {
    let seeds = seeds::checkpoints();
    fuzz(&Target { name: "checkpoints", file: "a.pth", seeds, repair: repair::zip, read: &are_weights });
}

#[test]
fn safetensors() {
    let (seeds, repair) = (seeds::safetensors(), repair::safetensors);
    fuzz(&Target { name: "safetensors", file: "a.safetensors", seeds, repair, read: &are_weights });
}

#[test]
fn run_folders() {
    let read = |path: &Path| {
        let folder = path.parent().unwrap();
        find_dataset(folder).is_ok() && Run::open(folder).is_ok()
    };
    fuzz(&Target { name: "runs", file: "config.json", seeds: seeds::runs(), repair: repair::nothing, read: &read });
}

#[test]
fn partial_counts() {
    let read = |path: &Path| {
        let partial = Partial::merge(&[path]);
        partial.is_ok_and(|partial| partial.tally.matrix.classes() == partial.dataset.class_count())
    };
    fuzz(&Target { name: "partials", file: "a.json", seeds: seeds::partials(), repair: repair::nothing, read: &read });
}

#[test]
fn forests() {
    let read = |path: &Path| {
        let Ok(forest) = Forest::read(&std::fs::read(path).unwrap()) else { return false };
        if forest.features() < 1000 {
            let values: Vec<f32> = (0..8 * forest.features()).map(|i| i as f32).collect();
            forest.probabilities(&Features::rows(&values, forest.features()).unwrap()).unwrap();
        }
        true
    };
    fuzz(&Target { name: "forests", file: "forest.bin", seeds: seeds::forests(), repair: repair::forest, read: &read });
}
