//! Predictions and counts as .npy.

use std::path::Path;

use ndarray::ArrayView2;
use ndarray_npy::{WritableElement, WriteNpyExt};

use crate::base::files::write_bytes;
use crate::base::{Error, Result, Size};

/// Writes label values `[height, width]` as the smallest unsigned type that holds `largest`, the data set's largest
/// label value (not this image's), so that all files of a run have one type.
pub fn write_label_npy(path: &Path, size: Size, values: &[u16], largest: u16) -> Result<()> {
    write_bytes(path, &encode_label_npy(size, values, largest)?)
}

/// What [`write_label_npy`] writes.
pub fn encode_label_npy(size: Size, values: &[u16], largest: u16) -> Result<Vec<u8>> {
    let shape = [size.height, size.width];
    if largest <= u16::from(u8::MAX) {
        encoded(shape, &values.iter().map(|&value| value as u8).collect::<Vec<_>>())
    } else {
        encoded(shape, values)
    }
}

/// Writes counts `[rows, columns]` as unsigned 64-bit.
pub fn write_count_npy(path: &Path, shape: [usize; 2], counts: &[u64]) -> Result<()> {
    write_bytes(path, &encoded(shape, counts)?)
}

fn encoded<T: WritableElement>([rows, columns]: [usize; 2], values: &[T]) -> Result<Vec<u8>> {
    let failed = |cause: &dyn std::fmt::Display| Error::failed("write an array as .npy", cause);
    let array = ArrayView2::from_shape((rows, columns), values).map_err(|e| failed(&e))?;
    let mut file = Vec::new();
    array.write_npy(&mut file).map_err(|e| failed(&e))?;
    Ok(file)
}
