//! Where the pixels of a resized image come from, along one axis.

use super::settings::{Interpolation, Resampling};

/// The input positions that an output position is mixed from, and their weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tap {
    /// Positions; only as many count as the interpolation takes.
    pub(crate) positions: [usize; 4],
    /// Their weights.
    pub(crate) weights: [f32; 4],
}

/// What each of `output` positions is mixed from, out of `input` positions; with it, how many positions count: 1, 2 or 4.
pub(crate) fn taps(input: usize, output: usize, how: Resampling) -> (usize, Vec<Tap>) {
    fn widened<const N: usize>(axis: Axis<N>) -> (usize, Vec<Tap>) {
        let tap = |(positions, weights): ([usize; N], [f32; N])| Tap {
            positions: std::array::from_fn(|i| positions.get(i).copied().unwrap_or(0)),
            weights: std::array::from_fn(|i| weights.get(i).copied().unwrap_or(0.0)),
        };
        (N, axis.taps.into_iter().map(tap).collect())
    }
    match how.interpolation {
        Interpolation::Nearest => widened(Axis::nearest(input, output)),
        Interpolation::Bilinear => widened(Axis::new(input, output, how.align_corners, linear)),
        Interpolation::Bicubic => widened(Axis::new(input, output, how.align_corners, cubic)),
    }
}

/// For every output position along an axis, the input positions that it is mixed from and their weights.
#[derive(Debug)]
pub(super) struct Axis<const N: usize> {
    pub(super) taps: Vec<([usize; N], [f32; N])>,
    pub(super) input: usize,
}

impl<const N: usize> Axis<N> {
    pub(super) fn new(input: usize, output: usize, align_corners: bool, mix: impl Fn(f64) -> (i64, [f64; N])) -> Self {
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
    pub(super) fn nearest(input: usize, output: usize) -> Self {
        Self { taps: (0..output).map(|i| ([i * input / output], [1.0])).collect(), input }
    }
}

/// The two neighbours; positions before the first pixel's centre count as that.
pub(super) fn linear(position: f64) -> (i64, [f64; 2]) {
    let position = position.max(0.0);
    let part = position - position.floor();
    (position.floor() as i64, [1.0 - part, part])
}

/// The four neighbours by Keys' kernel (IEEE ASSP 29, 1981) with a = -0.75.
pub(super) fn cubic(position: f64) -> (i64, [f64; 4]) {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let part = position - position.floor();
    (position.floor() as i64 - 1, [far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)])
}
