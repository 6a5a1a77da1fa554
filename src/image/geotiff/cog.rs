//! Rasters as Cloud Optimized GeoTIFFs: tiled, deflated, with overviews, directories in front.

use std::io::{Error as IoError, Result as IoResult, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use rayon::prelude::*;
use tempfile::{SpooledTempFile, spooled_tempfile_in};

use super::levels::{Stored, TILE, halved, sizes, tile};
use super::tags::{LONG8, RawTag};
use super::{Georeference, ORIENTATION};
use crate::base::files::{folder_of, write_atomically};
use crate::base::{Error, Result, Size};
use crate::image::orientation::Orientation;

/// Bytes of a level that are held in memory before they go to a temporary file.
pub(super) const SPOOLED: usize = 4 << 20;
/// The same of all levels, of which there are seldom more.
pub(super) const SHEETS: u64 = 8 * SPOOLED as u64;
/// In place of [`SPOOLED`] for a file that is to be in memory as a whole.
pub(super) const ALL: usize = usize::MAX;

/// What is said of a raster.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) size: Size,
    /// Colours of the values, where it has a palette: all reds, then all greens, then all blues, in 16 bits.
    pub(super) palette: Option<Vec<u16>>,
    /// GDAL's nodata value.
    pub(super) nodata: Option<String>,
    /// GDAL's metadata, as XML.
    pub(super) metadata: Option<String>,
    pub(super) place: Option<Georeference>,
}

/// A raster that is written some rows at a time, in the order in which the image stores them. What is not finished leaves
/// nothing. Compressed tiles wait in temporary files beside the result, since the overviews, which are known last, come
/// first.
#[derive(Debug)]
pub(super) struct Cog<T> {
    path: PathBuf,
    head: Head,
    /// How the upright raster is turned as the image is stored.
    turn: Option<Orientation>,
    /// Of each band: the raster and its overviews.
    bands: Vec<Vec<Level<T>>>,
    /// The tiles of each level, of all bands: a file for each band would soon be more than a process may open.
    sheets: Vec<Sheet>,
}

/// Where the tiles of a level are in the file, and how long they are.
#[derive(Debug, Clone, Default)]
struct Tiles {
    offsets: Vec<u64>,
    counts: Vec<u64>,
}

/// The map or an overview of it.
#[derive(Debug)]
struct Level<T> {
    size: Size,
    nodata: Option<T>,
    /// Rows that are not compressed yet: of less than a tile.
    rows: Vec<T>,
    /// Rows that are.
    done: usize,
    /// Where its tiles are in the sheet, and how long they are.
    places: Vec<(u64, u64)>,
}

/// Compressed tiles, one behind the other.
#[derive(Debug)]
struct Sheet {
    file: SpooledTempFile,
    length: u64,
}

impl<T: Stored> Cog<T> {
    /// Of each level, `held` bytes wait in memory: [`SPOOLED`], or [`ALL`] for a file that [`Self::bytes`] gives.
    ///
    /// # Errors
    ///
    /// If the raster has no pixels, or more than a TIFF can have.
    pub(super) fn new(path: &Path, head: Head, nodata: Option<T>, bands: usize, held: usize) -> Result<Self> {
        let Size { width, height } = head.size;
        let sides = 1..=u32::MAX as usize - TILE;
        if !sides.contains(&width) || !sides.contains(&height) {
            let reason = format!("a raster of {} cannot be written as TIFF; write it as .npy", head.size);
            return Err(Error::content(path, reason));
        }
        let level = |size: &Size| Level { size: *size, nodata, rows: Vec::new(), done: 0, places: Vec::new() };
        let turn = head.place.as_ref().and_then(Georeference::undone);
        let sizes = sizes(turn.map_or(head.size, |turn| turn.size(head.size)));
        let bands = (0..bands).map(|_| sizes.iter().map(level).collect()).collect();
        let sheet = |_| Sheet { file: spooled_tempfile_in(held, folder_of(path)), length: 0 };
        let sheets = sizes.iter().map(sheet).collect();
        Ok(Self { path: path.to_path_buf(), head, turn, bands, sheets })
    }

