//! Residual networks (He et al., arXiv 1512.03385) as encoders, with torchvision's layers and names.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layer::{ConvNorm, Init, Initialisation};
use crate::ops::{PoolSettings, max_pool2d, relu};

/// Widest first stage: 8 times the published one.
const MAX_WIDTH: usize = 512;

/// The published depths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // the names are all there is to say
pub enum Variant {
    Resnet18,
    Resnet34,
    Resnet50,
    Resnet101,
}

/// What a block is made of: kernels of its convolutions, and channels of its output for one channel inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BlockKind {
    kernels: &'static [usize],
    /// Which convolution has the stride.
    strided: usize,
    expansion: usize,
}

const BASIC: BlockKind = BlockKind { kernels: &[3, 3], strided: 0, expansion: 1 };
const BOTTLENECK: BlockKind = BlockKind { kernels: &[1, 3, 1], strided: 1, expansion: 4 };

impl Variant {
    /// The block and how many of them each stage has.
    fn blocks(self) -> (BlockKind, [usize; 4]) {
        match self {
            Self::Resnet18 => (BASIC, [2, 2, 2, 2]),
            Self::Resnet34 => (BASIC, [3, 4, 6, 3]),
            Self::Resnet50 => (BOTTLENECK, [3, 4, 6, 3]),
            Self::Resnet101 => (BOTTLENECK, [3, 4, 23, 3]),
        }
    }
}

/// What comes before the first stage. A 3x3 maximum pooling of stride 2 ends every stem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stem {
    /// One 7x7 convolution of stride 2, torchvision's.
    #[default]
    Conv7,
}

impl Stem {
    /// Output channels, kernel and stride of each convolution.
    fn convolutions(self, width: usize) -> Vec<(usize, usize, usize)> {
        match self {
            Self::Conv7 => vec![(width, 7, 2)],
        }
    }
}

/// Where strides give way to dilation. Weights fit every placement, but only the one trained with gives its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dilation {
    /// Nowhere: the features are 1/32 of the input.
    None,
    /// In stages 3 and 4, so that the features are 1/8 of the input. The convolution that loses its stride keeps the
    /// dilation before it, those that follow have 2 in stage 3 and 4 in stage 4: torchvision's
    /// `replace_stride_with_dilation = [False, True, True]`, CSAIL and mmseg.
    #[default]
    AfterStride,
}

/// Stride of a stage, dilation of the convolution that has it, and dilation of the other 3x3 ones.
#[derive(Debug, Clone, Copy)]
struct Spacing(usize, usize, usize);

impl Dilation {
    fn stages(self) -> [Spacing; 4] {
        match self {
            Self::None => [Spacing(1, 1, 1), Spacing(2, 1, 1), Spacing(2, 1, 1), Spacing(2, 1, 1)],
            Self::AfterStride => [Spacing(1, 1, 1), Spacing(2, 1, 1), Spacing(1, 1, 2), Spacing(1, 2, 4)],
        }
    }
}

/// Hyperparameters of [`ResNet`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// The depth.
    pub variant: Variant,
    /// Channels inside the blocks of the first stage; each further stage has twice as many. 64 in the paper.
    #[serde(default = "published_width")]
    pub width: usize,
    /// What comes before the first stage.
    #[serde(default)]
    pub stem: Stem,
    /// Where strides give way to dilation.
    #[serde(default)]
    pub dilation: Dilation,
}

fn published_width() -> usize {
    64
}

impl ResNetConfig {
    /// torchvision's, with the features at 1/8 of the input.
    pub fn new(variant: Variant) -> Self {
        Self { variant, width: published_width(), stem: Stem::Conv7, dilation: Dilation::AfterStride }
    }

    /// Says what is wrong with the hyperparameters.
    pub fn check(&self) -> Result<()> {
        if (1..=MAX_WIDTH).contains(&self.width) {
            return Ok(());
        }
        Err(Error::Config(format!("a ResNet has a width of 1 to {MAX_WIDTH} (64 is usual), not {}", self.width)))
    }

    /// Output channels of a stage, from 1 to 4.
    pub fn channels(&self, stage: usize) -> usize {
        (self.width << (stage - 1)) * self.variant.blocks().0.expansion
    }

