//! Images to PNG.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use memchr::memmem;
use png::{BitDepth, ColorType, Compression, Encoder, Filter};

use super::samples::Samples;
use crate::base::{Error, Result, Size};

/// PNG's keyword for what made an image.
const SOFTWARE: &str = "Software";
/// Texts stand in the first bytes of a file, before its pixels.
const BEGINNING: u64 = 1024;

/// Pixels as a PNG file holds them.
#[derive(Debug, Clone, Copy)]
pub enum Pixels<'a> {
    /// 8-bit grey.
    Gray8(&'a [u8]),
    /// 16-bit grey.
    Gray16(&'a [u16]),
    /// 8-bit red, green, blue.
    Rgb8(&'a [u8]),
    /// 8-bit places in a palette of up to 256 colours.
    Indexed(&'a [u8], &'a [[u8; 3]]),
    /// The same with opacities: red, green, blue, alpha.
    IndexedAlpha(&'a [u8], &'a [[u8; 4]]),
}

impl<'a> Pixels<'a> {
    /// Grey samples; `None` for floats, which PNG does not hold.
    pub fn gray(samples: &'a Samples) -> Option<Self> {
        match samples {
            Samples::U8(samples) => Some(Self::Gray8(samples)),
            Samples::U16(samples) => Some(Self::Gray16(samples)),
            Samples::F32(_) => None,
        }
    }
}

/// A PNG file of the pixels, row by row. On photographs a little smaller than what libpng's fast settings give, in a
/// fraction of the time.
pub fn encode_png(size: Size, pixels: Pixels<'_>) -> Result<Vec<u8>> {
    encode(size, pixels, Compression::Fast, None)
}

/// Label values as a grey PNG, in 8 bits if these hold `largest`, which no value exceeds.
pub fn encode_label_png(size: Size, values: &[u16], largest: u16) -> Result<Vec<u8>> {
    if largest > u16::from(u8::MAX) {
        return encode_png(size, Pixels::Gray16(values));
    }
    let bytes: Vec<u8> = values.iter().map(|&value| value as u8).collect();
    encode_png(size, Pixels::Gray8(&bytes))
}

/// [`encode_png`], with what made it in the file's text, where [`maker_of`] finds it.
pub fn encode_marked_png(size: Size, pixels: Pixels<'_>, maker: &str) -> Result<Vec<u8>> {
    encode(size, pixels, Compression::Fast, Some(maker))
}

/// What [`encode_marked_png`] said made a file; `None` of other files.
pub fn maker_of(path: &Path) -> Option<String> {
    let mut beginning = Vec::new();
    File::open(path).ok()?.take(BEGINNING).read_to_end(&mut beginning).ok()?;
    let key = [b"tEXt", SOFTWARE.as_bytes(), b"\0"].concat();
    let at = memmem::find(&beginning, &key).filter(|_| beginning.starts_with(b"\x89PNG"))?;
    let length = u32::from_be_bytes(beginning.get(at.checked_sub(4)?..at)?.try_into().ok()?) as usize;
    let text = beginning.get(at + key.len()..(at + 4).checked_add(length)?)?;
    String::from_utf8(text.to_vec()).ok()
}

/// [`encode_png`], smaller and slower: for what is embedded in other files.
pub fn encode_small_png(size: Size, pixels: Pixels<'_>) -> Result<Vec<u8>> {
    encode(size, pixels, Compression::High, None)
}

fn encode(size: Size, pixels: Pixels<'_>, compression: Compression, maker: Option<&str>) -> Result<Vec<u8>> {
    let failed = |e: png::EncodingError| Error::failed(format!("write an image of {size} as PNG"), e);
    let (color, depth) = match pixels {
        Pixels::Gray8(_) => (ColorType::Grayscale, BitDepth::Eight),
        Pixels::Gray16(_) => (ColorType::Grayscale, BitDepth::Sixteen),
        Pixels::Rgb8(_) => (ColorType::Rgb, BitDepth::Eight),
        Pixels::Indexed(..) | Pixels::IndexedAlpha(..) => (ColorType::Indexed, BitDepth::Eight),
    };
    let (Ok(width), Ok(height)) = (u32::try_from(size.width), u32::try_from(size.height)) else {
        return Err(Error::failed(format!("write an image of {size} as PNG"), "it is too large"));
    };
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_compression(compression);
    match pixels {
        Pixels::Indexed(_, colors) => encoder.set_palette(colors.concat()),
        Pixels::IndexedAlpha(_, colors) => {
            encoder.set_palette(colors.iter().flat_map(|color| &color[..3]).copied().collect::<Vec<u8>>());
            encoder.set_trns(colors.iter().map(|color| color[3]).collect::<Vec<u8>>());
        }
        _ => {}
    }
    if color == ColorType::Indexed {
        // Neighbouring places in a palette have nothing in common.
        encoder.set_filter(Filter::NoFilter);
    }
    if let Some(maker) = maker {
        encoder.add_text_chunk(SOFTWARE.into(), maker.into()).map_err(failed)?;
    }
    let mut writer = encoder.write_header().map_err(failed)?;
    match pixels {
        Pixels::Gray8(bytes) | Pixels::Rgb8(bytes) | Pixels::Indexed(bytes, _) | Pixels::IndexedAlpha(bytes, _) => {
            writer.write_image_data(bytes)
        }
        Pixels::Gray16(samples) => {
            let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_be_bytes()).collect();
            writer.write_image_data(&bytes)
        }
    }
    .map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let (size, pixels) = (Size { width: 2, height: 1 }, Pixels::Gray8(&[1, 2]));
        std::fs::write(&path, encode_marked_png(size, pixels, "segtool x").unwrap()).unwrap();
        assert_eq!(maker_of(&path).as_deref(), Some("segtool x"));
        assert_eq!(image::open(&path).unwrap().into_luma8().into_raw(), [1, 2]);
        for other in [encode_png(size, pixels).unwrap(), b"\x89PNG tEXtSoftware\0".to_vec(), Vec::new()] {
            std::fs::write(&path, other).unwrap();
            assert_eq!(maker_of(&path), None);
        }
        assert_eq!(maker_of(folder.path()), None);
    }
}
