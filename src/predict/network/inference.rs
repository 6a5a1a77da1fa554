//! What the network says of an image at one size, whole or window by window.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Device, Tensor, TensorData};

use super::procedure::{Join, Procedure, Tiles};
use crate::base::{Error, Result, Size};
use crate::nn::activation::Rule;
use crate::nn::model::{InferenceNetwork, Scores};
use crate::nn::precision::Precision;
use crate::predict::merge::{ScoreMap, WeightedScores, decide_on_device, decides_on_device, enlarged, probabilities};

/// A normalised image at one size.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) size: Size,
    /// `[bands, height, width]`.
    pub(super) planes: Vec<f32>,
}

/// A window of a view, perhaps mirrored.
#[derive(Debug, Clone, Copy)]
struct Window<'a> {
    view: &'a View,
    /// Left and top.
    corner: [usize; 2],
    mirrored: bool,
}

impl Window<'_> {
    fn copy_to(&self, size: Size, to: &mut Vec<f32>) {
        let ([left, top], whole) = (self.corner, self.view.size);
        for plane in self.view.planes.chunks_exact(whole.width * whole.height) {
            for row in plane.chunks_exact(whole.width).skip(top).take(size.height) {
                let row = &row[left..left + size.width];
                if self.mirrored { to.extend(row.iter().rev()) } else { to.extend_from_slice(row) }
            }
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
    pub(super) at_once: &'a dyn Fn(Size) -> usize,
    /// Once it is set, going over windows ends with [`Error::Stopped`].
    pub(super) stop: Option<&'a AtomicBool>,
}

impl TileRunner<'_> {
    fn scores(&self, windows: &[Window<'_>], size: Size) -> Scores {
        let mut values = Vec::with_capacity(windows.len() * self.bands * size.width * size.height);
        windows.iter().for_each(|window| window.copy_to(size, &mut values));
        let shape = [windows.len(), self.bands, size.height, size.width];
        let input = Tensor::<4>::from_data(TensorData::new(values, shape), self.device);
        self.network.scores(self.precision.of_input(input))
    }

    /// The logits of windows of `size`, those of mirrored ones mirrored back.
    fn part(&self, windows: &[Window<'_>], size: Size) -> Result<Vec<WeightedScores>> {
        let mut parts = Vec::with_capacity(windows.len());
        for windows in windows.chunks((self.at_once)(size).max(1)) {
            let scores = self.scores(windows, size);
            parts.extend(WeightedScores::of_batch(scores.logits, scores.enlargement, self.rule, |i| {
                windows[i].mirrored
            })?);
        }
        Ok(parts)
    }

    /// The classes of whole images, each seen once at its own size, where the device decides faster than the CPU.
    pub(super) fn decided(&self, views: &[&View]) -> Result<Option<Vec<Option<Vec<u16>>>>> {
        let Some(size) = views.first().map(|view| view.size) else { return Ok(None) };
        if !decides_on_device(self.device, self.outputs, size) {
            return Ok(None);
        }
        let mut found = Vec::with_capacity(views.len());
        for views in views.chunks((self.at_once)(size).max(1)) {
            let windows: Vec<Window<'_>> =
                views.iter().map(|view| Window { view, corner: [0, 0], mirrored: false }).collect();
            let scores = self.scores(&windows, size);
            found.extend(decide_on_device(&scores.logits, scores.enlargement, self.rule, size)?);
        }
        Ok(Some(found))
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
        let both = |view| [false, true].map(|mirrored| Window { view, corner: [0, 0], mirrored });
        let each = if procedure.flip { 2 } else { 1 };
        let windows: Vec<Window<'_>> = views.iter().flat_map(|view| both(view).into_iter().take(each)).collect();
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

    /// What is seen in the windows of a view. Rows that are complete go to `emit`, from the top down.
    pub(super) fn sweep(
        &self,
        view: &View,
        tiles: Tiles,
        procedure: &Procedure,
        emit: &mut dyn FnMut(ScoreMap) -> Result<()>,
    ) -> Result<()> {
        let size = view.size;
        let (lefts, tops) = (tiles.starts(size.width), tiles.starts(size.height));
        let window = Size { width: tiles.side.min(size.width), height: tiles.side.min(size.height) };
        let mirrored: &[bool] =
            if procedure.flip && procedure.join == Join::Probabilities { &[false, true] } else { &[false] };
        let mut sum: Option<ScoreMap> = None;
        for (i, &top) in tops.iter().enumerate() {
            if self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                return Err(Error::Stopped);
            }
            let windows: Vec<Window<'_>> = lefts
                .iter()
                .flat_map(|&left| mirrored.iter().map(move |&mirrored| Window { view, corner: [left, top], mirrored }))
                .collect();
            // A few windows at a time: at their full size, the scores of many classes are large.
            let chunk = (self.at_once)(window).max(1).next_multiple_of(mirrored.len());
            for (windows, lefts) in windows.chunks(chunk).zip(lefts.chunks(chunk / mirrored.len())) {
                let mut parts = self.part(windows, window)?.into_iter();
                for &left in lefts {
                    let parts: Vec<WeightedScores> = parts.by_ref().take(mirrored.len()).collect();
                    let seen = match procedure.join {
                        Join::Probabilities => probabilities(&parts, window),
                        Join::Logits | Join::Direct => {
                            parts.into_iter().next().map(|part| enlarged(part, window)).expect("scores of each window")
                        }
                    };
                    let ScoreMap { classes, kind, rule, .. } = seen;
                    let sum = sum.get_or_insert(ScoreMap { size, classes, kind, rule, values: Vec::new(), top: 0 });
                    add(sum, &seen, [left, top]);
                }
            }
            let next = tops.get(i + 1).copied().unwrap_or(size.height);
            if let Some(sum) = &mut sum {
                emit(complete(sum, next, [&lefts, &tops], window))?;
            }
        }
        Ok(())
    }

    /// What is seen in the windows of a view: what the procedure averages.
    pub(super) fn tiled(&self, view: &View, tiles: Tiles, procedure: &Procedure) -> Result<Vec<WeightedScores>> {
        let (padded, corner) = if tiles.padded { view.padded(tiles.side) } else { (view.clone(), [0, 0]) };
        // mmsegmentation mirrors the image, not its windows.
        let mirrored_views = procedure.flip && procedure.join != Join::Probabilities;
        let mut parts = Vec::with_capacity(2);
        for mirrored in [false, true].into_iter().take(1 + usize::from(mirrored_views)) {
            let turned;
            let seen = if mirrored {
                turned = padded.mirrored();
                &turned
            } else {
                &padded
            };
            let mut whole: Option<ScoreMap> = None;
            self.sweep(seen, tiles, procedure, &mut |rows| {
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

/// Adds the scores of a window.
fn add(sum: &mut ScoreMap, seen: &ScoreMap, [left, top]: [usize; 2]) {
    let (row, classes) = (sum.size.width * sum.classes, sum.classes);
    let needed = (top + seen.size.height - sum.top) * row;
    if sum.values.len() < needed {
        sum.values.resize(needed, 0.0);
    }
    let lines = sum.values.chunks_exact_mut(row).skip(top - sum.top);
    for (to, from) in lines.zip(seen.values.chunks_exact(seen.size.width * classes)) {
        to[left * classes..][..from.len()].iter_mut().zip(from).for_each(|(to, from)| *to += from);
    }
}

/// Takes the rows above `next` off the sum, as means.
fn complete(sum: &mut ScoreMap, next: usize, [lefts, tops]: [&[usize]; 2], window: Size) -> ScoreMap {
    let covered = |starts: &[usize], side: usize, at: usize| {
        starts.iter().filter(|start| (**start..**start + side).contains(&at)).count()
    };
    let columns: Vec<usize> = (0..sum.size.width).map(|x| covered(lefts, window.width, x)).collect();
    let row = sum.size.width * sum.classes;
    let rest = sum.values.split_off((next - sum.top) * row);
    let mut values = std::mem::replace(&mut sum.values, rest);
    for (y, line) in values.chunks_exact_mut(row).enumerate() {
        let rows = covered(tops, window.height, sum.top + y);
        for (pixel, columns) in line.chunks_exact_mut(sum.classes).zip(&columns) {
            let share = 1.0 / (rows * columns) as f32;
            pixel.iter_mut().for_each(|value| *value *= share);
        }
    }
    ScoreMap { values, top: std::mem::replace(&mut sum.top, next), ..*sum }
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
