//! Changes of some pixels of an image's labels.

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result, Size};

/// Of a patch: this pixel stays as it is.
pub const KEEP: u8 = u8::MAX;

/// A rectangle of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rect {
    /// First column.
    pub x: usize,
    /// First row.
    pub y: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Rect {
    /// All of an image.
    pub fn whole(size: Size) -> Self {
        Self { x: 0, y: 0, width: size.width, height: size.height }
    }

    /// Pixels in it.
    pub fn pixels(&self) -> usize {
        self.width * self.height
    }

    /// Refuses what is empty or reaches beyond an image.
    pub fn check(&self, size: Size) -> Result<()> {
        let ends = |start: usize, length: usize, end: usize| {
            length > 0 && start.checked_add(length).is_some_and(|last| last <= end)
        };
        if ends(self.x, self.width, size.width) && ends(self.y, self.height, size.height) {
            return Ok(());
        }
        let Self { x, y, width, height } = self;
        let value = format!("{width}x{height} at ({x}, {y})");
        Err(Error::invalid("rectangle", value, format!("at least 1x1 and within the image, which is {size}")))
    }

    /// What two have in common, if anything.
    pub fn common(&self, other: &Self) -> Option<Self> {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let right = (self.x + self.width).min(other.x + other.width);
        let bottom = (self.y + self.height).min(other.y + other.height);
        (right > x && bottom > y).then(|| Self { x, y, width: right - x, height: bottom - y })
    }

    /// Its pixels, row by row: column and row.
    pub fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let (x, width) = (self.x, self.width);
        (self.y..self.y + self.height).flat_map(move |row| (x..x + width).map(move |column| (column, row)))
    }

    /// The place of one of its pixels in it.
    pub fn place(&self, x: usize, y: usize) -> usize {
        (y - self.y) * self.width + x - self.x
    }
}

/// New values of the pixels of a rectangle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Which pixels.
    pub rect: Rect,
    /// Their values, row by row: 0 for no label, a class's value, or [`KEEP`].
    pub values: Vec<u8>,
}

impl Patch {
    /// Refuses a patch that does not lie in an image, is not as long as its rectangle, or has a value that is no class's.
    pub fn check(&self, size: Size, is_class: &dyn Fn(u8) -> bool) -> Result<()> {
        self.rect.check(size)?;
        let (found, wanted) = (self.values.len(), self.rect.pixels());
        if found != wanted {
            let Rect { width, height, .. } = self.rect;
            let expected = format!("one byte for each of the {wanted} pixels of {width}x{height}");
            return Err(Error::invalid("values", format!("{found} bytes"), expected));
        }
        match self.values.iter().find(|value| **value != 0 && **value != KEEP && !is_class(**value)) {
            Some(value) => {
                let expected = "0 for no label, 255 for a pixel that stays as it is, or the value of a class";
                Err(Error::invalid("values", format!("{value}, which no class has"), expected))
            }
            None => Ok(()),
        }
    }
}
