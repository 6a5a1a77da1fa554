//! How an image is predicted: at which sizes, in which windows, and how the results are merged.

use std::fmt;
use std::str::FromStr;

use super::tiles::{Blend, Border, Tiles};
use crate::base::named_enum::named_enum;
use crate::base::{Error, Result, Size, require};
use crate::image::Scaling;
use crate::nn::model::{DecoderConfig, NetworkConfig};
use crate::nn::ops::{Interpolation, Resampling};

/// Largest factor of a scale.
const MAX_FACTOR: f64 = 16.0;

/// A published test procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// CSAIL's semantic-segmentation-pytorch: short sides of 300 to 600, long side at most 1000; logits enlarged straight
    /// to the image.
    Csail,
    /// hszhao/semseg: long sides of 0.5 to 1.75 times 512, in mirrored windows of 473.
    Semseg,
    /// mmsegmentation on ADE20K: at most 2048 by 512, whole or in windows; with factors, its test-time augmentation.
    Mmseg,
}

named_enum!(Preset, "preset", "csail" => Csail, "semseg" => Semseg, "mmseg" => Mmseg);

/// CSAIL's short sides, longest side, and what both sides are multiples of, with UPerNet's decoder and others.
const CSAIL_SIDES: [f64; 5] = [300.0, 375.0, 450.0, 525.0, 600.0];
const CSAIL_LONGEST: f64 = 1000.0;
const CSAIL_MULTIPLE: usize = 8;
const CSAIL_UPERNET_MULTIPLE: usize = 32;
/// hszhao/semseg's factors, the long side that they refer to, and the side of its windows.
const SEMSEG_FACTORS: [f64; 6] = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75];
const SEMSEG_BASE: f64 = 512.0;
const SEMSEG_TILE: usize = 473;
/// What mmsegmentation's images are fitted into.
const MMSEG_LONG: f64 = 2048.0;
const MMSEG_SHORT: f64 = 512.0;

/// Sizes at which an image is predicted: `0.5,1,1.5` times its own, or a preset, `csail`, or with sizes of one's own for it,
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
            Some((name, list)) => (Some(name.parse()?), list),
            None if text.starts_with(|c: char| c.is_alphabetic()) => {
                return Ok(Self { preset: Some(text.parse()?), numbers: Vec::new() });
            }
            None => (None, text),
        };
        let most = if preset == Some(Preset::Csail) { MAX_FACTOR * CSAIL_LONGEST } else { MAX_FACTOR };
        let number = |text: &str| match text.trim().parse::<f64>() {
            Ok(number) if number > 0.0 && number <= most => Ok(number),
            _ => Err(Error::invalid("scales", format!("'{text}'"), format!("numbers above 0 and of at most {most}"))),
        };
        Ok(Self { preset, numbers: list.split(',').map(number).collect::<Result<_>>()? })
    }
}

impl fmt::Display for Scales {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = self.numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        match self.preset {
            None => f.write_str(&numbers),
            Some(preset) if numbers.is_empty() => preset.fmt(f),
            Some(preset) => write!(f, "{preset}:{numbers}"),
        }
    }
}

/// What may be chosen about a procedure; what is left out is the preset's or the plain one's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choices {
    /// The sizes at which to predict the image; its own if left out.
    pub scales: Option<Scales>,
    /// Whether to predict the mirrored image, too.
    pub flip: bool,
    /// One size for every image instead of scales.
    pub resize: Option<Size>,
    /// Side of windows.
    pub tile: Option<usize>,
    /// Step between them; two thirds of their side if neither this nor the overlap is given.
    pub stride: Option<usize>,
    /// Pixels by which they overlap, over an image that is mirrored at its border.
    pub overlap: Option<usize>,
    /// How windows that overlap are blended.
    pub blend: Option<Blend>,
    /// How probabilities are enlarged to the image; bilinear if left out.
    pub upsample: Option<Interpolation>,
}

/// What is averaged, and when it is enlarged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Probabilities, over mirrored images and windows at the size of inference; upsampled, then over sizes.
    Probabilities,
    /// Logits over windows, upsampled to the image; probabilities over sizes and mirrored images.
    Logits,
    /// Logits enlarged straight from the network's own size to the image; then probabilities.
    Direct,
}

