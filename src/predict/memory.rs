//! How much memory a picture takes, and how much there is.

use std::path::Path;

use super::{Join, Options, Predictor, Procedure};
use crate::device::DeviceChoice;
use crate::error::{Error, Result, Size};
use crate::fuse::Wanted;
use crate::image::read_size;
use crate::summary::inference_memory;

/// Bytes of a float32.
const FLOAT: u64 = 4;
const GIB: f64 = (1u64 << 30) as f64;

/// What may be held, and what things take.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    /// Bytes that may be held, if that is known.
    limit: Option<u64>,
    /// Bytes of the network, and of its features for one pixel of the input, on this machine.
    network: u64,
    features: f64,
    bands: u64,
    classes: u64,
    procedure: Procedure,
    wanted: Wanted,
    batch_size: usize,
}

impl Budget {
    pub(super) fn new(predictor: &Predictor, options: &Options) -> Result<Self> {
        let on_gpu = matches!(predictor.choice, DeviceChoice::LibtorchCuda(_));
        let (network, features) = network_memory(predictor)?;
        Ok(Self {
            limit: options.memory.or_else(free_memory),
            network: if on_gpu { 0 } else { network },
            features: if on_gpu { 0.0 } else { features },
            bands: predictor.descriptor.bands as u64,
            classes: predictor.descriptor.class_count() as u64,
            procedure: options.procedure.clone(),
            wanted: options.wanted,
            batch_size: options.batch_size,
        })
    }

    /// Network inputs of a size that are computed together: what was asked for, if the memory allows.
    pub(super) fn at_once(&self, size: Size) -> usize {
        let one = (self.features * area(size) as f64).max(1.0);
        // Half of it is for pictures that are read ahead and for results.
        let fitting =
            self.limit.map_or(usize::MAX, |limit| (limit.saturating_sub(2 * self.network) as f64 / 2.0 / one) as usize);
        self.batch_size.min(fitting).max(1)
    }

    /// Says whether a picture fits, from the beginning of its file. A file without a readable size passes: reading it
    /// says what is wrong.
    pub(super) fn check_file(&self, path: &Path) -> Result<()> {
        match read_size(path) {
            Some(size) => self.check(path, size),
            None => Ok(()),
        }
    }

    /// Says whether a picture of that size fits.
    pub(super) fn check(&self, path: &Path, picture: Size) -> Result<()> {
        let Some(limit) = self.limit else { return Ok(()) };
        let needed = self.needed(picture);
        if needed <= limit {
            return Ok(());
        }
        let [needed, limit] = [needed, limit].map(|bytes| bytes as f64 / GIB);
        let advice = match self.procedure.tiles {
            None => "go over it in windows with --tile 512, or look at it smaller with --resize 1024",
            Some(_) => "cut it into pieces, or look at it smaller with --resize 1024",
        };
        Err(Error::content(
            path,
            format!(
                "predicting a picture of {picture} would take about {needed:.1} GiB of memory, and {limit:.1} GiB may be \
                 used; {advice}, or allow more with --memory"
            ),
        ))
    }

    /// Bytes for one picture, about.
    fn needed(&self, picture: Size) -> u64 {
        let views = self.procedure.views(picture);
        let pixels: u64 = area(picture);
        let seen: u64 = views.iter().map(|view| area(*view)).sum();
        // Decoded, then in floats at every size.
        let input = 2 * pixels * self.bands + seen * self.bands * FLOAT;
        let window = |view: Size| match self.procedure.tiles {
            Some(tiles) => Size { width: view.width.min(tiles.side), height: view.height.min(tiles.side) },
            None => view,
        };
        let largest = views.iter().map(|view| area(window(*view))).max().unwrap_or(0);
        let features = (self.features * largest as f64) as u64;
        let scores = self.classes * FLOAT * self.held_scores(picture, &views);
        let output = pixels * (4 + 4 * u64::from(self.wanted.highest))
            + 2 * pixels * self.classes * FLOAT * u64::from(self.wanted.all);
        self.network + features + input + scores + output
    }

    /// Pixels whose scores of all classes are held at once; those that the network itself gives are small.
    fn held_scores(&self, picture: Size, views: &[Size]) -> u64 {
        let flips = if self.procedure.flip && self.procedure.join == Join::Logits { 2 } else { 1 };
        match (self.procedure.tiles, views) {
            // Strips of two windows' height.
            (Some(tiles), [view]) if flips == 1 && !tiles.padded => {
                (2 * tiles.side.min(view.height) * view.width) as u64
            }
            (Some(_), _) => flips * views.iter().map(|view| area(*view)).sum::<u64>(),
            (None, _) if self.procedure.join == Join::Direct => 0,
            (None, _) => flips * views.iter().filter(|view| **view != picture).map(|view| area(*view)).sum::<u64>(),
        }
    }
}

fn area(size: Size) -> u64 {
    size.width as u64 * size.height as u64
}

/// Bytes of the process with the weights, and of the features for one pixel of the input.
fn network_memory(predictor: &Predictor) -> Result<(u64, f64)> {
    // Features grow with the area; one size tells by how much.
    let sample = Size { width: 256, height: 256 };
    let held = inference_memory(&predictor.config, sample, predictor.choice)?.parts(1);
    Ok((held.fixed, held.per_picture as f64 / area(sample) as f64))
}

/// Memory that the system has free for programs, in bytes, where it says so.
fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
