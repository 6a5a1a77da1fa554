//! README and guide: every command in them is run on small made data, and every link leads somewhere.
//!
//! Commands stand in blocks of `sh`. A block after a comment `<!-- not run: REASON -->` needs what a test does not have
//! (a GPU, a download, a build); its options must exist all the same.

#![cfg(unix)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage};

use crate::common::made_core::{core, stroke};
use crate::common::{segtool, stdout_of};
use crate::help::{has_option, reviewed};

/// Width and height of the made images.
const SIDE: u32 = 64;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// README and all pages of the guide.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "md") {
                pages.push(entry);
            }
        }
    }
    pages.sort();
    pages
}

/// A block of commands.
struct Block {
    script: String,
    /// Why it is not run, if it is not.
    excuse: Option<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut excuse = None;
    let mut lines = page.lines().map(str::trim_start);
    while let Some(line) = lines.next() {
        if let Some(reason) = line.strip_prefix("<!-- not run: ").and_then(|line| line.strip_suffix(" -->")) {
            excuse = Some(reason.to_owned());
        } else if line == "```sh" {
            let script: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block { script: script.join("\n"), excuse: excuse.take() });
        } else if !line.is_empty() {
            excuse = None;
        }
    }
    blocks
}

/// Runs a page's commands, one block after the other, in a folder with what they read.
fn run(page: &str, prepare: impl Fn(&Path)) {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let program = bin.join("segtool");
    fs::write(&program, WRAPPER.replace("PROGRAM", env!("CARGO_BIN_EXE_segtool"))).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let world = folder.path().join("world");
    fs::create_dir(&world).unwrap();
    prepare(&world);
    let blocks = blocks(&text);
    assert!(blocks.iter().any(|block| block.excuse.is_none()), "{page} has no command that is run");
    for Block { script, .. } in blocks.iter().filter(|block| block.excuse.is_none()) {
        let output = Command::new("sh").args(["-ec", script]).current_dir(&world).env("PATH", &path).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{page}:\n{script}\n{errors}");
    }
}

/// One epoch shows whether a command works.
const WRAPPER: &str = r#"#!/bin/sh
case "$1" in train|demo)
    count=$#; given=; last=
    while [ "$count" -gt 0 ]; do
        word=$1; shift
        case "$last" in --num-epoch|--num_epoch) word=$(printf %s "$word" | sed 's/[0-9][0-9]*/1/g');; esac
        case "$word" in --num-epoch|--num_epoch|--resume|hypercolumn-core|--label-csv|--show-augmented) given=yes;; esac
        last=$word; set -- "$@" "$word"; count=$((count - 1))
    done
    [ -n "$given" ] || set -- "$@" --num-epoch 1
esac
exec "PROGRAM" "$@"
"#;

/// The options of commands that are not run.
fn check_options(page: &str, script: &str) {
    for line in script.replace("\\\n", " ").lines() {
        let mut words = line.split_whitespace();
        if words.next().is_none_or(|program| !program.ends_with("segtool")) {
            continue;
        }
        let help = reviewed(words.next().unwrap());
        for option in words.filter(|word| word.starts_with("--")) {
            let name = option.split('=').next().unwrap();
            assert!(has_option(&help, name), "{page}: {line}: {name}");
        }
    }
}

/// What is drawn at a pixel: something with edges, the same in image and label.
fn shape(x: u32, y: u32, seed: u32) -> bool {
    let (x, y) = (x as i32 - 20 - 3 * seed as i32, y as i32 - 30);
    x * x + y * y < 200
}

fn photo(seed: u32) -> RgbImage {
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let noise = ((x * 31 + y * 17 + seed * 7) % 23) as u8;
        if shape(x, y, seed) { Rgb([200 + noise, 120, 60]) } else { Rgb([40 + noise, 80 + noise, 110]) }
    })
}

fn grey(seed: u32) -> GrayImage {
    image::imageops::grayscale(&photo(seed))
}

fn labels(seed: u32, values: [u8; 2]) -> GrayImage {
    GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([values[usize::from(shape(x, y, seed))]]))
}

/// A folder of files, one for each of `names`, with its number.
fn fill(folder: &Path, names: &[&str], write: impl Fn(u32, &Path)) {
    fs::create_dir_all(folder).unwrap();
    for (seed, name) in names.iter().enumerate() {
        write(seed as u32, &folder.join(name));
    }
}

/// A list of the files of a folder.
fn list(world: &Path, name: &str, folder: &str, files: &[&str]) {
    let lines: String = files.iter().map(|file| format!("{folder}/{file}\n")).collect();
    fs::write(world.join(name), lines).unwrap();
}

const NAMES: [&str; 6] = ["a.png", "b.png", "c.png", "d.png", "e.png", "f.png"];
const NEW: [&str; 2] = ["g.png", "h.png"];

