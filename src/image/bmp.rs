//! BMP images with a palette, whose indices the decoder of `image` hands out for some depths alone.
//!
//! After Microsoft's description of bitmap storage: rows of 1, 2, 4 or 8 bits a pixel, padded to four bytes, from the bottom up
//! (from the top down where the height is negative), or runs (RLE4 and RLE8).

use std::path::Path;

use super::limits::{self, Coding, check_image};
use super::samples::{Image, Samples};
use crate::base::{Error, Result, Size};

const FILE_HEADER: usize = 14;
const CORE_HEADER: usize = 12;
const PLAIN: u32 = 0;
const RLE8: u32 = 1;
const RLE4: u32 = 2;

struct Header {
    size: Size,
    bits: usize,
    top_down: bool,
    compression: u32,
    pixels: usize,
}

impl Header {
    /// Bytes of a row that is not compressed, with its padding.
    fn stride(&self) -> usize {
        (self.size.width * self.bits).div_ceil(32) * 4
    }

    /// Bytes of all rows; the last one's padding may be missing.
    fn plain_bytes(&self) -> usize {
        let last = (self.size.width * self.bits).div_ceil(8);
        self.size.height.checked_sub(1).map_or(0, |rows| self.stride().saturating_mul(rows).saturating_add(last))
    }
}

/// The image in a BMP with a palette, grey where that is a ramp from black; `None` for one without.
pub(super) fn read_image(path: &Path, bytes: &[u8]) -> Result<Option<Image>> {
    let Some((size, indices)) = indices(path, bytes)? else { return Ok(None) };
    let length = u32_at(bytes, FILE_HEADER).unwrap_or(0) as usize;
    let entry = if length == CORE_HEADER { 3 } else { 4 };
    let first = FILE_HEADER + length;
    let end = header(bytes).map_or(first, |header| header.pixels.min(first + (entry << header.bits)));
    let palette: Vec<[u8; 3]> = bytes
        .get(first..end)
        .unwrap_or_default()
        .chunks_exact(entry)
        .map(|entry| [entry[2], entry[1], entry[0]])
        .collect();
    // Indices beyond the palette are black, as in other readers.
    let color = |index: u8| palette.get(usize::from(index)).copied().unwrap_or_default();
    let black_and_white = [[0; 3], [u8::MAX; 3]];
    let is_grey =
        palette == black_and_white || palette.iter().zip(0..=u8::MAX).all(|(color, grey)| *color == [grey; 3]);
    let (bands, samples) = if is_grey {
        (1, indices.into_iter().map(|index| color(index)[0]).collect())
    } else {
        (3, indices.into_iter().flat_map(color).collect())
    };
    Ok(Some(Image::new(size, bands, Samples::U8(samples))))
}

/// The palette indices, row by row from the top; `None` for a BMP without a palette.
pub(super) fn indices(path: &Path, bytes: &[u8]) -> Result<Option<(Size, Vec<u8>)>> {
    let damaged = |reason: &str| Error::content(path, format!("damaged BMP: {reason}"));
    let header = header(bytes).ok_or_else(|| damaged("its header is cut short or invalid"))?;
    let (bits, Size { width, height }) = (header.bits, header.size);
    if !matches!(bits, 1 | 2 | 4 | 8) {
        return Ok(None);
    }
    let coding = if header.compression == PLAIN { Coding::Plain(bits as u32) } else { Coding::BmpRle };
    // Indices, and what is made of them.
    let _held = check_image(path, header.size, 4, bytes.len() as u64, coding)?;
    let data = bytes.get(header.pixels..).unwrap_or_default();
    let mut rows = limits::zeros(path, width * height)?;
    match (header.compression, bits) {
        (PLAIN, bits) => {
            let stride = header.stride();
            if data.len() < header.plain_bytes() {
                return Err(damaged("its end is missing; copy or download the file again"));
            }
            for (row, packed) in rows.chunks_exact_mut(width.max(1)).zip(data.chunks(stride.max(1))) {
                row.iter_mut().enumerate().for_each(|(x, index)| *index = sample(packed, x, bits));
            }
        }
        (RLE8, 8) | (RLE4, 4) => unpack_runs(data, header.size, bits, &mut rows).map_err(damaged)?,
        (other, bits) => {
            return Err(damaged(&format!("compression {other} with {bits} bits a pixel is not supported")));
        }
    }
    if !header.top_down {
        rows = rows.chunks_exact(width.max(1)).rev().flatten().copied().collect();
    }
    Ok(Some((header.size, rows)))
}

