//! The other operations on larger images than the golden ones, against their definitions in float64.

use burn::tensor::{Int, Tensor, TensorData};
use segtool::nn::ops::{self, Interpolation, NormSettings, PoolSettings, Resampling};

use super::naive::{compare, wide};
use crate::common::{every_device, floats, noise};

const SHAPE: [usize; 4] = [2, 33, 61, 83];

/// Compares an operation with one input, and its gradient for the sum of output * upstream, with what `expected` makes of
/// input and upstream.
fn check(
    what: &str,
    shape: [usize; 4],
    output: [usize; 2],
    run: impl Fn(Tensor<4>) -> Tensor<4>,
    expected: impl Fn(&[f64], &[f64]) -> (Vec<f64>, Vec<f64>),
) {
    let (x, upstream) = (noise(1, &shape), noise(2, &[shape[0], shape[1], output[0], output[1]]));
    let (y, dx) = expected(&wide(&x), &wide(&upstream));
    for (choice, device) in every_device() {
        let device = device.autodiff();
        let x = Tensor::<4>::from_data(x.clone(), &device).require_grad();
        let found = run(x.clone());
        assert_eq!(found.dims(), upstream.shape()[..], "{what} on {choice}");
        let gradients = (found.clone() * Tensor::from_data(upstream.clone(), &device)).sum().backward();
        compare(&format!("{what} on {choice}"), &found.into_data(), &y);
        compare(&format!("gradient of {what} on {choice}"), &x.grad(&gradients).unwrap().into_data(), &dx);
    }
}

/// For every output along an axis its inputs and their weights.
type Axis = Vec<Vec<(usize, f64)>>;

/// A weighted sum along rows and along columns, and its gradient.
fn separable([rows, columns]: [Axis; 2], [height, width]: [usize; 2], x: &[f64], up: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (mut y, mut dx) = (vec![0.0; up.len()], vec![0.0; x.len()]);
    for plane in 0..x.len() / (height * width) {
        for (i, row) in rows.iter().enumerate() {
            for (j, column) in columns.iter().enumerate() {
                let to = (plane * rows.len() + i) * columns.len() + j;
                for ((r, a), (c, b)) in row.iter().flat_map(|r| column.iter().map(move |c| (r, c))) {
                    let from = (plane * height + r) * width + c;
                    y[to] += a * b * x[from];
                    dx[from] += a * b * up[to];
                }
            }
        }
    }
    (y, dx)
}

/// Means over areas from the floor of their first border to the ceiling of their last.
fn means(input: usize, output: usize) -> Axis {
    let area = |i: usize| (i * input / output)..((i + 1) * input).div_ceil(output);
    (0..output).map(|i| area(i).map(|place| (place, 1.0 / area(i).len() as f64)).collect()).collect()
}

fn taps(input: usize, output: usize, how: Resampling) -> Axis {
    let last = input as i64 - 1;
    let source = |i: usize| match how.align_corners {
        true => i as f64 * last as f64 / (output - 1) as f64,
        false => (i as f64 + 0.5) * input as f64 / output as f64 - 0.5,
    };
    let near = |t: f64| (1.25 * t - 2.25) * t * t + 1.0;
    let far = |t: f64| ((-0.75 * t + 3.75) * t - 6.0) * t + 3.0;
    let at = |i: usize| {
        let place = source(i);
        let (first, t) = (place.floor() as i64, place - place.floor());
        let weights = match how.interpolation {
            Interpolation::Nearest => return vec![(i * input / output, 1.0)],
            Interpolation::Bilinear => vec![(0, 1.0 - t), (1, t)],
            Interpolation::Bicubic => vec![(-1, far(1.0 + t)), (0, near(t)), (1, near(1.0 - t)), (2, far(2.0 - t))],
        };
        weights.into_iter().map(|(step, weight)| ((first + step).clamp(0, last) as usize, weight)).collect()
    };
    (0..output).map(at).collect()
}

#[test]
fn interpolation() {
    let shape = [2, 19, 37, 53];
    let sides = [shape[2], shape[3]];
    for size in [[74, 106], [150, 99], [20, 31]] {
        for interpolation in [Interpolation::Nearest, Interpolation::Bilinear, Interpolation::Bicubic] {
            for align_corners in [true, false] {
                let how = Resampling { interpolation, align_corners };
                let axes = || [0, 1].map(|i| taps(sides[i], size[i], how));
                let run = |x| ops::interpolate(x, size, how);
                check(&format!("{how:?} to {size:?}"), shape, size, run, |x, up| separable(axes(), sides, x, up));
            }
        }
    }
}

#[test]
fn average_pooling() {
    let sides = [SHAPE[2], SHAPE[3]];
    for size in [[1, 1], [6, 6], [3, 5], [70, 70]] {
        let axes = || [0, 1].map(|i| means(sides[i], size[i]));
        let run = |x| ops::adaptive_avg_pool2d(x, size);
        check(&format!("means {size:?}"), SHAPE, size, run, |x, up| separable(axes(), sides, x, up));
    }
}

