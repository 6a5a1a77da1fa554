//! All-reduces over the processes of a group.

use std::ops::Range;

use burn::backend::LibTorch;
use burn::backend::libtorch::TchTensor;
use burn::backend::tensor::FloatTensor;
use burn::tensor::TensorData;
use tch::{Kind, Tensor};

use super::ffi::Copying;
use super::transfer::there;
use super::writable;
use crate::nn::group::Group;
use crate::nn::ops::common::{self, Common};

/// Values that pass through main memory at a time: 16 MiB of float32.
const BUCKET: usize = 1 << 22;

/// Replaces contiguous float32 tensors on one device by their sums over the processes of the group: between GPUs if they are
/// connected, otherwise through main memory, where many tensors become one.
pub(super) fn all_reduce(tensors: &[Tensor], group: &Group) {
    if tensors.is_empty() || group.sum_on_gpus(tensors) {
        return;
    }
    let flat = |part: Range<usize>| {
        let parts: Vec<Tensor> = tensors[part].iter().map(|tensor| tensor.reshape([-1])).collect();
        if let [only] = &parts[..] { only.shallow_clone() } else { Tensor::cat(&parts, 0) }
    };
    // While one bucket is summed, the next ones come from the GPU.
    let begin = |part: Range<usize>| (part.clone(), Copying::begin(&flat(part)));
    let coming: Vec<_> = buckets(tensors).into_iter().map(begin).collect();
    for (part, copying) in coming {
        let count = tensors[part.clone()].iter().map(Tensor::numel).sum();
        // A device that fails here also fails in the next operation, which reports it; the other processes expect as many
        // values.
        let own = copying.wait().ok().and_then(|home| Vec::<f32>::try_from(&home).ok());
        let sums = group.sum_in_place(own.unwrap_or_else(|| vec![0.0; count]));
        let gpu = match tensors[part.start].device() {
            tch::Device::Cuda(gpu) => Some(gpu),
            _ => None,
        };
        let sums = there(&TensorData::new(sums, [count]), gpu).tensor;
        let mut taken = 0;
        for tensor in &tensors[part] {
            let count = tensor.numel() as i64;
            tensor.shallow_clone().copy_(&sums.narrow(0, taken, count).view_as(tensor));
            taken += count;
        }
    }
}

/// Ranges of tensors that fit into a bucket together; a tensor larger than a bucket is a range by itself.
fn buckets(tensors: &[Tensor]) -> Vec<Range<usize>> {
    let mut buckets: Vec<Range<usize>> = Vec::new();
    let mut filled = BUCKET;
    for (i, tensor) in tensors.iter().enumerate() {
        match buckets.last_mut().filter(|_| filled + tensor.numel() <= BUCKET) {
            Some(bucket) => bucket.end = i + 1,
            None => {
                buckets.push(i..i + 1);
                filled = 0;
            }
        }
        filled += tensor.numel();
    }
    buckets
}

/// The sum of a tensor over the processes.
pub(super) fn sum(x: TchTensor, group: &Group) -> TchTensor {
    if !group.connects_gpus() {
        return common::sum_in_main_memory::<LibTorch>(x, group);
    }
    let x = writable(x).contiguous();
    group.sum_on_gpus(std::slice::from_ref(&x));
    TchTensor::new(x)
}

