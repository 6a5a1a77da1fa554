//! Images read from their files.

use std::io::{BufReader, Cursor, Read, Result as IoResult, Seek, SeekFrom};
use std::path::Path;

use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::foreign::{self, HEAD};
use super::guard::contained;
use super::limits::{Coding, MAX_BYTES, check_image};
use super::orientation::{Orientation, upright};
use super::samples::{Image, Samples};
use super::{bmp, gif, jp2, jpeg, npy, tiff};
use crate::base::files::{open_input, read_bytes};
use crate::base::{Error, Result, Size};

/// The boxes before the code of a JPEG 2000 image, georeference and all, mostly end before this byte.
const JP2_HEADERS: u64 = 1 << 20;

/// Reads an image of any format that segtool knows, upright. The format is told from the content, not from the name, but for
/// the .npy and .npz of numpy ([`read_image_npy`](super::read_image_npy)).
pub fn read_image(path: &Path) -> Result<Image> {
    read_image_turned(path).map(|(image, _)| image)
}

/// As [`read_image`], and whether the file declares that its pixels are to be turned, and they were.
pub(crate) fn read_image_turned(path: &Path) -> Result<(Image, bool)> {
    let as_stored = |image| (image, false);
    if npy::is_npy(path) {
        return npy::read_image_npy(path).map(as_stored);
    }
    let head = signature(path)?;
    if jp2::is_jp2(&head) {
        return contained(path, || jp2::read_image(path, &read_bytes(path)?)).map(as_stored);
    }
    let (raster, turned) = match guess(path, &head)? {
        ImageFormat::Tiff => contained(path, || tiff::read_image(path))?,
        format => {
            let bytes = read_bytes(path)?;
            contained(path, || read_encoded(path, &bytes, format))?
        }
    };
    if raster.size.width == 0 || raster.size.height == 0 {
        return Err(Error::content(path, "the image has no pixels"));
    }
    Ok((raster, turned))
}

impl Image {
    /// Reads an image of any format that segtool knows, upright; see [`read_image`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        read_image(path.as_ref())
    }
}

/// Width and height of the upright image, from the beginning of the file; `None` where there is no image that tells them.
pub fn read_size(path: &Path) -> Option<Size> {
    find_size(path).ok()
}

/// [`read_size`], with what is wrong with a file that does not tell them. Nothing of its pixels is decoded.
///
/// # Errors
///
/// If it is no image that segtool reads, or a damaged one.
pub fn find_size(path: &Path) -> Result<Size> {
    if npy::is_npy(path) {
        return npy::npy_size(path).ok_or_else(|| {
            Error::content(path, "is not an array of an image: (height, width) or (height, width, bands) is expected")
        });
    }
    let head = signature(path)?;
    let size = if jp2::is_jp2(&head) { jp2_size(path)? } else { size_of(path, &head, guess(path, &head)?)? };
    match size.width == 0 || size.height == 0 {
        true => Err(Error::content(path, "the image has no pixels")),
        false => Ok(size),
    }
}

fn jp2_size(path: &Path) -> Result<Size> {
    let mut bytes = Vec::new();
    let (file, _) = open_input(path)?;
    file.take(JP2_HEADERS).read_to_end(&mut bytes).map_err(|e| Error::read(path, e))?;
    contained(path, || jp2::read_size(path, &bytes))
}

fn size_of(path: &Path, head: &[u8], format: ImageFormat) -> Result<Size> {
    let read = || match format {
        ImageFormat::Tiff => tiff::read_size(path),
        ImageFormat::Gif => gif::read_size(path, head),
        format => {
            let open = || open_input(path).map(|(file, _)| file);
            let reader = ImageReader::with_format(BufReader::new(open()?), format);
            let damaged = |e| Error::content(path, format!("damaged or unsupported image: {e}"));
            let mut decoder = reader.into_decoder().map_err(damaged)?;
            let size = Size::from(decoder.dimensions());
            let orientation = match format {
                ImageFormat::Png => png_orientation(BufReader::new(open()?)),
                _ => declared_orientation(&mut decoder),
            };
            Ok(orientation.map_or(size, |orientation| orientation.size(size)))
        }
    };
    contained(path, read)
}

