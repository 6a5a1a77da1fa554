//! A label map and its overviews.

use rayon::prelude::*;

use crate::base::Size;

/// Width and height of a tile, in pixels, and the side at which overviews end.
pub(super) const TILE: usize = 512;

/// A sample as it is stored.
pub(super) trait Stored: Copy + Default + Send + Sync + std::fmt::Debug {
    /// Its bits.
    const BITS: u16;
    /// TIFF's number of its kind: unsigned, unless it is something else.
    const FORMAT: u16 = 1;

    /// Appends its little-endian bytes.
    fn append_to(self, bytes: &mut Vec<u8>);

    /// What stands for up to four of them in an overview. Nodata counts only where there is nothing else.
    fn reduced(values: impl Iterator<Item = Self> + Clone, nodata: Option<Self>) -> Self;
}

impl Stored for u8 {
    const BITS: u16 = 8;

    fn append_to(self, bytes: &mut Vec<u8>) {
        bytes.push(self);
    }

    fn reduced(values: impl Iterator<Item = Self> + Clone, nodata: Option<Self>) -> Self {
        mode(values, nodata)
    }
}

impl Stored for u16 {
    const BITS: u16 = 16;

    fn append_to(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }

    fn reduced(values: impl Iterator<Item = Self> + Clone, nodata: Option<Self>) -> Self {
        mode(values, nodata)
    }
}

/// A probability; NaN is nodata.
impl Stored for f32 {
    const BITS: u16 = 32;
    const FORMAT: u16 = 3;

    fn append_to(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }

    fn reduced(values: impl Iterator<Item = Self> + Clone, _nodata: Option<Self>) -> Self {
        let data = values.filter(|value| !value.is_nan());
        let count = data.clone().count();
        if count == 0 { Self::NAN } else { data.sum::<Self>() / count as Self }
    }
}

/// A probability in 8 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share(pub(super) u8);

impl Stored for Share {
    const BITS: u16 = 8;

    fn append_to(self, bytes: &mut Vec<u8>) {
        bytes.push(self.0);
    }

    fn reduced(values: impl Iterator<Item = Self> + Clone, nodata: Option<Self>) -> Self {
        let data = values.filter(|value| Some(*value) != nodata).map(|value| u16::from(value.0));
        let count = data.clone().count() as u16;
        let mean = || Self(((data.sum::<u16>() + count / 2) / count) as u8);
        if count == 0 { nodata.unwrap_or_default() } else { mean() }
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

/// A map of half the width and height, of what stands for each 2x2 pixels.
pub(super) fn halved<T: Stored>(size: Size, values: &[T], nodata: Option<T>) -> Vec<T> {
    let width = size.width.div_ceil(2);
    let mut half = vec![T::default(); width * size.height.div_ceil(2)];
    half.par_chunks_mut(width.max(1)).zip(values.par_chunks(2 * size.width.max(1))).for_each(|(out, rows)| {
        let (upper, lower) = rows.split_at(size.width);
        for (x, out) in out.iter_mut().enumerate() {
            let columns = 2 * x..size.width.min(2 * x + 2);
            let below = lower.get(columns.clone()).unwrap_or_default();
            *out = T::reduced(upper[columns].iter().chain(below).copied(), nodata);
        }
    });
    half
}

/// The most frequent value, and of several the first.
fn mode<T: Copy + Eq + Default>(values: impl Iterator<Item = T>, nodata: Option<T>) -> T {
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

/// The bytes of a tile of a row of tiles, its columns and rows beyond the map filled with the last ones, as that compresses
/// best.
pub(super) fn tile<T: Stored>(row: Size, values: &[T], across: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(TILE * TILE * usize::from(T::BITS / 8));
    let (left, right) = (across * TILE, row.width.min((across + 1) * TILE));
    for y in 0..TILE {
        let line = &values[y.min(row.height - 1) * row.width..][..row.width];
        line[left..right].iter().for_each(|value| value.append_to(&mut bytes));
        (right..left + TILE).for_each(|_| line[right - 1].append_to(&mut bytes));
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
    fn overviews_of_probabilities_are_means_of_what_has_data() {
        let size = Size { width: 2, height: 2 };
        assert_eq!(halved(size, &[0.5f32, f32::NAN, 1.0, 0.0], None), [0.5]);
        assert!(halved(size, &[f32::NAN; 4], None)[0].is_nan());
        let shares = |values: [u8; 4]| halved(size, &values.map(Share), Some(Share(255)));
        assert_eq!(shares([250, 255, 1, 0]), [Share(84)]);
        assert_eq!(shares([255; 4]), [Share(255)]);
    }

    #[test]
    fn overviews_end_where_one_fits_in_a_tile() {
        let widths = |width| sizes(Size { width, height: 3 }).iter().map(|size| size.width).collect::<Vec<_>>();
        assert_eq!(widths(512), [512]);
        assert_eq!(widths(513), [513, 257]);
        assert_eq!(widths(2051), [2051, 1026, 513, 257]);
    }
}
