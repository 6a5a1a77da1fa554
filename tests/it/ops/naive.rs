//! Convolutions larger than the golden ones, with sides that no tile size divides, against the definition: plain loops in
//! float64.

use burn::tensor::{Tensor, TensorData};
use segtool::nn::ops::{self, ConvSettings, ConvTransposeSettings};

use crate::common::{every_device, floats, noise, relative_error};

/// Sums of up to some ten thousand float32 numbers against float64; they lose 1e-6, and a wrong tile far more.
pub(crate) const TOLERANCE: f32 = 1e-4;

pub(crate) fn wide(data: &TensorData) -> Vec<f64> {
    data.iter::<f64>().collect()
}

/// Fails if `found` is not `expected`.
pub(crate) fn compare(what: &str, found: &TensorData, expected: &[f64]) {
    let expected: Vec<f32> = expected.iter().map(|&value| value as f32).collect();
    let error = relative_error(&floats(found), &expected);
    assert!(error <= TOLERANCE, "{what}: {error:e}");
}

/// A convolution's sizes.
#[derive(Debug, Clone, Copy)]
struct Convolution {
    batch: usize,
    inputs: usize,
    outputs: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    settings: ConvSettings,
}

impl Convolution {
    fn output(&self) -> [usize; 2] {
        let ConvSettings { stride, padding, dilation, .. } = self.settings;
        [0, 1].map(|i| (self.size[i] + 2 * padding[i] - dilation[i] * (self.kernel[i] - 1) - 1) / stride[i] + 1)
    }

    fn shapes(&self) -> [Vec<usize>; 3] {
        let Self { batch, inputs, outputs, size: [height, width], kernel: [rows, columns], settings } = *self;
        let [below, right] = self.output();
        [
            vec![batch, inputs, height, width],
            vec![outputs, inputs / settings.groups, rows, columns],
            vec![batch, outputs, below, right],
        ]
    }

    /// Calls `visit` with the place in input, weight and output of every product that the convolution sums.
    fn products(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let [height, width] = self.size;
        let [rows, columns] = self.kernel;
        let [below, right] = self.output();
        let ConvSettings { stride, padding, dilation, groups } = self.settings;
        let (in_group, out_group) = (self.inputs / groups, self.outputs / groups);
        let at = |i: usize, step: usize, tap: usize, axis: usize, side: usize| {
            (i * step + tap * dilation[axis]).checked_sub(padding[axis]).filter(|&place| place < side)
        };
        for (image, output) in (0..self.batch).flat_map(|n| (0..self.outputs).map(move |o| (n, o))) {
            for (channel, row) in (0..in_group).flat_map(|c| (0..rows).map(move |r| (c, r))) {
                let input = output / out_group * in_group + channel;
                for (y, column) in (0..below).flat_map(|y| (0..columns).map(move |c| (y, c))) {
                    let Some(source) = at(y, stride[0], row, 0, height) else { continue };
                    let weight = ((output * in_group + channel) * rows + row) * columns + column;
                    let from = ((image * self.inputs + input) * height + source) * width;
                    let to = ((image * self.outputs + output) * below + y) * right;
                    for x in 0..right {
                        if let Some(source) = at(x, stride[1], column, 1, width) {
                            visit(from + source, weight, to + x);
                        }
                    }
                }
            }
        }
    }
}

/// Adds the bias to images of `pixels` and returns the bias's gradient.
fn add_bias(images: &mut [f64], bias: &[f64], upstream: &[f64], pixels: usize) -> Vec<f64> {
    let mut gradient = vec![0.0; bias.len()];
    for (i, (image, upstream)) in images.chunks_mut(pixels).zip(upstream.chunks(pixels)).enumerate() {
        let channel = i % bias.len();
        image.iter_mut().for_each(|value| *value += bias[channel]);
        gradient[channel] += upstream.iter().sum::<f64>();
    }
    gradient
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Transposed,
}

