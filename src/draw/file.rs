//! Images to disk.

use std::path::Path;

use image::RgbImage;
use jpeg_encoder::{ColorType, Encoder};

use crate::base::files::write_bytes;
use crate::base::named_enum::named_enum;
use crate::base::{Error, Result, Size};
use crate::image::{Pixels, encode_png};

/// Of 100; edges between class colours stay clean.
const JPEG_QUALITY: u8 = 92;

/// How images for people are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FigureFormat {
    /// Exact.
    #[default]
    Png,
    /// Smaller where photographs are shown.
    Jpeg,
}

impl FigureFormat {
    /// The end of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
        }
    }
}

named_enum!(FigureFormat, "image format", "png" => Png, "jpeg" => Jpeg, "jpg" => Jpeg);

/// The image as a file of the format.
pub fn encode_figure(image: &RgbImage, format: FigureFormat) -> Result<Vec<u8>> {
    let size = Size::from(image.dimensions());
    match format {
        FigureFormat::Png => encode_png(size, Pixels::Rgb8(image.as_raw())),
        FigureFormat::Jpeg => encode_jpeg(image, JPEG_QUALITY),
    }
}

/// The image as a JPEG file of a quality from 1 to 100.
pub fn encode_jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>> {
    let size = Size::from(image.dimensions());
    let too_large = || Error::failed(format!("write an image of {size} as JPEG"), "it is too large; choose png");
    let (Ok(width), Ok(height)) = (u16::try_from(size.width), u16::try_from(size.height)) else {
        return Err(too_large());
    };
    let mut bytes = Vec::new();
    let encoder = Encoder::new(&mut bytes, quality);
    encoder.encode(image.as_raw(), width, height, ColorType::Rgb).map_err(|_| too_large())?;
    Ok(bytes)
}

/// Writes a PNG, atomically.
pub fn write_png(path: &Path, image: &RgbImage) -> Result<()> {
    write_bytes(path, &encode_figure(image, FigureFormat::Png)?)
}
