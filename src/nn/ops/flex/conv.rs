//! Convolutions and their gradients on float32 slices, as matrix products over tiles of unfolded images.
//!
//! Tiles are sized for a core's second-level cache; tasks of a few tiles run on rayon's threads, each result by exactly
//! one task in a fixed order, so that the numbers do not depend on the number of threads.

#![allow(unsafe_code)] // tasks write disjoint parts of one buffer

use std::ops::Range;

use rayon::prelude::*;

use super::buffer::{Target, written, zeros};
use super::matrix::Matrix;
use super::sums::sum;
use super::unfold::{Geometry, fold, unfold};

/// Output pixels of a tile.
const TILE: usize = 384;
/// Rows of the unfolded matrix in a tile: with [`TILE`] columns, 440 kB.
const DEPTH: usize = 288;

/// A convolution of images in memory.
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

    /// Input planes of one group of one image.
    fn input_planes<'a>(&self, x: &'a [f32], image: usize, group: usize, channels: &Range<usize>) -> &'a [f32] {
        let area = self.geometry.input_area();
        let first = (image * self.groups + group) * self.inputs;
        &x[(first + channels.start) * area..(first + channels.end) * area]
    }
}

/// What is done to a result as soon as its sums are complete.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Epilogue<'a> {
    /// Added, by output channel.
    pub(super) bias: Option<&'a [f32]>,
    /// Added, by place in the result.
    pub(super) shortcut: Option<&'a [f32]>,
    /// Whether negative values become 0 in the end.
    pub(super) rectify: bool,
}

impl Epilogue<'_> {
    fn is_empty(&self) -> bool {
        self.bias.is_none() && self.shortcut.is_none() && !self.rectify
    }

    /// Completes `values` of one channel, which begin at `start` in the result.
    pub(super) fn apply(&self, values: &mut [f32], channel: usize, start: usize) {
        if let Some(bias) = self.bias {
            values.iter_mut().for_each(|value| *value += bias[channel]);
        }
        if let Some(shortcut) = self.shortcut {
            values.iter_mut().zip(&shortcut[start..]).for_each(|(value, shortcut)| *value += shortcut);
        }
        if self.rectify {
            // NaN stays NaN.
            values.iter_mut().for_each(|value| *value = if *value < 0.0 { 0.0 } else { *value });
        }
    }
}

/// `0..length` in equal pieces of at most about `size`.
pub(super) fn blocks(length: usize, size: usize) -> Vec<Range<usize>> {
    let count = length.div_ceil(size.max(1)).max(1);
    (0..count).map(|i| i * length / count..(i + 1) * length / count).filter(|block| !block.is_empty()).collect()
}

/// Tasks that a result is split into at least, where it can be; not the number of threads, so that the sums come out the
/// same on any machine.
const TASKS: usize = 16;

/// Blocks of output channels: one, unless the rest of the work makes too few tasks.
fn output_blocks(outputs: usize, tasks: usize) -> Vec<Range<usize>> {
    blocks(outputs, outputs.div_ceil(TASKS.div_ceil(tasks)).max(16))
}

fn product<T: Clone, U: Clone>(left: &[T], right: &[U]) -> Vec<(T, U)> {
    left.iter().flat_map(|l| right.iter().map(move |r| (l.clone(), r.clone()))).collect()
}

/// `[batch, groups * outputs, output area]` from `x` `[batch, groups * inputs, input area]` and `weight`
/// `[groups * outputs, inputs * taps]`.
pub(super) fn forward(problem: &Problem, x: &[f32], weight: &[f32], epilogue: &Epilogue<'_>) -> Vec<f32> {
    let (tiles, channel_blocks) = (problem.tiles(), problem.channel_blocks());
    let (outputs, depth, area) = (problem.outputs, problem.depth(), problem.geometry.output_area());
    let taps = problem.geometry.taps();
    let images: Vec<usize> = (0..problem.batch * problem.groups).collect();
    let output_blocks = output_blocks(outputs, images.len() * tiles.len());
    let tasks = product(&product(&images, &output_blocks), &tiles);
    let run = |target: Target| {
        tasks.into_par_iter().for_each_init(Vec::new, |columns, ((image, block), pixels)| {
            let (image, group) = (image / problem.groups, image % problem.groups);
            let first = group * outputs + block.start;
            let start = (image * problem.groups * outputs + first) * area + pixels.start;
            for channels in &channel_blocks {
                let planes = problem.input_planes(x, image, group, channels);
                let right = tile(&problem.geometry, planes, &pixels, columns);
                let left = Matrix::new(&weight[first * depth + channels.start * taps..], depth);
                let size = [block.len(), channels.len() * taps, pixels.len()];
                // SAFETY: each task has its own output channels and pixels.
                unsafe { target.product(start, area, size, left, right, channels.start > 0) };
            }
            for row in (0..block.len()).filter(|_| !epilogue.is_empty()) {
                let start = start + row * area;
                // SAFETY: as above; the products have written them.
                epilogue.apply(unsafe { target.slice(start, pixels.len()) }, first + row, start);
            }
        });
    };
    // SAFETY: the tasks cover all pixels of all output channels of all images; the first product of each writes its
    // part without reading it.
    unsafe { written(problem.batch * problem.groups * outputs * area, run) }
}