/// How an image is predicted: inference sizes, flips, sliding windows and how the scores are merged.
#[derive(Debug, Clone, PartialEq)]
pub struct Procedure {
    /// The sizes of inference.
    pub sizes: Sizes,
    /// Whether the mirrored image counts, too.
    pub flip: bool,
    /// Windows, if it is not predicted whole.
    pub tiles: Option<Tiles>,
    /// What is averaged, and when it is enlarged.
    pub join: Join,
    /// How scores are upsampled to the image.
    pub upsample: Resampling,
    /// How the image is resized.
    pub scaling: Scaling,
    /// Whether it becomes floating point before.
    pub float_scaling: bool,
}

/// The sizes at which an image is predicted.
#[derive(Debug, Clone, PartialEq)]
pub enum Sizes {
    /// Its own.
    Own,
    /// One for all images.
    Fixed(Size),
    /// This many times its own.
    Factors(Vec<f64>),
    /// CSAIL's: the short side is each of these, unless the long one were above `longest`; rounded down, then up to a
    /// multiple.
    ShortSides {
        /// In pixels.
        sides: Vec<f64>,
        /// Of the long side, in pixels.
        longest: f64,
        /// What both sides are multiples of.
        multiple: usize,
    },
    /// hszhao/semseg's: the long side is this many times `base`, rounded to whole numbers.
    LongSides {
        /// By which `base` is multiplied.
        factors: Vec<f64>,
        /// In pixels.
        base: f64,
    },
    /// mmsegmentation's: the largest whose long and short side are within these.
    Within {
        /// Of the long side, in pixels.
        long: f64,
        /// Of the short side, in pixels.
        short: f64,
    },
    /// mmsegmentation's in test-time augmentation: within this many times its own size.
    WithinFactors(Vec<f64>),
}

impl Choices {
    /// The windows that are chosen; `None` leaves them to the preset.
    fn tiles(&self, preset: Option<Preset>) -> Result<Option<Tiles>> {
        let Self { tile, stride, overlap, blend, .. } = *self;
        let refuse = |field: &'static str, reason: &str| Err(Error::conflict(field, reason));
        let of_preset = (preset == Some(Preset::Semseg)).then_some(SEMSEG_TILE);
        let given = [("blend", blend.is_some()), ("overlap", overlap.is_some()), ("stride", stride.is_some())];
        let Some(side) = tile.or(of_preset) else {
            let Some((field, _)) = given.iter().find(|(_, given)| *given) else { return Ok(None) };
            return refuse(field, "applies only to sliding windows; also give their side with `tile`");
        };
        require(side > 0, "tile", side, "at least 1")?;
        if tile.is_some() && preset == Some(Preset::Csail) {
            let reason = "has no effect with the preset csail, which predicts whole images: leave it out, or give factors as \
                          `scales`, as in 0.5,1";
            return refuse("tile", reason);
        }
        if let (Some((field, _)), Some(preset)) = (given[..2].iter().find(|(_, given)| *given), preset) {
            let reason =
                format!("cannot be used with the preset {preset}, which averages its windows: give `stride` instead");
            return refuse(field, &reason);
        }
        match (stride, overlap, blend) {
            (Some(_), Some(_), _) => refuse("overlap", "cannot be used with `stride`: each sets the other"),
            (Some(_), None, Some(_)) => {
                refuse("blend", "cannot be used with `stride`, which averages windows: give `overlap` instead")
            }
            (None, None, Some(_)) => refuse("blend", "applies only to windows that overlap; also give `overlap`"),
            (None, Some(overlap), _) => Tiles::overlapping(side, overlap, blend.unwrap_or_default()).map(Some),
            (_, None, None) => {
                let stride = stride.unwrap_or_else(|| Tiles::two_thirds_apart(side).stride);
                let expected = format!("from 1 to {side}, the side of a window; a larger step would leave pixels out");
                require((1..=side).contains(&stride), "stride", stride, expected)?;
                let border = if of_preset.is_some() { Border::Padded } else { Border::Inside };
                Ok(Some(Tiles { border, ..Tiles::apart(side, stride) }))
            }
        }
    }
}

