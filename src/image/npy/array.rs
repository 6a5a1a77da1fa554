//! The array of a .npy file, or one of the arrays of a .npz.

use std::cmp::Ordering;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek};
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use super::header::Header;
use crate::base::files::open_input;
use crate::base::store::Opened;
use crate::base::{Error, Result, Size};
use crate::image::limits::{self, Coding};

/// Bytes read and converted at a time: they stay in the processor's cache, which a whole file does not.
const CHUNK: usize = 1 << 16;

/// An array, read up to its values.
pub(super) struct Array<'a> {
    pub(super) path: &'a Path,
    pub(super) header: Header,
    data: Box<dyn Read + 'a>,
    /// Bytes that follow the header.
    bytes: u64,
}

/// An axis of an array: its length, and how far apart its values lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) length: usize,
    pub(super) step: usize,
}

/// Rows, columns and bands of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axes {
    pub(super) rows: Axis,
    pub(super) columns: Axis,
    pub(super) bands: Axis,
}

impl Axes {
    pub(super) fn size(&self) -> Size {
        Size { width: self.columns.length, height: self.rows.length }
    }

    /// Whether the file holds them row by row and pixel by pixel.
    fn are_in_order(&self) -> bool {
        let Self { rows, columns, bands } = self;
        bands.step == 1 && columns.step == bands.length && rows.step == columns.length * bands.length
    }

    /// Column and row of a value, by its place in the file.
    pub(super) fn pixel(&self, place: usize) -> (usize, usize) {
        let along = |axis: Axis| place / axis.step % axis.length;
        (along(self.columns), along(self.rows))
    }
}

/// Opens the array of a file and hands it to `read`; of several arrays of a .npz, the one with the first of `names` that
/// is there.
pub(super) fn with_array<T>(path: &Path, names: &[&str], read: impl FnOnce(Array<'_>) -> Result<T>) -> Result<T> {
    let (file, length) = open_input(path)?;
    // Room for the header alone: values are read past the buffer.
    let mut data = BufReader::with_capacity(256, file);
    let start = data.fill_buf().map_err(|e| Error::read(path, e))?;
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        let mut file = data.into_inner();
        file.rewind().map_err(|e| Error::read(path, e))?;
        return in_archive(path, (file, length), names, read);
    }
    read(Array::open(path, data, length)?)
}

