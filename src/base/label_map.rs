//! Class maps in memory.

use super::size::Size;

/// The class index that marks a pixel without a label: it takes part in neither loss nor score.
pub const IGNORE: u16 = u16::MAX;

/// The class index of a pixel whose label is no class but counts all the same: it is never right.
pub const NO_CLASS: u16 = u16::MAX - 1;

/// The class of every pixel of an image, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMap {
    /// Width and height.
    pub size: Size,
    /// `height * width` class indices.
    pub classes: Vec<u16>,
}

impl LabelMap {
    /// Makes pixels without data [`IGNORE`].
    pub fn leave_out(&mut self, nodata: &[bool]) {
        for (class, _) in self.classes.iter_mut().zip(nodata).filter(|(_, nodata)| **nodata) {
            *class = IGNORE;
        }
    }
}
