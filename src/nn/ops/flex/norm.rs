//! Batch norm on float32 slices `[batch, channels, area]`: statistics in one sweep a moment, then one to apply them.

use rayon::prelude::*;

use super::buffer::zeros;
use super::sums::{dot, sum};

/// Mean and biased variance of a channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments {
    pub(super) mean: f64,
    pub(super) variance: f64,
}

fn planes(x: &[f32], channel: usize, channels: usize, area: usize) -> impl Iterator<Item = &[f32]> {
    x.chunks_exact(area).skip(channel).step_by(channels)
}

pub(super) fn moments(x: &[f32], channels: usize, area: usize) -> Vec<Moments> {
    let count = (x.len() / channels) as f64;
    let moments = |channel: usize| {
        let mean = planes(x, channel, channels, area).map(|plane| sum(plane, |v| v)).sum::<f64>() / count;
        let centre = mean as f32;
        let squares = |plane: &[f32]| sum(plane, |v| (v - centre) * (v - centre));
        // The centre is the mean but for rounding; what that leaves is taken off.
        let variance = planes(x, channel, channels, area).map(squares).sum::<f64>() / count;
        Moments { mean, variance: (variance - (mean - f64::from(centre)).powi(2)).max(0.0) }
    };
    (0..channels).into_par_iter().map(moments).collect()
}

/// `(x - mean) * inverse deviation * weight + bias`.
pub(super) fn normalise(
    x: &[f32],
    area: usize,
    mean: &[f32],
    inverse_deviation: &[f32],
    weight: &[f32],
    bias: &[f32],
) -> Vec<f32> {
    let mut out = zeros(x.len());
    out.par_chunks_exact_mut(area).zip(x.par_chunks_exact(area)).enumerate().for_each(|(plane, (out, x))| {
        let channel = plane % mean.len();
        let (mean, scale, shift) = (mean[channel], inverse_deviation[channel] * weight[channel], bias[channel]);
        out.iter_mut().zip(x).for_each(|(out, x)| *out = (x - mean) * scale + shift);
    });
    out
}

/// Gradients for input, weight and bias.
pub(super) fn gradients(
    x: &[f32],
    area: usize,
    mean: &[f32],
    inverse_deviation: &[f32],
    weight: &[f32],
    gradient: &[f32],
) -> [Vec<f32>; 3] {
    let channels = mean.len();
    let count = (x.len() / channels) as f64;
    let sums = |channel: usize| {
        let (mut plain, mut projected) = (0.0, 0.0);
        let mean = mean[channel];
        for (x, gradient) in planes(x, channel, channels, area).zip(planes(gradient, channel, channels, area)) {
            plain += sum(gradient, |v| v);
            projected += dot(gradient, x, |x| x - mean);
        }
        (projected * f64::from(inverse_deviation[channel]), plain)
    };
    let (for_weight, for_bias): (Vec<f64>, Vec<f64>) = (0..channels).into_par_iter().map(sums).unzip();
    let mut out = zeros(x.len());
    let planes = out.par_chunks_exact_mut(area).zip(x.par_chunks_exact(area)).zip(gradient.par_chunks_exact(area));
    planes.enumerate().for_each(|(plane, ((out, x), gradient))| {
        let channel = plane % channels;
        let (mean, inverse) = (mean[channel], inverse_deviation[channel]);
        let scale = weight[channel] * inverse;
        let shift = (for_bias[channel] / count) as f32;
        let slope = (for_weight[channel] / count) as f32 * inverse;
        let values = out.iter_mut().zip(x).zip(gradient);
        values.for_each(|((out, x), gradient)| *out = scale * (gradient - shift - (x - mean) * slope));
    });
    let single = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect();
    [out, single(for_weight), single(for_bias)]
}
