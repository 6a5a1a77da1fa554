//! JPEG 2000, as Sentinel-2 and Pléiades scenes come: decoded by the Rust port of OpenJPEG, to the same numbers as GDAL.

use std::path::Path;

use jpeg2k::{ColorSpace, DecodeParameters, Image as J2kImage, ImageComponent};

use super::limits::{self, Reservation};
use super::raw_labels::{LabelImage, RawLabels};
use super::samples::{Image, SampleType, Samples};
use crate::base::{Error, Result, Size};
use crate::image::tiff::Numbers;

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
pub(super) fn read_image(path: &Path, bytes: &[u8]) -> Result<Image> {
    let (size, image, _held) = decode(path, bytes, DecodeParameters::new(), palette_bands(bytes))?;
    let components = image.components();
    let space = image.color_space();
    if matches!(space, ColorSpace::SYCC | ColorSpace::EYCC | ColorSpace::CMYK) {
        return Err(convert(path, format!("a JPEG 2000 image in colour space {space:?} is not supported")));
    }
    let bands = components.len();
    let alpha = bands > 1 && components.last().is_some_and(ImageComponent::is_alpha);
    let colors = bands - usize::from(alpha);
    let sample_type = sample_type(&components[..colors]);
    let samples = interleaved(components, colors, sample_type);
    if samples.len() != size.width * size.height * bands {
        return Err(convert(path, "a JPEG 2000 image with components of several sizes is not supported"));
    }
    let raster = Image { sample_type, ..Image::new(size, bands, samples) };
    Ok(if alpha { raster.with_last_band_as_alpha() } else { raster })
}

/// Width and height, from the first bytes.
pub(super) fn read_size(path: &Path, bytes: &[u8]) -> Result<Size> {
    header(bytes).map(|header| header.size).ok_or_else(|| Error::content(path, "damaged JPEG 2000 image"))
}

/// The numbers of a map of one component that was compressed without loss; of a palette, the indices.
pub(super) fn read_labels(path: &Path, bytes: &[u8]) -> Result<LabelImage> {
    if header(bytes).is_some_and(|header| header.transform != Some(REVERSIBLE)) {
        let reason = "a lossy JPEG 2000 file cannot hold labels: its compression changes values at edges; save the label image as PNG \
             or TIFF";
        return Err(Error::content(path, reason));
    }
    let (size, image, _held) = decode(path, bytes, DecodeParameters::new().ignore_pclr_cmap_cdef(), 0)?;
    let [component] = image.components() else {
        let bands = image.components().len();
        return Err(convert(path, format!("a JPEG 2000 label image must have 1 band; this one has {bands}")));
    };
    let numbers = Numbers::Wide(component.data().iter().map(|value| f64::from(*value)).collect());
    Ok(LabelImage::new(RawLabels::from_numbers(size, numbers, None, None), None))
}

/// The image; `colors` bands of a palette come in addition to what is stored.
fn decode(
    path: &Path,
    bytes: &[u8],
    parameters: DecodeParameters,
    colors: u64,
) -> Result<(Size, J2kImage, Reservation)> {
    let damaged = || Error::content(path, "damaged JPEG 2000 image; copy or download the file again");
    let Header { size, components, .. } = header(bytes).ok_or_else(damaged)?;
    let samples = (size.width as u64).saturating_mul(size.height as u64).saturating_mul(components + colors);
    let claim = format_args!("its header claims {size} pixels of {components} bands");
    let held = limits::reserve(path, claim, samples.saturating_mul(BYTES_A_SAMPLE))?;
    let image = J2kImage::from_bytes_with(bytes, parameters.strict(true)).map_err(|_| damaged())?;
    let fits = |c: &ImageComponent| (c.width() as usize, c.height() as usize) == (size.width, size.height);
    if image.components().is_empty() || !image.components().iter().all(fits) {
        return Err(convert(path, "a JPEG 2000 image with subsampled components is not supported"));
    }
    Ok((size, image, held))
}

fn convert(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::content(path, format!("{reason}; convert it, as with: gdal_translate in.jp2 out.tif"))
}

/// The type that a TIFF would have.
fn sample_type(components: &[ImageComponent]) -> SampleType {
    let bits = components.iter().map(ImageComponent::precision).max().unwrap_or(8);
    match (components.iter().any(ImageComponent::is_signed), bits) {
        (false, ..=8) => SampleType::Uint8,
        (false, 9..=16) => SampleType::Uint16,
        (false, _) => SampleType::Uint32,
        (true, ..=8) => SampleType::Int8,
        (true, 9..=16) => SampleType::Int16,
        (true, _) => SampleType::Int32,
    }
}

