//! Every network equals its reference implementation: names, outputs and gradients.

use std::collections::HashMap;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use segtool::nn::device::DeviceChoice;
use segtool::nn::model::{InferenceNetwork, collect_gradients};
use segtool::nn::ops::interpolate;

use crate::common::references::{STEP, cases, numbers};
use crate::common::{devices, fixture, floats, relative_error};

/// Sums of float32 in another order: 1e-4 leaves room, a wrong layer does not.
const TOLERANCE: f32 = 1e-4;
/// Gradients pass up to a hundred layers: for each parameter, and for the median one.
const FLEX_GRADIENTS: [f32; 2] = [1e-3, 1e-3];
/// libtorch rounds as the processor has it. Some batch norms learn from two values here, and a ReLU passes a gradient or not
/// by the sign of what is nearly 0: one of them moves all gradients before it by some thousandths.
const LIBTORCH_GRADIENTS: [f32; 2] = [0.1, 1e-2];
/// A gradient that is this much smaller than the largest of its network is rounding.
const FLOOR: f32 = 1e-3;

/// The generator keeps so many values of each gradient.
const SAMPLES: usize = 8;

/// What the loss multiplies the logits with: blocks of 8x8 pixels.
fn factors(shape: [usize; 4]) -> TensorData {
    let [batch, classes, height, width] = shape;
    let (rows, columns) = (height.div_ceil(8), width.div_ceil(8));
    let blocks = numbers("loss", batch * classes * rows * columns);
    let value = |i: usize| {
        let (plane, row, column) = (i / (height * width), i / width % height, i % width);
        blocks[(plane * rows + row / 8) * columns + column / 8]
    };
    TensorData::new((0..shape.iter().product()).map(value).collect::<Vec<_>>(), shape)
}

#[test]
fn outputs_equal_the_references() {
    let golden = fixture("networks.safetensors");
    for (name, case) in cases() {
        for (choice, device) in devices() {
            let network = case.network(&device);
            for size in &case.sizes {
                let output = floats(&network.forward(case.image("input", 1, *size, &device)).into_data());
                let found: Vec<f32> = output.into_iter().step_by(STEP).collect();
                let [height, width] = size;
                let error = relative_error(&found, &floats(&golden[&format!("{name}.{height}x{width}")]));
                println!("{name} {height}x{width} on {choice}: {error:.1e}");
                assert!(error < TOLERANCE, "{name} {height}x{width} on {choice}: {error:e}");
            }
        }
    }
}

/// As prediction has them: batch norms in the convolutions, Winograd's method where it is used.
#[test]
fn folded_networks_equal_the_references() {
    let golden = fixture("networks.safetensors");
    for (name, case) in cases() {
        for (choice, device) in devices() {
            let network = InferenceNetwork::from(case.network(&device));
            for size in &case.sizes {
                let scores = network.scores(case.image("input", 1, *size, &device));
                let output = floats(&interpolate(scores.logits, *size, scores.enlargement).into_data());
                let found: Vec<f32> = output.into_iter().step_by(STEP).collect();
                let [height, width] = size;
                let error = relative_error(&found, &floats(&golden[&format!("{name}.{height}x{width}")]));
                println!("{name} {height}x{width}, folded, on {choice}: {error:.1e}");
                assert!(error < TOLERANCE, "{name} {height}x{width} on {choice}: {error:e}");
            }
        }
    }
}

#[test]
fn gradients_equal_the_references() {
    let golden = fixture("networks.safetensors");
    for (name, case) in cases() {
        let expected = floats(&golden[&format!("{name}.gradients")]);
        let rows: Vec<&[f32]> = expected.chunks(SAMPLES + 1).collect();
        let longest = rows.iter().fold(0.0f32, |longest, row| longest.max(row[0]));
        for (choice, device) in devices() {
            let network = case.network(&device).train();
            let training = &case.training;
            let images = case.image(&training.image, training.batch, training.size, &device.clone().autodiff());
            let outputs = network.forward_training(images, 0);
            let heads = [vec![(outputs.logits, 1.0)], outputs.auxiliary].concat();
            let weights: Vec<f64> = heads.iter().map(|(_, weight)| *weight).collect();
            assert_eq!(weights, case.weights, "{name}");
            let shape = heads[0].0.dims();
            let factors = Tensor::<4>::from_data(factors(shape), &device.clone().autodiff());
            let losses = heads.into_iter().map(|(logits, weight)| (logits * factors.clone()).mean().mul_scalar(weight));
            let loss = losses.reduce(|sum, loss| sum + loss).unwrap();
            let gradients = burn::optim::GradientsParams::from_grads(loss.backward(), &network);
            let found: HashMap<_, _> =
                collect_gradients(&network, &gradients).into_iter().map(|p| (p.name, floats(&p.data))).collect();
            let [limit, median_limit] = if choice == DeviceChoice::Flex { FLEX_GRADIENTS } else { LIBTORCH_GRADIENTS };
            let mut errors = Vec::new();
            for ((theirs, _), row) in case.shapes.iter().zip(&rows).filter(|(_, row)| row[0] >= 0.0) {
                let Some(found) = case.ours(theirs).and_then(|ours| found.get(&ours)) else {
                    panic!("{name}: no gradient of {theirs}");
                };
                let largest = found.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                let picked = (0..SAMPLES).map(|i| found[i * found.len() / SAMPLES]);
                let pairs = std::iter::once(largest).chain(picked).zip(row.iter());
                let difference = pairs.fold(0.0f32, |worst, (found, expected)| worst.max((found - expected).abs()));
                let error = difference / row[0].max(FLOOR * longest);
                assert!(error < limit, "{name}, {theirs} on {choice}: {error:e}");
                errors.push(error);
            }
            errors.sort_by(f32::total_cmp);
            let (median, worst) = (errors[errors.len() / 2], errors[errors.len() - 1]);
            println!("{name}, gradients on {choice}: median {median:.1e}, worst {worst:.1e}");
            assert!(median < median_limit, "{name} on {choice}: median {median:e}");
        }
    }
}
