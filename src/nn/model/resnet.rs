//! Residual networks (He et al., arXiv 1512.03385) as encoders, with torchvision's layers and names.

use std::fmt;

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::tap::Reach;
use crate::base::{Error, Result, require};
use crate::nn::layer::{ConvNorm, Init, Initialisation};
use crate::nn::ops::{PoolSettings, max_pool2d};

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
    Resnet152,
}

/// What a block is made of: kernels of its convolutions, and channels of its output for one channel inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BlockKind {
    kernels: &'static [usize],
    expansion: usize,
}

const BASIC: BlockKind = BlockKind { kernels: &[3, 3], expansion: 1 };
const BOTTLENECK: BlockKind = BlockKind { kernels: &[1, 3, 1], expansion: 4 };

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resnet18 => "ResNet-18",
            Self::Resnet34 => "ResNet-34",
            Self::Resnet50 => "ResNet-50",
            Self::Resnet101 => "ResNet-101",
            Self::Resnet152 => "ResNet-152",
        })
    }
}

impl Variant {
    /// The block and how many of them each stage has.
    fn blocks(self) -> (BlockKind, [usize; 4]) {
        match self {
            Self::Resnet18 => (BASIC, [2, 2, 2, 2]),
            Self::Resnet34 => (BASIC, [3, 4, 6, 3]),
            Self::Resnet50 => (BOTTLENECK, [3, 4, 6, 3]),
            Self::Resnet101 => (BOTTLENECK, [3, 4, 23, 3]),
            Self::Resnet152 => (BOTTLENECK, [3, 8, 36, 3]),
        }
    }

    /// Whether its blocks are basic ones, of two 3x3 convolutions.
    pub fn is_basic(self) -> bool {
        self.blocks().0 == BASIC
    }

    /// The depth whose first stages have this many blocks, if it is a published one. A bottleneck has three convolutions, a
    /// basic block two.
    pub fn of(bottleneck: bool, blocks: &[usize]) -> Option<Self> {
        let kind = if bottleneck { BOTTLENECK } else { BASIC };
        let all = [Self::Resnet18, Self::Resnet34, Self::Resnet50, Self::Resnet101, Self::Resnet152];
        all.into_iter().find(|variant| variant.blocks().0 == kind && variant.blocks().1.starts_with(blocks))
    }
}

/// What comes before the first stage. A 3x3 maximum pooling of stride 2 ends every stem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stem {
    /// One 7x7 convolution of stride 2, torchvision's.
    #[default]
    Conv7,
    /// Three 3x3 convolutions, the first of stride 2, with 64, 64 and 128 channels: CSAIL's and hszhao's.
    Deep,
    /// The same with 32, 32 and 64 channels: mmseg's ResNetV1c.
    DeepNarrow,
}

impl Stem {
    /// Output channels, kernel and stride of each convolution.
    fn convolutions(self, width: usize) -> Vec<(usize, usize, usize)> {
        match self {
            Self::Conv7 => vec![(width, 7, 2)],
            Self::Deep => vec![(width, 3, 2), (width, 3, 1), (2 * width, 3, 1)],
            Self::DeepNarrow => vec![(width / 2, 3, 2), (width / 2, 3, 1), (width, 3, 1)],
        }
    }
}

/// Where strides give way to dilation. Weights fit every placement, but only the one trained with gives its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dilation {
    /// Nowhere: the features are 1/32 of the input.
    None,
    /// In stage 4 alone, so that the features are 1/16 of the input: 1 where the stride was, then 2.
    Stage4,
    /// In stages 3 and 4, so that the features are 1/8 of the input. The convolution that loses its stride keeps the
    /// dilation before it, those that follow have 2 in stage 3 and 4 in stage 4: torchvision's
    /// `replace_stride_with_dilation = [False, True, True]`, CSAIL, and the bottlenecks of mmsegmentation.
    #[default]
    AfterStride,
    /// The same in the first convolution of a basic block, and no dilation in the second: ResNet-18 and -34 of
    /// mmsegmentation.
    #[serde(rename = "after-stride-conv1")]
    AfterStrideConv1,
    /// In stages 3 and 4, with 2 in every block of stage 3 and 4 in every block of stage 4: the published PSPNet,
    /// hszhao/semseg and the Capstone.
    Throughout,
}

/// Which convolution of a bottleneck has the stride. (A basic block has it in the first.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// The 3x3 one: torchvision and everything that follows it.
    #[default]
    Pytorch,
    /// The first, 1x1: the paper, Caffe, and the Capstone.
    Caffe,
}

/// Stride of a stage, and the dilation of its 3x3 convolutions.
#[derive(Debug, Clone, Copy)]
struct Spacing {
    stride: usize,
    /// Of the convolution that has the stride, or would have it.
    strided: usize,
    /// Of the first one of every further block.
    first: usize,
    /// Of a basic block's second one.
    second: usize,
}