impl Default for Procedure {
    /// Inference once, on the whole image as it is.
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
    /// The procedure that `choices` describe; what they leave out is the preset's or the plain one's.
    ///
    /// # Errors
    ///
    /// If a value is out of range, or two choices contradict each other.
    pub fn new(choices: &Choices) -> Result<Self> {
        let Choices { scales, flip, resize, upsample, .. } = choices;
        let refuse = |field: &'static str, reason: &str| Err(Error::conflict(field, reason));
        let preset = scales.as_ref().and_then(|scales| scales.preset);
        let mut procedure = match (scales, resize) {
            (Some(_), Some(_)) => return refuse("scales", "cannot be used with `resize`, which sets the size"),
            (None, Some(size)) => Self { sizes: Sizes::Fixed(*size), ..Self::default() },
            (Some(scales), None) => Self::of_scales(scales),
            (None, None) => Self::default(),
        };
        procedure.flip |= flip;
        if let Some(interpolation) = upsample {
            if preset.is_some() {
                return refuse(
                    "upsample",
                    "has no effect with a preset of `scales`, which has its own interpolation: leave it out",
                );
            }
            if procedure.sizes == Sizes::Own {
                let reason = "applies only to images predicted at another size, with `resize` or `scales`";
                return refuse("upsample", reason);
            }
            procedure.upsample = Resampling { interpolation: *interpolation, align_corners: false };
        }
        procedure.tiles = choices.tiles(preset)?.or(procedure.tiles);
        Ok(procedure)
    }

    /// CSAIL's test: inference once for each of the short sides, the long one at most `longest`.
    pub fn csail(sides: &[f64], longest: f64) -> Self {
        let sizes = Sizes::ShortSides { sides: sides.to_vec(), longest, multiple: CSAIL_MULTIPLE };
        Self { sizes, join: Join::Direct, ..Self::default() }
    }

    /// hszhao/semseg's test: long sides of `factors` times `base`, in mirrored windows.
    pub fn semseg(factors: &[f64], base: f64, window: usize) -> Self {
        Self {
            sizes: Sizes::LongSides { factors: factors.to_vec(), base },
            flip: true,
            tiles: Some(Tiles { border: Border::Padded, ..Tiles::two_thirds_apart(window) }),
            scaling: Scaling::OpenCv,
            float_scaling: true,
            ..Self::default()
        }
    }

    /// mmsegmentation's test: whole images, or windows, of `sizes`.
    pub fn mmseg(sizes: Sizes) -> Self {
        Self { sizes, join: Join::Logits, scaling: Scaling::OpenCv, ..Self::default() }
    }

    /// As the projects run such a network: CSAIL has larger multiples for UPerNet.
    #[must_use]
    pub fn fitted_to(mut self, network: &NetworkConfig) -> Self {
        if let Sizes::ShortSides { multiple, .. } = &mut self.sizes
            && let NetworkConfig::EncoderDecoder(config) = network
            && matches!(config.decoder, DecoderConfig::UperNet(_))
        {
            *multiple = CSAIL_UPERNET_MULTIPLE;
        }
        self
    }

    fn of_scales(Scales { preset, numbers }: &Scales) -> Self {
        let or = |standard: &[f64]| if numbers.is_empty() { standard.to_vec() } else { numbers.clone() };
        match preset {
            None => Self { sizes: Sizes::Factors(numbers.clone()), ..Self::default() },
            Some(Preset::Csail) => Self::csail(&or(&CSAIL_SIDES), CSAIL_LONGEST),
            Some(Preset::Semseg) => Self::semseg(&or(&SEMSEG_FACTORS), SEMSEG_BASE, SEMSEG_TILE),
            Some(Preset::Mmseg) if numbers.is_empty() => {
                Self::mmseg(Sizes::Within { long: MMSEG_LONG, short: MMSEG_SHORT })
            }
            Some(Preset::Mmseg) => Self::mmseg(Sizes::WithinFactors(numbers.clone())),
        }
    }

