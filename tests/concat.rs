//! `segtool concat`: what it draws, pixel by pixel, and what it says about input that cannot be drawn.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, ImageBuffer, Luma, RgbImage};
use ndarray::Array2;
use segtool::data::Dataset;
use segtool::draw::Judgement;
use segtool::image::distinct_colors;

use common::{stderr_of, stdout_of, text};

const WIDTH: u32 = 120;
const HEIGHT: u32 = 90;
/// CamVid's "not labelled".
const VOID: u8 = 11;
/// Edges of the vertical stripes of one class each.
const STRIPE: u32 = 40;

/// Images, labels and predictions in folders of their own, and lists of them, in a temporary folder.
struct Bench(tempfile::TempDir);

impl Bench {
    /// Three triples: the label has stripes of classes 0, 1 and void, the prediction of 0, 2 and 3.
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        for folder in ["images", "labels", "predictions"] {
            fs::create_dir_all(bench.path(folder)).unwrap();
        }
        for stem in ["a", "b", "c"] {
            RgbImage::from_fn(WIDTH, HEIGHT, photo).save(bench.path(&format!("images/{stem}.png"))).unwrap();
            stripes([0, 1, VOID]).save(bench.path(&format!("labels/{stem}.png"))).unwrap();
            bench.predict(stem, [0, 2, 3]);
        }
        for folder in ["images", "labels", "predictions"] {
            let extension = if folder == "predictions" { "npy" } else { "png" };
            let lines: String = ["a", "b", "c"].map(|stem| format!("{folder}/{stem}.{extension}\n")).concat();
            fs::write(bench.path(&format!("{folder}.txt")), lines).unwrap();
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        text(&self.path(name))
    }

    /// Writes a prediction, int64 as the original's.
    fn predict(&self, stem: &str, classes: [i64; 3]) {
        let value = |(_, x): (usize, usize)| classes[x / STRIPE as usize];
        let map = Array2::from_shape_fn((HEIGHT as usize, WIDTH as usize), value);
        ndarray_npy::write_npy(self.path(&format!("predictions/{stem}.npy")), &map).unwrap();
    }

    fn write_probability(&self, probability: f32) {
        let map = Array2::from_elem((HEIGHT as usize, WIDTH as usize), probability);
        ndarray_npy::write_npy(self.path("predictions/a_prob.npy"), &map).unwrap();
    }

    /// Arguments that draw the first triple with CamVid's classes, and more.
    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let fixed = ["concat", "--image-predict", "predictions/a.npy", "--images", "images", "--dataset", "camvid"];
        let own = fixed.map(|word| if word.contains('/') || word == "images" { self.text(word) } else { word.into() });
        let more = more.iter().map(|&word| if word == "labels" { self.text(word) } else { word.to_owned() });
        own.into_iter().chain(["--output-path".into(), self.text("out")]).chain(more).collect()
    }

    /// Draws the first triple.
    fn draw(&self, more: &[&str]) -> RgbImage {
        let arguments = self.arguments(more);
        stdout_of(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        image::open(self.path("out/a_concat.png")).unwrap().to_rgb8()
    }

    /// Standard error of drawing the first triple, which must fail.
    fn refused(&self, more: &[&str], code: i32) -> String {
        let arguments = self.arguments(more);
        let message = stderr_of(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), code);
        assert!(!self.path("out/a_concat.png").exists());
        message
    }

    /// Standard error of drawing the lists.
    fn draw_lists(&self, code: i32) -> String {
        let lists = ["predictions.txt", "images.txt", "labels.txt"].map(|name| self.text(name));
        let [predictions, images, labels] = lists.each_ref().map(String::as_str);
        let out = self.text("out");
        let arguments = ["concat", "--list-predict", predictions, "--image-list", images, "--label-list", labels];
        stderr_of(&[arguments.as_slice(), &["--dataset", "camvid", "--output-path", &out]].concat(), code)
    }
}

fn photo(x: u32, y: u32) -> image::Rgb<u8> {
    image::Rgb([(x * 2) as u8, (y * 2) as u8, 77])
}

fn stripes(values: [u8; 3]) -> GrayImage {
    GrayImage::from_fn(WIDTH, HEIGHT, |x, _| Luma([values[(x / STRIPE) as usize]]))
}