fn in_archive<T>(
    path: &Path,
    (file, length): (Box<dyn Opened>, u64),
    names: &[&str],
    read: impl FnOnce(Array<'_>) -> Result<T>,
) -> Result<T> {
    let damaged = |e: ZipError| Error::content(path, format!("damaged .npz file: {e}"));
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    let mut arrays = Vec::new();
    for (place, entry) in archive.file_names().enumerate() {
        if let Some(name) = entry.map_err(damaged)?.strip_suffix(".npy") {
            arrays.push((place, name.to_owned()));
        }
    }
    let wanted = |name: &str| arrays.iter().find(|(_, array)| array == name);
    let (place, name) = match arrays.as_slice() {
        [] => return Err(Error::content(path, "the .npz file holds no array")),
        [only] => only,
        _ => names.iter().find_map(|name| wanted(name)).ok_or_else(|| several_arrays(path, &arrays, names))?,
    };
    let entry = archive.by_index(*place).map_err(damaged)?;
    let (bytes, packed) = (entry.size(), entry.compressed_size().min(length));
    if bytes > Coding::Deflate(8).most_pixels(packed) {
        let reason =
            format!("damaged .npz file: array '{name}' claims {bytes} bytes, which {packed} bytes cannot hold");
        return Err(Error::content(path, reason));
    }
    read(Array::open(path, BufReader::new(entry), bytes)?)
}

fn several_arrays(path: &Path, found: &[(usize, String)], names: &[&str]) -> Error {
    let shown = found.iter().take(20).map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ");
    let more = if found.len() > 20 { ", ..." } else { "" };
    let reason = format!(
        "the .npz file holds {} arrays ({shown}{more}), and none is called {}; save the right one as a .npy file",
        found.len(),
        names.join(" or ")
    );
    Error::content(path, reason)
}

impl<'a> Array<'a> {
    /// Says that its numbers are of a type that does not do; `expected` says which would.
    pub(super) fn other_type(&self, expected: &str) -> Error {
        Error::content(self.path, format!("has type '{}', but {expected}", self.header.descriptor))
    }

    /// Reads the header of an array that takes `length` bytes in all.
    fn open(path: &'a Path, mut data: impl Read + 'a, length: u64) -> Result<Self> {
        let (header, taken) =
            Header::read(&mut data).map_err(|reason| Error::content(path, format!("not a .npy file: {reason}")))?;
        Ok(Self { path, header, data: Box::new(data), bytes: length.saturating_sub(taken) })
    }

    /// An array of two dimensions as one band.
    pub(super) fn map_axes(&self) -> Result<Axes> {
        let &[height, width] = self.header.shape.as_slice() else { return Err(self.wrong_shape()) };
        if height == 0 || width == 0 {
            return Err(self.wrong_shape());
        }
        let (rows, columns) = if self.header.fortran { (1, height) } else { (width, 1) };
        let axis = |length: usize, step: usize| Axis { length, step };
        Ok(Axes { rows: axis(height, rows), columns: axis(width, columns), bands: axis(1, 1) })
    }

    fn wrong_shape(&self) -> Error {
        let shape = &self.header.shape;
        let reason = format!("has shape {shape:?}; expected two dimensions, (height, width), neither of them 0");
        Error::content(self.path, reason)
    }

    /// The values row by row and pixel by pixel. They are converted piece by piece, in the order of the file.
    pub(super) fn values<R: Copy, const N: usize>(
        mut self,
        axes: &Axes,
        convert: impl Fn(&Path, &[[u8; N]], &mut Vec<R>) -> Result<()>,
    ) -> Result<Vec<R>> {
        let count = self.check_length(axes, N)?;
        let copies = if axes.are_in_order() { 1 } else { 2 };
        let claim = format_args!("its header claims an array of shape {:?}", self.header.shape);
        let _held = limits::reserve(self.path, claim, (count as u64).saturating_mul((size_of::<R>() * copies) as u64))?;
        let mut values = limits::buffer(self.path, count)?;
        let mut buffer = vec![0; CHUNK.min(count * N)];
        while values.len() < count {
            let chunk = &mut buffer[..CHUNK.min((count - values.len()) * N)];
            self.data.read_exact(chunk).map_err(|e| Error::read(self.path, e))?;
            let (words, _) = chunk.as_chunks_mut::<N>();
            if self.header.is_big_endian() {
                words.iter_mut().for_each(|word| word.reverse());
            }
            convert(self.path, words, &mut values)?;
        }
        // A zip entry is checked against its checksum at its end.
        self.data.read_exact(&mut [0; 1]).or_else(|e| match e.kind() {
            ErrorKind::UnexpectedEof => Ok(()),
            _ => Err(Error::read(self.path, e)),
        })?;
        if axes.are_in_order() { Ok(values) } else { in_order(self.path, &values, axes) }
    }

    /// The number of values, if there are as many bytes as the header promises.
    fn check_length(&self, axes: &Axes, bytes_a_value: usize) -> Result<usize> {
        let lengths = [axes.rows.length, axes.columns.length, axes.bands.length];
        let promised = lengths.iter().fold(bytes_a_value as u128, |bytes, axis| bytes.saturating_mul(*axis as u128));
        let problem = match u128::from(self.bytes).cmp(&promised) {
            Ordering::Equal => return Ok(self.bytes as usize / bytes_a_value),
            Ordering::Less => "the .npy file is cut short: its header promises",
            Ordering::Greater => "the .npy file is longer than its header says:",
        };
        // Width before height, as sizes are written.
        let shape: Vec<String> = self.header.shape.iter().rev().map(ToString::to_string).collect();
        let (shape, descriptor) = (shape.join("x"), &self.header.descriptor);
        let reason = format!(
            "{problem} {shape} values of type '{descriptor}', {promised} bytes, but it holds {}; write the file again",
            self.bytes
        );
        Err(Error::content(self.path, reason))
    }
}

/// The values in the order of rows, columns and bands.
fn in_order<R: Copy>(path: &Path, values: &[R], axes: &Axes) -> Result<Vec<R>> {
    let Axes { rows, columns, bands } = *axes;
    let mut out = limits::buffer(path, values.len())?;
    for row in 0..rows.length {
        let start = row * rows.step;
        if bands.length == 1 {
            out.extend((0..columns.length).map(|column| values[start + column * columns.step]));
            continue;
        }
        for column in 0..columns.length {
            let pixel = start + column * columns.step;
            out.extend((0..bands.length).map(|band| values[pixel + band * bands.step]));
        }
    }
    Ok(out)
}
