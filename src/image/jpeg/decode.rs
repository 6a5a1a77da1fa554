//! The pixels of a JPEG.

use std::path::Path;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{check, size_and_claim, whole_scan};
use crate::base::{Error, Result, Size};
use crate::image::orientation::Orientation;
use crate::image::{Image, Samples, limits};

/// The image, not turned, and the orientation that it declares.
pub(in crate::image) fn read(path: &Path, bytes: &[u8]) -> Result<(Image, Option<Orientation>)> {
    let held = size_and_claim(bytes)
        .map(|(size, claim)| limits::reserve(path, format_args!("its header claims {size} pixels"), claim));
    let _held = held.transpose()?;
    check(bytes).map_err(|reason| Error::content(path, reason))?;
    // What the strict decoder refuses may be sound all the same, such as bytes between segments. The other one fills what
    // it cannot decode with grey, so that every block must be there.
    decode(path, bytes, true)
        .or_else(|refusal| if whole_scan(bytes) { decode(path, bytes, false) } else { Err(refusal) })
}

fn decode(path: &Path, bytes: &[u8], strict: bool) -> Result<(Image, Option<Orientation>)> {
    let damaged = |e: zune_jpeg::errors::DecodeErrors| {
        Error::content(path, format!("damaged or unsupported JPEG: {e}; copy or download the file again"))
    };
    let any_size = DecoderOptions::default().set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), any_size.set_strict_mode(strict));
    decoder.decode_headers().map_err(damaged)?;
    let color = match decoder.input_colorspace() {
        Some(grey @ (ColorSpace::Luma | ColorSpace::LumaA)) => grey,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(color));
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let length = decoder.output_buffer_size().unwrap_or_default();
    let mut samples = limits::zeros(path, length)?;
    decoder.decode_into(&mut samples).map_err(damaged)?;
    let declared = decoder.exif().and_then(|exif| Orientation::in_exif(exif));
    let declared = declared.or_else(|| decoder.xmp().and_then(|xmp| Orientation::in_xmp(xmp)));
    let bands = length / (width * height).max(1);
    let raster = Image::new(Size { width, height }, bands, Samples::U8(samples));
    Ok((raster, declared.and_then(Orientation::from_exif)))
}
