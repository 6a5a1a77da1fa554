//! Faults planted one by one in copies of a clean set: each is found, and nothing else that is serious.

use std::fs::{self, File};

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, GrayAlphaImage, GrayImage, ImageBuffer, ImageEncoder, Luma, LumaA, Rgb, RgbImage};
use segtool::check::{Check, Kind, Severity};
use segtool::data::{Dataset, StoredNumber};
use segtool::train::{Source, Validation};

use super::{SIDE, Set, TRAINING, copy, kinds, label_names, list, section_part};
use crate::orientation::exif;

/// Kind and severity of what a fault is found as, the file that the finding must name, and how it is planted.
type Planted = (Kind, Severity, &'static str, fn(&Set));

const PLANTED: &[Planted] = &[
    (Kind::MissingLabel, Severity::Error, "003.png", |set| fs::remove_file(set.path("labels/003.png")).unwrap()),
    (Kind::MissingImage, Severity::Error, "003.png", |set| fs::remove_file(set.path("images/003.png")).unwrap()),
    (Kind::SameStem, Severity::Error, "003", |set| copy(&set.path("images/003.png"), &set.path("images/003.bmp"))),
    (Kind::Unreadable, Severity::Error, "images/003.png", |set| cut(set, "images/003.png")),
    (Kind::Unreadable, Severity::Error, "labels/003.png", |set| cut(set, "labels/003.png")),
    (Kind::SizeMismatch, Severity::Error, "labels/003.png", |set| {
        GrayImage::new(SIDE, SIDE - 6).save(set.path("labels/003.png")).unwrap();
    }),
    (Kind::UndefinedLabel, Severity::Error, "labels/003.png", |set| {
        set.change("labels/003.png", |x, y, value| if (x, y) == (7, 5) { 9 } else { value });
    }),
    (Kind::Bands, Severity::Error, "images/003.png", |set| {
        let gray = image::open(set.path("images/003.png")).unwrap().to_luma8();
        let colors = RgbImage::from_fn(SIDE, SIDE, |x, y| Rgb([gray.get_pixel(x, y)[0], 9, 200]));
        colors.save(set.path("images/003.png")).unwrap();
    }),
    (Kind::SampleType, Severity::Warning, "images/003.png", |set| {
        let gray = image::open(set.path("images/003.png")).unwrap().to_luma8();
        let wide: ImageBuffer<Luma<u16>, Vec<u16>> =
            ImageBuffer::from_fn(SIDE, SIDE, |x, y| Luma([257 * u16::from(gray.get_pixel(x, y)[0])]));
        wide.save(set.path("images/003.png")).unwrap();
    }),
    (Kind::ValueRange, Severity::Warning, "images/003.png", |set| {
        set.change("images/003.png", |_, _, value| u8::from(value > 70));
    }),
    (Kind::ConstantImage, Severity::Warning, "images/003.png", |set| set.change("images/003.png", |_, _, _| 80)),
    (Kind::Nodata, Severity::Warning, "images/003.png", |set| {
        let gray = image::open(set.path("images/003.png")).unwrap().to_luma8();
        let clear =
            GrayAlphaImage::from_fn(SIDE, SIDE, |x, y| LumaA([gray.get_pixel(x, y)[0], u8::from(y == 0 && x < 50)]));
        clear.save(set.path("images/003.png")).unwrap();
    }),
    (Kind::Orientation, Severity::Note, "images/003.png", |set| {
        let gray = image::open(set.path("images/003.png")).unwrap().to_luma8();
        let mut encoder = PngEncoder::new(File::create(set.path("images/003.png")).unwrap());
        encoder.set_exif_metadata(exif(3)).unwrap();
        encoder.write_image(gray.as_raw(), SIDE, SIDE, ExtendedColorType::L8).unwrap();
    }),
    (Kind::Duplicate, Severity::Warning, "val_images/x.png", |set| {
        copy(&set.path("images/003.png"), &set.path("val_images/x.png"));
        copy(&set.path("labels/003.png"), &set.path("val_labels/x.png"));
    }),
    (Kind::ConflictingLabels, Severity::Warning, "images/x.png", |set| {
        copy(&set.path("images/003.png"), &set.path("images/x.png"));
        copy(&set.path("labels/004.png"), &set.path("labels/x.png"));
        set.change("labels/x.png", |x, _, value| if x < 30 { 0 } else { value });
    }),
    (Kind::NearDuplicate, Severity::Warning, "val_images/x.png", |set| {
        let (image, label) = section_part(3, 0, SIDE as usize);
        let turned = image::imageops::flip_horizontal(&image);
        let darker = GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([10 + turned.get_pixel(x, y)[0] / 5 * 4]));
        set.write("val_", "x.png", (darker, image::imageops::flip_horizontal(&label)));
    }),
    (Kind::CopiedLabels, Severity::Warning, "labels/004.png", |set| {
        copy(&set.path("labels/003.png"), &set.path("labels/004.png"));
    }),
    (Kind::Overlap, Severity::Warning, "val_images/x.png", |set| {
        set.write("val_", "x.png", section_part(3, SIDE as usize / 2, SIDE as usize));
    }),
    (Kind::Georeference, Severity::Warning, "val_images/012.png", |set| {
        fs::write(set.path("images/003.pgw"), "10\n0\n0\n-10\n500005\n4000005\n").unwrap();
        fs::write(set.path("val_images/012.pgw"), "10\n0\n0\n-10\n500105\n4000105\n").unwrap();
    }),
    (Kind::EmptyLabels, Severity::Note, "images/003.png", |set| set.change("labels/003.png", |_, _, _| 0)),
    (Kind::ShiftedLabels, Severity::Warning, "", |set| {
        label_names().for_each(|name| shift(set, &name));
    }),
    (Kind::MissingClass, Severity::Warning, "", |set| {
        for index in 12..16 {
            set.change(&format!("val_labels/{index:03}.png"), |_, _, value| if value == 3 { 0 } else { value });
        }
    }),
];

