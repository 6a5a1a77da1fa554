//! Label maps as Cloud Optimized GeoTIFFs: tiled, deflated, with overviews, directories in front.

use std::io::{Result as IoResult, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use rayon::prelude::*;

use super::levels::{Stored, TILE, halved, sizes, tile};
use super::tags::{LONG8, RawTag};
use super::{Georeference, ORIENTATION};
use crate::base::files::write_atomically;
use crate::base::{Error, Result, Size};

/// The most colours that an 8-bit palette has.
const COLORS: usize = 256;
/// Bytes of all directories without their tables of tiles, at most: room for tags that are copied comes on top.
const DIRECTORIES: u64 = 1 << 17;

/// A label map to be written as GeoTIFF.
#[derive(Debug, Clone, Copy)]
pub struct LabelTiff<'a> {
    /// Width and height.
    pub size: Size,
    /// The label values, row by row.
    pub values: &'a [u16],
    /// The data set's largest label value: up to 255 there are 8 bits a pixel and a palette, else 16 bits of grey.
    pub largest: u16,
    /// Label values with their colours; the others are black.
    pub colors: &'a [(u16, [u8; 3])],
    /// The value of pixels without a class.
    pub nodata: Option<u16>,
    /// Where it lies.
    pub place: Option<&'a Georeference>,
}

/// Writes a label map as a Cloud Optimized GeoTIFF, atomically: tiles of 512x512 pixels, compressed with deflate, and overviews
/// by the most frequent value of 2x2 pixels until one fits in a tile. Where it might exceed 4 GiB, it is a BigTIFF.
///
/// # Errors
///
/// [`Error::Content`] if the map is empty or larger than a TIFF can be, [`Error::Write`] if the file cannot be written.
pub fn write_label_tiff(path: &Path, map: &LabelTiff<'_>) -> Result<()> {
    let Size { width, height } = map.size;
    let sides = 1..=u32::MAX as usize - TILE;
    if !sides.contains(&width) || !sides.contains(&height) || width.checked_mul(height) != Some(map.values.len()) {
        let reason = format!("a label map of {} cannot be written as TIFF; write it as .npy", map.size);
        return Err(Error::content(path, reason));
    }
    write_as(path, map, None)
}

/// [`write_label_tiff`]; `big` says whether as a BigTIFF, `None` that the size decides.
fn write_as(path: &Path, map: &LabelTiff<'_>, big: Option<bool>) -> Result<()> {
    let stored = map.place.and_then(|place| place.as_stored(map.size, map.values));
    let (size, values) = stored.as_ref().map_or((map.size, map.values), |(size, values)| (*size, values));
    if map.largest > u16::from(u8::MAX) {
        return Cog::new(map, size, values, map.nodata, big).write(path);
    }
    let bytes: Vec<u8> = values.iter().map(|&value| value as u8).collect();
    Cog::new(map, size, &bytes, map.nodata.and_then(|value| u8::try_from(value).ok()), big).write(path)
}

/// Where the tiles of a level are in the file.
#[derive(Debug, Clone, Default)]
struct Tiles {
    offsets: Vec<u64>,
    counts: Vec<u64>,
}

/// What is written.
struct Cog<'a, T> {
    map: &'a LabelTiff<'a>,
    /// The map and its overviews.
    levels: Vec<Size>,
    values: &'a [T],
    nodata: Option<T>,
    big: bool,
}

