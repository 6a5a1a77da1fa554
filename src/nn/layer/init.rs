//! Initial weights, drawn on the host: the same seed gives the same network on every device.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::conv::{Conv2d, ConvTranspose2d};
use super::norm::BatchNorm2d;
use crate::nn::ops::{ConvSettings, ConvTransposeSettings, NormSettings};

/// Distribution of initial weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initialisation {
    /// PyTorch's default for convolutions: weight and bias uniform in ±1/sqrt(fan-in).
    #[default]
    Pytorch,
    /// He et al. (arXiv 1502.01852) for layers before a ReLU: weight uniform in ±sqrt(6/fan-in), bias 0. Keeps the
    /// signal's size through a deep network without batch norm, where PyTorch's default lets it fade.
    He,
    /// torchvision's for residual networks: weight normal with variance 2/fan-out, bias 0.
    Torchvision,
}

/// Distribution of the numbers of one parameter, around 0.
#[derive(Debug, Clone, Copy)]
enum Distribution {
    /// Uniform in ± the bound.
    Uniform(f32),
    /// Normal with this standard deviation.
    Normal(f32),
}

impl Initialisation {
    /// Of a weight with `outputs` rows of `fan_in` numbers, `kernel` of them for one input channel.
    fn of_weight(self, outputs: usize, fan_in: usize, kernel: usize) -> Distribution {
        let plain = 1.0 / (fan_in as f32).sqrt();
        match self {
            Self::Pytorch => Distribution::Uniform(plain),
            Self::He => Distribution::Uniform(6f32.sqrt() * plain),
            Self::Torchvision => Distribution::Normal((2.0 / (outputs * kernel) as f32).sqrt()),
        }
    }
}

/// Where new layers take their random numbers and their device from.
#[derive(Debug)]
pub struct Init {
    /// None for layers of which only the shapes count.
    rng: Option<ChaCha8Rng>,
    device: Device,
    norm: NormSettings,
}

impl Init {
    /// Layers on `device`, random numbers from `seed`.
    pub fn new(seed: u64, device: &Device) -> Self {
        Self { rng: Some(ChaCha8Rng::seed_from_u64(seed)), device: device.clone(), norm: NormSettings::default() }
    }

    /// Layers on `device` whose weights have the right shapes, but are all one number in memory: quick to make, of any
    /// size; for weights that are loaded next, and for dry runs.
    pub fn hollow(device: &Device) -> Self {
        Self { rng: None, device: device.clone(), norm: NormSettings::default() }
    }

    /// Batch norms with these settings from here on.
    pub fn set_norm(&mut self, norm: NormSettings) {
        self.norm = norm;
    }

    /// A convolution with bias, stride 1, that keeps the size (odd `kernel`).
    pub fn conv2d(&mut self, inputs: usize, outputs: usize, kernel: usize, how: Initialisation) -> Conv2d {
        let settings = ConvSettings { padding: [kernel / 2; 2], ..ConvSettings::default() };
        self.conv2d_with([inputs, outputs], [kernel; 2], settings, true, how)
    }

    /// A convolution from `channels[0]` to `channels[1]`.
    pub fn conv2d_with(
        &mut self,
        [inputs, outputs]: [usize; 2],
        [rows, columns]: [usize; 2],
        settings: ConvSettings,
        bias: bool,
        how: Initialisation,
    ) -> Conv2d {
        let shape = [outputs, inputs / settings.groups, rows, columns];
        Conv2d { weight: self.weight(shape, how), bias: bias.then(|| self.bias(outputs, shape, how)), settings }
    }

    /// A transposed convolution from `channels[0]` to `channels[1]`, with bias.
    pub fn conv_transpose2d(
        &mut self,
        [inputs, outputs]: [usize; 2],
        [rows, columns]: [usize; 2],
        settings: ConvTransposeSettings,
        how: Initialisation,
    ) -> ConvTranspose2d {
        let shape = [inputs, outputs / settings.conv.groups, rows, columns];
        // PyTorch counts the fan-in along the weight's second axis, which is the outputs here.
        ConvTranspose2d { weight: self.weight(shape, how), bias: Some(self.bias(outputs, shape, how)), settings }
    }

    /// A batch norm.
    pub fn batch_norm2d(&self, channels: usize) -> BatchNorm2d {
        BatchNorm2d::new(channels, self.norm, &self.device)
    }

    fn weight(&mut self, shape: [usize; 4], how: Initialisation) -> Param<Tensor<4>> {
        let [first, second, rows, columns] = shape;
        self.parameter(shape, how.of_weight(first, second * rows * columns, rows * columns))
    }

    /// The bias of a layer with weights of `shape`.
    fn bias(
        &mut self,
        outputs: usize,
        [_, second, rows, columns]: [usize; 4],
        how: Initialisation,
    ) -> Param<Tensor<1>> {
        match how {
            Initialisation::Pytorch => {
                let bound = 1.0 / ((second * rows * columns) as f32).sqrt();
                self.parameter([outputs], Distribution::Uniform(bound))
            }
            Initialisation::He | Initialisation::Torchvision => {
                Param::from_tensor(Tensor::zeros([outputs], &self.device))
            }
        }
    }

    fn parameter<const D: usize>(&mut self, shape: [usize; D], from: Distribution) -> Param<Tensor<D>> {
        let Some(rng) = &mut self.rng else {
            return Param::from_tensor(Tensor::<1>::zeros([1], &self.device).expand(shape));
        };
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| draw(rng, from)).collect();
        Param::from_data(TensorData::new(values, shape.to_vec()), &self.device)
    }
}

fn draw(rng: &mut ChaCha8Rng, from: Distribution) -> f32 {
    match from {
        Distribution::Uniform(bound) => rng.random_range(-bound..bound),
        // Box and Muller; 1 - x keeps the logarithm's argument above 0.
        Distribution::Normal(deviation) => {
            let (radius, angle): (f32, f32) = (rng.random(), rng.random());
            deviation * (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f32::consts::TAU * angle).cos()
        }
    }
}
