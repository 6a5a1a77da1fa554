//! U-Nets (Ronneberger et al., arXiv 1505.04597) of double convolutions, in the forms that the systems have.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::padding::place;
use super::resnet::State;
use super::resnet_unet::twice;
use super::{Namer, sizes};
use crate::base::{Error, Result, require};
use crate::nn::layer::{BatchNorm2d, Conv2d, ConvTranspose2d, Init, Initialisation, dropout_pixels};
use crate::nn::ops::{ConvSettings, ConvTransposeSettings, PoolSettings, concatenate, max_pool2d, relu};

/// Most weights of the deepest level: 8 GiB as float32.
const MAX_WEIGHTS: u128 = 2 << 30;

/// Where a U-Net comes from. All have two 3x3 convolutions a level and 2x2 maximum pooling between levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The oil-seep system (EvgenyDyshlyuk/Oil_Seep_Detection): no batch norm.
    Seeps,
    /// milesial/Pytorch-UNet: batch norm, any size.
    Milesial,
    /// The earthquake system: dropout between the two convolutions, no batch norm.
    Earthquake,
}

/// How a level is enlarged to the size of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enlargement {
    /// Bilinear, corners aligned.
    Bilinear,
    /// By a 2x2 transposed convolution.
    Transposed,
}

/// What a form decides.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Batch norm after each convolution, which then has no bias.
    norm: bool,
    enlargement: Enlargement,
    /// Whether what is enlarged comes before what it is joined with.
    enlarged_first: bool,
    initialisation: Initialisation,
    /// Share of the values set to 0 between the two convolutions of the levels, full size first; the last is for all
    /// that are deeper.
    dropout: &'static [f64],
}

impl Form {
    fn plan(self) -> Plan {
        let plain = Plan {
            norm: false,
            enlargement: Enlargement::Bilinear,
            enlarged_first: true,
            initialisation: Initialisation::Pytorch,
            dropout: &[0.0],
        };
        match self {
            Self::Seeps => plain,
            Self::Milesial => Plan { norm: true, enlargement: Enlargement::Transposed, enlarged_first: false, ..plain },
            Self::Earthquake => Plan {
                enlargement: Enlargement::Transposed,
                initialisation: Initialisation::He,
                dropout: &[0.1, 0.1, 0.2, 0.2, 0.3],
                ..plain
            },
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Seeps => "unet-seeps",
            Self::Milesial => "unet-milesial",
            Self::Earthquake => "unet-earthquake",
        }
    }
}

/// Hyperparameters of [`Unet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnetConfig {
    /// Channels after the first block; each further level has twice as many.
    pub width: usize,
    /// Levels, the first at full size.
    pub depth: usize,
    /// How levels are enlarged; the form's own way if left out.
    pub enlargement: Option<Enlargement>,
    /// Input bands; open until a data set is chosen.
    pub bands: Option<usize>,
    /// Output channels; open until a data set is chosen.
    pub outputs: Option<usize>,
    /// Initial weights of the 3x3 convolutions; the form's own if left out. The last, 1x1, has PyTorch's.
    pub initialisation: Option<Initialisation>,
    /// Share of the values set to 0 between the two convolutions of a level, full size first; the last number is for all
    /// deeper levels. The form's own if left out.
    pub dropout: Option<Vec<f64>>,
}

impl UnetConfig {
    /// Hyperparameters for `bands` input bands and `outputs` output channels; upsampling, initial weights and dropout are
    /// those of the [`Form`].
    pub fn new(width: usize, depth: usize, bands: usize, outputs: usize) -> Self {
        let (bands, outputs) = (Some(bands), Some(outputs));
        Self { width, depth, enlargement: None, bands, outputs, initialisation: None, dropout: None }
    }

