//! PSPNet on residual networks equals PyTorch's: names, outputs, gradients and running statistics.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use segtool::nn::learner::{Learner, Part, Settings};
use segtool::nn::loss::{Loss, Target};
use segtool::nn::model::{
    DecoderConfig, DeepSupervisionConfig, Dilation, EncoderDecoderConfig, Network, NetworkConfig, Parameter,
    PyramidConfig, ResNetConfig, Variant, collect, collect_gradients, replace,
};
use segtool::recipe::OptimizerConfig;

use crate::common::references::{self, numbers};
use crate::common::{devices, fixture, fixture_path, floats, metadata, relative_error};

/// Sums of float32 in another order: 1e-4 leaves room, a wrong layer does not.
const TOLERANCE: f32 = 1e-4;
/// Gradients pass some sixty layers; PyTorch's own, in float32, differ from float64 by up to 2e-4.
const GRADIENT_TOLERANCE: f32 = 1e-3;

const INPUT: [usize; 4] = [4, 3, 65, 57];
const CLASSES: usize = 5;
const CASES: [(&str, Variant, Dilation); 3] = [
    ("resnet50", Variant::Resnet50, Dilation::AfterStride),
    ("resnet18", Variant::Resnet18, Dilation::AfterStride),
    ("resnet34", Variant::Resnet34, Dilation::None),
];

/// The generator's networks: 4 channels after the stem, no dropout.
fn config(variant: Variant, dilation: Dilation) -> EncoderDecoderConfig {
    with_decoder(variant, dilation, decoder())
}

fn decoder() -> PyramidConfig {
    let deep_supervision = DeepSupervisionConfig { width: Some(32), ..DeepSupervisionConfig::default() };
    PyramidConfig { dropout: 0.0, deep_supervision: Some(deep_supervision), ..PyramidConfig::default() }
}

fn with_decoder(variant: Variant, dilation: Dilation, decoder: PyramidConfig) -> EncoderDecoderConfig {
    let encoder = ResNetConfig { width: 4, dilation, ..ResNetConfig::new(variant) };
    EncoderDecoderConfig::new(encoder, DecoderConfig::Pyramid(decoder), INPUT[1], CLASSES)
}

fn init(config: EncoderDecoderConfig, device: &Device) -> Network {
    NetworkConfig::EncoderDecoder(config).init(0, device).unwrap()
}

/// Our name for the generator's.
fn ours(theirs: &str) -> String {
    let parts: Vec<&str> = theirs.splitn(3, '.').collect();
    match parts[..] {
        ["body", ..] => theirs.replacen("body", "encoder", 1),
        ["stages", level, rest] => format!("decoder.ppm.{level}.{rest}"),
        ["head", ..] => theirs.replacen("head", "decoder.conv_last", 1),
        ["aux", "3", leaf] => format!("decoder.conv_last_deepsup.{leaf}"),
        ["aux", ..] => theirs.replacen("aux", "decoder.cbr_deepsup", 1),
        _ => panic!("{theirs}"),
    }
}

/// Names and shapes that the generator's network has.
fn shapes(case: &str) -> BTreeMap<String, Vec<usize>> {
    serde_json::from_str(&metadata(&fixture_path("pspnet_cases.safetensors"), case)).unwrap()
}

/// The network with the generator's weights.
fn golden((case, variant, dilation): (&str, Variant, Dilation), device: &Device) -> Network {
    let network = init(config(variant, dilation), device);
    let weights: BTreeMap<_, _> =
        shapes(case).into_iter().map(|(name, shape)| (ours(&name), weight(&name, shape))).collect();
    replace(network, |name| Some(weights[name].clone()))
}

/// `weight` of the generator: that of the other references, with larger scales of batch norm.
fn weight(name: &str, shape: Vec<usize>) -> TensorData {
    if shape.len() == 4 || !name.ends_with("weight") {
        return references::weight(name, shape);
    }
    let values: Vec<f32> = numbers(name, shape.iter().product()).into_iter().map(|v| 0.25 + v / 8.0).collect();
    TensorData::new(values, shape)
}

fn input(images: usize, device: &Device) -> Tensor<4> {
    let values: Vec<f32> = numbers("input", INPUT.iter().product()).into_iter().map(|v| v * 1.7).collect();
    Tensor::<4>::from_data(TensorData::new(values, INPUT), device).narrow(0, 0, images)
}

fn target(device: &Device) -> Target {
    let [batch, _, height, width] = INPUT;
    let class = |v: f32| ((v + 1.0) * CLASSES as f32 / 2.0) as i32;
    let classes: Vec<i32> = numbers("labels", batch * height * width).into_iter().map(class).collect();
    let labels = Tensor::<3, Int>::from_data(TensorData::new(classes, [batch, height, width]), device);
    Target { labels, complete: true }
}