/// The first bytes of a file.
pub(super) fn signature(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEAD);
    let (file, _) = open_input(path)?;
    file.take(HEAD as u64).read_to_end(&mut bytes).map_err(|e| Error::read(path, e))?;
    Ok(bytes)
}

/// The format that the first bytes tell.
pub(super) fn guess(path: &Path, bytes: &[u8]) -> Result<ImageFormat> {
    if bytes.is_empty() {
        return Err(Error::content(path, "the file is empty"));
    }
    if tiff::is_tiff(bytes) {
        return foreign::refuse_raw(path).map_or(Ok(ImageFormat::Tiff), Err);
    }
    image::guess_format(bytes)
        .ok()
        .filter(|format| foreign::FORMATS.contains(format))
        .ok_or_else(|| foreign::not_read(path, bytes))
}

/// Decodes anything but TIFF, and says whether it was turned.
fn read_encoded(path: &Path, bytes: &[u8], format: ImageFormat) -> Result<(Image, bool)> {
    match format {
        ImageFormat::Jpeg => {
            let (raster, orientation) = jpeg::read(path, bytes)?;
            return Ok(upright(path, raster, orientation));
        }
        ImageFormat::Gif => return Ok((gif::read_image(path, bytes)?, false)),
        _ => {}
    }
    if format == ImageFormat::Bmp
        && let Some(raster) = bmp::read_image(path, bytes)?
    {
        return Ok((raster, false));
    }
    if is_animated(bytes, format) {
        return Err(Error::content(path, "is an animation; save the frame that is meant as an image"));
    }
    let (image, mut orientation) =
        decode(path, bytes, format, |e| Error::content(path, format!("damaged or unsupported image: {e}")))?;
    if format == ImageFormat::Png {
        orientation = png_orientation(Cursor::new(bytes));
    }
    Ok(upright(path, from_dynamic(image), orientation))
}

/// Decodes anything but TIFF, if the memory allows. With it, what has to be done to the image to turn it upright.
pub(super) fn decode(
    path: &Path,
    bytes: &[u8],
    format: ImageFormat,
    damaged: impl Fn(image::ImageError) -> Error,
) -> Result<(DynamicImage, Option<Orientation>)> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES as u64);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(&damaged)?;
    let size = Size::from(decoder.dimensions());
    // Decoded, and converted to what is made of it.
    let pixel = 2 * usize::from(decoder.color_type().bytes_per_pixel());
    let _held = check_image(path, size, pixel, bytes.len() as u64, Coding::of(bytes))?;
    let orientation = declared_orientation(&mut decoder);
    Ok((DynamicImage::from_decoder(decoder).map_err(damaged)?, orientation))
}

/// The orientation that EXIF data declare, or XMP data without these; damaged ones declare none.
pub(super) fn declared_orientation(decoder: &mut impl ImageDecoder) -> Option<Orientation> {
    let exif = decoder.exif_metadata().ok().flatten().and_then(|exif| Orientation::in_exif(&exif));
    let xmp = || decoder.xmp_metadata().ok().flatten().and_then(|xmp| Orientation::in_xmp(&xmp));
    Orientation::from_exif(exif.or_else(xmp)?)
}

/// The orientation that an image other than a TIFF declares, if it is to be applied.
pub(super) fn declared_by(path: &Path) -> Option<Orientation> {
    let head = signature(path).ok().filter(|_| !npy::is_npy(path))?;
    match guess(path, &head).ok()? {
        ImageFormat::Tiff | ImageFormat::Gif => None,
        ImageFormat::Png => png_orientation(BufReader::new(open_input(path).ok()?.0)),
        format => {
            let reader = ImageReader::with_format(BufReader::new(open_input(path).ok()?.0), format);
            contained(path, || {
                Ok(declared_orientation(&mut reader.into_decoder().map_err(|e| Error::content(path, e))?))
            })
            .ok()?
        }
    }
}