    /// Bands and outputs, if they are set and everything is within what can be built.
    pub(super) fn checked(&self, form: Form) -> Result<[usize; 2]> {
        let [bands, outputs] = sizes(self.bands, self.outputs)?;
        require(self.width > 0, "network.width", self.width, "at least 1")?;
        require((2..=10).contains(&self.depth), "network.depth", self.depth, "2 to 10")?;
        let dropout = self.dropout.as_deref().unwrap_or(&[0.0]);
        let usable = !dropout.is_empty() && dropout.iter().all(|rate| (0.0..1.0).contains(rate));
        require(usable, "network.dropout", format!("{dropout:?}"), "shares from 0 to below 1")?;
        // The deepest level dominates: its two convolutions have 9 (w/2 + w) w weights.
        let deepest = (self.width as u128) << (self.depth - 1);
        let weights = deepest.saturating_mul(deepest).saturating_mul(9 * 3) / 2;
        if weights > MAX_WEIGHTS {
            let (name, width, depth) = (form.name(), self.width, self.depth);
            let reason = format!("{width} with depth {depth} gives {name} more than {weights} weights");
            let reason = format!("{reason}, but at most {MAX_WEIGHTS} are sensible; use a smaller `width`");
            return Err(Error::conflict("network.width", reason));
        }
        Ok([bands, outputs])
    }

    /// Writes out what follows from the form where it is left out.
    pub fn resolve(&mut self, form: Form) {
        let plan = form.plan();
        self.enlargement.get_or_insert(plan.enlargement);
        self.initialisation.get_or_insert(plan.initialisation);
        self.dropout.get_or_insert_with(|| plan.dropout.to_vec());
    }

    /// Builds the network.
    pub fn init(&self, form: Form, init: &mut Init) -> Result<Unet> {
        let [bands, outputs] = self.checked(form)?;
        let plan = form.plan();
        let how = self.initialisation.unwrap_or(plan.initialisation);
        let rates = self.dropout.as_deref().unwrap_or(plan.dropout);
        let transposed = self.enlargement.unwrap_or(plan.enlargement) == Enlargement::Transposed;
        // milesial halves the deepest level, and what every level but the first passes on, if nothing else does.
        let halved = form == Form::Milesial && !transposed;
        let width = |level: usize| self.width << level;
        let passed = |level: usize| width(level) / if halved && level > 0 { 2 } else { 1 };
        let inside = |level: usize| if level + 1 == self.depth { passed(level) } else { width(level) };
        let mut block = |level: usize, inputs: usize, middle: usize, outputs: usize| {
            let dropout = rates[level.min(rates.len() - 1)];
            DoubleConv::new(init, [inputs, middle, outputs], plan.norm, dropout, how)
        };
        let inputs = |level: usize| if level == 0 { bands } else { width(level - 1) };
        let down = (0..self.depth).map(|level| block(level, inputs(level), inside(level), inside(level))).collect();
        let joined = |level: usize| width(level) + if transposed { width(level) } else { passed(level + 1) };
        let up = |level: usize| {
            let middle = if halved { joined(level) / 2 } else { width(level) };
            block(level, joined(level), middle, passed(level))
        };
        let up = (0..self.depth - 1).map(up).collect();
        let settings = ConvTransposeSettings {
            conv: ConvSettings { stride: [2; 2], ..ConvSettings::default() },
            ..ConvTransposeSettings::default()
        };
        let enlarge = (0..self.depth - 1).filter(|_| transposed);
        let enlarge = enlarge.map(|level| {
            init.conv_transpose2d([width(level + 1), width(level)], [2; 2], settings, Initialisation::Pytorch)
        });
        Ok(Unet {
            down,
            up,
            enlarge: enlarge.collect(),
            last: init.conv2d(self.width, outputs, 1, Initialisation::Pytorch),
            form,
        })
    }
}

