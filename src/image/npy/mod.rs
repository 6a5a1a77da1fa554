//! Arrays of numpy, .npy and .npz: label values, probabilities and images.

mod array;
mod header;
mod image;
mod rows;
mod value;
mod write;

use std::path::Path;

use super::raw_labels::RawLabels;
use crate::base::{Error, Result, Size};
use crate::image::tiff::Numbers;
use array::{Array, Axes, with_array};
use value::{Value, by_type, convert};

pub use image::{npy_size, read_image_npy};
pub(crate) use rows::NpyRows;
pub use write::{encode_label_npy, write_count_npy, write_label_npy};

/// 1, with room for the rounding of sums.
const ONE_ROUNDED: f64 = 1.0001;

/// What arrays of labels are called in a .npz that holds several.
const LABELS: [&str; 6] = ["label", "labels", "mask", "prediction", "data", "arr_0"];
/// What arrays of probabilities are called there.
const PROBABILITIES: [&str; 4] = ["probability", "prob", "data", "arr_0"];

/// Whether a file is an array of numpy, by the ending of its name.
pub(crate) fn is_npy(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy") || e.eq_ignore_ascii_case("npz"))
}

/// Reads a 2-d .npy of label values: any integer type, or floats that hold whole numbers; C or Fortran order; either
/// byte order. Values must lie in 0..=65535; -1, the usual "not labelled" of signed types, is read as 65535. Of a .npz the
/// only array is read, or the one that is called `label`, `labels`, `mask`, `prediction`, `data` or `arr_0`.
pub fn read_label_npy(path: &Path) -> Result<(Size, Vec<u16>)> {
    with_array(path, &LABELS, |array| {
        let axes = array.map_axes()?;
        let labels = match array.header.kind() {
            "b1" | "u1" => labels::<u8, 1>(array, &axes),
            "u2" => labels::<u16, 2>(array, &axes),
            _ => by_type!(labels, array, axes, "a label map holds integers"),
        };
        Ok((axes.size(), labels?))
    })
}

/// Reads a 2-d .npy of float32 or float64, such as the probabilities that a prediction comes with: `height * width`
/// values row by row, all of them from 0 to 1.
pub fn read_probability_npy(path: &Path) -> Result<(Size, Vec<f32>)> {
    with_array(path, &PROBABILITIES, |array| {
        let axes = array.map_axes()?;
        let probabilities = match array.header.kind() {
            "f4" => probabilities::<f32, 4>(array, &axes),
            "f8" => probabilities::<f64, 8>(array, &axes),
            _ => Err(array.other_type("probabilities are float32 or float64")),
        };
        Ok((axes.size(), probabilities?))
    })
}

/// The same as raw labels: numbers that are no 16-bit values are kept for the data set to say what they mean.
pub(super) fn read_raw_labels(path: &Path) -> Result<RawLabels> {
    match read_label_npy(path) {
        Ok((size, values)) => Ok(RawLabels::Values(size, values)),
        Err(refusal) => match read_numbers(path) {
            Ok((size, numbers)) => Ok(RawLabels::from_numbers(size, Numbers::Wide(numbers), None, None)),
            Err(_) => Err(refusal),
        },
    }
}

fn read_numbers(path: &Path) -> Result<(Size, Vec<f64>)> {
    fn numbers<T: Value<N>, const N: usize>(array: Array<'_>, axes: &Axes) -> Result<Vec<f64>> {
        array.values(axes, |_, words, numbers| {
            numbers.extend(words.iter().map(|word| T::read(*word).number()));
            Ok(())
        })
    }
    with_array(path, &LABELS, |array| {
        let axes = array.map_axes()?;
        Ok((axes.size(), by_type!(numbers, array, axes, "a label map holds integers")?))
    })
}

/// The values as labels, row by row.
fn labels<T: Value<N>, const N: usize>(array: Array<'_>, axes: &Axes) -> Result<Vec<u16>> {
    array.values(axes, |path, words, labels| {
        let first = labels.len();
        if convert::<T, N>(words, labels) {
            return Ok(());
        }
        labels.truncate(first);
        for (i, word) in words.iter().enumerate() {
            let value = T::read(*word);
            labels.push(value.label().ok_or_else(|| {
                let (x, y) = axes.pixel(first + i);
                let reason = format!("label {value} at pixel ({x}, {y}) is not a whole number from 0 to 65535");
                Error::content(path, reason)
            })?);
        }
        Ok(())
    })
}

/// The values as probabilities, row by row.
fn probabilities<T: Value<N> + Into<f64>, const N: usize>(array: Array<'_>, axes: &Axes) -> Result<Vec<f32>> {
    array.values(axes, |path, words, probabilities| {
        for word in words {
            let value: f64 = T::read(*word).into();
            if !(0.0..=ONE_ROUNDED).contains(&value) {
                let (x, y) = axes.pixel(probabilities.len());
                let reason = format!("probability {value} at pixel ({x}, {y}) is not between 0 and 1");
                return Err(Error::content(path, reason));
            }
            probabilities.push(value as f32);
        }
        Ok(())
    })
}
