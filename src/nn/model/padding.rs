//! Any input size: extend by mirroring, compute, crop back.

use crate::nn::ops::upload_integers;
use burn::tensor::{DType, Tensor, TensorData};

use crate::nn::ops::cut;

/// How to cut the original area out of an enlarged result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
}

impl Crop {
    /// Cuts the original area out of `tensor`, which has the enlarged size.
    pub fn apply(self, tensor: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = tensor.dims();
        if (height, width) == (self.height, self.width) {
            return tensor;
        }
        cut(tensor, self.top..self.top + self.height, self.left..self.left + self.width)
    }
}

/// Extends `[batch, channels, height, width]` on all sides to the next multiple and at least to `smallest`, by mirroring
/// about the border pixels (numpy's `reflect`, which repeats the mirror where a side is shorter than the extension). An
/// odd surplus goes to the bottom and the right.
pub fn mirror_pad(tensor: Tensor<4>, multiple: usize, smallest: usize) -> (Tensor<4>, Crop) {
    let [_, _, height, width] = tensor.dims();
    let extension = |length: usize| halves(length.max(smallest).next_multiple_of(multiple) - length);
    let (rows, columns) = (extension(height), extension(width));
    let crop = Crop { top: rows.0, left: columns.0, height, width };
    (extend(extend(tensor, 2, height, rows), 3, width, columns), crop)
}

/// `tensor` in the middle of zeros of `size`, rows and columns; an odd surplus goes to the bottom and the right.
pub(super) fn place(tensor: Tensor<4>, [rows, columns]: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = tensor.dims();
    if [height, width] == [rows, columns] {
        return tensor;
    }
    let ((top, bottom), (left, right)) = (halves(rows - height), halves(columns - width));
    tensor.pad((left, right, top, bottom), 0.0)
}

fn halves(surplus: usize) -> (usize, usize) {
    (surplus / 2, surplus - surplus / 2)
}

fn extend(tensor: Tensor<4>, dimension: usize, length: usize, (before, after): (usize, usize)) -> Tensor<4> {
    if before + after == 0 {
        return tensor;
    }
    let indices: Vec<i64> =
        (0..before + length + after).map(|i| mirrored(i as i64 - before as i64, length) as i64).collect();
    let (count, device) = (indices.len(), tensor.device());
    let dtype = DType::from(device.settings().int_dtype);
    tensor.select(dimension, upload_integers::<1>(TensorData::new(indices, [count]), &device, dtype))
}

/// Index of the sample that a position outside `0..length` mirrors to.
pub(crate) fn mirrored(position: i64, length: usize) -> usize {
    let last = length as i64 - 1;
    if last == 0 {
        return 0;
    }
    let folded = position.rem_euclid(2 * last);
    folded.min(2 * last - folded) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_like_numpy_reflect() {
        // numpy.pad([0, 1, 2], 4, "reflect")
        let got: Vec<_> = (-4..7).map(|i| mirrored(i, 3)).collect();
        assert_eq!(got, [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]);
        assert!((-3..3).all(|i| mirrored(i, 1) == 0));
    }
}
