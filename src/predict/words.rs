//! A procedure in words, such that two procedures that differ have different words.

use std::fmt;

use super::{Join, Procedure, Sizes};
use crate::image::Scaling;
use crate::nn::ops::Resampling;

impl fmt::Display for Procedure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sizes, flip, tiles, join, upsample, scaling, float_scaling } = self;
        write!(f, "{sizes}")?;
        if *flip {
            f.write_str(", also mirrored")?;
        }
        if let Some(tiles) = tiles {
            write!(f, ", {tiles}")?;
        }
        f.write_str(match join {
            Join::Probabilities => "",
            Join::Logits => ", mean of logits",
            Join::Direct => ", logits enlarged at once",
        })?;
        if *upsample != Resampling::default() {
            let corners = if upsample.align_corners { " with aligned corners" } else { "" };
            write!(f, ", enlarged {:?}{corners}", upsample.interpolation)?;
        }
        if *scaling != Scaling::default() {
            write!(f, ", scaled as {scaling:?}")?;
        }
        f.write_str(if *float_scaling { " in floating point" } else { "" })
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |numbers: &[f64]| numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Own => f.write_str("own size"),
            Self::Fixed(size) => write!(f, "resized to {size}"),
            Self::Factors(factors) => write!(f, "{} times the own size", list(factors)),
            Self::ShortSides { sides, longest, multiple } => {
                write!(f, "short sides of {}, long ones of at most {longest}, multiples of {multiple}", list(sides))
            }
            Self::LongSides { factors, base } => write!(f, "long sides of {} times {base}", list(factors)),
            Self::Within { long, short } => write!(f, "within {long} by {short}"),
            Self::WithinFactors(factors) => write!(f, "within {} times the own size", list(factors)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::Choices;

    #[test]
    fn procedures_that_differ_have_different_words() {
        let of = |scales: &str, flip: bool, tile: Option<usize>| {
            let choices = Choices { scales: scales.parse().ok(), flip, tile, ..Choices::default() };
            Procedure::new(&choices).unwrap().to_string()
        };
        assert_eq!(of("", false, None), "own size");
        assert_eq!(
            of("0.5,1", true, Some(6)),
            "0.5, 1 times the own size, also mirrored, windows of 6 that lie 4 apart"
        );
        let all = ["", "1", "csail", "csail:300", "semseg", "semseg:1", "mmseg", "mmseg:1"];
        let words: std::collections::BTreeSet<String> =
            all.iter().flat_map(|scales| [of(scales, false, None), of(scales, true, None)]).collect();
        // The preset semseg mirrors in any case.
        assert_eq!(words.len(), 2 * all.len() - 2, "{words:?}");
    }
}