impl<'a, T: Stored> Cog<'a, T> {
    fn new(map: &'a LabelTiff<'a>, size: Size, values: &'a [T], nodata: Option<T>, big: Option<bool>) -> Self {
        let levels = sizes(size);
        // Deflate stores what it cannot compress, with a few bytes a block.
        let tile_bytes = (TILE * TILE) as u64 * u64::from(T::BITS / 8) * 1001 / 1000 + 64;
        let tiles: u64 = levels.iter().map(|level| tile_count(*level) as u64).sum();
        let copied: usize = map.place.map_or(0, |place| place.tags.iter().map(|tag| tag.bytes.len()).sum());
        let most = tiles * tile_bytes + DIRECTORIES + copied as u64;
        Self { map, levels, values, nodata, big: big.unwrap_or(most > u64::from(u32::MAX)) }
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut overviews: Vec<Vec<T>> = Vec::new();
        for size in &self.levels[..self.levels.len() - 1] {
            let next = halved(*size, overviews.last().map_or(self.values, Vec::as_slice), self.nodata);
            overviews.push(next);
        }
        let maps: Vec<&[T]> = std::iter::once(self.values).chain(overviews.iter().map(Vec::as_slice)).collect();
        let blank = |size: &Size| Tiles { offsets: vec![0; tile_count(*size)], counts: vec![0; tile_count(*size)] };
        let mut tables: Vec<Tiles> = self.levels.iter().map(blank).collect();
        // The directories are as long without the places of the tiles as with them.
        let start = self.directories(&tables).len() as u64;
        write_atomically(path, |out| {
            out.seek(SeekFrom::Start(start))?;
            let mut end = start;
            // Whoever reads the beginning of the file sees the smallest overview first.
            for ((size, map), table) in self.levels.iter().zip(&maps).zip(&mut tables).rev() {
                *table = write_tiles(out, &mut end, *size, map)?;
            }
            out.seek(SeekFrom::Start(0))?;
            out.write_all(&self.directories(&tables))
        })
    }

    /// The header and the directories of all levels, each with the values of its tags behind it.
    fn directories(&self, tables: &[Tiles]) -> Vec<u8> {
        let mut bytes = b"II".to_vec();
        if self.big {
            bytes.extend([43, 0, 8, 0, 0, 0]);
        } else {
            bytes.extend([42, 0]);
        }
        let word = if self.big { 8 } else { 4 };
        put(&mut bytes, 2 * word as u64, word);
        for (level, table) in tables.iter().enumerate() {
            let is_last = level + 1 == tables.len();
            append_directory(&mut bytes, &self.tags(level, table), self.big, is_last);
        }
        bytes
    }

    /// The tags of a level, in the order of their codes.
    fn tags(&self, level: usize, table: &Tiles) -> Vec<RawTag> {
        let Size { width, height } = self.levels[level];
        let has_palette = T::BITS == 8;
        let mut tags = vec![
            RawTag::longs(254, &[u32::from(level > 0)]),
            RawTag::longs(256, &[width as u32]),
            RawTag::longs(257, &[height as u32]),
            RawTag::shorts(258, &[T::BITS]),
            // Deflate.
            RawTag::shorts(259, &[8]),
            RawTag::shorts(262, &[if has_palette { 3 } else { 1 }]),
            RawTag::shorts(277, &[1]),
            RawTag::shorts(284, &[1]),
            RawTag::longs(322, &[TILE as u32]),
            RawTag::longs(323, &[TILE as u32]),
            self.places(324, &table.offsets),
            self.places(325, &table.counts),
            RawTag::shorts(339, &[1]),
        ];
        tags.extend(has_palette.then(|| RawTag::shorts(320, &self.palette())));
        tags.extend(
            self.map
                .nodata
                .filter(|nodata| u32::from(*nodata) >> T::BITS == 0)
                .map(|nodata| RawTag::text(42113, &nodata.to_string())),
        );
        if let Some(place) = self.map.place {
            tags.extend(place.orientation.map(|value| RawTag::shorts(ORIENTATION, &[value])));
            tags.extend(place.tags.iter().filter(|_| level == 0).cloned());
        }
        tags.sort_by_key(|tag| tag.code);
        tags
    }

    fn places(&self, code: u16, values: &[u64]) -> RawTag {
        if !self.big {
            // That they fit was seen before.
            return RawTag::longs(code, &values.iter().map(|&value| value as u32).collect::<Vec<_>>());
        }
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        RawTag { code, kind: LONG8, count: values.len() as u64, bytes }
    }

