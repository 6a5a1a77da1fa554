//! Synchronised batch norm (PyTorch's `SyncBatchNorm`): the statistics are those of the whole batch, of which each
//! process has a share.
//!
//! Means and sums of squared differences of the shares are combined as proposed by Chan, Golub and LeVeque ("Updating
//! formulae and a pairwise algorithm for computing sample variances", 1979), which loses no precision if means are
//! large. All-reduces go through main memory, a few numbers per channel.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Scalar, TensorMetadata};
use burn::tensor::{Shape, TensorData, try_read_sync};

use super::generic::{as_type, float_dtype, sum_by_channel};
use super::kernels::Kernels;
use super::profile::note_read;
use super::results::{Gradients, Wanted};
use super::settings::NormSettings;
use crate::nn::group::Group;

/// What the gradient needs besides the input and the weight.
#[derive(Debug, Clone)]
pub(super) struct Shared<B: Kernels> {
    mean: FloatTensor<B>,
    inverse_deviation: FloatTensor<B>,
    /// Number of values per channel, over all processes.
    count: f64,
    group: Group,
}

/// The normalised, scaled and shifted input, and the statistics.
pub(super) struct Synchronised<B: Kernels> {
    pub(super) output: FloatTensor<B>,
    pub(super) running_mean: FloatTensor<B>,
    pub(super) running_var: FloatTensor<B>,
    pub(super) shared: Shared<B>,
}

/// Batch norm of this process's share `x`, computed in the type of the weight.
pub(super) fn normalisation<B: Kernels>(
    x: FloatTensor<B>,
    [weight, bias, running_mean, running_var]: [FloatTensor<B>; 4],
    settings: NormSettings,
    group: Group,
) -> Synchronised<B> {
    let shape = x.shape();
    let own = (shape.num_elements() / shape[1].max(1)) as f64;
    let (narrow, wide) = (float_dtype::<B>(&x), float_dtype::<B>(&weight));
    let x = as_type::<B>(x, wide);
    let mean = B::float_mul_scalar(sum_by_channel::<B>(x.clone()), Scalar::Float(1.0 / own.max(1.0)));
    let centred = B::float_sub(x.clone(), spread::<B>(mean.clone()));
    let squares = sum_by_channel::<B>(B::float_mul(centred.clone(), centred));
    let all = group.gather(&[numbers::<B>(mean), numbers::<B>(squares), vec![own as f32]].concat());
    let (count, means, variances) = together(&all, shape[1]);
    let device = x.device();
    let upload = |values: Vec<f64>| channels::<B>(values, &device, wide);
    let (mean, variance) = (upload(means), upload(variances));
    let mix = |old, new: FloatTensor<B>, factor: f64| {
        let old = B::float_mul_scalar(old, Scalar::Float(1.0 - settings.momentum));
        B::float_add(old, B::float_mul_scalar(new, Scalar::Float(settings.momentum * factor)))
    };
    let shifted = B::float_add_scalar(variance.clone(), Scalar::Float(settings.epsilon));
    let inverse_deviation = B::float_recip(B::float_sqrt(shifted));
    let (running_mean, running_var) =
        (mix(running_mean, mean.clone(), 1.0), mix(running_var, variance.clone(), count / (count - 1.0).max(1.0)));
    let output = B::fixed_normalisation(x, weight, bias, mean.clone(), variance, settings.epsilon);
    let shared = Shared { mean, inverse_deviation, count, group };
    Synchronised { output: as_type::<B>(output, narrow), running_mean, running_var, shared }
}

