//! Losses and their gradients equal PyTorch's, with and without ignored pixels.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;

use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use segtool::device::DeviceChoice;
use segtool::loss::{LossConfig, Target};

use common::{devices, fixture, floats, relative_error};

const TOLERANCE: f32 = 1e-4;

fn target(classes: &TensorData, device: &Device) -> Target {
    let values: Vec<i32> = classes.iter::<i32>().collect();
    let shape = classes.shape().to_vec();
    let kept: Vec<i32> = values.iter().map(|&c| c.max(0)).collect();
    let labelled = values.iter().any(|&c| c < 0).then(|| {
        let mask: Vec<bool> = values.iter().map(|&c| c >= 0).collect();
        Tensor::<3, Bool>::from_data(TensorData::new(mask, shape.clone()), device)
    });
    Target { classes: Tensor::<3, Int>::from_data(TensorData::new(kept, shape), device), labelled }
}

fn value_and_gradient(loss: &LossConfig, logits: &TensorData, target: &Target, device: &Device) -> (f32, Vec<f32>) {
    let logits = Tensor::<4>::from_data(logits.clone(), device).require_grad();
    let value = loss.compute(logits.clone(), target);
    let gradients = value.backward();
    let gradient = logits.grad(&gradients).unwrap().into_data();
    (value.into_scalar::<f32>(), floats(&gradient))
}

fn check(kind: &str, loss: &LossConfig, binary: bool) {
    let golden: HashMap<String, TensorData> = fixture("losses.safetensors");
    for (choice, device) in devices() {
        let device = device.autodiff();
        for labels in ["full", "some"] {
            let mut target = target(&golden[labels], &device);
            if binary {
                target.classes = target.classes.clamp_max(1);
            }
            let logits = &golden[if binary { "binary_logits" } else { "logits" }];
            let (value, gradient) = value_and_gradient(loss, logits, &target, &device);
            let error = relative_error(&[value], &floats(&golden[&format!("{kind}.{labels}")]));
            assert!(error < TOLERANCE, "{kind} {labels} on {choice}: {error:e}");
            let error = relative_error(&gradient, &floats(&golden[&format!("{kind}.{labels}.grad")]));
            assert!(error < TOLERANCE, "gradient of {kind} {labels} on {choice}: {error:e}");
        }
    }
}

#[test]
fn cross_entropy_equals_pytorch() {
    check("cross_entropy", &LossConfig::CrossEntropy, false);
}

#[test]
fn soft_dice_equals_its_definition() {
    check("soft_dice", &LossConfig::SoftDice, false);
}

#[test]
fn bce_dice_equals_pytorch() {
    check("bce_dice", &LossConfig::BceDice { bce_weight: 0.3, dice_weight: 0.7 }, true);
}

#[test]
fn a_batch_without_labels_has_a_finite_loss_and_no_gradient() {
    let golden = fixture("losses.safetensors");
    let nothing = TensorData::new(vec![-1i32; 2 * 5 * 7], [2, 5, 7]);
    for (choice, device) in devices() {
        let device = device.autodiff();
        let cases = [
            (LossConfig::CrossEntropy, "logits"),
            (LossConfig::SoftDice, "logits"),
            (LossConfig::CrossEntropyDice { ce_weight: 1.0, dice_weight: 1.0 }, "logits"),
            (LossConfig::BceDice { bce_weight: 1.0, dice_weight: 1.0 }, "binary_logits"),
        ];
        for (loss, logits) in cases {
            let (value, gradient) = value_and_gradient(&loss, &golden[logits], &target(&nothing, &device), &device);
            assert!(value.is_finite(), "{loss:?} on {choice}");
            assert!(gradient.iter().all(|g| *g == 0.0), "{loss:?} on {choice}");
        }
    }
}

#[test]
fn losses_of_bfloat16_logits_are_float32() {
    let golden = fixture("losses.safetensors");
    // flex does not compute in bfloat16.
    for (_, device) in devices().into_iter().filter(|(choice, _)| *choice != DeviceChoice::Flex) {
        let target = target(&golden["full"], &device);
        let logits = Tensor::<4>::from_data(golden["logits"].clone(), &device).cast(DType::BF16);
        for loss in [
            LossConfig::CrossEntropy,
            LossConfig::SoftDice,
            LossConfig::CrossEntropyDice { ce_weight: 1.0, dice_weight: 1.0 },
            LossConfig::BceDice { bce_weight: 1.0, dice_weight: 1.0 },
        ] {
            let logits = if loss.is_binary() { logits.clone().narrow(1, 0, 1) } else { logits.clone() };
            let rounded = loss.compute(logits.clone().cast(DType::F32), &target);
            let found = loss.compute(logits, &target);
            assert_eq!(found.dtype(), DType::F32);
            assert_eq!(found.into_scalar::<f32>(), rounded.into_scalar::<f32>(), "{loss:?}");
        }
    }
}
