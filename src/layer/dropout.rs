//! Dropout, drawn on the host: the same on every device, and again when a training is resumed.

use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::ops::noted;

/// `x` `[batch, channels, height, width]` with each channel of each picture set to 0 with probability `rate`, and the
/// others divided by `1 - rate` (PyTorch's `Dropout2d`, arXiv 1411.4280); `draw` alone decides which.
pub fn dropout_channels(x: Tensor<4>, rate: f64, draw: u64) -> Tensor<4> {
    let [batch, channels, _, _] = x.dims();
    drop(x, [batch, channels, 1, 1], rate, draw)
}

/// `x` `[batch, channels, height, width]` with each value set to 0 with probability `rate`, and the others divided by
/// `1 - rate` (PyTorch's and Keras' `Dropout`, arXiv 1207.0580); `draw` alone decides which.
pub fn dropout_pixels(x: Tensor<4>, rate: f64, draw: u64) -> Tensor<4> {
    let shape = x.dims();
    drop(x, shape, rate, draw)
}

fn drop(x: Tensor<4>, shape: [usize; 4], rate: f64, draw: u64) -> Tensor<4> {
    if rate == 0.0 {
        return x;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(draw);
    let kept = (1.0 / (1.0 - rate)) as f32;
    let count = shape.iter().product();
    let factors: Vec<f32> = (0..count).map(|_| if rng.random_bool(rate) { 0.0 } else { kept }).collect();
    let factors = noted(Tensor::from_data(TensorData::new(factors, shape), &x.device()));
    let dtype = x.dtype();
    noted(x * factors.cast(dtype))
}
