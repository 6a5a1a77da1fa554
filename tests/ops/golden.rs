//! Outputs, statistics and gradients equal PyTorch's.

use burn::tensor::Device;

use crate::case::{Case, Results, Tensors, golden};
use crate::common::devices;

/// The golden numbers are computed in float64, so this is the error of float32 alone: sums of at most a few hundred
/// products of rounding 6e-8 stay far below, a wrong tap, weight or border does not.
const TOLERANCE: f32 = 1e-4;

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// A panic in one case is a fault like others, so that a run names all that is wrong.
fn attempt(case: &Case, tensors: &Tensors, device: &Device, wanted: &dyn Fn(&str) -> bool) -> Result<Results, String> {
    let run = std::panic::AssertUnwindSafe(|| case.run(tensors, device, wanted));
    std::panic::catch_unwind(run).map_err(|_| format!("{}: panics", case.name))
}

fn faults(case: &Case, tensors: &Tensors, device: &Device, wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
    match attempt(case, tensors, device, wanted) {
        Ok(results) => case.faults(&results, tensors, TOLERANCE),
        Err(fault) => vec![fault],
    }
}

#[test]
fn outputs_and_gradients_equal_pytorch() {
    let (cases, tensors) = golden();
    let mut found = Vec::new();
    for (choice, device) in devices() {
        for case in &cases {
            let faults = match attempt(case, &tensors, &device.clone().autodiff(), &|_| true) {
                Ok(results) => {
                    let mut expected = case.expected(&tensors);
                    expected.sort();
                    assert!(results.keys().eq(&expected), "{}: {:?}", case.name, results.keys());
                    case.faults(&results, &tensors, TOLERANCE)
                }
                Err(fault) => vec![fault],
            };
            found.extend(faults.into_iter().map(|fault| format!("{choice}: {fault}")));
        }
    }
    report(&found);
}

#[test]
fn outputs_without_differentiation_equal_pytorch() {
    let (cases, tensors) = golden();
    let mut found = Vec::new();
    for (choice, device) in devices() {
        for case in &cases {
            let faults = faults(case, &tensors, &device, &|_| false);
            found.extend(faults.into_iter().map(|fault| format!("{choice}: {fault}")));
        }
    }
    report(&found);
}

#[test]
fn gradients_of_some_inputs_alone_equal_pytorch() {
    let (cases, tensors) = golden();
    let mut found = Vec::new();
    for (choice, device) in devices() {
        let device = device.autodiff();
        for case in &cases {
            let leaves = case.leaves(&tensors);
            for leaf in leaves.iter().filter(|_| leaves.len() > 1) {
                let alone = faults(case, &tensors, &device, &|name| name == leaf);
                found.extend(alone.into_iter().map(|fault| format!("{choice}, {leaf} alone: {fault}")));
                let others = faults(case, &tensors, &device, &|name| name != leaf);
                found.extend(others.into_iter().map(|fault| format!("{choice}, all but {leaf}: {fault}")));
            }
        }
    }
    report(&found);
}

#[test]
fn the_same_computation_gives_the_same_bits() {
    let (cases, tensors) = golden();
    for (choice, device) in devices() {
        let device = device.autodiff();
        for case in &cases {
            let Ok(first) = attempt(case, &tensors, &device, &|_| true) else { continue };
            let second = case.run(&tensors, &device, &|_| true);
            assert!(first == second, "{} on {choice}", case.name);
        }
    }
}
