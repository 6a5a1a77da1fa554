//! Layers of encoders whose outputs are features, and what a number there depends on.

use crate::base::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
/// A place in an encoder where its features are taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Tap {
    /// `colors`: the normalised image itself.
    Colors,
    /// `conv1_2`: the second convolution of a VGG's first block, before its batch norm and ReLU.
    Conv(usize, usize),
    /// `relu1_2`: the same after them.
    Relu(usize, usize),
    /// `pool1`: the pooling that ends a VGG's first block.
    Pool(usize),
    /// `stem`: a ResNet's stem, before its pooling.
    Stem,
    /// `layer1`: a ResNet's first stage.
    Layer(usize),
}

impl fmt::Display for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Colors => f.write_str("colors"),
            Self::Conv(block, i) => write!(f, "conv{block}_{i}"),
            Self::Relu(block, i) => write!(f, "relu{block}_{i}"),
            Self::Pool(block) => write!(f, "pool{block}"),
            Self::Stem => f.write_str("stem"),
            Self::Layer(stage) => write!(f, "layer{stage}"),
        }
    }
}

impl FromStr for Tap {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim().to_lowercase();
        let number = |kind: &str| text.strip_prefix(kind)?.parse::<usize>().ok();
        let numbers = |kind: &str| {
            let (block, i) = text.strip_prefix(kind)?.split_once('_')?;
            Some((block.parse::<usize>().ok()?, i.parse::<usize>().ok()?))
        };
        let named = match text.as_str() {
            "colors" | "colours" => Some(Self::Colors),
            "stem" => Some(Self::Stem),
            _ => None,
        };
        named
            .or_else(|| numbers("conv").map(|(block, i)| Self::Conv(block, i)))
            .or_else(|| numbers("relu").map(|(block, i)| Self::Relu(block, i)))
            .or_else(|| number("pool").map(Self::Pool))
            .or_else(|| number("layer").map(Self::Layer))
            .ok_or_else(|| {
                let known =
                    "colors, of a VGG such as conv1_1, relu1_1 and pool1, of a ResNet stem and layer1 to layer4";
                Error::unknown("tap", text, &[known])
            })
    }
}

impl TryFrom<String> for Tap {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// Channels, stride and receptive field of the features at a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Numbers at each place.
    pub channels: usize,
    /// Pixels between places; sides of the image are divided by it.
    pub stride: usize,
    /// A number depends on the pixels of its place (`stride` of them) and, at most, on this many before and after these.
    pub margin: usize,
    /// Whether a part of a place at the end of a side counts as one.
    pub rounds_up: bool,
}

impl Default for Reach {
    fn default() -> Self {
        Self { channels: 0, stride: 1, margin: 0, rounds_up: false }
    }
}

impl Reach {
    /// Goes on through a convolution, or a pooling that is padded as one.
    pub(super) fn convolve(&mut self, kernel: usize, stride: usize, dilation: usize) {
        self.margin += kernel / 2 * dilation * self.stride;
        self.stride *= stride;
    }

    /// Goes on through a 2x2 pooling, whose windows are the new places.
    pub(super) fn pool(&mut self) {
        self.stride *= 2;
    }

    /// Places along a side of this many pixels; none where the image is too small.
    pub fn places(self, pixels: usize) -> usize {
        if self.rounds_up { pixels.div_ceil(self.stride) } else { pixels / self.stride }
    }
}
