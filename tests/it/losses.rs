//! Losses and their gradients equal those of PyTorch and of the projects they come from, with and without ignored
//! pixels.

use std::collections::HashMap;

use burn::tensor::{Device, Int, Tensor, TensorData};
use segtool::nn::activation::Activation;
use segtool::nn::loss::{Loss, LossKind, LossTerm, Target, parse_terms};
use serde::Deserialize;

use crate::common::{devices, fixture, fixture_path, floats, metadata, noise, relative_error};

const TOLERANCE: f32 = 1e-4;

/// A case of scripts/goldens/make_loss_goldens.py.
#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    loss: Vec<LossTerm>,
    activation: Activation,
    class_weights: Option<Vec<f32>>,
    logits: String,
    labels: String,
}

impl Case {
    fn loss(&self) -> Loss {
        Loss::new(&self.loss, self.activation, self.class_weights.clone()).unwrap()
    }
}

fn cases() -> Vec<Case> {
    serde_json::from_str(&metadata(&fixture_path("losses.safetensors"), "cases")).unwrap()
}

fn target(classes: &TensorData, device: &Device) -> Target {
    let values: Vec<i32> = classes.iter::<i32>().collect();
    let shape = classes.shape().to_vec();
    let complete = values.iter().all(|&c| c >= 0);
    Target { labels: Tensor::<3, Int>::from_data(TensorData::new(values, shape), device), complete }
}

/// The labels of a case: with one output there are two classes.
fn labels(golden: &HashMap<String, TensorData>, case: &Case) -> TensorData {
    let labels = &golden[&case.labels];
    let last = if case.logits == "one" { 1 } else { i32::MAX };
    TensorData::new(labels.iter::<i32>().map(|c| c.min(last)).collect::<Vec<_>>(), labels.shape().to_vec())
}

fn value_and_gradient(loss: &Loss, logits: &TensorData, target: &Target, device: &Device) -> (f32, Vec<f32>) {
    let logits = Tensor::<4>::from_data(logits.clone(), device).require_grad();
    let value = loss.compute(logits.clone(), target);
    let gradients = value.backward();
    let gradient = logits.grad(&gradients).unwrap().into_data();
    (value.into_scalar::<f32>(), floats(&gradient))
}

