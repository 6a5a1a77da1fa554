//! TIFFs as GDAL and tifffile write them: `scripts/goldens/make_tiff_fixtures.py` made the files, and says what they hold.

use std::fs;
use std::path::{Path, PathBuf};

use segtool::image::{Image, NumberLabels, RawLabels, Samples, TiffRows, read_image, read_labels, read_size};
use serde_json::Value;

use crate::common::read_json;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiff")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap_or(f64::NAN)).collect()
}

fn as_numbers(samples: &Samples) -> Vec<f64> {
    match samples {
        Samples::U8(v) => v.iter().map(|&s| s.into()).collect(),
        Samples::U16(v) => v.iter().map(|&s| s.into()).collect(),
        Samples::F32(v) => v.iter().map(|&s| s.into()).collect(),
    }
}

fn assert_equal(name: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let equal = (found - f64::from(expected as f32)).abs() <= tolerance || (found.is_nan() && expected.is_nan());
        assert!(equal, "{name}: number {i} is {found}, not {expected}");
    }
}

fn check_image(name: &str, path: &Path, expected: &Value) {
    let raster = read_image(path).unwrap_or_else(|e| panic!("{e}"));
    let shape = numbers(&expected["shape"]);
    let bands = shape.get(2).copied().unwrap_or(1.0);
    let size = (raster.size.height as f64, raster.size.width as f64, raster.bands as f64);
    assert_eq!(size, (shape[0], shape[1], bands), "{name}");
    assert_eq!(read_size(path), Some(raster.size), "{name}");
    let tolerance = expected["tolerance"].as_f64().unwrap_or(0.0);
    assert_equal(name, &as_numbers(&raster.samples), &numbers(&expected["values"]), tolerance);
    let alpha = raster.alpha.as_ref().map(|alpha| as_numbers(&alpha.samples));
    assert_eq!(alpha, expected.get("alpha").map(numbers), "{name}");
    let nodata = raster.nodata.unwrap_or_default();
    let places: Vec<f64> = (0..nodata.len()).filter(|i| nodata[*i]).map(|i| i as f64).collect();
    assert_eq!(places, expected.get("nodata").map(numbers).unwrap_or_default(), "{name}");
}

fn check_labels(name: &str, path: &Path, expected: &Value) {
    let found: Vec<f64> = match read_labels(path).unwrap_or_else(|e| panic!("{e}")) {
        RawLabels::Values(_, values) => values.into_iter().map(f64::from).collect(),
        RawLabels::Numbers(NumberLabels { values, .. }) => values,
        RawLabels::Colors(..) => panic!("{name}: colours"),
    };
    assert_equal(name, &found, &numbers(&expected["values"]), 0.0);
}

/// Rows of every file, in portions of any height, are those of the whole image.
#[test]
fn rows_are_those_of_the_whole_image() {
    let mut read = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(whole) = read_image(&path) else { continue };
        let Some(rows) = TiffRows::open(&path).unwrap() else { continue };
        read += 1;
        assert_eq!(rows.size(), whole.size, "{}", path.display());
        for step in [1, 3, rows.block_rows(), whole.size.height] {
            for top in (0..whole.size.height).step_by(step) {
                let range = top..whole.size.height.min(top + step);
                let part = rows.read(range.clone()).unwrap();
                let mut expected = whole.cropped(range, 0..whole.size.width);
                expected.nodata = expected.nodata.filter(|all| all.contains(&true));
                let found = Image { nodata: part.nodata.clone().filter(|all| all.contains(&true)), ..part };
                let numbers = |image: &Image| as_numbers(&image.samples);
                assert_equal(&path.to_string_lossy(), &numbers(&found), &numbers(&expected), 0.0);
                let without = |image: Image| (image.size, image.bands, image.sample_type, image.alpha, image.nodata);
                assert_eq!(without(found), without(expected), "{} {top}", path.display());
            }
        }
    }
    assert!(read > 40, "{read}");
}

#[test]
fn every_file_holds_what_its_writer_put_there() {
    let expected = read_json(folder().join("expected.json"));
    let mut files = 0;
    for (name, expected) in expected.as_object().unwrap() {
        let path = folder().join(format!("{name}.tif"));
        match expected["kind"].as_str().unwrap() {
            "image" => check_image(name, &path, expected),
            "labels" => check_labels(name, &path, expected),
            "refused" => {
                let message = read_image(&path).unwrap_err().to_string();
                assert!(message.contains(expected["words"].as_str().unwrap()), "{message}");
            }
            other => panic!("{name}: {other}"),
        }
        files += 1;
    }
    let written = fs::read_dir(folder())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "tif"));
    assert_eq!(files, written.count(), "each file is expected, and each expected file is there");
}
