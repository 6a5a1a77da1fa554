//! What is proposed for label images of all kinds.

use image::{DynamicImage, ImageBuffer, ImageFormat, Rgba, RgbaImage};
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segtool::base::label_map::IGNORE;
use segtool::data::{Normalisation, ValidPixels};

use super::*;

#[test]
fn values_become_classes_with_their_shares() {
    let folder = tempfile::tempdir().unwrap();
    write_values(&folder.path().join("a.png"), &[0, 1, 3, 0]);
    write_values(&folder.path().join("b.png"), &[0, 1]);
    let proposal = fitting(folder.path());
    assert_eq!(classes(&proposal), [("background", 0), ("class 1", 1), ("class 3", 3)]);
    assert_eq!(proposal.dataset.bands, 3);
    assert_eq!(proposal.dataset.normalisation, Normalisation::PerDataset { valid: ValidPixels::All });
    assert!(line_of(&proposal.text, "values = 1,").ends_with("# 50.00 % of the pixels, in 2 of 2 files"));
    assert!(line_of(&proposal.text, "values = 3,").ends_with("# 12.50 % of the pixels, in 1 of 2 files"));
    let colors = proposal.dataset.colors();
    assert!((0..3).all(|i| colors[..i].iter().all(|other| *other != colors[i])), "{colors:?}");
}

#[test]
fn masks_of_0_and_255_and_of_0_and_1_have_a_background_and_a_foreground() {
    for value in [255, 1] {
        let folder = tempfile::tempdir().unwrap();
        write_values(&folder.path().join("a.png"), &[0, value]);
        // One may be empty, or saved in colour.
        write_values(&folder.path().join("b.png"), &[0]);
        write_colors(&folder.path().join("c.png"), &[[0; 3], [value; 3]]);
        let proposal = fitting(folder.path());
        assert_eq!(classes(&proposal), [("background", 0), ("foreground", value.into())]);
        assert!(proposal.dataset.ignore.is_empty());
    }
}

#[test]
fn values_apart_from_the_others_are_not_labelled() {
    for (values, ignored) in [
        (&[0, 1, 2, 255][..], true),
        (&[1, 7, 33, 255], true),
        // Grey levels as people paint them.
        (&[0, 85, 170, 255], false),
        (&[0, 128, 255], false),
        (&[0, 255], false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write_values(&folder.path().join("a.png"), values);
        let proposal = fitting(folder.path());
        assert_eq!(proposal.dataset.class_count(), values.len() - usize::from(ignored), "{values:?}");
        assert_eq!(proposal.dataset.value_table()[255] == Some(IGNORE), ignored, "{values:?}");
        assert_eq!(proposal.text.contains("separated by a gap from the numbers of the classes"), ignored);
    }
}

#[test]
fn minus_one_is_not_labelled() {
    let folder = tempfile::tempdir().unwrap();
    let value = |y: usize, x: usize| if x < 4 && y < 4 { -1 } else { i32::from(x > 9) + i32::from(y > 9) };
    let path = folder.path().join("a.npy");
    ndarray_npy::write_npy(&path, &Array2::from_shape_fn((20, 20), |(y, x)| value(y, x))).unwrap();
    let proposal = fitting(folder.path());
    assert_eq!(classes(&proposal), [("background", 0), ("class 1", 1), ("class 2", 2)]);
    assert_eq!(first_class(&path, &proposal), IGNORE);
}

#[test]
fn values_of_16_bits_are_classes_unless_there_are_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let write = |step: u32| {
        let value = |x, y| (x + SIDE * y) / step * step;
        let image = ImageBuffer::<Luma<u16>, _>::from_fn(SIDE, SIDE, |x, y| Luma([value(x, y) as u16]));
        image.save(folder.path().join("a.tif")).unwrap();
    };
    write(400);
    let expected = [("background", 0), ("class 400", 400), ("class 800", 800), ("class 1200", 1200)];
    assert_eq!(classes(&fitting(folder.path())), expected);
    write(1);
    let message = refused(folder.path());
    assert!(message.contains("values 0 to 1599 (1 file); are they object numbers"), "{message}");
}

#[test]
fn tens_of_thousands_of_negative_numbers_are_no_classes() {
    let folder = tempfile::tempdir().unwrap();
    let depth = |(y, x): (usize, usize)| -2 - (x + 200 * y) as i32;
    ndarray_npy::write_npy(folder.path().join("a.npy"), &Array2::from_shape_fn((200, 200), depth)).unwrap();
    let message = refused(folder.path());
    assert!(message.contains("at least two classes"), "{message}");
}

#[test]
fn a_value_of_65535_beside_usual_ones_is_not_labelled() {
    let folder = tempfile::tempdir().unwrap();
    let values = [0, 1, 255, u16::MAX];
    let image = ImageBuffer::<Luma<u16>, _>::from_fn(SIDE, SIDE, |x, y| Luma([values[quarter(x, y, 4)]]));
    image.save(folder.path().join("a.tif")).unwrap();
    assert_eq!(fitting(folder.path()).dataset.value_table()[usize::from(u16::MAX)], Some(IGNORE));
}