#[test]
fn every_loss_equals_its_reference() {
    let golden = fixture("losses.safetensors");
    let cases = cases();
    assert!(cases.len() > 100);
    let mut faults = Vec::new();
    for (choice, device) in devices() {
        let device = device.autodiff();
        for case in &cases {
            let target = target(&labels(&golden, case), &device);
            let (value, gradient) = value_and_gradient(&case.loss(), &golden[&case.logits], &target, &device);
            let expected = |what| floats(&golden[&format!("{}.{what}", case.name)]);
            let errors = [relative_error(&[value], &expected("value")), relative_error(&gradient, &expected("grad"))];
            if errors.iter().any(|error| *error > TOLERANCE) {
                faults.push(format!("{} on {choice}: value and gradient off by {errors:?}", case.name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_gradient_scales_with_what_the_loss_goes_into() {
    let golden = fixture("losses.safetensors");
    let loss = Loss::new(&parse_terms("focal+lovasz").unwrap(), Activation::Softmax, None).unwrap();
    for (choice, device) in devices() {
        let device = device.autodiff();
        let target = target(&golden["some"], &device);
        let (_, once) = value_and_gradient(&loss, &golden["classes"], &target, &device);
        let logits = Tensor::<4>::from_data(golden["classes"].clone(), &device).require_grad();
        let sum = loss.compute(logits.clone() * 1.0, &target) * 2.0 + loss.compute(logits.clone(), &target);
        let found = floats(&logits.grad(&sum.backward()).unwrap().into_data());
        let expected: Vec<f32> = once.iter().map(|g| 3.0 * g).collect();
        assert!(relative_error(&found, &expected) < 1e-6, "{choice}");
    }
}

#[test]
fn the_value_is_the_same_without_gradients() {
    let golden = fixture("losses.safetensors");
    for (choice, device) in devices() {
        let plain = device.clone();
        let device = device.autodiff();
        for case in &cases() {
            let labels = labels(&golden, case);
            let logits = &golden[&case.logits];
            let (value, _) = value_and_gradient(&case.loss(), logits, &target(&labels, &device), &device);
            let found = case.loss().compute(Tensor::from_data(logits.clone(), &plain), &target(&labels, &plain));
            assert_eq!(found.into_scalar::<f32>(), value, "{} on {choice}", case.name);
        }
    }
}

#[test]
fn a_batch_without_labels_has_a_finite_loss_and_no_gradient() {
    let golden = fixture("losses.safetensors");
    let nothing = TensorData::new(vec![-1i32; 2 * 7 * 5], [2, 7, 5]);
    for (choice, device) in devices() {
        let device = device.autodiff();
        for case in &cases() {
            let (value, gradient) =
                value_and_gradient(&case.loss(), &golden[&case.logits], &target(&nothing, &device), &device);
            assert!(value.is_finite(), "{} on {choice}", case.name);
            assert!(gradient.iter().all(|g| *g == 0.0), "{} on {choice}", case.name);
        }
    }
}

#[test]
fn pixels_that_weigh_nothing_have_no_loss_and_no_gradient() {
    let golden = fixture("losses.safetensors");
    let logits = &golden["classes"];
    let only_first = TensorData::new(vec![0i32; 2 * 7 * 5], [2, 7, 5]);
    for (choice, device) in devices() {
        let device = device.autodiff();
        for label_smoothing in [0.0, 0.1] {
            let term = LossTerm { kind: LossKind::CrossEntropy { label_smoothing }, weight: 1.0 };
            let loss = Loss::new(&[term], Activation::Softmax, Some(vec![0.0, 1.0, 1.0, 1.0])).unwrap();
            let (value, gradient) = value_and_gradient(&loss, logits, &target(&only_first, &device), &device);
            assert_eq!(value, 0.0, "{label_smoothing} on {choice}");
            assert!(gradient.iter().all(|g| *g == 0.0), "{label_smoothing} on {choice}");
        }
    }
}

#[test]
fn a_batch_of_no_images_is_no_fault() {
    for (_, device) in devices() {
        let device = device.autodiff();
        for case in &cases() {
            let outputs = if case.logits == "classes" {
                4
            } else if case.logits == "outputs" {
                3
            } else {
                1
            };
            let logits = Tensor::<4>::zeros([0, outputs, 7, 5], &device).require_grad();
            let target = Target { labels: Tensor::zeros([0, 7, 5], &device), complete: true };
            let value = case.loss().compute(logits, &target).into_scalar::<f32>();
            assert!(value.is_finite(), "{}", case.name);
        }
    }
}

/// Logits of which a network is as certain as float32 allows, right or wrong everywhere.
#[test]
fn certain_networks_have_finite_gradients() {
    let golden = fixture("losses.safetensors");
    for (choice, device) in devices() {
        let device = device.autodiff();
        for case in &cases() {
            let labels = labels(&golden, case);
            let outputs = golden[&case.logits].shape()[1];
            let first = usize::from(case.activation == Activation::Sigmoid);
            let classes: Vec<i32> = labels.iter().collect();
            for height in [200.0f32, -200.0, 20.0] {
                let value = |i: usize| {
                    let (image, output, pixel) = (i / (35 * outputs), i / 35 % outputs, i % 35);
                    let there = classes[image * 35 + pixel] == (output + first) as i32;
                    if there { height } else { -height }
                };
                let logits =
                    TensorData::new((0..2 * outputs * 35).map(value).collect::<Vec<f32>>(), [2, outputs, 7, 5]);
                let (value, gradient) = value_and_gradient(&case.loss(), &logits, &target(&labels, &device), &device);
                let finite = value.is_finite() && gradient.iter().all(|g| g.is_finite());
                assert!(finite, "{} at {height} on {choice}: {value}", case.name);
            }
        }
    }
}

/// Sixteen images of 256x256: the sums that losses are made of, in float32 on the device and in float64 here.
#[test]
fn sums_over_a_million_pixels_are_exact() {
    let (batch, side) = (16, 256);
    let logits = noise(5, &[batch, 1, side, side]);
    let scores = floats(&logits);
    let truth: Vec<i32> = scores.iter().enumerate().map(|(i, x)| i32::from(*x > 0.5 || i % 100 == 0)).collect();
    let probability = |x: &f32| 1.0 / (1.0 + (-f64::from(*x)).exp());
    let sums = scores.iter().zip(&truth).fold([0.0; 4], |[both, predicted, present, log], (x, &t)| {
        let (p, t) = (probability(x), f64::from(t));
        [both + p * t, predicted + p, present + t, log - if t > 0.5 { p.ln() } else { (1.0 - p).ln() }]
    });
    let [both, predicted, present, log] = sums;
    let dice = 1.0 - (2.0 * both + 1.0) / (predicted + present + 1.0);
    let bce = log / scores.len() as f64;
    let hinge = hinge(&scores, &truth);
    for (choice, device) in devices() {
        let device = device.autodiff();
        let classes = TensorData::new(truth.clone(), [batch, side, side]);
        let target = target(&classes, &device);
        for (name, expected) in [("dice", dice), ("bce", bce), ("lovasz", hinge)] {
            let loss = Loss::new(&parse_terms(name).unwrap(), Activation::Sigmoid, None).unwrap();
            let (found, _) = value_and_gradient(&loss, &logits, &target, &device);
            let error = (f64::from(found) / expected - 1.0).abs();
            assert!(error < 2e-6, "{name} on {choice}: {found} instead of {expected}, {error:e}");
        }
    }
}

/// The Lovasz hinge as the paper's algorithm 1 has it.
fn hinge(scores: &[f32], truth: &[i32]) -> f64 {
    let mut pixels: Vec<(f64, i32)> =
        scores.iter().zip(truth).map(|(&x, &t)| (1.0 - f64::from(x) * f64::from(2 * t - 1), t)).collect();
    pixels.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut intersection = truth.iter().map(|&t| f64::from(t)).sum::<f64>();
    let (mut union, mut before, mut sum) = (intersection, 0.0, 0.0);
    for (error, t) in pixels {
        intersection -= f64::from(t);
        union += f64::from(1 - t);
        let jaccard = 1.0 - intersection / union;
        sum += error.max(0.0) * (jaccard - before);
        before = jaccard;
    }
    sum
}

/// On libtorch: flex does not compute in bfloat16.
#[cfg(feature = "libtorch")]
#[test]
fn losses_of_bfloat16_logits_are_float32() {
    use burn::tensor::DType;
    let golden = fixture("losses.safetensors");
    for (_, device) in devices() {
        for case in &cases() {
            let target = target(&labels(&golden, case), &device);
            let logits = Tensor::<4>::from_data(golden[&case.logits].clone(), &device).cast(DType::BF16);
            let rounded = case.loss().compute(logits.clone().cast(DType::F32), &target);
            let found = case.loss().compute(logits, &target);
            assert_eq!(found.dtype(), DType::F32);
            assert_eq!(found.into_scalar::<f32>(), rounded.into_scalar::<f32>(), "{}", case.name);
        }
    }
}