fn camvid(class: usize) -> [u8; 3] {
    Dataset::find("camvid").unwrap().classes[class].color
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in:\n{message}");
    }
}

/// Colours in the middle of the three stripes of a panel.
fn stripe_colors(image: &RgbImage, panel: u32) -> [[u8; 3]; 3] {
    [0, 1, 2].map(|stripe| image.get_pixel(panel * WIDTH + stripe * STRIPE + STRIPE / 2, 50).0)
}

#[test]
fn image_label_and_prediction_stand_edge_to_edge() {
    let bench = Bench::new();
    let image = bench.draw(&["--labels", "labels"]);
    assert_eq!(image.dimensions(), (3 * WIDTH, HEIGHT));
    assert_eq!(image.get_pixel(33, 44), &photo(33, 44));
    assert_eq!(stripe_colors(&image, 1), [camvid(0), camvid(1), [0; 3]]);
    assert_eq!(stripe_colors(&image, 2), [camvid(0), camvid(2), camvid(3)]);
}

#[test]
fn without_labels_there_are_two_panels() {
    let bench = Bench::new();
    let image = bench.draw(&[]);
    assert_eq!(image.dimensions(), (2 * WIDTH, HEIGHT));
    assert_eq!(stripe_colors(&image, 1), [camvid(0), camvid(2), camvid(3)]);
}

#[test]
fn an_overlay_lets_the_image_through() {
    let bench = Bench::new();
    let image = bench.draw(&["--labels", "labels", "--overlay", "0.5"]);
    let (x, y) = (STRIPE + 20, 50);
    let half = |below: u8, above: u8| ((u32::from(below) + u32::from(above)) as f64 / 2.0).round() as u8;
    let (below, above) = (photo(x, y).0, camvid(1));
    assert_eq!(image.get_pixel(WIDTH + x, y).0, [0, 1, 2].map(|i| half(below[i], above[i])));
    // Where there is no label, the image is seen.
    assert_eq!(image.get_pixel(WIDTH + 2 * STRIPE + 5, y), &photo(2 * STRIPE + 5, y));
}

#[test]
fn errors_are_shown_in_a_panel_of_their_own() {
    let bench = Bench::new();
    let image = bench.draw(&["--labels", "labels", "--errors"]);
    assert_eq!(image.dimensions(), (4 * WIDTH, HEIGHT));
    let expected = [Judgement::Right, Judgement::Wrong, Judgement::NotLabelled].map(Judgement::color);
    assert_eq!(stripe_colors(&image, 3), expected);
}

#[test]
fn errors_need_labels() {
    let bench = Bench::new();
    assert_says(&bench.refused(&["--errors"], 2), &["--labels"]);
}

#[test]
fn the_probability_comes_with_a_colour_bar() {
    let bench = Bench::new();
    bench.write_probability(1.0);
    let sure = bench.draw(&["--prob"]);
    assert!(sure.width() > 3 * WIDTH + 20 && sure.width() < 4 * WIDTH && sure.height() == HEIGHT);
    bench.write_probability(0.0);
    let unsure = bench.draw(&["--prob"]);
    let (light, dark) = (sure.get_pixel(2 * WIDTH + 60, 40).0, unsure.get_pixel(2 * WIDTH + 60, 40).0);
    assert!(light[1] > 200 && dark[1] < 60, "{light:?} {dark:?}");
    // The bar shows both ends.
    let right = |color: [u8; 3]| sure.enumerate_pixels().any(|(x, _, p)| x > 3 * WIDTH && p.0 == color);
    assert!(right(light) && right(dark) && right([255; 3]));
}

#[test]
fn a_missing_or_impossible_probability_is_named() {
    let bench = Bench::new();
    assert_says(&bench.refused(&["--prob"], 1), &["a_prob.npy", "predicting with --prob"]);
    bench.write_probability(1.5);
    assert_says(&bench.refused(&["--prob"], 1), &["a_prob.npy: probability 1.5 at pixel (0, 0)"]);
    fs::copy(bench.path("predictions/a.npy"), bench.path("predictions/a_prob.npy")).unwrap();
    assert_says(&bench.refused(&["--prob"], 1), &["a_prob.npy: holds type '<i8'; probabilities are float32"]);
}

