//! Images as the columns of a matrix, and back: a convolution is then a matrix product.

use std::ops::Range;

use crate::nn::ops::ConvSettings;

/// Sides of the images and of the kernel of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) input: [usize; 2],
    pub(super) output: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) settings: ConvSettings,
}

impl Geometry {
    /// Pixels of an input plane.
    pub(super) fn input_area(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Pixels of an output plane.
    pub(super) fn output_area(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Weights of a kernel plane.
    pub(super) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether every output pixel sees just the input pixel at its own place.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.settings.stride == [1, 1] && self.settings.padding == [0, 0]
    }

    /// Output columns, as a range, whose tap `column` of the kernel falls inside the image.
    fn inside(&self, column: usize) -> Range<usize> {
        let ConvSettings { stride, padding, dilation, .. } = self.settings;
        let offset = column * dilation[1];
        let first = padding[1].saturating_sub(offset).div_ceil(stride[1]);
        let last = (self.input[1] + padding[1]).saturating_sub(offset).div_ceil(stride[1]);
        first.min(self.output[1])..last.clamp(first.min(self.output[1]), self.output[1])
    }

    /// Input row that tap `row` of the kernel sees from output row `y`, if it is inside the image.
    fn input_row(&self, y: usize, row: usize) -> Option<usize> {
        let ConvSettings { stride, padding, dilation, .. } = self.settings;
        (y * stride[0] + row * dilation[0]).checked_sub(padding[0]).filter(|&row| row < self.input[0])
    }

    /// Calls `visit` for every run of output pixels in `pixels` that lie in one row, for one tap: the run within the
    /// column matrix, and, of the part of it that falls inside the image, the columns and the first input pixel.
    fn runs(&self, pixels: &Range<usize>, tap: [usize; 2], mut visit: impl FnMut(Range<usize>, Option<Inside>)) {
        let ConvSettings { stride, padding, dilation, .. } = self.settings;
        let inside = self.inside(tap[1]);
        let width = self.output[1];
        let mut at = pixels.start;
        while at < pixels.end {
            let (y, first) = (at / width, at % width);
            let end = width.min(first + pixels.end - at);
            let run = at - pixels.start..at - pixels.start + (end - first);
            let columns = first.max(inside.start)..end.min(inside.end);
            let found = self.input_row(y, tap[0]).filter(|_| columns.start < columns.end).map(|row| Inside {
                columns: run.start + (columns.start - first)..run.start + (columns.end - first),
                pixel: row * self.input[1] + columns.start * stride[1] + tap[1] * dilation[1] - padding[1],
            });
            visit(run, found);
            at += end - first;
        }
    }
}

/// The part of a run that falls inside the image.
struct Inside {
    columns: Range<usize>,
    pixel: usize,
}

/// Fills `columns` `[channels * taps, pixels]` with what the output pixels in `pixels` see of `planes`
/// `[channels, input area]`.
pub(super) fn unfold(geometry: &Geometry, planes: &[f32], pixels: Range<usize>, columns: &mut [f32]) {
    let step = geometry.settings.stride[1];
    let mut rows = columns.chunks_exact_mut(pixels.len());
    for plane in planes.chunks_exact(geometry.input_area()) {
        for tap in taps(geometry) {
            let Some(row) = rows.next() else { return };
            geometry.runs(&pixels, tap, |run, inside| {
                let Some(Inside { columns, pixel }) = inside else {
                    row[run].fill(0.0);
                    return;
                };
                row[run.start..columns.start].fill(0.0);
                row[columns.end..run.end].fill(0.0);
                let count = columns.len();
                let seen = &mut row[columns];
                if step == 1 {
                    seen.copy_from_slice(&plane[pixel..pixel + count]);
                } else {
                    seen.iter_mut().zip(plane[pixel..].iter().step_by(step)).for_each(|(to, &from)| *to = from);
                }
            });
        }
    }
}

/// Adds `columns` `[channels * taps, pixels]` to the places in `planes` `[channels, input area]` that [`unfold`] would
/// have read them from.
pub(super) fn fold(geometry: &Geometry, columns: &[f32], pixels: Range<usize>, planes: &mut [f32]) {
    let step = geometry.settings.stride[1];
    let mut rows = columns.chunks_exact(pixels.len());
    for plane in planes.chunks_exact_mut(geometry.input_area()) {
        for tap in taps(geometry) {
            let Some(row) = rows.next() else { return };
            geometry.runs(&pixels, tap, |_, inside| {
                if let Some(Inside { columns, pixel }) = inside {
                    let seen = plane[pixel..].iter_mut().step_by(step);
                    seen.zip(&row[columns]).for_each(|(to, &from)| *to += from);
                }
            });
        }
    }
}

fn taps(geometry: &Geometry) -> impl Iterator<Item = [usize; 2]> + use<> {
    let [rows, columns] = geometry.kernel;
    (0..rows).flat_map(move |row| (0..columns).map(move |column| [row, column]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `fold` is the transpose of `unfold`: `<unfold(x), c> = <x, fold(c)>` for any `x` and `c`.
    #[test]
    fn fold_is_the_transpose_of_unfold() {
        for (stride, padding, dilation) in
            [([1, 1], [1, 1], [1, 1]), ([2, 1], [0, 3], [1, 2]), ([3, 2], [2, 2], [2, 1])]
        {
            let settings = ConvSettings { stride, padding, dilation, groups: 1 };
            let geometry =
                Geometry { input: [7, 9], output: settings.output([7, 9], [3, 2]), kernel: [3, 2], settings };
            let planes: Vec<f32> = (0..2 * 63).map(|i| ((i * 37) % 23) as f32).collect();
            let area = geometry.output_area();
            for pixels in [0..area, 3..area.min(17)] {
                let count = 2 * geometry.taps() * pixels.len();
                let weights: Vec<f32> = (0..count).map(|i| ((i * 29) % 31) as f32).collect();
                let (mut columns, mut back) = (vec![f32::NAN; count], vec![0.0; planes.len()]);
                unfold(&geometry, &planes, pixels.clone(), &mut columns);
                fold(&geometry, &weights, pixels, &mut back);
                let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
                assert_eq!(dot(&columns, &weights), dot(&planes, &back));
            }
        }
    }
}
