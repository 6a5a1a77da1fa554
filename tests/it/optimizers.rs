//! Four steps of each optimiser end with PyTorch's weights.

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use segtool::nn::learner::{Learner, Part, Settings};
use segtool::nn::loss::{Loss, Target};
use segtool::nn::model::{NetworkConfig, UnetConfig, collect, replace};
use segtool::recipe::{AdamSettings, Decayed, OptimizerConfig, OptimizerKind};

use crate::common::{devices, fixture, floats, relative_error};

/// Adam divides by the gradient's size, so rounding grows over the steps.
const TOLERANCE: f32 = 1e-3;

#[test]
fn steps_equal_pytorch() {
    let golden = fixture("training.safetensors");
    let decayed = |kind, weight_decay| OptimizerConfig { kind, weight_decay, decay: Decayed::All };
    let adam = OptimizerKind::Adam(AdamSettings { beta_1: 0.8, beta_2: 0.95, epsilon: 1e-6 });
    let nesterov = OptimizerKind::Sgd { momentum: 0.8, nesterov: true };
    for (name, config, rate) in [
        ("adam", OptimizerConfig::adam(), 0.01),
        ("adam_decay", decayed(adam, 0.1), 0.01),
        ("sgd", OptimizerConfig::sgd(), 0.1),
        ("nesterov", decayed(nesterov, 0.01), 0.1),
    ] {
        for (choice, device) in devices() {
            let unet = UnetConfig::new(2, 2, 1, 3);
            let network = NetworkConfig::UnetSeeps(unet).init(0, &device).unwrap();
            let network = replace(network, |name| Some(golden[&format!("start.{name}")].clone())).train();
            let device = device.autodiff();
            let labels = Tensor::<3, Int>::from_data(golden["classes"].clone(), &device);
            let target = Target { labels, complete: true };
            let mut learner = Learner::new(network, Settings::plain(config.clone()), Loss::cross_entropy()).unwrap();
            let input = Tensor::from_data(golden["input"].clone(), &device);
            for step in 0..4 {
                learner.step([Part::whole(input.clone(), target.clone(), 0)], rate, step);
            }
            let network = learner.predictor();
            for parameter in collect(&network) {
                let before = floats(&golden[&format!("start.{}", parameter.name)]);
                let change = |values: Vec<f32>| values.iter().zip(&before).map(|(v, b)| v - b).collect::<Vec<_>>();
                let wanted = change(floats(&golden[&format!("{name}.{}", parameter.name)]));
                let error = relative_error(&change(floats(&parameter.data)), &wanted);
                assert!(error < TOLERANCE, "{} with {name} on {choice}: {error:e}", parameter.name);
            }
        }
    }
}