    /// The sizes at which an image is predicted.
    pub fn views(&self, image: Size) -> Vec<Size> {
        match &self.sizes {
            Sizes::Own => vec![image],
            Sizes::Fixed(size) => vec![*size],
            Sizes::Factors(factors) => factors.iter().map(|factor| nearest(image, *factor)).collect(),
            Sizes::ShortSides { sides, longest, multiple } => {
                sides.iter().map(|side| short_side(image, *side, *longest, *multiple)).collect()
            }
            Sizes::LongSides { factors, base } => {
                factors.iter().map(|factor| long_side(image, (factor * base).round_ties_even())).collect()
            }
            Sizes::Within { long, short } => vec![within(image, *long, *short)],
            Sizes::WithinFactors(factors) => {
                let bounded = |factor: &f64| {
                    let (long, short) = long_and_short(nearest(image, *factor));
                    within(image, long, short)
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

fn nearest(image: Size, factor: f64) -> Size {
    Size { width: scaled(image.width, factor), height: scaled(image.height, factor) }
}

fn long_and_short(image: Size) -> (f64, f64) {
    (image.width.max(image.height) as f64, image.width.min(image.height) as f64)
}

fn short_side(image: Size, side: f64, longest: f64, multiple: usize) -> Size {
    let (long, short) = long_and_short(image);
    let factor = (side / short).min(longest / long);
    let side = |side: usize| ((side as f64 * factor) as usize).max(1).next_multiple_of(multiple);
    Size { width: side(image.width), height: side(image.height) }
}

fn long_side(image: Size, long: f64) -> Size {
    let (own_long, own_short) = long_and_short(image);
    let short = (long / own_long * own_short).round_ties_even();
    let [long, short] = [long, short].map(|side| side.max(1.0) as usize);
    if image.height > image.width { Size { width: short, height: long } } else { Size { width: long, height: short } }
}

/// The largest size of the image's shape within `long` and `short`.
fn within(image: Size, long: f64, short: f64) -> Size {
    let (own_long, own_short) = long_and_short(image);
    nearest(image, (long / own_long).min(short / own_short))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: usize, height: usize) -> Size {
        Size { width, height }
    }

    #[test]
    fn sizes_are_those_of_the_projects() {
        let procedure = |scales: &str| {
            Procedure::new(&Choices { scales: Some(scales.parse().unwrap()), ..Choices::default() }).unwrap()
        };
        // 683x512 by each project's own code.
        let image = size(683, 512);
        let csail = [(400, 304), (504, 376), (600, 456), (704, 528), (800, 600)];
        assert_eq!(procedure("csail").views(image), csail.map(|(w, h)| size(w, h)));
        assert_eq!(procedure("semseg:0.5,1").views(image), [size(256, 192), size(512, 384)]);
        assert_eq!(procedure("mmseg").views(size(1000, 700)), [size(731, 512)]);
        assert_eq!(procedure("mmseg").views(size(100, 10)), [size(2048, 205)]);
        assert_eq!(procedure("0.5,2").views(image), [size(342, 256), size(1366, 1024)]);
        assert_eq!(procedure("0.001").views(size(3, 3)), [size(1, 1)]);
    }

    #[test]
    fn csail_has_larger_multiples_for_upernet() {
        let views = |recipe: &str| {
            let network = crate::recipe::NetworkRecipe::find(recipe).unwrap().network;
            Procedure::csail(&[300.0], 1000.0).fitted_to(&network).views(size(683, 512))
        };
        assert_eq!(views("mit-upernet50"), [size(416, 320)]);
        assert_eq!(views("mit-resnet34-c1"), [size(400, 304)]);
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        let refused = |change: fn(&mut Choices)| {
            let mut choices = Choices::default();
            change(&mut choices);
            Procedure::new(&choices).unwrap_err().to_string()
        };
        assert!(refused(|c| c.upsample = Some(Interpolation::Bicubic)).contains("`resize` or `scales`"));
        assert!(refused(|c| c.stride = Some(3)).contains("`tile`"));
        assert!(refused(|c| c.tile = Some(0)).contains("`tile` is 0; it must be at least 1"));
        assert!(refused(|c| (c.tile, c.overlap) = (Some(0), Some(0))).contains("`tile` is 0"));
        assert!(refused(|c| (c.tile, c.stride) = (Some(8), Some(9))).contains("from 1 to 8"));
        assert!(refused(|c| c.overlap = Some(3)).contains("`tile`"));
        assert!(refused(|c| (c.tile, c.blend) = (Some(8), Some(Blend::Crop))).contains("also give `overlap`"));
        assert!(
            refused(|c| (c.tile, c.stride, c.overlap) = (Some(8), Some(4), Some(4))).contains("each sets the other")
        );
        assert!(refused(|c| (c.tile, c.stride, c.blend) = (Some(8), Some(4), Some(Blend::Crop))).contains("`overlap`"));
        assert!(refused(|c| (c.tile, c.overlap) = (Some(8), Some(5))).contains("from 0 to 4"));
        assert!(refused(|c| (c.scales, c.overlap) = ("semseg".parse().ok(), Some(9))).contains("preset semseg"));
        assert!(refused(|c| (c.scales, c.tile) = ("csail".parse().ok(), Some(9))).contains("whole images"));
        for wrong in ["", "0", "-1", "x", "csail:", "semseg:99", "1,,2", "nan"] {
            assert!(wrong.parse::<Scales>().is_err(), "{wrong}");
        }
        assert_eq!("csail:300,450".parse::<Scales>().unwrap().to_string(), "csail:300,450");
    }
}
