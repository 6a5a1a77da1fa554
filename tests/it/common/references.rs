//! The cases of `scripts/goldens/make_network_goldens.py`.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::SafeTensors;
use segtool::nn::model::{Network, NetworkConfig, collect, replace};
use segtool::weights::Names;
use serde::Deserialize;

use super::fixture_path;

/// The generator keeps every so manieth value of an output.
pub(crate) const STEP: usize = 7;

/// Training images.
#[derive(Debug, Deserialize)]
pub(crate) struct Training {
    /// The name that their numbers follow from.
    pub(crate) image: String,
    pub(crate) batch: usize,
    pub(crate) size: [usize; 2],
}

/// What the generator says of a network.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) config: NetworkConfig,
    pub(crate) names: Option<Names>,
    pub(crate) sizes: Vec<[usize; 2]>,
    pub(crate) weights: Vec<f64>,
    pub(crate) shapes: Vec<(String, Vec<usize>)>,
    /// What its gradients were taken on.
    pub(crate) training: Training,
}

pub(crate) fn cases() -> BTreeMap<String, Case> {
    let bytes = std::fs::read(fixture_path("networks.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let entries = header.metadata().as_ref().unwrap().iter().filter(|(key, _)| *key != "format");
    entries.map(|(key, text)| (key.clone(), serde_json::from_str(text).unwrap())).collect()
}

impl Case {
    /// Our name for a parameter of the reference.
    pub(crate) fn ours(&self, theirs: &str) -> Option<String> {
        self.names.map_or_else(|| Some(theirs.to_owned()), |names| names.ours(theirs))
    }

    /// The network with the generator's weights; its names and shapes are those of the reference.
    pub(crate) fn network(&self, device: &Device) -> Network {
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

    pub(crate) fn bands(&self) -> usize {
        self.shapes.iter().find(|(_, shape)| shape.len() == 4).unwrap().1[1]
    }

    pub(crate) fn image(&self, name: &str, batch: usize, [height, width]: [usize; 2], device: &Device) -> Tensor<4> {
        let shape = [batch, self.bands(), height, width];
        let values: Vec<f32> = numbers(name, shape.iter().product()).into_iter().map(|v| v * 1.7).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}

/// `numbers` of the generator.
pub(crate) fn numbers(name: &str, count: usize) -> Vec<f32> {
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
pub(crate) fn weight(name: &str, shape: Vec<usize>) -> TensorData {
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