/// Maxima and their gradient; of equal pixels the first wins.
fn maxima(settings: PoolSettings, [height, width]: [usize; 2], x: &[f64], up: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let PoolSettings { kernel, stride, padding, .. } = settings;
    let [below, right] = [(height, 0), (width, 1)].map(|(side, i)| (side + 2 * padding[i] - kernel[i]) / stride[i] + 1);
    let (mut y, mut dx) = (Vec::new(), vec![0.0; x.len()]);
    let range = |i: usize, axis: usize, side: usize| {
        let start = i * stride[axis];
        start.saturating_sub(padding[axis])..(start + kernel[axis] - padding[axis]).min(side)
    };
    for (plane, pixels) in x.chunks(height * width).enumerate() {
        for (i, j) in (0..below).flat_map(|i| (0..right).map(move |j| (i, j))) {
            let window = range(i, 0, height).flat_map(|r| range(j, 1, width).map(move |c| r * width + c));
            let best = window.reduce(|best, other| if pixels[other] > pixels[best] { other } else { best }).unwrap();
            dx[plane * height * width + best] += up[y.len()];
            y.push(pixels[best]);
        }
    }
    (y, dx)
}

#[test]
fn max_pooling() {
    let three = PoolSettings { kernel: [3, 3], stride: [2, 2], padding: [1, 1], ..PoolSettings::square(3) };
    for (settings, size) in [(PoolSettings::square(2), [30, 41]), (three, [31, 42])] {
        let run = |x| ops::max_pool2d(x, settings);
        check("maxima", SHAPE, size, run, |x, up| maxima(settings, [SHAPE[2], SHAPE[3]], x, up));
    }
}

#[test]
fn relu() {
    let expected = |x: &[f64], up: &[f64]| {
        let dx = x.iter().zip(up).map(|(x, up)| if *x > 0.0 { *up } else { 0.0 }).collect();
        (x.iter().map(|x| x.max(0.0)).collect(), dx)
    };
    check("relu", SHAPE, [SHAPE[2], SHAPE[3]], ops::relu, expected);
}

/// Numbers of a channel, in the order of images.
fn channel(all: &[f64], [_, channels, height, width]: [usize; 4], channel: usize) -> Vec<f64> {
    all.chunks(height * width).skip(channel).step_by(channels).flatten().copied().collect()
}

/// By channel: output, gradients of input, weight and bias, and mean and unbiased variance.
fn normed(x: &[f64], up: &[f64], weight: f64, bias: f64, epsilon: f64) -> (Vec<f64>, Vec<f64>, [f64; 4]) {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let scale = 1.0 / (var + epsilon).sqrt();
    let hat: Vec<f64> = x.iter().map(|x| (x - mean) * scale).collect();
    let db = up.iter().sum::<f64>();
    let dw = up.iter().zip(&hat).map(|(up, hat)| up * hat).sum::<f64>();
    let dx = up.iter().zip(&hat).map(|(up, hat)| weight * scale * (up - db / count - hat * dw / count)).collect();
    (hat.iter().map(|hat| weight * hat + bias).collect(), dx, [dw, db, mean, var * count / (count - 1.0)])
}

#[test]
fn batch_norm() {
    let settings = NormSettings { momentum: 0.3, epsilon: 1e-3 };
    for shape in [[2, 67, 37, 53], [1, 5, 211, 307], [5, 130, 7, 5]] {
        let [_, channels, ..] = shape;
        let [x, upstream] = [noise(1, &shape), noise(2, &shape)];
        let [weight, bias, mean] = [3, 4, 5].map(|seed| noise(seed, &[channels]));
        for (choice, device) in every_device() {
            let device = device.autodiff();
            let x_leaf = Tensor::<4>::from_data(x.clone(), &device).require_grad();
            let [w, b] = [&weight, &bias].map(|data| Tensor::<1>::from_data(data.clone(), &device).require_grad());
            let [old_mean, old_var] = [Tensor::from_data(mean.clone(), &device), Tensor::ones([channels], &device)];
            let done = ops::batch_norm_train(x_leaf.clone(), w.clone(), b.clone(), old_mean, old_var, settings);
            let all = (done.output.clone() * Tensor::from_data(upstream.clone(), &device)).sum().backward();
            let [y, dx] = [done.output, x_leaf.grad(&all).unwrap()].map(|tensor| wide(&tensor.into_data()));
            let by_channel = [w.grad(&all).unwrap(), b.grad(&all).unwrap(), done.running_mean, done.running_var];
            let by_channel = by_channel.map(|tensor| wide(&tensor.into_data()));
            let mut expected: [Vec<f64>; 4] = Default::default();
            for c in 0..channels {
                let [x, upstream, y, dx] = [&wide(&x), &wide(&upstream), &y, &dx].map(|all| channel(all, shape, c));
                let (wanted_y, wanted_dx, [dw, db, new_mean, new_var]) =
                    normed(&x, &upstream, wide(&weight)[c], wide(&bias)[c], settings.epsilon);
                compare(&format!("channel {c} of {shape:?} on {choice}"), &data(y), &wanted_y);
                compare(&format!("gradient of channel {c} of {shape:?} on {choice}"), &data(dx), &wanted_dx);
                let kept = 1.0 - settings.momentum;
                let (mean, var) =
                    (kept * wide(&mean)[c] + settings.momentum * new_mean, kept + settings.momentum * new_var);
                expected.iter_mut().zip([dw, db, mean, var]).for_each(|(all, value)| all.push(value));
            }
            for ((what, found), expected) in ["weight", "bias", "mean", "var"].iter().zip(by_channel).zip(&expected) {
                compare(&format!("{what} of {shape:?} on {choice}"), &data(found), expected);
            }
        }
    }
}

