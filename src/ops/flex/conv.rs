//! Convolutions and their gradients on float32 slices, as matrix products over tiles of unfolded pictures.
//!
//! Tiles are sized for a core's second-level cache; tasks of a few tiles run on rayon's threads, each result by exactly
//! one task in a fixed order, so that the numbers do not depend on the number of threads.

#![allow(unsafe_code)] // tasks write disjoint parts of one buffer

use std::ops::Range;

use rayon::prelude::*;

use super::matrix::{Matrix, Target};
use super::sums::sum;
use super::unfold::{Geometry, fold, unfold};

/// Output pixels of a tile.
const TILE: usize = 384;
/// Rows of the unfolded matrix in a tile: with [`TILE`] columns, 440 kB.
const DEPTH: usize = 288;

/// A convolution of pictures in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem {
    pub(super) batch: usize,
    /// Input channels of one group.
    pub(super) inputs: usize,
    /// Output channels of one group.
    pub(super) outputs: usize,
    pub(super) groups: usize,
    pub(super) geometry: Geometry,
}

impl Problem {
    /// Rows of the unfolded matrix of one group.
    fn depth(&self) -> usize {
        self.inputs * self.geometry.taps()
    }

    /// Blocks of input channels whose unfolded matrix has about [`DEPTH`] rows.
    fn channel_blocks(&self) -> Vec<Range<usize>> {
        blocks(self.inputs, DEPTH.div_ceil(self.geometry.taps()))
    }

    fn tiles(&self) -> Vec<Range<usize>> {
        blocks(self.geometry.output_area(), TILE)
    }

    /// Input planes of one group of one picture.
    fn input_planes<'a>(&self, x: &'a [f32], picture: usize, group: usize, channels: &Range<usize>) -> &'a [f32] {
        let area = self.geometry.input_area();
        let first = (picture * self.groups + group) * self.inputs;
        &x[(first + channels.start) * area..(first + channels.end) * area]
    }
}

/// `0..length` in equal pieces of at most about `size`.
fn blocks(length: usize, size: usize) -> Vec<Range<usize>> {
    let count = length.div_ceil(size.max(1)).max(1);
    (0..count).map(|i| i * length / count..(i + 1) * length / count).filter(|block| !block.is_empty()).collect()
}

/// Blocks of output channels: one, unless there are fewer tasks without than would keep all threads busy.
fn output_blocks(outputs: usize, tasks: usize) -> Vec<Range<usize>> {
    let wanted = (3 * rayon::current_num_threads()).div_ceil(tasks.max(1)).max(1);
    blocks(outputs, outputs.div_ceil(wanted).max(16))
}

fn product<T: Clone, U: Clone>(left: &[T], right: &[U]) -> Vec<(T, U)> {
    left.iter().flat_map(|l| right.iter().map(move |r| (l.clone(), r.clone()))).collect()
}

/// `out` `[batch, groups * outputs, output area]` from `x` `[batch, groups * inputs, input area]` and `weight`
/// `[groups * outputs, inputs * taps]`.
pub(super) fn forward(problem: &Problem, x: &[f32], weight: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
    let (tiles, channel_blocks) = (problem.tiles(), problem.channel_blocks());
    let (outputs, depth, area) = (problem.outputs, problem.depth(), problem.geometry.output_area());
    let pictures: Vec<usize> = (0..problem.batch * problem.groups).collect();
    let output_blocks = output_blocks(outputs, pictures.len() * tiles.len());
    let tasks = product(&product(&pictures, &output_blocks), &tiles);
    let target = Target::new(out);
    tasks.into_par_iter().for_each_init(Vec::new, |columns, ((picture, block), pixels)| {
        let (picture, group) = (picture / problem.groups, picture % problem.groups);
        let first = group * outputs + block.start;
        let start = (picture * problem.groups * outputs + first) * area + pixels.start;
        for channels in &channel_blocks {
            let planes = problem.input_planes(x, picture, group, channels);
            let right = tile(&problem.geometry, planes, &pixels, columns);
            let left = Matrix::new(&weight[first * depth + channels.start * problem.geometry.taps()..], depth);
            let size = [block.len(), channels.len() * problem.geometry.taps(), pixels.len()];
            // SAFETY: each task has its own output channels and pixels.
            unsafe { target.product(start, area, size, left, right, channels.start > 0) };
        }
    });
    if let Some(bias) = bias {
        out.par_chunks_exact_mut(area).enumerate().for_each(|(plane, values)| {
            let bias = bias[plane % bias.len()];
            values.iter_mut().for_each(|value| *value += bias);
        });
    }
}

/// The unfolded matrix of a tile; for pointwise convolutions the picture itself.
fn tile<'a>(geometry: &Geometry, planes: &'a [f32], pixels: &Range<usize>, columns: &'a mut Vec<f32>) -> Matrix<'a> {
    let area = geometry.input_area();
    if geometry.is_pointwise() {
        return Matrix::new(&planes[pixels.start..], area);
    }
    columns.resize(planes.len() / area * geometry.taps() * pixels.len(), 0.0);
    unfold(geometry, planes, pixels.clone(), columns);
    Matrix::new(columns, pixels.len())
}

