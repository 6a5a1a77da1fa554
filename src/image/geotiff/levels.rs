//! A label map and its overviews.

use rayon::prelude::*;

use crate::base::Size;

/// Width and height of a tile, in pixels, and the side at which overviews end.
pub(super) const TILE: usize = 512;

/// A label value as it is stored.
pub(super) trait Stored: Copy + Eq + Default + Send + Sync {
    /// Its bits.
    const BITS: u16;

    /// Appends its little-endian bytes.
    fn append_to(self, bytes: &mut Vec<u8>);
}

impl Stored for u8 {
    const BITS: u16 = 8;

    fn append_to(self, bytes: &mut Vec<u8>) {
        bytes.push(self);
    }
}

impl Stored for u16 {
    const BITS: u16 = 16;

    fn append_to(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }
}

/// Sizes of a map and of its overviews, each half of the one before, until one fits in a tile.
pub(super) fn sizes(whole: Size) -> Vec<Size> {
    let half = |size: &Size| {
        let smaller = Size { width: size.width.div_ceil(2), height: size.height.div_ceil(2) };
        (size.width.max(size.height) > TILE).then_some(smaller)
    };
    std::iter::successors(Some(whole), half).collect()
}

/// A map of half the width and height: the most frequent value of each 2x2 pixels, and of several the first in the order of
/// rows. Nodata counts only where there is nothing else.
pub(super) fn halved<T: Stored>(size: Size, values: &[T], nodata: Option<T>) -> Vec<T> {
    let width = size.width.div_ceil(2);
    let mut half = vec![T::default(); width * size.height.div_ceil(2)];
    half.par_chunks_mut(width.max(1)).zip(values.par_chunks(2 * size.width.max(1))).for_each(|(out, rows)| {
        let (upper, lower) = rows.split_at(size.width);
        for (x, out) in out.iter_mut().enumerate() {
            let columns = 2 * x..size.width.min(2 * x + 2);
            let below = lower.get(columns.clone()).unwrap_or_default();
            *out = mode(upper[columns].iter().chain(below).copied(), nodata);
        }
    });
    half
}

fn mode<T: Stored>(values: impl Iterator<Item = T>, nodata: Option<T>) -> T {
    let mut votes = [(T::default(), 0); 4];
    let mut last = T::default();
    for value in values {
        last = value;
        if nodata != Some(value)
            && let Some(vote) = votes.iter_mut().find(|(known, count)| *count == 0 || *known == value)
        {
            *vote = (value, vote.1 + 1);
        }
    }
    let most = votes.iter().map(|(_, count)| *count).max().unwrap_or(0);
    // Without a vote all are nodata.
    votes.iter().find(|(_, count)| *count == most && most > 0).map_or(last, |(value, _)| *value)
}

/// The bytes of a tile, its columns and rows beyond the map filled with the last ones, as that compresses best.
pub(super) fn tile<T: Stored>(size: Size, values: &[T], across: usize, down: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(TILE * TILE * usize::from(T::BITS / 8));
    let (left, right) = (across * TILE, size.width.min((across + 1) * TILE));
    for y in down * TILE..(down + 1) * TILE {
        let row = &values[y.min(size.height - 1) * size.width..][..size.width];
        row[left..right].iter().for_each(|value| value.append_to(&mut bytes));
        (right..left + TILE).for_each(|_| row[right - 1].append_to(&mut bytes));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overviews_take_the_most_frequent_value_of_four() {
        let size = Size { width: 5, height: 3 };
        let values: [u8; 15] = [1, 2, 3, 3, 9, 2, 1, 4, 9, 9, 5, 6, 9, 9, 7];
        assert_eq!(halved(size, &values, None), [1, 3, 9, 5, 9, 7]);
        assert_eq!(halved(size, &values, Some(9)), [1, 3, 9, 5, 9, 7]);
        assert_eq!(halved(Size { width: 2, height: 2 }, &[9u16, 9, 9, 4], Some(9)), [4]);
        assert_eq!(halved(Size { width: 1, height: 2 }, &[7u16, 7], None), [7]);
    }

    #[test]
    fn overviews_end_where_one_fits_in_a_tile() {
        let widths = |width| sizes(Size { width, height: 3 }).iter().map(|size| size.width).collect::<Vec<_>>();
        assert_eq!(widths(512), [512]);
        assert_eq!(widths(513), [513, 257]);
        assert_eq!(widths(2051), [2051, 1026, 513, 257]);
    }
}
