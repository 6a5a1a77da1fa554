//! Images and runs that cannot be predicted or scored; the rest goes on.

use std::fs;
use std::path::Path;

use super::Bench;
use crate::common::{assert_says, small_run, stderr_of, stdout_of, text};

#[test]
fn a_truncated_tiff_is_named() {
    let bench = Bench::new();
    let pixels: Vec<u16> = (0..32 * 32).map(|i| i * 60).collect();
    let whole = bench.path("whole.tif");
    image::ImageBuffer::<image::Luma<u16>, _>::from_raw(32, 32, pixels).unwrap().save(&whole).unwrap();
    let bytes = fs::read(&whole).unwrap();
    let run = text(small_run());
    for length in [3, 9, bytes.len() / 2] {
        fs::write(bench.path("cut.tif"), &bytes[..length]).unwrap();
        let out = text(&bench.path("out"));
        let inputs = [text(&bench.path("cut.tif")), text(&whole)];
        let message = stderr_of(
            &["predict", "--run", &run, "--output-path", &out, &inputs[0], &inputs[1], "--device", "flex"],
            3,
        );
        assert_says(&message, &["skipped: ", "cut.tif", "1 of 2 images were skipped"]);
        assert_eq!(fs::read_to_string(bench.path("out/predictions.txt")).unwrap(), "whole.npy\n");
    }
}

#[test]
fn prediction_goes_on_past_missing_files_and_folders() {
    let bench = Bench::new();
    let run = text(small_run());
    let list = bench.data("mixed.txt");
    fs::write(&list, "images/009.png\ngone.png\nimages\nimages/010.png\n").unwrap();
    let out = text(&bench.path("out"));
    let arguments = ["predict", "--run", &run, "--input-list", &list, "--output-path", &out, "--device", "flex"];
    let message = stderr_of(&arguments, 3);
    assert_says(&message, &["gone.png: No such file", "is a folder, not a file", "2 of 4 images were skipped"]);
    assert_eq!(fs::read_to_string(bench.path("out/predictions.txt")).unwrap(), "009.npy\n010.npy\n");
}

#[test]
fn two_inputs_of_one_stem_are_refused() {
    let bench = Bench::new();
    let run = text(small_run());
    let out = text(&bench.path("out"));
    let image = bench.data("images/009.png");
    let message = stderr_of(&["predict", "--run", &run, "--output-path", &out, &image, &image, "--device", "flex"], 1);
    assert_says(&message, &["would both be written as", "009.npy"]);
    assert!(!bench.path("out").exists());
}

#[test]
fn a_run_folder_must_be_one_and_have_weights() {
    let bench = Bench::new();
    let image = bench.data("images/009.png");
    let out = text(&bench.path("out"));
    let predict =
        |run: &str| stderr_of(&["predict", "--run", run, "--output-path", &out, &image, "--device", "flex"], 1);
    assert_says(&predict(&bench.data("images")), &["is not a run folder", "the folder that training wrote"]);
    let run = bench.trained();
    fs::remove_file(Path::new(&run).join("model.safetensors")).unwrap();
    assert_says(&predict(&run), &["no model.safetensors yet", "--resume"]);
    assert!(!bench.path("out").exists());
}

#[test]
fn weights_of_another_width_are_named() {
    let bench = Bench::new();
    let run = bench.trained();
    let other = bench.path("other");
    bench.train(&other).arg("--width", "6").run();
    fs::copy(other.join("model.safetensors"), Path::new(&run).join("model.safetensors")).unwrap();
    let (image, out) = (bench.data("images/009.png"), text(&bench.path("out")));
    let message = stderr_of(&["predict", "--run", &run, "--output-path", &out, &image, "--device", "flex"], 1);
    assert_says(&message, &["do not fit the network", "the file has [6, 1, 3, 3], the network [4, 1, 3, 3]"]);
}

#[test]
fn predictions_of_another_size_or_damaged_are_skipped_by_metrics() {
    let bench = Bench::new();
    let run = text(small_run());
    let out = text(&bench.path("out"));
    let list = bench.data("val_images.txt");
    stdout_of(&["predict", "--run", &run, "--input-list", &list, "--output-path", &out, "--device", "flex"]);
    let written = fs::read(bench.path("out/009.npy")).unwrap();
    fs::write(bench.path("out/009.npy"), &written[..written.len() - 1]).unwrap();
    image::GrayImage::new(32, 31).save(bench.path("data/labels/010.png")).unwrap();
    let (predictions, labels) = (text(&bench.path("out/predictions.txt")), bench.data("val_labels.txt"));
    let arguments = ["metrics", "--list-predict", &predictions, "--list-true", &labels, "--dataset", "demo"];
    let message = stderr_of(&arguments, 3);
    assert_says(
        &message,
        &["009.npy: the .npy file is cut short", "sizes differ", "010.npy is 32x32", "010.png is 32x31"],
    );
}

