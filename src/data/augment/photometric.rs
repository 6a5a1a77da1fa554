//! Other samples at the same places.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Sample, even};

/// What red, green and blue count in grey, as in torchvision (ITU-R BT.601).
const GREY: [f32; 3] = [0.2989, 0.587, 0.114];

/// Changes brightness, contrast, saturation and hue, each by at most its amount, in random order.
pub(super) fn jitter(sample: &mut Sample, amounts: [f64; 4], rng: &mut ChaCha8Rng) {
    let [brightness, contrast, saturation] =
        [0, 1, 2].map(|i| even(rng, [(1.0 - amounts[i]).max(0.0), 1.0 + amounts[i]]) as f32);
    let turn = even(rng, [-amounts[3], amounts[3]]) as f32;
    let mut order = [0, 1, 2, 3];
    order.shuffle(rng);
    let pixels = sample.labels.classes.len();
    let range = range(&sample.planes);
    // An amount of 0 leaves every sample as it is, to the last bit.
    for step in order.into_iter().filter(|step| amounts[*step] > 0.0) {
        let planes = &mut sample.planes;
        match step {
            0 => planes.iter_mut().for_each(|value| *value *= brightness),
            1 => change_contrast(planes, pixels, contrast),
            2 => change_colors(planes, pixels, |color| {
                let grey = grey(color);
                color.map(|value| grey + (value - grey) * saturation)
            }),
            _ => change_colors(planes, pixels, |color| turn_hue(color, turn)),
        }
        // NaN stays NaN.
        planes.iter_mut().for_each(|value| *value = value.clamp(range[0], range[1]));
    }
}

/// From 0 to 1, or wider where the image is.
fn range(planes: &[f32]) -> [f32; 2] {
    planes.iter().fold([0.0, 1.0], |[low, high], &value| [f32::min(low, value), f32::max(high, value)])
}

/// Away from, or towards, the mean of the image's grey; where there are not three bands, of each band.
fn change_contrast(planes: &mut [f32], pixels: usize, factor: f32) {
    let bands = planes.len() / pixels;
    let means: Vec<f32> = planes.chunks_exact(pixels).map(mean).collect();
    for (band, plane) in planes.chunks_exact_mut(pixels).enumerate() {
        let mean = if bands == 3 { grey([means[0], means[1], means[2]]) } else { means[band] };
        plane.iter_mut().for_each(|value| *value = mean + (*value - mean) * factor);
    }
}

/// Of the pixels that have a value; 0 if none has.
fn mean(plane: &[f32]) -> f32 {
    let known = || plane.iter().filter(|value| !value.is_nan());
    let sum: f64 = known().map(|value| f64::from(*value)).sum();
    (sum / known().count().max(1) as f64) as f32
}

fn grey(color: [f32; 3]) -> f32 {
    color.iter().zip(GREY).map(|(value, weight)| value * weight).sum()
}

/// Changes the pixels of an image of three bands; another stays as it is.
fn change_colors(planes: &mut [f32], pixels: usize, change: impl Fn([f32; 3]) -> [f32; 3]) {
    if planes.len() != 3 * pixels {
        return;
    }
    let (red, rest) = planes.split_at_mut(pixels);
    let (green, blue) = rest.split_at_mut(pixels);
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        [*red, *green, *blue] = change([*red, *green, *blue]);
    }
}

/// Turns the hue by a share of the colour circle; value and saturation (HSV) stay.
fn turn_hue(color: [f32; 3], turn: f32) -> [f32; 3] {
    let [red, green, blue] = color;
    let high = red.max(green).max(blue);
    let chroma = high - red.min(green).min(blue);
    if chroma <= 0.0 || red.is_nan() {
        return color;
    }
    let sextant = if high == red {
        (green - blue) / chroma
    } else if high == green {
        2.0 + (blue - red) / chroma
    } else {
        4.0 + (red - green) / chroma
    };
    let sextant = (sextant + 6.0 * turn).rem_euclid(6.0);
    [5.0, 3.0, 1.0].map(|place| {
        let k: f32 = (place + sextant) % 6.0;
        high - chroma * k.min(4.0 - k).clamp(0.0, 1.0)
    })
}