/// Gradient `[groups * outputs, inputs * taps]` of the weight, from `x` and the output's gradient.
pub(super) fn weight_gradient(problem: &Problem, x: &[f32], gradient: &[f32], out: &mut [f32]) {
    let tiles = problem.tiles();
    let (outputs, depth, area) = (problem.outputs, problem.depth(), problem.geometry.output_area());
    let groups: Vec<usize> = (0..problem.groups).collect();
    let channel_blocks = problem.channel_blocks();
    let output_blocks = output_blocks(outputs, groups.len() * channel_blocks.len());
    let tasks = product(&product(&groups, &channel_blocks), &output_blocks);
    let target = Target::new(out);
    tasks.into_par_iter().for_each_init(Vec::new, |columns, ((group, channels), block)| {
        let first = group * outputs + block.start;
        let start = first * depth + channels.start * problem.geometry.taps();
        let mut add = false;
        for picture in 0..problem.batch {
            let planes = problem.input_planes(x, picture, group, &channels);
            for pixels in &tiles {
                let right = tile(&problem.geometry, planes, pixels, columns).transposed();
                let left = (picture * problem.groups * outputs + first) * area + pixels.start;
                let left = Matrix::new(&gradient[left..], area);
                let size = [block.len(), pixels.len(), channels.len() * problem.geometry.taps()];
                // SAFETY: each task has its own output channels and rows of the unfolded matrix.
                unsafe { target.product(start, depth, size, left, right, add) };
                add = true;
            }
        }
    });
}

/// Gradient `[batch, groups * inputs, input area]` of the input, from the weight and the output's gradient; also the
/// transposed convolution.
pub(super) fn input_gradient(problem: &Problem, weight: &[f32], gradient: &[f32], out: &mut [f32]) {
    match reversed(problem) {
        Some(reversed) => forward(&reversed, gradient, &flipped(problem, weight), None, out),
        None => input_gradient_by_folding(problem, weight, gradient, out),
    }
}

/// The convolution of the output's gradient that gives the input's: with stride 1, and a border no wider than the
/// kernel reaches.
fn reversed(problem: &Problem) -> Option<Problem> {
    let Geometry { input, output, kernel, mut settings } = problem.geometry;
    for i in 0..2 {
        let reach = settings.dilation[i] * (kernel[i] - 1);
        settings.padding[i] = reach.checked_sub(settings.padding[i])?;
    }
    let geometry = Geometry { input: output, output: input, kernel, settings };
    (settings.stride == [1, 1] && settings.output(output, kernel) == input).then_some(Problem {
        inputs: problem.outputs,
        outputs: problem.inputs,
        geometry,
        ..*problem
    })
}

/// The weight with inputs and outputs exchanged and every kernel plane turned by half a turn.
fn flipped(problem: &Problem, weight: &[f32]) -> Vec<f32> {
    let taps = problem.geometry.taps();
    let (inputs, outputs) = (problem.inputs, problem.outputs);
    let mut out = vec![0.0; weight.len()];
    out.par_chunks_exact_mut(outputs * taps).enumerate().for_each(|(row, planes)| {
        let (group, input) = (row / inputs, row % inputs);
        for (output, plane) in planes.chunks_exact_mut(taps).enumerate() {
            let start = ((group * outputs + output) * inputs + input) * taps;
            plane.iter_mut().zip(weight[start..start + taps].iter().rev()).for_each(|(to, &from)| *to = from);
        }
    });
    out
}

fn input_gradient_by_folding(problem: &Problem, weight: &[f32], gradient: &[f32], out: &mut [f32]) {
    let geometry = &problem.geometry;
    let (tiles, taps) = (problem.tiles(), geometry.taps());
    let (outputs, depth, area) = (problem.outputs, problem.depth(), geometry.output_area());
    let channel_blocks = problem.channel_blocks();
    // Every group of every picture in blocks of channels, in the order of memory.
    let mut rest = out;
    let mut tasks = Vec::new();
    for picture in 0..problem.batch * problem.groups {
        for channels in &channel_blocks {
            let (planes, after) = rest.split_at_mut(channels.len() * geometry.input_area());
            tasks.push((picture, channels.clone(), planes));
            rest = after;
        }
    }
    tasks.into_par_iter().for_each_init(Vec::new, |columns: &mut Vec<f32>, (picture, channels, planes)| {
        planes.fill(0.0);
        let first = picture % problem.groups * outputs;
        let left = Matrix::new(&weight[first * depth + channels.start * taps..], depth).transposed();
        for pixels in &tiles {
            let rows = channels.len() * taps;
            columns.resize(rows * pixels.len(), 0.0);
            let right = Matrix::new(&gradient[picture * outputs * area + pixels.start..], area);
            let target = Target::new(columns);
            // SAFETY: `columns` is this task's own, and nothing else touches it meanwhile.
            unsafe { target.product(0, pixels.len(), [rows, outputs, pixels.len()], left, right, false) };
            fold(geometry, columns, pixels.clone(), planes);
        }
    });
}

/// Sum of every channel over batch and picture: the gradient of a bias.
pub(super) fn channel_sums(gradient: &[f32], channels: usize, area: usize) -> Vec<f32> {
    let channel_sum = |channel: usize| {
        let planes = gradient.chunks_exact(area).skip(channel).step_by(channels);
        planes.map(|plane| sum(plane, |value| value)).sum::<f64>() as f32
    };
    (0..channels).into_par_iter().map(channel_sum).collect()
}
