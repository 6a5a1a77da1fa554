//! Scores of single pixels: activations, and which class is picked.

use crate::base::vectorised;
use crate::nn::activation::{Activation, Rule};

vectorised! {
    /// Turns the logits of pixels into probabilities. `row` holds `classes` numbers per pixel; with a sigmoid, the
    /// first of them is 0.
    pub(super) fn activate(row: &mut [f32], classes: usize, activation: Activation) {
        match (activation, classes) {
            // A sigmoid is the softmax of 0 and its logit.
            (Activation::Softmax, _) | (Activation::Sigmoid, 2) => softmax(row, classes),
            (Activation::Sigmoid, _) => sigmoid(row, classes),
        }
    }
}

vectorised! {
    /// Sets the background's probability of pixels whose other probabilities are means or mixtures. With two classes,
    /// it is right already.
    pub(super) fn complete(row: &mut [f32], classes: usize, activation: Activation) {
        if activation == Activation::Sigmoid && classes > 2 {
            set_background(row, classes);
        }
    }
}

vectorised! {
    /// The class of each pixel, and its score.
    pub(super) fn pick(scores: &[f32], classes: usize, choice: Choice, picked: &mut [u16], chosen: &mut [f32]) {
        match choice {
            Choice::Largest => largest(scores, classes, picked, chosen),
            Choice::Above(limit) => above(scores, classes, limit, picked, chosen),
        }
    }
}

/// How scores are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Choice {
    /// The largest, the first of equal ones.
    Largest,
    /// The largest but the first score, if it is above this limit, or, without one, above the first score.
    Above(Option<f32>),
}

impl Choice {
    /// What a rule means for logits or for probabilities. For a threshold of one half, the background's own score is
    /// compared with: rounded, both probabilities of two classes may be below one half.
    pub(super) fn new(rule: Rule, logits: bool) -> Self {
        match rule {
            Rule::MostProbable => Self::Largest,
            Rule::Above(0.5) => Self::Above(None),
            Rule::Above(threshold) => Self::Above(Some(if logits { Rule::logit(threshold) } else { threshold })),
        }
    }
}

#[inline(always)]
fn softmax(row: &mut [f32], classes: usize) {
    for pixel in row.chunks_exact_mut(classes) {
        let largest = pixel.iter().fold(f32::NEG_INFINITY, |largest, &v| if v > largest { v } else { largest });
        let mut sum = 0.0;
        for value in pixel.iter_mut() {
            *value = exp(*value - largest);
        }
        for value in pixel.iter() {
            sum += *value;
        }
        let scale = 1.0 / sum;
        pixel.iter_mut().for_each(|value| *value *= scale);
    }
}

/// `1 / (1 + e^-x)`, of numbers that are never large.
#[inline(always)]
fn sigmoid(row: &mut [f32], classes: usize) {
    for value in row.iter_mut() {
        let part = exp(-value.abs());
        let small = part / (1.0 + part);
        *value = if *value > 0.0 { 1.0 - small } else { small };
    }
    set_background(row, classes);
}

#[inline(always)]
fn set_background(row: &mut [f32], classes: usize) {
    for pixel in row.chunks_exact_mut(classes) {
        pixel[0] = 1.0 - highest(&pixel[1..]);
    }
}

#[inline(always)]
fn highest(values: &[f32]) -> f32 {
    values[1..].iter().fold(values[0], |largest, &value| if value > largest { value } else { largest })
}

/// `e^x` for x of at most 0, within 2 units in the last place, without branches (Cody and Waite's reduction and a
/// polynomial of degree 6, Taylor's around 0). NaN stays NaN.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding it rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let p = 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    p * f32::from_bits((rounded.to_bits() << 23).wrapping_add(0x3f80_0000))
}

#[inline(always)]
fn largest(scores: &[f32], classes: usize, picked: &mut [u16], chosen: &mut [f32]) {
    for ((pixel, picked), chosen) in scores.chunks_exact(classes).zip(picked).zip(chosen) {
        let largest = highest(pixel);
        *chosen = largest;
        *picked = pixel.iter().position(|&value| value == largest).unwrap_or(0) as u16;
    }
}

