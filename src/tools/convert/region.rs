//! Class regions of a label map as annotation tools take them: as an outline, or, with holes, as pixels.

use std::iter;

use crate::annotation::{Geometry, Mask, Point, Shape, draw};
use crate::base::Size;
use crate::base::label_map::{IGNORE, LabelMap};
use crate::data::Dataset;
use crate::tools::polygons::outlines;

/// What regions without a label are called, where what no region covers is background.
const UNLABELLED: &str = "__ignore__";

/// A connected region.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Region {
    /// Name of its class.
    pub(super) class: String,
    /// Its pixels.
    pub(super) form: Form,
}

/// The form of a region.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    /// One outline, without holes.
    Polygon(Vec<Point>),
    /// Pixels: of a region with holes, which the outlines of these tools do not have.
    Mask(Mask),
}

/// The class that is not written: the background, or what has no label.
pub(super) fn left_out(dataset: &Dataset) -> u16 {
    dataset.background_class().unwrap_or(IGNORE)
}

/// The name of a class in annotations.
pub(super) fn name_of(class: u16, dataset: &Dataset) -> &str {
    dataset.classes.get(usize::from(class)).map_or(UNLABELLED, |class| class.name.as_str())
}

/// The names of all classes that may be written, in order.
pub(super) fn names(dataset: &Dataset) -> Vec<String> {
    let left_out = left_out(dataset);
    let classes = (0..).zip(&dataset.classes).filter(|(place, _)| *place != left_out);
    let mut names: Vec<String> = classes.map(|(_, class)| class.name.clone()).collect();
    if left_out != IGNORE {
        names.push(UNLABELLED.into());
    }
    names
}

impl Region {
    /// The regions of a map, but for the background or what has no label.
    pub(super) fn all_of(map: &LabelMap, dataset: &Dataset, simplify: Option<f64>) -> Vec<Self> {
        let found = outlines(map, left_out(dataset), simplify).into_iter();
        let region = |outline: crate::tools::polygons::Outline| {
            let mut rings: Vec<Vec<Point>> =
                outline.rings.iter().map(|ring| ring.iter().map(|vertex| vertex.point()).collect()).collect();
            let form = match (rings.len(), rings.pop()) {
                (1, Some(ring)) => Form::Polygon(ring),
                (_, last) => Form::Mask(mask(rings.into_iter().chain(last).collect(), map.size)),
            };
            Region { class: name_of(outline.class, dataset).into(), form }
        };
        found.map(region).collect()
    }

    /// Left, top, width and height of what it covers.
    pub(super) fn bounds(&self) -> [f64; 4] {
        match &self.form {
            Form::Polygon(points) => bounds(points.iter()),
            Form::Mask(mask) => [mask.left, mask.top, mask.size.width, mask.size.height].map(|number| number as f64),
        }
    }

    /// Its area in pixels.
    pub(super) fn area(&self) -> f64 {
        match &self.form {
            Form::Polygon(points) => {
                let after = points.iter().cycle().skip(1);
                points.iter().zip(after).map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum::<f64>().abs() / 2.0
            }
            Form::Mask(mask) => mask.runs.iter().map(|run| run.len() as f64).sum(),
        }
    }
}

fn bounds<'a>(points: impl Iterator<Item = &'a Point> + Clone) -> [f64; 4] {
    let all = |side: usize| points.clone().map(move |point| point[side]);
    let low = [0, 1].map(|side| all(side).fold(f64::INFINITY, f64::min));
    let high = [0, 1].map(|side| all(side).fold(0.0, f64::max));
    [low[0], low[1], high[0] - low[0], high[1] - low[1]]
}

/// The pixels of outlines, in the rectangle around them.
fn mask(mut rings: Vec<Vec<Point>>, size: Size) -> Mask {
    let [left, top, width, height] = bounds(rings.iter().flatten());
    rings.iter_mut().flatten().for_each(|point| *point = [point[0] - left, point[1] - top]);
    let (width, height) = ((width as usize).min(size.width), (height as usize).min(size.height));
    let part = Size { width, height };
    let shape = Shape { class: String::new(), geometry: Geometry::Polygon(rings) };
    let drawn = draw(std::slice::from_ref(&shape), part, 0, |_| Ok(1)).unwrap_or_default();
    Mask::from_bits(left as usize, top as usize, part, drawn.into_iter().map(|pixel| pixel == 1))
}

/// Whether each pixel of a mask is set, by rows.
pub(super) fn bits(mask: &Mask) -> Vec<bool> {
    let mut bits = vec![false; mask.size.width * mask.size.height];
    mask.runs.iter().for_each(|run| bits[run.clone()].fill(true));
    bits
}

/// Lengths of runs of equal bits, beginning with one of bits that are not set; from runs of bits in order.
pub(super) fn run_lengths(bits: impl Iterator<Item = (bool, usize)>) -> Vec<usize> {
    let (mut lengths, mut last, mut length) = (Vec::new(), false, 0);
    for (bit, times) in bits.filter(|(_, times)| *times > 0) {
        if bit != last {
            lengths.push(length);
            (last, length) = (bit, 0);
        }
        length += times;
    }
    lengths.push(length);
    lengths
}

/// In which order the pixels of an image are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Rows,
    Columns,
}

/// [`run_lengths`] of all pixels of an image of that size in which a mask lies.
pub(super) fn image_run_lengths(mask: &Mask, size: Size, order: Order) -> Vec<usize> {
    let bits = bits(mask);
    let (set, width) = (&bits, mask.size.width);
    // Where the mask begins, how far it goes, and how far the image does.
    let rows = [mask.top, mask.size.height, size.height];
    let columns = [mask.left, width, size.width];
    let (lines, pixels) = if order == Order::Rows { (rows, columns) } else { (columns, rows) };
    let rest = |[start, length, whole]: [usize; 3]| whole.saturating_sub(start + length);
    let line = |line: usize| {
        let bit = move |pixel: usize| match order {
            Order::Rows => set[line * width + pixel],
            Order::Columns => set[pixel * width + line],
        };
        let inside = (0..pixels[1]).map(move |pixel| (bit(pixel), 1));
        iter::once((false, pixels[0])).chain(inside).chain([(false, rest(pixels))])
    };
    let [before, after] = [lines[0], rest(lines)].map(|lines| (false, lines * pixels[2]));
    run_lengths(iter::once(before).chain((0..lines[1]).flat_map(line)).chain([after]))
}
