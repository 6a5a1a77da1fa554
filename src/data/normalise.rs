//! From samples between 0 and 1 to network input.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::{Result, require};

/// Keeps a constant image from being divided by nothing.
const EPSILON: f64 = 1e-6;

/// Which pixels carry a measurement. Samples that are not finite never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValidPixels {
    /// All of them.
    #[default]
    All,
    /// Those with a band other than 0: scenes are filled with 0 outside the swath.
    Nonzero,
}

/// How samples become network input. Pixels that are not valid become 0, the mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Normalisation {
    /// `(sample - mean) / std` with given numbers, one a band, for samples between 0 and 1.
    Fixed {
        /// Mean of each band.
        mean: Vec<f64>,
        /// Standard deviation of each band.
        std: Vec<f64>,
        /// Which pixels count.
        #[serde(default)]
        valid: ValidPixels,
    },
    /// Mean and standard deviation of the image's own valid pixels.
    PerImage {
        /// Which pixels count.
        #[serde(default)]
        valid: ValidPixels,
    },
    /// Mean and standard deviation of all training images, measured before training; then stored as fixed.
    PerDataset {
        /// Which pixels count.
        #[serde(default)]
        valid: ValidPixels,
    },
}

impl fmt::Display for Normalisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = |values: &[f64]| values.iter().map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(" ");
        match self {
            Self::Fixed { mean, std, .. } => write!(f, "mean {}, std {}", numbers(mean), numbers(std)),
            Self::PerImage { .. } => write!(f, "each image by its own mean and std"),
            Self::PerDataset { .. } => write!(f, "mean and std of the training images"),
        }
    }
}

impl Normalisation {
    /// Checks that there is a number for each band, and that it can be calculated with.
    pub fn validate(&self, bands: usize) -> Result<()> {
        let Self::Fixed { mean, std, .. } = self else { return Ok(()) };
        for (field, numbers) in [("normalisation.mean", mean), ("normalisation.std", std)] {
            let value = format!("a list of {} numbers", numbers.len());
            require(numbers.len() == bands, field, value, format!("a list of {bands}, one number for each band"))?;
        }
        let finite = mean.iter().all(|mean| (*mean as f32).is_finite());
        require(finite, "normalisation.mean", format!("{mean:?}"), "a finite number for every band")?;
        let usable = std.iter().map(|std| *std as f32).all(|std| std > 0.0 && std.is_finite());
        require(usable, "normalisation.std", format!("{std:?}"), "larger than 0 for every band")
    }

    /// Which pixels count.
    pub fn valid(&self) -> ValidPixels {
        match self {
            Self::Fixed { valid, .. } | Self::PerImage { valid } | Self::PerDataset { valid } => *valid,
        }
    }

    /// Normalises planes `[bands, height, width]` in place. A per-data-set normalisation that was never measured acts
    /// as per-image.
    pub fn apply(&self, planes: &mut [f32], bands: usize) {
        self.prepare(planes, bands).apply(planes);
    }

    /// Marks pixels that are not valid with NaN, in all bands, and says what is to be taken off the others and what
    /// they are to be divided by: that of the whole image, which parts of it are normalised with, too.
    pub(super) fn prepare(&self, planes: &mut [f32], bands: usize) -> Normaliser {
        let pixels = planes.len() / bands;
        let valid = valid_mask(planes, bands, self.valid());
        let (mean, std) = match self {
            Self::Fixed { mean, std, .. } => (mean.clone(), std.clone()),
            Self::PerImage { .. } | Self::PerDataset { .. } => {
                let mut statistics = Statistics::new(bands);
                statistics.add_masked(planes, &valid);
                statistics.mean_and_std()
            }
        };
        for plane in planes.chunks_exact_mut(pixels) {
            plane.iter_mut().zip(&valid).filter(|(_, valid)| !**valid).for_each(|(sample, _)| *sample = f32::NAN);
        }
        Normaliser { mean, std }
    }
}

/// Mean and standard deviation of each band, as an image is normalised with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Normaliser {
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Normaliser {
    /// Normalises planes in place; NaN becomes 0, the mean.
    pub(super) fn apply(&self, planes: &mut [f32]) {
        let pixels = planes.len() / self.mean.len();
        for (band, plane) in planes.chunks_exact_mut(pixels).enumerate() {
            let (mean, scale) = (self.mean[band] as f32, (1.0 / self.std[band]) as f32);
            for sample in plane {
                *sample = if sample.is_nan() { 0.0 } else { (*sample - mean) * scale };
            }
        }
    }
}