impl Spacing {
    /// Stride, dilation of the convolution that has it, dilation of all others.
    const fn new(stride: usize, strided: usize, others: usize) -> Self {
        Self { stride, strided, first: others, second: others }
    }

    /// Of the blocks after the first.
    fn further(self) -> Self {
        Self { stride: 1, strided: self.first, ..self }
    }
}

impl Dilation {
    fn stages(self) -> [Spacing; 4] {
        let plain = [Spacing::new(1, 1, 1), Spacing::new(2, 1, 1)];
        let [third, fourth] = match self {
            Self::None => [Spacing::new(2, 1, 1), Spacing::new(2, 1, 1)],
            Self::Stage4 => [Spacing::new(2, 1, 1), Spacing::new(1, 1, 2)],
            Self::AfterStride => [Spacing::new(1, 1, 2), Spacing::new(1, 2, 4)],
            Self::AfterStrideConv1 => {
                [Spacing::new(1, 1, 2), Spacing::new(1, 2, 4)].map(|stage| Spacing { second: 1, ..stage })
            }
            Self::Throughout => [Spacing::new(1, 2, 2), Spacing::new(1, 4, 4)],
        };
        [plain[0], plain[1], third, fourth]
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
    /// Which convolution of a bottleneck has the stride.
    #[serde(default)]
    pub style: Style,
    /// How many of the four stages there are.
    #[serde(default = "all_stages")]
    pub stages: usize,
}

pub(super) fn published_width() -> usize {
    64
}

fn all_stages() -> usize {
    4
}

impl ResNetConfig {
    /// torchvision's hyperparameters for this variant, dilated so that the last features are at 1/8 of the input.
    pub fn new(variant: Variant) -> Self {
        Self {
            variant,
            width: published_width(),
            stem: Stem::Conv7,
            dilation: Dilation::AfterStride,
            style: Style::Pytorch,
            stages: all_stages(),
        }
    }

    /// Says what is wrong with the hyperparameters.
    pub fn check(&self) -> Result<()> {
        let least = if self.stem == Stem::DeepNarrow { 2 } else { 1 };
        let widths = format!("{least} to {MAX_WIDTH} (64 is usual)");
        require((least..=MAX_WIDTH).contains(&self.width), "encoder.width", self.width, widths)?;
        require((1..=4).contains(&self.stages), "encoder.stages", self.stages, "1 to 4")?;
        if self.dilation == Dilation::AfterStrideConv1 && !self.variant.is_basic() {
            let reason = "after-stride-conv1 is only for the basic blocks of ResNet-18 and -34";
            let reason = format!("{reason}; for {} set dilation = \"after-stride\"", self.variant);
            return Err(Error::conflict("encoder.dilation", reason));
        }
        Ok(())
    }

    /// Output channels of the stem.
    pub fn stem_channels(&self) -> usize {
        self.stem.convolutions(self.width).last().map_or(0, |last| last.0)
    }

    /// Output channels of a stage, from 1 to 4. Of hyperparameters that [`Self::check`] refuses, they are some number.
    pub fn channels(&self, stage: usize) -> usize {
        let width = self.width.saturating_mul(1 << (stage.clamp(1, 4) - 1));
        width.saturating_mul(self.variant.blocks().0.expansion)
    }

