//! 3x3 convolutions of stride 1 with a quarter of the multiplications: Winograd's minimal filtering F(4x4, 3x3) (Lavin
//! and Gray, arXiv 1509.09308).
//!
//! A tile of 4x4 outputs follows from 6x6 inputs. Tiles and kernels are transformed, multiplied point by point, which
//! over all channels is one matrix product for each of the 36 points, and transformed back. With a dilation of d, the
//! image falls into d x d images of every d-th row and column, each of which is convolved densely.

#![allow(unsafe_code)] // tasks write disjoint parts of one buffer

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::buffer::{Target, written, zeros};
use super::conv::{Epilogue, Problem, blocks};
use super::lanes::Lanes;
use super::matrix::Matrix;
use crate::base::vectorised;

/// Outputs along a side of a tile.
const OUT: usize = 4;
/// Inputs along a side of a tile.
const IN: usize = 6;
/// Points of a transformed tile.
const POINTS: usize = IN * IN;

/// Channels below which the transforms cost more than they save.
const LEAST_CHANNELS: usize = 32;
/// Input channels transformed at a time, and tiles: together 19 MiB of transformed inputs.
const CHANNELS: usize = 256;
const TILES: usize = 512;
/// Kernels transformed at a time.
const KERNELS: usize = 16;

/// Whether this convolution is one for Winograd's method, and one that it makes faster.
pub(super) fn suits(problem: &Problem) -> bool {
    let settings = problem.geometry.settings;
    problem.geometry.kernel == [3, 3]
        && settings.stride == [1, 1]
        && problem.groups == 1
        && problem.inputs >= LEAST_CHANNELS
        && problem.outputs >= LEAST_CHANNELS
        && problem.geometry.output.iter().zip(settings.dilation).all(|(side, dilation)| *side >= OUT * dilation)
}

/// Bytes that [`forward`] takes besides its result, for one image.
pub(super) fn workspace(problem: &Problem) -> u64 {
    let [height, width] = problem.geometry.output;
    let dilation = problem.geometry.settings.dilation;
    let in_row = Columns::new(width, dilation[1]).tiles.len();
    let rows: usize = (0..dilation[0].min(height)).map(|phase| (height - phase).div_ceil(OUT * dilation[0])).sum();
    let tiles = rows.min(rows_at_once(in_row)) * in_row;
    let channels = problem.inputs.min(CHANNELS);
    let numbers = tiles * (problem.outputs + channels) + problem.outputs * channels;
    (POINTS * numbers * size_of::<f32>()) as u64
}

/// Rows of this many tiles that are computed together.
fn rows_at_once(tiles: usize) -> usize {
    (TILES / tiles).max(1)
}

/// A row of tiles: of one image, for the output rows `first`, `first + dilation`, ...
#[derive(Debug, Clone, Copy)]
struct Row {
    image: usize,
    first: usize,
}

/// How the output columns are shared out over the tiles of a row. The tiles of one phase lie `dilation` columns apart.
#[derive(Debug)]
struct Columns {
    /// First output column of each tile.
    tiles: Vec<usize>,
    /// For each phase: its tiles, as a range of `tiles`.
    phases: Vec<Range<usize>>,
}

impl Columns {
    fn new(width: usize, dilation: usize) -> Self {
        let (mut tiles, mut phases) = (Vec::new(), Vec::new());
        for phase in 0..dilation.min(width) {
            let start = tiles.len();
            tiles.extend((phase..width).step_by(OUT * dilation));
            phases.push(start..tiles.len());
        }
        Self { tiles, phases }
    }

    /// Inputs of a row, by their place in the tile: a phase of n tiles needs n + 1 groups of [`OUT`].
    fn groups(&self) -> usize {
        self.tiles.len() + self.phases.len()
    }
}

/// `[batch, outputs, output area]` from `x` `[batch, inputs, input area]` and `weight` `[outputs, inputs, 9]`.
pub(super) fn forward(problem: &Problem, x: &[f32], weight: &[f32], epilogue: &Epilogue<'_>) -> Vec<f32> {
    let [height, width] = problem.geometry.output;
    let dilation = problem.geometry.settings.dilation;
    let columns = Columns::new(width, dilation[1]);
    let rows: Vec<Row> = (0..problem.batch)
        .flat_map(|image| (0..dilation[0]).map(move |phase| (image, phase)))
        .flat_map(|(image, phase)| (phase..height).step_by(OUT * dilation[0]).map(move |first| Row { image, first }))
        .collect();
    let run = |target: Target| {
        for rows in rows.chunks(rows_at_once(columns.tiles.len())) {
            let products = products(problem, x, weight, rows, &columns);
            (0..problem.outputs).into_par_iter().for_each(|output| {
                // SAFETY: each task has its own output channel.
                unsafe { untransform(problem, &products, rows, &columns, output, epilogue, target) };
            });
        }
    };
    // SAFETY: the tiles cover all pixels of all outputs, and `untransform` writes without reading.
    unsafe { written(problem.batch * problem.outputs * height * width, run) }
}