#[test]
fn a_probability_never_overwrites_a_label_map() {
    let bench = Bench::new();
    let run = text(small_run());
    let (plain, tricky) = (bench.data("images/009.png"), bench.data("images/009_prob.png"));
    fs::copy(&plain, &tricky).unwrap();
    let out = text(&bench.path("out"));
    let arguments = ["predict", "--run", &run, "--output-path", &out, &plain, &tricky, "--device", "flex"];
    stdout_of(&arguments);
    let message = stderr_of(&[arguments.as_slice(), &["--prob"]].concat(), 1);
    assert_says(&message, &["would both be written as", "009_prob.npy"]);
}

/// A PNG that says it has that size, and holds next to nothing.
fn hollow_png(path: &Path, width: u32, height: u32) {
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), width, height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    // The beginning of the pixels; the rest never comes.
    writer.write_chunk(png::chunk::IDAT, &[0x78, 0x01]).unwrap();
}

#[test]
fn images_of_odd_sizes_are_predicted_and_huge_ones_refused_with_the_way_out() {
    let bench = Bench::new();
    let run = text(small_run());
    let out = text(&bench.path("out"));
    let names = ["one.png", "wide.png", "high.png", "two words \u{e4}\u{6f22}.png"];
    for (name, (width, height)) in names.iter().zip([(1, 1), (5000, 1), (1, 5000), (21, 17)]) {
        image::GrayImage::from_fn(width, height, |x, y| image::Luma([(x * 7 + y * 3) as u8]))
            .save(bench.path(name))
            .unwrap();
    }
    let paths: Vec<String> = names.iter().map(|name| text(&bench.path(name))).collect();
    let base =
        ["predict", "--run", &run, "--output-path", &out, "--overwrite", "--device", "flex", "--overlay", "--prob-all"];
    for looks in
        [vec![], vec!["--flip", "--scales", "0.5,1.5"], vec!["--tile", "64"], vec!["--resize", "64", "--tile", "32"]]
    {
        let images: Vec<&str> = paths.iter().map(String::as_str).collect();
        stdout_of(&[&base[..], &looks[..], &images[..]].concat());
        for (name, shape) in names.iter().zip([(1, 1), (1, 5000), (5000, 1), (17, 21)]) {
            let file = bench.path("out").join(name).with_extension("npy");
            let labels: ndarray::Array2<u8> = ndarray_npy::read_npy(file).unwrap();
            assert_eq!(labels.dim(), shape, "{name}");
            let stem = Path::new(name).file_stem().unwrap().to_string_lossy();
            let all: ndarray::Array3<f32> =
                ndarray_npy::read_npy(bench.path("out").join(format!("{stem}_probs.npy"))).unwrap();
            assert_eq!(all.dim(), (4, shape.0, shape.1), "{name}");
            assert!(all.sum_axis(ndarray::Axis(0)).iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{name}");
        }
    }
    let huge = bench.path("huge.png");
    hollow_png(&huge, 20_000, 20_000);
    let huge = text(&huge);
    let message = stderr_of(&[&base[..8], &["--memory", "8GiB", &huge, &paths[0]]].concat(), 3);
    assert_says(
        &message,
        &[
            "huge.png",
            "20000x20000",
            "8.0 GiB may be used; predict it in windows with --tile 512, predict it at a smaller size",
            "--memory",
        ],
    );
    // Windows that must be whole are counted whole.
    let whole = ["--scales", "semseg:0.1", "--tile", "300000", &paths[3]];
    assert_says(&stderr_of(&[&base[..8], &whole].concat(), 1), &["needs about", "of memory"]);
    let message = stderr_of(&[&base[..], &["--memory", "lots", &huge]].concat(), 2);
    assert_says(&message, &["8GiB"]);
}

/// `moving.png` and `moving.gif`.
fn animations(bench: &Bench) {
    let file = |name: &str| bench.path(name);
    let mut animation = png::Encoder::new(fs::File::create(file("moving.png")).unwrap(), 2, 1);
    animation.set_animated(2, 0).unwrap();
    let mut writer = animation.write_header().unwrap();
    writer.write_image_data(&[1, 2]).unwrap();
    writer.write_image_data(&[3, 4]).unwrap();
    writer.finish().unwrap();
    let mut encoder = gif::Encoder::new(fs::File::create(file("moving.gif")).unwrap(), 1, 1, &[0; 6]).unwrap();
    for _ in 0..2 {
        encoder.write_frame(&gif::Frame::from_indexed_pixels(1, 1, &[1][..], None)).unwrap();
    }
}

#[test]
fn unusual_files_are_predicted_or_named_and_the_rest_goes_on() {
    let bench = Bench::new();
    let run = text(small_run());
    let file = |name: &str| bench.path(name);
    let gray = |x: u32, y: u32| ((x * 9 + y * 5) % 256) as u16;
    // The same image in 8 and 16 bits, as PNG and TIFF.
    image::GrayImage::from_fn(24, 16, |x, y| image::Luma([gray(x, y) as u8])).save(file("eight.png")).unwrap();
    for name in ["sixteen.png", "sixteen_too.tif"] {
        let image = image::ImageBuffer::from_fn(24, 16, |x, y| image::Luma([gray(x, y) * 257]));
        image.save(file(name)).unwrap();
    }
    // Black ink alone: a grey image in CMYK.
    let ink: Vec<u8> = (0..16).flat_map(|y| (0..24).flat_map(move |x| [0, 0, 0, 255 - gray(x, y) as u8])).collect();
    let encoder = jpeg_encoder::Encoder::new_file(file("ink.jpg"), 100).unwrap();
    encoder.encode(&ink, 24, 16, jpeg_encoder::ColorType::Cmyk).unwrap();
    fs::write(file("nothing.png"), []).unwrap();
    fs::create_dir(file("folder.png")).unwrap();
    animations(&bench);

    let names = [
        "eight.png",
        "nothing.png",
        "sixteen.png",
        "folder.png",
        "sixteen_too.tif",
        "moving.png",
        "moving.gif",
        "ink.jpg",
    ];
    fs::write(file("list.txt"), names.join("\n")).unwrap();
    let (list, out) = (text(&file("list.txt")), text(&file("out")));
    let refused =
        stderr_of(&["predict", "--run", &run, "--input-list", &list, "--output-path", &out, "--device", "flex"], 1);
    assert_says(&refused, &["moving.png and", "would both be written as"]);
    fs::write(file("list.txt"), names.join("\n").replace("moving.gif\n", "")).unwrap();
    let arguments =
        ["predict", "--run", &run, "--input-list", &list, "--output-path", &out, "--prob", "--device", "flex"];
    let message = stderr_of(&arguments, 3);
    assert_says(
        &message,
        &["nothing.png: the file is empty", "folder.png: is a folder", "moving.png: is an animation"],
    );
    let written = fs::read_to_string(file("out/predictions.txt")).unwrap();
    assert_eq!(written, "eight.npy\nsixteen.npy\nsixteen_too.npy\nink.npy\n");
    let prob = |name: &str| -> ndarray::Array2<f32> { ndarray_npy::read_npy(file("out").join(name)).unwrap() };
    let eight = prob("eight_prob.npy");
    let difference = |other: &ndarray::Array2<f32>| {
        assert!(other.dim() == eight.dim() && other.iter().all(|value| value.is_finite()));
        eight.iter().zip(other).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()))
    };
    assert!(difference(&prob("sixteen_prob.npy")) < 1e-5 && difference(&prob("sixteen_too_prob.npy")) < 1e-5);
    // JPEG's rounding, no other colours.
    assert!(difference(&prob("ink_prob.npy")) < 0.1, "{}", difference(&prob("ink_prob.npy")));

    fs::write(file("list.txt"), "moving.gif\n").unwrap();
    let message =
        stderr_of(&["predict", "--run", &run, "--input-list", &list, "--output-path", &out, "--device", "flex"], 1);
    assert_says(&message, &["moving.gif: is an animation"]);
}

