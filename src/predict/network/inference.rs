//! What the network says of an image at one size, whole or window by window.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};

use super::procedure::{Join, Procedure};
use super::source::Source;
use super::tiles::{Tiles, mirrored};
use crate::base::{Error, Result, Size};
use crate::nn::activation::Rule;
use crate::nn::device::{begin_pass, has_own_threads};
use crate::nn::model::{InferenceNetwork, Scores};
use crate::nn::ops::{share, side_by_side};
use crate::nn::precision::Precision;
use crate::predict::merge::{ScoreMap, WeightedScores, decide_on_device, decides_on_device, enlarged, probabilities};

/// A normalised image at one size.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) size: Size,
    /// `[bands, height, width]`.
    pub(super) planes: Vec<f32>,
}

/// A window of an image, perhaps flipped. What lies beyond the image is mirrored.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) source: &'a dyn Source,
    /// Left and top.
    pub(super) corner: [isize; 2],
    pub(super) flipped: bool,
}

impl Window<'_> {
    fn copy_to(&self, size: Size, bands: usize, to: &mut Vec<f32>) {
        let ([left, top], whole) = (self.corner, self.source.size());
        let inside = usize::try_from(left).ok().filter(|left| left + size.width <= whole.width);
        let columns: Vec<usize> =
            (left..left + size.width as isize).map(|column| mirrored(column, whole.width)).collect();
        for band in 0..bands {
            for y in top..top + size.height as isize {
                let row = self.source.row(band, mirrored(y, whole.height));
                match (inside, self.flipped) {
                    (Some(left), false) => to.extend_from_slice(&row[left..left + size.width]),
                    (_, false) => to.extend(columns.iter().map(|column| row[*column])),
                    (_, true) => to.extend(columns.iter().rev().map(|column| row[*column])),
                }
            }
        }
    }
}

/// Windows of one size that are computed together, copied from where they lie.
pub(super) struct Inputs {
    size: Size,
    bands: usize,
    /// Windows that are computed in one go.
    share: usize,
    shares: Vec<Share>,
}

struct Share {
    /// `[windows, bands, height, width]`.
    values: Vec<f32>,
    flipped: Vec<bool>,
}

impl Inputs {
    pub(super) fn add(&mut self, window: &Window<'_>) {
        if self.shares.last().is_none_or(|share| share.flipped.len() == self.share) {
            let numbers = self.share * self.bands * self.size.width * self.size.height;
            self.shares.push(Share { values: Vec::with_capacity(numbers), flipped: Vec::with_capacity(self.share) });
        }
        if let Some(share) = self.shares.last_mut() {
            window.copy_to(self.size, self.bands, &mut share.values);
            share.flipped.push(window.flipped);
        }
    }
}

/// A network, where it computes, and how many inputs at a time.
pub(super) struct TileRunner<'a> {
    pub(super) network: &'a InferenceNetwork,
    pub(super) device: &'a Device,
    pub(super) precision: Precision,
    pub(super) rule: Rule,
    pub(super) bands: usize,
    pub(super) outputs: usize,
    /// Inputs computed at once, for a size of theirs.
    pub(super) at_once: &'a (dyn Fn(Size) -> usize + Sync),
    /// Once it is set, going over windows ends with [`Error::Stopped`].
    pub(super) stop: Option<&'a AtomicBool>,
    /// Is called after each window.
    pub(super) advanced: &'a (dyn Fn() + Sync),
    /// Nanoseconds in which the network computed.
    pub(super) busy: &'a AtomicU64,
}

