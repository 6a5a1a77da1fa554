//! Softmax cross-entropy on float32 slices: loss and gradient in one sweep.

use rayon::prelude::*;

use super::buffer::zeros;

/// Pixels that are worked on together: their logits of all classes stay in the cache.
const STRIP: usize = 512;

/// The loss's numerator and denominator, and `weight * (softmax - one-hot)` for every logit.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) weighted_sum: f64,
    pub(super) total_weight: f64,
    pub(super) kept: Vec<f32>,
}

/// `logits` `[batch, classes, area]`, `labels` `[batch, area]`.
///
/// # Panics
///
/// If a label is neither a class nor `ignore`.
pub(super) fn forward(
    logits: &[f32],
    labels: &[i64],
    classes: usize,
    area: usize,
    class_weights: Option<&[f32]>,
    ignore: i64,
) -> Forward {
    let mut kept = zeros(logits.len());
    let mut sums = (0.0, 0.0);
    let images = kept.chunks_exact_mut(classes * area).zip(logits.chunks_exact(classes * area));
    for ((kept, logits), labels) in images.zip(labels.chunks_exact(area)) {
        // A strip holds a piece of every class's plane.
        let mut strips: Vec<Vec<&mut [f32]>> = labels.chunks(STRIP).map(|_| Vec::with_capacity(classes)).collect();
        for plane in kept.chunks_exact_mut(area) {
            plane.chunks_mut(STRIP).zip(&mut strips).for_each(|(piece, strip)| strip.push(piece));
        }
        let strips: Vec<_> = strips.into_iter().zip(labels.chunks(STRIP)).enumerate().collect();
        let parts: Vec<(f64, f64)> = strips
            .into_par_iter()
            .map(|(i, (mut strip, labels))| {
                let pixel = |class: usize| &logits[class * area + i * STRIP..][..labels.len()];
                self::strip(pixel, labels, class_weights, ignore, &mut strip)
            })
            .collect();
        // One after the other: the same sum whatever the number of threads.
        sums = parts.iter().fold(sums, |sums, part| (sums.0 + part.0, sums.1 + part.1));
    }
    Forward { weighted_sum: sums.0, total_weight: sums.1, kept }
}

/// One strip: `logits(class)` and `out[class]` hold its pixels.
fn strip<'a>(
    logits: impl Fn(usize) -> &'a [f32],
    labels: &[i64],
    class_weights: Option<&[f32]>,
    ignore: i64,
    out: &mut [&mut [f32]],
) -> (f64, f64) {
    let classes = out.len();
    let mut largest = vec![f32::NEG_INFINITY; labels.len()];
    for class in 0..classes {
        largest.iter_mut().zip(logits(class)).for_each(|(largest, &logit)| *largest = largest.max(logit));
    }
    let mut total = vec![0f32; labels.len()];
    for (class, out) in out.iter_mut().enumerate() {
        for (((out, &logit), &largest), total) in out.iter_mut().zip(logits(class)).zip(&largest).zip(&mut total) {
            *out = (logit - largest).exp();
            *total += *out;
        }
    }
    let mut sums = (0.0, 0.0);
    let mut weights = vec![0f32; labels.len()];
    for (pixel, &label) in labels.iter().enumerate().filter(|(_, label)| **label != ignore) {
        let class = usize::try_from(label).ok().filter(|class| *class < classes);
        let Some(class) = class else { panic!("label {label} is none of the {classes} classes") };
        let weight = class_weights.map_or(1.0, |weights| weights[class]);
        weights[pixel] = weight;
        let log_probability = logits(class)[pixel] - largest[pixel] - total[pixel].ln();
        sums.0 -= f64::from(weight) * f64::from(log_probability);
        sums.1 += f64::from(weight);
    }
    let factors: Vec<f32> = weights.iter().zip(&total).map(|(weight, total)| weight / total).collect();
    for out in out.iter_mut() {
        out.iter_mut().zip(&factors).for_each(|(out, factor)| *out *= factor);
    }
    for (pixel, &label) in labels.iter().enumerate().filter(|(_, label)| **label != ignore) {
        out[label as usize][pixel] -= weights[pixel];
    }
    sums
}
