//! Settings of the operations, in PyTorch's terms.

use burn::tensor::ops::{ConvOptions, ConvTransposeOptions, InterpolateMode, InterpolateOptions};

use crate::base::named_enum::read_by_name;

/// Stride, padding, dilation and groups of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvSettings {
    /// Step between outputs, rows and columns.
    pub stride: [usize; 2],
    /// Zeros on each side, rows and columns.
    pub padding: [usize; 2],
    /// Step between the inputs of one output, rows and columns.
    pub dilation: [usize; 2],
    /// Groups of channels that see only each other.
    pub groups: usize,
}

impl Default for ConvSettings {
    fn default() -> Self {
        Self { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 }
    }
}

impl ConvSettings {
    /// Sides of the result for an input of sides `input` and a kernel of sides `kernel`.
    ///
    /// # Panics
    ///
    /// If the kernel is larger than the padded input.
    pub fn output(&self, input: [usize; 2], kernel: [usize; 2]) -> [usize; 2] {
        std::array::from_fn(|i| {
            let (padded, reach) = (input[i] + 2 * self.padding[i], self.dilation[i] * (kernel[i] - 1) + 1);
            assert!(reach <= padded, "a kernel that reaches over {reach} pixels needs a larger image than {padded}");
            (padded - reach) / self.stride[i] + 1
        })
    }

    pub(super) fn burn(&self) -> ConvOptions<2> {
        ConvOptions::new(self.stride, self.padding, self.dilation, self.groups)
    }
}

/// Settings of a transposed convolution: those of the convolution whose input gradient it computes, and the rows and
/// columns that the stride leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConvTransposeSettings {
    /// The convolution that it is the transpose of.
    pub conv: ConvSettings,
    /// Rows and columns added at the bottom and the right; less than the stride or the dilation.
    pub output_padding: [usize; 2],
}

impl ConvTransposeSettings {
    /// Sides of the result for an input of sides `input` and a kernel of sides `kernel`.
    ///
    /// # Panics
    ///
    /// If the padding takes all of it.
    pub fn output(&self, input: [usize; 2], kernel: [usize; 2]) -> [usize; 2] {
        let ConvSettings { stride, padding, dilation, .. } = self.conv;
        std::array::from_fn(|i| {
            let whole = (input[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 + self.output_padding[i];
            let side = whole.checked_sub(2 * padding[i]).filter(|side| *side > 0);
            side.unwrap_or_else(|| panic!("a padding of {} leaves nothing of {whole} pixels", padding[i]))
        })
    }

    pub(super) fn burn(&self) -> ConvTransposeOptions<2> {
        let ConvSettings { stride, padding, dilation, groups } = self.conv;
        ConvTransposeOptions::new(stride, padding, self.output_padding, dilation, groups)
    }
}

/// Window, step and border of a maximum pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// Sides of the window.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: [usize; 2],
    /// Border that never wins.
    pub padding: [usize; 2],
    /// Step between the pixels of one window.
    pub dilation: [usize; 2],
    /// Whether a last window may reach over the border.
    pub ceil_mode: bool,
}

impl PoolSettings {
    /// Square windows side by side.
    pub fn square(side: usize) -> Self {
        Self { kernel: [side; 2], stride: [side; 2], padding: [0; 2], dilation: [1; 2], ceil_mode: false }
    }
}

/// How to fill in between pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// The pixel that the position lies in, along both axes.
    Nearest,
    /// Linear along both axes.
    Bilinear,
    /// Keys' cubic convolution with a = -0.75, as PyTorch and OpenCV have it.
    Bicubic,
}

read_by_name!(
    Interpolation,
    "interpolation",
    [("nearest", Self::Nearest), ("bilinear", Self::Bilinear), ("bicubic", Self::Bicubic)]
);

/// Interpolation and where its corners lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resampling {
    /// How to fill in.
    pub interpolation: Interpolation,
    /// Whether the centres of the corner pixels stay corners; if not, the outer edges do. Nearest knows only these.
    pub align_corners: bool,
}

impl Default for Resampling {
    /// Bilinear between the outer edges.
    fn default() -> Self {
        Self { interpolation: Interpolation::Bilinear, align_corners: false }
    }
}

impl Resampling {
    pub(super) fn burn(self) -> InterpolateOptions {
        let mode = match self.interpolation {
            Interpolation::Nearest => InterpolateMode::Nearest,
            Interpolation::Bilinear => InterpolateMode::Bilinear,
            Interpolation::Bicubic => InterpolateMode::Bicubic,
        };
        InterpolateOptions::new(mode).with_align_corners(self.align_corners)
    }
}

/// Settings of a batch norm; by default PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NormSettings {
    /// Weight of the new statistics in the running ones.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
}

impl Default for NormSettings {
    fn default() -> Self {
        Self { momentum: 0.1, epsilon: 1e-5 }
    }
}

/// A step of stochastic gradient descent with momentum and without dampening, PyTorch's `SGD`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdStep {
    /// Learning rate.
    pub rate: f64,
    /// Share of the velocity that stays.
    pub momentum: f64,
    /// Whether the gradient counts again, after the velocity (Nesterov).
    pub nesterov: bool,
    /// Share of the parameter that is added to its gradient.
    pub weight_decay: f64,
}

/// A step of Adam (arXiv 1412.6980), PyTorch's `Adam` or `AdamW`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub rate: f64,
    /// Share of the first moment that stays.
    pub beta_1: f64,
    /// Share of the second moment that stays.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Share of the parameter that is added to its gradient or, if `decoupled`, times the learning rate taken off it.
    pub weight_decay: f64,
    /// AdamW (arXiv 1711.05101).
    pub decoupled: bool,
    /// The number of this step, from 1.
    pub time: usize,
}