#[test]
fn thin_lines_between_classes_are_not_labelled() {
    let folder = tempfile::tempdir().unwrap();
    let on_line = |x: u32, y: u32| [x, y].iter().any(|at| (SIDE / 2 - 1..=SIDE / 2).contains(at));
    let value = |x, y| if on_line(x, y) { 0 } else { 1 + quarter(x, y, 3) as u8 };
    GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([value(x, y)])).save(folder.path().join("a.png")).unwrap();
    let proposal = fitting(folder.path());
    assert_eq!(classes(&proposal), [("class 1", 1), ("class 2", 2), ("class 3", 3)]);
    assert_eq!(proposal.dataset.value_table()[0], Some(IGNORE));
    assert!(line_of(&proposal.text, "  0,").contains("only in thin lines between the classes"));
    // Where 0 fills areas, too, it is a class.
    write_values(&folder.path().join("b.png"), &[0, 1]);
    assert_eq!(fitting(folder.path()).dataset.class_count(), 4);
}

#[test]
fn colours_become_classes_black_first() {
    let folder = tempfile::tempdir().unwrap();
    let (red, blue) = ([200, 0, 0], [0, 0, 255]);
    write_colors(&folder.path().join("a.png"), &[red, red, blue, [0; 3]]);
    let proposal = fitting(folder.path());
    assert_eq!(classes(&proposal), [("background", 0), ("class 1", 1), ("class 2", 2)]);
    assert_eq!(proposal.dataset.colors(), [[0; 3], red, blue]);
    assert!(line_of(&proposal.text, "color = [200, 0, 0]").ends_with("# 50.00 % of the pixels, in 1 of 1 files"));
}

#[test]
fn what_is_transparent_is_not_labelled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strokes.png");
    let image = RgbaImage::from_fn(SIDE, SIDE, |x, y| match (x / 10, y / 10) {
        (2, _) => Rgba([200, 0, 0, 255]),
        (_, 2) => Rgba([0, 0, 255, 255]),
        _ => Rgba([0; 4]),
    });
    image.save(&path).unwrap();
    let proposal = fitting(folder.path());
    assert_eq!(proposal.dataset.colors(), [[200, 0, 0], [0, 0, 255]]);
    assert_eq!(first_class(&path, &proposal), IGNORE);
    assert!(line_of(&proposal.text, "  [0, 0, 0],").contains("transparent wherever it occurs"));
}

#[test]
fn palettes_give_the_classes_their_colours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    write_indices(&path, &[0, 0, 0, 128, 0, 0, 0, 128, 0], |x, y| quarter(x, y, 3) as u8);
    let proposal = fitting(folder.path());
    assert_eq!(classes(&proposal), [("background", 0), ("class 1", 1), ("class 2", 2)]);
    assert_eq!(proposal.dataset.colors(), [[0; 3], [128, 0, 0], [0, 128, 0]]);
    // The same labels saved in colour mean the same.
    let in_color = folder.path().join("b.png");
    write_colors(&in_color, &[[128, 0, 0], [0, 0, 0]]);
    assert_eq!(first_class(&in_color, &fitting(folder.path())), 1);
    // A grey ramp is what programs write for lack of a palette.
    fs::remove_file(in_color).unwrap();
    let ramp: Vec<u8> = (0..=255).flat_map(|level| [level; 3]).collect();
    write_indices(&path, &ramp, |x, y| quarter(x, y, 3) as u8);
    let colors = fitting(folder.path()).dataset.colors();
    assert!(colors.iter().all(|[r, g, b]| r != g || g != b), "{colors:?}");
}

#[test]
fn grey_colours_are_values() {
    let folder = tempfile::tempdir().unwrap();
    write_colors(&folder.path().join("a.png"), &[[0; 3], [1; 3], [2; 3]]);
    write_values(&folder.path().join("b.png"), &[0, 2, 3]);
    let proposal = fitting(folder.path());
    assert_eq!(classes(&proposal), [("background", 0), ("class 1", 1), ("class 2", 2), ("class 3", 3)]);
    let colors = proposal.dataset.colors();
    assert!(colors.iter().all(|[r, g, b]| r != g || g != b), "to be told apart in drawings: {colors:?}");
}

/// The share of a pixel that a disc covers whose edge is two pixels wide.
fn covered(x: u32, y: u32) -> f64 {
    let distance = f64::hypot(f64::from(x) - 19.5, f64::from(y) - 19.5);
    ((13.0 - distance) / 2.0).clamp(0.0, 1.0)
}