/// Output and gradients of the convolution `conv`, or of its transpose, whose input is the convolution's output.
fn expected(conv: Convolution, direction: Direction, [x, weight, bias, upstream]: [&TensorData; 4]) -> [Vec<f64>; 4] {
    let pixels = upstream.shape()[2] * upstream.shape()[3];
    let [x, weight, bias, upstream] = [x, weight, bias, upstream].map(wide);
    let [mut y, mut dx, mut dw] = [&upstream, &x, &weight].map(|like| vec![0.0; like.len()]);
    let mut add = |i: usize, w: usize, o: usize| {
        y[o] += x[i] * weight[w];
        dx[i] += upstream[o] * weight[w];
        dw[w] += upstream[o] * x[i];
    };
    match direction {
        Direction::Forward => conv.products(add),
        Direction::Transposed => conv.products(|o, w, i| add(i, w, o)),
    }
    let db = add_bias(&mut y, &bias, &upstream, pixels);
    [y, dx, dw, db]
}

fn run(conv: Convolution, direction: Direction, x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    if direction == Direction::Forward {
        return ops::conv2d(x, weight, Some(bias), conv.settings);
    }
    let [_, _, height, width] = x.dims();
    let plain = ConvTransposeSettings { conv: conv.settings, output_padding: [0, 0] };
    let sides = plain.output([height, width], conv.kernel);
    let settings = ConvTransposeSettings { output_padding: [0, 1].map(|i| conv.size[i] - sides[i]), ..plain };
    ops::conv_transpose2d(x, weight, Some(bias), settings)
}

fn check(conv: Convolution, direction: Direction) {
    let [input, kernel, output] = conv.shapes();
    let (input, output) = if direction == Direction::Forward { (input, output) } else { (output, input) };
    let numbers = [noise(1, &input), noise(2, &kernel), noise(3, &[output[1]]), noise(4, &output)];
    let expected = expected(conv, direction, numbers.each_ref());
    for (choice, device) in every_device() {
        let device = device.autodiff();
        let [x, weight, bias, upstream] = numbers.clone();
        let x = Tensor::<4>::from_data(x, &device).require_grad();
        let weight = Tensor::<4>::from_data(weight, &device).require_grad();
        let bias = Tensor::<1>::from_data(bias, &device).require_grad();
        let y = run(conv, direction, x.clone(), weight.clone(), bias.clone());
        assert_eq!(y.dims(), output[..], "{conv:?} {direction:?} on {choice}");
        let gradients = (y.clone() * Tensor::from_data(upstream, &device)).sum().backward();
        let [dx, dw] = [x, weight].map(|leaf| leaf.grad(&gradients).unwrap().into_data());
        let db = bias.grad(&gradients).unwrap().into_data();
        for ((what, found), expected) in
            [("output", y.into_data()), ("input", dx), ("weight", dw), ("bias", db)].iter().zip(&expected)
        {
            compare(&format!("{what} of {conv:?} {direction:?} on {choice}"), found, expected);
        }
    }
}

/// Batch, inputs, outputs; sides of the input; sides of the kernel; stride, padding, dilation, groups.
type Row = ([usize; 3], [usize; 2], [usize; 2], [usize; 4]);

fn convolution(([batch, inputs, outputs], size, kernel, [stride, padding, dilation, groups]): Row) -> Convolution {
    let settings = ConvSettings { stride: [stride; 2], padding: [padding; 2], dilation: [dilation; 2], groups };
    Convolution { batch, inputs, outputs, size, kernel, settings }
}

#[test]
fn three_by_three() {
    check(convolution(([2, 70, 66], [37, 53], [3, 3], [1, 1, 1, 1])), Direction::Forward);
}

#[test]
fn one_by_one() {
    check(convolution(([2, 130, 71], [41, 33], [1, 1], [1, 0, 1, 1])), Direction::Forward);
    check(convolution(([3, 19, 37], [45, 38], [1, 1], [2, 0, 1, 1])), Direction::Forward);
}

#[test]
fn stride() {
    check(convolution(([2, 33, 40], [45, 38], [3, 3], [2, 1, 1, 1])), Direction::Forward);
    check(convolution(([3, 3, 35], [61, 84], [7, 7], [2, 3, 1, 1])), Direction::Forward);
}

#[test]
fn dilation() {
    check(convolution(([1, 40, 35], [39, 45], [3, 3], [1, 2, 2, 1])), Direction::Forward);
    check(convolution(([2, 17, 19], [33, 29], [3, 3], [1, 12, 12, 1])), Direction::Forward);
}

#[test]
fn groups() {
    check(convolution(([2, 48, 70], [29, 35], [3, 3], [1, 1, 1, 2])), Direction::Forward);
    check(convolution(([1, 67, 67], [40, 70], [3, 3], [1, 1, 1, 67])), Direction::Forward);
}

