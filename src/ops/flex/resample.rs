//! Resampling on float32 slices, one axis after the other.

use rayon::prelude::*;

use super::buffer::zeros;

use crate::ops::settings::{Interpolation, Resampling};

/// For every output position along an axis, the input positions that it is mixed from and their weights.
#[derive(Debug)]
struct Axis<const N: usize> {
    taps: Vec<([usize; N], [f32; N])>,
    input: usize,
}

impl<const N: usize> Axis<N> {
    fn new(input: usize, output: usize, align_corners: bool, mix: impl Fn(f64) -> (i64, [f64; N])) -> Self {
        let position = |i: usize| match (align_corners, output) {
            (true, 1) => 0.0,
            (true, _) => i as f64 * (input - 1) as f64 / (output - 1) as f64,
            (false, _) => (i as f64 + 0.5) * input as f64 / output as f64 - 0.5,
        };
        let last = input as i64 - 1;
        let tap = |i: usize| {
            let (first, weights) = mix(position(i));
            (std::array::from_fn(|n| (first + n as i64).clamp(0, last) as usize), weights.map(|w| w as f32))
        };
        Self { taps: (0..output).map(tap).collect(), input }
    }
}

impl Axis<1> {
    fn nearest(input: usize, output: usize) -> Self {
        Self { taps: (0..output).map(|i| ([i * input / output], [1.0])).collect(), input }
    }
}

/// The two neighbours; positions before the first pixel's centre count as that.
fn linear(position: f64) -> (i64, [f64; 2]) {
    let position = position.max(0.0);
    let part = position - position.floor();
    (position.floor() as i64, [1.0 - part, part])
}

/// The four neighbours by Keys' kernel (IEEE ASSP 29, 1981) with a = -0.75.
fn cubic(position: f64) -> (i64, [f64; 4]) {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let part = position - position.floor();
    (position.floor() as i64 - 1, [far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)])
}

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
