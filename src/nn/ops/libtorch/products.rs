//! Enlargements, their gradients and average pooling as two matrix products, along rows and along columns.
//!
//! libtorch's own kernels are far from the time that reading and writing the images takes: the gradient of an enlargement
//! adds every pixel to those that it was mixed from, one atomic addition each, so that hundreds of threads wait for the
//! same number; enlargement and pooling read memory out of order where the channels lie innermost. A product with the
//! matrix of the mixture does neither, and its sums come in the same order each time.

use std::collections::HashMap;
use std::sync::Mutex;

use tch::{Device, Kind, Tensor};

use super::layout::in_tensor_cores;
use crate::base::locked;
use crate::nn::ops::products::mixture;
use crate::nn::ops::{Interpolation, Resampling};

/// Changes of the area by less than this factor are left to libtorch: its kernels do well where few pixels meet. Where
/// tensor cores multiply, products are faster already for twice the side.
const LEAST: i64 = 8;
const LEAST_IN_TENSOR_CORES: i64 = 4;

/// Matrices that are kept; more are those of images of many sizes.
const KEPT: usize = 64;

/// What a matrix does along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mixture {
    Enlarge(Resampling),
    /// The transpose of [`Mixture::Enlarge`].
    EnlargeGradient(Resampling),
    /// Sums over the areas of an adaptive pooling.
    Sums,
}

/// A matrix `[to, from]` of one type on one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    mixture: Mixture,
    to: i64,
    from: i64,
    kind: Kind,
    device: Device,
}

static MATRICES: Mutex<Option<HashMap<Key, Tensor>>> = Mutex::new(None);

/// Whether [`resample`] and [`resample_gradient`] are the faster way between `small` and `large` rows and columns.
pub(super) fn suits_resampling(x: &Tensor, small: [i64; 2], large: [i64; 2], how: Resampling) -> bool {
    let least = if in_tensor_cores(x) { LEAST_IN_TENSOR_CORES } else { LEAST };
    x.device().is_cuda()
        && large[0] * large[1] >= least * small[0] * small[1]
        && how.interpolation != Interpolation::Nearest
}

/// Whether [`average`] is the faster way from `large` rows and columns to `small` ones.
pub(super) fn suits_pooling(x: &Tensor, large: [i64; 2], small: [i64; 2]) -> bool {
    x.device().is_cuda() && large[0] * large[1] >= LEAST * small[0] * small[1]
}

/// `x` `[batch, channels, height, width]` at `size` rows and columns; the channels are innermost if they are so in `x`.
pub(super) fn resample(x: &Tensor, size: [i64; 2], how: Resampling) -> Tensor {
    mixed(x, size, Mixture::Enlarge(how))
}

/// The gradient for an input of `input` rows and columns, from that of the output `[batch, channels, height, width]`; the
/// channels are innermost if they are so there.
pub(super) fn resample_gradient(gradient: &Tensor, input: [i64; 2], how: Resampling) -> Tensor {
    mixed(gradient, input, Mixture::EnlargeGradient(how))
}

/// Means of `x` `[batch, channels, height, width]` over `size` areas; the channels are innermost if they are so in `x`.
pub(super) fn average(x: &Tensor, size: [i64; 2]) -> Tensor {
    let shape = x.size();
    let scale = |from: i64, to: i64| {
        let scales: Vec<f32> = (0..to).map(|at| 1.0 / area(at, to, from).count() as f32).collect();
        Tensor::from_slice(&scales)
    };
    // The sums are exact products with ones; means rounded to bfloat16 would all be off to the same side.
    let scales = scale(shape[2], size[0]).unsqueeze(1) * scale(shape[3], size[1]);
    (mixed(x, size, Mixture::Sums) * scales.to_device(x.device())).to_kind(x.kind())
}

/// `x` multiplied along both axes, in its own type; the sums are float32.
fn mixed(x: &Tensor, size: [i64; 2], mixture: Mixture) -> Tensor {
    let shape = x.size();
    let (count, channels, height, width) = (shape[0], shape[1], shape[2], shape[3]);
    let [rows, columns] =
        [(size[0], height), (size[1], width)].map(|(to, from)| matrix(mixture, to, from, x.kind(), x.device()));
    let innermost = channels > 1 && x.stride()[1] == 1;
    if !innermost {
        return rows.matmul(&x.matmul(&columns.transpose(0, 1)));
    }
    let x = x.permute([0, 2, 3, 1]).contiguous();
    let along_rows = |x: &Tensor, width: i64| {
        let lines = x.view([count, height, width * channels]);
        rows.matmul(&lines).view([count, size[0], width, channels])
    };
    // The smaller images in between.
    let out = if size[0] < height {
        columns.matmul(&along_rows(&x, width))
    } else {
        along_rows(&columns.matmul(&x), size[1])
    };
    out.permute([0, 3, 1, 2])
}