fn shift(set: &Set, name: &str) {
    let old = image::open(set.path(name)).unwrap().to_luma8();
    set.change(name, |x, y, _| old.get_pixel((x + 6).min(SIDE - 1), y.saturating_sub(4))[0]);
}

fn cut(set: &Set, name: &str) {
    let bytes = fs::read(set.path(name)).unwrap();
    fs::write(set.path(name), &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn a_clean_set_has_no_findings() {
    let report = Set::new().report();
    assert_eq!(kinds(&report), [], "{:?}", report.findings);
    assert!(!report.would_fail());
}

#[test]
fn every_planted_fault_is_found_and_nothing_else() {
    for (kind, severity, file, plant) in PLANTED {
        let set = Set::new();
        plant(&set);
        let report = set.report();
        let found = report.of_kind(*kind).find(|finding| finding.severity == *severity);
        let found = found.unwrap_or_else(|| panic!("{kind:?} is not in {:?}", report.findings));
        let names = |path: &std::path::Path| path.display().to_string().contains(file);
        let named = found.places.iter().any(|place| names(&place.file) || place.with.as_deref().is_some_and(names));
        assert!(file.is_empty() || named, "{kind:?}: {found:?}");
        // What follows from the fault may be told, too.
        let allowed: &[Kind] = match kind {
            Kind::ConflictingLabels => &[Kind::Duplicate],
            Kind::Nodata => &[Kind::NoLabels, Kind::ConstantImage],
            Kind::Orientation => &[Kind::ShiftedLabels],
            _ => &[],
        };
        let others: Vec<_> = kinds(&report)
            .into_iter()
            .filter(|(other, severity)| other != kind && *severity != Severity::Note && !allowed.contains(other))
            .collect();
        assert_eq!(others, [], "{kind:?}: {:?}", report.findings);
        assert_eq!(report.would_fail(), *severity == Severity::Error, "{kind:?}");
    }
}

#[test]
fn the_shift_of_a_single_pair_is_not_one_of_all_labels() {
    let set = Set::new();
    for index in (0..TRAINING).filter(|index| *index != 3) {
        ["images", "labels"].iter().for_each(|folder| {
            fs::remove_file(set.path(&format!("{folder}/{index:03}.png"))).unwrap();
        });
    }
    shift(&set, "labels/003.png");
    let report = Check { validation: Validation::None, ..set.check() }.run(&|_| ()).unwrap();
    let mut shifts = report.of_kind(Kind::ShiftedLabels);
    assert!(shifts.all(|finding| finding.places.len() == 1), "{:?}", report.findings);
}

#[test]
fn undefined_values_are_told_with_their_first_pixel_and_count() {
    let set = Set::new();
    set.change("labels/003.png", |x, y, value| if (x == 7 || x == 8) && y == 5 { 9 } else { value });
    let report = set.report();
    let place = &report.of_kind(Kind::UndefinedLabel).next().unwrap().places[0];
    assert_eq!(place.detail, "9 in 2 of its pixels, first at (7, 5)");
}

#[test]
fn codings_of_labels_are_recognised_with_a_mapping() {
    let two =
        Dataset { classes: Dataset::find("demo").unwrap().classes[..2].to_vec(), ..Dataset::find("demo").unwrap() };
    let mapping = |set: &Set, dataset: &Dataset| {
        let report = Check { dataset: Some(dataset.clone()), ..set.check() }.run(&|_| ()).unwrap();
        assert!(report.would_fail());
        report.of_kind(Kind::LabelCoding).next().unwrap_or_else(|| panic!("{:?}", report.findings)).message.clone()
    };
    let masks = Set::new();
    label_names().for_each(|name| masks.change(&name, |_, _, value| if value > 0 { 255 } else { 0 }));
    let said = mapping(&masks, &two);
    assert!(said.contains("masks of two values") && said.contains("255 = sand"), "{said}");

    let dataset = Dataset::find("demo").unwrap();
    let colors = Set::new();
    let shifted = |i: u8| dataset.classes[usize::from(i)].color;
    label_names().for_each(|name| {
        let old = image::open(colors.path(&name)).unwrap().to_luma8();
        RgbImage::from_fn(SIDE, SIDE, |x, y| Rgb(shifted(old.get_pixel(x, y)[0]).map(|v| v ^ 1)))
            .save(colors.path(&name))
            .unwrap();
    });
    assert!(mapping(&colors, &dataset).contains("colours"), "{}", mapping(&colors, &dataset));

    let palettes = Set::new();
    label_names().for_each(|name| {
        let old = image::open(palettes.path(&name)).unwrap().to_luma8();
        let mut encoder = png::Encoder::new(File::create(palettes.path(&name)).unwrap(), SIDE, SIDE);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        let mut palette = vec![0; 30];
        dataset.classes.iter().for_each(|class| palette.extend(class.color));
        encoder.set_palette(palette);
        let indices: Vec<u8> = old.into_raw().into_iter().map(|value| value + 10).collect();
        encoder.write_header().unwrap().write_image_data(&indices).unwrap();
    });
    let said = mapping(&palettes, &dataset);
    assert!(said.contains("palette") && said.contains("11 = sand") && said.contains("13 = fault"), "{said}");
}

#[test]
fn lists_are_checked_for_what_they_name() {
    let set = Set::new();
    let names = |folder: &str, range: std::ops::Range<u64>| -> Vec<String> {
        range.map(|i| format!("{folder}/{i:03}.png")).collect()
    };
    let found = |images: &[String], labels: &[String]| {
        let source = Source::Lists { images: list(&set, "i.txt", images), labels: list(&set, "l.txt", labels) };
        let check = Check { validation: Validation::None, images: source, ..set.check() };
        check.run(&|_| ()).unwrap()
    };
    let (images, labels) = (names("images", 0..12), names("labels", 0..12));
    assert_eq!(kinds(&found(&images, &labels)), []);
    // One is missing: the others are paired by their names.
    let short = [&labels[..3], &labels[4..]].concat();
    let report = found(&images, &short);
    assert_eq!(kinds(&report), [(Kind::MissingLabel, Severity::Error), (Kind::ListLength, Severity::Error)]);
    let gone = [&images[..11], &["images/gone.png".to_owned()]].concat();
    let report = found(&gone, &labels);
    assert!(kinds(&report).contains(&(Kind::MissingFile, Severity::Error)), "{:?}", report.findings);
    let twice = [&images[..11], &images[3..4]].concat();
    assert!(kinds(&found(&twice, &labels)).contains(&(Kind::ListedTwice, Severity::Warning)));
    let mut reversed = labels.clone();
    reversed.swap(0, 1);
    assert!(kinds(&found(&images, &reversed)).contains(&(Kind::NamesDiffer, Severity::Warning)));
    assert_eq!(kinds(&found(&labels, &images)), [(Kind::Swapped, Severity::Error)]);
}

#[test]
fn groups_scenes_and_labels_that_say_nothing_are_told() {
    let set = Set::new();
    for index in 0..12 {
        for folder in ["images", "labels"] {
            let to = format!("{folder}/s{}_{index}.png", index % 3);
            fs::rename(set.path(&format!("{folder}/{index:03}.png")), set.path(&to)).unwrap();
        }
    }
    set.change("labels/s0_3.png", |_, _, _| 255);
    let ignoring = Dataset { ignore: vec![StoredNumber(255.0)], ..Dataset::find("demo").unwrap() };
    let fraction = Check { validation: Validation::Fraction(0.3), dataset: Some(ignoring), ..set.check() };
    let report = fraction.run(&|_| ()).unwrap();
    assert!(kinds(&report).contains(&(Kind::NoLabels, Severity::Warning)), "{:?}", report.findings);
    let scenes = report.of_kind(Kind::SceneNames).next().unwrap();
    assert!(scenes.severity == Severity::Note && scenes.remedy.contains("group_by"), "{scenes:?}");
    let by = Some("^(s[0-9])_".parse().unwrap());
    let grouped = Check { group_by: by, ..fraction }.run(&|_| ()).unwrap();
    assert!(grouped.of_kind(Kind::SceneNames).next().is_none() && grouped.of_kind(Kind::SplitGroup).next().is_none());
    assert_eq!((grouped.pairs.training, grouped.pairs.validation), (8, 4));
}
