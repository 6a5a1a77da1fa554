//! Decoded pictures in the sample type of their file.

use std::io::Cursor;
use std::ops::Range;
use std::path::Path;

use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageFormat, ImageReader, Limits};

use super::{foreign, gif, jp2, jpeg, tiff};
use crate::error::{Error, Result, Size};
use crate::files::read_bytes;

/// Largest decoded picture: 8 GiB.
pub(super) const MAX_BYTES: usize = 8 << 30;

/// The formats that are read.
pub(super) const READ: [ImageFormat; 7] = [
    ImageFormat::Jpeg,
    ImageFormat::Png,
    ImageFormat::Tiff,
    ImageFormat::Bmp,
    ImageFormat::Gif,
    ImageFormat::WebP,
    ImageFormat::Pnm,
];

/// Samples in the type of the file, interleaved by pixel.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// 8-bit.
    U8(Vec<u8>),
    /// 16-bit.
    U16(Vec<u16>),
    /// Floating point, and signed or wider integers; taken as they are.
    F32(Vec<f32>),
}

impl Samples {
    /// Number of samples.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(v) => v.len(),
            Self::U16(v) => v.len(),
            Self::F32(v) => v.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A decoded picture without its alpha channel. Palettes are expanded to RGB.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster {
    /// Width and height.
    pub size: Size,
    /// Samples a pixel: 1 grey, 3 RGB, or what a multi-band TIFF holds.
    pub bands: usize,
    /// `height * width * bands` samples, interleaved.
    pub samples: Samples,
}

impl Raster {
    /// The samples as float32 planes `[bands, height, width]`; 8-bit values divided by 255, 16-bit by 65,535.
    pub fn to_planes(&self) -> Vec<f32> {
        match &self.samples {
            Samples::U8(v) => planes(v, self.bands, |s| f32::from(s) / 255.0),
            Samples::U16(v) => planes(v, self.bands, |s| f32::from(s) / 65535.0),
            Samples::F32(v) => planes(v, self.bands, |s| s),
        }
    }
}

impl Raster {
    /// A part of the picture.
    #[must_use]
    pub fn cropped(&self, rows: Range<usize>, columns: Range<usize>) -> Self {
        fn crop<T: Copy>(samples: &[T], row: usize, rows: Range<usize>, part: Range<usize>) -> Vec<T> {
            samples[rows.start * row..rows.end * row]
                .chunks_exact(row)
                .flat_map(|row| &row[part.clone()])
                .copied()
                .collect()
        }
        let (row, part) = (self.size.width * self.bands, columns.start * self.bands..columns.end * self.bands);
        let size = Size { width: columns.len(), height: rows.len() };
        let samples = match &self.samples {
            Samples::U8(v) => Samples::U8(crop(v, row, rows, part)),
            Samples::U16(v) => Samples::U16(crop(v, row, rows, part)),
            Samples::F32(v) => Samples::F32(crop(v, row, rows, part)),
        };
        Self { size, bands: self.bands, samples }
    }

    /// The same with float32 samples, 8-bit values divided by 255, 16-bit by 65,535.
    #[must_use]
    pub fn into_floats(self) -> Self {
        let samples = match self.samples {
            Samples::U8(v) => v.into_iter().map(|s| f32::from(s) / 255.0).collect(),
            Samples::U16(v) => v.into_iter().map(|s| f32::from(s) / 65535.0).collect(),
            Samples::F32(v) => v,
        };
        Self { samples: Samples::F32(samples), ..self }
    }
}

fn planes<T: Copy>(samples: &[T], bands: usize, value: impl Fn(T) -> f32) -> Vec<f32> {
    let mut out = Vec::with_capacity(samples.len());
    for band in 0..bands {
        out.extend(samples[band..].iter().step_by(bands).map(|&s| value(s)));
    }
    out
}

/// Reads a JPEG, PNG, TIFF, BMP or WebP picture; the format is told from the content, not from the name.
pub fn read_image(path: &Path) -> Result<Raster> {
    read_image_and_alpha(path).map(|(raster, _)| raster)
}

/// Width and height, from the beginning of the file; `None` where there is no picture that tells them.
pub fn read_size(path: &Path) -> Option<Size> {
    let reader = path.is_file().then(|| ImageReader::open(path))?.ok()?.with_guessed_format().ok()?;
    let (width, height) = match reader.format()? {
        ImageFormat::Tiff => tiff::dimensions(reader.into_inner()).ok()?,
        ImageFormat::Gif => gif::dimensions(reader.into_inner())?,
        _ => reader.into_dimensions().ok()?,
    };
    Some(Size { width: width as usize, height: height as usize })
}

/// How opaque pixels are.
#[derive(Debug, Clone, PartialEq)]
pub struct AlphaBand {
    /// From 0, transparent, to white, in the type of the picture.
    pub samples: Samples,
    /// Whether the colours have been multiplied by it already.
    pub associated: bool,
}

/// What the last band of a decoded picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastBand {
    Color,
    Alpha,
    AssociatedAlpha,
}