/// The unfolded matrix of a tile; for pointwise convolutions the image itself.
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
pub(super) fn weight_gradient(problem: &Problem, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let (outputs, depth, area) = (problem.outputs, problem.depth(), problem.geometry.output_area());
    let (groups, channel_blocks): (Vec<usize>, _) = ((0..problem.groups).collect(), problem.channel_blocks());
    let images: Vec<usize> = (0..problem.batch).collect();
    let tiles = product(&images, &problem.tiles());
    // Where there are few channels, the images are shared out, and the parts of the sum added up in the end.
    let parts = blocks(tiles.len(), tiles.len().div_ceil(TASKS.div_ceil(groups.len() * channel_blocks.len())));
    let numbered: Vec<(usize, Range<usize>)> = parts.iter().cloned().enumerate().collect();
    let tasks = product(&product(&groups, &channel_blocks), &numbered);
    let count = problem.groups * outputs * depth;
    if parts.is_empty() {
        return zeros(count);
    }
    let run = |target: Target| {
        tasks.into_par_iter().for_each_init(Vec::new, |columns, ((group, channels), (part, range))| {
            let taps = problem.geometry.taps();
            let start = part * count + group * outputs * depth + channels.start * taps;
            for (i, (image, pixels)) in tiles[range].iter().enumerate() {
                let planes = problem.input_planes(x, *image, group, &channels);
                let right = tile(&problem.geometry, planes, pixels, columns).transposed();
                let left = (image * problem.groups + group) * outputs * area + pixels.start;
                let left = Matrix::new(&gradient[left..], area);
                let size = [outputs, pixels.len(), channels.len() * taps];
                // SAFETY: each task has its own part, group and rows of the unfolded matrix.
                unsafe { target.product(start, depth, size, left, right, i > 0) };
            }
        });
    };
    // SAFETY: the tasks cover all weights in all parts; the first product of each writes without reading.
    let mut sums = unsafe { written(parts.len() * count, run) };
    let (total, others) = sums.split_at_mut(count);
    for part in others.chunks_exact(count) {
        total.iter_mut().zip(part).for_each(|(total, value)| *total += value);
    }
    sums.truncate(count);
    sums
}

/// Gradient `[batch, groups * inputs, input area]` of the input, from the weight and the output's gradient; also the
/// transposed convolution.
pub(super) fn input_gradient(problem: &Problem, weight: &[f32], gradient: &[f32]) -> Vec<f32> {
    match reversed(problem) {
        Some(reversed) => forward(&reversed, gradient, &flipped(problem, weight), &Epilogue::default()),
        None => input_gradient_by_folding(problem, weight, gradient),
    }
}

/// The convolution of the output's gradient that gives the input's: with stride 1, and a border no wider than the
/// kernel reaches.
fn reversed(problem: &Problem) -> Option<Problem> {
    let Geometry { input, output, kernel, mut settings } = problem.geometry;
    for ((padding, dilation), side) in settings.padding.iter_mut().zip(settings.dilation).zip(kernel) {
        *padding = (dilation * (side - 1)).checked_sub(*padding)?;
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
    let mut out = zeros(weight.len());
    out.par_chunks_exact_mut(outputs * taps).enumerate().for_each(|(row, planes)| {
        let (group, input) = (row / inputs, row % inputs);
        for (output, plane) in planes.chunks_exact_mut(taps).enumerate() {
            let start = ((group * outputs + output) * inputs + input) * taps;
            plane.iter_mut().zip(weight[start..start + taps].iter().rev()).for_each(|(to, &from)| *to = from);
        }
    });
    out
}

fn input_gradient_by_folding(problem: &Problem, weight: &[f32], gradient: &[f32]) -> Vec<f32> {
    let geometry = &problem.geometry;
    let (tiles, taps) = (problem.tiles(), geometry.taps());
    let (outputs, depth, area) = (problem.outputs, problem.depth(), geometry.output_area());
    let channel_blocks = problem.channel_blocks();
    // Every group of every image in blocks of channels, in the order of memory.
    let mut out = zeros(problem.batch * problem.groups * problem.inputs * geometry.input_area());
    let mut rest = out.as_mut_slice();
    let mut tasks = Vec::new();
    for image in 0..problem.batch * problem.groups {
        for channels in &channel_blocks {
            let (planes, after) = rest.split_at_mut(channels.len() * geometry.input_area());
            tasks.push((image, channels.clone(), planes));
            rest = after;
        }
    }
    tasks.into_par_iter().for_each_init(Vec::new, |columns: &mut Vec<f32>, (image, channels, planes)| {
        let first = image % problem.groups * outputs;
        let left = Matrix::new(&weight[first * depth + channels.start * taps..], depth).transposed();
        for pixels in &tiles {
            let rows = channels.len() * taps;
            columns.resize(rows * pixels.len(), 0.0);
            let right = Matrix::new(&gradient[image * outputs * area + pixels.start..], area);
            let target = Target::new(columns);
            // SAFETY: `columns` is this task's own, and nothing else touches it meanwhile.
            unsafe { target.product(0, pixels.len(), [rows, outputs, pixels.len()], left, right, false) };
            fold(geometry, columns, pixels.clone(), planes);
        }
    });
    out
}

/// Sum of every channel over batch and image: the gradient of a bias.
pub(super) fn channel_sums(gradient: &[f32], channels: usize, area: usize) -> Vec<f32> {
    let planes: Vec<f64> = gradient.par_chunks_exact(area).map(|plane| sum(plane, |value| value)).collect();
    (0..channels).map(|channel| planes.iter().skip(channel).step_by(channels).sum::<f64>() as f32).collect()
}
