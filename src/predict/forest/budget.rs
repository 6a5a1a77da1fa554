//! How much memory an image takes, and in which windows it fits.

use std::ffi::OsStr;
use std::path::Path;

use crate::base::files::open_input;
use crate::base::{Error, Remedy, Result, Size};
use crate::nn::cost::feature_memory;
use crate::nn::device::{DeviceChoice, free_memory};
use crate::pixels::hypercolumn::{HypercolumnConfig, Part, Window};

/// Sides of windows that are tried, where the usual ones do not fit.
const SIDES: [usize; 7] = [512, 384, 256, 192, 128, 96, 64];

/// Pixels whose features a thread holds at a time; fewer where there are very many features.
pub(crate) const BLOCK: usize = 512;

/// What may be held, and what things take.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: Option<u64>,
    config: HypercolumnConfig,
    bands: usize,
    device: DeviceChoice,
    limits: Limits,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Most bytes; what is free on this machine if left out.
    pub(crate) memory: Option<u64>,
    /// Side of the windows.
    pub(crate) side: Option<usize>,
    /// Whether features are kept on disk.
    pub(crate) stored: bool,
}

impl Budget {
    pub(crate) fn new(config: &HypercolumnConfig, bands: usize, device: DeviceChoice, limits: Limits) -> Self {
        let limit = limits.memory.or_else(|| free_memory(DeviceChoice::Flex));
        Self { limit, config: config.clone(), bands, device, limits }
    }

    /// The windows in which an image is gone over, with `beside` bytes held for other things. The usual ones if they fit,
    /// else smaller ones.
    pub(crate) fn windows(&self, path: &Path, size: Size, beside: u64) -> Result<Vec<Window>> {
        let layout = self.config.layout(size, self.bands)?;
        let beside = beside + self.image_bytes(path, size);
        let choices: Vec<Option<usize>> = match self.limits.side {
            Some(side) => vec![Some(side)],
            None => std::iter::once(None).chain(SIDES.map(Some)).collect(),
        };
        let mut least = u64::MAX;
        for side in choices {
            let windows = layout.windows(side);
            let needed = self.window_bytes(layout.largest_input(&windows), size)?.saturating_add(beside);
            if self.limit.is_none_or(|limit| needed <= limit) {
                return Ok(windows);
            }
            least = least.min(needed);
        }
        let remedies = match (self.limits.memory, self.limits.side) {
            (_, Some(side)) if side > SIDES[SIDES.len() - 1] => [Remedy::Smaller("tile"), Remedy::Larger("memory")],
            (Some(_), _) => [Remedy::Larger("memory"), Remedy::Pieces],
            (None, _) => [Remedy::FreeSpace, Remedy::Pieces],
        };
        let work = format!("{}, an image of {size},", path.display());
        Err(Error::Memory { work, needed: least, free: self.limit.unwrap_or(0), remedies: remedies.into() })
    }

    /// The image, and its file while that is decoded.
    fn image_bytes(&self, path: &Path, size: Size) -> u64 {
        // These usually hold floats, others hardly ever.
        let has_floats =
            |ending: &OsStr| ["tif", "tiff", "npy", "npz"].iter().any(|floats| ending.eq_ignore_ascii_case(floats));
        let sample = if path.extension().is_some_and(has_floats) { 4 } else { 2 };
        let file = open_input(path).map_or(0, |(_, length)| length);
        file + sample * (size.width * size.height * self.bands) as u64
    }

    /// The process with the encoder at work on an input of that size, what that is reduced from, and what is sampled from
    /// its features.
    fn window_bytes(&self, input: Size, image: Size) -> Result<u64> {
        let encoder = if self.device.is_gpu() {
            0
        } else {
            feature_memory(&self.config.encoder, &self.config.taps, self.bands, input, self.device)?.bytes(1)
        };
        let scale = self.config.scales.iter().copied().max().unwrap_or(1);
        let [width, height] = [(input.width * scale).min(image.width), (input.height * scale).min(image.height)];
        // The part of the image as it is, and in floats.
        let part = (width * height * self.bands * 8) as u64;
        let pixels = (input.width * input.height) as u64;
        let of = |part: &Part| {
            let stride = self.config.encoder.reach(part.tap, self.bands).map_or(1, |reach| reach.stride) as u64;
            part.channels as u64 * pixels / (stride * stride) * 4
        };
        let maps: u64 = self.config.parts(self.bands)?.iter().map(of).sum();
        let copies = if self.limits.stored { 3 } else { 1 };
        let blocks = rayon::current_num_threads() * self.config.features(self.bands)? * BLOCK * 4;
        Ok(encoder + part + copies * maps + blocks as u64)
    }
}
