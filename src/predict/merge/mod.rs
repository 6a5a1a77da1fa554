//! From class scores of an image, at one size or several, plain or mirrored, to probabilities and classes of its pixels.
//!
//! Scores come at the size that a network gives them in, often an eighth of the image. They are enlarged row by row,
//! averaged and decided on at once, so that scores of all classes at the image's size are never held.

mod decision;
mod on_device;
mod pixel;

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::base::{Error, Result, Size, vectorised};
use crate::nn::activation::Rule;
use crate::nn::ops::Resampling;
use crate::nn::ops::axis::{Tap, taps};
pub use decision::{Decision, Wanted};
pub use on_device::{decide_on_device, decided, decides_on_device};
use pixel::{Choice, activate, complete, pick};

/// Scores that a thread checks in one go.
const CHUNK: usize = 1 << 16;
/// Scores of fewer numbers are decided on by one thread: rayon's threads may be busy with the next images for much longer than
/// that takes.
const SMALL: usize = 1 << 18;

/// What the numbers of a [`ScoreMap`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Before the activation; with a sigmoid, that of the background is 0.
    Logits,
    /// After it.
    Probabilities,
}

/// Scores of all classes, pixel by pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreMap {
    /// Width and height.
    pub size: Size,
    /// Scores a pixel.
    pub classes: usize,
    /// Whether the scores are logits or probabilities.
    pub kind: Kind,
    /// Rule that turns the scores of a pixel into its class.
    pub rule: Rule,
    /// `[height, width, classes]`, without the rows above `top` and below the last that is there.
    pub values: Vec<f32>,
    /// The row that `values` begins with.
    pub top: usize,
}

impl ScoreMap {
    /// A complete score map `[height, width, classes]` in which all scores are 0.
    pub fn zeros(size: Size, classes: usize, kind: Kind, rule: Rule) -> Self {
        Self { size, classes, kind, rule, values: vec![0.0; size.width * size.height * classes], top: 0 }
    }

    /// The logits of one image as networks give them, `[outputs, height, width]`; `mirrored` if they are those of the
    /// image with left and right exchanged, which is undone.
    pub fn from_planes(planes: &[f32], size: Size, rule: Rule, mirrored: bool) -> Self {
        let (width, area) = (size.width, size.width * size.height);
        let outputs = planes.len() / area;
        let classes = rule.activation().classes(outputs);
        let mut values = vec![0.0; area * classes];
        values.par_chunks_exact_mut(width * classes).enumerate().for_each(|(y, row)| {
            for output in 0..outputs {
                let line = &planes[output * area + y * width..][..width];
                let pixels = row[output + classes - outputs..].iter_mut().step_by(classes);
                if mirrored {
                    pixels.zip(line.iter().rev()).for_each(|(to, from)| *to = *from);
                } else {
                    pixels.zip(line).for_each(|(to, from)| *to = *from);
                }
            }
        });
        Self { size, classes, kind: Kind::Logits, rule, values, top: 0 }
    }

    /// The score map flipped horizontally, to undo the flip of test-time augmentation.
    #[must_use]
    pub fn mirrored(mut self) -> Self {
        let classes = self.classes;
        self.values.par_chunks_exact_mut(self.size.width * classes).for_each(|row| {
            let width = row.len() / classes;
            for x in 0..width / 2 {
                let (left, right) = row.split_at_mut((width - 1 - x) * classes);
                left[x * classes..][..classes].swap_with_slice(&mut right[..classes]);
            }
        });
        self
    }

    fn row(&self, y: usize) -> &[f32] {
        let length = self.size.width * self.classes;
        &self.values[(y - self.top) * length..][..length]
    }
}

/// A score map with its resampling to the image size and its weight in the mean.
#[derive(Debug, Clone)]
pub struct WeightedScores {
    /// The scores.
    pub map: ScoreMap,
    /// How they are enlarged.
    pub enlargement: Resampling,
    /// Its weight in the mean, relative to the others'.
    pub share: f32,
}

