//! Arrays that are written some rows at a time.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use ndarray_npy::{WritableElement, WriteNpyError, write_zeroed_npy};

use crate::base::files::AtomicFile;
use crate::base::{Error, Result, Size};

/// A number as numpy keeps it.
pub(crate) trait Element: WritableElement + Copy {
    /// Appends its bytes, in the order of this machine, which the header tells.
    fn append_to(self, bytes: &mut Vec<u8>);
}

macro_rules! elements {
    ($($number:ty),*) => {
        $(impl Element for $number {
            fn append_to(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_ne_bytes());
            }
        })*
    };
}

elements!(u8, u16, i64, f32);

/// A .npy of `[height, width]` or `[planes, height, width]`, written from the first row to the last. It takes its name when
/// it is complete; dropped before, it leaves nothing.
#[derive(Debug)]
pub(crate) struct NpyRows {
    file: AtomicFile,
    /// Length of the header.
    start: u64,
    size: Size,
    planes: usize,
    /// Rows that are there.
    done: usize,
}

impl NpyRows {
    /// An array `[height, width]`, or with `planes` of these.
    pub(crate) fn new<T: Element>(path: &Path, size: Size, planes: Option<usize>) -> Result<Self> {
        let mut file = AtomicFile::create(path)?;
        let written = match planes {
            None => write_zeroed_npy::<T, _>(file.file(), (size.height, size.width)),
            Some(planes) => write_zeroed_npy::<T, _>(file.file(), (planes, size.height, size.width)),
        };
        let cause = |e| match e {
            WriteNpyError::Io(e) => e,
            other => std::io::Error::other(other),
        };
        let start = written.map_err(cause).and_then(|()| file.file().stream_position());
        let start = start.map_err(|cause| Error::write(path, cause))?;
        Ok(Self { file, start, size, planes: planes.unwrap_or(1), done: 0 })
    }

    /// Adds rows, `[planes, rows, width]`.
    pub(crate) fn push<T: Element>(&mut self, values: &[T]) -> Result<()> {
        let rows = values.len() / (self.planes * self.size.width);
        let mut bytes = Vec::with_capacity(rows * self.size.width * size_of::<T>());
        for (plane, values) in values.chunks_exact((rows * self.size.width).max(1)).enumerate() {
            let at = (plane * self.size.height + self.done) * self.size.width * size_of::<T>();
            bytes.clear();
            values.iter().for_each(|value| value.append_to(&mut bytes));
            let start = SeekFrom::Start(self.start + at as u64);
            let file = self.file.file();
            let written = file.seek(start).and_then(|_| file.write_all(&bytes));
            written.map_err(|cause| Error::write(self.file.path(), cause))?;
        }
        self.done += rows;
        Ok(())
    }

    /// Gives the file its name.
    pub(crate) fn finish(self) -> Result<()> {
        assert_eq!(self.done, self.size.height, "rows of an array");
        self.file.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{write_label_npy, write_label_npy_as_i64, write_probabilities_npy, write_probability_npy};

    const SIZE: Size = Size { width: 3, height: 5 };

    #[test]
    fn rows_make_the_file_that_the_whole_makes() {
        let folder = tempfile::tempdir().unwrap();
        let [whole, rows] = ["whole.npy", "rows.npy"].map(|name| folder.path().join(name));
        let same = || assert_eq!(std::fs::read(&whole).unwrap(), std::fs::read(&rows).unwrap());
        let values: Vec<u16> = (0..15).map(|i| i * 17).collect();
        let floats: Vec<f32> = (0..30).map(|i| i as f32 / 7.0).collect();

        write_label_npy(&whole, SIZE, &values, 300).unwrap();
        let mut npy = NpyRows::new::<u16>(&rows, SIZE, None).unwrap();
        values.chunks(6).for_each(|rows| npy.push(rows).unwrap());
        npy.finish().unwrap();
        same();
        write_label_npy_as_i64(&whole, SIZE, &values).unwrap();
        let mut npy = NpyRows::new::<i64>(&rows, SIZE, None).unwrap();
        npy.push(&values.iter().map(|&value| i64::from(value)).collect::<Vec<_>>()).unwrap();
        npy.finish().unwrap();
        same();
        write_probability_npy(&whole, SIZE, &floats[..15]).unwrap();
        let mut npy = NpyRows::new::<f32>(&rows, SIZE, None).unwrap();
        floats[..15].chunks(9).for_each(|rows| npy.push(rows).unwrap());
        npy.finish().unwrap();
        same();
        write_probabilities_npy(&whole, SIZE, &floats).unwrap();
        let mut npy = NpyRows::new::<f32>(&rows, SIZE, Some(2)).unwrap();
        for rows in [0..6, 6..9, 9..15] {
            npy.push(&[&floats[rows.clone()], &floats[15 + rows.start..15 + rows.end]].concat()).unwrap();
        }
        npy.finish().unwrap();
        same();
    }
}
