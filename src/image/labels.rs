//! Label images: the numbers (or colours) that the file stores, untouched.

use super::raw_labels::{LabelImage, RawLabels};
use super::webp::is_lossy_webp;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageFormat};

use super::guard::contained;
use super::limits::{self, Coding, check_image};
use super::orientation::Orientation;
use super::read::{decode, guess, is_animated, signature};
use super::samples::Samples;
use super::{bmp, gif, jp2, npy, pnm, tiff};
use crate::base::files::read_bytes;
use crate::base::{Error, Result, Size};

/// Reads a label image: grey of any type, palette (the index, not the colour), RGB(A) as colours, or a 2-d .npy or
/// .npz.
pub fn read_labels(path: &Path) -> Result<RawLabels> {
    read_labels_and_alpha(path).map(|labels| labels.raw)
}

/// As [`read_labels`], and the alpha of the pixels.
pub fn read_labels_and_alpha(path: &Path) -> Result<LabelImage> {
    read(path).map(|(labels, _)| labels)
}

/// As [`read_labels`], and whether the file declares that its pixels are to be turned, and they were.
pub(crate) fn read_labels_turned(path: &Path) -> Result<(RawLabels, bool)> {
    read(path).map(|(labels, turned)| (labels.raw, turned))
}

/// Labels, and whether they were turned.
fn read(path: &Path) -> Result<(LabelImage, bool)> {
    let as_stored = |labels| (labels, false);
    if npy::is_npy(path) {
        return npy::read_raw_labels(path).map(|raw| as_stored(LabelImage::new(raw, None)));
    }
    let head = signature(path)?;
    if jp2::is_jp2(&head) {
        return contained(path, || jp2::read_labels(path, &read_bytes(path)?)).map(as_stored);
    }
    let format = guess(path, &head)?;
    if format == ImageFormat::Tiff {
        return contained(path, || tiff::read_labels(path));
    }
    let bytes = read_bytes(path)?;
    contained(path, || match format {
        ImageFormat::Png => read_png(path, &bytes),
        ImageFormat::Bmp => match bmp::indices(path, &bytes)? {
            Some((size, indices)) => {
                let raw = RawLabels::Values(size, indices.into_iter().map(u16::from).collect());
                Ok(as_stored(LabelImage::new(raw, None)))
            }
            None => read_others(path, &bytes, format),
        },
        ImageFormat::Gif => gif::read_labels(path, &bytes).map(as_stored),
        ImageFormat::Jpeg => Err(lossy(path, "a JPEG")),
        ImageFormat::WebP if is_lossy_webp(&bytes) => Err(lossy(path, "a WebP with lossy compression")),
        format => read_others(path, &bytes, format),
    })
}

fn lossy(path: &Path, what: &str) -> Error {
    let reason = format!(
        "{what} cannot hold labels: its compression changes values at edges; save the label image as PNG or TIFF"
    );
    Error::content(path, reason)
}

fn damaged<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> Error + '_ {
    move |e| Error::content(path, format!("damaged label image: {e}"))
}

fn read_png(path: &Path, bytes: &[u8]) -> Result<(LabelImage, bool)> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(damaged(path))?;
    if reader.info().animation_control.is_some_and(|animation| animation.num_frames > 1) {
        return Err(Error::content(path, "is an animation; save the frame that is meant as a label image"));
    }
    let size = Size::from(reader.info().size());
    // Decoded, and as label values.
    let pixel = reader.info().bytes_per_pixel() + 2;
    let _held = check_image(path, size, pixel, bytes.len() as u64, Coding::of(bytes))?;
    let mut buffer = limits::zeros(path, reader.output_buffer_size().unwrap_or(usize::MAX))?;
    let info = reader.next_frame(&mut buffer).map_err(damaged(path))?;
    // EXIF data may follow the pixels; without them, or cut short, there is no orientation.
    let _ = reader.finish();
    let labels = png_labels(path, reader.info(), &info, size, &buffer)?;
    Ok(labels.upright(Orientation::in_png(reader.info()).and_then(Orientation::from_exif)))
}