fn header(bytes: &[u8]) -> Option<Header> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| u32_at(bytes, at);
    let pixels = u32_at(10)? as usize;
    let length = u32_at(FILE_HEADER)? as usize;
    if length == CORE_HEADER {
        let size = Size { width: u16_at(18)?.into(), height: u16_at(20)?.into() };
        return Some(Header { size, bits: u16_at(24)?.into(), top_down: false, compression: PLAIN, pixels });
    }
    let (width, height) = (u32_at(18)? as i32, u32_at(22)? as i32);
    let size = Size { width: usize::try_from(width).ok()?, height: height.unsigned_abs() as usize };
    let (bits, compression) = (usize::from(u16_at(28)?), u32_at(30)?);
    // Some writers do not count the palette in where they say that the pixels begin.
    let palette = FILE_HEADER + length;
    let colors = u32_at(46).unwrap_or(0) as usize;
    let counted = if (1..=1 << bits.min(8)).contains(&colors) { colors } else { 1 << bits.min(8) };
    let behind = palette.saturating_add(4 * counted);
    let header = Header { size, bits, top_down: height < 0, compression, pixels };
    // Without a palette, the file ends with the pixels and perhaps two more bytes.
    let without = pixels.saturating_add(header.stride().saturating_mul(size.height)).saturating_add(2);
    let counts = if compression == PLAIN { bytes.len() > without } else { bytes.len() > behind };
    if bits <= 8 && pixels == palette && counts { Some(Header { pixels: behind, ..header }) } else { Some(header) }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A pixel of a row in which they are packed, the high bits first.
pub(super) fn sample(row: &[u8], x: usize, bits: usize) -> u8 {
    let mask = ((1u16 << bits) - 1) as u8;
    row[x * bits / 8] >> (8 - bits - x * bits % 8) & mask
}