impl TileRunner<'_> {
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// Room for up to `count` windows of `size`.
    pub(super) fn inputs(&self, size: Size, count: usize) -> Inputs {
        let share = if has_own_threads(self.device) { share(count, size.width * size.height) } else { count };
        Inputs { size, bands: self.bands, share, shares: Vec::new() }
    }

    fn scores(&self, input: TensorData) -> Scores {
        let input = Tensor::<4>::from_data(input, self.device);
        let _pass = begin_pass(self.device, self.precision);
        self.network.scores(self.precision.of_input(input))
    }

    /// The logits of windows of `size`, those of flipped ones flipped back.
    pub(super) fn part(&self, windows: &[Window<'_>], size: Size) -> Result<Vec<WeightedScores>> {
        let mut parts = Vec::with_capacity(windows.len());
        for windows in windows.chunks((self.at_once)(size).max(1)) {
            let mut inputs = self.inputs(size, windows.len());
            windows.iter().for_each(|window| inputs.add(window));
            parts.extend(self.seen(inputs)?);
        }
        Ok(parts)
    }

    /// The logits of windows in the order in which they were added, those of flipped ones flipped back.
    pub(super) fn seen(&self, inputs: Inputs) -> Result<Vec<WeightedScores>> {
        let Inputs { size, bands, shares, .. } = inputs;
        let began = Instant::now();
        let seen = side_by_side(shares, |Share { values, flipped }| {
            let scores = self.scores(TensorData::new(values, [flipped.len(), bands, size.height, size.width]));
            WeightedScores::of_batch(scores.logits, scores.enlargement, self.rule, |i| flipped[i])
        });
        self.computed_since(began);
        let mut parts = Vec::new();
        for seen in seen {
            parts.extend(seen?);
        }
        Ok(parts)
    }

    /// The classes of whole images, each seen once at its own size, where the device decides faster than the CPU.
    pub(super) fn decided(&self, views: &[&View]) -> Result<Option<Vec<Option<Vec<u16>>>>> {
        let Some(size) = views.first().map(|view| view.size) else { return Ok(None) };
        if !decides_on_device(self.device, self.outputs, size) {
            return Ok(None);
        }
        let began = Instant::now();
        let mut found = Vec::with_capacity(views.len());
        for views in views.chunks((self.at_once)(size).max(1)) {
            let mut values = Vec::with_capacity(views.len() * views[0].planes.len());
            views.iter().for_each(|view| values.extend_from_slice(&view.planes));
            let scores = self.scores(TensorData::new(values, [views.len(), self.bands, size.height, size.width]));
            found.extend(decide_on_device(&scores.logits, scores.enlargement, self.rule, size)?);
        }
        self.computed_since(began);
        Ok(Some(found))
    }

    fn computed_since(&self, began: Instant) {
        self.busy.fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }

    /// What is seen in whole views of one size: for each, what the procedure averages for an image of `image`.
    pub(super) fn whole(
        &self,
        views: &[&View],
        image: Size,
        procedure: &Procedure,
    ) -> Result<Vec<Vec<WeightedScores>>> {
        let Some(first) = views.first() else { return Ok(Vec::new()) };
        let size = first.size;
        let both = |view| [false, true].map(|flipped| Window { source: view, corner: [0, 0], flipped });
        let each = if procedure.flip { 2 } else { 1 };
        let windows: Vec<Window<'_>> = views.iter().flat_map(|view| both(*view).into_iter().take(each)).collect();
        let mut parts = self.part(&windows, size)?.into_iter();
        let mut found = Vec::with_capacity(views.len());
        for _ in views {
            let share = 1.0 / each as f32;
            let parts: Vec<WeightedScores> =
                parts.by_ref().take(each).map(|part| WeightedScores { share, ..part }).collect();
            found.push(match procedure.join {
                Join::Direct => {
                    parts.into_iter().map(|part| WeightedScores { enlargement: procedure.upsample, ..part }).collect()
                }
                // The network's own enlargement is then the last.
                _ if size == image => parts,
                Join::Probabilities => vec![upsampled(probabilities(&parts, size), procedure, 1.0)],
                Join::Logits => {
                    parts.into_iter().map(|part| upsampled(enlarged(part, size), procedure, share)).collect()
                }
            });
        }
        Ok(found)
    }

    /// What is seen in the windows of a view: what the procedure averages.
    pub(super) fn tiled(&self, view: &View, tiles: Tiles, procedure: &Procedure) -> Result<Vec<WeightedScores>> {
        let padded = tiles.is_padded().then(|| view.padded(tiles.side));
        let (source, corner) = padded.as_ref().map_or((view, [0, 0]), |(padded, corner)| (padded, *corner));
        // mmsegmentation mirrors the image, not its windows.
        let mirrored_views = procedure.flip && procedure.join != Join::Probabilities;
        let mut parts = Vec::with_capacity(2);
        for mirrored in [false, true].into_iter().take(1 + usize::from(mirrored_views)) {
            let turned = mirrored.then(|| source.mirrored());
            let seen = turned.as_ref().unwrap_or(source);
            let mut whole: Option<ScoreMap> = None;
            self.sweep_rows(seen, tiles, procedure, &mut |rows| {
                match &mut whole {
                    None => whole = Some(rows),
                    Some(whole) => whole.values.extend(rows.values),
                }
                Ok(())
            })?;
            let map = whole.expect("a view has rows");
            let map = if mirrored { map.mirrored() } else { map };
            parts.push(upsampled(cropped(map, corner, view.size), procedure, if mirrored_views { 0.5 } else { 1.0 }));
        }
        Ok(parts)
    }
}

/// That an image has no prediction because its scores are not numbers.
pub(super) fn not_numbers(path: &Path) -> Error {
    Error::content(
        path,
        "the network's scores are not numbers (NaN or infinite), so there is no prediction; its weights may come from a \
         training that diverged: train with a smaller `learning_rate`, or use other weights",
    )
}

impl Source for View {
    fn size(&self) -> Size {
        self.size
    }

    fn row(&self, band: usize, y: usize) -> &[f32] {
        let Size { width, height } = self.size;
        &self.planes[(band * height + y) * width..][..width]
    }
}

impl View {
    fn mirrored(&self) -> Self {
        let mut planes = Vec::with_capacity(self.planes.len());
        self.planes.chunks_exact(self.size.width).for_each(|row| planes.extend(row.iter().rev()));
        Self { size: self.size, planes }
    }

    /// In the middle of zeros, so that both sides are at least `side`; and where it lies there.
    fn padded(&self, side: usize) -> (Self, [usize; 2]) {
        let Size { width, height } = self.size;
        let large = Size { width: width.max(side), height: height.max(side) };
        let [left, top] = [(large.width - width) / 2, (large.height - height) / 2];
        let mut planes = vec![0.0; self.planes.len() / (width * height) * large.width * large.height];
        let lines = planes.chunks_exact_mut(large.width * large.height).zip(self.planes.chunks_exact(width * height));
        for (large_plane, plane) in lines {
            let rows = large_plane.chunks_exact_mut(large.width).skip(top).zip(plane.chunks_exact(width));
            rows.for_each(|(to, from)| to[left..left + width].copy_from_slice(from));
        }
        (Self { size: large, planes }, [left, top])
    }
}

/// A map at the size of a view, on its way to the image's.
fn upsampled(map: ScoreMap, procedure: &Procedure, share: f32) -> WeightedScores {
    WeightedScores { map, enlargement: procedure.upsample, share }
}

/// The part of a map that a view takes in it.
fn cropped(map: ScoreMap, [left, top]: [usize; 2], size: Size) -> ScoreMap {
    if map.size == size {
        return map;
    }
    let classes = map.classes;
    let rows = map.values.chunks_exact(map.size.width * classes).skip(top).take(size.height);
    let values = rows.flat_map(|row| row[left * classes..][..size.width * classes].iter().copied()).collect();
    ScoreMap { size, values, top: 0, ..map }
}
