//! Class maps in memory.

use crate::error::Size;

/// The class index that marks a pixel without a label: it takes part in neither loss nor score.
pub const IGNORE: u16 = u16::MAX;

/// Class indices `0..K-1`, or [`IGNORE`], row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMap {
    /// Width and height.
    pub size: Size,
    /// `height * width` class indices.
    pub classes: Vec<u16>,
}
