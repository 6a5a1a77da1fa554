//! Operations as parts of a graph: the same bits every time, nothing changed that is still used, and no gradient from
//! nothing.

use burn::tensor::{Device, Int, Tensor, TensorData};
use segtool::nn::ops::{self, ConvSettings, Interpolation, NormSettings, PoolSettings, Resampling};

use crate::common::{every_device, floats, noise};

const IGNORE: i64 = 65535;

/// Labels below 6, every seventh of them ignored.
fn labels(batch: usize, height: usize, width: usize) -> TensorData {
    let label = |i: usize| if i.is_multiple_of(7) { IGNORE } else { (i * 31 % 6) as i64 };
    TensorData::new((0..batch * height * width).map(label).collect(), [batch, height, width])
}

/// A small network's loss, running statistics and gradients.
fn network(device: &Device) -> Vec<TensorData> {
    let leaf = |seed, shape: [usize; 4]| Tensor::<4>::from_data(noise(seed, &shape), device).require_grad();
    let vector = |seed, count| Tensor::<1>::from_data(noise(seed, &[count]), device).require_grad();
    let same = ConvSettings { padding: [1, 1], ..ConvSettings::default() };
    let (x, first, last) = (leaf(1, [3, 16, 33, 31]), leaf(2, [24, 16, 3, 3]), leaf(3, [6, 24, 1, 1]));
    let (weight, bias, last_bias) = (vector(4, 24), vector(5, 24), vector(6, 6));

    let wide = ops::conv2d(x.clone(), first.clone(), None, same);
    let (mean, var) = (Tensor::zeros([24], device), Tensor::ones([24], device));
    let settings = NormSettings { momentum: 0.1, epsilon: 1e-5 };
    let done = ops::batch_norm_train(wide, weight.clone(), bias.clone(), mean, var, settings);
    let active = ops::relu(done.output);
    let pooled = ops::max_pool2d(active.clone(), PoolSettings::square(2));
    let how = Resampling { interpolation: Interpolation::Bilinear, align_corners: false };
    let means = ops::interpolate(ops::adaptive_avg_pool2d(active, [3, 3]), [16, 15], how);
    let logits = ops::conv2d(pooled + means, last.clone(), Some(last_bias.clone()), ConvSettings::default());
    let logits = ops::interpolate(logits, [33, 31], how);
    let labels = Tensor::<3, Int>::from_data(labels(3, 33, 31), device);
    let loss = ops::cross_entropy(logits, labels, None, IGNORE);
    let gradients = loss.backward();
    let images = [x, first, last].map(|leaf| leaf.grad(&gradients).unwrap().into_data());
    let vectors = [weight, bias, last_bias].map(|leaf| leaf.grad(&gradients).unwrap().into_data());
    let results = [loss, done.running_mean, done.running_var].map(Tensor::into_data);
    results.into_iter().chain(images).chain(vectors).collect()
}

fn bits(tensors: &[TensorData]) -> Vec<Vec<u32>> {
    tensors.iter().map(|data| data.iter::<f32>().map(f32::to_bits).collect()).collect()
}

#[test]
fn the_same_computation_gives_the_same_bits() {
    for (choice, device) in every_device() {
        let device = device.autodiff();
        let first = bits(&network(&device));
        for _ in 0..3 {
            assert!(bits(&network(&device)) == first, "{choice}");
        }
    }
}

/// On flex: how libtorch shares out its sums is its own affair.
#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| bits(&network(&Device::flex().autodiff())))
    };
    let one = run(1);
    assert!(run(3) == one);
    assert!(run(16) == one);
}

#[test]
#[should_panic(expected = "does not fit an image of 3 channels")]
fn a_weight_for_other_channels_is_refused() {
    let tensor = |shape: [usize; 4]| Tensor::<4>::zeros(shape, &Device::flex());
    ops::conv2d(tensor([1, 3, 5, 5]), tensor([2, 4, 3, 3]), None, ConvSettings::default());
}

