//! Colour to grey.
//!
//! The methods that C. Kanan and G. W. Cottrell compare in "Color-to-Grayscale: Does the Method Matter in Image
//! Recognition?" (PLoS ONE 7(1): e29740, 2012), all but Decolorize. Channels R, G, B lie between 0 and 1 and are taken as
//! stored; R' is the gamma-corrected channel, R' = Γ(R) = R^(1/2.2), and a method with a prime is Γ of the method without.
//!
//! Computed in float64 and rounded half to even; `scripts/goldens/make_gray_goldens.py` states every method in numpy, and on all
//! 2^24 colours the results are equal.

use std::fmt;
use std::str::FromStr;

use crate::base::named_enum::{by_name, name_of};
use crate::base::{Error, Result};

const GAMMA: f64 = 2.2;

/// How three channels become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GrayMethod {
    /// 0.3 R + 0.59 G + 0.11 B.
    #[default]
    Luminance,
    /// Γ(Luminance).
    LuminancePrime,
    /// (R' + G' + B') / 3.
    Gleam,
    /// (R + G + B) / 3.
    Intensity,
    /// Γ(Intensity).
    IntensityPrime,
    /// 0.2126 R' + 0.7152 G' + 0.0722 B'.
    Luma,
    /// Γ(Luma).
    LumaPrime,
    /// CIELAB's lightness: (116 f(Y) - 16) / 100 with Y = 0.2126 R + 0.7152 G + 0.0722 B; f(t) is the cube root of t
    /// above (6/29)^3, and (29/6)^2 t / 3 + 4/29 below.
    Lightness,
    /// max(R, G, B), the V of HSV.
    Value,
    /// Γ(Value).
    ValuePrime,
    /// (max(R, G, B) + min(R, G, B)) / 2, the L of HLS.
    Luster,
}

impl GrayMethod {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 11] = [
        ("luminance", Self::Luminance),
        ("luminance'", Self::LuminancePrime),
        ("gleam", Self::Gleam),
        ("intensity", Self::Intensity),
        ("intensity'", Self::IntensityPrime),
        ("luma", Self::Luma),
        ("luma'", Self::LumaPrime),
        ("lightness", Self::Lightness),
        ("value", Self::Value),
        ("value'", Self::ValuePrime),
        ("luster", Self::Luster),
    ];

    /// How the method is put together.
    fn parts(self) -> (Mix, Curve) {
        match self {
            Self::Luminance => (Mix::Weighted(LUMINANCE), Curve::Straight),
            Self::LuminancePrime => (Mix::Weighted(LUMINANCE), Curve::Gamma),
            Self::Gleam => (Mix::MeanOfCorrected, Curve::Straight),
            Self::Intensity => (Mix::Mean, Curve::Straight),
            Self::IntensityPrime => (Mix::Mean, Curve::Gamma),
            Self::Luma => (Mix::WeightedCorrected(REC_709), Curve::Straight),
            Self::LumaPrime => (Mix::WeightedCorrected(REC_709), Curve::Gamma),
            Self::Lightness => (Mix::Weighted(REC_709), Curve::Lightness),
            Self::Value => (Mix::Largest, Curve::Straight),
            Self::ValuePrime => (Mix::Largest, Curve::Gamma),
            Self::Luster => (Mix::MiddleOfExtremes, Curve::Straight),
        }
    }
}

const LUMINANCE: [f64; 3] = [0.3, 0.59, 0.11];
const REC_709: [f64; 3] = [0.2126, 0.7152, 0.0722];

impl fmt::Display for GrayMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(self, &Self::ALL))
    }
}

impl FromStr for GrayMethod {
    type Err = Error;

    /// `luma'`, or `luma-prime` where a quote is in the way.
    fn from_str(text: &str) -> Result<Self> {
        by_name("method", &text.replace("-prime", "'").replace("_prime", "'"), &Self::ALL)
    }
}

/// How the channels of a pixel become one number.
#[derive(Debug, Clone, Copy)]
enum Mix {
    Weighted([f64; 3]),
    WeightedCorrected([f64; 3]),
    Mean,
    MeanOfCorrected,
    Largest,
    MiddleOfExtremes,
}

/// What becomes of that number.
#[derive(Debug, Clone, Copy)]
enum Curve {
    Straight,
    Gamma,
    Lightness,
}

impl Curve {
    /// Of numbers between 0 and `white`.
    fn apply(self, number: f64, white: f64) -> f64 {
        match self {
            Self::Straight => number,
            Self::Gamma => (number / white).powf(1.0 / GAMMA) * white,
            Self::Lightness => {
                let t = number / white;
                let edge: f64 = 6.0 / 29.0;
                let f = if t > edge.powi(3) { t.cbrt() } else { (29.0 / 6.0_f64).powi(2) * t / 3.0 + 4.0 / 29.0 };
                (116.0 * f - 16.0) / 100.0 * white
            }
        }
    }
}