/// As [`read_image`], and the alpha of the pixels where there is one.
pub fn read_image_and_alpha(path: &Path) -> Result<(Raster, Option<AlphaBand>)> {
    let bytes = read_bytes(path)?;
    if jp2::is_jp2(&bytes) {
        let (raster, last_band) = jp2::read_raster(path, &bytes)?;
        return Ok(without_alpha(raster, last_band));
    }
    let (raster, last_band) = match guess(path, &bytes)? {
        ImageFormat::Tiff => tiff::read_raster(path, &bytes)?,
        ImageFormat::Gif => gif::read_raster(path, &bytes)?,
        format => {
            if format == ImageFormat::Jpeg {
                if let Some((size, _)) = jpeg::size_and_claim(&bytes).filter(|(_, claim)| *claim > MAX_BYTES as u64) {
                    return Err(Error::content(path, format!("a JPEG of {size} is too large to decode; reduce it")));
                }
                jpeg::check(&bytes).map_err(|reason| Error::content(path, reason))?;
            }
            if is_animated(&bytes, format) {
                let reason = "is an animation; save the frame that is meant as a picture of its own";
                return Err(Error::content(path, reason));
            }
            let picture = decode(&bytes, format)
                .map_err(|e| Error::content(path, format!("damaged or unsupported picture: {e}")))?;
            from_dynamic(picture)
        }
    };
    if raster.size.width == 0 || raster.size.height == 0 {
        return Err(Error::content(path, "the picture has no pixels"));
    }
    Ok(without_alpha(raster, last_band))
}

/// The picture and its alpha apart.
pub(super) fn without_alpha(raster: Raster, last_band: LastBand) -> (Raster, Option<AlphaBand>) {
    if last_band == LastBand::Color {
        return (raster, None);
    }
    let (raster, samples) = split_alpha(raster);
    (raster, Some(AlphaBand { samples, associated: last_band == LastBand::AssociatedAlpha }))
}

/// Decodes anything but TIFF, with room for large scenes.
pub(super) fn decode(bytes: &[u8], format: ImageFormat) -> image::ImageResult<DynamicImage> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES as u64);
    reader.limits(limits);
    reader.decode()
}

/// Whether there is more than one picture to see; a decoder would take the first and say nothing.
fn is_animated(bytes: &[u8], format: ImageFormat) -> bool {
    match format {
        ImageFormat::Png => PngDecoder::new(Cursor::new(bytes)).is_ok_and(|png| png.is_apng().unwrap_or(false)),
        ImageFormat::WebP => WebPDecoder::new(Cursor::new(bytes)).is_ok_and(|webp| webp.has_animation()),
        _ => false,
    }
}

/// The format that the first bytes tell.
pub(super) fn guess(path: &Path, bytes: &[u8]) -> Result<ImageFormat> {
    if bytes.is_empty() {
        return Err(Error::content(path, "the file is empty"));
    }
    match image::guess_format(bytes) {
        Ok(ImageFormat::Tiff) if let Some(fault) = foreign::refuse_raw(path) => Err(fault),
        Ok(format) if READ.contains(&format) => Ok(format),
        _ => Err(foreign::not_read(path, bytes)),
    }
}

/// The picture with all its bands.
fn from_dynamic(picture: DynamicImage) -> (Raster, LastBand) {
    let size = Size { width: picture.width() as usize, height: picture.height() as usize };
    let alpha = picture.color().has_alpha();
    let (bands, samples) = match picture {
        DynamicImage::ImageLuma8(b) => (1, Samples::U8(b.into_raw())),
        DynamicImage::ImageRgb8(b) => (3, Samples::U8(b.into_raw())),
        DynamicImage::ImageLumaA8(b) => (2, Samples::U8(b.into_raw())),
        DynamicImage::ImageRgba8(b) => (4, Samples::U8(b.into_raw())),
        DynamicImage::ImageLuma16(b) => (1, Samples::U16(b.into_raw())),
        DynamicImage::ImageRgb16(b) => (3, Samples::U16(b.into_raw())),
        DynamicImage::ImageLumaA16(b) => (2, Samples::U16(b.into_raw())),
        DynamicImage::ImageRgba16(b) => (4, Samples::U16(b.into_raw())),
        other if alpha => (4, Samples::F32(other.into_rgba32f().into_raw())),
        other => (3, Samples::F32(other.into_rgb32f().into_raw())),
    };
    (Raster { size, bands, samples }, if alpha { LastBand::Alpha } else { LastBand::Color })
}

/// Takes the last band off.
fn split_alpha(raster: Raster) -> (Raster, Samples) {
    fn split<T: Copy>(samples: &[T], step: usize) -> (Vec<T>, Vec<T>) {
        let pixels = samples.chunks_exact(step);
        let color = pixels.clone().flat_map(|pixel| pixel[..step - 1].iter().copied()).collect();
        (color, pixels.map(|pixel| pixel[step - 1]).collect())
    }
    let Raster { size, bands, samples } = raster;
    let (samples, alpha) = match samples {
        Samples::U8(v) => {
            let (color, alpha) = split(&v, bands);
            (Samples::U8(color), Samples::U8(alpha))
        }
        Samples::U16(v) => {
            let (color, alpha) = split(&v, bands);
            (Samples::U16(color), Samples::U16(alpha))
        }
        Samples::F32(v) => {
            let (color, alpha) = split(&v, bands);
            (Samples::F32(color), Samples::F32(alpha))
        }
    };
    (Raster { size, bands: bands - 1, samples }, alpha)
}