#[test]
fn parameters_have_pytorchs_names_and_shapes() {
    let device = Device::flex();
    for (case, variant, dilation) in CASES {
        let expected: BTreeMap<String, Vec<usize>> =
            shapes(case).into_iter().map(|(name, shape)| (ours(&name), shape)).collect();
        let network = init(config(variant, dilation), &device);
        let found: BTreeMap<_, _> = collect(&network).into_iter().map(|p| (p.name, p.data.shape().to_vec())).collect();
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn outputs_equal_pytorch() {
    let cases = fixture("pspnet_cases.safetensors");
    for (choice, device) in devices() {
        for (case, variant, dilation) in CASES {
            let output = golden((case, variant, dilation), &device).forward(input(1, &device)).into_data();
            let expected = &cases[&format!("{case}.output")];
            assert_eq!(output.shape(), expected.shape(), "{case} on {choice}");
            let error = relative_error(&floats(&output), &floats(expected));
            assert!(error < TOLERANCE, "{case} on {choice}: {error:e}");
        }
    }
}

#[test]
fn a_training_step_equals_pytorch() {
    let cases = fixture("pspnet_cases.safetensors");
    for (choice, device) in devices() {
        let network = golden(CASES[0], &device).train();
        let device = device.autodiff();
        let (input, target) = (input(INPUT[0], &device), target(&device));
        let loss = Loss::cross_entropy();

        // On a copy: a forward pass in training moves the running statistics.
        let outputs = network.valid().train().forward_training(input.clone(), 0);
        let (auxiliary, weight) = outputs.auxiliary[0].clone();
        let losses: Vec<f32> =
            [outputs.logits, auxiliary].into_iter().map(|logits| loss.compute(logits, &target).into_scalar()).collect();
        let error = relative_error(&losses, &floats(&cases["losses"]));
        assert!(error < TOLERANCE, "losses on {choice}: {error:e}");

        let learner = Learner::new(network, Settings::plain(OptimizerConfig::sgd()), loss).unwrap();
        let (sum, gradients) = learner.gradients(Part::whole(input, target, 0));
        let expected = losses[0] + weight as f32 * losses[1];
        assert!((sum.into_scalar::<f32>() - expected).abs() < TOLERANCE * expected, "{choice}");
        let found = |parameters: Vec<Parameter>| -> BTreeMap<_, _> {
            parameters.into_iter().map(|p| (p.name, floats(&p.data))).collect()
        };
        let gradients = found(collect_gradients(learner.network(), &gradients));
        let after = found(collect(learner.network()));
        assert!(!gradients.keys().any(|name| name.contains("running")));
        for (name, expected) in cases.iter().collect::<BTreeMap<_, _>>() {
            let (found, tolerance) = match name.split_once('.') {
                Some(("grad", name)) => (&gradients[&ours(name)], GRADIENT_TOLERANCE),
                Some(("after", name)) => (&after[&ours(name)], TOLERANCE),
                _ => continue,
            };
            let error = relative_error(found, &floats(expected));
            assert!(error < tolerance, "{name} on {choice}: {error:e}");
        }
    }
}

#[test]
fn any_size_works_even_one_pixel() {
    for (choice, device) in devices() {
        let network = golden(CASES[1], &device);
        for [height, width] in [[1, 1], [3, 40], [33, 8]] {
            let shape = [1, INPUT[1], height, width];
            let values = numbers("any", shape.iter().product());
            let output = network.forward(Tensor::from_data(TensorData::new(values.clone(), shape), &device));
            assert_eq!(output.dims(), [1, CLASSES, height, width], "{choice}");
            // In training, the pyramid's first level has a single value a channel.
            let input = Tensor::from_data(TensorData::new(values, shape), &device.clone().autodiff());
            let output = network.clone().train().forward_training(input, 0).logits.into_data();
            assert!(floats(&output).iter().all(|v| v.is_finite()), "{height}x{width} on {choice}");
        }
    }
}

#[test]
fn dropout_depends_on_the_draw_alone_and_is_off_outside_training() {
    let device = Device::flex();
    let decoder = PyramidConfig { dropout: 0.5, ..decoder() };
    let network = init(with_decoder(Variant::Resnet18, Dilation::AfterStride, decoder), &device);
    let logits = |draw| {
        let input = input(2, &device.clone().autodiff());
        floats(&network.clone().train().forward_training(input, draw).logits.into_data())
    };
    assert_eq!(logits(1), logits(1));
    assert_ne!(logits(1), logits(2));
    let plain = |images| floats(&network.forward(input(images, &device)).into_data());
    assert_eq!(plain(1), plain(1));
}

#[test]
fn hyperparameters_that_cannot_work_are_refused() {
    let good = config(Variant::Resnet18, Dilation::None);
    let check = |config: &EncoderDecoderConfig| NetworkConfig::EncoderDecoder(config.clone()).check();
    assert!(check(&good).is_ok());
    let wide = ResNetConfig { width: 100_000, ..good.encoder.clone() };
    let short = ResNetConfig { stages: 5, ..good.encoder.clone() };
    let supervised = |config| PyramidConfig { deep_supervision: Some(config), ..decoder() };
    let decoders = [
        PyramidConfig { bins: vec![], ..decoder() },
        PyramidConfig { bins: vec![1, 0], ..decoder() },
        PyramidConfig { dropout: 1.0, ..decoder() },
        PyramidConfig { level_width: Some(1 << 40), ..decoder() },
        PyramidConfig { width: Some(0), ..decoder() },
        supervised(DeepSupervisionConfig { weight: f64::NAN, ..DeepSupervisionConfig::default() }),
        supervised(DeepSupervisionConfig { width: Some(0), ..DeepSupervisionConfig::default() }),
    ];
    let bad = decoders.into_iter().map(|decoder| with_decoder(Variant::Resnet18, Dilation::None, decoder));
    for bad in bad.chain([
        EncoderDecoderConfig { encoder: wide, ..good.clone() },
        EncoderDecoderConfig { encoder: short, ..good.clone() },
        EncoderDecoderConfig { outputs: None, ..good.clone() },
    ]) {
        assert!(check(&bad).is_err(), "{bad:?}");
    }
}
