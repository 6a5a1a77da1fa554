//! At which sizes a picture is looked at, in which pieces, and how what was seen becomes one answer.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result, Size};
use crate::image::Scaling;
use crate::named;
use crate::ops::{Interpolation, Resampling};

/// Largest factor of a scale.
const MAX_FACTOR: f64 = 16.0;

/// A published test procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// CSAIL's semantic-segmentation-pytorch: short sides of 300 to 600, long side at most 1000; logits enlarged straight
    /// to the picture.
    Csail,
    /// hszhao/semseg: long sides of 0.5 to 1.75 times 512, in mirrored windows of 473.
    Semseg,
    /// mmsegmentation on ADE20K: at most 2048 by 512, whole or in windows; with factors, its test-time augmentation.
    Mmseg,
}

const PRESETS: [(&str, Preset); 3] = [("csail", Preset::Csail), ("semseg", Preset::Semseg), ("mmseg", Preset::Mmseg)];

/// CSAIL's short sides, longest side, and what both sides are multiples of.
const CSAIL_SIDES: [f64; 5] = [300.0, 375.0, 450.0, 525.0, 600.0];
const CSAIL_LONGEST: f64 = 1000.0;
const CSAIL_MULTIPLE: usize = 8;
/// hszhao/semseg's factors, the long side that they refer to, and the side of its windows.
const SEMSEG_FACTORS: [f64; 6] = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75];
const SEMSEG_BASE: f64 = 512.0;
const SEMSEG_TILE: usize = 473;
/// What mmsegmentation's pictures are fitted into.
const MMSEG_LONG: f64 = 2048.0;
const MMSEG_SHORT: f64 = 512.0;

/// Sizes that a picture is looked at: `0.5,1,1.5` times its own, or a preset, `csail`, or with sizes of one's own for it,
/// `csail:300,450` (short sides), `semseg:1` or `mmseg:0.5,1` (factors).
#[derive(Debug, Clone, PartialEq)]
pub struct Scales {
    /// Whose procedure, if it is a preset.
    pub preset: Option<Preset>,
    /// Factors, or short sides in pixels; empty for the preset's own.
    pub numbers: Vec<f64>,
}

impl FromStr for Scales {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (preset, list) = match text.split_once(':') {
            Some((name, list)) => (Some(named::by_name("preset", name, &PRESETS)?), list),
            None if text.starts_with(|c: char| c.is_alphabetic()) => {
                return Ok(Self { preset: Some(named::by_name("preset", text, &PRESETS)?), numbers: Vec::new() });
            }
            None => (None, text),
        };
        let most = if preset == Some(Preset::Csail) { MAX_FACTOR * CSAIL_LONGEST } else { MAX_FACTOR };
        let number = |text: &str| match text.trim().parse::<f64>() {
            Ok(number) if number > 0.0 && number <= most => Ok(number),
            _ => Err(Error::Config(format!("'{text}' is not a number above 0 and of at most {most}"))),
        };
        Ok(Self { preset, numbers: list.split(',').map(number).collect::<Result<_>>()? })
    }
}

impl fmt::Display for Scales {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = self.numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        match self.preset {
            None => f.write_str(&numbers),
            Some(preset) if numbers.is_empty() => f.write_str(named::name_of(&preset, &PRESETS)),
            Some(preset) => write!(f, "{}:{numbers}", named::name_of(&preset, &PRESETS)),
        }
    }
}

/// What may be chosen about a procedure; what is left out is the preset's or the plain one's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choices {
    /// The sizes to look at the picture; its own if left out.
    pub scales: Option<Scales>,
    /// Whether to look at the mirrored picture, too.
    pub flip: bool,
    /// One size for every picture instead of scales.
    pub resize: Option<Size>,
    /// Side of windows.
    pub tile: Option<usize>,
    /// Step between them.
    pub stride: Option<usize>,
    /// How probabilities are enlarged to the picture; bilinear if left out.
    pub upsample: Option<Interpolation>,
}

/// Windows over a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    /// Their side.
    pub side: usize,
    /// Step between them; the last ends where the picture does.
    pub stride: usize,
    /// Whether smaller pictures are extended by the mean to a whole window.
    pub padded: bool,
}

impl Tiles {
    /// Where windows begin along a side.
    pub fn starts(&self, length: usize) -> Vec<usize> {
        let last = length.saturating_sub(self.side);
        (0..=last.div_ceil(self.stride)).map(|i| (i * self.stride).min(last)).collect()
    }
}

/// What is averaged, and when it is enlarged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Probabilities, over mirrored looks and windows at the size they were seen in; enlarged, then over sizes.
    Probabilities,
    /// Logits over windows, enlarged to the picture; probabilities over sizes and mirrored looks.
    Logits,
    /// Logits enlarged straight from the network's own size to the picture; then probabilities.
    Direct,
}

/// From a picture to its classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Procedure {
    sizes: Sizes,
    /// Whether the mirrored picture counts, too.
    pub flip: bool,
    /// Windows, if it is not looked at whole.
    pub tiles: Option<Tiles>,
    /// What is averaged, and when it is enlarged.
    pub join: Join,
    /// How looks are enlarged to the picture.
    pub upsample: Resampling,
    /// How the picture is resized.
    pub scaling: Scaling,
    /// Whether it becomes floating point before.
    pub float_scaling: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Sizes {
    Own,
    Fixed(Size),
    Factors(Vec<f64>),
    /// Short sides.
    Csail(Vec<f64>),
    Semseg(Vec<f64>),
    MmsegFit,
    Mmseg(Vec<f64>),
}