#[test]
fn a_result_never_overwrites_an_image_and_choices_must_fit() {
    let bench = Bench::new();
    let run = text(small_run());
    let images = bench.data("images");
    let base = ["predict", "--run", &run, "--output-path", &images, &images, "--device", "flex"];
    let message = stderr_of(&[&base[..], &["--png"]].concat(), 1);
    assert_says(&message, &["would overwrite it", "000.png", "--output-path"]);
    let refused = |more: &[&str], code| stderr_of(&[&base[..], more].concat(), code);
    assert_says(&refused(&["--scales", "1,x"], 2), &["'x'; it must be numbers"]);
    assert_says(&refused(&["--scales", "csail", "--tile", "64"], 2), &["whole images"]);
    assert_says(&refused(&["--stride", "64"], 2), &["--tile"]);
    assert_says(&refused(&["--upsample", "bicubic"], 2), &["--resize or --scales"]);
    assert_says(&refused(&["--scales", "semseg", "--upsample", "bicubic"], 2), &["its own interpolation"]);
}

#[test]
fn a_folder_is_predicted_again_into_itself() {
    let bench = Bench::new();
    let run = text(small_run());
    let images = bench.data("images");
    for _ in 0..2 {
        stdout_of(&["predict", "--run", &run, "--output-path", &images, &images, "--device", "flex"]);
    }
    assert_eq!(fs::read_to_string(bench.path("data/images/predictions.txt")).unwrap().lines().count(), 12);
}
