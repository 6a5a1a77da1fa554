//! The pyramid scene parsing network (Zhao et al., arXiv 1612.01105).

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Outputs, ResNet, ResNetConfig, resnet};
use crate::error::{Error, Result};
use crate::layer::{Conv2d, ConvNorm, Init, Initialisation, dropout_channels};
use crate::ops::{Interpolation, Resampling, adaptive_avg_pool2d, interpolate};

/// Most weights of the head: 8 GiB as float32.
const MAX_WEIGHTS: u128 = 2 << 30;

/// Hyperparameters of [`PspNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PspNetConfig {
    /// The encoder.
    pub encoder: ResNetConfig,
    /// Sides of the pyramid's levels: the features are averaged over 1x1, 2x2, ... areas.
    #[serde(default = "published_bins")]
    pub bins: Vec<usize>,
    /// Channels of each level of the pyramid and of the heads; 8 times the encoder's width, as published, if left out.
    pub head_width: Option<usize>,
    /// Share of the channels that are set to 0 before the last convolution, in training.
    #[serde(default = "published_dropout")]
    pub dropout: f64,
    /// Weight of the loss of a second head on stage 3, in training; 0 for no such head.
    #[serde(default = "published_auxiliary")]
    pub auxiliary: f64,
    /// Input bands; open until a data set is chosen.
    pub bands: Option<usize>,
    /// Output channels; open until a data set is chosen.
    pub outputs: Option<usize>,
}

fn published_bins() -> Vec<usize> {
    vec![1, 2, 3, 6]
}

fn published_dropout() -> f64 {
    0.1
}

fn published_auxiliary() -> f64 {
    0.4
}

impl PspNetConfig {
    /// The published hyperparameters.
    pub fn new(encoder: ResNetConfig, bands: usize, outputs: usize) -> Self {
        Self {
            encoder,
            bins: published_bins(),
            head_width: None,
            dropout: published_dropout(),
            auxiliary: published_auxiliary(),
            bands: Some(bands),
            outputs: Some(outputs),
        }
    }

    /// Bands, outputs and width of the heads, if everything is within what can be built.
    fn checked(&self) -> Result<(usize, usize, usize)> {
        let (Some(bands), Some(outputs)) = (self.bands, self.outputs) else {
            return Err(Error::Config("the network's bands and outputs are not set".into()));
        };
        self.encoder.check()?;
        let width = self.head_width.unwrap_or(8 * self.encoder.width);
        if width == 0 || bands == 0 || outputs == 0 || self.bins.is_empty() || self.bins.contains(&0) {
            return Err(Error::Config(format!(
                "pspnet needs at least one bin, and bins, head_width, bands and outputs of at least 1; \
                 got bins {:?}, head_width {width}, bands {bands}, outputs {outputs}",
                self.bins
            )));
        }
        if !(0.0..1.0).contains(&self.dropout) || !(0.0..f64::INFINITY).contains(&self.auxiliary) {
            return Err(Error::Config(format!(
                "pspnet needs a dropout from 0 to below 1 and an auxiliary weight of at least 0; got {} and {}",
                self.dropout, self.auxiliary
            )));
        }
        let weights = 9 * self.pyramid_channels(width) as u128 * width as u128;
        if weights > MAX_WEIGHTS {
            return Err(Error::Config(format!(
                "the head of this pspnet would have {weights} weights, at most {MAX_WEIGHTS} are sensible; take a \
                 smaller head_width"
            )));
        }
        Ok((bands, outputs, width))
    }

    fn pyramid_channels(&self, width: usize) -> usize {
        self.encoder.channels(4).saturating_add(self.bins.len().saturating_mul(width))
    }

    /// Says what is wrong with the hyperparameters.
    pub fn check(&self) -> Result<()> {
        self.checked().map(drop)
    }

    /// Builds the network: torchvision's initial weights in the encoder, PyTorch's in the heads.
    pub fn init(&self, init: &mut Init) -> Result<PspNet> {
        let (bands, outputs, width) = self.checked()?;
        let body = self.encoder.init(bands, init);
        let channels = self.encoder.channels(4);
        let level = |_| init.unit([channels, width], 1, 1, 1, Initialisation::Pytorch);
        let stages = self.bins.iter().map(level).collect();
        let head = Head::new(init, self.pyramid_channels(width), width, outputs);
        let aux = (self.auxiliary > 0.0).then(|| Head::new(init, self.encoder.channels(3), width, outputs));
        let settings = Settings { bins: self.bins.clone(), dropout: self.dropout, auxiliary: self.auxiliary };
        Ok(PspNet { body, stages, head, aux, settings })
    }
}

