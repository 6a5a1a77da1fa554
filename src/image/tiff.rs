//! TIFF, read with the `tiff` crate itself: scientific TIFFs are float, 16-bit, multi-band or palette, and `image`
//! hands out only the common ones.

use std::io::{Cursor, Read, Seek};
use std::path::Path;

use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::raster::{LastBand, MAX_BYTES, Raster, Samples};
use crate::error::{Error, Result, Size};

const PHOTOMETRIC: u16 = 262;
const WHITE_IS_ZERO: u16 = 0;
const PALETTE: u16 = 3;
const BLACK_IS_ZERO: u16 = 1;

fn damaged(path: &Path) -> impl Fn(TiffError) -> Error + '_ {
    move |e| Error::content(path, format!("damaged or unsupported TIFF: {e}"))
}

/// Width and height of the first page.
pub(super) fn dimensions(file: impl Read + Seek) -> tiff::TiffResult<(u32, u32)> {
    Decoder::new(file)?.dimensions()
}

/// The first page; a palette is expanded to RGB.
pub(super) fn read_raster(path: &Path, bytes: &[u8]) -> Result<(Raster, LastBand)> {
    let Some(indexed) = as_black_is_zero(bytes, &[PALETTE]) else { return decode(path, bytes) };
    let (raster, _) = decode(path, &indexed)?;
    let map = Decoder::new(Cursor::new(&indexed))
        .and_then(|mut d| d.get_tag_u16_vec(Tag::ColorMap))
        .map_err(damaged(path))?;
    let entries = map.len() / 3;
    let Samples::U8(indices) = &raster.samples else {
        return Err(Error::content(path, "palette TIFF with other than 8-bit indices is not supported"));
    };
    if indices.iter().any(|&i| usize::from(i) >= entries) {
        return Err(Error::content(path, format!("a palette index is beyond the palette's {entries} colours")));
    }
    // The colour map holds all reds, then all greens, then all blues, 16 bits each.
    let colors = indices.iter().flat_map(|&i| (0..3).map(move |band| (band, usize::from(i))));
    let rgb = colors.map(|(band, i)| (map[band * entries + i] >> 8) as u8).collect();
    Ok((Raster { size: raster.size, bands: 3, samples: Samples::U8(rgb) }, LastBand::Color))
}

/// The first page as it is stored: palette indices are not expanded, white-is-zero is not inverted, alpha is kept.
pub(super) fn read_raw(path: &Path, bytes: &[u8]) -> Result<(Raster, LastBand)> {
    match as_black_is_zero(bytes, &[PALETTE, WHITE_IS_ZERO]) {
        Some(plain) => decode(path, &plain),
        None => decode(path, bytes),
    }
}

/// Decodes the first page.
fn decode(path: &Path, bytes: &[u8]) -> Result<(Raster, LastBand)> {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_BYTES;
    limits.intermediate_buffer_size = MAX_BYTES;
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(damaged(path))?.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(damaged(path))?;
    let size = Size { width: width as usize, height: height as usize };
    let color = decoder.colortype().map_err(damaged(path))?;
    if color.bit_depth() < 8 {
        return Err(Error::content(
            path,
            format!("TIFF with {} bits a sample is not supported; save it with 8 or 16", color.bit_depth()),
        ));
    }
    let samples = match decoder.read_image().map_err(damaged(path))? {
        DecodingResult::U8(v) => Samples::U8(v),
        DecodingResult::U16(v) => Samples::U16(v),
        DecodingResult::F16(v) => Samples::F32(v.into_iter().map(f32::from).collect()),
        DecodingResult::F32(v) => Samples::F32(v),
        DecodingResult::F64(v) => Samples::F32(v.into_iter().map(|s| s as f32).collect()),
        DecodingResult::U32(v) => Samples::F32(v.into_iter().map(|s| s as f32).collect()),
        DecodingResult::U64(v) => Samples::F32(v.into_iter().map(|s| s as f32).collect()),
        DecodingResult::I8(v) => Samples::F32(v.into_iter().map(f32::from).collect()),
        DecodingResult::I16(v) => Samples::F32(v.into_iter().map(f32::from).collect()),
        DecodingResult::I32(v) => Samples::F32(v.into_iter().map(|s| s as f32).collect()),
        DecodingResult::I64(v) => Samples::F32(v.into_iter().map(|s| s as f32).collect()),
    };
    let bands = usize::from(color.num_samples());
    if samples.len() != size.width * size.height * bands {
        return Err(Error::content(
            path,
            format!(
                "TIFF of {size} with {bands} bands should hold {} samples, but {} were read; save it with interleaved bands",
                size.width * size.height * bands,
                samples.len()
            ),
        ));
    }
    let extra = decoder.get_tag_u16_vec(Tag::ExtraSamples).unwrap_or_default();
    let last_band = match (color, extra.as_slice()) {
        // The decoder calls grey with alpha a picture of two bands.
        (ColorType::RGBA(_) | ColorType::Multiband { num_samples: 2, .. }, [1, ..]) => LastBand::AssociatedAlpha,
        (ColorType::RGBA(_), _) | (ColorType::Multiband { num_samples: 2, .. }, [2, ..]) => LastBand::Alpha,
        _ => LastBand::Color,
    };
    Ok((Raster { size, bands, samples }, last_band))
}

/// For a TIFF with one of the given photometric tags, a copy whose tag says black-is-zero, so that the stored numbers
/// come out as they are: the decoder refuses palettes, yet their indices are just the label values that we want, and
/// it inverts white-is-zero. `None` for any other file, damaged ones included (the decoder will name the damage).
fn as_black_is_zero(bytes: &[u8], photometric: &[u16]) -> Option<Vec<u8>> {
    let little = match bytes.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let u16_at = |at: usize| -> Option<u16> {
        let raw: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(raw) } else { u16::from_be_bytes(raw) })
    };
    let mut raw = [0; 4];
    Cursor::new(bytes.get(4..8)?).read_exact(&mut raw).ok()?;
    let directory = if little { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) } as usize;
    let entries = usize::from(u16_at(directory)?);
    let value = (0..entries)
        .map(|i| directory + 2 + 12 * i)
        .find(|&entry| u16_at(entry) == Some(PHOTOMETRIC))
        .map(|entry| entry + 8)?;
    if !photometric.contains(&u16_at(value)?) {
        return None;
    }
    let mut copy = bytes.to_vec();
    let grey = if little { BLACK_IS_ZERO.to_le_bytes() } else { BLACK_IS_ZERO.to_be_bytes() };
    copy[value..value + 2].copy_from_slice(&grey);
    Some(copy)
}
