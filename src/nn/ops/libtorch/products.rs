//! The gradient of an enlargement as two matrix products.
//!
//! libtorch's own kernel adds every pixel of the large gradient to those that it was mixed from, one atomic addition each:
//! where an image is enlarged eight times, hundreds of threads wait for the same number. As a product with the matrix of
//! the mixture, along rows and then along columns, it takes the time that reading the gradient takes, and the sums come in
//! the same order each time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::nn::ops::axis::taps;
use crate::nn::ops::{Interpolation, Resampling};

/// Enlargements of the area by less than this are left to libtorch: few additions meet.
const LEAST: i64 = 8;

/// Bytes that the gradient of the images in work may take in float32.
const AT_ONCE: i64 = 256 << 20;

/// Matrices that are kept; more are those of images of many sizes.
const KEPT: usize = 64;

/// What a matrix depends on.
type Key = (i64, i64, Resampling, usize);

static MATRICES: Mutex<Option<HashMap<Key, Tensor>>> = Mutex::new(None);

/// Whether [`resample_gradient`] is the faster way from a gradient of `output` rows and columns to one of `input`.
pub(super) fn suits(device: Device, input: [i64; 2], output: [i64; 2], how: Resampling) -> bool {
    let enlarged = output[0] * output[1] >= LEAST * input[0] * input[1];
    device.is_cuda() && enlarged && how.interpolation != Interpolation::Nearest
}

/// The gradient for an input of `input` rows and columns, from that of the output `[batch, channels, height, width]`; the
/// channels are innermost if they are so there.
pub(super) fn resample_gradient(gradient: &Tensor, input: [i64; 2], how: Resampling) -> Tensor {
    let size = gradient.size();
    let (batch, each) = (size[0], 4 * size[1] * size[2] * size[3]);
    let matrix = |from: i64, to: i64| mixture(from, to, how, gradient.device());
    let (rows, columns) = (matrix(input[0], size[2]), matrix(input[1], size[3]));
    let step = (AT_ONCE / each).clamp(1, batch.max(1));
    let part = |start: i64| {
        let part = gradient.narrow(0, start, step.min(batch - start));
        shrunk(&part, &rows, &columns).to_kind(gradient.kind())
    };
    let parts: Vec<Tensor> = (0..batch).step_by(step as usize).map(part).collect();
    if parts.len() == 1 { parts.into_iter().next().expect("one part") } else { Tensor::cat(&parts, 0) }
}

/// `rows` and `columns` are `[input, output]`.
fn shrunk(gradient: &Tensor, rows: &Tensor, columns: &Tensor) -> Tensor {
    let size = gradient.size();
    let (count, channels, height, width) = (size[0], size[1], size[2], size[3]);
    let innermost = channels > 1 && gradient.stride()[1] == 1;
    let wide = gradient.to_kind(Kind::Float);
    if innermost {
        let lines = wide.permute([0, 2, 3, 1]).contiguous().view([count, height, width * channels]);
        let lines = rows.matmul(&lines).view([count, rows.size()[0], width, channels]);
        columns.matmul(&lines).permute([0, 3, 1, 2])
    } else {
        rows.matmul(&wide.matmul(&columns.transpose(0, 1)))
    }
}

/// How much of each of `input` positions is in each of `output` positions, `[input, output]`.
fn mixture(input: i64, output: i64, how: Resampling, device: Device) -> Tensor {
    let index = match device {
        Device::Cuda(index) => index + 1,
        _ => 0,
    };
    let mut matrices = MATRICES.lock().unwrap_or_else(PoisonError::into_inner);
    let matrices = matrices.get_or_insert_default();
    let key = (input, output, how, index);
    if matrices.len() >= KEPT && !matrices.contains_key(&key) {
        matrices.clear();
    }
    let made = matrices.entry(key).or_insert_with(|| {
        let (count, taps) = taps(input as usize, output as usize, how);
        let mut values = vec![0f32; (input * output) as usize];
        for (to, tap) in taps.iter().enumerate() {
            for (from, weight) in tap.positions.iter().zip(&tap.weights).take(count) {
                values[from * output as usize + to] += weight;
            }
        }
        Tensor::from_slice(&values).view([input, output]).to_device(device)
    });
    made.shallow_clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_give_libtorchs_gradients() {
        let [batch, channels, height, width] = [3i64, 5, 6, 7];
        let input = &[batch, channels, height, width][..];
        for (align_corners, cubic) in [(false, false), (true, false), (false, true), (true, true)] {
            let interpolation = if cubic { Interpolation::Bicubic } else { Interpolation::Bilinear };
            let how = Resampling { interpolation, align_corners };
            for output in [[29i64, 31], [6, 7], [48, 56]] {
                let large = &output[..];
                let gradient = Tensor::rand([batch, channels, output[0], output[1]], (Kind::Float, Device::Cpu));
                let expected = if cubic {
                    Tensor::upsample_bicubic2d_backward(&gradient, large, input, align_corners, None, None)
                } else {
                    Tensor::upsample_bilinear2d_backward(&gradient, large, input, align_corners, None, None)
                };
                let innermost = crate::nn::ops::libtorch::ffi::channels_last(&gradient);
                for (what, gradient) in [("planes", &gradient), ("channels innermost", &innermost)] {
                    let found = resample_gradient(gradient, [height, width], how);
                    let off = (&found - &expected).abs().max().double_value(&[]);
                    assert!(off < 1e-4, "{off} off, {how:?}, {output:?}, {what}");
                }
                assert_eq!(resample_gradient(&innermost, [height, width], how).stride()[1], 1);
            }
        }
    }
}
