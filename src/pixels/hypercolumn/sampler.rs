//! Features of pixels, from what the layers showed of a window.

use std::ops::Range;

use rayon::prelude::*;

use super::layout::{Layout, Step, Window};

/// What a tap shows of a window.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Map {
    /// Row by row, channel by channel.
    pub(super) values: Vec<f32>,
    /// Channels, rows, columns.
    pub(super) shape: [usize; 3],
    /// Row and column of its first place in the map of the whole image.
    pub(super) corner: [usize; 2],
}

/// A tap's map, and where the pixels of the window lie in it.
#[derive(Debug)]
struct Part {
    map: Map,
    rows: Vec<Step>,
    columns: Vec<Step>,
}

/// The encoder's feature maps of a window, from which the features of its pixels are sampled.
#[derive(Debug)]
pub struct WindowFeatures {
    window: Window,
    parts: Vec<Part>,
    features: usize,
}

impl WindowFeatures {
    pub(super) fn new(layout: &Layout, window: &Window, maps: Vec<Map>) -> Self {
        let features = maps.iter().map(|map| map.shape[0]).sum();
        let part = |(number, map): (usize, Map)| {
            let (scale, tap) = (number / layout.taps(), number % layout.taps());
            let mut steps = layout.steps(scale, tap, window);
            for (steps, first) in steps.iter_mut().zip(map.corner) {
                for step in steps {
                    (step.before, step.after) = (step.before - first, step.after - first);
                }
            }
            let [rows, columns] = steps;
            Part { map, rows, columns }
        };
        Self { window: window.clone(), parts: maps.into_iter().enumerate().map(part).collect(), features }
    }

    /// What is stored of it.
    pub(super) fn maps(&self) -> impl Iterator<Item = &Map> {
        self.parts.iter().map(|part| &part.map)
    }

    /// Writes the features of a block of the window's pixels, `rows` x `columns` of the image, to `planes`,
    /// `[features, stride]`, of which each plane's first numbers are filled, row by row.
    pub fn fill(&self, rows: Range<usize>, columns: Range<usize>, planes: &mut [f32], stride: usize) {
        let mut line = Vec::new();
        let channels = self.parts.iter().flat_map(|part| (0..part.map.shape[0]).map(move |channel| (part, channel)));
        for ((part, channel), plane) in channels.zip(planes.chunks_mut(stride)) {
            self.enlarge(part, channel, [rows.clone(), columns.clone()], plane, &mut line);
        }
    }

    /// Writes one feature of a block of the window's pixels, row by row.
    pub fn fill_one(&self, feature: usize, rows: Range<usize>, columns: Range<usize>, plane: &mut [f32]) {
        let mut before = 0;
        for part in &self.parts {
            let channels = part.map.shape[0];
            if (before..before + channels).contains(&feature) {
                return self.enlarge(part, feature - before, [rows, columns], plane, &mut Vec::new());
            }
            before += channels;
        }
    }

    /// One channel, in rows and columns of the image.
    fn enlarge(
        &self,
        part: &Part,
        channel: usize,
        [rows, columns]: [Range<usize>; 2],
        plane: &mut [f32],
        line: &mut Vec<f32>,
    ) {
        let (top, left) = (self.window.rows.start, self.window.columns.start);
        let steps = &part.columns[columns.start - left..columns.end - left];
        let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return };
        let (start, end) = (first.before, last.after + 1);
        let [_, height, width] = part.map.shape;
        let values = &part.map.values[channel * height * width..][..height * width];
        let line_of = |row: usize| &values[row * width..][start..end];
        for (row, out) in part.rows[rows.start - top..rows.end - top].iter().zip(plane.chunks_mut(steps.len())) {
            line.clear();
            let pairs = line_of(row.before).iter().zip(line_of(row.after));
            line.extend(pairs.map(|(above, below)| above * (1.0 - row.share) + below * row.share));
            for (out, step) in out.iter_mut().zip(steps) {
                let (before, after) = (line[step.before - start], line[step.after - start]);
                *out = before * (1.0 - step.share) + after * step.share;
            }
        }
    }

    /// Writes the features of single pixels of the window to `planes`, `[features, stride]`: of each, (row, column) of the
    /// image and its place in every plane.
    pub fn pick(&self, pixels: &[([usize; 2], usize)], planes: &mut [f32], stride: usize) {
        let (top, left) = (self.window.rows.start, self.window.columns.start);
        let mut planes = planes;
        for part in &self.parts {
            let [channels, height, width] = part.map.shape;
            let (own, rest) = std::mem::take(&mut planes).split_at_mut(channels * stride);
            planes = rest;
            let channels = part.map.values.par_chunks_exact(height * width);
            channels.zip(own.par_chunks_exact_mut(stride)).for_each(|(channel, plane)| {
                for &([y, x], place) in pixels {
                    let (row, column) = (part.rows[y - top], part.columns[x - left]);
                    // In the order of `fill`, so that a pixel has the same features either way.
                    let at = |x: usize| {
                        let [above, below] = [row.before, row.after].map(|y| channel[y * width + x]);
                        above * (1.0 - row.share) + below * row.share
                    };
                    plane[place] = at(column.before) * (1.0 - column.share) + at(column.after) * column.share;
                }
            });
        }
    }

    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        let of = |part: &Part| {
            let steps = part.rows.capacity() + part.columns.capacity();
            size_of::<f32>() * part.map.values.capacity() + size_of::<Step>() * steps
        };
        self.parts.iter().map(of).sum()
    }

    /// How many features a pixel has.
    pub fn features(&self) -> usize {
        self.features
    }
}
