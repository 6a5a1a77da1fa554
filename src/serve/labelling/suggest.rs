//! Where to label next: the least certain places, apart from one another and from what is labelled.

use serde::Serialize;

use super::features::FeatureStore;
use super::model::{Trained, uncertainty};
use crate::base::{Result, Size};
use crate::pixels::forest::Features;
use crate::pixels::hypercolumn::Window;

/// Most pixels of an image that are asked about; of larger ones every second, third, ... of a row and of a column.
const ASKED: usize = 400_000;
/// Pixels that are asked about at a time.
const CHUNK: usize = 8192;
/// Radius, in sampled pixels, over which uncertainty is averaged: single pixels on edges are always uncertain.
const AROUND: usize = 2;

/// A place that is worth a label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suggestion {
    /// Column.
    pub x: usize,
    /// Row.
    pub y: usize,
    /// From 0 to 1.
    pub uncertainty: f32,
}

/// Values of every `step`th pixel of an image.
struct Grid {
    step: usize,
    columns: usize,
    rows: usize,
    values: Vec<f32>,
}

impl Grid {
    fn of(size: Size) -> Self {
        let mut step = 1;
        while size.width.div_ceil(step) * size.height.div_ceil(step) > ASKED {
            step += 1;
        }
        let (columns, rows) = (size.width.div_ceil(step), size.height.div_ceil(step));
        Self { step, columns, rows, values: vec![0.0; columns * rows] }
    }

    /// The pixels of a window that are asked about, with their places in the grid.
    fn pixels(&self, window: &Window) -> Vec<([usize; 2], usize)> {
        let steps = |range: &std::ops::Range<usize>| range.start.div_ceil(self.step)..range.end.div_ceil(self.step);
        let columns = steps(&window.columns);
        let row = |row: usize| {
            columns.clone().map(move |column| ([row * self.step, column * self.step], row * self.columns + column))
        };
        steps(&window.rows).flat_map(row).collect()
    }

    /// The means over what is around.
    fn smoothed(&self) -> Vec<f32> {
        let turned = transposed(&line_means(&self.values, self.columns), self.columns);
        transposed(&line_means(&turned, self.rows), self.rows)
    }
}

/// Values that lie row by row as they lie column by column.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|x| values.iter().skip(x).step_by(columns)).copied().collect()
}

/// Means along lines of some length.
fn line_means(values: &[f32], length: usize) -> Vec<f32> {
    let mut means = Vec::with_capacity(values.len());
    for line in values.chunks_exact(length.max(1)) {
        for at in 0..length {
            let part = &line[at.saturating_sub(AROUND)..(at + AROUND + 1).min(length)];
            means.push(part.iter().sum::<f32>() / part.len() as f32);
        }
    }
    means
}

/// The least certain places of an image with these labels.
pub(super) fn suggestions(
    model: &Trained,
    store: &FeatureStore,
    (image, size): (usize, Size),
    labels: &[u8],
    count: usize,
) -> Result<Vec<Suggestion>> {
    let mut grid = Grid::of(size);
    for (number, window) in store.windows(image)?.iter().enumerate() {
        let pixels = grid.pixels(window);
        if pixels.is_empty() {
            continue;
        }
        let seen = store.window((image, number))?;
        for part in pixels.chunks(CHUNK) {
            let places: Vec<([usize; 2], usize)> = part.iter().enumerate().map(|(i, (at, _))| (*at, i)).collect();
            let mut planes = vec![0.0; seen.features() * part.len()];
            seen.pick(&places, &mut planes, part.len());
            let features = Features::planes(&planes, seen.features(), part.len(), part.len())?;
            let probabilities = model.forest.probabilities(&features)?;
            let own = probabilities.chunks_exact(model.dataset.class_count());
            part.iter().zip(own).for_each(|((_, place), own)| grid.values[*place] = uncertainty(own));
        }
    }
    let unmeasured = &store.masks(image)?.unmeasured;
    let measured = |place: usize| unmeasured.as_ref().is_none_or(|unmeasured| !unmeasured[place]);
    Ok(choose(&grid, size, labels, &measured, count))
}

/// The greatest values one after the other, each as far from those before that all of them could be spread over the image.
fn choose(grid: &Grid, size: Size, labels: &[u8], measured: &dyn Fn(usize) -> bool, count: usize) -> Vec<Suggestion> {
    let Size { width, height } = size;
    let apart = ((width * height / count.max(1)) as f64).sqrt() / 2.0;
    let values = grid.smoothed();
    let from_labels = (apart / 4.0).min(16.0) as usize;
    let at = |place: usize| (place % grid.columns * grid.step, place / grid.columns * grid.step);
    let mut order: Vec<usize> = (0..values.len()).filter(|place| values[*place] > 0.0).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let mut found: Vec<Suggestion> = Vec::new();
    for place in order {
        if found.len() == count {
            break;
        }
        let (x, y) = at(place);
        let is_apart = |other: &Suggestion| (x.abs_diff(other.x) as f64).hypot(y.abs_diff(other.y) as f64) >= apart;
        let is_free = || measured(y * width + x) && !is_near_label(labels, size, (x, y), from_labels);
        if found.iter().all(is_apart) && is_free() {
            found.push(Suggestion { x, y, uncertainty: values[place] });
        }
    }
    found
}

/// Whether a label lies in the square around a pixel.
fn is_near_label(labels: &[u8], size: Size, (x, y): (usize, usize), reach: usize) -> bool {
    let (left, top) = (x.saturating_sub(reach), y.saturating_sub(reach));
    let (right, bottom) = ((x + reach + 1).min(size.width), (y + reach + 1).min(size.height));
    (top..bottom).any(|row| labels[row * size.width + left..row * size.width + right].iter().any(|value| *value != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_apart_from_one_another_and_from_labels() {
        let size = Size { width: 200, height: 50 };
        let mut grid = Grid::of(size);
        assert_eq!((grid.step, grid.values.len()), (1, 10_000));
        // Uncertain in three spots, one of which is labelled, and one without data.
        for (x, y, value) in [(20, 20, 0.9), (23, 20, 0.8), (100, 25, 0.7), (150, 25, 1.0), (180, 5, 0.95)] {
            for (dx, dy) in (0..7).flat_map(|dx| (0..7).map(move |dy| (dx, dy))) {
                grid.values[(y + dy - 3) * 200 + x + dx - 3] = value;
            }
        }
        let mut labels = vec![0; 10_000];
        labels[25 * 200 + 151] = 2;
        let found = choose(&grid, size, &labels, &|place| place % 200 < 170, 2);
        assert_eq!(found.len(), 2);
        assert!(found[0].x.abs_diff(20) < 4 && found[1].x.abs_diff(100) < 4, "{found:?}");
        assert!(choose(&grid, size, &[1; 10_000], &|_| true, 5).is_empty());
    }

    #[test]
    fn large_images_are_asked_about_in_steps() {
        let grid = Grid::of(Size { width: 4000, height: 3001 });
        assert!(grid.values.len() <= ASKED && grid.step == 6, "{}", grid.step);
        let windows = [0..1111, 1111..3001].map(|rows| Window { rows, columns: 0..4000 });
        let mut places: Vec<usize> = windows.iter().flat_map(|w| grid.pixels(w)).map(|(_, place)| place).collect();
        places.sort_unstable();
        assert!(places.into_iter().eq(0..grid.values.len()));
    }
}