fn png_labels(
    path: &Path,
    header: &png::Info<'_>,
    frame: &png::OutputInfo,
    size: Size,
    buffer: &[u8],
) -> Result<LabelImage> {
    let deep = frame.bit_depth == png::BitDepth::Sixteen;
    let word = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
    let (raw, alpha) = match frame.color_type {
        png::ColorType::Grayscale | png::ColorType::Indexed => {
            (RawLabels::Values(size, unpack(buffer, size, frame.line_size, frame.bit_depth)), None)
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
        color => {
            let samples = if deep { narrowed(path, buffer.chunks_exact(2).map(word))? } else { buffer.to_vec() };
            let pixels = samples.chunks_exact(color.samples());
            let alpha = || Samples::U8(pixels.clone().map(|p| p[3]).collect());
            let alpha = (color == png::ColorType::Rgba).then(alpha);
            (RawLabels::Colors(size, pixels.map(|p| [p[0], p[1], p[2]]).collect()), alpha)
        }
    };
    let alpha = alpha.or_else(|| header.trns.as_deref().map(|trns| declared_alpha(trns, &raw, frame.color_type)));
    Ok(LabelImage::new(raw, alpha))
}

/// 16-bit samples as 8-bit ones, where they are 8-bit ones spread.
pub(super) fn narrowed(path: &Path, words: impl Iterator<Item = u16>) -> Result<Vec<u8>> {
    let byte = |word: u16| {
        let refuse = || Error::content(path, "a colour label image must have 8 bits per band");
        if word.is_multiple_of(257) { Ok((word / 257) as u8) } else { Err(refuse()) }
    };
    words.map(byte).collect()
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
        RawLabels::Colors(_, colors) => {
            // Three bytes, or six where samples have 16 bits, which are those of 8 bits twice.
            let spread = |color: &[u8; 3]| color.iter().flat_map(|&sample| [sample; 2]).eq(trns.iter().copied());
            colors.iter().map(|color| opaque_unless(color == trns || spread(color))).collect()
        }
        RawLabels::Numbers(labels) => vec![u8::MAX; labels.values.len()],
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
            _ => values.extend((0..size.width).map(|x| u16::from(bmp::sample(line, x, bits)))),
        }
    }
    values
}

/// Formats and kinds that `image` decodes without loss of what is stored.
fn read_others(path: &Path, bytes: &[u8], format: ImageFormat) -> Result<(LabelImage, bool)> {
    if is_animated(bytes, format) {
        return Err(Error::content(path, "is an animation; save the frame that is meant as a label image"));
    }
    let (image, orientation) = decode(path, bytes, format, damaged(path))?;
    let mut labels = from_dynamic(path, &image)?;
    if format == ImageFormat::Pnm {
        labels.raw = pnm::unscaled(bytes, labels.raw);
    }
    Ok(labels.upright(orientation))
}

fn from_dynamic(path: &Path, image: &DynamicImage) -> Result<LabelImage> {
    let size = Size { width: image.width() as usize, height: image.height() as usize };
    let raw = match image {
        DynamicImage::ImageLuma8(b) => RawLabels::Values(size, b.pixels().map(|p| p[0].into()).collect()),
        DynamicImage::ImageLuma16(b) => RawLabels::Values(size, b.as_raw().clone()),
        DynamicImage::ImageRgb8(b) => RawLabels::Colors(size, b.pixels().map(|p| p.0).collect()),
        DynamicImage::ImageRgba8(b) => RawLabels::Colors(size, b.pixels().map(|p| [p[0], p[1], p[2]]).collect()),
        other => return Err(Error::content(path, format!("labels as {:?} are not supported", other.color()))),
    };
    Ok(LabelImage::new(raw, image.as_rgba8().map(|b| Samples::U8(b.pixels().map(|p| p[3]).collect()))))
}