/// Statistics of the whole batch from those of this process's share: means, sums of squared differences from them, and the
/// number of values per channel.
pub(super) fn common_statistics(mean: TchTensor, squares: TchTensor, own: f64, group: &Group) -> Common<LibTorch> {
    if !group.connects_gpus() {
        return common::common_in_main_memory::<LibTorch>(mean, squares, own, group);
    }
    let (mean, squares) = (mean.tensor, squares.tensor);
    let (channels, kind, device) = (mean.size()[0], mean.kind(), mean.device());
    // An all-gather by an all-reduce: each process sets its own row and leaves 0 in the others.
    let all = Tensor::zeros([group.size() as i64, 2 * channels + 1], (Kind::Double, device));
    let [mean, squares] = [mean, squares].map(|part| part.to_kind(Kind::Double));
    let row = [mean, squares, Tensor::full([1], own, (Kind::Double, device))];
    all.get(group.rank() as i64).copy_(&Tensor::cat(&row, 0));
    group.sum_on_gpus(std::slice::from_ref(&all));
    let [means, squares] = [0, channels].map(|first| all.narrow(1, first, channels));
    let counts = all.narrow(1, 2 * channels, 1);
    let sum = |rows: Tensor| rows.sum_dim_intlist(0, false, Kind::Double);
    let count = sum(counts.shallow_clone()).clamp_min(1.0);
    let mean = sum(&means * &counts) / &count;
    let difference = sum(squares + (means - &mean).square() * counts);
    let number = |tensor: Tensor| -> FloatTensor<LibTorch> { TchTensor::new(tensor.to_kind(kind)) };
    Common {
        mean: number(mean),
        variance: number(&difference / &count),
        unbiased: number(difference / (&count - 1.0).clamp_min(1.0)),
        inverse_count: number(count.reciprocal()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::group::nccl::fake;
    use crate::nn::group::threads::as_members;

    fn float(values: &[f32]) -> TchTensor {
        TchTensor::new(Tensor::from_slice(values))
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.reshape([-1])).unwrap()
    }

    #[test]
    fn tensors_share_buckets_that_are_not_too_large() {
        let of = |sizes: &[usize]| {
            let tensors: Vec<Tensor> = sizes
                .iter()
                .map(|&size| Tensor::zeros([1], (Kind::Float, tch::Device::Cpu)).expand([size as i64], false))
                .collect();
            buckets(&tensors)
        };
        assert_eq!(of(&[]), Vec::<Range<usize>>::new());
        assert_eq!(of(&[3, BUCKET - 3, 1]), [0..2, 2..3]);
        assert_eq!(of(&[BUCKET + 5, 1, 1, BUCKET]), [0..1, 1..3, 3..4]);
    }

    #[test]
    fn sums_are_the_same_between_gpus_and_through_main_memory() {
        as_members(2, |group| {
            let own = || {
                let all = Tensor::arange(24, (Kind::Float, tch::Device::Cpu)) * (group.rank() + 1) as f64;
                [all.narrow(0, 0, 6).reshape([2, 3]).copy(), all.narrow(0, 6, 18).reshape([2, 3, 3]).copy()]
            };
            let expected = own().map(|tensor| values(&(tensor * 3.0 / (group.rank() + 1) as f64)));
            let through_memory = own();
            all_reduce(&through_memory, group);
            assert_eq!(through_memory.map(|tensor| values(&tensor)), expected);
            let before = sum(float(&[1.0, 2.0]), group);
            group.connect_by(Ok(fake::functions()), None).unwrap();
            let between_gpus = own();
            all_reduce(&between_gpus, group);
            assert_eq!(between_gpus.map(|tensor| values(&tensor)), expected);
            let shared = float(&[1.0, 2.0]);
            let held = shared.clone();
            let after = sum(shared, group);
            assert_eq!(
                [before, after, held].map(|tensor| values(&tensor.tensor)),
                [[2.0, 4.0], [2.0, 4.0], [1.0, 2.0]]
            );
        });
    }

    #[test]
    fn statistics_are_the_same_between_gpus_and_through_main_memory() {
        // Shares of 3 and 5 values; the second channel has a large mean.
        let shares: [(&[f32], &[f32], f64); 2] =
            [(&[1.0, 1000.5], &[2.0, 6.0], 3.0), (&[-1.0, 1001.25], &[0.5, 1.0], 5.0)];
        as_members(2, |group| {
            let (mean, squares, own) = shares[group.rank()];
            let found = || {
                let Common { mean, variance, unbiased, inverse_count } =
                    common_statistics(float(mean), float(squares), own, group);
                [mean, variance, unbiased, inverse_count].map(|tensor| values(&tensor.tensor)).concat()
            };
            let through_memory = found();
            group.connect_by(Ok(fake::functions()), None).unwrap();
            let between_gpus = found();
            let means = [(3.0 - 5.0) / 8.0, (3.0 * 1000.5 + 5.0 * 1001.25) / 8.0];
            let squares = [
                2.5 + 3.0 * (1.0f64 - means[0]).powi(2) + 5.0 * (-1.0 - means[0]).powi(2),
                7.0 + 3.0 * (1000.5 - means[1]).powi(2) + 5.0 * (1001.25 - means[1]).powi(2),
            ];
            let expected =
                [means, squares.map(|sum| sum / 8.0), squares.map(|sum| sum / 7.0)].concat().into_iter().chain([0.125]);
            for ((a, b), expected) in through_memory.into_iter().zip(between_gpus).zip(expected) {
                let off = |value: f32| (f64::from(value) / expected - 1.0).abs();
                assert!(off(a) < 1e-6 && off(b) < 1e-6, "{a}, {b}: {expected}");
            }
        });
    }
}