/// Unpacks runs into rows from the bottom up. Pixels that they skip stay 0.
fn unpack_runs(
    data: &[u8],
    Size { width, height }: Size,
    bits: usize,
    out: &mut [u8],
) -> std::result::Result<(), &'static str> {
    let cut = "its runs end too soon; copy or download the file again";
    let mut rest = data;
    let (mut x, mut y) = (0, 0);
    let mut put = |x: &mut usize, y: usize, index: u8| {
        if *x < width && y < height {
            out[y * width + *x] = index;
        }
        *x += 1;
    };
    while y < height {
        let Some(([count, value], after)) = rest.split_first_chunk::<2>() else { return Err(cut) };
        rest = after;
        match (*count, usize::from(*value)) {
            (0, 0) => (x, y) = (0, y + 1),
            (0, 1) => return Ok(()),
            (0, 2) => {
                let Some(([right, up], after)) = rest.split_first_chunk::<2>() else { return Err(cut) };
                (x, y) = (x + usize::from(*right), y + usize::from(*up));
                rest = after;
            }
            (0, literal) => {
                let length = (literal * bits).div_ceil(8);
                if x + literal > width {
                    return Err("a run reaches beyond the end of its row");
                }
                // Literal pixels are padded to two bytes; the last padding may be missing.
                let Some(packed) = rest.get(..length) else { return Err(cut) };
                (0..literal).for_each(|i| put(&mut x, y, sample(packed, i, bits)));
                rest = rest.get(length.next_multiple_of(2)..).unwrap_or_default();
            }
            (count, _) if x + usize::from(count) > width => return Err("a run reaches beyond the end of its row"),
            (count, _) => (0..usize::from(count)).for_each(|i| put(&mut x, y, sample(&[*value], i % (8 / bits), bits))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bits: u16, compression: u32, [width, height]: [i32; 2], data: &[u8]) -> Vec<u8> {
        let mut bytes = b"BM\0\0\0\0\0\0\0\0".to_vec();
        bytes.extend(54u32.to_le_bytes());
        bytes.extend(40u32.to_le_bytes());
        bytes.extend(width.to_le_bytes().into_iter().chain(height.to_le_bytes()));
        bytes.extend(1u16.to_le_bytes().into_iter().chain(bits.to_le_bytes()));
        bytes.extend(compression.to_le_bytes());
        bytes.resize(54, 0);
        bytes.extend(data);
        bytes
    }

    fn read(bits: u16, compression: u32, size: [i32; 2], data: &[u8]) -> std::result::Result<Vec<u8>, String> {
        let found = indices(Path::new("a.bmp"), &file(bits, compression, size, data));
        found.map(|found| found.unwrap().1).map_err(|e| e.to_string())
    }

    #[test]
    fn packed_rows_run_from_the_bottom_up_unless_the_height_is_negative() {
        let rows = [0b1010_0000, 0, 0, 0, 0b0110_0000, 0, 0, 0];
        assert_eq!(read(1, PLAIN, [3, 2], &rows).unwrap(), [0, 1, 1, 1, 0, 1]);
        assert_eq!(read(1, PLAIN, [3, -2], &rows).unwrap(), [1, 0, 1, 0, 1, 1]);
        assert_eq!(read(2, PLAIN, [3, 1], &[0b1101_1000, 0, 0, 0]).unwrap(), [3, 1, 2]);
        assert_eq!(read(4, PLAIN, [3, 1], &[0x12, 0x30, 0, 0]).unwrap(), [1, 2, 3]);
        assert_eq!(read(8, PLAIN, [3, 1], &[7, 8, 255, 0]).unwrap(), [7, 8, 255]);
        let cut: Vec<u8> = (0..255).collect();
        assert!(read(8, PLAIN, [16, 16], &cut).unwrap_err().contains("its end is missing"));
        // The palette is there, but its end and all pixels are not.
        assert!(read(8, PLAIN, [16, 16], &[0; 900]).unwrap_err().contains("its end is missing"));
        let behind: Vec<u8> = [vec![9; 1024], vec![1, 2, 3]].concat();
        assert_eq!(read(8, PLAIN, [3, 1], &behind).unwrap(), [1, 2, 3]);
        assert_eq!(indices(Path::new("a.bmp"), &file(24, PLAIN, [1, 1], &[0; 4])).unwrap(), None);
    }

    #[test]
    fn runs_literals_and_skips() {
        // Two of 5; the literals 1, 2, 3 with padding; end of line; skip one; two of 9; end.
        let runs = [2, 5, 0, 3, 1, 2, 3, 0, 0, 0, 0, 2, 1, 0, 2, 9, 0, 1];
        assert_eq!(read(8, RLE8, [5, 2], &runs).unwrap(), [0, 9, 9, 0, 0, 5, 5, 1, 2, 3]);
        // Five pixels that alternate between 1 and 2; the literals 3, 4, 5.
        let runs = [5, 0x12, 0, 3, 0x34, 0x50, 0, 1];
        assert_eq!(read(4, RLE4, [8, 1], &runs).unwrap(), [1, 2, 1, 2, 1, 3, 4, 5]);
        assert!(read(8, RLE8, [5, 2], &[2, 5]).unwrap_err().contains("too soon"));
        assert!(read(8, RLE8, [45_000, 45_000], &[2, 5, 0, 1]).unwrap_err().contains("45000x45000"));
    }
}
