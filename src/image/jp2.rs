//! JPEG 2000, as Sentinel-2 and Pléiades scenes come: decoded by the Rust port of OpenJPEG, to the same numbers as GDAL.

use std::path::Path;

use jpeg2k::{ColorSpace, DecodeParameters, Image, ImageComponent};

use super::labels::RawLabels;
use super::raster::{LastBand, MAX_BYTES, Raster, Samples};
use crate::error::{Error, Result, Size};

const SIGNATURE: &[u8] = b"\0\0\0\x0cjP  \r\n\x87\n";
const CODESTREAM: &[u8] = b"\xff\x4f\xff\x51";
/// What a sample takes while it is decoded: in the tile and in the image.
const BYTES_A_SAMPLE: u64 = 8;
const REVERSIBLE: u8 = 1;

/// Whether the file begins as JPEG 2000 does, bare or in its container.
pub(super) fn is_jp2(bytes: &[u8]) -> bool {
    bytes.starts_with(SIGNATURE) || bytes.starts_with(CODESTREAM)
}

/// All components as bands, in the numbers of the file; a palette is expanded to its colours.
pub(super) fn read_raster(path: &Path, bytes: &[u8]) -> Result<(Raster, LastBand)> {
    let (size, image) = decode(path, bytes, DecodeParameters::new())?;
    let components = image.components();
    let space = image.color_space();
    if matches!(space, ColorSpace::SYCC | ColorSpace::EYCC | ColorSpace::CMYK) {
        return Err(convert(path, format!("a JPEG 2000 image in colour space {space:?} is not supported")));
    }
    let bands = components.len();
    let last_band = match components.last() {
        Some(last) if bands > 1 && last.is_alpha() => LastBand::Alpha,
        _ => LastBand::Color,
    };
    let samples = interleaved(components, last_band == LastBand::Alpha);
    if samples.len() != size.width * size.height * bands {
        return Err(convert(path, "a JPEG 2000 image with components of several sizes is not supported"));
    }
    Ok((Raster { size, bands, samples }, last_band))
}

/// The numbers of a map of one component that was compressed without loss; of a palette, the indices.
pub(super) fn read_labels(path: &Path, bytes: &[u8]) -> Result<RawLabels> {
    if header(bytes).is_some_and(|header| header.transform != Some(REVERSIBLE)) {
        return Err(Error::content(
            path,
            "a lossy JPEG 2000 cannot hold labels: its compression changes values at edges; save the label image as PNG \
             or TIFF",
        ));
    }
    let (size, image) = decode(path, bytes, DecodeParameters::new().ignore_pclr_cmap_cdef())?;
    let [component] = image.components() else {
        let bands = image.components().len();
        return Err(convert(path, format!("a JPEG 2000 label image has 1 band; this one has {bands}")));
    };
    let label = |(i, &value): (usize, &i32)| {
        u16::try_from(value).map_err(|_| {
            let (x, y) = (i % size.width, i / size.width);
            Error::content(path, format!("label {value} at pixel ({x}, {y}) is not a whole number from 0 to 65535"))
        })
    };
    Ok(RawLabels::Values(size, component.data().iter().enumerate().map(label).collect::<Result<_>>()?))
}

fn decode(path: &Path, bytes: &[u8], parameters: DecodeParameters) -> Result<(Size, Image)> {
    let damaged = || Error::content(path, "damaged JPEG 2000 image; copy or download the file again");
    let Header { size, components, .. } = header(bytes).ok_or_else(damaged)?;
    let claim = (size.width as u64).saturating_mul(size.height as u64).saturating_mul(components * BYTES_A_SAMPLE);
    if claim > MAX_BYTES as u64 {
        return Err(convert(
            path,
            format!("a JPEG 2000 image of {size} with {components} bands is too large to decode"),
        ));
    }
    let image = Image::from_bytes_with(bytes, parameters.strict(true)).map_err(|_| damaged())?;
    let fits = |c: &ImageComponent| (c.width() as usize, c.height() as usize) == (size.width, size.height);
    if image.components().is_empty() || !image.components().iter().all(fits) {
        return Err(convert(path, "a JPEG 2000 image with subsampled components is not supported"));
    }
    Ok((size, image))
}

fn convert(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::content(path, format!("{reason}; convert it, as with: gdal_translate in.jp2 out.tif"))
}

/// The narrowest type that holds all components; alpha is stretched to it.
fn interleaved(components: &[ImageComponent], alpha: bool) -> Samples {
    let colors = &components[..components.len() - usize::from(alpha)];
    let bits = colors.iter().map(ImageComponent::precision).max().unwrap_or(8);
    let signed = colors.iter().any(ImageComponent::is_signed);
    let white: f64 = match (signed, bits) {
        (false, ..=8) => 255.0,
        (false, 9..=16) => 65535.0,
        _ => 1.0,
    };
    let scale = |(i, component): (usize, &ImageComponent)| match i < colors.len() {
        true => 1.0,
        false => white / ((1u64 << component.precision().min(32)) - 1) as f64,
    };
    let scales: Vec<f64> = components.iter().enumerate().map(scale).collect();
    let pixels = components.iter().map(|component| component.data().len()).min().unwrap_or(0);
    let number = |i: usize| {
        let (pixel, band) = (i / components.len(), i % components.len());
        f64::from(components[band].data()[pixel]) * scales[band]
    };
    let numbers = (0..pixels * components.len()).map(number);
    match white as u32 {
        255 => Samples::U8(numbers.map(|n| n.round() as u8).collect()),
        65535 => Samples::U16(numbers.map(|n| n.round() as u16).collect()),
        _ => Samples::F32(numbers.map(|n| n as f32).collect()),
    }
}

