//! What a network is made of and what it needs: layers, parameters, multiply-adds, memory.
//!
//! Found by running the network's own program dry ([`crate::nn::ops::dry`]): nothing is computed, and next to no memory
//! taken, whatever the size.

mod memory;

use crate::nn::loss::Target;
use std::collections::HashMap;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::Serialize;

use super::device::DeviceChoice;
use super::learner::{Learner, OptimizerConfig, OptimizerKind, Part, Settings};
use super::loss::Loss;
use super::model::{Network, NetworkConfig};
use crate::base::{Result, Size, require};
use crate::nn::model::{FeatureEncoderConfig, InferenceNetwork, ParameterShape, Tap, shapes};
use crate::nn::ops::dry::{self, LayerRun, Record};
pub use memory::{Held, Memory};

/// Longest side of an image, in pixels, that is accepted.
pub const MAX_SIDE: usize = 1 << 20;

/// A layer with parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// PyTorch's name.
    pub name: String,
    /// PyTorch's name for what it is, such as `Conv2d`.
    pub kind: &'static str,
    /// Channels, height and width of its output.
    pub output: [usize; 3],
    /// Trained parameters; running statistics do not count.
    pub parameters: u64,
    /// Multiplications, each with an addition, for one image: those of convolutions, transposed ones too, without
    /// their bias. Other layers count as 0.
    pub multiply_adds: u64,
    /// Whether only training runs it, as the head of deep supervision.
    pub training_only: bool,
}

/// What a network is made of and what it needs.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The layers with parameters, in the order in which they run; last those of training alone.
    pub layers: Vec<Layer>,
    /// Trained parameters of all layers.
    pub parameters: u64,
    /// Multiply-adds of all layers for one image in inference.
    pub multiply_adds: u64,
    /// Of the most probable class of every pixel.
    pub inference: Memory,
    /// Of steps with the cross-entropy and SGD with momentum.
    pub training: Memory,
}

/// Summarises a network for images of `size`; memory is in float32 on `device`. An error if the network's
/// hyperparameters are wrong, a side is 0 or more than [`MAX_SIDE`], or the device is not there.
pub fn summarise(config: &NetworkConfig, size: Size, device: DeviceChoice) -> Result<Summary> {
    let outline = Outline::new(config, size)?;
    let images = outline.images(&outline.device);
    let inference = dry::record(|| drop(outline.network.forward(images.clone()))).1;
    let training = outline.train(Settings::plain(OptimizerConfig::sgd()), Loss::cross_entropy())?;
    let parameters = shapes(&outline.network);
    let layers = layers(&parameters, &inference.layers, &training.layers);
    let device = device.resolve()?;
    // SGD keeps the last step of every parameter.
    let weights = numbers(&parameters, |_| true);
    let trained = numbers(&parameters, is_trained);
    Ok(Summary {
        parameters: layers.iter().map(|layer| layer.parameters).sum(),
        multiply_adds: layers.iter().filter(|layer| !layer.training_only).map(|layer| layer.multiply_adds).sum(),
        layers,
        inference: Memory::new(device, &outline.predict().events, 4 * weights),
        training: Memory::new(device, &training.events, 4 * (weights + trained)),
    })
}

/// Memory of inference on images of `size`, in float32 on `device`: all that the process holds on a CPU, the tensors
/// on a GPU. Errors are those of [`summarise`].
pub fn inference_memory(config: &NetworkConfig, size: Size, device: DeviceChoice) -> Result<Memory> {
    let outline = Outline::new(config, size)?;
    let weights = numbers(&shapes(&outline.network), |_| true);
    Ok(Memory::new(device.resolve()?, &outline.predict().events, 4 * weights))
}

/// Memory of the outputs of an encoder's layers `taps` for one image of `size`, as [`inference_memory`] has it.
pub fn feature_memory(
    config: &FeatureEncoderConfig,
    taps: &[Tap],
    bands: usize,
    size: Size,
    device: DeviceChoice,
) -> Result<Memory> {
    let flex = DeviceChoice::Flex.open()?;
    let encoder = config.hollow(bands, taps, &flex)?;
    let weights = numbers(&shapes(&encoder), |_| true);
    let images = no_images([bands, size.height, size.width], &flex);
    let folded = dry::record(|| encoder.folded(taps)).0;
    let record = dry::record(|| drop(folded.forward(images.clone(), taps))).1;
    Ok(Memory::new(device.resolve()?, &record.events, 4 * weights))
}

