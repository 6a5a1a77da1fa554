//! Sliding windows over an image, in memory or read some rows at a time.

use std::ops::Range;

use rayon::prelude::*;

use super::inference::{TileRunner, Window};
use super::procedure::{Join, Procedure};
use super::source::{AtHand, Moving, Source};
use super::tiles::{Axis, Tiles};
use crate::base::{Error, Result, Size};
use crate::predict::merge::{ScoreMap, WeightedScores, enlarged, probabilities};

/// Windows over an image, along both sides.
#[derive(Debug)]
pub(super) struct Grid {
    pub(super) rows: Axis,
    pub(super) columns: Axis,
}

impl Grid {
    pub(super) fn new(tiles: Tiles, size: Size) -> Self {
        Self { rows: tiles.axis(size.height), columns: tiles.axis(size.width) }
    }

    pub(super) fn window(&self) -> Size {
        Size { width: self.columns.side, height: self.rows.side }
    }
}

/// Scores that no further window contributes to, as means.
pub(super) struct Block {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    /// Of the block's size.
    pub(super) map: ScoreMap,
}

/// Weighted sums of scores, `[rows, columns, classes]`.
#[derive(Debug, Default)]
struct Sums {
    rows: Range<usize>,
    columns: Range<usize>,
    values: Vec<f32>,
}

impl Sums {
    fn zeros(rows: Range<usize>, columns: Range<usize>, classes: usize) -> Self {
        Self { values: vec![0.0; rows.len() * columns.len() * classes], rows, columns }
    }

    /// Where a row of some of the columns begins.
    fn start(&self, y: usize, column: usize, classes: usize) -> usize {
        ((y - self.rows.start) * self.columns.len() + column - self.columns.start) * classes
    }

    fn line(&self, y: usize, columns: Range<usize>, classes: usize) -> &[f32] {
        &self.values[self.start(y, columns.start, classes)..][..columns.len() * classes]
    }

    /// Copies what both have of these columns.
    fn take(&mut self, other: &Self, columns: Range<usize>, classes: usize) {
        let rows = self.rows.start.max(other.rows.start)..self.rows.end.min(other.rows.end);
        for y in rows.filter(|_| !columns.is_empty()) {
            let start = self.start(y, columns.start, classes);
            let to = &mut self.values[start..start + columns.len() * classes];
            to.copy_from_slice(other.line(y, columns.clone(), classes));
        }
    }
}

/// Where a sweep is: in which row of windows, and what was summed up.
struct WindowRow<'a> {
    grid: &'a Grid,
    classes: usize,
    /// The row of windows, the pixels that it contributes to, and how many of these are finished after it.
    window: usize,
    rows: Range<usize>,
    finished: usize,
    /// Sums of the rows of windows above, over all columns.
    above: Sums,
    /// Those for the row of windows below.
    below: Sums,
    /// Sums of columns to which the next windows contribute.
    open: Sums,
}

impl<'a> WindowRow<'a> {
    fn new(grid: &'a Grid, window: usize, above: Sums, classes: usize) -> Self {
        let rows = grid.rows.covered(window);
        let finished = grid.rows.open_after(window);
        let below = Sums::zeros(finished..rows.end, 0..grid.columns.length, classes);
        Self { grid, classes, window, rows, finished, above, below, open: Sums::default() }
    }

    /// Adds what a window says; returns the columns that are finished with it.
    fn add(&mut self, column: usize, seen: &ScoreMap) -> Block {
        let (classes, axis) = (self.classes, &self.grid.columns);
        let columns = axis.covered(column);
        let mut sums = Sums::zeros(self.rows.clone(), columns.clone(), classes);
        let known = columns.start..self.open.columns.end.max(columns.start);
        sums.take(&self.open, known.clone(), classes);
        sums.take(&self.above, known.end..columns.end, classes);
        self.add_weighted(&mut sums, column, seen);
        let done = columns.start..axis.open_after(column);
        let block = self.finished_block(&sums, done.clone(), seen);
        self.below.take(&sums, done.clone(), classes);
        self.open = Sums::zeros(self.rows.clone(), done.end..columns.end, classes);
        self.open.take(&sums, done.end..columns.end, classes);
        block
    }

    fn add_weighted(&self, sums: &mut Sums, column: usize, seen: &ScoreMap) {
        let (classes, rows, columns) = (self.classes, &self.grid.rows, &self.grid.columns);
        let left = columns.within(column, sums.columns.start);
        let weights = &columns.weights[left..left + sums.columns.len()];
        let line = (sums.columns.len() * classes).max(1);
        let top = sums.rows.start;
        sums.values.par_chunks_exact_mut(line).enumerate().for_each(|(i, to)| {
            let y = rows.within(self.window, top + i);
            let from = &seen.values[(y * seen.size.width + left) * classes..][..line];
            let pixels = to.chunks_exact_mut(classes).zip(from.chunks_exact(classes));
            for ((to, from), weight) in pixels.zip(weights) {
                let weight = weight * rows.weights[y];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
            }
        });
    }

