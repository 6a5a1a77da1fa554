//! Convolution and batch norm, the unit that residual networks and their heads are made of.

use burn::module::Module;
use burn::tensor::Tensor;

use super::{BatchNorm2d, Conv2d, Init, Initialisation};
use crate::ops::{ConvSettings, relu};

/// A convolution without bias, then a batch norm; made by [`Init::unit`].
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// The convolution.
    pub conv: Conv2d,
    /// The batch norm.
    pub norm: BatchNorm2d,
}

impl ConvNorm {
    /// Normalised `[batch, outputs, height, width]` of a picture `[batch, inputs, height, width]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }

    /// [`Self::forward`], then a ReLU.
    pub fn forward_relu(&self, x: Tensor<4>) -> Tensor<4> {
        relu(self.forward(x))
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
        ConvNorm { conv, norm: self.batch_norm2d(channels[1]) }
    }
}
