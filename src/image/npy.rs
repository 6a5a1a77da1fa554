//! Predictions as .npy: 2-d label values, and float32 probabilities.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use half::f16;
use ndarray::{ArrayView, ArrayView2, ArrayView3, Dimension};
use ndarray_npy::WriteNpyExt;
use ndarray_npy::npy::header::{Header, Layout};

use crate::error::{Error, Result, Size};
use crate::files::write_atomically;

/// Bytes read and converted at a time: they stay in the processor's cache, which a whole file does not.
const CHUNK: usize = 1 << 16;

/// 1, with room for the rounding of sums.
const ONE_ROUNDED: f64 = 1.0001;

/// Reads a 2-d .npy of label values: any integer type, or floats that hold whole numbers; C or Fortran order; either
/// byte order. Values must lie in 0..=65535; -1, the usual "not labelled" of signed types, is read as 65535.
pub fn read_label_npy(path: &Path) -> Result<(Size, Vec<u16>)> {
    let npy = Npy::open(path)?;
    match npy.kind() {
        "b1" | "u1" => npy.labels::<u8, 1>(),
        "u2" => npy.labels::<u16, 2>(),
        "u4" => npy.labels::<u32, 4>(),
        "u8" => npy.labels::<u64, 8>(),
        "i1" => npy.labels::<i8, 1>(),
        "i2" => npy.labels::<i16, 2>(),
        "i4" => npy.labels::<i32, 4>(),
        "i8" => npy.labels::<i64, 8>(),
        "f2" => npy.labels::<f16, 2>(),
        "f4" => npy.labels::<f32, 4>(),
        "f8" => npy.labels::<f64, 8>(),
        _ => Err(Error::content(path, format!("holds type '{}'; a label map holds integers", npy.descriptor))),
    }
}

/// Reads a 2-d .npy of float32 or float64, such as the probabilities that a prediction comes with: `height * width`
/// values row by row, all of them from 0 to 1.
pub fn read_probability_npy(path: &Path) -> Result<(Size, Vec<f32>)> {
    let npy = Npy::open(path)?;
    match npy.kind() {
        "f4" => npy.probabilities::<f32, 4>(),
        "f8" => npy.probabilities::<f64, 8>(),
        _ => {
            Err(Error::content(path, format!("holds type '{}'; probabilities are float32 or float64", npy.descriptor)))
        }
    }
}

/// A 2-d .npy file, read up to its values.
struct Npy<'a> {
    path: &'a Path,
    size: Size,
    /// Type of a value, as numpy writes it: `<i8` is byte order, kind and bytes a value.
    descriptor: String,
    fortran: bool,
    /// The rest of the file, and how many bytes that is.
    data: BufReader<File>,
    bytes: u64,
}

impl<'a> Npy<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        if path.is_dir() {
            return Err(Error::content(path, "is a folder, not a file"));
        }
        let failed = |e| Error::read(path, e);
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        // Room for the header alone: values are read past the buffer.
        let mut data = BufReader::with_capacity(256, file);
        let header =
            Header::from_reader(&mut data).map_err(|e| Error::content(path, format!("not a .npy file: {e}")))?;
        let bytes = length.saturating_sub(data.stream_position().map_err(failed)?);
        let &[height, width] = header.shape.as_slice() else { return Err(wrong_shape(path, &header.shape)) };
        if height == 0 || width == 0 {
            return Err(wrong_shape(path, &header.shape));
        }
        let descriptor = header.type_descriptor.to_string();
        Ok(Self {
            path,
            size: Size { width, height },
            descriptor: descriptor.trim_matches('\'').to_owned(),
            fortran: header.layout == Layout::Fortran,
            data,
            bytes,
        })
    }

    /// `i8` of `<i8`.
    fn kind(&self) -> &str {
        self.descriptor.trim_start_matches(['<', '>', '|', '='])
    }

    /// The values as labels, row by row.
    fn labels<T: Value<N>, const N: usize>(self) -> Result<(Size, Vec<u16>)> {
        self.values(|npy, words, labels| {
            let first = labels.len();
            if convert::<T, N>(words, labels) {
                return Ok(());
            }
            labels.truncate(first);
            for (i, word) in words.iter().enumerate() {
                let value = T::read(*word);
                labels.push(value.label().ok_or_else(|| {
                    let (x, y) = npy.pixel(first + i);
                    let reason = format!("label {value} at pixel ({x}, {y}) is not a whole number from 0 to 65535");
                    Error::content(npy.path, reason)
                })?);
            }
            Ok(())
        })
    }

    /// The values as probabilities, row by row.
    fn probabilities<T: Value<N> + Into<f64>, const N: usize>(self) -> Result<(Size, Vec<f32>)> {
        self.values(|npy, words, probabilities| {
            for word in words {
                let value: f64 = T::read(*word).into();
                if !(0.0..=ONE_ROUNDED).contains(&value) {
                    let (x, y) = npy.pixel(probabilities.len());
                    let reason = format!("probability {value} at pixel ({x}, {y}) is not in 0..=1");
                    return Err(Error::content(npy.path, reason));
                }
                probabilities.push(value as f32);
            }
            Ok(())
        })
    }

    /// The values row by row, converted piece by piece.
    fn values<R: Copy, const N: usize>(
        mut self,
        convert: impl Fn(&Self, &[[u8; N]], &mut Vec<R>) -> Result<()>,
    ) -> Result<(Size, Vec<R>)> {
        let Size { width, height } = self.size;
        let count = width.checked_mul(height).filter(|count| count.checked_mul(N).is_some()).unwrap_or(usize::MAX / N);
        self.check_length(count as u64 * N as u64)?;
        let mut values = Vec::with_capacity(count);
        let mut buffer = vec![0; CHUNK.min(count * N)];
        while values.len() < count {
            let chunk = &mut buffer[..CHUNK.min((count - values.len()) * N)];
            self.data.read_exact(chunk).map_err(|e| Error::read(self.path, e))?;
            let (words, _) = chunk.as_chunks_mut::<N>();
            if self.descriptor.starts_with('>') {
                words.iter_mut().for_each(|word| word.reverse());
            }
            convert(&self, words, &mut values)?;
        }
        if self.fortran {
            values = (0..count).map(|i| values[i % width * height + i / width]).collect();
        }
        Ok((self.size, values))
    }

    /// Column and row of a value, by its place in the file.
    fn pixel(&self, index: usize) -> (usize, usize) {
        match self.fortran {
            false => (index % self.size.width, index / self.size.width),
            true => (index / self.size.height, index % self.size.height),
        }
    }

    fn check_length(&self, expected: u64) -> Result<()> {
        let problem = match self.bytes.cmp(&expected) {
            std::cmp::Ordering::Less => "the .npy file is cut short: its header promises",
            std::cmp::Ordering::Equal => return Ok(()),
            std::cmp::Ordering::Greater => "the .npy file is longer than its header says:",
        };
        Err(Error::content(
            self.path,
            format!(
                "{problem} {} values of type '{}', {expected} bytes, but it holds {}",
                self.size, self.descriptor, self.bytes
            ),
        ))
    }
}

