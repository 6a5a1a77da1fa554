//! Batch norm.

use burn::module::{Flag, Module, Param};
use burn::tensor::{Device, Tensor};

use super::statistic::Statistic;
use crate::nn::group::Share;
use crate::nn::ops::{self, NormSettings, dry};

/// Batch norm over `[batch, channels, height, width]` (Ioffe and Szegedy, arXiv 1502.03167): by the statistics of the
/// batch on a device that differentiates, else by the running ones.
#[derive(Module, Debug)]
pub struct BatchNorm2d {
    /// Scale by channel.
    pub weight: Param<Tensor<1>>,
    /// Shift by channel.
    pub bias: Param<Tensor<1>>,
    /// Mean by channel, over the batches so far.
    pub running_mean: Statistic,
    /// Unbiased variance by channel, over the batches so far.
    pub running_var: Statistic,
    /// Whether training goes by the statistics of the batch and updates the running ones.
    pub training: Param<Flag>,
    #[module(skip)]
    settings: NormSettings,
}

impl BatchNorm2d {
    /// Scale 1, shift 0, running mean 0 and variance 1, as in PyTorch.
    pub fn new(channels: usize, settings: NormSettings, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::ones([channels], device)),
            bias: Param::from_tensor(Tensor::zeros([channels], device)),
            running_mean: Statistic::new(Tensor::zeros([channels], device)),
            running_var: Statistic::new(Tensor::ones([channels], device)),
            training: Param::<Flag>::from_bool(true),
            settings,
        }
    }

    /// What the running statistics come to, by channel: factor and summand.
    pub fn scale_and_shift(&self) -> (Tensor<1>, Tensor<1>) {
        let (mean, var) = (self.running_mean.value(), self.running_var.value());
        let scale = self.weight.val() / (var + self.settings.epsilon).sqrt();
        (scale.clone(), self.bias.val() - mean * scale)
    }

    /// `[batch, channels, height, width]`, normalised, scaled and shifted. A channel with a single value (one image of
    /// one pixel) has no variance: it is normalised by the running statistics in training, too. In a [`Share`] of a batch
    /// with common statistics, the values of all processes count.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let out = self.normalised(x);
        dry::layer(self.weight.id, "BatchNorm2d", &out, || 0);
        out
    }

    fn normalised(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, _, height, width] = x.dims();
        let (weight, bias) = (self.weight.val(), self.bias.val());
        if !x.device().is_autodiff()
            || !self.training.val().is_enabled()
            || (batch * height * width == 1 && Share::statistics().is_none())
        {
            let (mean, var) = (self.running_mean.value(), self.running_var.value());
            return ops::batch_norm_infer(x, weight, bias, mean, var, self.settings.epsilon);
        }
        Statistic::update([&self.running_mean, &self.running_var], |[mean, var]| {
            let done = ops::batch_norm_train(x, weight, bias, mean, var, self.settings);
            ([done.running_mean, done.running_var], done.output)
        })
    }
}