/// Turns images of one depth grey; makes its tables once. `LEVELS` is 256 for 8-bit samples, 65,536 for 16-bit ones.
pub struct GrayConverter<const LEVELS: usize> {
    mixer: Mixer<LEVELS>,
    finish: Finish,
}

/// [`Mix`] with the terms of each channel looked up instead of computed.
enum Mixer<const LEVELS: usize> {
    Sum([Box<[f64; LEVELS]>; 3]),
    Largest,
    MiddleOfExtremes,
}

/// [`Curve`] with rounding.
enum Finish {
    Round,
    Steps(Curve, Steps),
}

impl<const LEVELS: usize> GrayConverter<LEVELS> {
    /// The largest sample.
    const WHITE: u16 = (LEVELS - 1) as u16;

    /// Makes the tables of a method.
    pub fn new(method: GrayMethod) -> Self {
        let (mix, curve) = method.parts();
        let white = f64::from(Self::WHITE);
        let corrected = |sample: f64| (sample / white).powf(1.0 / GAMMA) * white;
        let mixer = match mix {
            Mix::Weighted(weights) => sum(weights, |sample, weight| weight * sample),
            Mix::WeightedCorrected(weights) => sum(weights, |sample, weight| weight * corrected(sample)),
            Mix::Mean => sum([0.0; 3], |sample, _| sample / 3.0),
            Mix::MeanOfCorrected => sum([0.0; 3], |sample, _| corrected(sample) / 3.0),
            Mix::Largest => Mixer::Largest,
            Mix::MiddleOfExtremes => Mixer::MiddleOfExtremes,
        };
        let finish = match curve {
            Curve::Straight => Finish::Round,
            curve => Finish::Steps(curve, Steps::new(curve, Self::WHITE)),
        };
        Self { mixer, finish }
    }

    /// The grey samples of interleaved RGB samples.
    pub fn convert<T: Sample<LEVELS>>(&self, rgb: &[T]) -> Vec<T> {
        match &self.finish {
            Finish::Round => self.each(rgb, T::round),
            Finish::Steps(_, steps) => self.each(rgb, |number| T::from_index(steps.index(number))),
        }
    }

    /// The grey numbers, 0 to white, before they are rounded.
    pub fn numbers<T: Sample<LEVELS>>(&self, rgb: &[T]) -> Vec<f64> {
        match &self.finish {
            Finish::Round => self.each(rgb, |number| number),
            Finish::Steps(curve, _) => self.each(rgb, |number| curve.apply(number, f64::from(Self::WHITE))),
        }
    }

    fn each<T: Sample<LEVELS>, R>(&self, rgb: &[T], finish: impl Fn(f64) -> R) -> Vec<R> {
        let (pixels, _) = rgb.as_chunks::<3>();
        match &self.mixer {
            Mixer::Sum([red, green, blue]) => {
                let sum = |[r, g, b]: &[T; 3]| red[r.index()] + green[g.index()] + blue[b.index()];
                pixels.iter().map(|pixel| finish(sum(pixel))).collect()
            }
            Mixer::Largest => pixels.iter().map(|[r, g, b]| finish(r.max(g).max(b).index() as f64)).collect(),
            Mixer::MiddleOfExtremes => {
                let middle = |[r, g, b]: &[T; 3]| (r.max(g).max(b).index() + r.min(g).min(b).index()) as f64 / 2.0;
                pixels.iter().map(|pixel| finish(middle(pixel))).collect()
            }
        }
    }
}

/// The tables of `term(sample, weight)`. Arrays of a known length: a sample cannot lie beyond it, and nothing has to check.
fn sum<const LEVELS: usize>(weights: [f64; 3], term: impl Fn(f64, f64) -> f64) -> Mixer<LEVELS> {
    Mixer::Sum(weights.map(|weight| {
        let terms: Box<[f64]> = (0..LEVELS).map(|sample| term(sample as f64, weight)).collect();
        terms.try_into().unwrap_or_else(|_| unreachable!("the table is as long as it was made"))
    }))
}

/// Where a rounded curve goes up by one: a look-up in place of a power for every pixel.
struct Steps {
    /// Entry `k` is the least number whose rounded value on the curve is above `k`.
    starts: Vec<f64>,
    /// The rounded values at equal distances; the search begins there.
    coarse: Vec<u16>,
    /// Entries of `coarse` to a unit.
    density: f64,
}