fn data(values: Vec<f64>) -> TensorData {
    let count = values.len();
    TensorData::new(values, [count])
}

/// The loss and its gradient.
fn entropy(logits: &[f64], labels: &[i64], weights: &[f64], pixels: usize) -> (f64, Vec<f64>) {
    let classes = weights.len();
    let (mut sum, mut total, mut gradient) = (0.0, 0.0, vec![0.0; logits.len()]);
    for (pixel, &label) in labels.iter().enumerate().filter(|(_, label)| **label != IGNORE) {
        let (weight, at) =
            (weights[label as usize], |class: usize| (pixel / pixels * classes + class) * pixels + pixel % pixels);
        let all: f64 = (0..classes).map(|class| logits[at(class)].exp()).sum();
        sum += weight * (all.ln() - logits[at(label as usize)]);
        total += weight;
        for class in 0..classes {
            let hit = if class == label as usize { 1.0 } else { 0.0 };
            gradient[at(class)] = weight * (logits[at(class)].exp() / all - hit);
        }
    }
    gradient.iter_mut().for_each(|value| *value /= total);
    (sum / total, gradient)
}

const IGNORE: i64 = 65535;

#[test]
fn cross_entropy() {
    for [batch, classes, height, width] in [[2, 19, 61, 67], [3, 2, 130, 133], [1, 70, 33, 35]] {
        let logits = noise(1, &[batch, classes, height, width]);
        let weights: Vec<f32> = floats(&noise(2, &[classes])).iter().map(|weight| weight + 1.5).collect();
        // A fifth of the labels is beyond the classes: ignored.
        let draw = |value: f32| ((value + 1.0) * 0.5 * 1.25 * classes as f32) as i64;
        let draw = |value: &f32| Some(draw(*value)).filter(|label| *label < classes as i64).unwrap_or(IGNORE);
        let labels: Vec<i64> = floats(&noise(3, &[batch * height * width])).iter().map(draw).collect();
        let given: Vec<f64> = weights.iter().map(|&weight| weight.into()).collect();
        for weights in [None, Some(weights)] {
            let factors = if weights.is_some() { given.clone() } else { vec![1.0; classes] };
            let (loss, gradient) = entropy(&wide(&logits), &labels, &factors, height * width);
            for (choice, device) in every_device() {
                let device = device.autodiff();
                let x = Tensor::<4>::from_data(logits.clone(), &device).require_grad();
                let labels = TensorData::new(labels.clone(), [batch, height, width]);
                let labels = Tensor::<3, Int>::from_data(labels, &device);
                let weights =
                    weights.clone().map(|weights| Tensor::from_data(TensorData::new(weights, [classes]), &device));
                let found = ops::cross_entropy(x.clone(), labels, weights, IGNORE);
                let gradients = found.backward();
                compare(&format!("loss of {classes} classes on {choice}"), &found.into_data(), &[loss]);
                let found = x.grad(&gradients).unwrap().into_data();
                compare(&format!("gradient of {classes} classes on {choice}"), &found, &gradient);
            }
        }
    }
}

#[test]
fn argmax() {
    for shape in [[2, 19, 61, 67], [3, 2, 1, 5], [1, 150, 33, 32]] {
        // Rounded, so that the largest value often comes more than once: the first counts.
        let values: Vec<f32> = floats(&noise(1, &shape)).iter().map(|value| (value * 9.0).round()).collect();
        let [batch, channels, height, width] = shape;
        let largest = |i: usize| {
            let (image, pixel) = (i / (height * width), i % (height * width));
            let value = |channel: usize| values[(image * channels + channel) * height * width + pixel];
            (1..channels).fold(0, |best, channel| if value(channel) > value(best) { channel } else { best }) as i64
        };
        let expected: Vec<i64> = (0..batch * height * width).map(largest).collect();
        for (choice, device) in every_device() {
            for device in [device.clone(), device.autodiff()] {
                let x = Tensor::<4>::from_data(TensorData::new(values.clone(), shape), &device);
                let found = ops::argmax_channels(x).into_data();
                assert_eq!(found.shape()[..], [batch, height, width]);
                assert_eq!(found.iter::<i64>().collect::<Vec<_>>(), expected, "{shape:?} on {choice}");
            }
        }
    }
}
