//! Where windows take their pixels from.

use std::ops::Range;

use crate::base::{Result, Size};

/// A normalised image of which a window of rows is at hand.
pub(super) trait Source {
    fn size(&self) -> Size;

    /// The samples of a row of a band, which is at hand.
    fn row(&self, band: usize, y: usize) -> &[f32];
}

/// A source that moves down an image.
pub(super) trait Moving {
    /// Has these rows at hand; earlier ones are no longer needed.
    fn move_to(&mut self, rows: Range<usize>) -> Result<()>;

    fn source(&self) -> &dyn Source;
}

/// A source that is at hand as a whole.
pub(super) struct AtHand<'a>(pub(super) &'a dyn Source);

impl Moving for AtHand<'_> {
    fn move_to(&mut self, _rows: Range<usize>) -> Result<()> {
        Ok(())
    }

    fn source(&self) -> &dyn Source {
        self.0
    }
}