    /// What a number of the stem (0) or of a stage (from 1) sees.
    pub(super) fn reach(&self, stage: usize) -> Reach {
        let mut reach = Reach { rounds_up: true, ..Reach::default() };
        for (_, kernel, stride) in self.stem.convolutions(self.width) {
            reach.convolve(kernel, stride, 1);
        }
        reach.channels = self.stem_channels();
        if stage > 0 {
            reach.convolve(3, 2, 1);
            reach.channels = self.channels(stage);
        }
        let (kind, counts) = self.variant.blocks();
        for (spacing, count) in self.dilation.stages().into_iter().zip(counts).take(stage) {
            let before = if kind == BOTTLENECK && self.style == Style::Caffe { spacing.stride } else { 1 };
            for block in 0..count {
                let Spacing { stride, strided, second, .. } = if block == 0 { spacing } else { spacing.further() };
                let before = before.min(stride);
                reach.convolve(1, before, 1);
                reach.convolve(3, stride / before, strided);
                // A basic block has two 3x3 convolutions, a bottleneck one, which a 1x1 may take the stride from.
                if kind == BASIC {
                    reach.convolve(3, 1, second);
                }
            }
        }
        reach
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
        let strided = if self.style == Style::Caffe || kind == BASIC { 0 } else { 1 };
        let mut stages = Vec::with_capacity(self.stages);
        for (stage, (count, spacing)) in counts.into_iter().zip(self.dilation.stages()).enumerate().take(self.stages) {
            let inner = self.width << stage;
            let mut block = |i| {
                let from = std::mem::replace(&mut inputs, inner * kind.expansion);
                Block::new(init, (kind, strided), from, inner, if i == 0 { spacing } else { spacing.further() })
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

/// Feature maps of an image, each `[batch, channels, height, width]`, as [`ResNet::forward`] computes them.
#[derive(Debug, Clone)]
pub struct Features {
    /// Of the stem, before its pooling: 1/2 of the input.
    pub stem: Tensor<4>,
    /// Of each stage.
    pub stages: Vec<Tensor<4>>,
}

impl ResNet {
    /// The features of stem and stages for an image `[batch, bands, height, width]`.
    pub fn forward(&self, input: Tensor<4>) -> Features {
        Self::features((0..self.segments()).fold(vec![input], |state, i| self.segment(i, state)))
    }

    /// The features of the stem alone.
    pub(super) fn stem(&self, input: Tensor<4>) -> Features {
        Self::features(self.segment(0, vec![input]))
    }

    /// The stem, and every block.
    pub(super) fn segments(&self) -> usize {
        1 + self.stages.iter().map(Vec::len).sum::<usize>()
    }

    /// The stem, or a block: a stage's first adds to what there is, each further one replaces the last.
    pub(super) fn segment(&self, i: usize, mut state: State) -> State {
        if i == 0 {
            return state
                .into_iter()
                .map(|input| self.stem.iter().fold(input, |x, unit| unit.forward_relu(x)))
                .collect();
        }
        let mut places =
            self.stages.iter().enumerate().flat_map(|(stage, blocks)| (0..blocks.len()).map(move |i| (stage, i)));
        let (stage, block) = places.nth(i - 1).expect("the encoder has a block of that number");
        let x = match (stage, block) {
            (0, 0) => {
                let pooling = PoolSettings { stride: [2; 2], padding: [1; 2], ..PoolSettings::square(3) };
                max_pool2d(state[0].clone(), pooling)
            }
            (_, 0) => state[stage].clone(),
            _ => state.pop().expect("the block before"),
        };
        state.push(self.stages[stage][block].forward(x));
        state
    }

    /// What is there after the last segment.
    pub(super) fn features(mut state: State) -> Features {
        let stages = state.split_off(1);
        Features { stem: state.remove(0), stages }
    }

    /// Makes every batch norm a part of the convolution before it.
    pub(super) fn fold(&mut self) {
        self.stem.iter_mut().for_each(ConvNorm::fold);
        self.stages.iter_mut().flatten().for_each(Block::fold);
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
        (kind, strided): (BlockKind, usize),
        inputs: usize,
        inner: usize,
        Spacing { stride, strided: first, second, .. }: Spacing,
    ) -> Self {
        let how = Initialisation::Torchvision;
        let outputs = inner * kind.expansion;
        let last = kind.kernels.len() - 1;
        let unit = |(i, &kernel): (usize, &usize)| {
            let channels = [if i == 0 { inputs } else { inner }, if i == last { outputs } else { inner }];
            // The first 3x3 convolution has, or had, the stride; a Caffe bottleneck's is in the 1x1 before it.
            let dilation = match kernel {
                1 => 1,
                _ if kind.kernels[..i].contains(&3) => second,
                _ => first,
            };
            init.unit(channels, kernel, if i == strided { stride } else { 1 }, dilation, how)
        };
        let units = kind.kernels.iter().enumerate().map(unit).collect();
        let changed = stride != 1 || inputs != outputs;
        Self { units, downsample: changed.then(|| init.unit([inputs, outputs], 1, stride, 1, how)) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [before @ .., last] = &self.units[..] else { unreachable!("a block has units") };
        let y = before.iter().fold(x.clone(), |y, unit| unit.forward_relu(y));
        let shortcut = self.downsample.iter().fold(x, |x, unit| unit.forward(x));
        last.forward_add_relu(y, shortcut)
    }

    fn fold(&mut self) {
        self.units.iter_mut().chain(&mut self.downsample).for_each(ConvNorm::fold);
    }
}

/// `stem.0.conv` is `conv1` in PyTorch and `stem.0.norm` is `bn1`; `stages.1.0.units.2.norm` is `layer2.0.bn3`;
/// `downsample.conv` and `downsample.norm` are entries 0 and 1 of a `Sequential`.
pub(super) fn torch_name(parts: &[&str]) -> Option<String> {
    let layer = |part: &str| if part == "conv" { "conv" } else { "bn" };
    Some(match parts[..] {
        ["stem", i, part, leaf] => format!("{}{}.{leaf}", layer(part), next(i)),
        ["stages", stage, block, "units", i, part, leaf] => {
            format!("layer{}.{block}.{}{}.{leaf}", next(stage), layer(part), next(i))
        }
        ["stages", stage, block, "downsample", part, leaf] => {
            format!("layer{}.{block}.downsample.{}.{leaf}", next(stage), usize::from(part == "norm"))
        }
        _ => return None,
    })
}

/// PyTorch counts layers from 1.
fn next(index: &str) -> usize {
    index.parse::<usize>().map_or(0, |i| i + 1)
}

/// What passes from one segment to the next: all that later segments need.
pub type State = Vec<Tensor<4>>;
