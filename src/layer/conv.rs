//! Convolutions.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::BatchNorm2d;
use crate::ops::{self, ConvSettings, ConvTransposeSettings};

/// A convolution; made by [`super::Init::conv2d`].
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[outputs, inputs / groups, rows, columns]`.
    pub weight: Param<Tensor<4>>,
    /// `[outputs]`.
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    pub(super) settings: ConvSettings,
}

impl Conv2d {
    /// `[batch, outputs, height, width]` of a picture `[batch, inputs, height, width]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        ops::conv2d(x, self.weight.val(), self.bias.as_ref().map(Param::val), self.settings)
    }

    /// [`Self::forward`], plus `shortcut`, of the same shape, if there is one, then a ReLU, in one step.
    pub fn forward_relu(&self, x: Tensor<4>, shortcut: Option<Tensor<4>>) -> Tensor<4> {
        ops::conv2d_relu(x, self.weight.val(), self.bias.as_ref().map(Param::val), shortcut, self.settings)
    }

    /// Makes a batch norm that follows, by its running statistics, a part of weight and bias.
    pub fn fold(&mut self, norm: &BatchNorm2d) {
        let (scale, shift) = norm.scale_and_shift();
        let outputs = scale.dims()[0];
        self.weight = Param::from_tensor(self.weight.val() * scale.clone().reshape([outputs, 1, 1, 1]));
        let bias = match &self.bias {
            Some(bias) => bias.val() * scale + shift,
            None => shift,
        };
        self.bias = Some(Param::from_tensor(bias));
    }
}

/// A transposed convolution; made by [`super::Init::conv_transpose2d`].
#[derive(Module, Debug)]
pub struct ConvTranspose2d {
    /// `[inputs, outputs / groups, rows, columns]`.
    pub weight: Param<Tensor<4>>,
    /// `[outputs]`.
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    pub(super) settings: ConvTransposeSettings,
}

impl ConvTranspose2d {
    /// `[batch, outputs, height, width]` of a picture `[batch, inputs, height, width]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        ops::conv_transpose2d(x, self.weight.val(), self.bias.as_ref().map(Param::val), self.settings)
    }
}
