//! The attention U-Net with input pyramid and deep supervision of Abraham and Khan (arXiv 1810.07842), as their code
//! (nabsabraham/focal-tversky-unet, `attn_reg`) has it, but for the sigmoid of its outputs.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use serde::{Deserialize, Serialize};

use super::resnet::State;
use super::{Outputs, sizes};
use crate::base::{Result, require};
use crate::nn::layer::{Conv2d, ConvNorm, ConvTranspose2d, DoubleUnit, Init, Initialisation};
use crate::nn::ops::{
    ConvSettings, ConvTransposeSettings, Interpolation, NormSettings, PoolSettings, Resampling, adaptive_avg_pool2d,
    concatenate, cut, interpolate, max_pool2d, relu,
};

/// Widest first level: 16 times the published one.
const MAX_WIDTH: usize = 512;

/// Hyperparameters of [`AttentionUnet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttentionUnetConfig {
    /// Channels of the first level; the others follow. 32 in the paper's code.
    pub width: usize,
    /// Weight of the loss of each of the three outputs at lower resolutions.
    pub deep_supervision: f64,
    /// Of all batch norms; Keras' by default.
    pub norm: NormSettings,
    /// Input bands; open until a data set is chosen.
    pub bands: Option<usize>,
    /// Output channels; open until a data set is chosen.
    pub outputs: Option<usize>,
}

impl Default for AttentionUnetConfig {
    fn default() -> Self {
        let norm = NormSettings { momentum: 0.01, epsilon: 1e-3 };
        Self { width: 32, deep_supervision: 1.0, norm, bands: None, outputs: None }
    }
}

impl AttentionUnetConfig {
    /// The published hyperparameters, for `bands` input bands and `outputs` output channels.
    pub fn new(bands: usize, outputs: usize) -> Self {
        Self { bands: Some(bands), outputs: Some(outputs), ..Self::default() }
    }

    pub(super) fn checked(&self) -> Result<[usize; 2]> {
        let [bands, outputs] = sizes(self.bands, self.outputs)?;
        let (widths, weight) = (format!("1 to {MAX_WIDTH} (32 is usual)"), self.deep_supervision);
        require((1..=MAX_WIDTH).contains(&self.width), "network.width", self.width, widths)?;
        require((0.0..f64::INFINITY).contains(&weight), "network.deep_supervision", weight, "at least 0")?;
        Ok([bands, outputs])
    }

    /// Builds the network.
    pub fn init(&self, init: &mut Init) -> Result<AttentionUnet> {
        let [bands, outputs] = self.checked()?;
        init.set_norm(self.norm);
        let how = Initialisation::Pytorch;
        let w = self.width;
        // Channels of each level's input, next to the branch from the smaller image, and inside.
        let scales = [2 * w, 4 * w, 8 * w];
        let levels = [w, 2 * w, 4 * w, 2 * w];
        let down = [bands, levels[0] + scales[0], levels[1] + scales[1], levels[2] + scales[2]];
        let up = [w, 2 * w, w, w];
        // What comes up from below, and how many channels the level of the encoder has.
        let joined = [up[0] + levels[3], up[1] + levels[2], up[2] + levels[1], up[3] + levels[0]];
        let below = [16 * w, joined[0], joined[1], joined[2]];
        let heads = [8 * w, 4 * w, 2 * w, w];
        let transpose = ConvTransposeSettings {
            conv: ConvSettings { stride: [2; 2], ..ConvSettings::default() },
            ..ConvTransposeSettings::default()
        };
        let range = || 0..4usize;
        Ok(AttentionUnet {
            scales: scales.iter().map(|&scale| init.conv2d(bands, scale, 3, how)).collect(),
            down: range().map(|i| double(init, down[i], levels[i])).collect(),
            center: double(init, levels[3], 16 * w),
            // The third gate listens to the first joined level, not to the second.
            signals: [16 * w, joined[0], joined[0]].into_iter().map(|c| unit(init, [c, c], 1)).collect(),
            gates: vec![
                Gate::new(init, [levels[3], 16 * w, 4 * w], 1),
                Gate::new(init, [levels[2], joined[0], 2 * w], 1),
                Gate::new(init, [levels[1], joined[0], w], 2),
            ],
            up: range().map(|i| init.conv_transpose2d([below[i], up[i]], [3; 2], transpose, how)).collect(),
            heads: range().map(|i| double(init, joined[i], heads[i])).collect(),
            last: range().map(|i| init.conv2d(heads[i], outputs, 1, how)).collect(),
            deep_supervision: self.deep_supervision,
        })
    }
}