/// Photographs with masks of 0 and 255, and with colours.
fn own_data(world: &Path) {
    for (folder, names) in [("photos", &NAMES[..]), ("new-photos", &NEW)] {
        fill(&world.join(folder), names, |seed, path| photo(seed).save(path).unwrap());
    }
    for (folder, names) in [("masks", &NAMES[..]), ("new-masks", &NEW)] {
        fill(&world.join(folder), names, |seed, path| labels(seed, [0, 255]).save(path).unwrap());
    }
    fill(&world.join("color-masks"), &NAMES, |seed, path| {
        let color = |x, y| if shape(x, y, seed) { Rgb([230, 159, 0]) } else { Rgb([0, 0, 0]) };
        RgbImage::from_fn(SIDE, SIDE, color).save(path).unwrap();
    });
    for (images, labels, own) in
        [("train_images.txt", "train_masks.txt", &NAMES[..4]), ("val_images.txt", "val_masks.txt", &NAMES[4..])]
    {
        list(world, images, "photos", own);
        list(world, labels, "masks", own);
    }
}

/// The data of the page before it trains: data set file, run and predictions.
fn own_run(world: &Path) {
    own_data(world);
    let at = |name: &str| world.join(name).display().to_string();
    stdout_of(&["dataset", &at("masks"), "--images", &at("photos"), "--output", &at("my.toml")]);
    segtool("train")
        .args(&["--recipe", "unet-milesial", "--dataset", &at("my.toml"), "--images", &at("photos")])
        .args(&["--labels", &at("masks"), "--val-fraction", "0.3", "--num-epoch", "1", "--width", "4"])
        .args(&["--output-path", &at("runs/my")])
        .run();
}

/// The data with a data set file and annotations of COCO.
fn own_annotations(world: &Path) {
    own_data(world);
    let at = |name: &str| world.join(name).display().to_string();
    let images = ["--images", &at("photos")].map(str::to_owned);
    let call = |arguments: &[&str]| {
        let all: Vec<&str> = arguments.iter().copied().chain(images.iter().map(String::as_str)).collect();
        stdout_of(&all);
    };
    call(&["dataset", &at("masks"), "--output", &at("my.toml")]);
    let annotations = at("annotations.json");
    call(&["convert", &at("masks"), "--dataset", &at("my.toml"), "--to", "coco", "--output", &annotations]);
    fs::remove_file(world.join("my.toml")).unwrap();
}

/// [`own_run`] with its predictions, and lists of values from 1.
fn own_predictions(world: &Path) {
    own_run(world);
    let at = |name: &str| world.join(name).display().to_string();
    stdout_of(&["predict", "--run", &at("runs/my"), "--output-path", &at("predictions"), &at("photos")]);
    ade_lists(world);
}

/// Label maps with values from 1 as predictions and as labels, in two lists.
fn ade_lists(world: &Path) {
    for folder in ["predicted", "true"] {
        fill(&world.join(folder), &NAMES, |seed, path| labels(seed, [1, 7]).save(path).unwrap());
    }
    list(world, "P.txt", "predicted", &NAMES);
    list(world, "L.txt", "true", &NAMES);
}

#[test]
fn readme() {
    run("README.md", own_data);
}

#[test]
fn getting_started() {
    run("docs/getting-started.md", own_data);
}

#[test]
fn your_data() {
    run("docs/your-data.md", own_annotations);
}

#[test]
#[cfg(feature = "serve")]
fn labelling() {
    run("docs/labelling.md", |world| {
        for folder in ["cores", "archive"] {
            fs::create_dir(world.join(folder)).unwrap();
            core().save(world.join(folder).join("a.png")).unwrap();
        }
        crate::serve_labelling::label_and_save(&world.join("cores"));
    });
}

#[test]
fn checking() {
    run("docs/checking.md", own_data);
}

#[test]
fn training() {
    run("docs/training.md", |world| {
        own_data(world);
        let at = |name: &str| world.join(name).display().to_string();
        stdout_of(&["dataset", &at("masks"), "--images", &at("photos"), "--output", &at("my.toml")]);
    });
}

#[test]
fn prediction() {
    run("docs/prediction.md", |world| {
        own_run(world);
        let file = fs::File::create(world.join("scene.tif")).unwrap();
        let mut encoder = tiff::encoder::TiffEncoder::new(file).unwrap();
        let mut image = encoder.new_image::<tiff::encoder::colortype::RGB8>(SIDE, SIDE).unwrap();
        for (code, values) in [(33550, &[10.0, 10.0, 0.0][..]), (33922, &[0.0, 0.0, 0.0, 4e5, 52e5, 0.0])] {
            image.encoder().write_tag(tiff::tags::Tag::from_u16_exhaustive(code), values).unwrap();
        }
        let keys = tiff::tags::Tag::from_u16_exhaustive(crate::geotiff::KEYS);
        image.encoder().write_tag(keys, crate::geotiff::UTM).unwrap();
        image.write_data(photo(3).as_raw()).unwrap();
    });
}

#[test]
fn metrics() {
    run("docs/metrics.md", own_predictions);
}

#[test]
fn large_sets() {
    run("docs/large-sets.md", own_run);
}

