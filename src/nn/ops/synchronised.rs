//! Synchronised batch norm (PyTorch's `SyncBatchNorm`): the statistics are those of the whole batch, of which each
//! process has a share.
//!
//! Means and sums of squared differences of the shares are combined as proposed by Chan, Golub and LeVeque ("Updating
//! formulae and a pairwise algorithm for computing sample variances", 1979), which loses no precision if means are
//! large. They are a few numbers per channel and are combined in float64: on the GPUs if these are connected, otherwise in
//! main memory.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Scalar, TensorMetadata};
use burn::tensor::Slice;

use super::common::Common;
use super::generic::{as_type, float_dtype, spread, sum_by_channel};
use super::kernels::Kernels;
use super::results::{Gradients, Normalised, Wanted};
use super::settings::NormSettings;
use crate::nn::group::Group;

/// What the gradient needs besides the input and the weight.
#[derive(Debug, Clone)]
pub(super) struct Shared<B: Kernels> {
    mean: FloatTensor<B>,
    inverse_deviation: FloatTensor<B>,
    /// See [`Common`].
    inverse_count: FloatTensor<B>,
    group: Group,
}

/// Batch norm of this process's share `x`, computed in the type of the weight.
pub(super) fn normalisation<B: Kernels>(
    x: FloatTensor<B>,
    [weight, bias, running_mean, running_var]: [FloatTensor<B>; 4],
    settings: NormSettings,
    group: Group,
) -> Normalised<B, Shared<B>> {
    let shape = x.shape();
    let own = (shape.num_elements() / shape[1].max(1)) as f64;
    let (narrow, wide) = (float_dtype::<B>(&x), float_dtype::<B>(&weight));
    let x = as_type::<B>(x, wide);
    let mean = B::float_mul_scalar(sum_by_channel::<B>(x.clone()), Scalar::Float(1.0 / own.max(1.0)));
    let centred = B::float_sub(x.clone(), spread::<B>(mean.clone()));
    let squares = sum_by_channel::<B>(B::float_mul(centred.clone(), centred));
    let Common { mean, variance, unbiased, inverse_count } = B::common_statistics(mean, squares, own, &group);
    let mix = |old, new: FloatTensor<B>| {
        let old = B::float_mul_scalar(old, Scalar::Float(1.0 - settings.momentum));
        B::float_add(old, B::float_mul_scalar(new, Scalar::Float(settings.momentum)))
    };
    let (running_mean, running_var) = (mix(running_mean, mean.clone()), mix(running_var, unbiased));
    let shifted = B::float_add_scalar(variance.clone(), Scalar::Float(settings.epsilon));
    let inverse_deviation = B::float_recip(B::float_sqrt(shifted));
    let output = B::fixed_normalisation(x, weight, bias, mean.clone(), variance, settings.epsilon);
    let statistics = Shared { mean, inverse_deviation, inverse_count, group };
    Normalised { output: as_type::<B>(output, narrow), running_mean, running_var, statistics }
}

/// Gradients for the input, weight and bias; those for weight and bias are of this process's share alone.
pub(super) fn gradients<B: Kernels>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    shared: Shared<B>,
    gradient: FloatTensor<B>,
    wanted: Wanted<3>,
) -> Gradients<B, 3> {
    let Shared { mean, inverse_deviation, inverse_count, group } = shared;
    let (narrow, wide) = (float_dtype::<B>(&x), float_dtype::<B>(&weight));
    let (x, gradient) = (as_type::<B>(x, wide), as_type::<B>(gradient, wide));
    let (inverse_deviation, channels) = (spread::<B>(inverse_deviation), x.shape()[1]);
    let normalised = B::float_mul(B::float_sub(x, spread::<B>(mean)), inverse_deviation.clone());
    let for_bias = sum_by_channel::<B>(gradient.clone());
    let for_weight = sum_by_channel::<B>(B::float_mul(gradient.clone(), normalised.clone()));
    let for_x = wanted[0].then(|| {
        let sums = B::sum_over_processes(B::float_cat(vec![for_bias.clone(), for_weight.clone()], 0), &group);
        let means = B::float_mul(sums, inverse_count);
        let [biases, weights] = [0..channels, channels..2 * channels]
            .map(|part| spread::<B>(B::float_slice(means.clone(), &[Slice::from(part)])));
        // weight / deviation * (gradient - mean gradient - normalised * mean of their product)
        let common = B::float_add(biases, B::float_mul(normalised, weights));
        let factor = B::float_mul(spread::<B>(weight), inverse_deviation);
        as_type::<B>(B::float_mul(B::float_sub(gradient, common), factor), narrow)
    });
    [for_x, wanted[1].then_some(for_weight), wanted[2].then_some(for_bias)]
}