    /// The means of rows and columns that are finished.
    fn finished_block(&self, sums: &Sums, columns: Range<usize>, seen: &ScoreMap) -> Block {
        let (classes, rows) = (self.classes, self.rows.start..self.finished);
        let ScoreMap { kind, rule, .. } = *seen;
        let size = Size { width: columns.len(), height: rows.len() };
        let mut map = ScoreMap::zeros(size, classes, kind, rule);
        let line = (columns.len() * classes).max(1);
        map.values.par_chunks_exact_mut(line).enumerate().for_each(|(i, to)| {
            let y = rows.start + i;
            let from = sums.line(y, columns.clone(), classes);
            let pixels = to.chunks_exact_mut(classes).zip(from.chunks_exact(classes));
            for ((to, from), x) in pixels.zip(columns.clone()) {
                let share = 1.0 / (self.grid.rows.sums[y] * self.grid.columns.sums[x]);
                to.iter_mut().zip(from).for_each(|(to, from)| *to = from * share);
            }
        });
        Block { rows, columns, map }
    }
}

impl TileRunner<'_> {
    /// Goes over an image in windows, row by row. Blocks that are finished go to `emit`, from the left to the right and from
    /// the top down; those of a row of windows have the same rows.
    pub(super) fn sweep(
        &self,
        image: &mut dyn Moving,
        tiles: Tiles,
        procedure: &Procedure,
        emit: &mut dyn FnMut(Block) -> Result<()>,
    ) -> Result<()> {
        let grid = Grid::new(tiles, image.source().size());
        let window = grid.window();
        let both = procedure.flip && procedure.join == Join::Probabilities;
        let views = if both { 2 } else { 1 };
        // A few windows at a time: at their full size, the scores of many classes are large. They may be of several rows.
        let all = grid.rows.starts.len() * grid.columns.starts.len();
        let chunk = (self.at_once)(window).max(1).div_ceil(views).min(all);
        let last = [grid.rows.starts.len(), grid.columns.starts.len()].map(|count| count - 1);
        let (mut inputs, mut waiting) = (self.inputs(window, chunk * views), Vec::with_capacity(chunk));
        let mut sums: Option<WindowRow<'_>> = None;
        for (row, &top) in grid.rows.starts.iter().enumerate() {
            if self.is_stopped() {
                return Err(Error::Stopped);
            }
            image.move_to(grid.rows.seen(row))?;
            let source = image.source();
            for (column, &left) in grid.columns.starts.iter().enumerate() {
                if self.is_stopped() {
                    return Err(Error::Stopped);
                }
                for flipped in [false, true].into_iter().take(views) {
                    inputs.add(&Window { source, corner: [left, top], flipped });
                }
                waiting.push([row, column]);
                if waiting.len() < chunk && [row, column] != last {
                    continue;
                }
                let full = std::mem::replace(&mut inputs, self.inputs(window, chunk * views));
                let mut parts = self.seen(full)?.into_iter();
                for [row, column] in waiting.drain(..) {
                    let parts: Vec<WeightedScores> = parts.by_ref().take(views).collect();
                    let seen = match procedure.join {
                        Join::Probabilities => probabilities(&parts, window),
                        Join::Logits | Join::Direct => {
                            parts.into_iter().next().map(|part| enlarged(part, window)).expect("scores of each window")
                        }
                    };
                    if column == 0 {
                        let above = sums.take().map(|sums| sums.below).unwrap_or_default();
                        sums = Some(WindowRow::new(&grid, row, above, seen.classes));
                    }
                    if let Some(sums) = &mut sums {
                        emit(sums.add(column, &seen))?;
                    }
                    (self.advanced)();
                }
            }
        }
        Ok(())
    }

    /// [`Self::sweep`] over a source at hand, with whole rows for `emit`.
    pub(super) fn sweep_rows(
        &self,
        source: &dyn Source,
        tiles: Tiles,
        procedure: &Procedure,
        emit: &mut dyn FnMut(ScoreMap) -> Result<()>,
    ) -> Result<()> {
        let size = source.size();
        let mut strip: Option<ScoreMap> = None;
        self.sweep(&mut AtHand(source), tiles, procedure, &mut |Block { rows, columns, map }| {
            let classes = map.classes;
            let strip_of = || {
                let values = vec![0.0; rows.len() * size.width * classes];
                ScoreMap { size, classes, kind: map.kind, rule: map.rule, values, top: rows.start }
            };
            let to = strip.get_or_insert_with(strip_of);
            for (y, from) in map.values.chunks_exact((columns.len() * classes).max(1)).enumerate() {
                to.values[(y * size.width + columns.start) * classes..][..from.len()].copy_from_slice(from);
            }
            if columns.end < size.width {
                return Ok(());
            }
            strip.take().map_or(Ok(()), &mut *emit)
        })
    }
}