/// In memory, the narrowest type that holds all components; alpha, behind the colours, is stretched to it.
fn interleaved(components: &[ImageComponent], colors: usize, sample_type: SampleType) -> Samples {
    let white = f64::from(sample_type.full_scale());
    let scale = |(i, component): (usize, &ImageComponent)| {
        if i < colors { 1.0 } else { white / ((1u64 << component.precision().min(32)) - 1) as f64 }
    };
    let scales: Vec<f64> = components.iter().enumerate().map(scale).collect();
    let pixels = components.iter().map(|component| component.data().len()).min().unwrap_or(0);
    let number = |i: usize| {
        let (pixel, band) = (i / components.len(), i % components.len());
        f64::from(components[band].data()[pixel]) * scales[band]
    };
    let numbers = (0..pixels * components.len()).map(number);
    match sample_type {
        SampleType::Uint8 => Samples::U8(numbers.map(|n| n.round() as u8).collect()),
        SampleType::Uint16 => Samples::U16(numbers.map(|n| n.round() as u16).collect()),
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

/// Bands of the colours of a palette; 0 without one.
fn palette_bands(bytes: &[u8]) -> u64 {
    let boxes = &bytes[..bytes.len() - codestream(bytes).map_or(0, <[u8]>::len)];
    let found = boxes.windows(4).position(|kind| kind == b"pclr");
    // Behind the name: the number of entries in two bytes, and that of the bands in one.
    found.and_then(|at| boxes.get(at + 6)).map_or(0, |bands| u64::from(*bands))
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

    fn raster(bytes: &[u8]) -> Image {
        let raster = read_image(Path::new("a.jp2"), bytes).unwrap();
        assert_eq!((raster.size, read_size(Path::new("a.jp2"), bytes).unwrap()), (SIZE, SIZE));
        raster
    }

    #[test]
    fn images_have_the_numbers_that_gdal_reads() {
        let eight = Samples::U8(pixels(|x, y| (y * 5 + x) as u8));
        assert_eq!(raster(fixture!("labels.jp2")), Image::new(SIZE, 1, eight));
        let sixteen = Samples::U16(pixels(|x, y| (y * 3000 + x * 17) as u16));
        assert_eq!(raster(fixture!("sixteen.jp2")), Image::new(SIZE, 1, sixteen));
        let signed = Samples::F32(pixels(|x, y| (y * 100 - 150 + x) as f32));
        let signed = Image { sample_type: SampleType::Int16, ..Image::new(SIZE, 1, signed) };
        assert_eq!(raster(fixture!("signed.jp2")), signed);
        let alpha = |x: i32| if x > 2 { 255 } else { 0 };
        let rgba = pixels(|x, y| [x * 50, y * 60, x * y, alpha(x)].map(|v| v as u8)).concat();
        let rgba = Image::new(SIZE, 4, Samples::U8(rgba)).with_last_band_as_alpha();
        assert_eq!(raster(fixture!("rgba.jp2")), rgba);
    }

    #[test]
    fn labels_must_be_without_loss() {
        let path = Path::new("a.jp2");
        let labels = read_labels(path, fixture!("labels.jp2")).unwrap();
        assert_eq!(labels.raw, RawLabels::Values(SIZE, (0..20).collect()));
        assert!(read_labels(path, fixture!("lossy.jp2")).unwrap_err().to_string().contains("a lossy JPEG 2000"));
        let RawLabels::Numbers(signed) = read_labels(path, fixture!("signed.jp2")).unwrap().raw else {
            panic!("values")
        };
        assert_eq!(signed.values[..2], [-150.0, -149.0]);
        assert!(read_labels(path, fixture!("rgba.jp2")).unwrap_err().to_string().contains("this one has 4"));
    }

    #[test]
    fn the_bands_of_a_palette_are_told_by_its_box() {
        let file = fixture!("labels.jp2");
        // The codestream's own box begins 8 bytes before it.
        let boxes = file.len() - codestream(file).unwrap().len() - 8;
        let palette = b"\0\0\0\x14pclr\0\x01\x03\x07\x07\x07\x0a\x0b\x0c\0\0\0";
        let colored = [&file[..boxes], &palette[..], &file[boxes..]].concat();
        assert_eq!([&file[..], &colored[..], &file[boxes + 8..]].map(palette_bands), [0, 3, 0]);
    }

    #[test]
    fn damage_and_claims_are_refused() {
        let whole = fixture!("sixteen.jp2");
        let start = whole.windows(4).position(|window| window == CODESTREAM).unwrap();
        for kept in [13, 40, start + 20, start + 60, whole.len() - 20] {
            assert_refused!(read_image(Path::new("a.jp2"), &whole[..kept]), "damaged JPEG 2000");
        }
        let mut huge = whole.to_vec();
        huge[start + 8..start + 16].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        assert_refused!(
            read_image(Path::new("a.jp2"), &huge),
            "claims 2147483647x2147483647 pixels of 1 bands; reading it would take"
        );
    }
}