impl WeightedScores {
    /// The scores of each image of a batch of logits `[batch, outputs, height, width]`.
    pub fn of_batch(
        logits: Tensor<4>,
        enlargement: Resampling,
        rule: Rule,
        mirrored: impl Fn(usize) -> bool,
    ) -> Result<Vec<Self>> {
        let [_, outputs, height, width] = logits.dims();
        let values: Vec<f32> =
            logits.try_into_vec_as().map_err(|e| Error::failed("read the result from the device", e))?;
        let part = |(i, planes): (usize, &[f32])| {
            let map = ScoreMap::from_planes(planes, Size { width, height }, rule, mirrored(i));
            Self { map, enlargement, share: 1.0 }
        };
        Ok(values.chunks_exact(outputs * width * height).enumerate().map(part).collect())
    }

    /// Whether all scores are numbers. Others would decide for the first class.
    pub fn is_numeric(&self) -> bool {
        let numeric = |scores: &[f32]| scores.iter().fold(true, |all, score| all & score.is_finite());
        self.map.values.par_chunks(CHUNK).all(numeric)
    }

    /// Drops the rows that no row of an image of `size` from `next` on is mixed from.
    pub fn drop_above(&mut self, next: usize, size: Size) {
        let map = &mut self.map;
        let first = if map.size == size {
            next
        } else {
            let (count, taps) = taps(map.size.height, size.height, self.enlargement);
            taps.get(next).map_or(map.size.height, |tap| tap.positions[..count].iter().copied().min().unwrap_or(0))
        };
        let first = first.clamp(map.top, map.top + map.values.len() / (map.size.width * map.classes));
        map.values.drain(..(first - map.top) * map.size.width * map.classes);
        map.top = first;
    }
}

/// Looks at their new size.
struct Enlarged<'a> {
    parts: Vec<Source<'a>>,
    classes: usize,
    rule: Rule,
    width: usize,
}

/// Scores, and where each of the new pixels lies in it; nothing if it has the size already.
struct Source<'a> {
    map: &'a ScoreMap,
    share: f32,
    count: usize,
    taps: Option<[Vec<Tap>; 2]>,
}

impl<'a> Enlarged<'a> {
    fn new(parts: &'a [WeightedScores], size: Size) -> Self {
        let source = |part: &'a WeightedScores| {
            let (map, how, share) = (&part.map, part.enlargement, part.share);
            if map.size == size {
                return Source { map, share, count: 1, taps: None };
            }
            let (count, rows) = taps(map.size.height, size.height, how);
            let (_, columns) = taps(map.size.width, size.width, how);
            Source { map, share, count, taps: Some([rows, columns]) }
        };
        let (classes, rule) = parts.first().map_or((0, Rule::MostProbable), |part| (part.map.classes, part.map.rule));
        Self { parts: parts.iter().map(source).collect(), classes, rule, width: size.width }
    }

    /// The mean over all scores of the probabilities of a row, `[width, classes]`.
    fn mean(&self, y: usize, scratch: &mut Scratch) {
        let total: f32 = self.parts.iter().map(|source| source.share).sum();
        scratch.mean.clear();
        scratch.mean.resize(self.width * self.classes, 0.0);
        for source in &self.parts {
            source.row(y, self.width, &mut scratch.blended, &mut scratch.row);
            if source.map.kind == Kind::Logits {
                activate(&mut scratch.row, self.classes, self.rule.activation());
            }
            add_scaled(&mut scratch.mean, &scratch.row, source.share / total);
        }
        complete(&mut scratch.mean, self.classes, self.rule.activation());
    }

    /// A map of that size and kind whose rows are what `row` makes.
    fn map(&self, size: Size, kind: Kind, row: impl Fn(usize, &mut Scratch) -> &[f32] + Sync) -> ScoreMap {
        let mut map = ScoreMap::zeros(size, self.classes, kind, self.rule);
        let rows = map.values.par_chunks_exact_mut(size.width * self.classes).enumerate();
        rows.for_each_init(Scratch::default, |scratch, (y, to)| to.copy_from_slice(row(y, scratch)));
        map
    }
}