    /// Adds whole rows, `[bands, rows, width]`.
    pub(super) fn push(&mut self, values: &[T]) -> Result<()> {
        let each = (values.len() / self.bands.len()).max(1);
        let (size, turn, sheets) = (self.head.size, self.turn, &mut self.sheets);
        let mut bands = self.bands.iter_mut().zip(values.chunks_exact(each));
        let pushed = bands.try_for_each(|(levels, rows)| match turn {
            None => push(levels, sheets, rows),
            Some(turn) if rows.len() == size.width * size.height => push(levels, sheets, &turn.apply_to(size, rows)),
            Some(_) => Err(IoError::other("the rows of an image that is turned upright come at once")),
        });
        pushed.map_err(|cause| Error::write(&self.path, cause))
    }

    /// Puts the file together and gives it its name. `big` says whether as a BigTIFF, `None` that the length decides.
    ///
    /// # Errors
    ///
    /// If rows are missing, or the file cannot be written.
    pub(super) fn finish(mut self, big: Option<bool>) -> Result<()> {
        let head = self.complete(big)?;
        let sheets = &mut self.sheets;
        write_atomically(&self.path, |out| write_all(&head, sheets, out))
    }

    /// The file, put together.
    ///
    /// # Errors
    ///
    /// If rows are missing.
    pub(super) fn bytes(mut self) -> Result<Vec<u8>> {
        let mut file = Vec::new();
        let head = self.complete(None)?;
        write_all(&head, &mut self.sheets, &mut file).map_err(|cause| Error::write(&self.path, cause))?;
        Ok(file)
    }

    /// What stands before the tiles, once all rows are there.
    fn complete(&self, big: Option<bool>) -> Result<Vec<u8>> {
        let Level { size: Size { width, height }, rows, done, .. } = &self.bands[0][0];
        let done = done + rows.len() / width;
        if done < *height {
            let missing = format!("{} of {height} rows are missing", height - done);
            return Err(Error::write(&self.path, IoError::other(missing)));
        }
        let mut tables: Vec<Tiles> = (0..self.sheets.len()).map(|level| self.table(level)).collect();
        let length: u64 = self.sheets.iter().map(|sheet| sheet.length).sum();
        // The directories are as long without the places of the tiles as with them.
        let least = self.directories(&tables, false).len() as u64 + length;
        let big = big.unwrap_or(least > u64::from(u32::MAX));
        let mut end = self.directories(&tables, big).len() as u64;
        // Whoever reads the beginning of the file sees the smallest overview first.
        for (table, sheet) in tables.iter_mut().zip(&self.sheets).rev() {
            table.offsets.iter_mut().for_each(|offset| *offset += end);
            end += sheet.length;
        }
        Ok(self.directories(&tables, big))
    }

    /// The tiles of a level, band after band, by their places in its sheet.
    fn table(&self, level: usize) -> Tiles {
        let (offsets, counts) = self.bands.iter().flat_map(|levels| &levels[level].places).copied().unzip();
        Tiles { offsets, counts }
    }

    /// The header and the directories of all levels, each with the values of its tags behind it.
    fn directories(&self, tables: &[Tiles], big: bool) -> Vec<u8> {
        let (begin, word): (&[u8], usize) = if big { (b"II+\0\x08\0\0\0", 8) } else { (b"II*\0", 4) };
        let mut bytes = begin.to_vec();
        put(&mut bytes, 2 * word as u64, word);
        for (level, table) in tables.iter().enumerate() {
            let is_last = level + 1 == tables.len();
            append_directory(&mut bytes, &self.tags(level, table, big), big, is_last);
        }
        bytes
    }