#[test]
fn titles_stand_above_the_panels() {
    let bench = Bench::new();
    let image = bench.draw(&["--labels", "labels", "--titles"]);
    assert!(image.width() > 3 * WIDTH && image.height() > HEIGHT + 12);
    let above = image.height() - HEIGHT - 8;
    assert!(image.enumerate_pixels().any(|(_, y, p)| y < above && p.0[0] < 90), "no text");
}

#[test]
fn a_legend_names_the_classes_that_occur() {
    let bench = Bench::new();
    let image = bench.draw(&["--labels", "labels", "--errors", "--legend"]);
    assert!(image.height() > HEIGHT + 60, "{}", image.height());
    let below = |color: [u8; 3]| image.enumerate_pixels().any(|(_, y, p)| y > HEIGHT + 16 && p.0 == color);
    // Classes 0, 1 and 2 are among the labelled pixels, 3 is predicted only where there is no label.
    assert!(below(camvid(0)) && below(camvid(1)) && below(camvid(2)) && !below(camvid(3)));
    assert!([Judgement::Right, Judgement::Wrong, Judgement::NotLabelled].iter().all(|j| below(j.color())));
}

#[test]
fn panels_are_scaled_with_clean_edges() {
    let bench = Bench::new();
    let image = bench.draw(&["--labels", "labels", "--scale", "2.5"]);
    assert_eq!(image.dimensions(), (900, 225));
    let mut colors: Vec<_> = image.enumerate_pixels().filter(|(x, ..)| *x >= 300).map(|(.., p)| p.0).collect();
    colors.sort();
    colors.dedup();
    assert_eq!(colors.len(), 5);
}

#[test]
fn the_whole_image_keeps_to_a_width() {
    let bench = Bench::new();
    bench.write_probability(0.7);
    let plain = bench.draw(&["--labels", "labels", "--max-width", "200"]);
    assert!((195..=200).contains(&plain.width()) && (48..=50).contains(&plain.height()), "{:?}", plain.dimensions());
    let more = ["--labels", "labels", "--max-width", "300", "--errors", "--prob", "--titles", "--legend"];
    assert!((270..=300).contains(&bench.draw(&more).width()));
    assert_eq!(bench.draw(&["--max-width", "5000"]).width(), 2 * WIDTH);
}