/// The network; see [`UnetConfig`].
#[derive(Module, Debug)]
pub struct Unet {
    /// From full size down.
    down: Vec<DoubleConv>,
    /// By level, full size first: used from the last to the first.
    up: Vec<DoubleConv>,
    /// To the size of each of these levels, if that has weights.
    enlarge: Vec<ConvTranspose2d>,
    last: Conv2d,
    #[module(skip)]
    form: Form,
}

impl Unet {
    /// Logits `[batch, outputs, height, width]`; height and width must be multiples of [`Self::multiple`].
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.finish((0..self.segments()).fold(vec![input], |state, i| self.segment(i, state, None)), None)
    }

    /// All blocks but the last.
    pub(super) fn segments(&self) -> usize {
        self.down.len() + self.up.len() - 1
    }

    /// A block on the way down, which adds the result of its level, or on the way up, which joins the last two.
    pub(super) fn segment(&self, i: usize, mut state: State, draw: Option<u64>) -> State {
        let mut draws = draw.map(|draw| Draws::after(draw, i));
        let x = match self.down.get(i) {
            Some(block) if i == 0 => block.forward(state.remove(0), &mut draws),
            Some(block) => block.forward(max_pool2d(state[i - 1].clone(), PoolSettings::square(2)), &mut draws),
            None => self.join(self.up.len() - 1 - (i - self.down.len()), &mut state, &mut draws),
        };
        state.push(x);
        state
    }

    /// The block at full size, and the logits.
    pub(super) fn finish(&self, mut state: State, draw: Option<u64>) -> Tensor<4> {
        let mut draws = draw.map(|draw| Draws::after(draw, self.segments()));
        self.last.forward(self.join(0, &mut state, &mut draws))
    }

    /// Takes the last result, enlarges it to that of `level`, and gives the block of both.
    fn join(&self, level: usize, state: &mut State, draws: &mut Option<Draws>) -> Tensor<4> {
        let (below, skip) = (state.pop().expect("a level below"), state.pop().expect("a level to join"));
        let [_, _, height, width] = skip.dims();
        let enlarged = match self.enlarge.get(level) {
            Some(layer) => layer.forward(below),
            None => twice(below),
        };
        // Only where the side was odd, which only milesial's takes.
        let enlarged = place(enlarged, [height, width]);
        let joined = if self.form.plan().enlarged_first { vec![enlarged, skip] } else { vec![skip, enlarged] };
        self.up[level].forward(concatenate(joined), draws)
    }

    /// Makes every batch norm a part of the convolution before it.
    pub(super) fn fold(&mut self) {
        self.down.iter_mut().chain(&mut self.up).for_each(DoubleConv::fold);
    }

    /// The number that both sides of the input must be a multiple of: `2^(depth - 1)`, as each level after the first halves
    /// them; 1 for [`Form::Milesial`], which pads odd sides with zeros.
    pub fn multiple(&self) -> usize {
        match self.form {
            Form::Milesial => 1,
            Form::Seeps | Form::Earthquake => self.smallest(),
        }
    }

    /// The smallest side that an input may have, in pixels: one pixel is left of it at the deepest level.
    pub fn smallest(&self) -> usize {
        1 << self.up.len()
    }

    /// The name of the layer that gives the logits.
    pub(super) fn head(&self) -> &'static str {
        match self.form {
            Form::Seeps => "conv_last",
            Form::Milesial => "outc.conv",
            Form::Earthquake => "last",
        }
    }

    /// The originals' names; those of the earthquake system's Keras layers are numbers that count up.
    pub(super) fn namer(&self) -> Namer {
        let (form, depth) = (self.form, self.down.len());
        Box::new(move |parts| match form {
            Form::Seeps => seeps_name(parts),
            Form::Milesial => milesial_name(parts, depth),
            Form::Earthquake => earthquake_name(parts),
        })
    }
}

/// Another number for each dropout of one pass.
#[derive(Debug)]
struct Draws(u64);

impl Draws {
    /// Those that come after the first `used`.
    fn after(draw: u64, used: usize) -> Self {
        Self(draw.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(used as u64)))
    }

    fn next(&mut self) -> u64 {
        // Weyl's sequence with the golden ratio: all different, and far apart.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0
    }
}