fn valid_mask(planes: &[f32], bands: usize, valid: ValidPixels) -> Vec<bool> {
    let pixels = planes.len() / bands;
    let sample = |band: usize, i: usize| planes[band * pixels + i];
    (0..pixels)
        .map(|i| {
            let finite = (0..bands).all(|b| sample(b, i).is_finite());
            finite && (valid == ValidPixels::All || (0..bands).any(|b| sample(b, i) != 0.0))
        })
        .collect()
}

/// Sums over valid pixels, band by band; addable across images.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    count: u64,
    sum: Vec<f64>,
    squares: Vec<f64>,
}

impl Statistics {
    /// Empty sums for images of `bands` bands.
    pub fn new(bands: usize) -> Self {
        Self { count: 0, sum: vec![0.0; bands], squares: vec![0.0; bands] }
    }

    /// Adds the valid pixels of one image, planes `[bands, height, width]` between 0 and 1.
    pub fn add(&mut self, planes: &[f32], valid: ValidPixels) {
        self.add_masked(planes, &valid_mask(planes, self.sum.len(), valid));
    }

    fn add_masked(&mut self, planes: &[f32], mask: &[bool]) {
        for (band, plane) in planes.chunks_exact(mask.len()).enumerate() {
            for (&sample, _) in plane.iter().zip(mask).filter(|(_, valid)| **valid) {
                self.sum[band] += f64::from(sample);
                self.squares[band] += f64::from(sample) * f64::from(sample);
            }
        }
        self.count += mask.iter().filter(|valid| **valid).count() as u64;
    }

    /// Adds what another has seen.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum.iter_mut().zip(&other.sum).for_each(|(mine, theirs)| *mine += theirs);
        self.squares.iter_mut().zip(&other.squares).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// Mean and population standard deviation of each band; 0 and 1 if no pixel was valid.
    pub fn mean_and_std(&self) -> (Vec<f64>, Vec<f64>) {
        if self.count == 0 {
            return (vec![0.0; self.sum.len()], vec![1.0; self.sum.len()]);
        }
        let n = self.count as f64;
        let mean: Vec<f64> = self.sum.iter().map(|s| s / n).collect();
        let variance = |(square, mean): (&f64, &f64)| (square / n - mean * mean).max(0.0);
        let std = self.squares.iter().zip(&mean).map(|pair| variance(pair).sqrt() + EPSILON).collect();
        (mean, std)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_image_uses_valid_pixels_only() {
        let mut planes = vec![0.0, 1.0, 3.0, f32::NAN];
        Normalisation::PerImage { valid: ValidPixels::Nonzero }.apply(&mut planes, 1);
        // Mean 2, standard deviation 1 over the two valid pixels.
        let close = |a: f32, b: f32| (a - b).abs() < 1e-5;
        assert!(planes[0] == 0.0 && close(planes[1], -1.0) && close(planes[2], 1.0) && planes[3] == 0.0, "{planes:?}");
    }

    #[test]
    fn means_and_deviations_must_be_usable() {
        let fixed = |mean: f64, std: f64| {
            Normalisation::Fixed { mean: vec![mean], std: vec![std], valid: ValidPixels::All }.validate(1)
        };
        fixed(-0.5, 0.2).unwrap();
        for mean in [f64::NAN, f64::INFINITY, 1e300] {
            assert_refused!(fixed(mean, 1.0), "normalisation.mean", "a finite number for every band");
        }
        assert_refused!(fixed(0.0, 0.0), "normalisation.std", "larger than 0");
    }

    #[test]
    fn an_empty_image_stays_zero() {
        let mut planes = vec![0.0; 4];
        Normalisation::PerImage { valid: ValidPixels::Nonzero }.apply(&mut planes, 1);
        assert_eq!(planes, [0.0; 4]);
    }

    #[test]
    fn statistics_of_parts_add_up() {
        let (a, b) = (vec![0.1, 0.5, 0.2, 0.9], vec![0.3, 0.7, 0.4, 0.8]);
        let mut parts = Statistics::new(2);
        for image in [&a, &b] {
            let mut part = Statistics::new(2);
            part.add(image, ValidPixels::All);
            parts.merge(&part);
        }
        let (mean, _) = parts.mean_and_std();
        assert!((mean[0] - 0.4).abs() < 1e-6 && (mean[1] - 0.575).abs() < 1e-6);
    }
}
