//! The U-Net equals PyTorch's, weights go both ways, and weights that do not fit are named.

use std::process::Command;

use burn::tensor::{Device, Tensor};
use segtool::data::{Normalisation, ValidPixels};
use segtool::nn::model::{Network, NetworkConfig, UnetConfig, collect};
use segtool::weights::{self, Description};

use crate::common::{devices, fixture, fixture_path, floats, read_tensors, relative_error};

/// Sums of float32 in another order: 1e-4 leaves room, a wrong layer does not.
const TOLERANCE: f32 = 1e-4;

fn config(width: usize) -> NetworkConfig {
    NetworkConfig::UnetSeeps(UnetConfig::new(width, 3, 2, 3))
}

fn network(width: usize, device: &Device) -> Network {
    config(width).init(0, device).unwrap()
}

fn description() -> Description {
    Description::own(config(4), Normalisation::PerImage { valid: ValidPixels::All })
}

#[test]
fn output_equals_pytorch_at_even_odd_and_tiny_sizes() {
    let cases = fixture("unet_seeps_cases.safetensors");
    for (choice, device) in devices() {
        let network = weights::load(network(4, &device), &fixture_path("unet_seeps_weights.safetensors")).unwrap();
        for case in ["even", "odd", "tiny"] {
            let input = Tensor::<4>::from_data(cases[&format!("{case}.input")].clone(), &device);
            let output = network.forward(input).into_data();
            let expected = &cases[&format!("{case}.output")];
            assert_eq!(output.shape(), expected.shape(), "{case} on {choice}");
            let error = relative_error(&floats(&output), &floats(expected));
            assert!(error < TOLERANCE, "{case} on {choice}: {error:e}");
        }
    }
}

#[test]
fn initialisation_depends_on_the_seed_alone_and_has_pytorchs_bounds() {
    let all = |seed| -> Vec<Vec<f32>> {
        let config = UnetConfig::new(4, 2, 1, 2);
        let device = Device::flex();
        let network = NetworkConfig::UnetSeeps(config).init(seed, &device).unwrap();
        collect(&network).iter().map(|p| floats(&p.data)).collect()
    };
    assert_eq!(all(1), all(1));
    assert_ne!(all(1), all(2));
    // dconv_down1.0: one input channel, 3x3: uniform in +-1/3.
    let largest = all(1)[0].iter().fold(0.0f32, |a, b| a.max(b.abs()));
    assert!(largest < 1.0 / 3.0 && largest > 0.25, "{largest}");
}

#[test]
fn saved_weights_are_the_ones_loaded() {
    let device = Device::flex();
    let golden = fixture_path("unet_seeps_weights.safetensors");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.safetensors");
    weights::save(&weights::load(network(4, &device), &golden).unwrap(), &description(), &copy).unwrap();
    let (a, b) = (read_tensors(&golden), read_tensors(&copy));
    assert_eq!(a.len(), b.len());
    assert!(a.iter().all(|(name, data)| floats(data) == floats(&b[name]) && data.shape() == b[name].shape()));
}

#[test]
fn python_reads_our_file_and_we_read_pythons() {
    let script = fixture_path("../../scripts/checks/check_weights.py");
    let modules = Command::new("python3").args(["-c", "import torch, safetensors"]).output();
    if !modules.is_ok_and(|output| output.status.success()) {
        println!("skipped: python3 with torch and safetensors is not there");
        return;
    }
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours.safetensors"), folder.path().join("theirs.safetensors"));
    let network = network(4, &device);
    weights::save(&network, &description(), &ours).unwrap();
    let output =
        Command::new("python3").arg(&script).arg(&ours).args(["4", "3", "2", "3"]).arg(&theirs).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let before = collect(&network);
    let after = collect(&weights::load(network, &theirs).unwrap());
    for (a, b) in before.iter().zip(&after) {
        assert_eq!(a.name, b.name);
        assert!(floats(&a.data).iter().zip(floats(&b.data)).all(|(a, b)| 2.0 * a == b));
    }
}

#[test]
fn weights_that_do_not_fit_are_listed() {
    let device = Device::flex();
    let golden = fixture_path("unet_seeps_weights.safetensors");
    let message = weights::load(network(8, &device), &golden).unwrap_err().to_string();
    assert!(message.contains("dconv_down1.0.weight: the file has [4, 2, 3, 3], the network [8, 2, 3, 3]"), "{message}");
    let deeper = UnetConfig::new(4, 4, 2, 3);
    let deeper = NetworkConfig::UnetSeeps(deeper).init(0, &device).unwrap();
    let message = weights::load(deeper, &golden).unwrap_err().to_string();
    assert!(message.contains("missing: dconv_down4.0.weight [32, 16, 3, 3]"), "{message}");
    let shallower = UnetConfig::new(4, 2, 2, 3);
    let shallower = NetworkConfig::UnetSeeps(shallower).init(0, &device).unwrap();
    let message = weights::load(shallower, &golden).unwrap_err().to_string();
    assert!(message.contains("left over: dconv_down3.0.bias [16]"), "{message}");
}

#[test]
fn a_damaged_weight_file_is_refused() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.safetensors");
    let bytes = std::fs::read(fixture_path("unet_seeps_weights.safetensors")).unwrap();
    for length in [0, 4, 100, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let message = weights::load(network(4, &device), &path).unwrap_err().to_string();
        assert!(message.contains("cut.safetensors") && message.contains("cut short"), "{message}");
    }
}