/// What the codestream says before its data.
struct Header {
    size: Size,
    components: u64,
    /// The wavelet: 0 with loss, 1 without.
    transform: Option<u8>,
}

fn header(bytes: &[u8]) -> Option<Header> {
    let stream = codestream(bytes)?;
    let number = |at: usize| Some(u32::from_be_bytes(*stream.get(at..)?.first_chunk()?));
    let size = Size {
        width: number(8)?.checked_sub(number(16)?)? as usize,
        height: number(12)?.checked_sub(number(20)?)? as usize,
    };
    let components = u64::from(number(38)? & 0xffff);
    let mut at = 2;
    let transform = loop {
        let [mark, kind, high, low] = *stream.get(at..)?.first_chunk()?;
        match (mark, kind) {
            (0xff, 0x52) => break stream.get(at + 13).copied(),
            (0xff, 0x90) => break None,
            (0xff, _) => at += 2 + usize::from(u16::from_be_bytes([high, low])),
            _ => return None,
        }
    };
    (size.width > 0 && size.height > 0 && components > 0).then_some(Header { size, components, transform })
}

/// The codestream within its container.
fn codestream(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes;
    while !rest.starts_with(CODESTREAM) {
        let (length, kind) = (u32::from_be_bytes(*rest.first_chunk()?), rest.get(4..8)?);
        let (length, head) = match length {
            0 => (rest.len() as u64, 8),
            1 => (u64::from_be_bytes(*rest.get(8..)?.first_chunk()?), 16),
            length => (length.into(), 8),
        };
        let skip = if kind == b"jp2c" { head } else { length };
        rest = rest.get(usize::try_from(skip).ok().filter(|skip| *skip >= 8)?..)?;
        if kind == b"jp2c" {
            return rest.starts_with(CODESTREAM).then_some(rest);
        }
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by Pillow and GDAL; 5 x 4 pixels.
    macro_rules! fixture {
        ($name:literal) => {
            include_bytes!(concat!("../../tests/fixtures/jp2/", $name))
        };
    }

    const SIZE: Size = Size { width: 5, height: 4 };

    fn pixels<T>(value: impl Fn(i32, i32) -> T) -> Vec<T> {
        (0..20).map(|i| value(i % 5, i / 5)).collect()
    }

    fn raster(bytes: &[u8]) -> (usize, Samples, LastBand) {
        let (raster, last_band) = read_raster(Path::new("a.jp2"), bytes).unwrap();
        assert_eq!(raster.size, SIZE);
        (raster.bands, raster.samples, last_band)
    }

    #[test]
    fn images_have_the_numbers_that_gdal_reads() {
        let color = LastBand::Color;
        let eight = Samples::U8(pixels(|x, y| (y * 5 + x) as u8));
        assert_eq!(raster(fixture!("labels.jp2")), (1, eight, color));
        let sixteen = Samples::U16(pixels(|x, y| (y * 3000 + x * 17) as u16));
        assert_eq!(raster(fixture!("sixteen.jp2")), (1, sixteen, color));
        let signed = Samples::F32(pixels(|x, y| (y * 100 - 150 + x) as f32));
        assert_eq!(raster(fixture!("signed.jp2")), (1, signed, color));
        let alpha = |x: i32| if x > 2 { 255 } else { 0 };
        let rgba = pixels(|x, y| [x * 50, y * 60, x * y, alpha(x)].map(|v| v as u8)).concat();
        assert_eq!(raster(fixture!("rgba.jp2")), (4, Samples::U8(rgba), LastBand::Alpha));
    }

    #[test]
    fn labels_must_be_without_loss() {
        let path = Path::new("a.jp2");
        let labels = read_labels(path, fixture!("labels.jp2")).unwrap();
        assert_eq!(labels, RawLabels::Values(SIZE, (0..20).collect()));
        assert!(read_labels(path, fixture!("lossy.jp2")).unwrap_err().to_string().contains("a lossy JPEG 2000"));
        assert!(
            read_labels(path, fixture!("signed.jp2")).unwrap_err().to_string().contains("label -150 at pixel (0, 0)")
        );
        assert!(read_labels(path, fixture!("rgba.jp2")).unwrap_err().to_string().contains("this one has 4"));
    }

    #[test]
    fn damage_and_claims_are_refused() {
        let whole = fixture!("sixteen.jp2");
        let start = whole.windows(4).position(|window| window == CODESTREAM).unwrap();
        for kept in [13, 40, start + 20, start + 60, whole.len() - 20] {
            let message = read_raster(Path::new("a.jp2"), &whole[..kept]).unwrap_err().to_string();
            assert!(message.contains("damaged JPEG 2000"), "{kept}: {message}");
        }
        let mut huge = whole.to_vec();
        huge[start + 8..start + 16].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        let message = read_raster(Path::new("a.jp2"), &huge).unwrap_err().to_string();
        assert!(message.contains("2147483647x2147483647 with 1 bands is too large"), "{message}");
    }
}
