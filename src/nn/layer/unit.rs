//! Convolution and batch norm, the unit that residual networks and their heads are made of.

use burn::module::Module;
use burn::tensor::Tensor;

use super::conv::Conv2d;
use super::init::{Init, Initialisation};
use super::norm::BatchNorm2d;
use crate::nn::ops::{ConvSettings, relu};

/// A convolution, then a batch norm, if there is one that was not folded into the convolution.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// The convolution.
    pub conv: Conv2d,
    /// The batch norm.
    pub norm: Option<BatchNorm2d>,
}

impl ConvNorm {
    /// Normalised `[batch, outputs, height, width]` of an image `[batch, inputs, height, width]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.iter().fold(self.conv.forward(x), |x, norm| norm.forward(x))
    }

    /// [`Self::forward`], then a ReLU.
    pub fn forward_relu(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.norm {
            Some(_) => relu(self.forward(x)),
            None => self.conv.forward_relu(x, None),
        }
    }

    /// [`Self::forward`] plus `shortcut`, of the same shape, then a ReLU: the end of a residual block.
    pub fn forward_add_relu(&self, x: Tensor<4>, shortcut: Tensor<4>) -> Tensor<4> {
        match &self.norm {
            Some(_) => relu(self.forward(x) + shortcut),
            None => self.conv.forward_relu(x, Some(shortcut)),
        }
    }

    /// Makes the batch norm, by its running statistics, a part of the convolution: for prediction alone.
    pub fn fold(&mut self) {
        if let Some(norm) = self.norm.take() {
            self.conv.fold(&norm);
        }
    }
}

/// Two convolutions, each with batch norm and ReLU.
#[derive(Module, Debug)]
pub struct DoubleUnit {
    /// The first.
    pub conv1: ConvNorm,
    /// The second.
    pub conv2: ConvNorm,
}

impl DoubleUnit {
    /// One after the other.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv2.forward_relu(self.conv1.forward_relu(x))
    }

    /// [`ConvNorm::fold`] of both.
    pub fn fold(&mut self) {
        self.conv1.fold();
        self.conv2.fold();
    }
}

impl Init {
    /// A square convolution from `channels[0]` to `channels[1]` without bias, padded so that it keeps the size but for
    /// its stride (odd `kernel`), and a batch norm.
    pub fn unit(
        &mut self,
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
        dilation: usize,
        how: Initialisation,
    ) -> ConvNorm {
        let settings = ConvSettings {
            stride: [stride; 2],
            padding: [kernel / 2 * dilation; 2],
            dilation: [dilation; 2],
            ..ConvSettings::default()
        };
        let conv = self.conv2d_with(channels, [kernel; 2], settings, false, how);
        ConvNorm { conv, norm: Some(self.batch_norm2d(channels[1])) }
    }
}
