//! Orientations that files declare: applied to images and label images, with one note for a batch.

use std::fs::{self, File};
use std::path::Path;

use crate::common::{small_recipe, stderr_of, text};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use segtool::base::Size;
use segtool::image::{RawLabels, read_image, read_label_npy, read_labels, read_size};

/// EXIF data with nothing but an orientation.
pub(crate) fn exif(orientation: u8) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    bytes.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

/// 16 x 8 pixels, the left half dark and the right half light.
fn halves() -> Vec<u8> {
    (0..16 * 8).map(|i| if i % 16 < 8 { 20 } else { 220 }).collect()
}

fn write(path: &Path, orientation: u8) {
    let file = File::create(path).unwrap();
    let grey = ExtendedColorType::L8;
    if path.extension().is_some_and(|extension| extension == "jpg") {
        let mut encoder = JpegEncoder::new_with_quality(file, 95);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder.write_image(&halves(), 16, 8, grey).unwrap();
    } else {
        let mut encoder = PngEncoder::new(file);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder.write_image(&halves(), 16, 8, grey).unwrap();
    }
}

#[test]
fn images_and_label_images_are_turned_upright() {
    let folder = tempfile::tempdir().unwrap();
    // Stored rows run down, from the right: what was on the left is above.
    for name in ["a.jpg", "a.png"] {
        let path = folder.path().join(name);
        write(&path, 6);
        let raster = read_image(&path).unwrap();
        let upright = Size { width: 8, height: 16 };
        assert_eq!((raster.size, read_size(&path)), (upright, Some(upright)), "{name}");
        let planes = raster.to_planes();
        assert!(planes[..32].iter().all(|v| *v < 0.2) && planes[96..].iter().all(|v| *v > 0.8), "{name}");
    }
    let RawLabels::Values(size, values) = read_labels(&folder.path().join("a.png")).unwrap() else { panic!("values") };
    assert_eq!((size.width, values[0], values[127]), (8, 20, 220));
}

/// EXIF data may follow the pixels.
#[test]
fn a_png_is_turned_by_exif_data_behind_its_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    write(&path, 6);
    let mut bytes = fs::read(&path).unwrap();
    let start = bytes.windows(4).position(|kind| kind == b"eXIf").unwrap() - 4;
    // With length, name and checksum.
    let chunk: Vec<u8> = bytes.drain(start..start + 12 + exif(6).len()).collect();
    let end = bytes.len() - 12;
    assert_eq!(&bytes[end + 4..end + 8], b"IEND");
    bytes.splice(end..end, chunk);
    fs::write(&path, bytes).unwrap();
    let upright = Size { width: 8, height: 16 };
    let (image, labels) = (read_image(&path).unwrap(), read_labels(&path).unwrap());
    assert_eq!((image.size, labels.size(), read_size(&path)), (upright, upright, Some(upright)));
    let values = image.to_planes().iter().map(|v| (v * 255.0).round() as u16).collect();
    assert_eq!(labels, RawLabels::Values(upright, values));
}

#[test]
fn a_batch_gets_one_note_and_a_switch_leaves_pixels_as_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    fs::create_dir(&input).unwrap();
    for (i, orientation) in [3, 8, 1, 6].into_iter().enumerate() {
        write(&input.join(format!("{i}.jpg")), orientation);
    }
    let (from, to) = (text(&input), text(&output));
    let arguments = ["rgb2gray", "--input-folder", &from, "--output-folder", &to];
    let said = stderr_of(&arguments, 0);
    assert_eq!(said.matches("turned upright").count(), 1, "{said}");
    assert!(said.contains("note: 3 images were turned upright") && said.contains("0.jpg"), "{said}");
    let size = |name: &str| image::image_dimensions(output.join(name)).unwrap();
    assert_eq!([size("1.png"), size("2.png"), size("3.png")], [(8, 16), (16, 8), (8, 16)]);
    let said = stderr_of(&[&arguments[..], &["--overwrite", "--orientation", "ignore"]].concat(), 0);
    assert!(!said.contains("upright"), "{said}");
    assert_eq!([size("1.png"), size("3.png")], [(16, 8), (16, 8)]);
}

#[test]
fn a_run_reads_images_as_its_training_did() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("images")).unwrap();
    for i in 0..4 {
        write(&at("images").join(format!("{i}.png")), 6);
    }
    let dataset = r#"
name = "halves"
bands = 1
normalisation = { kind = "per-dataset" }
classes = [
  { name = "dark", values = 20, color = [0, 0, 0] },
  { name = "light", values = 220, color = [255, 255, 0] },
]
"#;
    fs::write(at("halves.toml"), dataset).unwrap();
    let recipe = small_recipe(folder.path(), 1);
    let [dataset, images, run, out] = ["halves.toml", "images", "run", "out"].map(|name| text(&at(name)));
    let lists = ["--images", &images, "--labels", &images, "--val-fraction", "0.5", "--orientation", "ignore"];
    let train = ["train", "--recipe", &recipe, "--dataset", &dataset, "--device", "flex", "--output-path", &run];
    stderr_of(&[&train[..], &lists].concat(), 0);
    let image = text(&at("images").join("0.png"));
    let predict = ["predict", "--run", &run, "--output-path", &out, &image];
    let size = || read_label_npy(&at("out").join("0.npy")).unwrap().0;
    stderr_of(&predict, 0);
    assert_eq!(size(), Size { width: 16, height: 8 });
    stderr_of(&[&predict[..], &["--orientation", "apply", "--overwrite"]].concat(), 0);
    assert_eq!(size(), Size { width: 8, height: 16 });
    let said = stderr_of(&["train", "--resume", &run, "--orientation", "apply"], 2);
    assert!(said.contains("it cannot be resumed with --orientation apply"), "{said}");
}