/// The transformed outputs of some rows of tiles, `[POINTS, outputs, tiles]`.
fn products(problem: &Problem, x: &[f32], weight: &[f32], rows: &[Row], columns: &Columns) -> Vec<f32> {
    let (tiles, outputs) = (rows.len() * columns.tiles.len(), problem.outputs);
    let mut products = zeros(POINTS * outputs * tiles);
    for channels in blocks(problem.inputs, CHANNELS) {
        let count = channels.len();
        let inputs = transform_inputs(problem, x, &channels, rows, columns);
        let kernels = transform_kernels(problem, weight, &channels);
        let target = Target::new(&mut products);
        let parts = blocks(outputs, 128);
        (0..POINTS * parts.len()).into_par_iter().for_each(|task| {
            let (point, part) = (task / parts.len(), &parts[task % parts.len()]);
            let left = Matrix::new(&kernels[(point * outputs + part.start) * count..], count);
            let right = Matrix::new(&inputs[point * count * tiles..], tiles);
            let start = (point * outputs + part.start) * tiles;
            let size = [part.len(), count, tiles];
            // SAFETY: each task has its own point and outputs.
            unsafe { target.product(start, tiles, size, left, right, channels.start > 0) };
        });
    }
    products
}

/// The transformed kernels of some input channels, `[POINTS, outputs, channels]`: `G g G^T`.
fn transform_kernels(problem: &Problem, weight: &[f32], channels: &Range<usize>) -> Vec<f32> {
    let (outputs, count) = (problem.outputs, channels.len());
    let run = |target: Target| {
        (0..outputs).into_par_iter().for_each(|output| {
            let kernels = &weight[(output * problem.inputs + channels.start) * 9..][..count * 9];
            for (i, kernels) in kernels.chunks(KERNELS * 9).enumerate() {
                let mut taps = [[0.0; KERNELS]; 9];
                for (k, kernel) in kernels.as_chunks::<9>().0.iter().enumerate() {
                    taps.iter_mut().zip(kernel).for_each(|(taps, value)| taps[k] = *value);
                }
                let mut points = [[0.0; KERNELS]; POINTS];
                kernel_points(&taps, &mut points);
                for (point, values) in points.iter().enumerate() {
                    let start = (point * outputs + output) * count + i * KERNELS;
                    // SAFETY: each task has its own output.
                    unsafe { target.copy(start, &values[..kernels.len() / 9]) };
                }
            }
        });
    };
    // SAFETY: all points of all outputs and channels are written.
    unsafe { written(POINTS * outputs * count, run) }
}

vectorised! {
    /// The transforms of [`KERNELS`] kernels, `G g G^T`, for each point.
    fn kernel_points(taps: &[[f32; KERNELS]; 9], points: &mut [[f32; KERNELS]; POINTS]) {
        for k in 0..KERNELS {
            let g: [[f32; 3]; 3] = std::array::from_fn(|row| std::array::from_fn(|column| taps[3 * row + column][k]));
            let rows: [[f32; IN]; 3] = std::array::from_fn(|row| kernel_side(g[row]));
            for column in 0..IN {
                let side = kernel_side([rows[0][column], rows[1][column], rows[2][column]]);
                for (row, value) in side.into_iter().enumerate() {
                    points[row * IN + column][k] = value;
                }
            }
        }
    }
}

/// `G` times three taps.
#[inline(always)]
fn kernel_side([a, b, c]: [f32; 3]) -> [f32; IN] {
    let (even, odd) = ((a + c) * (-1.0 / 6.0), b * (-1.0 / 6.0));
    let (even2, odd2) = (a * (1.0 / 24.0) + c * (1.0 / 6.0), b * (1.0 / 12.0));
    [a * 0.25, even + odd, even - odd, even2 + odd2, even2 - odd2, c]
}