#[test]
fn images() {
    run("docs/images.md", own_predictions);
}

#[test]
fn weights() {
    run("docs/weights.md", own_run);
}

/// 16-bit tiles with rare classes.
#[test]
fn seeps() {
    run("docs/systems/seeps.md", |world| {
        let tile = |seed: u32| {
            ImageBuffer::<Luma<u16>, Vec<u16>>::from_fn(SIDE, SIDE, |x, y| {
                Luma([u16::from(grey(seed).get_pixel(x, y).0[0]) * 100 + 3])
            })
        };
        let names = NAMES.map(|name| name.replace("png", "tif"));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        fill(&world.join("images"), &names, |seed, path| tile(seed).save(path).unwrap());
        fill(&world.join("masks"), &names, |seed, path| labels(seed, [0, seed as u8 % 7 + 1]).save(path).unwrap());
        for (set, own) in [("train", &names[..4]), ("val", &names[4..])] {
            list(world, &format!("{set}_images.txt"), "images", own);
            list(world, &format!("{set}_masks.txt"), "masks", own);
        }
        tile(9).save(world.join("scene.tif")).unwrap();
    });
}

#[test]
fn cores() {
    run("docs/systems/cores.md", |world| {
        core().save(world.join("core.png")).unwrap();
        image::RgbaImage::from_fn(240, 40, stroke).save(world.join("strokes.png")).unwrap();
    });
}

#[test]
fn earthquake() {
    run("docs/systems/earthquake.md", |world| {
        for (i, name) in NAMES.iter().enumerate() {
            let tile = world.join("stage1_train").join(format!("tile-{i}"));
            fill(&tile.join("images"), &[name], |_, path| photo(i as u32).save(path).unwrap());
            fill(&tile.join("masks"), &["building-1.png"], |_, path| labels(i as u32, [0, 255]).save(path).unwrap());
        }
        photo(9).save(world.join("scene.png")).unwrap();
    });
}

#[test]
fn mit() {
    run("docs/systems/mit.md", |world| {
        for (images, annotations, names) in [("train", "trainannot", &NAMES[..]), ("val", "valannot", &NEW)] {
            fill(&world.join(images), names, |seed, path| photo(seed).save(path).unwrap());
            fill(&world.join(annotations), names, |seed, path| labels(seed, [3, 8]).save(path).unwrap());
        }
    });
}

#[test]
fn pspnet() {
    run("docs/systems/pspnet.md", |world| {
        own_data(world);
        ade_lists(world);
        labels(1, [3, 8]).save(world.join("label.png")).unwrap();
        let map = ndarray::Array2::<i64>::from_shape_fn((SIDE as usize, SIDE as usize), |(y, _)| 1 + y as i64);
        ndarray_npy::write_npy(world.join("ADE_val_00001772.npy"), &map).unwrap();
        photo(2).save(world.join("ADE_val_00001772.jpg")).unwrap();
        for (images, annotations) in [("slices", "slice-masks"), ("slices-raw", "slices-labels")] {
            fill(&world.join(images), &NAMES, |seed, path| grey(seed).save(path).unwrap());
            fill(&world.join(annotations), &NAMES, |seed, path| {
                labels(seed, [0, seed as u8 % 3 + 1]).save(path).unwrap()
            });
        }
        for (set, own) in [("train", &NAMES[..4]), ("val", &NAMES[4..])] {
            list(world, &format!("{set}_images.txt"), "slices", own);
            list(world, &format!("{set}_masks.txt"), "slice-masks", own);
        }
    });
}

#[test]
fn every_page_with_commands_is_run() {
    let run: BTreeSet<&str> = [
        "README.md",
        "getting-started.md",
        "your-data.md",
        "training.md",
        "prediction.md",
        "metrics.md",
        "labelling.md",
        "large-sets.md",
        "images.md",
        "weights.md",
        "seeps.md",
        "checking.md",
        "cores.md",
        "earthquake.md",
        "mit.md",
        "pspnet.md",
    ]
    .into();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let name = page.file_name().unwrap().to_str().unwrap();
        let runs = blocks(&text).iter().any(|block| block.excuse.is_none());
        assert_eq!(runs, run.contains(name), "{}", page.display());
        blocks(&text)
            .iter()
            .filter(|block| block.excuse.is_some())
            .for_each(|block| check_options(name, &block.script));
    }
}

#[test]
fn links_and_figures_are_there() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if !target.is_empty() && !target.starts_with("http") {
                assert!(page.parent().unwrap().join(target).exists(), "{}: {link}", page.display());
            }
        }
        assert!(!text.contains("{{"), "{}: a placeholder is left", page.display());
    }
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    for page in pages().iter().filter(|page| page.starts_with(root().join("docs"))) {
        let name = page.strip_prefix(root().join("docs")).unwrap().display().to_string();
        assert!(name == "SUMMARY.md" || summary.contains(&format!("({name})")), "SUMMARY.md does not list {name}");
    }
    assert!(fs::metadata(root().join("README.md")).unwrap().len() <= 10 << 10);
}
