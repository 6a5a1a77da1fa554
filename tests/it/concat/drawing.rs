//! What is drawn, pixel by pixel.

use std::fs;

use image::{ImageBuffer, Luma, RgbImage};
use ndarray::Array2;
use segtool::data::Dataset;
use segtool::draw::Judgement;
use segtool::image::distinct_colors;

use super::{Bench, HEIGHT, STRIPE, WIDTH, camvid, photo, stripe_colors};
use crate::common::{assert_says, stdout_of, text};

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
    bench.command(&["--labels", "labels", "--format", "jpeg"]).run();
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
    let refused = bench.command(&["--layout", "diagonal"]).fails_with(2);
    assert_says(&refused, &["unknown layout 'diagonal'; choose horizontal or vertical"]);
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
    let Some(prediction) = crate::common::real::real("ade/ADE_val_00001772.npy") else { return };
    let out = tempfile::tempdir().unwrap();
    let (folder, out_text) = (text(prediction.parent().unwrap()), text(out.path()));
    stdout_of(&["concat", "--predictions", &folder, "--dataset", "ade20k", "--output-path", &out_text]);
    let image = image::open(out.path().join("ADE_val_00001772_concat.png")).unwrap().to_rgb8();
    assert_eq!(image.dimensions(), (2 * 640, 480));
    let values: Array2<i64> = ndarray_npy::read_npy(prediction).unwrap();
    let colors = Dataset::find("ade20k").unwrap().colors();
    for ((y, x), &value) in values.indexed_iter() {
        assert_eq!(image.get_pixel(640 + x as u32, y as u32).0, colors[value as usize - 1], "({x}, {y})");
    }
}