/// The transformed inputs of some channels, `[POINTS, channels, tiles]`: `B^T d B`.
fn transform_inputs(
    problem: &Problem,
    x: &[f32],
    channels: &Range<usize>,
    rows: &[Row],
    columns: &Columns,
) -> Vec<f32> {
    let (count, tiles) = (channels.len(), rows.len() * columns.tiles.len());
    let run = |target: Target| {
        (0..count).into_par_iter().for_each_init(
            || Scratch::new(columns),
            |scratch, channel| {
                for (i, row) in rows.iter().enumerate() {
                    scratch.gather(problem, x, channels.start + channel, *row, columns);
                    Arch::new().dispatch(Transform(scratch));
                    let start = channel * tiles + i * columns.tiles.len();
                    // SAFETY: each task has its own channel.
                    unsafe { scratch.store(target, start, count * tiles, columns) };
                }
            },
        );
    };
    // SAFETY: all points of all channels and tiles are written.
    unsafe { written(POINTS * count * tiles, run) }
}

/// A row of tiles of one channel on its way.
#[derive(Debug)]
struct Scratch {
    /// `[IN rows][OUT places][groups]`: the inputs, by their place in a group of [`OUT`].
    inputs: Vec<f32>,
    /// `[IN rows][OUT places][groups]`, transformed along the columns.
    halves: Vec<f32>,
    /// `[POINTS][groups]`; of each phase, the last group is no tile.
    points: Vec<f32>,
    groups: usize,
}

impl Scratch {
    fn new(columns: &Columns) -> Self {
        let groups = columns.groups();
        let lines = || vec![0.0; IN * OUT * groups];
        Self { inputs: lines(), halves: lines(), points: vec![0.0; POINTS * groups], groups }
    }

    /// Reads the inputs; what lies outside the image is 0.
    fn gather(&mut self, problem: &Problem, x: &[f32], channel: usize, row: Row, columns: &Columns) {
        let ([height, width], settings) = (problem.geometry.input, problem.geometry.settings);
        let (padding, dilation) = (settings.padding, settings.dilation);
        let plane = &x[(row.image * problem.inputs + channel) * height * width..][..height * width];
        let groups = self.groups;
        for (r, lines) in self.inputs.chunks_exact_mut(OUT * groups).enumerate() {
            let y = (row.first + r * dilation[0]).checked_sub(padding[0]).filter(|y| *y < height);
            let Some(y) = y else {
                lines.fill(0.0);
                continue;
            };
            let line = &plane[y * width..][..width];
            let mut group = 0;
            for (phase, tiles) in columns.phases.iter().enumerate() {
                for place in 0..OUT {
                    let to = &mut lines[place * groups + group..][..tiles.len() + 1];
                    gather_line(line, phase + place * dilation[1], padding[1], dilation[1], to);
                }
                group += tiles.len() + 1;
            }
        }
    }

    /// Writes the points of the tiles, `step` apart.
    ///
    /// # Safety
    ///
    /// Nothing else may touch those elements meanwhile.
    unsafe fn store(&self, target: Target, start: usize, step: usize, columns: &Columns) {
        for (point, line) in self.points.chunks_exact(self.groups).enumerate() {
            for (phase, tiles) in columns.phases.iter().enumerate() {
                // SAFETY: the caller's promise.
                unsafe { target.copy(start + point * step + tiles.start, &line[tiles.start + phase..][..tiles.len()]) };
            }
        }
    }
}

/// The transforms of a row of tiles, `B^T d B`: from inputs to points.
struct Transform<'a>(&'a mut Scratch);

impl WithSimd for Transform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Scratch { inputs, halves, points, groups } = self.0;
        let groups = *groups;
        let length = OUT * groups;
        input_lines(simd, lines(inputs, length), lines_mut(halves, length), length);
        for (half, points) in halves.chunks_exact(length).zip(points.chunks_exact_mut(IN * groups)) {
            let (a, rest) = half.split_at(groups);
            let (b, rest) = rest.split_at(groups);
            let (c, d) = rest.split_at(groups);
            // The fifth and sixth input of a tile are the first and second of the next.
            input_lines(simd, [a, b, c, d, &a[1..], &b[1..]], lines_mut(points, groups), groups - 1);
        }
    }
}

/// Six lines that are `B^T` times six others.
#[inline(always)]
fn input_lines<S: Simd>(simd: S, from: [&[f32]; IN], to: [&mut [f32]; IN], length: usize) {
    for start in (0..length).step_by(Lanes::<S>::COUNT) {
        let end = length.min(start + Lanes::<S>::COUNT);
        let mut side = [Lanes::zero(simd); IN];
        for i in 0..IN {
            side[i] = Lanes::load(simd, &from[i][start..end]);
        }
        let side = input_side(side);
        for i in 0..IN {
            side[i].store(&mut to[i][start..end]);
        }
    }
}