#[test]
fn jpeg_is_written_on_request() {
    let bench = Bench::new();
    let arguments = bench.arguments(&["--labels", "labels", "--format", "jpeg"]);
    stdout_of(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let bytes = fs::read(bench.path("out/a_concat.jpg")).unwrap();
    assert_eq!(image::guess_format(&bytes).unwrap(), image::ImageFormat::Jpeg);
    let image = image::load_from_memory(&bytes).unwrap().to_rgb8();
    assert_eq!(image.dimensions(), (3 * WIDTH, HEIGHT));
    let near = |a: [u8; 3], b: [u8; 3]| a.iter().zip(b).all(|(a, b)| a.abs_diff(b) < 12);
    assert!(near(stripe_colors(&image, 2)[1], camvid(2)));
}

#[test]
fn sixteen_bits_are_stretched() {
    let bench = Bench::new();
    let deep = ImageBuffer::from_fn(WIDTH, HEIGHT, |x, _| Luma([(20_000 + 10 * x) as u16]));
    image::DynamicImage::ImageLuma16(deep).save(bench.path("images/a.png")).unwrap();
    let image = bench.draw(&[]);
    let [dark, middle, light] = [0, WIDTH / 2, WIDTH - 1].map(|x| image.get_pixel(x, 9).0);
    assert_eq!((dark, light), ([0; 3], [255; 3]));
    assert!(middle[0].abs_diff(128) < 3 && middle[0] == middle[2], "{middle:?}");
}

#[test]
fn float_bands_are_stretched_together() {
    let bench = Bench::new();
    fs::remove_file(bench.path("images/a.png")).unwrap();
    let bands = |x: u32| [x as f32 / 119.0, 0.0, if x == 5 { f32::NAN } else { 1.0 }];
    let floats = ImageBuffer::from_fn(WIDTH, HEIGHT, |x, _| image::Rgb(bands(x)));
    image::DynamicImage::ImageRgb32F(floats).save(bench.path("images/a.tif")).unwrap();
    let image = bench.draw(&[]);
    assert_eq!([image.get_pixel(0, 0).0, image.get_pixel(119, 0).0], [[0, 0, 255], [255, 0, 255]]);
    // A pixel without data is blank.
    assert_eq!(image.get_pixel(5, 0).0, [255; 3]);
}

#[test]
fn without_a_data_set_a_class_has_its_generated_colour() {
    let bench = Bench::new();
    let colors = distinct_colors(4);
    let (prediction, images, out) = (bench.text("predictions/a.npy"), bench.text("images"), bench.text("out"));
    let plain = ["concat", "--image_predict", &prediction, "--images", &images, "--Output_path", &out];
    let stripes_with = |more: &[&str]| {
        stdout_of(&[plain.as_slice(), more].concat());
        stripe_colors(&image::open(bench.path("out/a_concat.png")).unwrap().to_rgb8(), 1)
    };
    assert_eq!(stripes_with(&["--legend"])[0].len(), 3);
    assert_eq!(stripes_with(&[]), [colors[0], colors[2], colors[3]]);
    // With 1..K, 0 is "not labelled", and 2 and 3 keep their colours.
    assert_eq!(stripes_with(&["--num_class", "3"]), [[0; 3], colors[2], colors[3]]);
}

#[test]
fn lists_are_drawn_line_by_line_with_the_old_flags() {
    let bench = Bench::new();
    let lists = ["predictions.txt", "images.txt", "labels.txt"].map(|name| bench.text(name));
    let [predictions, images, labels] = lists.each_ref().map(String::as_str);
    let out = bench.text("out");
    let arguments = ["concat", "--List_predict", predictions, "--Image_list", images, "--label_list", labels];
    let said = stdout_of(&[arguments.as_slice(), &["--dataset", "camvid", "--output_path", &out]].concat());
    assert_says(&said, &["3 figures in"]);
    assert!(["a", "b", "c"].iter().all(|stem| bench.path(&format!("out/{stem}_concat.png")).exists()));
}

#[test]
fn a_folder_of_predictions_leaves_probabilities_out() {
    let bench = Bench::new();
    bench.write_probability(0.5);
    let [predictions, images, labels, out] = ["predictions", "images", "labels", "out"].map(|name| bench.text(name));
    let arguments = ["concat", "--predictions", &predictions, "--images", &images, "--labels", &labels];
    let said = stdout_of(&[arguments.as_slice(), &["--dataset", "camvid", "--output-path", &out]].concat());
    assert_says(&said, &["3 figures in"]);
    assert_eq!(fs::read_dir(bench.path("out")).unwrap().count(), 3);
}

#[test]
fn the_image_beside_the_prediction_is_found() {
    let bench = Bench::new();
    fs::copy(bench.path("images/a.png"), bench.path("predictions/a.png")).unwrap();
    let (prediction, label, out) = (bench.text("predictions/a.npy"), bench.text("labels/a.png"), bench.text("out"));
    let arguments = ["concat", "--image-predict", &prediction, "--labels", &label, "--dataset", "camvid"];
    stdout_of(&[arguments.as_slice(), &["--output-path", &out]].concat());
    assert_eq!(image::open(bench.path("out/a_concat.png")).unwrap().width(), 3 * WIDTH);
}

#[test]
fn a_prediction_without_a_partner_is_named_before_any_work() {
    let bench = Bench::new();
    fs::remove_file(bench.path("labels/b.png")).unwrap();
    let [predictions, images, labels, out] = ["predictions", "images", "labels", "out"].map(|name| bench.text(name));
    let arguments = ["concat", "--predictions", &predictions, "--images", &images, "--labels", &labels];
    let message = stderr_of(&[arguments.as_slice(), &["--output-path", &out]].concat(), 1);
    assert_says(&message, &["1 of 3 predictions have no label image", "b.npy", "--label-list"]);
    assert!(!bench.path("out").exists());
}

/// The same images in folders with their masks, of 0 and 255, and predictions of them.
fn masks(bench: &Bench) {
    for stem in ["a", "b"] {
        for folder in ["images", "masks"] {
            fs::create_dir_all(bench.path(&format!("ids/{stem}/{folder}"))).unwrap();
        }
        fs::copy(bench.path(&format!("images/{stem}.png")), bench.path(&format!("ids/{stem}/images/{stem}.png")))
            .unwrap();
        for (name, values) in [("1", [255, 0, 0]), ("2", [0, 255, 0])] {
            stripes(values).save(bench.path(&format!("ids/{stem}/masks/{name}.png"))).unwrap();
        }
    }
    fs::remove_file(bench.path("predictions/c.npy")).unwrap();
    fs::create_dir(bench.path("masked")).unwrap();
    for stem in ["a", "b"] {
        stripes([255, 0, 255]).save(bench.path(&format!("masked/{stem}.png"))).unwrap();
    }
}

#[test]
fn folders_with_masks_are_images_and_labels() {
    let bench = Bench::new();
    masks(&bench);
    let [predictions, ids, images, out] = ["masked", "ids", "images", "out"].map(|name| bench.text(name));
    let drawn = |arguments: &[&str]| {
        stdout_of(&[&["concat", "--dataset", "earthquake", "--output-path", &out], arguments].concat());
        image::open(bench.path("out/b_concat.png")).unwrap().to_rgb8()
    };
    let colors = Dataset::find("earthquake").unwrap().colors();
    let (merged, predicted) = ([colors[1], colors[1], colors[0]], [colors[1], colors[0], colors[1]]);
    // Images and labels, images alone, labels alone beside images from elsewhere.
    let both = drawn(&["--predictions", &predictions, "--mask-folders", &ids]);
    assert_eq!((both.width(), both.get_pixel(33, 44)), (3 * WIDTH, &photo(33, 44)));
    assert_eq!((stripe_colors(&both, 1), stripe_colors(&both, 2)), (merged, predicted));
    let without = drawn(&["--predictions", &predictions, "--images", &ids]);
    assert_eq!((without.width(), stripe_colors(&without, 1)), (2 * WIDTH, predicted));
    let elsewhere = drawn(&["--predictions", &predictions, "--images", &images, "--mask-folders", &ids]);
    assert_eq!(elsewhere, both);
    let labels = drawn(&["--mask-folders", &ids]);
    assert_eq!((labels.width(), stripe_colors(&labels, 1)), (2 * WIDTH, merged));

    // Two predictions of one image do not become one.
    fs::write(bench.path("twice.txt"), "masked/a.png\npredictions/a.npy\n").unwrap();
    let twice = bench.text("twice.txt");
    let arguments = ["concat", "--list-predict", &twice, "--mask-folders", &ids, "--output-path", &out];
    assert_says(&stderr_of(&arguments, 1), &["would both be written as", "a_concat.png"]);

    fs::remove_dir_all(bench.path("ids/b")).unwrap();
    let arguments = ["concat", "--predictions", &predictions, "--mask-folders", &ids, "--output-path", &out];
    assert_says(&stderr_of(&arguments, 1), &["1 of 2 predictions have no image", "b.png", "ids"]);
}

#[test]
fn labels_are_drawn_without_predictions() {
    let bench = Bench::new();
    let [images, labels, out] = ["images", "labels", "out"].map(|name| bench.text(name));
    let common = ["concat", "--dataset", "camvid", "--output-path", &out, "--titles", "--legend"];
    let said = stdout_of(&[&common[..], &["--images", &images, "--labels", &labels]].concat());
    assert_says(&said, &["3 figures in"]);
    let [image_list, label_list] = ["images.txt", "labels.txt"].map(|name| bench.text(name));
    stdout_of(&[&common[..], &["--image-list", &image_list, "--label-list", &label_list]].concat());
    // Beside the labels, an image of the same stem.
    fs::write(bench.path("one.txt"), "labels/x.png\n").unwrap();
    fs::copy(bench.path("labels/a.png"), bench.path("labels/x.png")).unwrap();
    image::open(bench.path("images/a.png")).unwrap().save(bench.path("labels/x.jpg")).unwrap();
    let one = bench.text("one.txt");
    stdout_of(&["concat", "--dataset", "camvid", "--output-path", &out, "--label-list", &one]);
    let drawn = image::open(bench.path("out/x_concat.png")).unwrap().to_rgb8();
    assert_eq!(drawn.dimensions(), (2 * WIDTH, HEIGHT));
    assert_eq!(stripe_colors(&drawn, 1), [camvid(0), camvid(1), [0; 3]]);
    for more in [["--errors"], ["--prob"]] {
        let arguments = [&common[..5], &["--images", &images, "--labels", &labels], &more].concat();
        assert_says(&stderr_of(&arguments, 2), &["--image-predict"]);
    }
}

#[test]
fn a_vertical_layout_stands_panels_on_each_other() {
    let bench = Bench::new();
    let column = bench.draw(&["--labels", "labels", "--errors", "--layout", "Vertical"]);
    assert_eq!(column.dimensions(), (WIDTH, 4 * HEIGHT));
    let row = bench.draw(&["--labels", "labels", "--errors"]);
    for panel in 0..4 {
        for (x, y) in [(5, 5), (60, 40), (119, 89)] {
            assert_eq!(column.get_pixel(x, panel * HEIGHT + y), row.get_pixel(panel * WIDTH + x, y), "{panel}");
        }
    }
    // A width is that of one panel.
    let narrow = bench.draw(&["--labels", "labels", "--layout", "vertical", "--max-width", "60"]);
    assert_eq!(narrow.dimensions(), (60, 3 * 45));
    let titled = bench.draw(&["--labels", "labels", "--layout", "vertical", "--titles", "--legend"]);
    assert!(titled.height() > 3 * HEIGHT + 3 * 12 && titled.width() < 2 * WIDTH + 200, "{:?}", titled.dimensions());
    assert_says(&bench_refusal(&bench), &["there is no layout 'diagonal'; there are horizontal, vertical"]);
}

fn bench_refusal(bench: &Bench) -> String {
    let arguments = bench.arguments(&["--layout", "diagonal"]);
    stderr_of(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), 2)
}

