//! Predictions as .npy: 2-d label values, and float32 probabilities.

use std::io::Cursor;
use std::path::Path;

use ndarray::{Array2, ArrayView2};
use ndarray_npy::npy::header::Header;
use ndarray_npy::{ReadNpyError, ReadNpyExt, ReadableElement, WriteNpyExt};

use crate::error::{Error, Result, Size};
use crate::files::{read_bytes, write_atomically};

fn header(path: &Path, reader: &mut impl std::io::Read) -> Result<(Header, Size)> {
    let header = Header::from_reader(reader).map_err(|e| Error::content(path, format!("not a .npy file: {e}")))?;
    match header.shape[..] {
        [height, width] if width > 0 && height > 0 => Ok((header, Size { width, height })),
        _ => Err(Error::content(
            path,
            format!("has shape {:?}; a label map has two dimensions, (height, width), neither of them 0", header.shape),
        )),
    }
}

/// Reads a 2-d .npy of label values: any integer type, or floats that hold whole numbers; C or Fortran order; either
/// byte order. Values must lie in 0..=65535.
pub fn read_label_npy(path: &Path) -> Result<(Size, Vec<u16>)> {
    let bytes = read_bytes(path)?;
    let (header, size) = header(path, &mut Cursor::new(&bytes))?;
    let descriptor = header.type_descriptor.to_string();
    // The descriptor reads '<i8': byte order, kind, bytes a value.
    let kind = descriptor.trim_matches('\'').trim_start_matches(['<', '>', '|', '=']);
    let values = match kind {
        "u1" => integers::<u8>(path, &bytes),
        "u2" => integers::<u16>(path, &bytes),
        "u4" => integers::<u32>(path, &bytes),
        "u8" => integers::<u64>(path, &bytes),
        "i1" => integers::<i8>(path, &bytes),
        "i2" => integers::<i16>(path, &bytes),
        "i4" => integers::<i32>(path, &bytes),
        "i8" => integers::<i64>(path, &bytes),
        "b1" => Ok(read::<bool>(path, &bytes)?.into_iter().map(u16::from).collect()),
        "f4" => floats(path, read::<f32>(path, &bytes)?),
        "f8" => floats(path, read::<f64>(path, &bytes)?.mapv(|v| v as f32)),
        _ => Err(Error::content(path, format!("holds type {descriptor}; a label map holds integers"))),
    }?;
    Ok((size, values))
}

fn read<T: ReadableElement>(path: &Path, bytes: &[u8]) -> Result<Array2<T>> {
    Array2::read_npy(Cursor::new(bytes)).map_err(|e| match e {
        ReadNpyError::MissingData => {
            Error::content(path, "the .npy file is cut short: its header promises more values")
        }
        other => Error::content(path, format!("damaged .npy file: {other}")),
    })
}

fn integers<T: ReadableElement + Copy + std::fmt::Display + TryInto<u16>>(
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<u16>> {
    let array = read::<T>(path, bytes)?;
    let convert = |((y, x), &value): ((usize, usize), &T)| {
        value
            .try_into()
            .map_err(|_| Error::content(path, format!("label {value} at pixel ({x}, {y}) is not in 0..=65535")))
    };
    array.indexed_iter().map(convert).collect()
}

fn floats(path: &Path, array: Array2<f32>) -> Result<Vec<u16>> {
    let width = array.ncols();
    let values: Vec<f32> = array.into_iter().collect();
    super::labels::whole_numbers(path, &values, width)
}

/// Writes label values `[height, width]` as the smallest unsigned type that holds `largest`, the data set's largest
/// label value (not this picture's), so that all files of a run have one type.
pub fn write_label_npy(path: &Path, size: Size, values: &[u16], largest: u16) -> Result<()> {
    let shape = (size.height, size.width);
    if largest <= u16::from(u8::MAX) {
        let bytes: Vec<u8> = values.iter().map(|&v| v as u8).collect();
        write(path, ArrayView2::from_shape(shape, &bytes))
    } else {
        write(path, ArrayView2::from_shape(shape, values))
    }
}

/// Writes probabilities `[height, width]` as float32.
pub fn write_probability_npy(path: &Path, size: Size, values: &[f32]) -> Result<()> {
    write(path, ArrayView2::from_shape((size.height, size.width), values))
}

fn write<T: ndarray_npy::WritableElement>(
    path: &Path,
    array: std::result::Result<ArrayView2<T>, ndarray::ShapeError>,
) -> Result<()> {
    let array = array.map_err(|e| Error::Config(format!("{}: {e}", path.display())))?;
    write_atomically(path, |out| {
        array.write_npy(out).map_err(|e| match e {
            ndarray_npy::WriteNpyError::Io(e) => e,
            other => std::io::Error::other(other),
        })
    })
}
