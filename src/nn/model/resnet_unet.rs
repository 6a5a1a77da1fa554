//! The U-Net on ResNet-18 of the oil-seep system (EvgenyDyshlyuk/Oil_Seep_Detection, after usuyama/pytorch-unet): no
//! batch norm outside the encoder, bilinear enlargement with aligned corners, and a branch at full size.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::resnet::{self, Dilation, ResNet, ResNetConfig, State, Variant};
use super::sizes;
use crate::base::{Error, Result};
use crate::nn::layer::{Conv2d, Init, Initialisation};
use crate::nn::ops::{Interpolation, Resampling, concatenate, interpolate};

/// Hyperparameters of [`ResnetUnet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResnetUnetConfig {
    /// The encoder; four stages, not dilated.
    #[serde(default = "published_encoder")]
    pub encoder: ResNetConfig,
    /// Input bands; open until a data set is chosen.
    pub bands: Option<usize>,
    /// Output channels; open until a data set is chosen.
    pub outputs: Option<usize>,
}

fn published_encoder() -> ResNetConfig {
    ResNetConfig { dilation: Dilation::None, ..ResNetConfig::new(Variant::Resnet18) }
}

impl ResnetUnetConfig {
    /// Hyperparameters with a ResNet-18 encoder, for `bands` input bands and `outputs` output channels.
    pub fn new(bands: usize, outputs: usize) -> Self {
        Self { encoder: published_encoder(), bands: Some(bands), outputs: Some(outputs) }
    }

    pub(super) fn checked(&self) -> Result<[usize; 2]> {
        let [bands, outputs] = sizes(self.bands, self.outputs)?;
        self.encoder.check()?;
        if self.encoder.dilation != Dilation::None || self.encoder.stages != 4 {
            return Err(Error::conflict("encoder", "of unet-resnet must have 4 stages and dilation = \"none\""));
        }
        Ok([bands, outputs])
    }

    /// Builds the network: torchvision's initial weights in the encoder, PyTorch's elsewhere.
    pub fn init(&self, init: &mut Init) -> Result<ResnetUnet> {
        let [bands, outputs] = self.checked()?;
        let base_model = self.encoder.init(bands, init);
        let width = self.encoder.width;
        let channels = |level: usize| {
            if level == 0 { self.encoder.stem_channels() } else { self.encoder.channels(level) }
        };
        let mut conv = |inputs, outputs, kernel| init.conv2d(inputs, outputs, kernel, Initialisation::Pytorch);
        let lateral = (0..=4).map(|level| conv(channels(level), channels(level), 1)).collect();
        // Channels of `conv_up0` to `conv_up3`.
        let up = [2 * width, 4 * width, 4 * width, 8 * width];
        let below = |level: usize| up.get(level + 1).copied().unwrap_or(channels(4));
        let up_convs = (0..4).map(|level| conv(channels(level) + below(level), up[level], 3)).collect();
        let original = [[bands, width], [width, width], [width + up[0], width]];
        Ok(ResnetUnet {
            base_model,
            lateral,
            up: up_convs,
            original: original.map(|[inputs, outputs]| conv(inputs, outputs, 3)),
            last: conv(width, outputs, 1),
        })
    }
}

/// The network; see [`ResnetUnetConfig`].
#[derive(Module, Debug)]
pub struct ResnetUnet {
    base_model: ResNet,
    /// 1x1 convolutions on stem and stages.
    lateral: Vec<Conv2d>,
    /// By level, the stem's first: used from the last to the first.
    up: Vec<Conv2d>,
    /// At full size: two on the input, one at the end.
    original: [Conv2d; 3],
    last: Conv2d,
}

impl ResnetUnet {
    /// Logits `[batch, outputs, height, width]`; height and width must be multiples of [`Self::multiple`].
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.finish((0..self.segments()).fold(vec![input], |state, i| self.segment(i, state)))
    }

    /// Those of the encoder; the first has the branch at full size, too.
    pub(super) fn segments(&self) -> usize {
        self.base_model.segments()
    }

    pub(super) fn segment(&self, i: usize, mut state: State) -> State {
        if i == 0 {
            let [first, second, _] = &self.original;
            state.insert(0, second.forward_relu(first.forward_relu(state[0].clone(), None), None));
        }
        let features = state.split_off(1);
        state.extend(self.base_model.segment(i, features));
        state
    }

    pub(super) fn finish(&self, mut state: State) -> Tensor<4> {
        let original = state.remove(0);
        let mut laterals: Vec<_> =
            state.into_iter().zip(&self.lateral).map(|(x, conv)| conv.forward_relu(x, None)).collect();
        let mut x = laterals.pop().expect("an encoder has stages");
        for (lateral, conv) in laterals.into_iter().zip(&self.up).rev() {
            x = conv.forward_relu(concatenate(vec![twice(x), lateral]), None);
        }
        let [_, _, third] = &self.original;
        self.last.forward(third.forward_relu(concatenate(vec![twice(x), original]), None))
    }

    pub(super) fn fold(&mut self) {
        self.base_model.fold();
    }

    /// The number that both sides of the input must be a multiple of: 32, as the encoder halves them five times.
    pub fn multiple(&self) -> usize {
        32
    }
}

/// `x` at twice its size, bilinear with corners aligned.
pub(super) fn twice(x: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let how = Resampling { interpolation: Interpolation::Bilinear, align_corners: true };
    interpolate(x, [2 * height, 2 * width], how)
}

/// The original's names: each convolution but the last is entry 0 of a `Sequential`.
pub(super) fn torch_name(parts: &[&str]) -> Option<String> {
    Some(match parts[..] {
        ["base_model", ref rest @ ..] => format!("base_model.{}", resnet::torch_name(rest)?),
        ["lateral", level, leaf] => format!("layer{level}_1x1.0.{leaf}"),
        ["up", level, leaf] => format!("conv_up{level}.0.{leaf}"),
        ["original", i, leaf] => format!("conv_original_size{i}.0.{leaf}"),
        ["last", leaf] => format!("conv_last.{leaf}"),
        _ => return None,
    })
}