/// Every `OUT * dilation`-th input from `first - padding` on.
fn gather_line(line: &[f32], first: usize, padding: usize, dilation: usize, to: &mut [f32]) {
    let step = OUT * dilation;
    let before = padding.saturating_sub(first).div_ceil(step).min(to.len());
    let start = (first + before * step).saturating_sub(padding);
    let inside = line.len().saturating_sub(start).div_ceil(step).min(to.len() - before);
    to[..before].fill(0.0);
    to[before..before + inside]
        .iter_mut()
        .zip(line[start.min(line.len())..].iter().step_by(step))
        .for_each(|(to, v)| *to = *v);
    to[before + inside..].fill(0.0);
}

/// `B^T` times six inputs.
#[inline(always)]
fn input_side<S: Simd>([a, b, c, d, e, f]: [Lanes<S>; IN]) -> [Lanes<S>; IN] {
    let (even, odd) = (e - c * 4.0, d - b * 4.0);
    let (even2, odd2) = (e - c, (d - b) * 2.0);
    [a * 4.0 - c * 5.0 + e, even + odd, even - odd, even2 + odd2, even2 - odd2, b * 4.0 - d * 5.0 + f]
}

/// `A^T` times six points.
#[inline(always)]
fn output_side<S: Simd>([a, b, c, d, e, f]: [Lanes<S>; IN]) -> [Lanes<S>; OUT] {
    let (sum, difference) = (b + c, b - c);
    let (sum2, difference2) = (d + e, d - e);
    [a + sum + sum2, difference + difference2 * 2.0, sum + sum2 * 4.0, difference + difference2 * 8.0 + f]
}

/// Transforms the products of one output channel back and writes its pixels.
///
/// # Safety
///
/// Nothing else may touch that channel in the images of `rows` meanwhile.
unsafe fn untransform(
    problem: &Problem,
    products: &[f32],
    rows: &[Row],
    columns: &Columns,
    output: usize,
    epilogue: &Epilogue<'_>,
    target: Target,
) {
    let [height, width] = problem.geometry.output;
    let dilation = problem.geometry.settings.dilation;
    let in_row = columns.tiles.len();
    let tiles = rows.len() * in_row;
    let mut pixels = vec![0.0; OUT * OUT * in_row];
    let mut line = vec![0.0; width];
    for (i, row) in rows.iter().enumerate() {
        let points: [&[f32]; POINTS] =
            std::array::from_fn(|point| &products[(point * problem.outputs + output) * tiles + i * in_row..][..in_row]);
        Arch::new().dispatch(Outputs { points: &points, pixels: &mut pixels });
        let plane = row.image * problem.outputs + output;
        for (r, lines) in pixels.chunks_exact(OUT * in_row).enumerate() {
            let y = row.first + r * dilation[0];
            if y >= height {
                break;
            }
            for (place, values) in lines.chunks_exact(in_row).enumerate() {
                for (first, value) in columns.tiles.iter().zip(values) {
                    if let Some(pixel) = line.get_mut(first + place * dilation[1]) {
                        *pixel = *value;
                    }
                }
            }
            let start = (plane * height + y) * width;
            epilogue.apply(&mut line, output, start);
            // SAFETY: the caller's promise.
            unsafe { target.copy(start, &line) };
        }
    }
}

/// `[OUT rows][OUT places][tiles]` from the points of a row of tiles: `A^T m A`.
struct Outputs<'a> {
    points: &'a [&'a [f32]; POINTS],
    pixels: &'a mut [f32],
}

impl WithSimd for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let tiles = self.points[0].len();
        let zero = Lanes::zero(simd);
        for start in (0..tiles).step_by(Lanes::<S>::COUNT) {
            let end = tiles.min(start + Lanes::<S>::COUNT);
            let mut rows = [[zero; OUT]; IN];
            for (row, columns) in rows.iter_mut().enumerate() {
                let mut side = [zero; IN];
                for (column, value) in side.iter_mut().enumerate() {
                    *value = Lanes::load(simd, &self.points[row * IN + column][start..end]);
                }
                *columns = output_side(side);
            }
            for column in 0..OUT {
                let mut side = [zero; IN];
                for (value, columns) in side.iter_mut().zip(&rows) {
                    *value = columns[column];
                }
                for (row, value) in output_side(side).into_iter().enumerate() {
                    value.store(&mut self.pixels[(row * OUT + column) * tiles..][start..end]);
                }
            }
        }
    }
}

#[inline(always)]
fn lines(values: &[f32], length: usize) -> [&[f32]; IN] {
    std::array::from_fn(|i| &values[i * length..][..length])
}

#[inline(always)]
fn lines_mut(values: &mut [f32], length: usize) -> [&mut [f32]; IN] {
    let mut lines = values.chunks_exact_mut(length);
    std::array::from_fn(|_| lines.next().expect("six lines"))
}