impl Default for Procedure {
    /// One look at the whole picture as it is.
    fn default() -> Self {
        Self {
            sizes: Sizes::Own,
            flip: false,
            tiles: None,
            join: Join::Probabilities,
            upsample: Resampling::default(),
            scaling: Scaling::Pillow,
            float_scaling: false,
        }
    }
}

impl Procedure {
    /// What was chosen, checked.
    pub fn new(choices: &Choices) -> Result<Self> {
        let Choices { scales, flip, resize, tile, stride, upsample } = choices;
        let refuse = |reason: &str| Err(Error::Config(reason.into()));
        let mut procedure = Self { flip: *flip, ..Self::default() };
        let preset = scales.as_ref().and_then(|scales| scales.preset);
        match (scales, resize) {
            (Some(_), Some(_)) => return refuse("--resize gives the size, so that --scales has nothing to scale"),
            (None, Some(size)) => procedure.sizes = Sizes::Fixed(*size),
            (Some(scales), None) => procedure.set_scales(scales),
            (None, None) => {}
        }
        if let Some(interpolation) = upsample {
            if preset.is_some() {
                return refuse("a preset of --scales has its own enlargement: leave --upsample out");
            }
            procedure.upsample = Resampling { interpolation: *interpolation, align_corners: false };
        }
        match (tile.or(procedure.tiles.map(|tiles| tiles.side)), stride) {
            (None, Some(_)) => return refuse("--stride is the step between windows: give their side with --tile"),
            (None, None) => {}
            (Some(_), _) if preset == Some(Preset::Csail) => {
                return refuse(
                    "the preset csail looks at whole pictures: leave --tile out, or give factors, as in 0.5,1",
                );
            }
            (Some(side), stride) => {
                let stride = stride.unwrap_or((2 * side).div_ceil(3));
                if side == 0 || stride == 0 || stride > side {
                    return Err(Error::Config(format!(
                        "windows of {side} that lie {stride} apart would leave pixels out: --stride must be from 1 to {side}"
                    )));
                }
                procedure.tiles = Some(Tiles { side, stride, padded: preset == Some(Preset::Semseg) });
            }
        }
        Ok(procedure)
    }

    fn set_scales(&mut self, scales: &Scales) {
        let own = |standard: &[f64]| if scales.numbers.is_empty() { standard.to_vec() } else { scales.numbers.clone() };
        match scales.preset {
            None => self.sizes = Sizes::Factors(scales.numbers.clone()),
            Some(Preset::Csail) => {
                (self.sizes, self.join) = (Sizes::Csail(own(&CSAIL_SIDES)), Join::Direct);
            }
            Some(Preset::Semseg) => {
                self.sizes = Sizes::Semseg(own(&SEMSEG_FACTORS));
                (self.scaling, self.float_scaling, self.flip) = (Scaling::OpenCv, true, true);
                self.tiles = Some(Tiles { side: SEMSEG_TILE, stride: SEMSEG_TILE, padded: true });
            }
            Some(Preset::Mmseg) => {
                let fit = scales.numbers.is_empty();
                self.sizes = if fit { Sizes::MmsegFit } else { Sizes::Mmseg(scales.numbers.clone()) };
                (self.scaling, self.join) = (Scaling::OpenCv, Join::Logits);
            }
        }
    }

    /// The sizes that a picture is looked at.
    pub fn views(&self, picture: Size) -> Vec<Size> {
        match &self.sizes {
            Sizes::Own => vec![picture],
            Sizes::Fixed(size) => vec![*size],
            Sizes::Factors(factors) => factors.iter().map(|factor| nearest(picture, *factor)).collect(),
            Sizes::Csail(sides) => sides.iter().map(|side| csail(picture, *side)).collect(),
            Sizes::Semseg(factors) => factors.iter().map(|factor| semseg(picture, *factor)).collect(),
            Sizes::MmsegFit => vec![fit(picture, MMSEG_LONG, MMSEG_SHORT)],
            Sizes::Mmseg(factors) => {
                let bounded = |factor: &f64| {
                    let Size { width, height } = nearest(picture, *factor);
                    fit(picture, width.max(height) as f64, width.min(height) as f64)
                };
                factors.iter().map(bounded).collect()
            }
        }
    }
}

/// `side * factor`, halves up, but at least 1.
fn scaled(side: usize, factor: f64) -> usize {
    ((side as f64 * factor + 0.5) as usize).max(1)
}

fn nearest(picture: Size, factor: f64) -> Size {
    Size { width: scaled(picture.width, factor), height: scaled(picture.height, factor) }
}

fn long_and_short(picture: Size) -> (f64, f64) {
    (picture.width.max(picture.height) as f64, picture.width.min(picture.height) as f64)
}

fn csail(picture: Size, side: f64) -> Size {
    let (long, short) = long_and_short(picture);
    let factor = (side / short).min(CSAIL_LONGEST / long);
    let side = |side: usize| ((side as f64 * factor) as usize).max(1).next_multiple_of(CSAIL_MULTIPLE);
    Size { width: side(picture.width), height: side(picture.height) }
}

fn semseg(picture: Size, factor: f64) -> Size {
    let long = (factor * SEMSEG_BASE).round_ties_even();
    let other =
        |long_side: usize, side: usize| (long / long_side as f64 * side as f64).round_ties_even().max(1.0) as usize;
    let Size { width, height } = picture;
    if height > width {
        Size { width: other(height, width), height: long.max(1.0) as usize }
    } else {
        Size { width: long.max(1.0) as usize, height: other(width, height) }
    }
}

/// The largest size of the picture's shape within `long` and `short`.
fn fit(picture: Size, long: f64, short: f64) -> Size {
    let (own_long, own_short) = long_and_short(picture);
    nearest(picture, (long / own_long).min(short / own_short))
}
