//! GIF of one frame: colours for images, palette indices for labels.

use std::io::Cursor;
use std::num::NonZeroU64;
use std::path::Path;

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use super::limits::{Coding, MAX_BYTES, check_image};
use super::raw_labels::{LabelImage, RawLabels};
use super::samples::{Image, Samples};
use crate::base::{Error, Result, Size};

/// A frame on the whole canvas, as palette indices.
struct Indexed {
    size: Size,
    indices: Vec<u8>,
    /// Red, green and blue of each entry.
    palette: Vec<u8>,
    transparent: Option<u8>,
}

/// Width and height of the canvas, from the first bytes.
pub(super) fn read_size(path: &Path, head: &[u8]) -> Result<Size> {
    let number = |at: usize| Some(u16::from_le_bytes([*head.get(at)?, *head.get(at + 1)?]).into());
    let size = number(6).zip(number(8)).map(|(width, height)| Size { width, height });
    size.ok_or_else(|| Error::content(path, "damaged GIF: it is cut short; copy or download the file again"))
}

/// The colours, with alpha where an entry is transparent.
pub(super) fn read_image(path: &Path, bytes: &[u8]) -> Result<Image> {
    let Indexed { size, indices, palette, transparent } = decode(path, bytes)?;
    let (colors, _) = palette.as_chunks::<3>();
    // Entries that the palette lacks are black, as other programs have them.
    let color = |index: u8| colors.get(usize::from(index)).copied().unwrap_or_default();
    let bands = if transparent.is_some() { 4 } else { 3 };
    let mut samples = Vec::with_capacity(indices.len() * bands);
    for index in indices {
        samples.extend(color(index));
        if transparent.is_some() {
            samples.push(if transparent == Some(index) { 0 } else { u8::MAX });
        }
    }
    let raster = Image::new(size, bands, Samples::U8(samples));
    Ok(if transparent.is_some() { raster.with_last_band_as_alpha() } else { raster })
}

/// The palette indices, with alpha where an entry is transparent.
pub(super) fn read_labels(path: &Path, bytes: &[u8]) -> Result<LabelImage> {
    let Indexed { size, indices, transparent, .. } = decode(path, bytes)?;
    let alpha = transparent.map(|transparent| {
        Samples::U8(indices.iter().map(|&index| if index == transparent { 0 } else { u8::MAX }).collect())
    });
    Ok(LabelImage::new(RawLabels::Values(size, indices.into_iter().map(u16::from).collect()), alpha))
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Indexed> {
    let damaged = |e: DecodingError| Error::content(path, format!("damaged GIF: {e}; copy or download the file again"));
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    // A frame beyond the canvas would be given memory before its data show that it is not there.
    options.check_frame_consistency(true);
    options.set_memory_limit(NonZeroU64::new(MAX_BYTES as u64).map_or(MemoryLimit::Unlimited, MemoryLimit::Bytes));
    let mut decoder = options.read_info(Cursor::new(bytes)).map_err(damaged)?;
    let size = Size { width: decoder.width().into(), height: decoder.height().into() };
    // Indices of the frame and of the canvas, and colours with alpha.
    let _held = check_image(path, size, 6, bytes.len() as u64, Coding::Any)?;
    let palette = decoder.global_palette().map(<[u8]>::to_vec);
    let frame = decoder.read_next_frame().map_err(damaged)?.cloned();
    let frame = frame.ok_or_else(|| Error::content(path, "the GIF holds no image"))?;
    if matches!(decoder.next_frame_info(), Ok(Some(_))) {
        return Err(Error::content(path, "is an animation; save the frame that is meant as an image"));
    }
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (width, height) = (usize::from(frame.width), usize::from(frame.height));
    if left + width > size.width || top + height > size.height || frame.buffer.len() < width * height {
        return Err(Error::content(path, "damaged GIF: its frame is larger than the image; save it again"));
    }
    // Where the frame does not reach, nothing is shown.
    let mut indices = vec![frame.transparent.unwrap_or(0); size.width * size.height];
    for (y, row) in frame.buffer.chunks_exact(width.max(1)).take(height).enumerate() {
        let start = (top + y) * size.width + left;
        indices[start..start + width].copy_from_slice(row);
    }
    let palette = frame.palette.or(palette);
    let palette = palette.ok_or_else(|| Error::content(path, "the GIF has no palette; save it as PNG"))?;
    Ok(Indexed { size, indices, palette, transparent: frame.transparent })
}

#[cfg(test)]
mod tests {
    use gif::{Encoder, Frame};

    use super::*;

    const PALETTE: [u8; 12] = [0, 0, 0, 255, 0, 0, 0, 255, 0, 9, 8, 7];

    /// A canvas of 3 x 2 with frames of 2 x 2 at (1, 0).
    fn encoded(frames: usize, transparent: Option<u8>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 3, 2, &PALETTE).unwrap();
        for _ in 0..frames {
            let mut frame = Frame::from_indexed_pixels(2, 2, &[3, 1, 2, 3][..], transparent);
            frame.left = 1;
            encoder.write_frame(&frame).unwrap();
        }
        drop(encoder);
        bytes
    }

    #[test]
    fn images_have_the_colours_and_labels_the_indices() {
        let path = Path::new("a.gif");
        let raster = read_image(path, &encoded(1, None)).unwrap();
        let colors = [0, 3, 1, 0, 2, 3usize].map(|i| &PALETTE[3 * i..3 * i + 3]).concat();
        assert_eq!((raster.bands, raster.samples, raster.alpha), (3, Samples::U8(colors), None));
        let labels = read_labels(path, &encoded(1, None)).unwrap();
        let size = Size { width: 3, height: 2 };
        assert_eq!((labels.raw, labels.alpha), (RawLabels::Values(size, vec![0, 3, 1, 0, 2, 3]), None));
    }

    #[test]
    fn a_transparent_entry_is_alpha_and_lies_around_the_frame() {
        let path = Path::new("a.gif");
        let raster = read_image(path, &encoded(1, Some(3))).unwrap();
        let alpha = Samples::U8(vec![0, 0, 255, 0, 255, 0]);
        assert_eq!((raster.bands, raster.alpha.unwrap().samples), (3, alpha.clone()));
        let labels = read_labels(path, &encoded(1, Some(3))).unwrap();
        assert_eq!(labels.raw, RawLabels::Values(raster.size, vec![3, 3, 1, 3, 2, 3]));
        assert_eq!(labels.alpha.unwrap().samples, alpha);
    }

    #[test]
    fn animations_and_damage_are_refused() {
        let whole = encoded(1, None);
        for (bytes, reason) in [
            (&encoded(2, None)[..], "is an animation"),
            (&whole[..whole.len() - 8], "damaged GIF"),
            (&whole[..13], "damaged GIF"),
        ] {
            assert_refused!(read_image(Path::new("a.gif"), bytes), reason);
        }
    }
}