#[test]
fn relu_leaves_a_tensor_alone_that_is_still_used() {
    for (choice, device) in every_device() {
        for device in [device.clone(), device.autodiff()] {
            let data = noise(1, &[2, 3, 9, 7]);
            let whole = Tensor::<4>::from_data(data.clone(), &device);
            let part = whole.clone().slice([1..2, 0..3, 0..9, 0..7]);
            let reshaped = whole.clone().reshape([1, 6, 9, 7]);
            for result in [ops::relu(whole.clone()), ops::relu(part), ops::relu(reshaped)] {
                assert!(floats(&result.into_data()).iter().all(|value| *value >= 0.0));
            }
            assert!(floats(&whole.into_data()) == floats(&data), "{choice}");
        }
    }
}

#[test]
fn running_statistics_that_are_still_used_stay() {
    for (choice, device) in every_device() {
        for device in [device.clone(), device.autodiff()] {
            let x = Tensor::<4>::from_data(noise(1, &[2, 3, 9, 7]), &device);
            let (ones, zeros) = (Tensor::<1>::ones([3], &device), Tensor::<1>::zeros([3], &device));
            let settings = NormSettings { momentum: 0.1, epsilon: 1e-5 };
            let (mean, var) = (Tensor::<1>::ones([3], &device) * 2.0, Tensor::<1>::ones([3], &device) * 3.0);
            let done = ops::batch_norm_train(x, ones, zeros, mean.clone(), var.clone(), settings);
            assert!(floats(&mean.into_data()) == [2.0; 3] && floats(&var.into_data()) == [3.0; 3], "{choice}");
            assert!(floats(&done.running_mean.into_data()).iter().all(|mean| (mean - 1.8).abs() < 0.1));
        }
    }
}

#[test]
fn running_statistics_take_no_part_in_the_graph() {
    for (_, device) in every_device() {
        let device = device.autodiff();
        let x = Tensor::<4>::from_data(noise(1, &[2, 3, 9, 7]), &device).require_grad();
        let (ones, zeros) = (Tensor::<1>::ones([3], &device), Tensor::<1>::zeros([3], &device));
        let settings = NormSettings { momentum: 0.1, epsilon: 1e-5 };
        let done = ops::batch_norm_train(x, ones.clone(), zeros.clone(), zeros, ones, settings);
        assert!(done.output.is_tracked() && !done.running_mean.is_tracked() && !done.running_var.is_tracked());
    }
}

#[test]
fn a_batch_without_labels_has_loss_0_and_gradient_0() {
    // PyTorch gives NaN: it divides 0 by 0.
    for (choice, device) in every_device() {
        let device = device.autodiff();
        for weights in [None, Some([0.5, 2.0, 1.0, 0.25])] {
            let logits = Tensor::<4>::from_data(noise(1, &[2, 4, 5, 7]), &device).require_grad();
            let labels = TensorData::new(vec![IGNORE; 2 * 5 * 7], [2, 5, 7]);
            let labels = Tensor::<3, Int>::from_data(labels, &device);
            let weights = weights.map(|weights| Tensor::<1>::from_data(weights, &device));
            let loss = ops::cross_entropy(logits.clone(), labels, weights, IGNORE);
            let gradients = (loss.clone() * 10.0).backward();
            let gradient = floats(&logits.grad(&gradients).unwrap().into_data());
            assert_eq!(loss.into_scalar::<f32>(), 0.0, "{choice}");
            assert!(gradient.iter().all(|value| *value == 0.0), "{choice}");
        }
    }
}

#[test]
#[should_panic(expected = "more than one value a channel")]
fn batch_norm_refuses_a_channel_with_a_single_value() {
    let device = Device::flex();
    let (ones, zeros) = (Tensor::<1>::ones([3], &device), Tensor::<1>::zeros([3], &device));
    let x = Tensor::<4>::zeros([1, 3, 1, 1], &device);
    let settings = NormSettings { momentum: 0.1, epsilon: 1e-5 };
    let _ = ops::batch_norm_train(x, ones.clone(), zeros.clone(), zeros, ones, settings);
}