impl Source<'_> {
    /// A row of scores at the new size, `[width, classes]`.
    fn row(&self, y: usize, width: usize, blended: &mut Vec<f32>, out: &mut Vec<f32>) {
        let classes = self.map.classes;
        let Some([rows, columns]) = &self.taps else {
            out.clear();
            out.extend_from_slice(self.map.row(y));
            return;
        };
        blended.clear();
        blended.resize(self.map.size.width * classes, 0.0);
        for (row, weight) in rows[y].positions.iter().zip(&rows[y].weights).take(self.count) {
            add_scaled(blended, self.map.row(*row), *weight);
        }
        out.resize(width * classes, 0.0);
        blend_row(blended, columns, [self.count, classes], out);
    }
}

/// Buffers of one thread.
#[derive(Debug, Default)]
struct Scratch {
    blended: Vec<f32>,
    row: Vec<f32>,
    mean: Vec<f32>,
    chosen: Vec<f32>,
}

/// The mean of the probabilities, as a map of `size`. Scores must agree in classes and rule, and there must be
/// one.
pub fn probabilities(parts: &[WeightedScores], size: Size) -> ScoreMap {
    let enlarged = Enlarged::new(parts, size);
    enlarged.map(size, Kind::Probabilities, |y, scratch| {
        enlarged.mean(y, scratch);
        &scratch.mean
    })
}

/// Resamples a score map to `size`; one that has this size already is returned unchanged.
pub fn enlarged(part: WeightedScores, size: Size) -> ScoreMap {
    if part.map.size == size {
        return part.map;
    }
    let parts = [part];
    let enlarged = Enlarged::new(&parts, size);
    enlarged.map(size, parts[0].map.kind, |y, scratch| {
        enlarged.parts[0].row(y, size.width, &mut scratch.blended, &mut scratch.row);
        &scratch.row
    })
}

/// How many of the rows of an image of `size` follow from the first `rows` rows of the scores alone.
pub fn rows_known(part: &WeightedScores, rows: usize, size: Size) -> usize {
    if part.map.size == size || rows == part.map.size.height {
        return if rows == part.map.size.height { size.height } else { rows };
    }
    let (count, taps) = taps(part.map.size.height, size.height, part.enlargement);
    taps.iter().position(|tap| tap.positions[..count].iter().any(|row| *row >= rows)).unwrap_or(size.height)
}

/// Decides on the rows `rows` of an image of `size`. Probabilities are averaged; of single scores whose
/// probabilities are not wanted, the scores themselves decide.
pub fn decide(parts: &[WeightedScores], size: Size, rows: std::ops::Range<usize>, wanted: Wanted) -> Decision {
    let enlarged = Enlarged::new(parts, size);
    let (classes, width) = (enlarged.classes, size.width);
    let plain = parts.len() == 1 && !wanted.highest && !wanted.all;
    let logits = plain && parts[0].map.kind == Kind::Logits;
    let choice = Choice::new(enlarged.rule, logits);
    let mut picked = vec![0u16; rows.len() * width];
    let mut highest = vec![0.0f32; if wanted.highest { picked.len() } else { 0 }];
    let mut all = vec![0.0f32; if wanted.all { classes * picked.len() } else { 0 }];
    let line = |picked| Line { picked, highest: None, all: Vec::new() };
    let mut lines: Vec<Line<'_>> = picked.chunks_exact_mut(width).map(line).collect();
    lines.iter_mut().zip(highest.chunks_exact_mut(width)).for_each(|(line, values)| line.highest = Some(values));
    for (i, values) in all.chunks_exact_mut(width).enumerate() {
        lines[i % rows.len()].all.push(values);
    }
    let decide_on = |scratch: &mut Scratch, (line, y): (Line<'_>, usize)| {
        if plain {
            enlarged.parts[0].row(y, width, &mut scratch.blended, &mut scratch.row);
            std::mem::swap(&mut scratch.row, &mut scratch.mean);
            if !logits {
                complete(&mut scratch.mean, classes, enlarged.rule.activation());
            }
        } else {
            enlarged.mean(y, scratch);
        }
        line.fill(&scratch.mean, classes, choice, &mut scratch.chosen);
    };
    if width * rows.len() * classes < SMALL {
        let mut scratch = Scratch::default();
        lines.into_iter().zip(rows).for_each(|line| decide_on(&mut scratch, line));
    } else {
        lines.into_par_iter().zip(rows).for_each_init(Scratch::default, decide_on);
    }
    Decision { classes: picked, highest: wanted.highest.then_some(highest), all: wanted.all.then_some(all) }
}

