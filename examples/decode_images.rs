//! Decodes images (or, with `--labels`, label images) to .npy, so that other programs can compare.
//!
//! Reads a path a line from standard input and prints a line of JSON for each: the .npy with float64 numbers
//! `[height, width, bands]` as segtool reads them (NaN for labels that a mask excludes), or why it does not.
//!
//!     find photos -type f | cargo run --release --example decode_images -- OUT_DIR

use std::fs::File;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3};
use ndarray_npy::WriteNpyExt;
use segtool::image::{NumberLabels, RawLabels, Samples, read_image, read_labels};
use serde_json::{Value, json};

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let labels = arguments.iter().any(|argument| argument == "--labels");
    let folder = arguments.iter().find(|argument| !argument.starts_with("--")).ok_or("name a folder to write to")?;
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder)?;
    for (i, line) in std::io::stdin().lock().lines().enumerate() {
        let path = PathBuf::from(line?);
        let stem = format!("{i:06}");
        let mut report = if labels { label_image(&path, &folder, &stem) } else { image(&path, &folder, &stem) }?;
        report["path"] = json!(path);
        writeln!(std::io::stdout(), "{report}")?;
    }
    Ok(())
}

fn refused(error: &segtool::base::Error) -> Value {
    json!({ "error": error.to_string() })
}

fn image(path: &Path, folder: &Path, stem: &str) -> Outcome<Value> {
    let raster = match read_image(path) {
        Ok(raster) => raster,
        Err(error) => return Ok(refused(&error)),
    };
    let (height, width, bands) = (raster.size.height, raster.size.width, raster.bands);
    let npy = write(
        folder,
        &format!("{stem}.npy"),
        &Array3::from_shape_vec((height, width, bands), numbers(&raster.samples))?,
    )?;
    let alpha = raster.alpha.as_ref().map(|alpha| -> Outcome<PathBuf> {
        write(folder, &format!("{stem}_alpha.npy"), &Array2::from_shape_vec((height, width), numbers(&alpha.samples))?)
    });
    let invalid = raster.nodata.as_ref().map(|nodata| -> Outcome<PathBuf> {
        let bytes = nodata.iter().map(|nodata| u8::from(*nodata)).collect();
        write(folder, &format!("{stem}_invalid.npy"), &Array2::from_shape_vec((height, width), bytes)?)
    });
    Ok(json!({
        "npy": npy, "type": raster.sample_type, "height": height, "width": width, "bands": bands,
        "alpha": alpha.transpose()?, "invalid": invalid.transpose()?,
    }))
}

fn numbers(samples: &Samples) -> Vec<f64> {
    match samples {
        Samples::U8(v) => v.iter().map(|&sample| sample.into()).collect(),
        Samples::U16(v) => v.iter().map(|&sample| sample.into()).collect(),
        Samples::F32(v) => v.iter().map(|&sample| sample.into()).collect(),
    }
}

fn label_image(path: &Path, folder: &Path, stem: &str) -> Outcome<Value> {
    let labels = match read_labels(path) {
        Ok(labels) => labels,
        Err(error) => return Ok(refused(&error)),
    };
    let (height, width) = (labels.size().height, labels.size().width);
    let (bands, values) = match labels {
        RawLabels::Values(_, values) => (1, values.into_iter().map(f64::from).collect()),
        RawLabels::Numbers(NumberLabels { values, .. }) => {
            let number = |value: f64| if value == NumberLabels::MASKED { f64::NAN } else { value };
            (1, values.into_iter().map(number).collect())
        }
        RawLabels::Colors(_, colors) => (3, colors.into_flattened().into_iter().map(f64::from).collect()),
    };
    let npy = write(folder, &format!("{stem}.npy"), &Array3::from_shape_vec((height, width, bands), values)?)?;
    Ok(json!({ "npy": npy, "height": height, "width": width, "bands": bands }))
}

fn write<T: ndarray_npy::WritableElement, D: ndarray::Dimension>(
    folder: &Path,
    name: &str,
    array: &ndarray::Array<T, D>,
) -> Outcome<PathBuf> {
    let path = folder.join(name);
    array.write_npy(File::create(&path)?)?;
    Ok(path)
}