fn wrong_shape(path: &Path, shape: &[usize]) -> Error {
    let reason = format!("has shape {shape:?}; a map of pixels has two dimensions, (height, width), neither of them 0");
    Error::content(path, reason)
}

/// A number as stored, `N` bytes long.
trait Value<const N: usize>: Copy + Display {
    fn read(bytes: [u8; N]) -> Self;
    /// The low bits, and whether they are all there is to it. Without branches, so that loops become vectors.
    fn low_bits(self) -> (u16, bool);
    /// The label that it means.
    fn label(self) -> Option<u16>;
}

macro_rules! integers {
    ($($type:ty, $unsigned:ty, $bytes:literal);*) => {$(
        impl Value<$bytes> for $type {
            fn read(bytes: [u8; $bytes]) -> Self {
                Self::from_le_bytes(bytes)
            }

            #[allow(clippy::unnecessary_cast, unused_comparisons)]
            fn low_bits(self) -> (u16, bool) {
                (self as u16, self >= 0 && self as $unsigned as u64 <= u64::from(u16::MAX))
            }

            #[allow(unused_comparisons)]
            fn label(self) -> Option<u16> {
                if self < 0 && self.wrapping_add(1) == 0 { Some(u16::MAX) } else { u16::try_from(self).ok() }
            }
        }
    )*};
}

integers!(u8, u8, 1; u16, u16, 2; u32, u32, 4; u64, u64, 8; i8, u8, 1; i16, u16, 2; i32, u32, 4; i64, u64, 8);

macro_rules! floats {
    ($($type:ty, $bytes:literal);*) => {$(
        impl Value<$bytes> for $type {
            fn read(bytes: [u8; $bytes]) -> Self {
                Self::from_le_bytes(bytes)
            }

            fn low_bits(self) -> (u16, bool) {
                let value = f64::from(self);
                (value as u16, f64::from(value as u16) == value)
            }

            fn label(self) -> Option<u16> {
                let (bits, whole) = self.low_bits();
                if whole { Some(bits) } else { (f64::from(self) == -1.0).then_some(u16::MAX) }
            }
        }
    )*};
}

floats!(f16, 2; f32, 4; f64, 8);

/// Appends the values; whether all of them fit.
fn convert<T: Value<N>, const N: usize>(words: &[[u8; N]], labels: &mut Vec<u16>) -> bool {
    let mut fit = true;
    labels.extend(words.iter().map(|&word| {
        let (label, fits) = T::read(word).low_bits();
        fit &= fits;
        label
    }));
    fit
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
    let array = array.map_err(|e| Error::Config(format!("{}: {e}", path.display())))?;
    write_atomically(path, |out| {
        array.write_npy(out).map_err(|e| match e {
            ndarray_npy::WriteNpyError::Io(e) => e,
            other => std::io::Error::other(other),
        })
    })
}