/// Memory of a training step as `settings` have it, on images of `size`, in float32 on `device`; with `loss`. Errors
/// are those of [`summarise`].
pub fn training_memory(
    config: &NetworkConfig,
    size: Size,
    device: DeviceChoice,
    settings: &Settings,
    loss: &Loss,
) -> Result<Memory> {
    let outline = Outline::new(config, size)?;
    let parameters = shapes(&outline.network);
    let (weights, trained) = (numbers(&parameters, |_| true), numbers(&parameters, is_trained));
    let states = match settings.optimizer.kind {
        OptimizerKind::Adam(_) | OptimizerKind::AdamW(_) => 2,
        OptimizerKind::Sgd { .. } => 1,
    };
    let copies = 1 + u64::from(settings.ema.is_some());
    let events = outline.train(settings.clone(), loss.clone())?.events;
    Ok(Memory::new(device.resolve()?, &events, 4 * (copies * weights + states * trained)))
}

/// A network without values, and the shape of its images.
struct Outline {
    network: Network,
    device: Device,
    bands: usize,
    size: Size,
}

impl Outline {
    fn new(config: &NetworkConfig, size: Size) -> Result<Self> {
        for side in [size.height, size.width] {
            require((1..=MAX_SIDE).contains(&side), "size", side, format!("1 to {MAX_SIDE} pixels a side"))?;
        }
        let device = DeviceChoice::Flex.open()?;
        let network = config.hollow(&device)?;
        Ok(Self { network, device, bands: config.bands_and_outputs().0.unwrap_or_default(), size })
    }

    /// No images, all of that shape.
    fn images(&self, device: &Device) -> Tensor<4> {
        no_images([self.bands, self.size.height, self.size.width], device)
    }

    /// As prediction runs it: batch norms in the convolutions, enlarged and decided on elsewhere, row by row.
    fn predict(&self) -> Record {
        let images = self.images(&self.device);
        dry::record(|| drop(InferenceNetwork::from(self.network.clone()).scores(images.clone()))).1
    }

    fn train(&self, settings: Settings, loss: Loss) -> Result<Record> {
        let device = self.device.clone().autodiff();
        let images = self.images(&device);
        let labels = TensorData::new(Vec::<i32>::new(), [0, self.size.height, self.size.width]);
        let target = Target { labels: Tensor::<3, Int>::from_data(labels, &device), complete: true };
        let part = Part::whole(images, target, 0);
        let learner = Learner::new(self.network.clone().train(), settings, loss)?;
        Ok(dry::record(|| drop(learner.gradients(part.clone()))).1)
    }
}

/// No images, all of bands, height and width.
fn no_images([bands, height, width]: [usize; 3], device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(Vec::<f32>::new(), [0, bands, height, width]), device)
}

/// The layers by name: those that inference runs, then those of training alone.
fn layers(parameters: &[ParameterShape], inference: &[LayerRun], training: &[LayerRun]) -> Vec<Layer> {
    let mut trained: HashMap<&str, u64> = HashMap::new();
    for parameter in parameters.iter().filter(|parameter| is_trained(parameter)) {
        *trained.entry(layer_of(&parameter.name)).or_default() += parameter.count();
    }
    let in_inference = |run: &&LayerRun| inference.iter().any(|other| other.weight == run.weight);
    let runs = inference.iter().map(|run| (run, false));
    let runs = runs.chain(training.iter().filter(|run| !in_inference(run)).map(|run| (run, true)));
    runs.filter_map(|(run, training_only)| {
        let name = layer_of(&parameters.iter().find(|parameter| parameter.id == run.weight)?.name);
        let [_, channels, height, width] = run.output;
        Some(Layer {
            name: name.to_owned(),
            kind: run.kind,
            output: [channels, height, width],
            parameters: trained.get(name).copied().unwrap_or_default(),
            multiply_adds: run.multiply_adds,
            training_only,
        })
    })
    .collect()
}

/// The name of the layer that a parameter belongs to.
fn layer_of(parameter: &str) -> &str {
    parameter.rsplit_once('.').map_or(parameter, |(layer, _)| layer)
}

fn is_trained(parameter: &ParameterShape) -> bool {
    !parameter.name.ends_with(".running_mean") && !parameter.name.ends_with(".running_var")
}

/// Numbers in the parameters that `wanted` picks.
fn numbers(parameters: &[ParameterShape], wanted: impl Fn(&ParameterShape) -> bool) -> u64 {
    parameters.iter().filter(|parameter| wanted(parameter)).map(ParameterShape::count).sum()
}
