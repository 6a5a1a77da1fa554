//! The U-Net of the oil-seep system (EvgenyDyshlyuk/Oil_Seep_Detection): plain double convolutions, no batch norm,
//! bilinear enlargement with aligned corners.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layer::{Conv2d, Init, Initialisation};
use crate::ops::{Interpolation, PoolSettings, Resampling, interpolate, max_pool2d, relu};

/// Most weights of the deepest level: 8 GiB as float32.
const MAX_WEIGHTS: u128 = 2 << 30;

/// Hyperparameters of [`SeepsUnet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeepsUnetConfig {
    /// Channels after the first block; each further level has twice as many.
    pub width: usize,
    /// Levels, the first at full size.
    pub depth: usize,
    /// Input bands; open until a data set is chosen.
    pub bands: Option<usize>,
    /// Output channels; open until a data set is chosen.
    pub outputs: Option<usize>,
    /// Initial weights of the 3x3 convolutions; the last, 1x1, has PyTorch's.
    #[serde(default)]
    pub initialisation: Initialisation,
}

impl SeepsUnetConfig {
    /// A configuration with PyTorch's initial weights.
    pub fn new(width: usize, depth: usize, bands: usize, outputs: usize) -> Self {
        Self { width, depth, bands: Some(bands), outputs: Some(outputs), initialisation: Initialisation::Pytorch }
    }

    /// Bands and outputs, if they are set and everything is within what can be built.
    fn checked(&self) -> Result<(usize, usize)> {
        let (Some(bands), Some(outputs)) = (self.bands, self.outputs) else {
            return Err(Error::Config("the network's bands and outputs are not set".into()));
        };
        if self.width == 0 || bands == 0 || outputs == 0 || !(2..=10).contains(&self.depth) {
            return Err(Error::Config(format!(
                "unet-seeps needs width, bands and outputs of at least 1 and a depth of 2 to 10; \
                 got width {}, bands {bands}, outputs {outputs}, depth {}",
                self.width, self.depth
            )));
        }
        // The deepest level dominates: its two convolutions have 9 (w/2 + w) w weights.
        let deepest = (self.width as u128) << (self.depth - 1);
        let weights = 9 * deepest * deepest * 3 / 2;
        if weights > MAX_WEIGHTS {
            return Err(Error::Config(format!(
                "unet-seeps of width {} and depth {} would have more than {weights} weights, at most {MAX_WEIGHTS} are \
                 sensible; take a smaller --width",
                self.width, self.depth
            )));
        }
        Ok((bands, outputs))
    }

    /// Says what is wrong with the hyperparameters.
    pub fn check(&self) -> Result<()> {
        self.checked().map(drop)
    }

    /// Builds the network.
    pub fn init(&self, init: &mut Init) -> Result<SeepsUnet> {
        let (bands, outputs) = self.checked()?;
        let width = |level: usize| self.width << level;
        let inputs = |level: usize| if level == 0 { bands } else { width(level - 1) };
        let block = |init: &mut Init, inputs, outputs| DoubleConv::new(init, inputs, outputs, self.initialisation);
        Ok(SeepsUnet {
            dconv_down: (0..self.depth).map(|l| block(init, inputs(l), width(l))).collect(),
            dconv_up: (0..self.depth - 1).map(|l| block(init, width(l) + width(l + 1), width(l))).collect(),
            conv_last: init.conv2d(self.width, outputs, 1, Initialisation::Pytorch),
        })
    }
}

/// The network; see [`SeepsUnetConfig`].
#[derive(Module, Debug)]
pub struct SeepsUnet {
    /// From full size down.
    dconv_down: Vec<DoubleConv>,
    /// By level, full size first: used from the last to the first.
    dconv_up: Vec<DoubleConv>,
    conv_last: Conv2d,
}

impl SeepsUnet {
    /// Logits `[batch, outputs, height, width]`; height and width must be multiples of [`Self::multiple`].
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let mut x = input;
        let mut skips = Vec::with_capacity(self.dconv_up.len());
        for (level, block) in self.dconv_down.iter().enumerate() {
            if level > 0 {
                skips.push(x.clone());
                x = max_pool2d(x, PoolSettings::square(2));
            }
            x = block.forward(x);
        }
        for block in self.dconv_up.iter().rev() {
            if let Some(skip) = skips.pop() {
                x = block.forward(Tensor::cat(vec![enlarge(x), skip], 1));
            }
        }
        self.conv_last.forward(x)
    }

    /// Both sides are halved once a level after the first.
    pub fn multiple(&self) -> usize {
        1 << self.dconv_up.len()
    }
}

/// Twice the size, bilinear, corners aligned.
fn enlarge(x: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    interpolate(x, [2 * height, 2 * width], Resampling { interpolation: Interpolation::Bilinear, align_corners: true })
}

/// Two 3x3 convolutions, each with a ReLU: `Sequential(conv, relu, conv, relu)`.
#[derive(Module, Debug)]
struct DoubleConv {
    first: Conv2d,
    second: Conv2d,
}

impl DoubleConv {
    fn new(init: &mut Init, inputs: usize, outputs: usize, how: Initialisation) -> Self {
        Self { first: init.conv2d(inputs, outputs, 3, how), second: init.conv2d(outputs, outputs, 3, how) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        relu(self.second.forward(relu(self.first.forward(x))))
    }
}

/// `dconv_down.0.first.weight` is `dconv_down1.0.weight` in PyTorch: levels count from 1 inside the name, and the two
/// convolutions are entries 0 and 2 of their `Sequential`.
pub(super) fn torch_name(path: &str) -> String {
    let Some((side, rest)) = path.split_once('.').filter(|(side, _)| side.starts_with("dconv_")) else {
        return path.to_owned();
    };
    let (level, rest) = rest.split_once('.').unwrap_or((rest, ""));
    let level = level.parse::<usize>().map_or_else(|_| level.to_owned(), |l| (l + 1).to_string());
    format!("{side}{level}.{}", rest.replacen("first", "0", 1).replacen("second", "2", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_original() {
        for (path, name) in [
            ("dconv_down.0.first.weight", "dconv_down1.0.weight"),
            ("dconv_up.2.second.bias", "dconv_up3.2.bias"),
            ("conv_last.bias", "conv_last.bias"),
        ] {
            assert_eq!(torch_name(path), name);
        }
    }
}
