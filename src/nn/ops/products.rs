//! The gradient of a resampling as two matrix products, along rows and along columns, for any backend: burn's GPU backends
//! have none of their own but for nearest neighbours.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Shape, TensorData};

use super::axis::taps;
use super::generic::{as_type, float_dtype};
use super::settings::Resampling;

/// Gradient for the input, whose shape was `input`, of a resampling whose output has this `gradient`; both are
/// `[batch, channels, height, width]`.
pub(super) fn resample_gradient<B: Backend>(gradient: FloatTensor<B>, input: Shape, how: Resampling) -> FloatTensor<B> {
    let (output, device, dtype) = (gradient.shape(), gradient.device(), float_dtype::<B>(&gradient));
    let matrix = |axis: usize| {
        let (from, to) = (input[axis], output[axis]);
        let data = TensorData::new(mixture(from, to, how), [1, 1, to, from]);
        as_type::<B>(B::float_from_data(data, &device), dtype)
    };
    let along_columns = B::float_matmul(gradient, matrix(3));
    B::float_matmul(B::float_transpose(matrix(2)), along_columns)
}

/// How much of each of `from` positions is in each of `to` positions, `[to, from]`.
fn mixture(from: usize, to: usize, how: Resampling) -> Vec<f32> {
    let (count, taps) = taps(from, to, how);
    let mut values = vec![0.0; to * from];
    for (row, tap) in values.chunks_exact_mut(from).zip(&taps) {
        tap.positions.iter().zip(&tap.weights).take(count).for_each(|(position, weight)| row[*position] += weight);
    }
    values
}