fn png_orientation(file: impl Read + Seek) -> Option<Orientation> {
    let header = Cursor::new(without_pixels(file).ok()?);
    Orientation::from_exif(Orientation::in_png(png::Decoder::new(header).read_info().ok()?.info())?)
}

/// A PNG without its pixels. EXIF data and texts may follow these, where `read_info` of the decoder does not come; here they
/// are all in front.
fn without_pixels(mut file: impl Read + Seek) -> IoResult<Vec<u8>> {
    const CHECKSUM: u64 = 4;
    let mut bytes = vec![0; 8];
    file.read_exact(&mut bytes)?;
    let mut head = [0; 8];
    // A file that is cut short has what is in front of the cut.
    while file.read_exact(&mut head).is_ok() {
        let [a, b, c, d, kind @ ..] = head;
        if kind == *b"IDAT" {
            bytes.extend(behind_pixels(&mut file)?);
        }
        if kind == *b"IDAT" || kind == *b"IEND" {
            break;
        }
        let (whole, length) = (bytes.len(), u64::from(u32::from_be_bytes([a, b, c, d])) + CHECKSUM);
        bytes.extend(head);
        if file.by_ref().take(length).read_to_end(&mut bytes)? as u64 != length {
            bytes.truncate(whole);
        }
    }
    bytes.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    Ok(bytes)
}

/// EXIF data and texts behind the pixels of a PNG, if they are among its last bytes: a walk there, from one chunk of
/// pixels to the next, would read the whole file where only its size is wanted.
fn behind_pixels(file: &mut (impl Read + Seek)) -> IoResult<Vec<u8>> {
    const MOST: u64 = 1 << 17;
    let (here, end) = (file.stream_position()?, file.seek(SeekFrom::End(0))?);
    let start = here.max(end.saturating_sub(MOST));
    file.seek(SeekFrom::Start(start))?;
    let mut tail = vec![0; end.saturating_sub(start) as usize];
    file.read_exact(&mut tail)?;
    Ok((0..tail.len()).find_map(|at| texts(&tail[at..])).unwrap_or_default())
}

/// EXIF data and texts from there to the end of a PNG; `None` where none begins.
fn texts(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let is_text = |kind: &[u8]| matches!(kind, b"eXIf" | b"iTXt" | b"tEXt" | b"zTXt");
    if !is_text(bytes.get(4..8)?) {
        return None;
    }
    let mut found = Vec::new();
    loop {
        let kind = bytes.get(4..8)?;
        if kind == b"IEND" {
            return Some(found);
        }
        // Around the data: length, kind and checksum.
        let length = (u32::from_be_bytes(*bytes.first_chunk()?) as usize).checked_add(12)?;
        let (chunk, rest) = bytes.split_at_checked(length)?;
        if is_text(kind) {
            found.extend(chunk);
        }
        bytes = rest;
    }
}

/// Whether there is more than one image to see; a decoder would take the first and say nothing.
pub(super) fn is_animated(bytes: &[u8], format: ImageFormat) -> bool {
    match format {
        ImageFormat::Png => png::Decoder::new(Cursor::new(bytes))
            .read_info()
            .is_ok_and(|png| png.info().animation_control.is_some_and(|animation| animation.num_frames > 1)),
        ImageFormat::WebP => WebPDecoder::new(Cursor::new(bytes)).is_ok_and(|webp| webp.has_animation()),
        _ => false,
    }
}

fn from_dynamic(image: DynamicImage) -> Image {
    let size = Size { width: image.width() as usize, height: image.height() as usize };
    let alpha = image.color().has_alpha();
    let (bands, samples) = match image {
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
    let raster = Image::new(size, bands, samples);
    if alpha { raster.with_last_band_as_alpha() } else { raster }
}