/// Two 3x3 convolutions, each with a ReLU.
#[derive(Module, Debug)]
struct DoubleConv {
    convs: [Conv2d; 2],
    norms: Vec<BatchNorm2d>,
    #[module(skip)]
    dropout: f64,
}

impl DoubleConv {
    fn new(init: &mut Init, channels: [usize; 3], norm: bool, dropout: f64, how: Initialisation) -> Self {
        let settings = ConvSettings { padding: [1; 2], ..ConvSettings::default() };
        let [inputs, middle, outputs] = channels;
        let convs = [[inputs, middle], [middle, outputs]].map(|c| init.conv2d_with(c, [3; 2], settings, !norm, how));
        let norms = [middle, outputs].into_iter().filter(|_| norm).map(|c| init.batch_norm2d(c)).collect();
        Self { convs, norms, dropout }
    }

    fn forward(&self, mut x: Tensor<4>, draws: &mut Option<Draws>) -> Tensor<4> {
        for (i, conv) in self.convs.iter().enumerate() {
            x = match self.norms.get(i) {
                Some(norm) => relu(norm.forward(conv.forward(x))),
                None => conv.forward_relu(x, None),
            };
            if let (0, Some(draws)) = (i, draws.as_mut()) {
                x = dropout_pixels(x, self.dropout, draws.next());
            }
        }
        x
    }

    fn fold(&mut self) {
        for (conv, norm) in self.convs.iter_mut().zip(self.norms.drain(..)) {
            conv.fold(&norm);
        }
    }
}

/// `down.0.convs.0.weight` is `dconv_down1.0.weight`: levels count from 1 inside the name, and the convolutions are
/// entries 0 and 2 of their `Sequential`.
fn seeps_name(parts: &[&str]) -> Option<String> {
    match parts {
        [side @ ("down" | "up"), level, "convs", conv, leaf] => {
            Some(format!("dconv_{side}{}.{}.{leaf}", number(level)? + 1, 2 * number(conv)?))
        }
        ["last", leaf] => Some(format!("conv_last.{leaf}")),
        _ => None,
    }
}

/// `down.0` is `inc`, `down.1` is `down1.maxpool_conv.1`, and `up1` is the deepest; in `double_conv`, convolutions are
/// entries 0 and 3, batch norms 1 and 4.
fn milesial_name(parts: &[&str], depth: usize) -> Option<String> {
    let entry = |part: &str, i: &str| Some(3 * number(i)? + usize::from(part == "norms"));
    match parts {
        ["down", "0", part, i, leaf] => Some(format!("inc.double_conv.{}.{leaf}", entry(part, i)?)),
        ["down", level, part, i, leaf] => {
            Some(format!("down{level}.maxpool_conv.1.double_conv.{}.{leaf}", entry(part, i)?))
        }
        ["up", level, part, i, leaf] => {
            Some(format!("up{}.conv.double_conv.{}.{leaf}", depth - 1 - number(level)?, entry(part, i)?))
        }
        ["enlarge", level, leaf] => Some(format!("up{}.up.{leaf}", depth - 1 - number(level)?)),
        ["last", leaf] => Some(format!("outc.conv.{leaf}")),
        _ => None,
    }
}

/// `down.0.convs.0` is `down1.conv1`.
fn earthquake_name(parts: &[&str]) -> Option<String> {
    match parts {
        [side @ ("down" | "up"), level, "convs", conv, leaf] => {
            Some(format!("{side}{}.conv{}.{leaf}", number(level)? + 1, number(conv)? + 1))
        }
        ["enlarge", level, leaf] => Some(format!("up{}.enlarge.{leaf}", number(level)? + 1)),
        _ => None,
    }
}

fn number(part: &str) -> Option<usize> {
    part.parse().ok()
}