/// The network; see [`AttentionUnetConfig`].
#[derive(Module, Debug)]
pub struct AttentionUnet {
    /// On the smaller images.
    scales: Vec<Conv2d>,
    /// The encoder's levels, full size first.
    down: Vec<DoubleUnit>,
    center: DoubleUnit,
    /// What the gates listen to, the deepest first, as in all that follows.
    signals: Vec<ConvNorm>,
    gates: Vec<Gate>,
    up: Vec<ConvTranspose2d>,
    heads: Vec<DoubleUnit>,
    last: Vec<Conv2d>,
    #[module(skip)]
    deep_supervision: f64,
}

impl AttentionUnet {
    /// Logits `[batch, outputs, height, width]`; height and width must be multiples of [`Self::multiple`].
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let levels = (0..self.segments()).fold(vec![input], |state, i| self.segment(i, state));
        self.head(3, self.joined(levels)[3].clone())
    }

    /// The levels of the encoder.
    pub(super) fn segments(&self) -> usize {
        self.down.len()
    }

    /// Adds a level to those that are there, and halves the image, which stands before them.
    pub(super) fn segment(&self, i: usize, mut state: State) -> State {
        let Some(last) = state.last().filter(|_| i > 0) else {
            return vec![state[0].clone(), self.down[0].forward(state.remove(0))];
        };
        let pooled = max_pool2d(last.clone(), PoolSettings::square(2));
        let [_, _, height, width] = state[0].dims();
        state[0] = adaptive_avg_pool2d(state[0].clone(), [height / 2, width / 2]);
        let small = self.scales[i - 1].forward_relu(state[0].clone(), None);
        state.push(self.down[i].forward(concatenate(vec![small, pooled])));
        state
    }

    /// The logits of all heads.
    pub(super) fn finish(&self, state: State) -> Outputs {
        let [_, _, height, width] = state[1].dims();
        let how = Resampling { interpolation: Interpolation::Bilinear, align_corners: false };
        let mut joined = self.joined(state);
        let last = joined.pop().map(|x| self.head(3, x));
        let smaller = joined.into_iter().enumerate().filter(|_| self.deep_supervision > 0.0);
        let auxiliary =
            smaller.map(|(i, x)| (interpolate(self.head(i, x), [height, width], how), self.deep_supervision));
        Outputs { auxiliary: auxiliary.collect(), logits: last.expect("there are four levels") }
    }

    fn head(&self, i: usize, x: Tensor<4>) -> Tensor<4> {
        self.last[i].forward(self.heads[i].forward(x))
    }

    /// The decoder's levels, the deepest first: what comes up, and what the gates let through.
    fn joined(&self, mut state: State) -> Vec<Tensor<4>> {
        let levels = state.split_off(1);
        let center = self.center.forward(max_pool2d(levels[3].clone(), PoolSettings::square(2)));
        let mut joined: Vec<Tensor<4>> = Vec::with_capacity(4);
        for (i, level) in levels.into_iter().rev().enumerate() {
            let below = joined.last().unwrap_or(&center).clone();
            let through = match self.gates.get(i) {
                Some(gate) => {
                    let heard = if i == 0 { &center } else { &joined[0] };
                    gate.forward(level, self.signals[i].forward_relu(heard.clone()))
                }
                None => level,
            };
            let up = relu(enlarge(&self.up[i], below, 2));
            joined.push(concatenate(vec![up, through]));
        }
        joined
    }

    /// Leaves what only prediction needs, with every batch norm a part of the convolution before it.
    pub(super) fn fold(&mut self) {
        self.down.iter_mut().chain(&mut self.heads).chain([&mut self.center]).for_each(DoubleUnit::fold);
        self.signals.iter_mut().chain(self.gates.iter_mut().map(|gate| &mut gate.out)).for_each(ConvNorm::fold);
    }

    /// The number that both sides of the input must be a multiple of: 16, as the encoder halves them four times.
    pub fn multiple(&self) -> usize {
        16
    }
}

/// A 3x3 transposed convolution as Keras pads it: `factor` times the size, the surplus at the end cut off.
fn enlarge(layer: &ConvTranspose2d, x: Tensor<4>, factor: usize) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    cut(layer.forward(x), 0..factor * height, 0..factor * width)
}

