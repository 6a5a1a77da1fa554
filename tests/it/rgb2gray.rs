//! `segtool rgb2gray`: formulas on every colour, files of every kind.

use std::collections::BTreeMap;
use std::path::Path;

use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};
use segtool::base::Size;
use segtool::image::{GrayConverter, GrayMethod, Samples, read_image};
use sha2::{Digest, Sha256};

use crate::common::{fixture_path, segtool, stderr_of, stdout_of, text};

#[test]
fn every_method_equals_numpy_on_all_colours() {
    let goldens: BTreeMap<String, String> =
        serde_json::from_slice(&std::fs::read(fixture_path("gray.json")).unwrap()).unwrap();
    assert_eq!(goldens.len(), GrayMethod::ALL.len());
    for (name, method) in GrayMethod::ALL {
        let converter = GrayConverter::<256>::new(method);
        let mut digest = Sha256::new();
        for red in 0..=255u8 {
            let plane: Vec<u8> = (0..=u16::MAX).flat_map(|gb| [red, (gb >> 8) as u8, gb as u8]).collect();
            digest.update(converter.convert(&plane));
        }
        let found: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, goldens[name], "{name}");
    }
}

/// A small colour image with something in every corner of the cube.
fn colors() -> RgbImage {
    RgbImage::from_fn(20, 10, |x, y| Rgb([(x * 13) as u8, (y * 25) as u8, (x * y) as u8]))
}

fn gray_of(path: &Path) -> (Size, Samples) {
    let raster = read_image(path).unwrap();
    assert_eq!(raster.bands, 1, "{}", path.display());
    (raster.size, raster.samples)
}

fn bytes_of(path: &Path) -> Vec<u8> {
    match gray_of(path).1 {
        Samples::U8(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_folder_becomes_grey_pngs_of_the_same_names() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in put"), folder.path().join("out"));
    std::fs::create_dir_all(input.join("deep/er")).unwrap();
    colors().save(input.join("a.jpg")).unwrap();
    colors().save(input.join("Größe 2.bmp")).unwrap();
    colors().save(input.join("deep/er/b.tif")).unwrap();
    std::fs::write(input.join("notes.txt"), "no image").unwrap();
    let (from, to) = (text(&input), text(&output));
    // The flags of the original script.
    let arguments = ["rgb2gray", "--input_folder", &from, "--output_folder", &to, "--method", "gleam"];
    assert!(stdout_of(&arguments).starts_with("2 greyscale images written to"));
    let gleam = GrayConverter::<256>::new(GrayMethod::Gleam);
    assert_eq!(bytes_of(&output.join("Größe 2.png")), gleam.convert(colors().as_raw()));
    assert!(output.join("a.png").exists() && !output.join("deep").exists());

    assert!(stdout_of(&[&arguments[..], &["--recursive"]].concat()).starts_with("1 greyscale image written to"));
    assert_eq!(bytes_of(&output.join("deep/er/b.png")), gleam.convert(colors().as_raw()));
    let names: Vec<_> = output.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.len() == 3 && !names.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{names:?}");
}

#[test]
fn lists_and_single_files_work_too() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("out"));
    colors().save(folder.path().join("one.png")).unwrap();
    std::fs::write(folder.path().join("list.txt"), "one.png\n").unwrap();
    let (one, list) = (text(&folder.path().join("one.png")), text(&folder.path().join("list.txt")));
    stdout_of(&["rgb2gray", "--input-list", &list, "--output-folder", &out]);
    let luminance = GrayConverter::<256>::new(GrayMethod::Luminance).convert(colors().as_raw());
    assert_eq!(bytes_of(&folder.path().join("out/one.png")), luminance);
    stdout_of(&["rgb2gray", &one, "--output-folder", &out, "--method", "luma-prime", "--overwrite"]);
    let luma = GrayConverter::<256>::new(GrayMethod::LumaPrime).convert(colors().as_raw());
    assert_eq!(bytes_of(&folder.path().join("out/one.png")), luma);
}