#[test]
fn long_thin_and_many_images() {
    check(convolution(([1, 8, 9], [5, 1100], [3, 3], [1, 1, 1, 1])), Direction::Forward);
    check(convolution(([1, 5, 7], [1100, 6], [3, 3], [1, 1, 1, 1])), Direction::Forward);
    check(convolution(([37, 6, 7], [9, 11], [3, 3], [1, 1, 1, 1])), Direction::Forward);
    check(convolution(([1, 300, 270], [7, 5], [3, 3], [1, 1, 1, 1])), Direction::Forward);
}

#[test]
fn transposed() {
    check(convolution(([2, 34, 70], [38, 46], [2, 2], [2, 0, 1, 1])), Direction::Transposed);
    check(convolution(([2, 35, 33], [38, 46], [3, 3], [2, 1, 1, 1])), Direction::Transposed);
    check(convolution(([1, 48, 37], [34, 42], [4, 4], [2, 1, 1, 1])), Direction::Transposed);
    check(convolution(([2, 26, 38], [29, 31], [3, 3], [1, 1, 1, 2])), Direction::Transposed);
}

/// [`ops::conv2d_relu`], with and without bias and shortcut.
fn check_rectified(conv: Convolution) {
    let [input, kernel, output] = conv.shapes();
    let numbers = [noise(1, &input), noise(2, &kernel), noise(3, &[output[1]]), noise(4, &output)];
    let [sums, ..] = expected(conv, Direction::Forward, numbers.each_ref());
    let [x, weight, bias, shortcut] = numbers;
    let pixels = output[2] * output[3];
    for (choice, device) in every_device() {
        for (has_bias, has_shortcut) in [(true, true), (true, false), (false, false)] {
            let value = |(i, sum): (usize, &f64)| {
                let bias = if has_bias { 0.0 } else { -wide(&bias)[i / pixels % output[1]] };
                sum + bias
            };
            let mut expected: Vec<f64> =
                if has_bias { sums.clone() } else { sums.iter().enumerate().map(value).collect() };
            if has_shortcut {
                expected.iter_mut().zip(wide(&shortcut)).for_each(|(value, shortcut)| *value += shortcut);
            }
            expected.iter_mut().for_each(|value| *value = value.max(0.0));
            let put = |data: &TensorData| Tensor::<4>::from_data(data.clone(), &device);
            let bias = has_bias.then(|| Tensor::<1>::from_data(bias.clone(), &device));
            let y = ops::conv2d_relu(put(&x), put(&weight), bias, has_shortcut.then(|| put(&shortcut)), conv.settings);
            compare(&format!("{conv:?}, rectified, on {choice}"), &y.into_data(), &expected);
        }
    }
}

#[test]
fn rectified() {
    for row in [
        ([2, 70, 66], [37, 53], [3, 3], [1, 1, 1, 1]),
        ([1, 40, 35], [39, 45], [3, 3], [1, 2, 2, 1]),
        ([2, 33, 40], [33, 29], [3, 3], [1, 4, 4, 1]),
        ([1, 64, 32], [17, 19], [3, 3], [1, 0, 1, 1]),
        ([1, 32, 32], [16, 23], [3, 3], [1, 3, 2, 1]),
        ([1, 300, 40], [12, 9], [3, 3], [1, 1, 1, 1]),
        // More tiles than are computed at once: in an image, over images, in a single row.
        ([2, 32, 32], [97, 101], [3, 3], [1, 1, 1, 1]),
        ([2, 32, 32], [97, 101], [3, 3], [1, 2, 2, 1]),
        ([1, 32, 32], [5, 2100], [3, 3], [1, 1, 1, 1]),
        ([1, 32, 33], [1, 40], [3, 3], [1, 1, 1, 1]),
        ([1, 40, 40], [45, 38], [3, 3], [2, 1, 1, 1]),
        ([2, 130, 71], [41, 33], [1, 1], [1, 0, 1, 1]),
        ([2, 48, 70], [29, 35], [3, 3], [1, 1, 1, 2]),
        ([1, 67, 67], [40, 70], [3, 3], [1, 1, 1, 67]),
        ([1, 3, 64], [61, 84], [7, 7], [2, 3, 1, 1]),
    ] {
        check_rectified(convolution(row));
    }
}