/// What is no weight.
#[derive(Debug, Clone)]
struct Settings {
    bins: Vec<usize>,
    dropout: f64,
    auxiliary: f64,
}

/// The network; see [`PspNetConfig`].
#[derive(Module, Debug)]
pub struct PspNet {
    body: ResNet,
    /// The levels of the pyramid.
    stages: Vec<ConvNorm>,
    head: Head,
    aux: Option<Head>,
    #[module(skip)]
    settings: Settings,
}

impl PspNet {
    /// Logits `[batch, outputs, height, width]` for a picture `[batch, bands, height, width]`.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let size = size(&input);
        let [.., x] = self.body.forward(input);
        enlarge(self.head.forward(self.pyramid(x), None), size)
    }

    /// The logits of both heads, with dropout as `draw` decides.
    pub fn forward_training(&self, input: Tensor<4>, draw: u64) -> Outputs {
        let size = size(&input);
        let [.., third, fourth] = self.body.forward(input);
        let dropout = Some((self.settings.dropout, draw));
        let auxiliary = |head: &Head| (enlarge(head.forward(third, None), size), self.settings.auxiliary);
        Outputs {
            logits: enlarge(self.head.forward(self.pyramid(fourth), dropout), size),
            auxiliary: self.aux.as_ref().map(auxiliary),
        }
    }

    /// Features and their averages over ever smaller areas: `[B, C, H, W] -> [B, C + levels * head width, H, W]`.
    fn pyramid(&self, x: Tensor<4>) -> Tensor<4> {
        let level = |(unit, &bin): (&ConvNorm, &usize)| {
            enlarge(unit.forward_relu(adaptive_avg_pool2d(x.clone(), [bin; 2])), size(&x))
        };
        let levels: Vec<_> = self.stages.iter().zip(&self.settings.bins).map(level).collect();
        Tensor::cat([vec![x], levels].concat(), 1)
    }
}

fn size(x: &Tensor<4>) -> [usize; 2] {
    let [_, _, height, width] = x.dims();
    [height, width]
}

/// Bilinear, the outer edges aligned.
fn enlarge(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    interpolate(x, size, Resampling { interpolation: Interpolation::Bilinear, align_corners: false })
}

/// From features to logits: a 3x3 convolution, batch norm, ReLU, dropout, a 1x1 convolution.
#[derive(Module, Debug)]
struct Head {
    unit: ConvNorm,
    last: Conv2d,
}

impl Head {
    fn new(init: &mut Init, inputs: usize, width: usize, outputs: usize) -> Self {
        let how = Initialisation::Pytorch;
        Self { unit: init.unit([inputs, width], 3, 1, 1, how), last: init.conv2d(width, outputs, 1, how) }
    }

    /// With the rate of the dropout and what decides on its channels, if there is to be one.
    fn forward(&self, x: Tensor<4>, dropout: Option<(f64, u64)>) -> Tensor<4> {
        let x = self.unit.forward_relu(x);
        self.last.forward(dropout.into_iter().fold(x, |x, (rate, draw)| dropout_channels(x, rate, draw)))
    }
}

/// Entries of `Sequential`s count what has no parameters, too: pooling comes first in `stages`, a ReLU and, in `head`
/// alone, a dropout come before the last convolution.
pub(super) fn torch_name(path: &str) -> String {
    let parts: Vec<&str> = path.split('.').collect();
    let entry = |part: &str| usize::from(part == "norm");
    match parts[..] {
        ["body", ..] => format!("body.{}", resnet::torch_name(&path["body.".len()..])),
        ["stages", level, part, leaf] => format!("stages.{level}.{}.{leaf}", entry(part) + 1),
        [head, "unit", part, leaf] => format!("{head}.{}.{leaf}", entry(part)),
        ["head", "last", leaf] => format!("head.4.{leaf}"),
        ["aux", "last", leaf] => format!("aux.3.{leaf}"),
        _ => path.to_owned(),
    }
}