#[test]
fn lists_of_unequal_length_are_refused() {
    let bench = Bench::new();
    fs::write(bench.path("labels.txt"), "labels/a.png\n").unwrap();
    assert_says(&bench.draw_lists(1), &["they name 1 and ", "predictions.txt has entries without a partner"]);
    fs::write(bench.path("labels.txt"), "labels/a.png\n".repeat(5)).unwrap();
    assert_says(&bench.draw_lists(1), &["they name 5 and ", "labels.txt has entries without a partner"]);
    assert!(!bench.path("out").exists());
}

#[test]
fn what_cannot_be_drawn_is_skipped_and_named() {
    let bench = Bench::new();
    image::open(bench.path("images/a.png")).unwrap().crop(0, 0, 50, 40).save(bench.path("images/a.png")).unwrap();
    let whole = fs::read(bench.path("predictions/b.npy")).unwrap();
    fs::write(bench.path("predictions/b.npy"), &whole[..whole.len() - 9]).unwrap();
    let message = bench.draw_lists(3);
    assert_says(&message, &["a.png is 50x40", "a.npy is 120x90", "b.npy: the .npy file is cut short"]);
    assert_says(&message, &["2 of 3 predictions were skipped"]);
    assert!(bench.path("out/c_concat.png").exists() && !bench.path("out/b_concat.png").exists());
}

