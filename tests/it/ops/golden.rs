//! Outputs, statistics and gradients equal PyTorch's.

use super::case::{Case, Form, Results, Tensors, golden};
use crate::common::{devices, every_device};

/// The golden numbers are computed in float64, so this is the error of float32 alone: sums of at most a few hundred
/// products of rounding 6e-8 stay far below, a wrong tap, weight or border does not.
const TOLERANCE: f32 = 1e-4;

/// Numbers in bfloat16 have 8 bits: inputs, weights, outputs and gradients are each rounded by up to 2e-3.
const BFLOAT16_TOLERANCE: f32 = 2e-2;

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// A panic in one case is a fault like others, so that a test names all that is wrong.
fn attempt(run: impl FnOnce() -> Results) -> Result<Results, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?").to_owned()
    })
}

fn faults(case: &Case, tensors: &Tensors, tolerance: f32, run: impl FnOnce() -> Results) -> Vec<String> {
    match attempt(run) {
        Ok(results) => case.faults(&results, tensors, tolerance),
        Err(panic) => vec![format!("{}: panics: {panic}", case.name)],
    }
}

/// Runs every case that `keep` wants on every device; reports all that is wrong.
fn check(form: Form, tolerance: f32, keep: impl Fn(&Case) -> bool) {
    let (cases, tensors) = golden();
    let mut found = Vec::new();
    // Vulkan computes in float32 alone.
    for (choice, device) in if form == Form::Bfloat16 { devices() } else { every_device() } {
        let device = device.autodiff();
        for case in cases.iter().filter(|case| keep(case)) {
            let faults = faults(case, &tensors, tolerance, || {
                let results = case.run(&tensors, &device, form, &|_| true);
                let mut expected = case.expected(&tensors);
                expected.sort();
                assert!(results.keys().eq(&expected), "{:?} are not {expected:?}", results.keys());
                results
            });
            found.extend(faults.into_iter().map(|fault| format!("{choice}: {fault}")));
        }
    }
    report(&found);
}

#[test]
fn outputs_and_gradients_equal_pytorch() {
    check(Form::Plain, TOLERANCE, |_| true);
}

#[test]
fn views_of_larger_tensors_are_as_good() {
    check(Form::Views, TOLERANCE, |_| true);
}

#[test]
fn bfloat16_is_close_and_weights_keep_float32_gradients() {
    check(Form::Bfloat16, BFLOAT16_TOLERANCE, |case| {
        // Rounded inputs choose other maxima, sides of a ReLU's kink, or all but one value.
        let chosen_by_rounding = case.name.starts_with("max_pool2d") && !case.name.contains("ties");
        let rounded_away = ["chain", "batch_norm_train far from 0", "cross_entropy large logits"];
        let inference = case.name.starts_with("batch_norm_infer");
        !chosen_by_rounding && !inference && !rounded_away.contains(&case.name.as_str())
    });
}

#[test]
fn bfloat16_stays_bfloat16_in_the_batch_norm_of_inference() {
    check(Form::Bfloat16, BFLOAT16_TOLERANCE, |case| case.name.starts_with("batch_norm_infer"));
}

#[test]
fn outputs_without_differentiation_equal_pytorch() {
    let (cases, tensors) = golden();
    let mut found = Vec::new();
    for (choice, device) in every_device() {
        for case in &cases {
            let run = || case.run(&tensors, &device, Form::Plain, &|_| false);
            let faults = faults(case, &tensors, TOLERANCE, run);
            found.extend(faults.into_iter().map(|fault| format!("{choice}: {fault}")));
        }
    }
    report(&found);
}

#[test]
fn gradients_of_some_inputs_alone_equal_pytorch() {
    let (cases, tensors) = golden();
    let mut found = Vec::new();
    for (choice, device) in every_device() {
        let device = device.autodiff();
        let some = |case: &Case, wanted: &dyn Fn(&str) -> bool| {
            faults(case, &tensors, TOLERANCE, || case.run(&tensors, &device, Form::Plain, wanted))
        };
        for case in &cases {
            let leaves = case.leaves(&tensors);
            for leaf in leaves.iter().filter(|_| leaves.len() > 1) {
                let alone = some(case, &|name| name == leaf).into_iter();
                found.extend(alone.map(|fault| format!("{choice}, {leaf} alone: {fault}")));
                let others = some(case, &|name| name != leaf).into_iter();
                found.extend(others.map(|fault| format!("{choice}, all but {leaf}: {fault}")));
            }
        }
    }
    report(&found);
}