    /// All reds, then all greens, then all blues, in 16 bits.
    fn palette(&self) -> Vec<u16> {
        let mut palette = vec![0; 3 * COLORS];
        for (value, color) in self.map.colors.iter().filter(|(value, _)| usize::from(*value) < COLORS) {
            for (plane, part) in color.iter().enumerate() {
                palette[plane * COLORS + usize::from(*value)] = u16::from(*part) * 257;
            }
        }
        palette
    }
}

fn tile_count(size: Size) -> usize {
    size.width.div_ceil(TILE) * size.height.div_ceil(TILE)
}

/// Writes the tiles of a level behind each other, from `end` on.
fn write_tiles<T: Stored>(out: &mut impl Write, end: &mut u64, size: Size, values: &[T]) -> IoResult<Tiles> {
    let mut table = Tiles::default();
    for down in 0..size.height.div_ceil(TILE) {
        let columns: Vec<usize> = (0..size.width.div_ceil(TILE)).collect();
        let deflated = |across: &usize| {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&tile(size, values, *across, down))?;
            encoder.finish()
        };
        let row: Vec<Vec<u8>> = columns.par_iter().map(deflated).collect::<IoResult<_>>()?;
        for bytes in row {
            out.write_all(&bytes)?;
            table.offsets.push(*end);
            table.counts.push(bytes.len() as u64);
            *end += bytes.len() as u64;
        }
    }
    Ok(table)
}

/// Appends a directory and the values that do not fit into it. The next one, if there is one, follows at once.
fn append_directory(bytes: &mut Vec<u8>, tags: &[RawTag], big: bool, is_last: bool) {
    let (counter, word) = if big { (8, 8) } else { (2, 4) };
    let table = counter + tags.len() * (4 + 2 * word) + word;
    let values = bytes.len() + table;
    let mut behind: Vec<u8> = Vec::new();
    put(bytes, tags.len() as u64, counter);
    for tag in tags {
        put(bytes, tag.code.into(), 2);
        put(bytes, tag.kind.into(), 2);
        put(bytes, tag.count, word);
        if tag.bytes.len() <= word {
            bytes.extend(&tag.bytes);
            bytes.resize(bytes.len() + word - tag.bytes.len(), 0);
        } else {
            put(bytes, (values + behind.len()) as u64, word);
            behind.extend(&tag.bytes);
            // Values begin at even places.
            behind.resize(behind.len().next_multiple_of(2), 0);
        }
    }
    let next = if is_last { 0 } else { values + behind.len() };
    put(bytes, next as u64, word);
    bytes.extend(behind);
}

/// Appends the lowest bytes of a number.
fn put(bytes: &mut Vec<u8>, number: u64, count: usize) {
    bytes.extend(&number.to_le_bytes()[..count]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{NumberLabels, RawLabels, read_labels};

    const SIZE: Size = Size { width: 700, height: 520 };

    fn map(values: &[u16], largest: u16) -> LabelTiff<'_> {
        LabelTiff { size: SIZE, values, largest, colors: &[(1, [1, 2, 255])], nodata: Some(255), place: None }
    }

    #[test]
    fn both_kinds_of_tiff_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        for largest in [7, 300] {
            let values: Vec<u16> = (0..SIZE.width * SIZE.height).map(|i| (i * i % 31) as u16 % (largest + 1)).collect();
            for (big, version) in [(false, 42), (true, 43)] {
                write_as(&path, &map(&values, largest), Some(big)).unwrap();
                assert_eq!(std::fs::read(&path).unwrap()[2], version);
                assert_eq!(read_labels(&path).unwrap(), RawLabels::Values(SIZE, values.clone()));
            }
        }
    }

    #[test]
    fn nodata_is_told_apart_and_maps_without_pixels_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        let values = vec![255; SIZE.width * SIZE.height];
        write_label_tiff(&path, &map(&values, 1)).unwrap();
        let RawLabels::Numbers(NumberLabels { nodata, .. }) = read_labels(&path).unwrap() else { panic!("no nodata") };
        assert_eq!(nodata, Some(255.0));
        let none = LabelTiff { size: Size { width: 0, height: 0 }, ..map(&[], 1) };
        assert!(write_label_tiff(&path, &none).unwrap_err().to_string().contains("write it as .npy"));
    }
}
