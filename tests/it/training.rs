//! What a training step can do besides: each against what it should come to by definition, on every device.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use segtool::nn::learner::{Learner, Part, Settings};
use segtool::nn::loss::{Loss, Target};
use segtool::nn::model::{
    AttentionUnetConfig, DecoderConfig, DeepSupervisionConfig, EncoderDecoderConfig, Network, NetworkConfig, Parameter,
    PyramidConfig, ResNetConfig, ResnetUnetConfig, UnetConfig, Variant, collect, collect_gradients, replace,
};
use segtool::recipe::{Decayed, Freeze, OptimizerConfig, OptimizerKind};

use crate::common::{devices, floats, relative_error};

const CLASSES: usize = 3;
const RATE: f64 = 0.1;
const TOLERANCE: f32 = 1e-5;

fn pspnet() -> NetworkConfig {
    let encoder = ResNetConfig { width: 4, ..ResNetConfig::new(Variant::Resnet18) };
    let deep_supervision = Some(DeepSupervisionConfig::default());
    let decoder = PyramidConfig { bins: vec![1, 2], deep_supervision, ..PyramidConfig::default() };
    NetworkConfig::EncoderDecoder(EncoderDecoderConfig::new(encoder, DecoderConfig::Pyramid(decoder), 2, CLASSES))
}

fn networks() -> Vec<(&'static str, NetworkConfig)> {
    let mut resnet_unet = ResnetUnetConfig::new(2, CLASSES);
    resnet_unet.encoder.width = 4;
    let attention = AttentionUnetConfig { width: 4, ..AttentionUnetConfig::new(2, CLASSES) };
    let dropout = UnetConfig { dropout: Some(vec![0.3]), ..UnetConfig::new(4, 3, 2, CLASSES) };
    vec![
        ("pspnet", pspnet()),
        ("unet-seeps", NetworkConfig::UnetSeeps(UnetConfig::new(4, 3, 2, CLASSES))),
        ("unet-milesial", NetworkConfig::UnetMilesial(UnetConfig::new(4, 3, 2, CLASSES))),
        ("unet-earthquake", NetworkConfig::UnetEarthquake(dropout)),
        ("unet-resnet", NetworkConfig::UnetResnet(resnet_unet)),
        ("unet-attention", NetworkConfig::UnetAttention(attention)),
    ]
}

