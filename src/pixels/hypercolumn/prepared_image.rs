//! Images as the encoder takes them: normalised, at several sizes, a window at a time.

use std::ops::Range;
use std::path::Path;

use crate::base::Result;
use crate::data::{Dataset, network_input, settled};
use crate::image::Image;
use crate::nn::model::mirrored;

/// A decoded image, and how it is normalised.
#[derive(Debug)]
pub struct PreparedImage<'a> {
    path: &'a Path,
    raster: &'a Image,
    dataset: Dataset,
}

impl<'a> PreparedImage<'a> {
    /// An image that was [prepared](crate::data::prepared), which errors call `path`, to be normalised as the data set says:
    /// where that is by the image's own statistics, by those of the whole image. An error if its bands do not fit.
    pub fn new(path: &'a Path, raster: &'a Image, dataset: &Dataset) -> Result<Self> {
        Ok(Self { path, raster, dataset: settled(path, raster, dataset)? })
    }

    /// The image before it is normalised.
    pub(super) fn raster(&self) -> &Image {
        self.raster
    }

    /// All that is done to its samples, as bytes.
    pub(super) fn normalisation(&self) -> Vec<u8> {
        let Dataset { bands, normalisation, nodata, samples, .. } = &self.dataset;
        format!("{bands} {normalisation:?} {nodata:?} {samples:?}").into_bytes()
    }

    /// Normalised planes `[bands, rows, columns]` of a part of the image that was reduced to means of `scale` x `scale`
    /// pixels. Rows and columns beyond its end mirror those before it.
    pub(super) fn reduced(&self, scale: usize, rows: &Range<usize>, columns: &Range<usize>) -> Result<Vec<f32>> {
        let size = self.raster.size;
        let whole = [size.height.div_ceil(scale), size.width.div_ceil(scale)];
        let there = [own(rows, whole[0]), own(columns, whole[1])];
        let [top, left] = [there[0].start * scale, there[1].start * scale];
        let [bottom, right] = [(there[0].end * scale).min(size.height), (there[1].end * scale).min(size.width)];
        let planes = network_input(self.path, &self.raster.cropped(top..bottom, left..right), &self.dataset)?;
        let planes = if scale == 1 { planes } else { means(&planes, [bottom - top, right - left], scale) };
        if [rows, columns].into_iter().eq(&there) {
            return Ok(planes);
        }
        let [height, width] = [there[0].len(), there[1].len()];
        let place = |i: usize, whole: usize, start: usize| mirrored(i as i64, whole) - start;
        let rows: Vec<usize> = rows.clone().map(|i| place(i, whole[0], there[0].start)).collect();
        let columns: Vec<usize> = columns.clone().map(|i| place(i, whole[1], there[1].start)).collect();
        let mut out = Vec::with_capacity(self.dataset.bands * rows.len() * columns.len());
        for plane in planes.chunks_exact(height * width) {
            for row in &rows {
                out.extend(columns.iter().map(|column| plane[row * width + column]));
            }
        }
        Ok(out)
    }
}

/// The part of a range that lies in the image; all of it where the range goes on beyond, as that mirrors it.
fn own(range: &Range<usize>, whole: usize) -> Range<usize> {
    if range.end > whole { 0..whole } else { range.clone() }
}

/// Means of squares of `scale` pixels; squares at the end are means of what is there.
fn means(planes: &[f32], [height, width]: [usize; 2], scale: usize) -> Vec<f32> {
    let columns = width.div_ceil(scale);
    let mut out = Vec::with_capacity(planes.len() / (scale * scale) + columns);
    let mut sums = vec![0.0f32; columns];
    for plane in planes.chunks_exact(height * width) {
        for rows in plane.chunks(scale * width) {
            sums.fill(0.0);
            for row in rows.chunks_exact(width) {
                let pieces = row.chunks(scale).map(|piece| piece.iter().sum::<f32>());
                sums.iter_mut().zip(pieces).for_each(|(sum, piece)| *sum += piece);
            }
            let tall = rows.len() / width;
            let wide = |column: usize| scale.min(width - column * scale);
            out.extend(sums.iter().enumerate().map(|(column, sum)| sum / (tall * wide(column)) as f32));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_at_the_end_are_means_of_what_is_there() {
        let plane: Vec<f32> = (0..15).map(|i| i as f32).collect();
        // Rows 0 to 4, 5 to 9, 10 to 14.
        assert_eq!(means(&plane, [3, 5], 2), [3.0, 5.0, 6.5, 10.5, 12.5, 14.0]);
        assert_eq!(means(&plane, [3, 5], 1), plane);
    }
}
