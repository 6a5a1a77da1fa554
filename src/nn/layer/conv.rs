//! Convolutions.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::norm::BatchNorm2d;
use crate::nn::ops::{self, ConvSettings, ConvTransposeSettings, dry};

/// A convolution; made by [`super::init::Init::conv2d`].
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
    /// `[batch, outputs, height, width]` of an image `[batch, inputs, height, width]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let out = ops::conv2d(x, self.weight.val(), self.bias.as_ref().map(Param::val), self.settings);
        self.note(&out);
        out
    }

    /// [`Self::forward`], plus `shortcut`, of the same shape, if there is one, then a ReLU, in one step.
    pub fn forward_relu(&self, x: Tensor<4>, shortcut: Option<Tensor<4>>) -> Tensor<4> {
        let bias = self.bias.as_ref().map(Param::val);
        let out = ops::conv2d_relu(x, self.weight.val(), bias, shortcut, self.settings);
        self.note(&out);
        out
    }

    /// Tells a dry run of this layer.
    fn note(&self, out: &Tensor<4>) {
        dry::layer(self.weight.id, "Conv2d", out, || {
            let [_, _, height, width] = out.dims();
            multiply_adds(&self.weight.val(), [height, width])
        });
    }

    /// Makes a batch norm that follows, by its running statistics, a part of weight and bias.
    pub fn fold(&mut self, norm: &BatchNorm2d) {
        if dry::is_on() {
            self.bias = Some(norm.bias.clone());
            return;
        }
        let (scale, shift) = norm.scale_and_shift();
        let outputs = scale.dims()[0];
        self.weight = Param::from_tensor(self.weight.val() * scale.clone().reshape([outputs, 1, 1, 1]));
        let bias = self.bias.iter().fold(shift, |shift, bias| bias.val() * scale.clone() + shift);
        self.bias = Some(Param::from_tensor(bias));
    }
}

/// A transposed convolution; made by [`super::init::Init::conv_transpose2d`].
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
    /// `[batch, outputs, height, width]` of an image `[batch, inputs, height, width]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let out = ops::conv_transpose2d(x, self.weight.val(), self.bias.as_ref().map(Param::val), self.settings);
        // Every pixel of the input meets every weight of its channel.
        dry::layer(self.weight.id, "ConvTranspose2d", &out, || multiply_adds(&self.weight.val(), [height, width]));
        out
    }
}

/// Multiplications by `weight` at this number of pixels of one image.
fn multiply_adds(weight: &Tensor<4>, [height, width]: [usize; 2]) -> u64 {
    weight.dims().into_iter().chain([height, width]).fold(1, |product, side| product.saturating_mul(side as u64))
}
