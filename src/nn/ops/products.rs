//! The gradient of resampling as two matrix products, along columns and along rows, for any backend: burn's GPU backends
//! implement it for nearest-neighbour resampling only.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Shape, TensorData};

use super::axis::taps;
use super::generic::{as_type, float_dtype};
use super::settings::{ConvSettings, Resampling};

/// Gradient for the input, whose shape was `input`, of a resampling whose output has this `gradient`; both are
/// `[batch, channels, height, width]`.
pub(super) fn resample_gradient<B: Backend>(gradient: FloatTensor<B>, input: Shape, how: Resampling) -> FloatTensor<B> {
    [3, 2].into_iter().fold(gradient, |gradient, axis| along::<B>(gradient, axis, input[axis], how))
}

/// Along one axis, as a 1x1 convolution whose channels are the positions: burn's matrix product crashes some drivers, its
/// convolution none that was tried.
fn along<B: Backend>(gradient: FloatTensor<B>, axis: usize, from: usize, how: Resampling) -> FloatTensor<B> {
    let (to, device, dtype) = (gradient.shape()[axis], gradient.device(), float_dtype::<B>(&gradient));
    let data = TensorData::new(mixture(from, to, how), [to, from, 1, 1]);
    let weight = B::float_swap_dims(as_type::<B>(B::float_from_data(data, &device), dtype), 0, 1);
    let found = B::conv2d(B::float_swap_dims(gradient, 1, axis), weight, None, ConvSettings::default().burn());
    B::float_swap_dims(found, 1, axis)
}

/// How much of each of `from` positions is in each of `to` positions, `[to, from]`.
pub(super) fn mixture(from: usize, to: usize, how: Resampling) -> Vec<f32> {
    let (count, taps) = taps(from, to, how);
    let mut values = vec![0.0; to * from];
    for (row, tap) in values.chunks_exact_mut(from).zip(&taps) {
        tap.positions.iter().zip(&tap.weights).take(count).for_each(|(position, weight)| row[*position] += weight);
    }
    values
}
