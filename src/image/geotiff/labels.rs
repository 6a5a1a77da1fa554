//! Label maps as GeoTIFFs.

use std::path::Path;

use super::Georeference;
use super::cog::{ALL, Cog, Head, SHEETS, SPOOLED};
use super::levels::TILE;
use crate::base::{Result, Size};

/// The most colours that an 8-bit palette has.
const COLORS: usize = 256;

/// A label map to be written as GeoTIFF, but for its values.
#[derive(Debug, Clone)]
pub struct LabelTiff {
    /// Width and height.
    pub size: Size,
    /// The data set's largest label value: up to 255 there are 8 bits a pixel and a palette, else 16 bits of grey.
    pub largest: u16,
    /// Label values with their colours; the others are black.
    pub colors: Vec<(u16, [u8; 3])>,
    /// The value of pixels without a class.
    pub nodata: Option<u16>,
    /// Where it lies.
    pub place: Option<Georeference>,
}

/// Writes a label map as a Cloud Optimized GeoTIFF, some rows at a time: tiles of 512x512 pixels, compressed with deflate, and
/// overviews by the most frequent value of 2x2 pixels until one fits in a tile. Where it exceeds 4 GiB, it is a BigTIFF. It
/// takes its name when it is complete; what is not finished leaves nothing. Where the image is turned upright when it is
/// read, all rows come at once.
#[derive(Debug)]
pub struct LabelTiffWriter(Levels);

#[derive(Debug)]
enum Levels {
    Bytes(Cog<u8>),
    Words(Cog<u16>),
}

impl LabelTiffWriter {
    /// Begins to write `map` to the file `path`; rows follow through [`Self::push`], and [`Self::finish`] ends the file.
    ///
    /// # Errors
    ///
    /// [`Error::Content`](crate::Error::Content) if the map is empty or larger than a TIFF can be.
    pub fn new(path: &Path, map: LabelTiff) -> Result<Self> {
        Self::holding(path, map, SPOOLED)
    }

    /// [`Self::new`] for a file in memory, which [`Self::bytes`] gives; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// [`Error::Content`](crate::Error::Content) if the map is empty or larger than a TIFF can be.
    pub fn in_memory(name: &Path, map: LabelTiff) -> Result<Self> {
        Self::holding(name, map, ALL)
    }

    fn holding(path: &Path, map: LabelTiff, held: usize) -> Result<Self> {
        let is_small = map.largest <= u16::from(u8::MAX);
        // The nodata value, where there is room for it.
        let nodata = map.nodata.filter(|nodata| !is_small || *nodata <= u16::from(u8::MAX));
        let palette = is_small.then(|| palette(&map.colors));
        let text = nodata.map(|nodata| nodata.to_string());
        let head = Head { size: map.size, palette, nodata: text, metadata: None, place: map.place };
        Ok(Self(if is_small {
            Levels::Bytes(Cog::new(path, head, nodata.map(|nodata| nodata as u8), 1, held)?)
        } else {
            Levels::Words(Cog::new(path, head, nodata, 1, held)?)
        }))
    }

    /// Bytes of memory that a writer of maps `width` pixels wide takes, about: at every level the rows of a tile and their
    /// compressed bytes.
    pub fn memory(width: usize) -> u64 {
        (TILE * width * 6) as u64 + SHEETS
    }

    /// Adds whole rows of label values.
    ///
    /// # Errors
    ///
    /// [`Error::Write`](crate::Error::Write) if they cannot be written, or are more than the map has.
    pub fn push(&mut self, values: &[u16]) -> Result<()> {
        match &mut self.0 {
            Levels::Bytes(cog) => cog.push(&values.iter().map(|&value| value as u8).collect::<Vec<_>>()),
            Levels::Words(cog) => cog.push(values),
        }
    }

    /// Puts the file together and gives it its name.
    ///
    /// # Errors
    ///
    /// [`Error::Write`](crate::Error::Write) if rows are missing, or the file cannot be written.
    pub fn finish(self) -> Result<()> {
        self.finish_as(None)
    }