/// Numbers that look random and are the same everywhere.
fn numbers(count: usize, salt: u64) -> Vec<f32> {
    let hash = |i: usize| (i as u64 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    (0..count).map(|i| (hash(i) >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}

/// Three images of 37x50, some of whose pixels have no label.
fn part(salt: u64, device: &Device) -> Part {
    let (batch, height, width) = (3, 37, 50);
    let input = TensorData::new(numbers(batch * 2 * height * width, salt), [batch, 2, height, width]);
    let area = batch * height * width;
    let label = |i: usize| if i.is_multiple_of(11) { -1 } else { ((i / 7 + salt as usize) % CLASSES) as i32 };
    let labels = TensorData::new((0..area).map(label).collect(), [batch, height, width]);
    let target = Target { labels: Tensor::<3, Int>::from_data(labels, device), complete: false };
    Part::whole(Tensor::from_data(input, device), target, 5)
}

fn learner(config: &NetworkConfig, settings: Settings, device: &Device) -> Learner {
    let network = config.init(3, device).unwrap().train();
    Learner::new(network, settings, Loss::cross_entropy()).unwrap()
}

fn sgd() -> Settings {
    Settings::plain(OptimizerKind::Sgd { momentum: 0.0, nesterov: false }.into())
}

fn values(parameters: Vec<Parameter>) -> BTreeMap<String, Vec<f32>> {
    parameters.into_iter().map(|p| (p.name, floats(&p.data))).collect()
}

fn of(network: &Network) -> BTreeMap<String, Vec<f32>> {
    values(collect(network))
}

fn is_buffer(name: &str) -> bool {
    name.contains("running_")
}

/// Whether a parameter is one of a batch norm.
fn is_norm(name: &str, all: &BTreeMap<String, Vec<f32>>) -> bool {
    name.rsplit_once('.').is_some_and(|(layer, _)| all.contains_key(&format!("{layer}.running_mean")))
}

#[test]
fn checkpointing_gives_the_same_loss_gradients_and_statistics() {
    for (name, config) in networks() {
        for (choice, device) in devices() {
            let part = part(0, &device.clone().autodiff());
            let plain = learner(&config, sgd(), &device);
            let again = learner(&config, Settings { checkpointing: true, ..sgd() }, &device);
            let (loss, gradients) = plain.gradients(part.clone());
            let (loss_again, gradients_again) = again.gradients(part);
            assert_eq!(loss.into_scalar::<f32>(), loss_again.into_scalar::<f32>(), "{name} on {choice}");
            let expected = values(collect_gradients(plain.network(), &gradients));
            let found = values(collect_gradients(again.network(), &gradients_again));
            assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>(), "{name} on {choice}");
            let largest = expected.values().flatten().fold(0f32, |most, value| most.max(value.abs()));
            for (parameter, expected) in &expected {
                let apart = found[parameter].iter().zip(expected).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
                assert!(apart <= TOLERANCE * largest, "{name}: {parameter} on {choice}: {apart:e} of {largest:e}");
            }
            let (expected, found) = (of(plain.network()), of(again.network()));
            for (parameter, expected) in expected.iter().filter(|(parameter, _)| is_buffer(parameter)) {
                assert_eq!(&found[parameter], expected, "{name}: {parameter} on {choice}");
            }
        }
    }
}

#[test]
fn accumulated_batches_move_weights_by_the_mean_of_their_gradients() {
    // Without batch norm, so that the batches do not depend on each other.
    let config = NetworkConfig::UnetSeeps(UnetConfig::new(4, 3, 2, CLASSES));
    for (choice, device) in devices() {
        let parts = [1, 2].map(|salt| part(salt, &device.clone().autodiff()));
        let mut together = learner(&config, sgd(), &device);
        let before = of(together.network());
        let gradients =
            parts.clone().map(|part| values(collect_gradients(together.network(), &together.gradients(part).1)));
        together.step(parts, RATE, 0);
        for (name, found) in of(together.network()) {
            let expected: Vec<f32> = before[&name]
                .iter()
                .zip(gradients[0][&name].iter().zip(&gradients[1][&name]))
                .map(|(before, (a, b))| before - RATE as f32 * (a + b) / 2.0)
                .collect();
            assert!(relative_error(&found, &expected) < TOLERANCE, "{name} on {choice}");
        }
    }
}

#[test]
fn clipping_limits_the_norm_of_all_gradients() {
    for (choice, device) in devices() {
        let part = part(1, &device.clone().autodiff());
        let free = learner(&pspnet(), sgd(), &device);
        let gradients = values(collect_gradients(free.network(), &free.gradients(part.clone()).1));
        let norm = gradients.values().flatten().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
        for (limit, factor) in [(norm / 4.0, 0.25), (norm * 2.0, 1.0)] {
            let mut clipped = learner(&pspnet(), Settings { clip_norm: Some(limit), ..sgd() }, &device);
            let before = of(clipped.network());
            clipped.step([part.clone()], RATE, 0);
            for (name, found) in of(clipped.network()).iter().filter(|(name, _)| !is_buffer(name)) {
                let moved: Vec<f32> = before[name].iter().zip(found).map(|(before, after)| before - after).collect();
                let expected: Vec<f32> = gradients[name].iter().map(|g| g * (RATE * factor) as f32).collect();
                let apart = moved.iter().zip(&expected).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
                assert!(apart < 1e-5, "{name} on {choice} with {limit}: {apart:e}");
            }
        }
    }
}

#[test]
fn the_average_follows_its_formula_and_predicts() {
    for (choice, device) in devices() {
        let mut learner = learner(&pspnet(), Settings { ema: Some(0.9), ..sgd() }, &device);
        let mut expected = of(learner.network());
        for step in 0..4 {
            learner.step([part(step, &device.clone().autodiff())], RATE, step as usize);
            let share = 0.9f32.min((1 + step) as f32 / (10 + step) as f32);
            for (name, now) in of(learner.network()) {
                let average = expected.get_mut(&name).unwrap();
                average
                    .iter_mut()
                    .zip(now)
                    .for_each(|(average, now)| *average = share * *average + (1.0 - share) * now);
            }
        }
        for (name, found) in of(&learner.predictor()) {
            assert!(relative_error(&found, &expected[&name]) < TOLERANCE, "{name} on {choice}");
        }
        assert_ne!(of(&learner.predictor()), of(learner.network()));
        // Other weights and running statistics in what predicts change nothing in the average.
        let others: BTreeMap<_, _> = collect(learner.network()).into_iter().map(|p| (p.name, p.data)).collect();
        let before = of(learner.average().unwrap());
        let changed = replace(learner.predictor(), |name| others.get(name).cloned());
        assert_eq!(of(&changed), of(learner.network()));
        assert_eq!(of(learner.average().unwrap()), before);
    }
}

#[test]
fn what_is_frozen_stays_and_the_rest_learns() {
    for (choice, device) in devices() {
        for freeze in [vec![Freeze::Encoder], vec![Freeze::Norm], vec![Freeze::Encoder, Freeze::Norm]] {
            for checkpointing in [false, true] {
                let settings = Settings { freeze: freeze.clone(), checkpointing, ..sgd() };
                let mut learner = learner(&pspnet(), settings, &device);
                let before = of(learner.network());
                learner.step([part(1, &device.clone().autodiff())], RATE, 0);
                let after = of(learner.network());
                for (name, before) in &before {
                    let frozen = (freeze.contains(&Freeze::Encoder) && name.starts_with("encoder."))
                        || (freeze.contains(&Freeze::Norm) && is_norm(name, &after));
                    let what = format!("{name} with {freeze:?} on {choice}, checkpointing {checkpointing}");
                    assert_eq!(before == &after[name], frozen, "{what}");
                }
            }
        }
    }
}

#[test]
fn rates_and_decay_go_by_kinds_of_parameters() {
    for (choice, device) in devices() {
        let part = part(1, &device.clone().autodiff());
        let kind = OptimizerKind::Sgd { momentum: 0.0, nesterov: false };
        let decayed = |decay| OptimizerConfig { kind, weight_decay: 0.5, decay };
        for decay in [Decayed::All, Decayed::Kernels] {
            let mut learner =
                learner(&pspnet(), Settings { head_rate: 10.0, ..Settings::plain(decayed(decay)) }, &device);
            let before = of(learner.network());
            let gradients = values(collect_gradients(learner.network(), &learner.gradients(part.clone()).1));
            learner.step([part.clone()], RATE, 0);
            let after = of(learner.network());
            for (name, gradient) in &gradients {
                let rate = if name.starts_with("encoder.") { RATE } else { 10.0 * RATE } as f32;
                let is_kernel = name.ends_with(".weight") && !is_norm(name, &after);
                let penalty = if decay == Decayed::All || is_kernel { 0.5 } else { 0.0 };
                let expected: Vec<f32> =
                    before[name].iter().zip(gradient).map(|(w, g)| w - rate * (g + penalty * w)).collect();
                assert!(relative_error(&after[name], &expected) < 1e-4, "{name} with {decay:?} on {choice}");
            }
        }
    }
}

#[test]
fn a_network_without_what_is_to_be_frozen_says_so() {
    let config = NetworkConfig::UnetSeeps(UnetConfig::new(4, 3, 2, CLASSES));
    for settings in [Settings { head_rate: 10.0, ..sgd() }, Settings { freeze: vec![Freeze::Encoder], ..sgd() }] {
        let network = config.init(0, &Device::flex()).unwrap().train();
        let message = Learner::new(network, settings, Loss::cross_entropy()).err().unwrap().to_string();
        assert!(message.contains("the network has no separate encoder"), "{message}");
    }
    let network = config.init(0, &Device::flex()).unwrap().train();
    let settings = Settings { freeze: vec![Freeze::Norm], ..sgd() };
    let message = Learner::new(network, settings, Loss::cross_entropy()).err().unwrap().to_string();
    assert!(message.contains("no batch norms"), "{message}");
}
