//! Gradients equal difference quotients of the outputs: a check that owes nothing to PyTorch. On flex.

use burn::tensor::{Device, TensorData};

use super::case::{Case, Form, Results, Tensors, golden};
use crate::common::floats;

/// Half the distance of the two outputs. Where an operation is linear in the input, the quotient has no error of its own;
/// elsewhere it has STEP² / 6 of the third derivative, about 1e-4.
const STEP: f32 = 1.0 / 32.0;

/// Beside that, outputs rounded by 6e-8 and divided by 2 STEP cost 1e-6 of gradients of about 1, and 1e-4 of the
/// cross-entropy's, which are of about 1e-2.
const TOLERANCE: f64 = 1e-3;

/// Numbers tried of each input.
const TRIED: usize = 24;

/// The sum over outputs of output * upstream, in float64.
fn loss(case: &Case, results: &Results, tensors: &Tensors) -> f64 {
    let part = |(name, output): (&String, &TensorData)| {
        let upstream = tensors.get(&format!("{}.{name}.upstream", case.name))?;
        Some(output.iter::<f64>().zip(upstream.iter::<f64>()).map(|(a, b)| a * b).sum::<f64>())
    };
    results.iter().filter_map(part).sum()
}

fn check(name: &str) {
    let (cases, mut tensors) = golden();
    let case = cases.iter().find(|case| case.name == name).unwrap();
    let device = Device::flex();
    let results = case.run(&tensors, &device.clone().autodiff(), Form::Plain, &|_| true);
    for leaf in case.leaves(&tensors) {
        let gradient = floats(&results[&format!("{leaf}.grad")]);
        let largest = gradient.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        let key = format!("{name}.{leaf}");
        let original = tensors[&key].clone();
        for place in (0..gradient.len()).step_by(gradient.len().div_ceil(TRIED)) {
            let mut at = |step: f32| {
                let mut values = floats(&original);
                values[place] += step;
                tensors.insert(key.clone(), TensorData::new(values, original.shape().clone()));
                loss(case, &case.run(&tensors, &device, Form::Plain, &|_| false), &tensors)
            };
            let quotient = (at(STEP) - at(-STEP)) / f64::from(2.0 * STEP);
            let error = (quotient - f64::from(gradient[place])).abs() / f64::from(largest);
            assert!(error < TOLERANCE, "{key} {place}: {quotient} for {}, error {error:e}", gradient[place]);
        }
        tensors.insert(key, original);
    }
}

#[test]
fn convolution() {
    check("conv2d groups 2 stride 2");
    check("conv2d 3x3 dilation 2 stride 2 left over");
}

#[test]
fn transposed_convolution() {
    check("conv_transpose2d 3x3 stride 2 output padding");
}

#[test]
fn batch_norm() {
    check("batch_norm_train batch 3");
    check("batch_norm_infer batch 3");
}

#[test]
fn interpolation() {
    check("interpolate bilinear 5x7 to 11x16");
    check("interpolate bicubic corners 8x6 to 3x5");
}

#[test]
fn cross_entropy() {
    check("cross_entropy weights and ignored pixels");
}