/// Gradients for the input, weight and bias; those for weight and bias are of this process's share alone.
pub(super) fn gradients<B: Kernels>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    shared: Shared<B>,
    gradient: FloatTensor<B>,
    wanted: Wanted<3>,
) -> Gradients<B, 3> {
    let Shared { mean, inverse_deviation, count, group } = shared;
    let (narrow, wide) = (float_dtype::<B>(&x), float_dtype::<B>(&weight));
    let (x, gradient) = (as_type::<B>(x, wide), as_type::<B>(gradient, wide));
    let inverse_deviation = spread::<B>(inverse_deviation);
    let normalised = B::float_mul(B::float_sub(x, spread::<B>(mean)), inverse_deviation.clone());
    let for_bias = sum_by_channel::<B>(gradient.clone());
    let for_weight = sum_by_channel::<B>(B::float_mul(gradient.clone(), normalised.clone()));
    let for_x = wanted[0].then(|| {
        let own = [numbers::<B>(for_bias.clone()), numbers::<B>(for_weight.clone())].concat();
        let sums: Vec<f64> = group.sum(&own).into_iter().map(|sum| f64::from(sum) / count).collect();
        let (biases, weights) = sums.split_at(sums.len() / 2);
        let device = gradient.device();
        let upload = |values: &[f64]| spread::<B>(channels::<B>(values.to_vec(), &device, wide));
        // weight / deviation * (gradient - mean gradient - normalised * mean of their product)
        let common = B::float_add(upload(biases), B::float_mul(normalised, upload(weights)));
        let factor = B::float_mul(spread::<B>(weight), inverse_deviation);
        as_type::<B>(B::float_mul(B::float_sub(gradient, common), factor), narrow)
    });
    [for_x, wanted[1].then_some(for_weight), wanted[2].then_some(for_bias)]
}

/// Count, and means and biased variances per channel, over all shares. Each share contributes its means, its sums of
/// squared differences from them, and its count.
fn together(all: &[f32], channels: usize) -> (f64, Vec<f64>, Vec<f64>) {
    let shares: Vec<&[f32]> = all.chunks_exact(2 * channels + 1).collect();
    let count: f64 = shares.iter().map(|share| f64::from(share[2 * channels])).sum();
    let sum = |value: &dyn Fn(&[f32], f64) -> f64| -> f64 {
        shares.iter().map(|share| value(share, f64::from(share[2 * channels]))).sum::<f64>() / count.max(1.0)
    };
    let means: Vec<f64> = (0..channels).map(|c| sum(&|share, own| own * f64::from(share[c]))).collect();
    let variance =
        |c: usize| sum(&|share, own| f64::from(share[channels + c]) + own * (f64::from(share[c]) - means[c]).powi(2));
    let variances = (0..channels).map(variance).collect();
    (count, means, variances)
}

/// Reshapes `[channels]` so that it broadcasts over images.
fn spread<B: Kernels>(channels: FloatTensor<B>) -> FloatTensor<B> {
    let count = channels.shape()[0];
    B::float_reshape(channels, Shape::new([1, count, 1, 1]))
}

fn channels<B: Kernels>(values: Vec<f64>, device: &B::Device, dtype: burn::tensor::FloatDType) -> FloatTensor<B> {
    let count = values.len();
    let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
    as_type::<B>(B::float_from_data(TensorData::new(values, [count]), device), dtype)
}

/// The values of a small tensor.
fn numbers<B: Kernels>(tensor: FloatTensor<B>) -> Vec<f32> {
    note_read();
    let data = try_read_sync(B::float_into_data(tensor)).and_then(Result::ok);
    data.expect("the backends' data can be read without waiting").iter::<f32>().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_make_up_the_whole() {
        // 0, 2 | 4 | 1000, 1002, 1004 of one channel.
        let all = [1.0, 2.0, 2.0, 4.0, 0.0, 1.0, 1002.0, 8.0, 3.0];
        let values = [0.0, 2.0, 4.0, 1000.0, 1002.0, 1004.0];
        let mean = values.iter().sum::<f64>() / 6.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 6.0;
        let (count, means, variances) = together(&all, 1);
        assert_eq!((count, means[0]), (6.0, mean));
        assert!((variances[0] / variance - 1.0).abs() < 1e-12);
    }
}