#[test]
fn nothing_to_draw_is_a_failure() {
    let bench = Bench::new();
    for stem in ["a", "b", "c"] {
        RgbImage::from_fn(WIDTH, HEIGHT, photo).save(bench.path(&format!("labels/{stem}.jpg"))).unwrap();
    }
    fs::write(bench.path("labels.txt"), "labels/a.jpg\nlabels/b.jpg\nlabels/gone.png\n").unwrap();
    let message = bench.draw_lists(1);
    assert_says(&message, &["a JPEG cannot hold labels", "gone.png: No such file", "none of the 3 predictions"]);
}

#[test]
fn values_outside_the_data_set_are_named() {
    let bench = Bench::new();
    bench.predict("a", [0, 40, 3]);
    assert_says(&bench.refused(&[], 1), &["a.npy: predicted value 40 at pixel (40, 0)", "'camvid'"]);
    bench.predict("a", [0, 1, 3]);
    stripes([0, 77, VOID]).save(bench.path("labels/a.png")).unwrap();
    assert_says(&bench.refused(&["--labels", "labels"], 1), &["a.png: label 77 at pixel (40, 0)"]);
}

#[test]
fn two_predictions_of_one_stem_are_refused() {
    let bench = Bench::new();
    fs::write(bench.path("predictions.txt"), "predictions/a.npy\n".repeat(3)).unwrap();
    assert_says(&bench.draw_lists(1), &["would both be written as", "a_concat.png"]);
    assert!(!bench.path("out").exists());
}