#[test]
fn depth_alpha_and_grey_are_kept_as_they_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let wide = ImageBuffer::from_fn(4, 3, |x, y| Rgb([(x * 20_000) as u16, (y * 30_000) as u16, 65535]));
    DynamicImage::ImageRgb16(wide.clone()).save(at("wide.png")).unwrap();
    let see_through = RgbaImage::from_fn(3, 1, |x, _| Rgba([200, 100, 50, (x * 127) as u8]));
    see_through.save(at("alpha.png")).unwrap();
    let gray = GrayImage::from_fn(5, 2, |x, y| Luma([(x * 40 + y) as u8]));
    gray.save(at("gray.png")).unwrap();
    GrayAlphaImage::from_fn(2, 1, |x, _| LumaA([100, (x * 255) as u8])).save(at("gray_alpha.png")).unwrap();
    let floats = ImageBuffer::from_fn(2, 2, |x, y| Rgb([x as f32, y as f32, 0.5]));
    DynamicImage::ImageRgb32F(floats).save(at("float.tif")).unwrap();

    let (from, out) = (text(folder.path()), folder.path().join("out"));
    let out_text = text(&out);
    let arguments = ["rgb2gray", "--input-folder", &from, "--output-folder", &out_text, "--method", "intensity"];
    stdout_of(&arguments);
    let intensity = GrayConverter::<65536>::new(GrayMethod::Intensity);
    assert_eq!(gray_of(&out.join("wide.png")).1, Samples::U16(intensity.convert(wide.as_raw())));
    let Samples::U16(floats) = gray_of(&out.join("float.png")).1 else { panic!("16 bits") };
    assert_eq!(floats, [10923, 32768, 32768, 54613]);
    assert_eq!(bytes_of(&out.join("gray.png")), *gray.as_raw());
    assert_eq!(bytes_of(&out.join("gray_alpha.png")), [0, 100]);
    // 200, 100, 50 times 0, 127/255 and 254/255, rounded: 0; 100, 50, 25; 199, 100, 50.
    assert_eq!(bytes_of(&out.join("alpha.png")), [0, 58, 116]);
    for (alpha, expected) in [("white", [255, 186, 117]), ("ignore", [117, 117, 117])] {
        stdout_of(&[&arguments[..], &["--overwrite", "--alpha", alpha]].concat());
        assert_eq!(bytes_of(&out.join("alpha.png")), expected, "{alpha}");
    }
    stdout_of(&[&arguments[..], &["--overwrite", "--stretch"]].concat());
    let stretched = bytes_of(&out.join("gray.png"));
    assert_eq!((stretched.iter().min(), stretched.iter().max()), (Some(&0), Some(&255)));
}

#[test]
fn what_is_there_is_kept_and_the_folders_may_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    colors().save(at("a.jpg")).unwrap();
    colors().save(at("b.png")).unwrap();
    let before = std::fs::read(at("b.png")).unwrap();
    let both = text(folder.path());
    let arguments = ["rgb2gray", "--input-folder", &both, "--output-folder", &both];
    assert!(stdout_of(&arguments).contains("(luminance)"));
    assert_eq!(std::fs::read(at("b.png")).unwrap(), before);
    let a = bytes_of(&at("a.png"));
    // b.png is no result of an earlier call.
    let again = segtool("rgb2gray").args(&arguments[1..]);
    let found = again.run();
    assert!(found.starts_with("0 greyscale images") && found.contains("; 1 existing file kept"), "{found}");
    assert!(again.says().contains("note: left out 1 image that the results would overwrite"));
    assert_eq!(bytes_of(&at("a.png")), a);
    // b.png has no other source, and would become grey itself.
    let again = [&arguments[..], &["--overwrite", "--method", "value"]].concat();
    let message = stderr_of(&again, 1);
    assert!(message.contains("would overwrite it") && message.contains("b.png"), "{message}");
    assert!(bytes_of(&at("a.png")) == a && std::fs::read(at("b.png")).unwrap() == before);
    // Made again: a.png from a.jpg, not from itself.
    std::fs::remove_file(at("b.png")).unwrap();
    let found = stdout_of(&again);
    assert!(found.starts_with("1 greyscale image written to") && !found.contains("kept"), "{found}");
    assert!(bytes_of(&at("a.png")) != a);
    // An image that merely has the name of a result is none.
    colors().save(at("c.jpg")).unwrap();
    std::fs::write(at("c.png"), &before).unwrap();
    let message = stderr_of(&again, 1);
    assert!(message.contains("c.png would both be written as"), "{message}");
    assert_eq!(std::fs::read(at("c.png")).unwrap(), before);
    std::fs::remove_file(at("c.png")).unwrap();
    std::fs::write(at("b.png"), &before).unwrap();
    std::fs::remove_file(at("c.jpg")).unwrap();

    colors().save(at("a.bmp")).unwrap();
    let message = stderr_of(&again, 1);
    assert!(message.contains("a.bmp and ") && message.contains("would both be written as"), "{message}");
    std::fs::remove_file(at("a.bmp")).unwrap();
    std::fs::create_dir_all(at("out/b.png")).unwrap();
    let message = stderr_of(&["rgb2gray", &text(&at("b.png")), "--output-folder", &text(&at("out"))], 1);
    assert!(message.contains("b.png: is a folder"), "{message}");
}

