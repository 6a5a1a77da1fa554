//! VGG-16 (Simonyan and Zisserman, arXiv 1409.1556) as an encoder, with torchvision's layers and names.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::tap::{Reach, Tap};
use crate::nn::layer::{ConvNorm, Init, Initialisation};
use crate::nn::ops::{PoolSettings, max_pool2d, relu};

/// Convolutions of each block, and their output channels. A 2x2 maximum pooling ends every block.
const BLOCKS: [(usize, usize); 5] = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)];

/// Hyperparameters of [`Vgg`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VggConfig {
    /// Whether a batch norm follows every convolution: torchvision's `vgg16_bn`.
    #[serde(default)]
    pub batch_norm: bool,
}

/// Output channels of every convolution, in order.
fn channels() -> impl Iterator<Item = usize> {
    BLOCKS.into_iter().flat_map(|(count, channels)| std::iter::repeat_n(channels, count))
}

/// Block, and place in it, of every convolution; both from 1.
fn places() -> impl Iterator<Item = (usize, usize)> {
    (1..).zip(BLOCKS).flat_map(|(block, (count, _))| (1..=count).map(move |i| (block, i)))
}

/// How many convolutions are needed to see a tap; `None` if there is no such tap.
fn needed(tap: Tap) -> Option<usize> {
    let up_to = |block: usize, i: usize| Some(places().position(|place| place == (block, i))? + 1);
    match tap {
        Tap::Colors => Some(0),
        Tap::Conv(block, i) | Tap::Relu(block, i) => up_to(block, i),
        Tap::Pool(block) => up_to(block, BLOCKS.get(block.checked_sub(1)?)?.0),
        Tap::Stem | Tap::Layer(_) => None,
    }
}

impl VggConfig {
    /// Every tap there is.
    pub(super) fn taps() -> Vec<Tap> {
        places()
            .flat_map(|(block, i)| {
                let pool = (i == BLOCKS[block - 1].0).then_some(Tap::Pool(block));
                [Some(Tap::Conv(block, i)), Some(Tap::Relu(block, i)), pool].into_iter().flatten()
            })
            .collect()
    }

    /// What a number of a tap sees; `None` if there is no such tap.
    pub(super) fn reach(tap: Tap, bands: usize) -> Option<Reach> {
        let needed = needed(tap)?;
        let mut reach = Reach { channels: bands, ..Reach::default() };
        for ((block, i), channels) in places().zip(channels()).take(needed) {
            if i == 1 && block > 1 {
                reach.pool();
            }
            reach.convolve(3, 1, 1);
            reach.channels = channels;
        }
        if let Tap::Pool(_) = tap {
            reach.pool();
        }
        Some(reach)
    }

    /// Builds the convolutions that the taps need, for `bands` input bands, with torchvision's initial weights.
    pub(super) fn init(self, bands: usize, taps: &[Tap], init: &mut Init) -> Vgg {
        let needed = taps.iter().filter_map(|tap| needed(*tap)).max().unwrap_or(0);
        let mut inputs = bands;
        let unit = |outputs| {
            let conv = init.conv2d(std::mem::replace(&mut inputs, outputs), outputs, 3, Initialisation::Torchvision);
            ConvNorm { conv, norm: self.batch_norm.then(|| init.batch_norm2d(outputs)) }
        };
        Vgg { units: channels().take(needed).map(unit).collect() }
    }
}

/// The encoder; see [`VggConfig`].
#[derive(Module, Debug)]
pub struct Vgg {
    units: Vec<ConvNorm>,
}

impl Vgg {
    /// What the taps show of images `[batch, bands, height, width]`, in their order.
    pub(super) fn forward(&self, input: Tensor<4>, taps: &[Tap]) -> Vec<Tensor<4>> {
        let mut seen = vec![None; taps.len()];
        let mut see = |tap: Tap, x: &Tensor<4>| {
            for (_, place) in taps.iter().zip(&mut seen).filter(|(wanted, _)| **wanted == tap) {
                *place = Some(x.clone());
            }
        };
        see(Tap::Colors, &input);
        let mut x = input;
        for (unit, (block, i)) in self.units.iter().zip(places()) {
            x = if taps.contains(&Tap::Conv(block, i)) {
                let x = unit.conv.forward(x);
                see(Tap::Conv(block, i), &x);
                relu(unit.norm.iter().fold(x, |x, norm| norm.forward(x)))
            } else {
                unit.forward_relu(x)
            };
            see(Tap::Relu(block, i), &x);
            let (last, up_to_here) = (i == BLOCKS[block - 1].0, BLOCKS[..block].iter().map(|(count, _)| count).sum());
            if last && (taps.contains(&Tap::Pool(block)) || self.units.len() > up_to_here) {
                x = max_pool2d(x, PoolSettings::square(2));
                see(Tap::Pool(block), &x);
            }
        }
        seen.into_iter().map(|x| x.expect("the network was built for these taps")).collect()
    }

    /// Makes every batch norm a part of the convolution before it, except where that is a tap.
    pub(super) fn fold(&mut self, taps: &[Tap]) {
        for (unit, (block, i)) in self.units.iter_mut().zip(places()) {
            if !taps.contains(&Tap::Conv(block, i)) {
                unit.fold();
            }
        }
    }

    /// What turns `units.1.conv` into `features.2`, as torchvision's `Sequential` counts convolutions, batch norms, ReLUs
    /// and poolings.
    pub(super) fn torch_name(batch_norm: bool, parts: &[&str]) -> Option<String> {
        let ["units", number, part, leaf] = parts[..] else { return None };
        let unit: usize = number.parse().ok()?;
        let (block, _) = places().nth(unit)?;
        let entry = unit * if batch_norm { 3 } else { 2 } + block - 1 + usize::from(part == "norm");
        Some(format!("features.{entry}.{leaf}"))
    }

    /// Whether there are batch norms.
    pub(super) fn has_norms(&self) -> bool {
        self.units.iter().any(|unit| unit.norm.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_torchvisions() {
        let name = |batch_norm, unit: usize, part| {
            Vgg::torch_name(batch_norm, &["units", unit.to_string().as_str(), part, "weight"]).unwrap()
        };
        let last = [name(false, 12, "conv"), name(true, 12, "conv"), name(true, 12, "norm")];
        assert_eq!(last, ["features.28.weight", "features.40.weight", "features.41.weight"]);
        assert_eq!(name(false, 2, "conv"), "features.5.weight");
    }

    #[test]
    fn what_is_seen_grows_with_the_layers() {
        let reach = |tap| VggConfig::reach(tap, 3).unwrap();
        assert_eq!(reach(Tap::Colors), Reach { channels: 3, stride: 1, margin: 0, rounds_up: false });
        assert_eq!(reach(Tap::Conv(1, 1)), Reach { channels: 64, stride: 1, margin: 1, rounds_up: false });
        assert_eq!(reach(Tap::Pool(1)), Reach { channels: 64, stride: 2, margin: 2, rounds_up: false });
        assert_eq!(reach(Tap::Relu(2, 2)), Reach { channels: 128, stride: 2, margin: 6, rounds_up: false });
        assert_eq!(reach(Tap::Pool(5)).stride, 32);
        for absent in [Tap::Conv(1, 3), Tap::Pool(0), Tap::Pool(6), Tap::Layer(1), Tap::Relu(0, 1)] {
            assert_eq!(VggConfig::reach(absent, 3), None, "{absent}");
        }
        assert_eq!(VggConfig::taps().len(), 13 + 13 + 5);
    }
}