#[inline(always)]
fn above(scores: &[f32], classes: usize, limit: Option<f32>, picked: &mut [u16], chosen: &mut [f32]) {
    for ((pixel, picked), chosen) in scores.chunks_exact(classes).zip(picked).zip(chosen) {
        let largest = highest(&pixel[1..]);
        let there = largest > limit.unwrap_or(pixel[0]);
        let place = if there { pixel[1..].iter().position(|&value| value == largest).map_or(0, |i| i + 1) } else { 0 };
        *picked = place as u16;
        *chosen = pixel[place];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_right_to_the_last_places() {
        for i in 0..200_000 {
            let x = -(i as f32) / 2300.0;
            let (found, expected) = (exp(x), f64::from(x).exp());
            assert!((f64::from(found) / expected - 1.0).abs() < 3e-7, "{x}: {found} {expected}");
        }
        assert!(exp(0.0) == 1.0 && exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::NAN).is_nan());
    }

    fn chosen(scores: &[f32], classes: usize, choice: Choice) -> (Vec<u16>, Vec<f32>) {
        let pixels = scores.len() / classes;
        let (mut picked, mut values) = (vec![9; pixels], vec![9.0; pixels]);
        pick(scores, classes, choice, &mut picked, &mut values);
        (picked, values)
    }

    #[test]
    fn above_a_threshold_the_most_probable_class_is_taken() {
        let rule = |threshold| Choice::new(Rule::Above(threshold), false);
        // Background, then three classes: none above 0.5, one, two, two as probable as each other, exactly 0.5.
        let scores = [
            [0.6, 0.4, 0.3, 0.1],
            [0.3, 0.2, 0.7, 0.1],
            [0.1, 0.8, 0.6, 0.9],
            [0.2, 0.1, 0.8, 0.8],
            [0.5, 0.5, 0.2, 0.1],
        ]
        .concat();
        assert_eq!(chosen(&scores, 4, rule(0.5)), (vec![0, 2, 3, 2, 0], vec![0.6, 0.7, 0.9, 0.8, 0.5]));
        assert_eq!(chosen(&scores, 4, rule(0.75)), (vec![0, 0, 3, 2, 0], vec![0.6, 0.3, 0.9, 0.8, 0.5]));
        assert_eq!(chosen(&scores, 4, rule(0.05)).0, [1, 2, 3, 2, 1]);
        assert_eq!(chosen(&scores, 4, rule(0.9)).0, [0; 5]);
    }

    #[test]
    fn logits_and_probabilities_decide_the_same() {
        let logits: Vec<f32> = (0..4000).map(|i| ((i * 7919 + 13) % 1000) as f32 / 100.0 - 5.0).collect();
        let logits: Vec<f32> =
            logits.chunks(3).filter(|c| c.len() == 3).flat_map(|c| [0.0, c[0], c[1], c[2]]).collect();
        for threshold in [0.0, 0.01, 0.3, 0.5, 0.7, 0.9] {
            let mut probabilities = logits.clone();
            activate(&mut probabilities, 4, Activation::Sigmoid);
            let of = |scores: &[f32], logits| chosen(scores, 4, Choice::new(Rule::Above(threshold), logits)).0;
            assert_eq!(of(&logits, true), of(&probabilities, false), "{threshold}");
        }
    }

    #[test]
    fn sigmoids_are_right_to_the_last_places() {
        for i in -2000..2000 {
            let x = i as f32 / 25.0;
            let mut row = [0.0, x, -100.0];
            activate(&mut row, 3, Activation::Sigmoid);
            let expected = 1.0 / (1.0 + f64::from(-x).exp());
            assert!((f64::from(row[1]) - expected).abs() < 1e-7 + 1e-6 * expected, "{x}: {row:?}");
            assert_eq!(row[0], 1.0 - row[1].max(row[2]));
        }
    }
}