#[test]
fn results_below_the_input_folder_are_no_input() {
    let folder = tempfile::tempdir().unwrap();
    colors().save(folder.path().join("a.jpg")).unwrap();
    let run = |input: &str, output: &str| {
        let arguments = ["rgb2gray", "--recursive", "--input-folder", input, "--output-folder", output];
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_segtool"));
        let output = program.args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let whole = text(folder.path());
    assert!(run(".", "gray").starts_with("1 greyscale image "));
    for (input, output) in [(".", "gray"), (&*whole, "gray"), (".", "./gray")] {
        assert!(run(input, output).starts_with("0 greyscale images"), "{input} {output}");
    }
    assert!(!folder.path().join("gray/gray").exists());
}

/// An uncompressed RGBA TIFF of 2x1 pixels, with a word on what the fourth band is.
fn rgba_tiff(extra_samples: u16, pixels: [u8; 8]) -> Vec<u8> {
    let entries: [(u16, u16, u32, u32); 10] = [
        (256, 3, 1, 2),
        (257, 3, 1, 1),
        (258, 3, 4, 8 + 2 + 120 + 4),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8 + 2 + 120 + 4 + 8),
        (277, 3, 1, 4),
        (278, 3, 1, 1),
        (279, 4, 1, 8),
        (338, 3, 1, extra_samples.into()),
    ];
    let mut file = b"II*\0\x08\0\0\0\x0a\0".to_vec();
    for (tag, kind, count, value) in entries {
        file.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        file.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    file.extend([0; 4]);
    file.extend([8, 0, 8, 0, 8, 0, 8, 0]);
    file.extend(pixels);
    file
}

#[test]
fn alpha_of_floats_and_premultiplied_alpha_are_composed_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let half = ImageBuffer::from_pixel(2, 1, Rgba([1.0f32, 1.0, 1.0, 0.5]));
    DynamicImage::ImageRgba32F(half).save(at("half.tif")).unwrap();
    let pixels = [100, 100, 100, 100, 60, 60, 60, 255];
    std::fs::write(at("multiplied.tif"), rgba_tiff(1, pixels)).unwrap();
    std::fs::write(at("plain.tif"), rgba_tiff(2, pixels)).unwrap();
    let (from, out) = (text(folder.path()), text(&at("out")));
    let arguments = ["rgb2gray", "--input-folder", &from, "--output-folder", &out, "--overwrite", "--method", "value"];
    for (alpha, half, multiplied, plain) in
        [("black", 32768, [100, 60], [39, 60]), ("white", 65535, [255, 60], [194, 60])]
    {
        stdout_of(&[&arguments[..], &["--alpha", alpha]].concat());
        assert_eq!(gray_of(&at("out/half.png")).1, Samples::U16(vec![half; 2]));
        assert_eq!(bytes_of(&at("out/multiplied.png")), multiplied);
        assert_eq!(bytes_of(&at("out/plain.png")), plain);
    }
    // A fourth band that is said to be something else is not alpha.
    std::fs::write(at("infrared.tif"), rgba_tiff(0, pixels)).unwrap();
    let said = stderr_of(&["rgb2gray", "--output-folder", &out, &text(&at("infrared.tif"))], 1);
    assert!(said.contains("infrared.tif: has 4 bands; rgb2gray takes red, green and blue, or grey"), "{said}");
}

#[test]
fn bad_images_are_named_and_the_rest_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    colors().save(at("good.jpg")).unwrap();
    let jpeg = std::fs::read(at("good.jpg")).unwrap();
    std::fs::write(at("cut.jpg"), &jpeg[..jpeg.len() / 2]).unwrap();
    std::fs::write(at("empty.png"), "").unwrap();
    std::fs::write(at("text.png"), "this is no image").unwrap();
    let floats = ImageBuffer::from_fn(2, 2, |x, y| Rgb([x as f32, y as f32, 7.5]));
    DynamicImage::ImageRgb32F(floats).save(at("float.tif")).unwrap();
    let (from, out) = (text(folder.path()), text(&at("out")));
    let message = stderr_of(&["rgb2gray", "--input-folder", &from, "--output-folder", &out], 3);
    for expected in ["cut.jpg", "empty.png: the file is empty", "text.png", "float.tif: holds 7.5 at pixel (0, 0)"] {
        assert!(message.contains(expected), "{expected}: {message}");
    }
    assert!(message.contains("4 of 5 images were skipped"), "{message}");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1);
    stderr_of(&["rgb2gray", &text(&at("empty.png")), "--output-folder", &out], 1);
    let unknown = stderr_of(&["rgb2gray", &from, "--output-folder", &out, "--method", "mauve"], 2);
    assert!(unknown.contains("choose luminance"), "{unknown}");
    let missing = text(&at("nowhere"));
    assert!(stderr_of(&["rgb2gray", "--input-folder", &missing, "--output-folder", &out], 1).contains("nowhere"));
}