/// A convolution with bias, then a batch norm.
fn unit(init: &mut Init, [inputs, outputs]: [usize; 2], kernel: usize) -> ConvNorm {
    let conv = init.conv2d(inputs, outputs, kernel, Initialisation::Pytorch);
    ConvNorm { conv, norm: Some(init.batch_norm2d(outputs)) }
}

/// Two 3x3 convolutions, each with batch norm and ReLU.
fn double(init: &mut Init, inputs: usize, outputs: usize) -> DoubleUnit {
    DoubleUnit { conv1: unit(init, [inputs, outputs], 3), conv2: unit(init, [outputs, outputs], 3) }
}

/// Lets through what a signal from a deeper level asks for.
#[derive(Module, Debug)]
struct Gate {
    /// Of the level, at half its size.
    theta: Conv2d,
    /// Of the signal.
    phi: Conv2d,
    signal_up: ConvTranspose2d,
    psi: Conv2d,
    out: ConvNorm,
    #[module(skip)]
    factor: usize,
}

impl Gate {
    /// For a level and a signal of this many channels; the signal is `factor` times smaller than half the level.
    fn new(init: &mut Init, [level, signal, inside]: [usize; 3], factor: usize) -> Self {
        let how = Initialisation::Pytorch;
        let halving = ConvSettings { stride: [2; 2], ..ConvSettings::default() };
        // Keras cuts a surplus of kernel - stride: one on each side at stride 1, one at the end at stride 2.
        let conv =
            ConvSettings { stride: [factor; 2], padding: [usize::from(factor == 1); 2], ..ConvSettings::default() };
        let settings = ConvTransposeSettings { conv, ..ConvTransposeSettings::default() };
        Self {
            theta: init.conv2d_with([level, inside], [2; 2], halving, true, how),
            phi: init.conv2d(signal, inside, 1, how),
            signal_up: init.conv_transpose2d([inside, inside], [3; 2], settings, how),
            psi: init.conv2d(inside, 1, 1, how),
            out: unit(init, [level, level], 1),
            factor,
        }
    }

    fn forward(&self, level: Tensor<4>, signal: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = level.dims();
        let signal = enlarge(&self.signal_up, self.phi.forward(signal), self.factor);
        let attention = sigmoid(self.psi.forward(relu(signal + self.theta.forward(level.clone()))));
        let nearest = Resampling { interpolation: Interpolation::Nearest, align_corners: false };
        let attention = interpolate(attention, [height, width], nearest);
        self.out.forward(level * attention)
    }
}

/// The names of the Keras layers, and `phi_1`, `up1` where they have none.
pub(super) fn torch_name(parts: &[&str]) -> Option<String> {
    let number = |index: &str| index.parse::<usize>().unwrap_or_default();
    let half = |part: &str| if part == "conv1" { 1 } else { 2 };
    let norm = |part: &str| if part == "norm" { "_bn" } else { "" };
    Some(match parts[..] {
        ["scales", i, leaf] => format!("conv_scale{}.{leaf}", number(i) + 2),
        ["down", i, side, part, leaf] => format!("conv{}_{}{}.{leaf}", number(i) + 1, half(side), norm(part)),
        ["center", side, part, leaf] => format!("center_{}{}.{leaf}", half(side), norm(part)),
        ["heads", i, side, part, leaf] => format!("conv{}_{}{}.{leaf}", number(i) + 6, half(side), norm(part)),
        ["signals", i, part, leaf] => {
            format!("g{}_{}.{leaf}", number(i) + 1, if part == "norm" { "bn" } else { "conv" })
        }
        ["gates", i, "out", part, leaf] => {
            format!("q_attn_{}_{}.{leaf}", if part == "norm" { "bn" } else { "conv" }, number(i) + 1)
        }
        ["gates", i, part, leaf] => {
            let name = match part {
                "theta" => "xl",
                "signal_up" => "g_up",
                other => other,
            };
            format!("{name}_{}.{leaf}", number(i) + 1)
        }
        ["up", i, leaf] => format!("up{}.{leaf}", number(i) + 1),
        ["last", "3", leaf] => format!("final.{leaf}"),
        ["last", i, leaf] => format!("pred{}.{leaf}", number(i) + 1),
        _ => return None,
    })
}
