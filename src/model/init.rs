//! Initial weights, drawn on the host: the same seed gives the same network on every device.

use burn::module::Param;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

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
}

/// Where new layers take their random numbers and their device from.
#[derive(Debug)]
pub struct Init {
    rng: ChaCha8Rng,
    device: Device,
}

impl Init {
    /// Layers on `device`, random numbers from `seed`.
    pub fn new(seed: u64, device: &Device) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed), device: device.clone() }
    }

    /// A convolution with bias, stride 1, that keeps the size (odd `kernel`).
    pub fn conv2d(&mut self, inputs: usize, outputs: usize, kernel: usize, how: Initialisation) -> Conv2d {
        let side = kernel / 2;
        let mut conv = Conv2dConfig::new([inputs, outputs], [kernel, kernel])
            .with_padding(PaddingConfig2d::Explicit(side, side, side, side))
            .with_initializer(burn::nn::Initializer::Zeros)
            .init(&self.device);
        let plain = 1.0 / ((inputs * kernel * kernel) as f32).sqrt();
        let bound = match how {
            Initialisation::Pytorch => plain,
            Initialisation::He => 6f32.sqrt() * plain,
        };
        conv.weight = Param::from_data(self.uniform(vec![outputs, inputs, kernel, kernel], bound), &self.device);
        // The bias of `He` is the zero that the configuration asked for.
        if how == Initialisation::Pytorch {
            conv.bias = Some(Param::from_data(self.uniform(vec![outputs], bound), &self.device));
        }
        conv
    }

    fn uniform(&mut self, shape: Vec<usize>, bound: f32) -> TensorData {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| self.rng.random_range(-bound..bound)).collect();
        TensorData::new(values, shape)
    }
}