/// A row of a [`Decision`] to be filled.
struct Line<'a> {
    picked: &'a mut [u16],
    highest: Option<&'a mut [f32]>,
    /// By class.
    all: Vec<&'a mut [f32]>,
}

impl Line<'_> {
    fn fill(self, scores: &[f32], classes: usize, choice: Choice, chosen: &mut Vec<f32>) {
        chosen.resize(self.picked.len(), 0.0);
        pick(scores, classes, choice, self.picked, chosen);
        if let Some(highest) = self.highest {
            highest.iter_mut().zip(chosen).for_each(|(to, from)| *to = unit(*from));
        }
        for (class, line) in self.all.into_iter().enumerate() {
            line.iter_mut().zip(scores[class..].iter().step_by(classes)).for_each(|(to, from)| *to = unit(*from));
        }
    }
}

/// Cubic enlargement overshoots, and sums round.
fn unit(probability: f32) -> f32 {
    probability.clamp(0.0, 1.0)
}

vectorised! {
    /// A row of `classes` scores per pixel, each blended from the `count` (1, 2 or 4) pixels of its column's taps.
    fn blend_row(line: &[f32], columns: &[Tap], taps_and_classes: [usize; 2], out: &mut [f32]) {
        let [count, classes] = taps_and_classes;
        match count {
            1 => blend::<1>(line, columns, classes, out),
            2 => blend::<2>(line, columns, classes, out),
            _ => blend::<4>(line, columns, classes, out),
        }
    }
}

#[inline(always)]
fn blend<const N: usize>(line: &[f32], columns: &[Tap], classes: usize, out: &mut [f32]) {
    for (pixel, tap) in out.chunks_exact_mut(classes).zip(columns) {
        let from: [&[f32]; N] = std::array::from_fn(|i| &line[tap.positions[i] * classes..][..classes]);
        for (class, value) in pixel.iter_mut().enumerate() {
            let mut sum = from[0][class] * tap.weights[0];
            for (line, weight) in from.iter().zip(&tap.weights).skip(1) {
                sum += line[class] * weight;
            }
            *value = sum;
        }
    }
}

