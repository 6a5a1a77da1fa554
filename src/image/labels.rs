//! Label images: the numbers (or colours) that the file stores, untouched.

use std::io::Cursor;
use std::path::Path;

use image::codecs::bmp::BmpDecoder;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat};

use super::raster::{AlphaBand, Samples, decode, guess, without_alpha};
use super::{gif, jp2, pnm, read_label_npy, tiff};
use crate::error::{Error, Result, Size};
use crate::files::read_bytes;

/// A label image as stored.
#[derive(Debug, Clone, PartialEq)]
pub enum RawLabels {
    /// Grey values or palette indices, row by row.
    Values(Size, Vec<u16>),
    /// Colours, row by row; to be looked up in a colour map. Alpha is dropped.
    Colors(Size, Vec<[u8; 3]>),
}

impl RawLabels {
    /// Width and height.
    pub fn size(&self) -> Size {
        match self {
            Self::Values(size, _) | Self::Colors(size, _) => *size,
        }
    }
}

/// A label image and its alpha, where there is one.
type WithAlpha = (RawLabels, Option<AlphaBand>);

/// Reads a label image: 8/16-bit grey, palette (the index, not the colour), RGB(A) as colours, or a 2-d .npy.
pub fn read_labels(path: &Path) -> Result<RawLabels> {
    read_labels_and_alpha(path).map(|(labels, _)| labels)
}

/// As [`read_labels`], and the alpha of the pixels where there is one: a channel, that of palette entries, or none at a
/// grey value or colour that a PNG declares transparent.
pub fn read_labels_and_alpha(path: &Path) -> Result<(RawLabels, Option<AlphaBand>)> {
    if is_npy(path) {
        let (size, values) = read_label_npy(path)?;
        return Ok((RawLabels::Values(size, values), None));
    }
    let bytes = read_bytes(path)?;
    if jp2::is_jp2(&bytes) {
        return Ok((jp2::read_labels(path, &bytes)?, None));
    }
    match guess(path, &bytes)? {
        ImageFormat::Png => read_png(path, &bytes),
        ImageFormat::Tiff => read_tiff(path, &bytes),
        ImageFormat::Bmp => read_bmp(path, &bytes),
        ImageFormat::Gif => gif::read_labels(path, &bytes),
        ImageFormat::Jpeg => Err(Error::content(
            path,
            "a JPEG cannot hold labels: its compression changes values at edges; save the label image as PNG or TIFF",
        )),
        format => {
            let picture = decode(&bytes, format).map_err(damaged(path))?;
            let (labels, alpha) = from_dynamic(path, picture)?;
            Ok((if format == ImageFormat::Pnm { pnm::unscaled(&bytes, labels) } else { labels }, alpha))
        }
    }
}

fn is_npy(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy"))
}

fn damaged<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> Error + '_ {
    move |e| Error::content(path, format!("damaged label image: {e}"))
}

fn read_png(path: &Path, bytes: &[u8]) -> Result<WithAlpha> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(damaged(path))?;
    let length = reader.output_buffer_size().ok_or_else(|| Error::content(path, "the picture is too large"))?;
    let mut buffer = vec![0; length];
    let info = reader.next_frame(&mut buffer).map_err(damaged(path))?;
    let size = Size { width: info.width as usize, height: info.height as usize };
    let row = info.line_size;
    let deep = info.bit_depth == png::BitDepth::Sixteen;
    let word = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
    let (labels, alpha) = match info.color_type {
        png::ColorType::Grayscale | png::ColorType::Indexed => {
            (RawLabels::Values(size, unpack(&buffer, size, row, info.bit_depth)), None)
        }
        png::ColorType::GrayscaleAlpha if deep => {
            let pixels = buffer.chunks_exact(4);
            let alpha = pixels.clone().map(|p| word(&p[2..])).collect();
            (RawLabels::Values(size, pixels.map(word).collect()), Some(Samples::U16(alpha)))
        }
        png::ColorType::GrayscaleAlpha => {
            let pixels = buffer.chunks_exact(2);
            let alpha = pixels.clone().map(|p| p[1]).collect();
            (RawLabels::Values(size, pixels.map(|p| p[0].into()).collect()), Some(Samples::U8(alpha)))
        }
        _ if deep => return Err(sixteen_bit_colors(path)),
        color => {
            let pixels = buffer.chunks_exact(color.samples());
            let alpha = || Samples::U8(pixels.clone().map(|p| p[3]).collect());
            let alpha = (color == png::ColorType::Rgba).then(alpha);
            (RawLabels::Colors(size, pixels.map(|p| [p[0], p[1], p[2]]).collect()), alpha)
        }
    };
    let declared = reader.info().trns.as_deref();
    let alpha = alpha.or_else(|| declared.map(|trns| declared_alpha(trns, &labels, info.color_type)));
    Ok((labels, alpha.map(|samples| AlphaBand { samples, associated: false })))
}