/// Adds normal deviates (Box and Muller, 1958). The sums are not kept between 0 and 1: that would shift the mean of
/// dark and of bright places.
pub(super) fn noise(sample: &mut Sample, std: f64, rng: &mut ChaCha8Rng) {
    for pair in sample.planes.chunks_mut(2) {
        // 1 - [0, 1) is never 0.
        let radius = std as f32 * (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
        let (sin, cos) = (std::f32::consts::TAU * rng.random::<f32>()).sin_cos();
        pair.iter_mut().zip([cos, sin]).for_each(|(value, part)| *value += radius * part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{LabelMap, Size};
    use crate::data::augment::tests::{coded, draws};

    fn image(planes: &[f32], bands: usize) -> Sample {
        let width = planes.len() / bands;
        Sample {
            planes: planes.to_vec(),
            labels: LabelMap { size: Size { width, height: 1 }, classes: vec![0; width] },
        }
    }

    #[test]
    fn hues_turn_as_in_colorsys() {
        // colorsys.hsv_to_rgb((h + turn) % 1, s, v) of colorsys.rgb_to_hsv(...).
        for (color, turn, expected) in [
            ([0.8, 0.2, 0.4], 0.1, [0.8, 0.36, 0.2]),
            ([0.8, 0.2, 0.4], -0.25, [0.3, 0.2, 0.8]),
            ([0.1, 0.9, 0.3], 0.5, [0.9, 0.1, 0.7]),
            ([0.5, 0.5, 0.5], 0.3, [0.5, 0.5, 0.5]),
        ] {
            let found = turn_hue(color, turn);
            assert!(found.iter().zip(expected).all(|(f, e): (&f32, f32)| (f - e).abs() < 1e-5), "{found:?}");
        }
    }

    #[test]
    fn each_amount_changes_what_it_should() {
        let planes = [0.2, 0.6, 0.4, f32::NAN, 0.1, 0.5, 0.3, f32::NAN, 0.3, 0.3, 0.3, f32::NAN];
        let spread = |p: &[f32]| (p[0] - p[1]).abs();
        for seed in 0..20 {
            let changed = |amounts: [f64; 4]| {
                let mut sample = image(&planes, 3);
                jitter(&mut sample, amounts, &mut draws(seed).own);
                assert!([3, 7, 11].iter().all(|i| sample.planes[*i].is_nan()));
                assert!(sample.planes.iter().all(|value| value.is_nan() || (0.0..=1.0).contains(value)));
                sample.planes
            };
            let bright = changed([0.3, 0.0, 0.0, 0.0]);
            let factor = bright[0] / planes[0];
            assert!((0.7..=1.3).contains(&factor));
            assert!((0..3).all(|i| (bright[i] - factor * planes[i]).abs() < 1e-6));
            let contrast = changed([0.0, 0.3, 0.0, 0.0]);
            assert!((0.69..1.31).contains(&(spread(&contrast) / spread(&planes))));
            // The greys of the pixels do not change with the saturation.
            let colors = changed([0.0, 0.0, 0.3, 0.0]);
            let greys = |p: &[f32], i: usize| grey([p[i], p[i + 4], p[i + 8]]);
            assert!((0..3).all(|i| (greys(&colors, i) - greys(&planes, i)).abs() < 2e-4));
            // The brightest band of a pixel stays as bright when the hue turns.
            let hues = changed([0.0, 0.0, 0.0, 0.3]);
            let brightest = |p: &[f32], i: usize| p[i].max(p[i + 4]).max(p[i + 8]);
            assert!((0..3).all(|i| (brightest(&hues, i) - brightest(&planes, i)).abs() < 1e-6));
        }
    }

    #[test]
    fn one_band_has_no_colour_and_keeps_its_range() {
        let mut grey = image(&[0.1, 0.7], 1);
        jitter(&mut grey, [0.0, 0.0, 0.9, 0.5], &mut draws(2).own);
        assert_eq!(grey.planes, [0.1, 0.7]);
        let mut wide = image(&[-3.0, 8.0, 2.0], 1);
        jitter(&mut wide, [0.5, 0.5, 0.0, 0.0], &mut draws(2).own);
        assert!(wide.planes.iter().all(|value| (-3.0..=8.0).contains(value)) && wide.planes[1] > 2.0);
    }

    #[test]
    fn noise_has_its_standard_deviation() {
        let mut sample = coded(100, &[0; 40_000]);
        noise(&mut sample, 0.05, &mut draws(7).own);
        let n = sample.planes.len() as f32;
        let mean = sample.planes.iter().sum::<f32>() / n;
        let std = (sample.planes.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt();
        assert!(mean.abs() < 1e-3 && (std - 0.05).abs() < 1e-3, "{mean} {std}");
        let beyond = sample.planes.iter().filter(|v| v.abs() > 0.1).count() as f32 / n;
        assert!((beyond - 0.0455).abs() < 0.005, "{beyond}");
    }
}