vectorised! {
    fn add_scaled(to: &mut [f32], from: &[f32], weight: f32) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::Interpolation;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + 13) % 1000) as f32 / 100.0 - 5.0).collect()
    }

    #[test]
    fn a_single_output_is_a_sigmoid() {
        let size = Size { width: 3, height: 1 };
        let parts = [WeightedScores {
            map: ScoreMap::from_planes(&[-2.0, 0.0, 3.0], size, Rule::Above(0.5), false),
            enlargement: Resampling::default(),
            share: 1.0,
        }];
        let decision = decide(&parts, size, 0..1, Wanted { highest: true, all: true });
        assert_eq!(decision.classes, [0, 0, 1]);
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let expected = [sigmoid(2.0), 0.5, sigmoid(3.0), sigmoid(-2.0), 0.5, sigmoid(3.0)];
        let all = decision.all.unwrap();
        assert!(all[3..].iter().zip(&expected[3..]).all(|(a, b)| (a - b).abs() < 1e-6), "{all:?}");
        assert!(decision.highest.unwrap().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn one_sigmoid_is_the_softmax_of_nought_and_its_logit() {
        let (small, large) = (Size { width: 7, height: 5 }, Size { width: 20, height: 11 });
        for interpolation in [Interpolation::Nearest, Interpolation::Bilinear, Interpolation::Bicubic] {
            let enlargement = Resampling { interpolation, align_corners: false };
            let parts = |rule: Rule, zeros: usize, count: usize| -> Vec<WeightedScores> {
                let planes = |i: usize| [vec![0.0; zeros * 35], numbers(70)[i..i + 35].to_vec()].concat();
                let map = |i| ScoreMap::from_planes(&planes(i), small, rule, false);
                (0..count).map(|i| WeightedScores { map: map(i), enlargement, share: (i + 1) as f32 }).collect()
            };
            for (count, highest) in [(1, false), (1, true), (3, true)] {
                let wanted = Wanted { highest, all: highest };
                let sigmoid = decide(&parts(Rule::Above(0.5), 0, count), large, 0..11, wanted);
                assert_eq!(sigmoid, decide(&parts(Rule::MostProbable, 1, count), large, 0..11, wanted));
            }
            let maps = [(Rule::Above(0.5), 0), (Rule::MostProbable, 1)].map(|(rule, zeros)| parts(rule, zeros, 3));
            let [a, b] = maps.map(|parts| probabilities(&parts, large).values);
            assert_eq!(a, b);
        }
    }

    /// Rows decided on one after the other, from maps that begin further down, are those of the whole.
    #[test]
    fn strips_equal_the_whole() {
        let (small, large) = (Size { width: 5, height: 6 }, Size { width: 13, height: 17 });
        for interpolation in [Interpolation::Nearest, Interpolation::Bilinear, Interpolation::Bicubic] {
            let enlargement = Resampling { interpolation, align_corners: false };
            let map = ScoreMap::from_planes(&numbers(3 * 30), small, Rule::MostProbable, false);
            let wanted = Wanted { highest: true, all: false };
            let whole = decide(&[WeightedScores { map: map.clone(), enlargement, share: 1.0 }], large, 0..17, wanted);
            let (mut classes, mut highest, mut done) = (Vec::new(), Vec::new(), 0);
            let mut part =
                WeightedScores { map: ScoreMap { values: Vec::new(), ..map.clone() }, enlargement, share: 1.0 };
            for rows in 1..=6 {
                part.map.values.extend_from_slice(&map.values[(rows - 1) * 15..rows * 15]);
                let known = rows_known(&part, rows, large);
                let parts = [part];
                let strip = decide(&parts, large, done..known, wanted);
                [part] = parts;
                classes.extend(strip.classes);
                highest.extend(strip.highest.unwrap());
                done = known;
                part.drop_above(done, large);
            }
            assert_eq!((classes, Some(highest)), (whole.classes, whole.highest), "{interpolation:?}");
            assert!(part.map.values.len() < map.values.len());
        }
    }

    #[test]
    fn scores_that_are_not_numbers_are_found_wherever_they_are() {
        let size = Size { width: CHUNK, height: 1 };
        let part = |map: ScoreMap| WeightedScores { map, enlargement: Resampling::default(), share: 1.0 };
        let zeros = ScoreMap::zeros(size, 3, Kind::Logits, Rule::MostProbable);
        assert!(part(zeros.clone()).is_numeric());
        for (place, score) in [(0, f32::NAN), (CHUNK, f32::INFINITY), (3 * CHUNK - 1, f32::NEG_INFINITY)] {
            let mut map = zeros.clone();
            map.values[place] = score;
            assert!(!part(map).is_numeric(), "{score} at {place}");
        }
    }

    #[test]
    fn mirroring_twice_changes_nothing() {
        let size = Size { width: 5, height: 2 };
        let planes = numbers(30);
        let map = ScoreMap::from_planes(&planes, size, Rule::MostProbable, false);
        assert_eq!(ScoreMap::from_planes(&planes, size, Rule::MostProbable, true).mirrored(), map);
        assert_eq!(map.clone().mirrored().mirrored(), map);
    }
}
