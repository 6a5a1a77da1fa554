//! What numbers make sense.

use super::{Augmentation, Change, Extent};
use crate::base::{Error, Result};

/// Longest side that an image is resized or cropped to.
const MAX_SIDE: usize = 1 << 14;
/// Largest factor that an image is enlarged by.
const MAX_FACTOR: f64 = 16.0;
/// Largest standard deviation of a blur, in pixels.
const MAX_SIGMA: f64 = 64.0;

impl Augmentation {
    /// Says what is wrong with the numbers.
    pub fn check(&self) -> Result<()> {
        match self.fault() {
            None => Ok(()),
            Some(fault) => Err(Error::Config(format!("augmentation '{}': {fault}", self.change.name()))),
        }
    }

    pub(super) fn fault(&self) -> Option<String> {
        if !(0.0..=1.0).contains(&self.probability) {
            return Some(format!("`probability` lies between 0 and 1, not at {}", self.probability));
        }
        self.change.fault()
    }
}

impl Change {
    /// As recipes write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FlipHorizontal {} => "flip-horizontal",
            Self::FlipVertical {} => "flip-vertical",
            Self::Rotate180 {} => "rotate180",
            Self::Rotate90 {} => "rotate90",
            Self::Rotate { .. } => "rotate",
            Self::Scale { .. } => "scale",
            Self::ResizeShort { .. } => "resize-short",
            Self::Resize { .. } => "resize",
            Self::Crop { .. } => "crop",
            Self::ColorJitter { .. } => "color-jitter",
            Self::Blur { .. } => "blur",
            Self::Noise { .. } => "noise",
        }
    }

    pub(super) fn fault(&self) -> Option<String> {
        match self {
            Self::FlipHorizontal {} | Self::FlipVertical {} | Self::Rotate180 {} | Self::Rotate90 {} => None,
            Self::Rotate { degrees } => (!(*degrees > 0.0 && *degrees <= 180.0))
                .then(|| format!("`degrees` is an angle above 0 and up to 180, not {degrees}")),
            Self::Scale { min, max, aspect } => {
                let factors = |what: &str, range: [f64; 2]| range_fault(what, range, 1.0 / MAX_FACTOR, MAX_FACTOR);
                factors("the factors", [*min, *max]).or_else(|| factors("`aspect`", (*aspect)?))
            }
            Self::ResizeShort { sides, longest, multiple } => {
                if sides.is_empty() {
                    return Some("`sides` lists at least one short side in pixels".into());
                }
                let numbers = sides.iter().copied().chain(*longest).chain([*multiple]);
                numbers.into_iter().find_map(side_fault)
            }
            Self::Resize { size } => extent_fault(*size),
            Self::Crop { size, max_class_share } => {
                let share = max_class_share.filter(|share| !(*share > 0.0 && *share <= 1.0));
                let share_fault = |share| format!("`max_class_share` is a share above 0 and up to 1, not {share}");
                extent_fault(*size).or_else(|| share.map(share_fault))
            }
            Self::ColorJitter { brightness, contrast, saturation, hue } => {
                jitter_fault([*brightness, *contrast, *saturation, *hue])
            }
            Self::Blur { sigma, radius } => range_fault("`sigma`", *sigma, 0.0, MAX_SIGMA).or_else(|| {
                let most = (3.0 * MAX_SIGMA) as usize;
                let radius = radius.filter(|radius| !(1..=most).contains(radius))?;
                Some(format!("`radius` is 1 to {most} pixels, not {radius}"))
            }),
            Self::Noise { std } => {
                (!(*std > 0.0 && std.is_finite())).then(|| format!("`std` is a number above 0, not {std}"))
            }
        }
    }
}

fn range_fault(what: &str, [low, high]: [f64; 2], least: f64, most: f64) -> Option<String> {
    let fits = |value: f64| (least..=most).contains(&value);
    if !(fits(low) && fits(high)) {
        return Some(format!("{what} lie between {least} and {most}, not at {low} and {high}"));
    }
    (low > high).then(|| format!("{what} run from the smaller to the larger, not from {low} to {high}"))
}

fn side_fault(side: usize) -> Option<String> {
    (!(1..=MAX_SIDE).contains(&side)).then(|| format!("sides are 1 to {MAX_SIDE} pixels, not {side}"))
}

fn extent_fault(extent: Extent) -> Option<String> {
    let size = extent.size();
    side_fault(size.height).or_else(|| side_fault(size.width))
}

fn jitter_fault(amounts: [f64; 4]) -> Option<String> {
    let names = ["brightness", "contrast", "saturation", "hue"];
    for (i, (name, amount)) in names.into_iter().zip(amounts).enumerate() {
        let most = if i == 3 { 0.5 } else { 10.0 };
        if !(0.0..=most).contains(&amount) {
            return Some(format!("`{name}` lies between 0 and {most}, not at {amount}"));
        }
    }
    amounts.iter().all(|amount| *amount == 0.0).then(|| format!("none of {} is above 0", names.join(", ")))
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
            ("scale=0:1", "the factors"),
            ("crop=0", "sides are 1 to"),
            ("resize=12:99999", "99999"),
            ("resize-short=0", "sides are 1 to"),
            ("color-jitter=0", "none of brightness"),
            ("color-jitter=0:0:0:0.7", "hue"),
            ("blur=3:1", "smaller to the larger"),
            ("noise=0", "std"),
        ] {
            let message = Augmentation::parse_list(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
        let often = Augmentation { probability: 1.5, ..Augmentation::from(Change::FlipVertical {}) };
        assert!(often.check().unwrap_err().to_string().contains("'flip-vertical': `probability`"));
    }
}
