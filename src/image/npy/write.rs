//! Predictions and counts as .npy.

use std::path::Path;

use ndarray::{ArrayView, ArrayView2, ArrayView3, Dimension};
use ndarray_npy::WriteNpyExt;

use crate::base::files::{write_atomically, write_bytes};
use crate::base::{Error, Result, Size};

/// Writes label values `[height, width]` as the smallest unsigned type that holds `largest`, the data set's largest
/// label value (not this image's), so that all files of a run have one type.
pub fn write_label_npy(path: &Path, size: Size, values: &[u16], largest: u16) -> Result<()> {
    write_bytes(path, &encode_label_npy(size, values, largest)?)
}

/// What [`write_label_npy`] writes.
pub fn encode_label_npy(size: Size, values: &[u16], largest: u16) -> Result<Vec<u8>> {
    let shape = (size.height, size.width);
    let mut file = Vec::new();
    let written = if largest <= u16::from(u8::MAX) {
        let bytes: Vec<u8> = values.iter().map(|&v| v as u8).collect();
        ArrayView2::from_shape(shape, &bytes).map(|array| array.write_npy(&mut file))
    } else {
        ArrayView2::from_shape(shape, values).map(|array| array.write_npy(&mut file))
    };
    let failed = |cause: &dyn std::fmt::Display| Error::failed("write a label map as .npy", cause.to_string());
    written.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
    Ok(file)
}

/// Writes label values `[height, width]` as int64.
pub fn write_label_npy_as_i64(path: &Path, size: Size, values: &[u16]) -> Result<()> {
    let values: Vec<i64> = values.iter().map(|&value| i64::from(value)).collect();
    write(path, ArrayView2::from_shape((size.height, size.width), &values))
}

/// Writes probabilities `[classes, height, width]` as float32.
pub fn write_probabilities_npy(path: &Path, size: Size, values: &[f32]) -> Result<()> {
    let classes = values.len() / (size.height * size.width);
    write(path, ArrayView3::from_shape((classes, size.height, size.width), values))
}

/// Writes probabilities `[height, width]` as float32.
pub fn write_probability_npy(path: &Path, size: Size, values: &[f32]) -> Result<()> {
    write(path, ArrayView2::from_shape((size.height, size.width), values))
}

/// Writes counts `[rows, columns]` as unsigned 64-bit.
pub fn write_count_npy(path: &Path, [rows, columns]: [usize; 2], counts: &[u64]) -> Result<()> {
    write(path, ArrayView2::from_shape((rows, columns), counts))
}

fn write<T: ndarray_npy::WritableElement, D: Dimension>(
    path: &Path,
    array: std::result::Result<ArrayView<T, D>, ndarray::ShapeError>,
) -> Result<()> {
    let array = array.map_err(|e| Error::content(path, e))?;
    write_atomically(path, |out| {
        array.write_npy(out).map_err(|e| match e {
            ndarray_npy::WriteNpyError::Io(e) => e,
            other => std::io::Error::other(other),
        })
    })
}