    /// The file, put together.
    ///
    /// # Errors
    ///
    /// [`Error::Write`](crate::Error::Write) if rows are missing.
    pub fn bytes(self) -> Result<Vec<u8>> {
        match self.0 {
            Levels::Bytes(cog) => cog.bytes(),
            Levels::Words(cog) => cog.bytes(),
        }
    }

    /// [`Self::finish`]; `big` says whether as a BigTIFF, `None` that the length decides.
    fn finish_as(self, big: Option<bool>) -> Result<()> {
        match self.0 {
            Levels::Bytes(cog) => cog.finish(big),
            Levels::Words(cog) => cog.finish(big),
        }
    }
}

/// All reds, then all greens, then all blues, in 16 bits.
fn palette(colors: &[(u16, [u8; 3])]) -> Vec<u16> {
    let mut palette = vec![0; 3 * COLORS];
    for (value, color) in colors.iter().filter(|(value, _)| usize::from(*value) < COLORS) {
        for (plane, part) in color.iter().enumerate() {
            palette[plane * COLORS + usize::from(*value)] = u16::from(*part) * 257;
        }
    }
    palette
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{NumberLabels, RawLabels, read_labels};

    const SIZE: Size = Size { width: 700, height: 520 };

    fn map(largest: u16) -> LabelTiff {
        LabelTiff { size: SIZE, largest, colors: vec![(1, [1, 2, 255])], nodata: Some(255), place: None }
    }

    fn write(path: &Path, map: LabelTiff, values: &[u16]) -> Result<()> {
        let mut writer = LabelTiffWriter::new(path, map)?;
        writer.push(values)?;
        writer.finish()
    }

    fn values(largest: u16) -> Vec<u16> {
        (0..SIZE.width * SIZE.height).map(|i| (i * i % 31) as u16 % (largest + 1)).collect()
    }

    #[test]
    fn both_kinds_of_tiff_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        for largest in [7, 300] {
            let values = values(largest);
            for (big, version) in [(false, 42), (true, 43)] {
                let mut writer = LabelTiffWriter::new(&path, map(largest)).unwrap();
                writer.push(&values).unwrap();
                writer.finish_as(Some(big)).unwrap();
                assert_eq!(std::fs::read(&path).unwrap()[2], version);
                assert_eq!(read_labels(&path).unwrap(), RawLabels::Values(SIZE, values.clone()));
            }
        }
    }

    #[test]
    fn rows_in_any_portions_make_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        let values = values(7);
        write(&path, map(7), &values).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for rows in [1, 7, 511, 512, 513] {
            let mut writer = LabelTiffWriter::new(&path, map(7)).unwrap();
            values.chunks(rows * SIZE.width).for_each(|rows| writer.push(rows).unwrap());
            writer.finish().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), whole, "{rows}");
        }
        let mut writer = LabelTiffWriter::in_memory(&path, map(7)).unwrap();
        writer.push(&values).unwrap();
        assert_eq!(writer.bytes().unwrap(), whole);
    }

    #[test]
    fn a_map_that_lacks_rows_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        std::fs::write(&path, "old").unwrap();
        let writer = |rows: usize| {
            let mut writer = LabelTiffWriter::new(&path, map(7)).unwrap();
            writer.push(&values(7)[..SIZE.width * rows]).unwrap();
            writer
        };
        assert!(writer(519).push(&[0; SIZE.width * 2]).unwrap_err().to_string().contains("more rows"));
        assert!(writer(519).finish().unwrap_err().to_string().contains("1 of 520 rows"));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn nodata_is_told_apart_and_maps_without_pixels_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        write(&path, map(1), &vec![255; SIZE.width * SIZE.height]).unwrap();
        let RawLabels::Numbers(NumberLabels { nodata, .. }) = read_labels(&path).unwrap() else { panic!("no nodata") };
        assert_eq!(nodata, Some(255.0));
        let none = LabelTiff { size: Size { width: 0, height: 0 }, ..map(1) };
        assert!(write(&path, none, &[]).unwrap_err().to_string().contains("write it as .npy"));
    }
}
