//! A TIFF some rows at a time.

use std::ops::Range;
use std::path::Path;

use super::Tiff;
use super::numbers::block_rows;
use crate::base::{Result, Size};
use crate::image::Image;
use crate::image::guard::contained;

/// An open TIFF or BigTIFF of which rows are decoded as they are needed.
pub struct TiffRows<'a>(Tiff<'a>);

impl<'a> TiffRows<'a> {
    /// Opens a TIFF to be read by rows. Returns `None` if that is impossible: the file is no TIFF, or its declared
    /// orientation turns it, so that rows of the file are not rows of the image.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or its directory is damaged.
    pub fn open(path: &'a Path) -> Result<Option<Self>> {
        if !super::is_tiff(&crate::image::read::signature(path)?) {
            return Ok(None);
        }
        contained(path, || {
            let tiff = Tiff::open(path)?;
            Ok(tiff.orientation().is_none().then_some(Self(tiff)))
        })
    }

    /// Width and height.
    pub fn size(&self) -> Size {
        self.0.size()
    }

    /// Rows that are decoded together: reading whole multiples of them decodes nothing twice.
    pub fn block_rows(&self) -> usize {
        block_rows(&self.0.page).min(self.size().height.max(1))
    }

    /// Bytes of main memory that reading `rows` rows takes, including the result.
    ///
    /// # Errors
    ///
    /// If the size of the strips or tiles cannot be right.
    pub fn memory(&self, rows: usize) -> Result<u64> {
        self.0.memory(false, rows as u64)
    }

    /// Some rows of the image, without its alpha band; palettes, YCbCr, CMYK and CIELab as RGB.
    ///
    /// # Errors
    ///
    /// If a strip or tile is damaged.
    pub fn read(&self, rows: Range<usize>) -> Result<Image> {
        contained(self.0.path, || self.0.rows(rows))
    }
}