#[test]
fn soft_edges_are_told_from_classes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([(255.0 * covered(x, y)) as u8])).save(&path).unwrap();
    let proposal = fitting(folder.path());
    assert_eq!(classes(&proposal), [("background", 0), ("foreground", 255)]);
    assert!(proposal.text.contains("other_values = \"unlabelled\"") && proposal.text.contains("Soft edges"));
    let mixed = |x, y| [200.0, 40.0, 90.0].map(|channel| (channel * covered(x, y)) as u8);
    RgbImage::from_fn(SIDE, SIDE, |x, y| Rgb(mixed(x, y))).save(&path).unwrap();
    let message = refused(folder.path());
    for expected in ["soft edges: 2 colours fill areas ([0, 0, 0] (", "[200, 40, 90] (", "without anti-aliasing"] {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn label_images_that_went_through_jpeg_are_told_from_clean_ones() {
    let folder = tempfile::tempdir().unwrap();
    let inside = |x: u32, y: u32| f64::hypot(f64::from(x) - 99.5, f64::from(y) - 99.5) < 61.0;
    let save = |image: DynamicImage| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        image::load_from_memory(bytes.get_ref()).unwrap().save(folder.path().join("a.png")).unwrap();
    };
    save(GrayImage::from_fn(200, 200, |x, y| Luma([if inside(x, y) { 255 } else { 0 }])).into());
    let proposal = fitting(folder.path());
    assert_eq!(classes(&proposal), [("background", 0), ("foreground", 255)], "{}", proposal.text);
    save(RgbImage::from_fn(200, 200, |x, y| Rgb(if inside(x, y) { [200, 40, 90] } else { [0; 3] })).into());
    let message = refused(folder.path());
    assert!(message.contains("soft edges: "), "{message}");
}

#[test]
fn photographs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let noise = RgbImage::from_fn(300, 300, |_, _| Rgb(std::array::from_fn(|_| rng.random())));
    noise.save(folder.path().join("a.png")).unwrap();
    let message = refused(folder.path());
    assert!(message.contains("more than 65536 colours") && message.contains("images instead of labels?"), "{message}");
}

#[test]
fn thin_classes_are_no_soft_edges() {
    let folder = tempfile::tempdir().unwrap();
    // Strokes of ten classes, one pixel wide.
    let value = |x: u32, y: u32| if y.is_multiple_of(4) && x < 20 { y as u8 / 4 + 1 } else { 0 };
    GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([value(x, y)])).save(folder.path().join("a.png")).unwrap();
    assert_eq!(fitting(folder.path()).dataset.class_count(), 11);
}

#[test]
fn masks_of_objects_have_a_background() {
    let folder = tempfile::tempdir().unwrap();
    for id in ["a", "b"] {
        fs::create_dir_all(folder.path().join(id).join("images")).unwrap();
        fs::create_dir_all(folder.path().join(id).join("masks")).unwrap();
        write_colors(&folder.path().join(id).join("images/x.png"), &[[9, 200, 30]]);
    }
    write_values(&folder.path().join("a/masks/0.png"), &[0, 255]);
    write_values(&folder.path().join("a/masks/1.png"), &[255]);
    assert_eq!(classes(&fitting(folder.path())), [("background", 0), ("foreground", 255)]);
    // What no mask covers is background, even if no mask says so.
    write_values(&folder.path().join("a/masks/0.png"), &[255]);
    assert_eq!(classes(&fitting(folder.path())), [("background", 0), ("foreground", 255)]);
}

/// Three label images of one of four kinds, in blocks of a random size.
fn write_random(folder: &Path, kind: usize, rng: &mut ChaCha8Rng) {
    let count = rng.random_range(2..12);
    let palette: Vec<u8> = (0..768).map(|_| rng.random()).collect();
    let largest = [4u8, 30, 255][rng.random_range(0..3)];
    let values: Vec<u8> = (0..count).map(|_| rng.random_range(0..largest)).collect();
    let colors: Vec<[u8; 3]> = (0..count).map(|_| std::array::from_fn(|_| rng.random_range(0..3) * 127)).collect();
    for file in 0..3 {
        let (side, block) = (rng.random_range(1..50), rng.random_range(1..12u32));
        let places: Vec<usize> = (0..2500).map(|_| rng.random_range(0..count)).collect();
        let place = |x: u32, y: u32| places[(x / block + 50 * (y / block)) as usize];
        let path = folder.join(format!("{file}.png"));
        match kind {
            0 => RgbImage::from_fn(side, side, |x, y| Rgb(colors[place(x, y)])).save(&path).unwrap(),
            1 => write_indices(&path, &palette, |x, y| values[place(x, y)]),
            2 => {
                let value = |(y, x): (usize, usize)| i64::from(values[place(x as u32, y as u32)]) * 250;
                let labels = Array2::from_shape_fn((side as usize, side as usize), value);
                ndarray_npy::write_npy(path.with_extension("npy"), &labels).unwrap();
            }
            _ => GrayImage::from_fn(side, side, |x, y| Luma([values[place(x, y)]])).save(&path).unwrap(),
        }
    }
}

#[test]
fn every_proposal_fits_the_random_label_images_that_it_was_made_from() {
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    let mut proposals = 0;
    for round in 0..160 {
        let folder = tempfile::tempdir().unwrap();
        write_random(folder.path(), round % 4, &mut rng);
        let files = LabelFiles::find(&[folder.path().into()], &|_| ()).unwrap().files;
        match proposed(&files, None) {
            Ok(proposal) => {
                fits(&proposal, &files);
                proposals += 1;
            }
            // What is refused is refused for what it holds.
            Err(error) => assert!(error.to_string().contains("at least two classes"), "{round}: {error}"),
        }
    }
    assert!(proposals > 130, "{proposals}");
}