#[test]
fn wrong_command_lines_end_with_2() {
    let bench = Bench::new();
    for more in [
        ["--overlay", "1.5"],
        ["--format", "gif"],
        ["--scale", "0"],
        ["--max-width", "0"],
        ["--num-class", "3"],
        ["--predictions", "x"],
        ["--label-list", "x"].map(|word| if word == "x" { "--errors=1" } else { word }),
    ] {
        bench.refused(&more, 2);
    }
    assert_says(&bench.refused(&["--format", "gif"], 2), &["there are png, jpeg"]);
    stderr_of(&["concat", "--output-path", "x"], 2);
}

#[test]
fn a_colour_tiff_of_labels_is_read_through_the_data_set() {
    let bench = Bench::new();
    let color = |x: u32| image::Rgb([camvid(0), camvid(1), [0; 3]][(x / STRIPE) as usize]);
    fs::remove_file(bench.path("labels/a.png")).unwrap();
    RgbImage::from_fn(WIDTH, HEIGHT, |x, _| color(x)).save(bench.path("labels/a.tif")).unwrap();
    assert_eq!(stripe_colors(&bench.draw(&["--labels", "labels"]), 1), [camvid(0), camvid(1), [0; 3]]);
}

/// The original model's own prediction, `ade/ADE_val_00001772.jpg` and `.npy` below `SEGTOOL_DATA`.
#[test]
fn the_original_models_prediction_is_drawn() {
    let data = std::env::var_os("SEGTOOL_DATA").map(|data| Path::new(&data).join("ade"));
    let Some(data) = data.filter(|data| data.join("ADE_val_00001772.npy").exists()) else {
        #[allow(clippy::print_stdout)]
        {
            println!("skipped: SEGTOOL_DATA does not name a folder with ade/ADE_val_00001772.npy");
        }
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let (folder, out_text) = (text(&data), text(out.path()));
    stdout_of(&["concat", "--predictions", &folder, "--dataset", "ade20k", "--output-path", &out_text]);
    let image = image::open(out.path().join("ADE_val_00001772_concat.png")).unwrap().to_rgb8();
    assert_eq!(image.dimensions(), (2 * 640, 480));
    let values: Array2<i64> = ndarray_npy::read_npy(data.join("ADE_val_00001772.npy")).unwrap();
    let colors = Dataset::find("ade20k").unwrap().colors();
    for ((y, x), &value) in values.indexed_iter() {
        assert_eq!(image.get_pixel(640 + x as u32, y as u32).0, colors[value as usize - 1], "({x}, {y})");
    }
}

/// Label images are looked at before anything is drawn, also where images are decoded on all cores.
#[test]
fn tiffs_are_drawn_with_labels_and_a_data_set() {
    let bench = Bench::new();
    for stem in ["a", "b", "c"] {
        let image = bench.path(&format!("images/{stem}.png"));
        image::open(&image).unwrap().save(image.with_extension("tif")).unwrap();
        fs::remove_file(image).unwrap();
    }
    let [predictions, images, labels, out] = ["predictions", "images", "labels", "out"].map(|name| bench.text(name));
    let inputs = ["concat", "--predictions", &predictions, "--images", &images, "--labels", &labels];
    for more in [&[][..], &["--workers", "2"]] {
        let said = stdout_of(&[&inputs[..], &["--dataset", "camvid", "--output-path", &out], more].concat());
        assert!(said.starts_with("3 figures in "), "{said}");
    }
}