    /// The tags of a level, in the order of their codes.
    fn tags(&self, level: usize, table: &Tiles, big: bool) -> Vec<RawTag> {
        let Size { width, height } = self.bands[0][level].size;
        let Head { palette, nodata, metadata, place, .. } = &self.head;
        let bands = self.bands.len();
        let mut tags = vec![
            RawTag::longs(254, &[u32::from(level > 0)]),
            RawTag::longs(256, &[width as u32]),
            RawTag::longs(257, &[height as u32]),
            RawTag::shorts(258, &vec![T::BITS; bands]),
            // Deflate.
            RawTag::shorts(259, &[8]),
            RawTag::shorts(262, &[if palette.is_some() { 3 } else { 1 }]),
            RawTag::shorts(277, &[bands as u16]),
            // Band after band, if there are several.
            RawTag::shorts(284, &[if bands > 1 { 2 } else { 1 }]),
            RawTag::longs(322, &[TILE as u32]),
            RawTag::longs(323, &[TILE as u32]),
            places(324, &table.offsets, big),
            places(325, &table.counts, big),
            RawTag::shorts(339, &vec![T::FORMAT; bands]),
        ];
        // Bands behind the first that are no alpha.
        tags.extend((bands > 1).then(|| RawTag::shorts(338, &vec![0; bands - 1])));
        tags.extend(palette.as_ref().map(|palette| RawTag::shorts(320, palette)));
        tags.extend(metadata.as_ref().filter(|_| level == 0).map(|text| RawTag::text(42112, text)));
        tags.extend(nodata.as_ref().map(|nodata| RawTag::text(42113, nodata)));
        if let Some(place) = place {
            tags.extend(place.orientation.map(|value| RawTag::shorts(ORIENTATION, &[value])));
            tags.extend(place.tags.iter().filter(|_| level == 0).cloned());
        }
        tags.sort_by_key(|tag| tag.code);
        tags
    }
}

/// Writes the directories and the tiles, those of the smallest level first.
fn write_all(head: &[u8], sheets: &mut [Sheet], out: &mut impl Write) -> IoResult<()> {
    out.write_all(head)?;
    for sheet in sheets.iter_mut().rev() {
        sheet.file.seek(SeekFrom::Start(0))?;
        std::io::copy(&mut sheet.file, out)?;
    }
    Ok(())
}

/// Adds rows to the first of the levels, and what follows from them to the others.
fn push<T: Stored>(levels: &mut [Level<T>], sheets: &mut [Sheet], mut values: &[T]) -> IoResult<()> {
    let (Some((level, smaller)), Some((sheet, sheets))) = (levels.split_first_mut(), sheets.split_first_mut()) else {
        return Ok(());
    };
    let Size { width, height } = level.size;
    while !values.is_empty() {
        let rows = TILE.min(height - level.done);
        let missing = (rows * width).saturating_sub(level.rows.len());
        if missing == 0 || !values.len().is_multiple_of(width) {
            return Err(IoError::other("more rows than the raster has, or parts of rows"));
        }
        let (now, later) = values.split_at(missing.min(values.len()));
        level.rows.extend_from_slice(now);
        values = later;
        if level.rows.len() < rows * width {
            break;
        }
        level.compress_into(sheet)?;
        let size = Size { width, height: rows };
        push(smaller, sheets, &halved(size, &level.rows, level.nodata))?;
        level.rows.clear();
        level.done += rows;
    }
    Ok(())
}

impl<T: Stored> Level<T> {
    /// Writes the row of tiles that is complete.
    fn compress_into(&mut self, sheet: &mut Sheet) -> IoResult<()> {
        let size = Size { height: self.rows.len() / self.size.width, ..self.size };
        let columns: Vec<usize> = (0..size.width.div_ceil(TILE)).collect();
        let deflated = |across: &usize| {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&tile(size, &self.rows, *across))?;
            encoder.finish()
        };
        let row: Vec<Vec<u8>> = columns.par_iter().map(deflated).collect::<IoResult<_>>()?;
        for bytes in row {
            sheet.file.write_all(&bytes)?;
            self.places.push((sheet.length, bytes.len() as u64));
            sheet.length += bytes.len() as u64;
        }
        Ok(())
    }
}

fn places(code: u16, values: &[u64], big: bool) -> RawTag {
    if !big {
        // That they fit was seen before.
        return RawTag::longs(code, &values.iter().map(|&value| value as u32).collect::<Vec<_>>());
    }
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    RawTag { code, kind: LONG8, count: values.len() as u64, bytes }
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
