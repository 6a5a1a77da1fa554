//! How much memory a picture takes, and in which windows it fits.

use std::path::Path;

use crate::device::{DeviceChoice, free_memory};
use crate::error::{Error, Result, Size};
use crate::hypercolumn::{HypercolumnConfig, Part, Window};
use crate::summary::feature_memory;

/// Sides of windows that are tried, where the usual ones do not fit.
const SIDES: [usize; 7] = [512, 384, 256, 192, 128, 96, 64];

/// Pixels whose features a thread holds at a time; fewer where there are very many features.
pub(super) const BLOCK: usize = 512;

/// What may be held, and what things take.
#[derive(Debug)]
pub(super) struct Budget {
    limit: Option<u64>,
    config: HypercolumnConfig,
    bands: usize,
    device: DeviceChoice,
    /// Side of windows that was asked for.
    side: Option<usize>,
}

impl Budget {
    /// Of `limit` bytes, or of what is free on this machine.
    pub(super) fn new(
        config: &HypercolumnConfig,
        bands: usize,
        device: DeviceChoice,
        limit: Option<u64>,
        side: Option<usize>,
    ) -> Self {
        let limit = limit.or_else(|| free_memory(DeviceChoice::Flex));
        Self { limit, config: config.clone(), bands, device, side }
    }

    /// The windows in which a picture is gone over, with `beside` bytes held for other things. The usual ones if they fit,
    /// else smaller ones.
    pub(super) fn windows(&self, path: &Path, size: Size, beside: u64) -> Result<Vec<Window>> {
        let layout = self.config.layout(size, self.bands)?;
        // The decoded picture of up to two bytes a sample.
        let beside = beside + (size.width * size.height * self.bands * 2) as u64;
        let choices: Vec<Option<usize>> = match self.side {
            Some(side) => vec![Some(side)],
            None => std::iter::once(None).chain(SIDES.map(Some)).collect(),
        };
        let mut least = u64::MAX;
        for side in choices {
            let windows = layout.windows(side);
            let needed = self.window_bytes(layout.largest_input(&windows))?.saturating_add(beside);
            if self.limit.is_none_or(|limit| needed <= limit) {
                return Ok(windows);
            }
            least = least.min(needed);
        }
        let reason = format!(
            "a picture of {size} would take about {} of memory, and {} may be used; {}allow more with --memory, or cut it \
             into pieces",
            in_words(least),
            in_words(self.limit.unwrap_or(0)),
            if self.side.is_some_and(|side| side > SIDES[SIDES.len() - 1]) { "choose a smaller --tile, " } else { "" }
        );
        Err(Error::content(path, reason))
    }

    /// The process with the encoder at work on an input of that size, and what is sampled from that.
    fn window_bytes(&self, input: Size) -> Result<u64> {
        let encoder = match self.device {
            DeviceChoice::LibtorchCuda(_) => 0,
            device => feature_memory(&self.config, self.bands, input, device)?.bytes(1),
        };
        let pixels = (input.width * input.height) as u64;
        let of = |part: &Part| {
            let stride = self.config.encoder.reach(part.tap, self.bands).map_or(1, |reach| reach.stride) as u64;
            part.channels as u64 * pixels / (stride * stride) * 4
        };
        let maps: u64 = self.config.parts(self.bands)?.iter().map(of).sum();
        let blocks = rayon::current_num_threads() * self.config.features(self.bands)? * BLOCK * 4;
        Ok(encoder + maps + blocks as u64)
    }
}

pub(super) fn in_words(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 { format!("{mebibytes:.0} MiB") } else { format!("{:.1} GiB", mebibytes / 1024.0) }
}
