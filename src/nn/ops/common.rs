//! What the processes of a group have in common: sums, and statistics of the whole batch, exchanged through main memory.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{FloatDType, TensorData, try_read_sync};

use super::generic::{as_type, float_dtype};
use super::profile::note_read;
use crate::nn::group::Group;

/// Statistics of the whole batch, by channel.
pub(super) struct Common<B: Backend> {
    pub(super) mean: FloatTensor<B>,
    pub(super) variance: FloatTensor<B>,
    /// The unbiased variance: divided by the number of values minus one.
    pub(super) unbiased: FloatTensor<B>,
    /// 1 divided by the number of values of a channel: `[1]`.
    pub(super) inverse_count: FloatTensor<B>,
}

/// The sum of `x` over the processes of a group.
pub(super) fn sum_in_main_memory<B: Backend>(x: FloatTensor<B>, group: &Group) -> FloatTensor<B> {
    let (device, dtype) = (x.device(), float_dtype::<B>(&x));
    channels::<B>(group.sum(&numbers::<B>(x)), &device, dtype)
}

/// Statistics by channel of the whole batch, from those of this process's share: means, sums of squared differences from
/// them, and the number of values per channel.
pub(super) fn common_in_main_memory<B: Backend>(
    mean: FloatTensor<B>,
    squares: FloatTensor<B>,
    own: f64,
    group: &Group,
) -> Common<B> {
    let (device, dtype, count) = (mean.device(), float_dtype::<B>(&mean), mean.shape()[0]);
    let all = group.gather(&[numbers::<B>(mean), numbers::<B>(squares), vec![own as f32]].concat());
    let (values, means, variances) = together(&all, count);
    let factor = values / (values - 1.0).max(1.0);
    let unbiased = variances.iter().map(|variance| variance * factor).collect();
    let [mean, variance, unbiased, inverse_count] = [means, variances, unbiased, vec![1.0 / values.max(1.0)]]
        .map(|numbers| channels::<B>(numbers.into_iter().map(|number| number as f32).collect(), &device, dtype));
    Common { mean, variance, unbiased, inverse_count }
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

fn channels<B: Backend>(values: Vec<f32>, device: &B::Device, dtype: FloatDType) -> FloatTensor<B> {
    let count = values.len();
    as_type::<B>(B::float_from_data(TensorData::new(values, [count]), device), dtype)
}

/// The values of a small tensor.
fn numbers<B: Backend>(tensor: FloatTensor<B>) -> Vec<f32> {
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