    /// Builds the encoder for `bands` input bands, with torchvision's initial weights.
    pub fn init(&self, bands: usize, init: &mut Init) -> ResNet {
        let mut inputs = bands;
        let mut unit = |(outputs, kernel, stride)| {
            let from = std::mem::replace(&mut inputs, outputs);
            init.unit([from, outputs], kernel, stride, 1, Initialisation::Torchvision)
        };
        let stem = self.stem.convolutions(self.width).into_iter().map(&mut unit).collect();
        let (kind, counts) = self.variant.blocks();
        let mut stages = Vec::with_capacity(counts.len());
        for (stage, (count, spacing)) in counts.into_iter().zip(self.dilation.stages()).enumerate() {
            let inner = self.width << stage;
            let rest = Spacing(1, spacing.2, spacing.2);
            let mut block = |i| {
                let from = std::mem::replace(&mut inputs, inner * kind.expansion);
                Block::new(init, kind, from, inner, if i == 0 { spacing } else { rest })
            };
            stages.push((0..count).map(&mut block).collect());
        }
        ResNet { stem, stages }
    }
}

/// The encoder; see [`ResNetConfig`].
#[derive(Module, Debug)]
pub struct ResNet {
    stem: Vec<ConvNorm>,
    stages: Vec<Vec<Block>>,
}

impl ResNet {
    /// The features of the four stages for a picture `[batch, bands, height, width]`.
    pub fn forward(&self, input: Tensor<4>) -> [Tensor<4>; 4] {
        let x = self.stem.iter().fold(input, |x, unit| unit.forward_relu(x));
        let mut x = max_pool2d(x, PoolSettings { stride: [2; 2], padding: [1; 2], ..PoolSettings::square(3) });
        std::array::from_fn(|stage| {
            x = self.stages[stage].iter().fold(x.clone(), |x, block| block.forward(x));
            x.clone()
        })
    }
}

/// Two or three convolutions around which the input is added.
#[derive(Module, Debug)]
struct Block {
    units: Vec<ConvNorm>,
    /// Brings the input to the size and channels of the output.
    downsample: Option<ConvNorm>,
}

impl Block {
    fn new(
        init: &mut Init,
        kind: BlockKind,
        inputs: usize,
        inner: usize,
        Spacing(stride, first, rest): Spacing,
    ) -> Self {
        let how = Initialisation::Torchvision;
        let outputs = inner * kind.expansion;
        let last = kind.kernels.len() - 1;
        let unit = |(i, &kernel): (usize, &usize)| {
            let channels = [if i == 0 { inputs } else { inner }, if i == last { outputs } else { inner }];
            let (stride, dilation) = if i == kind.strided { (stride, first) } else { (1, rest) };
            init.unit(channels, kernel, stride, if kernel == 1 { 1 } else { dilation }, how)
        };
        let units = kind.kernels.iter().enumerate().map(unit).collect();
        let changed = stride != 1 || inputs != outputs;
        let downsample = changed.then(|| init.unit([inputs, outputs], 1, stride, 1, how));
        Self { units, downsample }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut y = x.clone();
        for (i, unit) in self.units.iter().enumerate() {
            y = unit.forward(if i == 0 { y } else { relu(y) });
        }
        let x = self.downsample.iter().fold(x, |x, unit| unit.forward(x));
        relu(y + x)
    }
}

/// `stem.0.conv` is `conv1` in PyTorch and `stem.0.norm` is `bn1`; `stages.1.0.units.2.norm` is `layer2.0.bn3`;
/// `downsample.conv` and `downsample.norm` are entries 0 and 1 of a `Sequential`.
pub(super) fn torch_name(path: &str) -> String {
    let parts: Vec<&str> = path.split('.').collect();
    let layer = |part: &str| if part == "conv" { "conv" } else { "bn" };
    match parts[..] {
        ["stem", i, part, leaf] => format!("{}{}.{leaf}", layer(part), next(i)),
        ["stages", stage, block, "units", i, part, leaf] => {
            format!("layer{}.{block}.{}{}.{leaf}", next(stage), layer(part), next(i))
        }
        ["stages", stage, block, "downsample", part, leaf] => {
            format!("layer{}.{block}.downsample.{}.{leaf}", next(stage), usize::from(part == "norm"))
        }
        _ => path.to_owned(),
    }
}

/// PyTorch counts layers from 1.
fn next(index: &str) -> usize {
    index.parse::<usize>().map_or(0, |i| i + 1)
}