impl Steps {
    fn new(curve: Curve, white: u16) -> Self {
        let whole = f64::from(white);
        let value = |number: f64| curve.apply(number, whole).round_ties_even();
        // Positive floats are ordered like their bits.
        let start = |above: u16| {
            let (mut below, mut reached) = (0u64, whole.to_bits());
            while reached - below > 1 {
                let middle = below + (reached - below) / 2;
                if value(f64::from_bits(middle)) > f64::from(above) { reached = middle } else { below = middle }
            }
            f64::from_bits(reached)
        };
        let starts: Vec<f64> = (0..white).map(start).collect();
        let density = 4.0;
        let coarse = (0..=u32::from(white) * 4).map(|i| value(f64::from(i) / density) as u16).collect();
        Self { starts, coarse, density }
    }

    fn index(&self, number: f64) -> u16 {
        let mut value = self.coarse[((number * self.density) as usize).min(self.coarse.len() - 1)];
        while self.starts.get(usize::from(value)).is_some_and(|start| number >= *start) {
            value += 1;
        }
        value
    }
}

/// A sample of an image, one of `LEVELS`.
pub trait Sample<const LEVELS: usize>: Copy + Ord {
    /// The sample as a table index.
    fn index(self) -> usize;
    /// From a value that is known to fit.
    fn from_index(index: u16) -> Self;
    /// A number that is known to fit, rounded half to even.
    fn round(number: f64) -> Self {
        // Where the last bit of the mantissa counts ones, adding is rounding; a call to a rounding function is several
        // times slower on processors that are only known to have SSE2.
        const ONES: f64 = 6_755_399_441_055_744.0;
        Self::from_index((number + ONES).to_bits() as u16)
    }
}

impl Sample<256> for u8 {
    fn index(self) -> usize {
        self.into()
    }

    fn from_index(index: u16) -> Self {
        index as u8
    }
}

impl Sample<65536> for u16 {
    fn index(self) -> usize {
        self.into()
    }

    fn from_index(index: u16) -> Self {
        index
    }
}

/// Grey numbers spread so that the least becomes black and the largest white; an image of one grey stays as it is. NaN, of
/// pixels without data, becomes black.
pub fn stretch<T: Sample<LEVELS>, const LEVELS: usize>(numbers: &[f64]) -> Vec<T> {
    let (least, largest) = numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &n| (a.min(n), b.max(n)));
    let spread = |number: &f64| {
        if number.is_nan() {
            return T::from_index(0);
        }
        let share = if largest > least { (number - least) / (largest - least) * (LEVELS - 1) as f64 } else { *number };
        T::round(share)
    };
    numbers.iter().map(spread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_understood_with_and_without_quotes() {
        for (name, method) in GrayMethod::ALL {
            assert_eq!((name.parse().ok(), method.to_string().as_str()), (Some(method), name));
            assert_eq!(name.replace('\'', "-prime").parse().ok(), Some(method));
        }
        assert!("mauve".parse::<GrayMethod>().unwrap_err().to_string().contains("gleam, intensity"));
    }

    #[test]
    fn black_white_and_the_greys_between() {
        for (name, method) in GrayMethod::ALL {
            let converter = GrayConverter::<256>::new(method);
            assert_eq!(converter.convert(&[0u8, 0, 0, 255, 255, 255]), [0, 255], "{name}");
            let wide = GrayConverter::<65536>::new(method);
            assert_eq!(wide.convert(&[0u16, 0, 0, 65535, 65535, 65535]), [0, 65535], "{name}");
        }
        assert_eq!(GrayConverter::new(GrayMethod::Luminance).convert(&[255u8, 0, 0, 0, 255, 0]), [76, 150]);
        assert_eq!(GrayConverter::new(GrayMethod::Luster).convert(&[1u8, 0, 0, 3, 1, 0, 5, 2, 0]), [0, 2, 2]);
    }

    #[test]
    fn steps_equal_the_curve_at_sixteen_bits() {
        for method in [GrayMethod::IntensityPrime, GrayMethod::Lightness, GrayMethod::LumaPrime] {
            let converter = GrayConverter::<65536>::new(method);
            let rgb: Vec<u16> = (0..30_000u32).map(|i| (i * 7919 % 65536) as u16).collect();
            let expected: Vec<u16> = converter.numbers(&rgb).iter().map(|n| n.round_ties_even() as u16).collect();
            assert_eq!(converter.convert(&rgb), expected);
        }
    }

    #[test]
    fn stretching_reaches_black_and_white() {
        assert_eq!(stretch::<u8, 256>(&[10.0, 20.0, 30.0]), [0, 128, 255]);
        assert_eq!(stretch::<u8, 256>(&[10.4, 10.4]), [10, 10]);
    }
}
