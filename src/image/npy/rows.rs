//! Arrays that are written some rows at a time.

use std::io::{Seek, SeekFrom};
use std::path::Path;

use ndarray_npy::{WritableElement, WriteNpyError, write_zeroed_npy};

use crate::base::files::AtomicFile;
use crate::base::{Error, Result, Size};

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
    pub(crate) fn new<T: WritableElement>(path: &Path, size: Size, planes: Option<usize>) -> Result<Self> {
        let mut file = AtomicFile::create(path)?;
        let written = match planes {
            None => write_zeroed_npy::<T, _>(file.file(), (size.height, size.width)),
            Some(planes) => write_zeroed_npy::<T, _>(file.file(), (planes, size.height, size.width)),
        };
        let start = written.and_then(|()| Ok(file.file().stream_position()?)).map_err(|e| failed(path, e))?;
        Ok(Self { file, start, size, planes: planes.unwrap_or(1), done: 0 })
    }

    /// Adds rows, `[planes, rows, width]`.
    pub(crate) fn push<T: WritableElement>(&mut self, values: &[T]) -> Result<()> {
        let rows = values.len() / (self.planes * self.size.width);
        for (plane, values) in values.chunks_exact((rows * self.size.width).max(1)).enumerate() {
            let at = (plane * self.size.height + self.done) * self.size.width * size_of::<T>();
            let file = self.file.file();
            let sought = file.seek(SeekFrom::Start(self.start + at as u64)).map_err(WriteNpyError::from);
            let written = sought.and_then(|_| Ok(T::write_slice(values, file)?));
            written.map_err(|e| failed(self.file.path(), e))?;
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

fn failed(path: &Path, fault: WriteNpyError) -> Error {
    let cause = match fault {
        WriteNpyError::Io(cause) => cause,
        other => std::io::Error::other(other),
    };
    Error::write(path, cause)
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayView;
    use ndarray_npy::write_npy;

    use super::*;
    use crate::image::write_label_npy;

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
        let longs: Vec<i64> = values.iter().map(|&value| i64::from(value)).collect();
        write_npy(&whole, &ArrayView::from_shape((5, 3), &longs).unwrap()).unwrap();
        let mut npy = NpyRows::new::<i64>(&rows, SIZE, None).unwrap();
        npy.push(&longs).unwrap();
        npy.finish().unwrap();
        same();
        write_npy(&whole, &ArrayView::from_shape((5, 3), &floats[..15]).unwrap()).unwrap();
        let mut npy = NpyRows::new::<f32>(&rows, SIZE, None).unwrap();
        floats[..15].chunks(9).for_each(|rows| npy.push(rows).unwrap());
        npy.finish().unwrap();
        same();
        write_npy(&whole, &ArrayView::from_shape((2, 5, 3), &floats).unwrap()).unwrap();
        let mut npy = NpyRows::new::<f32>(&rows, SIZE, Some(2)).unwrap();
        for rows in [0..6, 6..9, 9..15] {
            npy.push(&[&floats[rows.clone()], &floats[15 + rows.start..15 + rows.end]].concat()).unwrap();
        }
        npy.finish().unwrap();
        same();
    }
}