/// The alpha that a PNG's tRNS chunk declares, of the first palette entries or of one grey value or colour.
fn declared_alpha(trns: &[u8], labels: &RawLabels, color: png::ColorType) -> Samples {
    let opaque_unless = |transparent: bool| if transparent { 0 } else { u8::MAX };
    Samples::U8(match labels {
        RawLabels::Values(_, indices) if color == png::ColorType::Indexed => {
            indices.iter().map(|&i| trns.get(usize::from(i)).copied().unwrap_or(u8::MAX)).collect()
        }
        RawLabels::Values(_, values) => {
            // One byte, or two where samples have 16 bits.
            let transparent = trns.iter().fold(0, |value, &byte| value << 8 | u16::from(byte));
            values.iter().map(|&value| opaque_unless(value == transparent)).collect()
        }
        RawLabels::Colors(_, colors) => colors.iter().map(|color| opaque_unless(color == trns)).collect(),
    })
}

/// Grey samples or palette indices of 1, 2, 4, 8 or 16 bits, packed from the high bit down as PNG does.
fn unpack(buffer: &[u8], size: Size, row: usize, depth: png::BitDepth) -> Vec<u16> {
    let bits = depth as usize;
    let mut values = Vec::with_capacity(size.width * size.height);
    for line in buffer.chunks_exact(row).take(size.height) {
        match bits {
            16 => values.extend(line.chunks_exact(2).map(|p| u16::from_be_bytes([p[0], p[1]]))),
            8 => values.extend(line.iter().map(|&v| u16::from(v))),
            _ => {
                let mask = (1u8 << bits) - 1;
                let sample = |x: usize| u16::from(line[x * bits / 8] >> (8 - bits - x * bits % 8) & mask);
                values.extend((0..size.width).map(sample));
            }
        }
    }
    values
}

fn read_tiff(path: &Path, bytes: &[u8]) -> Result<WithAlpha> {
    let (raster, last_band) = tiff::read_raw(path, bytes)?;
    let (raster, alpha) = without_alpha(raster, last_band);
    let labels = match (raster.bands, raster.samples) {
        (1 | 2, Samples::U8(v)) => {
            RawLabels::Values(raster.size, v.into_iter().step_by(raster.bands).map(u16::from).collect())
        }
        (1 | 2, Samples::U16(v)) => RawLabels::Values(raster.size, v.into_iter().step_by(raster.bands).collect()),
        (1, Samples::F32(v)) => RawLabels::Values(raster.size, whole_numbers(path, &v, raster.size.width)?),
        (3 | 4, Samples::U8(v)) => {
            let colors = v.chunks_exact(raster.bands).map(|p| [p[0], p[1], p[2]]).collect();
            RawLabels::Colors(raster.size, colors)
        }
        (3 | 4, Samples::U16(_)) => return Err(sixteen_bit_colors(path)),
        (bands, _) => {
            return Err(Error::content(path, format!("a label image has 1 band or is RGB(A); this one has {bands}")));
        }
    };
    Ok((labels, alpha))
}

fn read_bmp(path: &Path, bytes: &[u8]) -> Result<WithAlpha> {
    let mut decoder = BmpDecoder::new(Cursor::new(bytes)).map_err(damaged(path))?;
    let (width, height) = decoder.dimensions();
    // Asking for indices keeps the palette out; a BMP without one must not be asked.
    if decoder.get_palette().is_some() {
        decoder.set_indexed_color(true);
        let size = Size { width: width as usize, height: height as usize };
        let mut buffer = vec![0; size.width * size.height];
        debug_assert_eq!(decoder.color_type(), ColorType::L8);
        decoder.read_image(&mut buffer).map_err(damaged(path))?;
        return Ok((RawLabels::Values(size, buffer.into_iter().map(u16::from).collect()), None));
    }
    from_dynamic(path, DynamicImage::from_decoder(decoder).map_err(damaged(path))?)
}

fn from_dynamic(path: &Path, picture: DynamicImage) -> Result<WithAlpha> {
    let size = Size { width: picture.width() as usize, height: picture.height() as usize };
    let labels = match &picture {
        DynamicImage::ImageLuma8(b) => RawLabels::Values(size, b.pixels().map(|p| p[0].into()).collect()),
        DynamicImage::ImageLuma16(b) => RawLabels::Values(size, b.as_raw().clone()),
        DynamicImage::ImageRgb8(b) => RawLabels::Colors(size, b.pixels().map(|p| p.0).collect()),
        DynamicImage::ImageRgba8(b) => RawLabels::Colors(size, b.pixels().map(|p| [p[0], p[1], p[2]]).collect()),
        _ => return Err(sixteen_bit_colors(path)),
    };
    let alpha = picture.as_rgba8().map(|b| Samples::U8(b.pixels().map(|p| p[3]).collect()));
    Ok((labels, alpha.map(|samples| AlphaBand { samples, associated: false })))
}

fn sixteen_bit_colors(path: &Path) -> Error {
    Error::content(path, "a colour label image must have 8 bits a channel")
}

/// Floats that hold whole numbers from 0 to 65,535.
pub(super) fn whole_numbers(path: &Path, values: &[f32], width: usize) -> Result<Vec<u16>> {
    let convert = |(i, &v): (usize, &f32)| {
        if v.fract() == 0.0 && (0.0..=65535.0).contains(&v) {
            Ok(v as u16)
        } else {
            let (x, y) = (i % width, i / width);
            Err(Error::content(path, format!("label {v} at pixel ({x}, {y}) is not a whole number from 0 to 65535")))
        }
    };
    values.iter().enumerate().map(convert).collect()
}
