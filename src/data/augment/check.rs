//! What numbers make sense.

use super::{Augmentation, Change, Extent};
use crate::base::named_enum::kind_of;
use crate::base::{Result, require};

/// Longest side that an image is resized or cropped to.
const MAX_SIDE: usize = 1 << 14;
/// Largest factor that an image is enlarged by.
const MAX_FACTOR: f64 = 16.0;
/// Largest standard deviation of a blur, in pixels.
const MAX_SIGMA: f64 = 64.0;

/// The names of the changes, as recipes write them.
pub(super) const KINDS: [&str; 12] = [
    "flip-horizontal",
    "flip-vertical",
    "rotate180",
    "rotate90",
    "rotate",
    "scale",
    "resize-short",
    "resize",
    "crop",
    "color-jitter",
    "blur",
    "noise",
];

impl Augmentation {
    /// Says what is wrong with the numbers.
    pub fn check(&self) -> Result<()> {
        let (name, probability) = (self.change.name(), self.probability);
        require((0.0..=1.0).contains(&probability), format!("{name}.probability"), probability, "between 0 and 1")?;
        self.change.check()
    }
}

impl Change {
    /// As recipes write it.
    pub fn name(&self) -> &'static str {
        kind_of(self, &KINDS)
    }

    fn check(&self) -> Result<()> {
        match self {
            Self::FlipHorizontal {} | Self::FlipVertical {} | Self::Rotate180 {} | Self::Rotate90 {} => Ok(()),
            Self::Rotate { degrees } => {
                let usable = *degrees > 0.0 && *degrees <= 180.0;
                require(usable, "rotate.degrees", degrees, "an angle above 0 and up to 180")
            }
            Self::Scale { min, max, aspect } => {
                check_range("scale.min to scale.max", [*min, *max], 1.0 / MAX_FACTOR, MAX_FACTOR)?;
                aspect.map_or(Ok(()), |range| check_range("scale.aspect", range, 1.0 / MAX_FACTOR, MAX_FACTOR))
            }
            Self::ResizeShort { sides, longest, multiple } => {
                require(
                    !sides.is_empty(),
                    "resize-short.sides",
                    "empty",
                    "a list of at least one short side in pixels",
                )?;
                sides.iter().chain(longest).chain([multiple]).try_for_each(|side| check_side("resize-short", *side))
            }
            Self::Resize { size } => check_extent("resize.size", *size),
            Self::Crop { size, max_class_share } => {
                check_extent("crop.size", *size)?;
                let share = max_class_share.unwrap_or(1.0);
                let usable = share > 0.0 && share <= 1.0;
                require(usable, "crop.max_class_share", share, "a share above 0 and up to 1")
            }
            Self::ColorJitter { brightness, contrast, saturation, hue } => {
                check_jitter([*brightness, *contrast, *saturation, *hue])
            }
            Self::Blur { sigma, radius } => {
                check_range("blur.sigma", *sigma, 0.0, MAX_SIGMA)?;
                let (radius, most) = (radius.unwrap_or(1), (3.0 * MAX_SIGMA) as usize);
                require((1..=most).contains(&radius), "blur.radius", radius, format!("1 to {most} pixels"))
            }
            Self::Noise { std } => require(*std > 0.0 && std.is_finite(), "noise.std", std, "a number above 0"),
        }
    }
}

fn check_range(field: &'static str, [low, high]: [f64; 2], least: f64, most: f64) -> Result<()> {
    let fits = [low, high].iter().all(|value| (least..=most).contains(value)) && low <= high;
    let expected = format!("between {least} and {most}, from the smaller to the larger");
    require(fits, field, format!("{low} to {high}"), expected)
}

fn check_side(field: &'static str, side: usize) -> Result<()> {
    require((1..=MAX_SIDE).contains(&side), field, side, format!("1 to {MAX_SIDE} pixels a side"))
}

fn check_extent(field: &'static str, extent: Extent) -> Result<()> {
    let size = extent.size();
    check_side(field, size.height)?;
    check_side(field, size.width)
}

fn check_jitter(amounts: [f64; 4]) -> Result<()> {
    let names = ["brightness", "contrast", "saturation", "hue"];
    for (name, amount) in names.into_iter().zip(amounts) {
        let most = if name == "hue" { 0.5 } else { 10.0 };
        let field = format!("color-jitter.{name}");
        require((0.0..=most).contains(&amount), field, amount, format!("between 0 and {most}"))?;
    }
    let some = amounts.iter().any(|amount| *amount != 0.0);
    require(some, "color-jitter", "0 throughout", format!("above 0 in one of {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_cannot_work_are_refused() {
        for (text, expected) in [
            ("rotate=181", "degrees"),
            ("rotate=-3", "degrees"),
            ("scale=2:0.5", "smaller to the larger"),
            ("scale=0:1", "scale.min"),
            ("crop=0", "1 to 16384 pixels"),
            ("resize=12:99999", "99999"),
            ("resize-short=0", "1 to 16384 pixels"),
            ("color-jitter=0", "one of brightness"),
            ("color-jitter=0:0:0:0.7", "hue"),
            ("blur=3:1", "smaller to the larger"),
            ("noise=0", "std"),
        ] {
            assert_refused!(Augmentation::parse_list(text), expected);
        }
        let often = Augmentation { probability: 1.5, ..Augmentation::from(Change::FlipVertical {}) };
        assert!(often.check().unwrap_err().to_string().contains("`flip-vertical.probability` is 1.5"));
    }
}
