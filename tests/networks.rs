//! Every network equals its reference implementation: names, outputs and gradients.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, HashMap};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::SafeTensors;
use segtool::model::{Network, NetworkConfig, collect, collect_gradients, replace};
use segtool::weights::Names;
use serde::Deserialize;

use common::{devices, fixture, fixture_path, floats, relative_error};

/// Sums of float32 in another order: 1e-4 leaves room, a wrong layer does not.
const TOLERANCE: f32 = 1e-4;
/// Gradients pass up to a hundred layers.
const GRADIENT_TOLERANCE: f32 = 1e-3;
/// A gradient that is this much smaller than the largest of its network is rounding.
const FLOOR: f32 = 1e-3;

const BATCH: usize = 4;
/// The generator keeps every so manieth value of an output, and so many of each gradient.
const STEP: usize = 7;
const SAMPLES: usize = 8;

/// What the generator says of a network.
#[derive(Debug, Deserialize)]
struct Case {
    config: NetworkConfig,
    names: Option<Names>,
    sizes: Vec<[usize; 2]>,
    weights: Vec<f64>,
    shapes: Vec<(String, Vec<usize>)>,
    /// The name that the numbers of the training pictures follow from.
    training: String,
}

fn cases() -> BTreeMap<String, Case> {
    let bytes = std::fs::read(fixture_path("networks.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let entries = header.metadata().as_ref().unwrap().iter().filter(|(key, _)| *key != "format");
    entries.map(|(key, text)| (key.clone(), serde_json::from_str(text).unwrap())).collect()
}

impl Case {
    /// Our name for a parameter of the reference.
    fn ours(&self, theirs: &str) -> Option<String> {
        self.names.map_or_else(|| Some(theirs.to_owned()), |names| names.ours(theirs))
    }

    /// The network with the generator's weights; its names and shapes are those of the reference.
    fn network(&self, device: &Device) -> Network {
        let network = self.config.init(0, device).unwrap();
        let mut theirs: HashMap<String, (&str, &Vec<usize>)> =
            self.shapes.iter().filter_map(|(name, shape)| Some((self.ours(name)?, (name.as_str(), shape)))).collect();
        let values: HashMap<String, TensorData> = collect(&network)
            .into_iter()
            .map(|parameter| {
                let (name, shape) = theirs.remove(&parameter.name).unwrap_or_else(|| panic!("{}", parameter.name));
                assert_eq!(&parameter.data.shape()[..], &shape[..], "{name}");
                (parameter.name, weight(name, shape.clone()))
            })
            .collect();
        // What an encoder has that the decoder does not need.
        let unused = |name: &String| name.starts_with("encoder.layer3") || name.starts_with("encoder.layer4");
        assert!(theirs.keys().all(unused), "left over: {:?}", theirs.keys());
        replace(network, |name| values.get(name).cloned())
    }

    fn bands(&self) -> usize {
        self.shapes.iter().find(|(_, shape)| shape.len() == 4).unwrap().1[1]
    }

    fn picture(&self, name: &str, batch: usize, [height, width]: [usize; 2], device: &Device) -> Tensor<4> {
        let shape = [batch, self.bands(), height, width];
        let values: Vec<f32> = numbers(name, shape.iter().product()).into_iter().map(|v| v * 1.7).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}

/// `numbers` of the generator.
fn numbers(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let number = |i: u32| {
        let mut x = i.wrapping_add(seed).wrapping_mul(0x9e37_79b1);
        x ^= x >> 15;
        x = x.wrapping_mul(0x85eb_ca77);
        x ^= x >> 13;
        (x >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count as u32).map(number).collect()
}

/// `weight` of the generator.
fn weight(name: &str, shape: Vec<usize>) -> TensorData {
    let mut values = numbers(name, shape.iter().product());
    let fan_in: usize = shape[1..].iter().product();
    for value in &mut values {
        *value = match shape.len() {
            4 => *value * (6.0 / fan_in as f32).sqrt(),
            _ if name.ends_with("running_var") => 1.0 + *value / 2.0,
            _ if name.ends_with("weight") => 0.15 + *value / 20.0,
            _ if name.ends_with("bias") => *value / 2.0 + if *value < 0.0 { -0.5 } else { 0.5 },
            _ => *value / 4.0,
        };
    }
    TensorData::new(values, shape)
}

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
                let output = floats(&network.forward(case.picture("input", 1, *size, &device)).into_data());
                let found: Vec<f32> = output.into_iter().step_by(STEP).collect();
                let [height, width] = size;
                let error = relative_error(&found, &floats(&golden[&format!("{name}.{height}x{width}")]));
                println!("{name} {height}x{width} on {choice}: {error:.1e}");
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
            let outputs = network.forward_training(case.picture(&case.training, BATCH, case.sizes[0], &device.clone().autodiff()), 0);
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
            let mut worst = 0.0f32;
            for ((theirs, _), row) in case.shapes.iter().zip(&rows).filter(|(_, row)| row[0] >= 0.0) {
                let Some(found) = case.ours(theirs).and_then(|ours| found.get(&ours)) else {
                    panic!("{name}: no gradient of {theirs}");
                };
                let largest = found.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                let picked = (0..SAMPLES).map(|i| found[i * found.len() / SAMPLES]);
                let pairs = std::iter::once(largest).chain(picked).zip(row.iter());
                let difference = pairs.fold(0.0f32, |worst, (found, expected)| worst.max((found - expected).abs()));
                let error = difference / row[0].max(FLOOR * longest);
                worst = worst.max(error);
                assert!(error < GRADIENT_TOLERANCE, "{name}, {theirs} on {choice}: {error:e}");
            }
            println!("{name}, gradients on {choice}: {worst:.1e}");
        }
    }
}