/// How much of each of `from` positions is in each of `to` positions, `[to, from]`.
fn matrix(mixture: Mixture, to: i64, from: i64, kind: Kind, device: Device) -> Tensor {
    let mut matrices = locked(&MATRICES);
    let matrices = matrices.get_or_insert_default();
    let key = Key { mixture, to, from, kind, device };
    if matrices.len() >= KEPT && !matrices.contains_key(&key) {
        matrices.clear();
    }
    let made = matrices.entry(key).or_insert_with(|| {
        let matrix = match mixture {
            Mixture::Enlarge(how) => enlargement(to, from, how),
            Mixture::EnlargeGradient(how) => enlargement(from, to, how).transpose(0, 1).contiguous(),
            Mixture::Sums => sums(to, from),
        };
        matrix.to_kind(kind).to_device(device)
    });
    made.shallow_clone()
}

fn enlargement(to: i64, from: i64, how: Resampling) -> Tensor {
    Tensor::from_slice(&mixture(from as usize, to as usize, how)).view([to, from])
}

/// 1 where a position is in an area of the pooling.
fn sums(to: i64, from: i64) -> Tensor {
    let row = |at: i64| {
        let area = area(at, to, from);
        (0..from).map(move |i| if area.contains(&i) { 1.0 } else { 0.0 })
    };
    Tensor::from_slice(&(0..to).flat_map(row).collect::<Vec<f32>>()).view([to, from])
}

/// The positions that area `at` of `areas` takes of `from`: PyTorch's.
fn area(at: i64, areas: i64, from: i64) -> std::ops::Range<i64> {
    at * from / areas..((at + 1) * from + areas - 1) / areas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rand(size: &[i64]) -> Tensor {
        Tensor::rand(size, (Kind::Float, Device::Cpu))
    }

    /// Both orders of the axes in memory; what comes out has the same order. Relative to the largest value: the gradient at a
    /// corner is a sum of over a hundred weighted values, rounded in another order.
    fn assert_equal(what: &str, x: &Tensor, run: impl Fn(&Tensor) -> Tensor, expected: &Tensor) {
        let innermost = crate::nn::ops::libtorch::ffi::converted(x, false, true);
        let largest = expected.abs().max().double_value(&[]);
        for (order, x) in [("planes", x), ("channels innermost", &innermost)] {
            let found = run(x);
            let off = (&found - expected).abs().max().double_value(&[]) / largest;
            assert!(off < 1e-5, "{off} of the largest value off, {what}, {order}");
        }
        assert_eq!(run(&innermost).stride()[1], 1, "{what}");
    }

    #[test]
    fn products_are_libtorchs_resampling_and_its_gradient() {
        let input = [3i64, 5, 6, 7];
        let small = [input[2], input[3]];
        for (align_corners, cubic) in [(false, false), (true, false), (false, true), (true, true)] {
            let interpolation = if cubic { Interpolation::Bicubic } else { Interpolation::Bilinear };
            let how = Resampling { interpolation, align_corners };
            for large in [[29i64, 31], [6, 7], [48, 56]] {
                let what = format!("{how:?}, {large:?}");
                let forward = if cubic { Tensor::upsample_bicubic2d } else { Tensor::upsample_bilinear2d };
                let x = rand(&input);
                let expected = forward(&x, &large[..], align_corners, None, None);
                assert_equal(&what, &x, |x| resample(x, large, how), &expected);

                let backward =
                    if cubic { Tensor::upsample_bicubic2d_backward } else { Tensor::upsample_bilinear2d_backward };
                let gradient = rand(&[input[0], input[1], large[0], large[1]]);
                let expected = backward(&gradient, &large[..], &input[..], align_corners, None, None);
                assert_equal(&what, &gradient, |gradient| resample_gradient(gradient, small, how), &expected);
            }
        }
    }

    #[test]
    fn products_are_libtorchs_average_pooling() {
        let x = rand(&[2, 5, 17, 12]);
        for size in [[1, 1], [2, 2], [3, 6], [6, 5]] {
            assert_equal(&format!("{size:?}"), &x, |x| average(x, size), &x.adaptive_avg_pool2d(size));
        }
    }
}
