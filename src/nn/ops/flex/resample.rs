//! Resampling on float32 slices, one axis after the other.

use rayon::prelude::*;

use super::buffer::zeros;

use crate::nn::ops::axis::{Axis, cubic, linear};
use crate::nn::ops::{Interpolation, Resampling};

/// Runs the body with both axes in the kind that the resampling asks for.
macro_rules! with_axes {
    ($from:expr, $to:expr, $how:expr, |$rows:ident, $columns:ident| $body:expr) => {{
        let (from, to, how): ([usize; 2], [usize; 2], Resampling) = ($from, $to, $how);
        match how.interpolation {
            Interpolation::Nearest => {
                let [$rows, $columns] = [0, 1].map(|i| Axis::nearest(from[i], to[i]));
                $body
            }
            Interpolation::Bilinear => {
                let [$rows, $columns] = [0, 1].map(|i| Axis::new(from[i], to[i], how.align_corners, linear));
                $body
            }
            Interpolation::Bicubic => {
                let [$rows, $columns] = [0, 1].map(|i| Axis::new(from[i], to[i], how.align_corners, cubic));
                $body
            }
        }
    }};
}

/// Planes of sides `to` from planes of sides `from`.
pub(super) fn resample(x: &[f32], from: [usize; 2], to: [usize; 2], how: Resampling) -> Vec<f32> {
    with_axes!(from, to, how, |rows, columns| enlarge(x, &rows, &columns))
}

/// Gradient for planes of sides `from`, from that of planes of sides `to`.
pub(super) fn gradient(gradient: &[f32], from: [usize; 2], to: [usize; 2], how: Resampling) -> Vec<f32> {
    with_axes!(from, to, how, |rows, columns| spread(gradient, &rows, &columns))
}

fn enlarge<const N: usize>(x: &[f32], rows: &Axis<N>, columns: &Axis<N>) -> Vec<f32> {
    let (width, area) = (columns.taps.len(), rows.taps.len() * columns.taps.len());
    let mut out = zeros(x.len() / (rows.input * columns.input) * area);
    // By output rows: there may be few planes.
    out.par_chunks_exact_mut(width).enumerate().for_each_init(
        || vec![0.0; columns.input],
        |line, (row, out)| {
            let (plane, row) = (row / rows.taps.len(), row % rows.taps.len());
            let plane = &x[plane * rows.input * columns.input..];
            let (sources, weights) = &rows.taps[row];
            line.fill(0.0);
            for (source, weight) in sources.iter().zip(weights) {
                add_scaled(line, &plane[source * columns.input..][..columns.input], *weight);
            }
            for (value, (sources, weights)) in out.iter_mut().zip(&columns.taps) {
                *value = sources.iter().zip(weights).map(|(&source, weight)| line[source] * weight).sum();
            }
        },
    );
    out
}

fn spread<const N: usize>(gradient: &[f32], rows: &Axis<N>, columns: &Axis<N>) -> Vec<f32> {
    let (width, area) = (columns.taps.len(), rows.taps.len() * columns.taps.len());
    let mut out = zeros(gradient.len() / area * rows.input * columns.input);
    let planes = out.par_chunks_exact_mut(rows.input * columns.input).zip(gradient.par_chunks_exact(area));
    planes.for_each_init(
        || vec![0.0; columns.input],
        |line, (plane, gradient)| {
            for (gradient, (sources, weights)) in gradient.chunks_exact(width).zip(&rows.taps) {
                line.fill(0.0);
                for (value, (sources, weights)) in gradient.iter().zip(&columns.taps) {
                    sources.iter().zip(weights).for_each(|(&source, weight)| line[source] += value * weight);
                }
                for (source, weight) in sources.iter().zip(weights) {
                    add_scaled(&mut plane[source * columns.input..][..columns.input], line, *weight);
                }
            }
        },
    );
    out
}

fn add_scaled(to: &mut [f32], from: &[f32], weight: f32) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
}
