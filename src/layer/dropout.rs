//! Dropout of whole channels.

use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// `x` `[batch, channels, height, width]` with each channel of each picture set to 0 with probability `rate`, and the
/// others divided by `1 - rate` (PyTorch's `Dropout2d`, arXiv 1411.4280). Drawn on the host from `draw` alone: the same
/// on every device, and again when a training is resumed.
pub fn dropout_channels(x: Tensor<4>, rate: f64, draw: u64) -> Tensor<4> {
    if rate == 0.0 {
        return x;
    }
    let [batch, channels, _, _] = x.dims();
    let mut rng = ChaCha8Rng::seed_from_u64(draw);
    let kept = (1.0 / (1.0 - rate)) as f32;
    let factors: Vec<f32> = (0..batch * channels).map(|_| if rng.random_bool(rate) { 0.0 } else { kept }).collect();
    let factors = Tensor::<4>::from_data(TensorData::new(factors, [batch, channels, 1, 1]), &x.device());
    let dtype = x.dtype();
    x * factors.cast(dtype)
}
