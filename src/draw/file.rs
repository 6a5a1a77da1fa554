//! Pictures to disk.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use image::RgbImage;
use jpeg_encoder::{ColorType, Encoder};

use crate::base::files::write_bytes;
use crate::base::named_enum::usual_spelling;
use crate::base::{Error, Result, Size};
use crate::image::{Pixels, encode_png};

/// Of 100; edges between class colours stay clean.
const JPEG_QUALITY: u8 = 92;

/// How pictures for people are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PictureFormat {
    /// Exact.
    #[default]
    Png,
    /// Smaller where photographs are shown.
    Jpeg,
}

impl PictureFormat {
    /// The end of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
        }
    }
}

impl FromStr for PictureFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match usual_spelling(name).as_str() {
            "png" => Ok(Self::Png),
            "jpeg" | "jpg" => Ok(Self::Jpeg),
            _ => Err(Error::Config(format!("unknown picture format '{name}'; choose png or jpeg"))),
        }
    }
}

impl fmt::Display for PictureFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
        })
    }
}

/// The picture as a file of the format.
pub fn encode_picture(picture: &RgbImage, format: PictureFormat) -> Result<Vec<u8>> {
    let size = Size { width: picture.width() as usize, height: picture.height() as usize };
    match format {
        PictureFormat::Png => encode_png(size, Pixels::Rgb8(picture.as_raw())),
        PictureFormat::Jpeg => encode_jpeg(picture, JPEG_QUALITY),
    }
}

/// The picture as a JPEG file of a quality from 1 to 100.
pub fn encode_jpeg(picture: &RgbImage, quality: u8) -> Result<Vec<u8>> {
    let size = Size { width: picture.width() as usize, height: picture.height() as usize };
    let too_large = || Error::Config(format!("a picture of {size} is too large for JPEG; choose png"));
    let (Ok(width), Ok(height)) = (u16::try_from(size.width), u16::try_from(size.height)) else {
        return Err(too_large());
    };
    let mut bytes = Vec::new();
    let encoder = Encoder::new(&mut bytes, quality);
    encoder.encode(picture.as_raw(), width, height, ColorType::Rgb).map_err(|_| too_large())?;
    Ok(bytes)
}

/// Writes a PNG, atomically.
pub fn write_png(path: &Path, picture: &RgbImage) -> Result<()> {
    write_bytes(path, &encode_picture(picture, PictureFormat::Png)?)
}
