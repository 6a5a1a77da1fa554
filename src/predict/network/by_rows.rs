//! Which images are predicted some rows at a time.

use std::path::Path;

use super::procedure::{Join, Procedure, Sizes};
use super::tiles::Tiles;
use crate::image::TiffRows;

/// Rows that are prepared together, and read together unless a row of tiles is higher.
pub(super) const ROWS: usize = 64;

/// The windows that go over an image as it is, row by row, if a procedure has such.
pub(super) fn windows(procedure: &Procedure) -> Option<Tiles> {
    let at_once = !procedure.flip || procedure.join == Join::Probabilities;
    procedure.tiles.filter(|tiles| at_once && !tiles.is_padded() && procedure.sizes == Sizes::Own)
}

/// A file whose rows can be read as they are needed, if it is larger than a window. A damaged one is none: reading it as a
/// whole says what is wrong.
pub(super) fn larger_than<'a>(tiles: Tiles, path: &'a Path) -> Option<TiffRows<'a>> {
    TiffRows::open(path).ok().flatten().filter(|rows| tiles.go_over(rows.size()))
}

/// Rows that are read together: whole strips or tiles.
pub(super) fn rows_at_once(file: &TiffRows<'_>) -> usize {
    ROWS.next_multiple_of(file.block_rows()).min(file.size().height)
}
