//! What the stored numbers are as colours.

use std::path::Path;

use tiff_reader::{PhotometricInterpretation as Photometric, TiffError};

use super::Tiff;
use super::numbers::Numbers;
use super::refusal::refused;
use crate::base::{Error, Result};
use crate::image::labels::narrowed;
use crate::image::{Image, SampleType, Samples};

/// Whether colours are converted while they are decoded.
pub(super) fn is_converted(tiff: &Tiff<'_>) -> bool {
    matches!(tiff.photometric(), Some(Photometric::YCbCr | Photometric::CieLab | Photometric::Separated))
}

/// A palette expanded to RGB, white-is-zero inverted, and 1, 2 and 4 bits spread to 8, as in a PNG. Other widths stay the
/// numbers that they are: measurements of 12 bits in 16 are common.
pub(super) fn to_rgb(tiff: &Tiff<'_>, raster: Image, bits: u16) -> Result<Image> {
    let raster = match tiff.photometric() {
        Some(Photometric::Palette) => return from_palette(tiff, raster),
        Some(Photometric::MinIsWhite) => inverted(raster, bits),
        _ => raster,
    };
    Ok(Image { samples: spread(raster.samples, bits), ..raster })
}

fn from_palette(tiff: &Tiff<'_>, raster: Image) -> Result<Image> {
    let damaged = |e: TiffError| refused(tiff.path, e);
    let Some(map) = tiff.page.color_map().map_err(damaged)? else {
        return Err(Error::content(tiff.path, "damaged TIFF: a palette image without a palette"));
    };
    let channels = [map.red(), map.green(), map.blue()];
    // Some writers put 8-bit colours into the 16-bit entries.
    let shift = if channels.iter().all(|channel| channel.iter().all(|v| *v <= 255)) { 0 } else { 8 };
    let palette: Vec<[u8; 3]> = (0..map.len()).map(|i| channels.map(|channel| (channel[i] >> shift) as u8)).collect();
    let color = |index: usize| {
        palette.get(index).copied().ok_or_else(|| {
            let reason =
                format!("damaged TIFF: palette index {index} is beyond the palette's {} colours", palette.len());
            Error::content(tiff.path, reason)
        })
    };
    let bands = raster.bands;
    let colors: Result<Vec<[u8; 3]>> = match &raster.samples {
        Samples::U8(v) => v.iter().step_by(bands).map(|&i| color(i.into())).collect(),
        Samples::U16(v) => v.iter().step_by(bands).map(|&i| color(i.into())).collect(),
        Samples::F32(_) => {
            return Err(Error::content(tiff.path, "palette indices of more than 16 bits are not supported"));
        }
    };
    Ok(Image { bands: 3, samples: Samples::U8(colors?.into_flattened()), sample_type: SampleType::Uint8, ..raster })
}

fn inverted(raster: Image, bits: u16) -> Image {
    let white = ((1u32 << bits.min(16)) - 1) as u16;
    let bands = raster.bands;
    // Extra bands are no colours.
    let samples = match raster.samples {
        Samples::U8(mut v) => {
            v.iter_mut().step_by(bands).for_each(|sample| *sample = white as u8 - *sample);
            Samples::U8(v)
        }
        Samples::U16(mut v) => {
            v.iter_mut().step_by(bands).for_each(|sample| *sample = white - *sample);
            Samples::U16(v)
        }
        // Without a largest number there is nothing to invert at.
        floats @ Samples::F32(_) => floats,
    };
    Image { samples, ..raster }
}

fn spread(samples: Samples, bits: u16) -> Samples {
    let factor = match bits {
        1 => 255,
        2 => 85,
        4 => 17,
        _ => return samples,
    };
    match samples {
        Samples::U8(v) => Samples::U8(v.into_iter().map(|sample| sample * factor).collect()),
        other => other,
    }
}

/// The alpha band in the type that the colours have.
pub(super) fn alpha_like(alpha: Samples, colors: &Samples, bits: u16) -> Samples {
    match (spread(alpha, bits), colors) {
        // Colours of a palette have 8 bits, whatever its indices have.
        (Samples::U16(v), Samples::U8(_)) => Samples::U8(v.into_iter().map(|sample| (sample >> 8) as u8).collect()),
        (alpha, _) => alpha,
    }
}

/// The colours of a label image with this many bands, the first three of which count.
pub(super) fn label_colors(path: &Path, numbers: Numbers, bands: usize) -> Result<Vec<[u8; 3]>> {
    let bytes = match numbers {
        Numbers::Bytes(v) => v,
        Numbers::Words(v) => narrowed(path, v.into_iter())?,
        Numbers::Wide(_) => return Err(Error::content(path, "a colour label image must have 8 bits per band")),
    };
    Ok(bytes.chunks_exact(bands).map(|p| [p[0], p[1], p[2]]).collect())
}
