//! Convolutions.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

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
