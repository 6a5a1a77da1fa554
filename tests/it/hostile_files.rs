//! Files that claim more than they hold, hang a parser or have no end: each is an error of that file alone.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use segtool::data::{ClassPresence, Dataset, find_images, pair_folders};
use segtool::image::{Samples, read_image, read_labels, read_size};
use segtool::recipe::NetworkRecipe;
use segtool::run::{NetworkRun, NetworkRunConfig, Run, Samples as Pairs};
use segtool::weights::{Checkpoint, Weights};
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use crate::common::{npy, output_of, read_json, text};

/// A PNG of 8-bit grey whose header claims `side * side` pixels, and that holds one byte.
fn huge_png(side: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().unwrap();
    writer.write_chunk(png::chunk::IDAT, &[0x78, 1, 1, 1, 0, 0xfe, 0xff, 0, 0, 1, 0, 1]).unwrap();
    drop(writer);
    bytes
}

#[test]
fn a_nested_header_and_a_huge_label_image_cost_only_their_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let nested = format!("{}'|u1'{}", "[".repeat(40), "]".repeat(40));
    fs::write(at("good.npy"), npy(1, "'|u1'", false, "(24, 32)", &[1; 768])).unwrap();
    fs::write(at("nested.npy"), npy(1, &nested, false, "(24, 32)", &[1; 768])).unwrap();
    fs::write(at("huge.png"), huge_png(400_000)).unwrap();
    fs::write(at("p.txt"), "nested.npy\ngood.npy\nhuge.png\ngood.npy\n").unwrap();
    fs::write(at("l.txt"), "good.npy\nhuge.png\ngood.npy\ngood.npy\n").unwrap();
    let began = Instant::now();
    let (predictions, labels) = (text(&at("p.txt")), text(&at("l.txt")));
    let output =
        output_of(&["metrics", "--list-predict", &predictions, "--list-true", &labels, "--num-class", "5", "--json"]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("nested.npy: not a .npy file: it holds records"), "{said}");
    assert!(said.contains("huge.png is 400000x400000"), "{said}");
    let scores: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&scores["images"], &scores["skipped"]), (&json!(1), &json!(3)), "{scores}");
}

#[test]
fn arrays_are_read_as_images_where_they_are_named_or_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (images, labels) = (folder.path().join("images"), folder.path().join("labels"));
    fs::create_dir(&images).unwrap();
    fs::create_dir(&labels).unwrap();
    let at = |name: &str| images.join(name);
    fs::write(at("a.npy"), npy(1, "'<u2'", false, "(2, 5, 2)", &[2; 40])).unwrap();
    let mut zip = zip::ZipWriter::new(fs::File::create(at("b.npz")).unwrap());
    zip.start_file("arr_0.npy", SimpleFileOptions::default()).unwrap();
    zip.write_all(&npy(1, "'|u1'", false, "(3, 4, 5)", &[7; 60])).unwrap();
    zip.finish().unwrap();
    fs::copy(at("b.npz"), labels.join("b.npz")).unwrap();
    fs::write(labels.join("a.npy"), npy(1, "'|u1'", false, "(4, 5)", &[1; 20])).unwrap();

    let (a, b) = (read_image(&at("a.npy")), read_image(&at("b.npz")).unwrap());
    assert!(a.unwrap_err().to_string().contains("has shape [2, 5, 2], which may be"));
    assert_eq!((b.bands, b.samples), (3, Samples::U8(vec![7; 60])));
    assert_eq!(read_size(&at("b.npz")).map(|size| size.to_string()), Some("5x4".into()));
    assert_eq!(find_images(&images, &|_| ()).unwrap(), [at("a.npy"), at("b.npz")]);
    assert_eq!(pair_folders(&images, &labels, &|_| ()).unwrap().len(), 2);
    // Beside images they are predictions.
    image::GrayImage::new(5, 4).save(at("c.png")).unwrap();
    assert_eq!(find_images(&images, &|_| ()).unwrap(), [at("c.png")]);

    let grey = folder.path().join("grey");
    let output = output_of(&["rgb2gray", "--output-folder", &text(&grey), &text(&at("b.npz"))]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(image::open(grey.join("b.png")).unwrap().into_luma8().into_raw(), [7; 20]);
}

/// A run of the demo's network whose config.json was changed, and why it is refused.
fn refused_run(change: impl FnOnce(&mut Value)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = NetworkRecipe::find("unet-demo").unwrap();
    let dataset = recipe.fit(&Dataset::find("demo").unwrap()).unwrap();
    let config = NetworkRunConfig {
        version: "0.1.0".into(),
        seed: 1,
        device: "flex".into(),
        weights: Vec::new(),
        started: None,
        class_weights: None,
        recipe,
        dataset,
    };
    let pairs = Pairs { train: Vec::new(), validation: Vec::new(), presence: ClassPresence::default() };
    NetworkRun::create(folder.path(), config, &pairs).unwrap();
    assert!(Run::open(folder.path()).is_ok());
    let path = folder.path().join("config.json");
    let mut config = read_json(&path);
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
    let said = Run::open(folder.path()).unwrap_err().to_string();
    assert!(said.contains("config.json: ") && said.contains("was changed by hand"), "{said}");
    said
}

#[test]
fn a_run_whose_numbers_do_not_go_together_is_refused_when_it_is_opened() {
    let bands = refused_run(|config| config["dataset"]["bands"] = json!(3));
    assert!(bands.contains("`network.bands` is 1") && bands.contains("needs 3"), "{bands}");
    let outputs = refused_run(|config| config["recipe"]["network"]["outputs"] = json!(u64::MAX));
    assert!(outputs.contains("`network.outputs` is 18446744073709551615"), "{outputs}");
    let both = refused_run(|config| {
        config["dataset"]["bands"] = json!(1u64 << 60);
        config["recipe"]["network"]["bands"] = json!(1u64 << 60);
    });
    assert!(both.contains("`bands` is 1152921504606846976"), "{both}");
    let width = refused_run(|config| config["recipe"]["network"]["width"] = json!(1u64 << 40));
    assert!(width.contains("use a smaller `width`"), "{width}");
    let classes = refused_run(|config| config["dataset"]["classes"] = json!([]));
    assert!(classes.contains("2 or more classes"), "{classes}");
    let rate = refused_run(|config| config["recipe"]["training"]["batch_size"] = json!(0));
    assert!(rate.contains("`training.batch_size` is 0; it must be at least 1"), "{rate}");
}

/// Why a file is not taken for weights.
fn refused_weights(path: &Path) -> String {
    let weights = Checkpoint::open(&[path.into()]).and_then(|checkpoint| Weights::recognise(checkpoint, None)?.check());
    weights.unwrap_err().to_string()
}

#[cfg(unix)]
#[test]
fn devices_and_pipes_are_refused_at_once() {
    let zero = PathBuf::from("/dev/zero");
    let link = tempfile::tempdir().unwrap();
    let named = link.path().join("a.npy");
    std::os::unix::fs::symlink(&zero, &named).unwrap();
    for said in [
        refused_weights(&zero),
        read_labels(&named).unwrap_err().to_string(),
        read_image(&named).unwrap_err().to_string(),
    ] {
        assert!(said.contains("is a pipe, socket or device, not a regular file"), "{said}");
    }
}
