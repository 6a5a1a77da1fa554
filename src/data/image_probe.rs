//! What the images of a data set are like, as far as its description asks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rayon::prelude::*;

use crate::base::event::{Event, Sink};
use crate::base::{Error, Result};
use crate::image::{Image, Samples, read_image};

/// Most images that are decoded, from all over the list.
const MAX_MEASURED: usize = 64;

/// The type of samples, the widest that occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SampleKind {
    /// 8 bits.
    Bytes,
    /// 16 bits.
    Words,
    /// Floating point, or integers of other widths.
    Floats,
}

/// What some of the images have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageProbe {
    /// Bands of a data set that takes them: a grey image fills any number.
    pub bands: usize,
    /// How many images have each number of bands.
    pub band_counts: BTreeMap<usize, usize>,
    /// The type of their samples.
    pub samples: SampleKind,
    /// Whether all images of several bands hold the same in each.
    pub gray: bool,
    /// Share of the pixels that are 0 in all bands, 0 to 1.
    pub empty: f64,
    /// Images that were measured, and all there are.
    pub measured: [usize; 2],
}

/// What one image is like.
struct Probed {
    bands: usize,
    samples: SampleKind,
    gray: bool,
    pixels: usize,
    empty: usize,
}

/// Measures some of the images. One that cannot be read is reported and left out; that all cannot is an error.
pub fn probe_images(images: &[PathBuf], sink: &dyn Sink) -> Result<ImageProbe> {
    let measured: Vec<&PathBuf> = images.iter().step_by(images.len().div_ceil(MAX_MEASURED).max(1)).collect();
    let found: Vec<Probed> = measured
        .par_iter()
        .filter_map(|path| {
            let skipped = |error: Error| {
                sink.event(Event::Skipped { path: (*path).clone(), reason: error.to_string() });
            };
            read_image(path).map(|image| Probed::of(&image)).map_err(skipped).ok()
        })
        .collect();
    let mut band_counts = BTreeMap::new();
    for probed in &found {
        *band_counts.entry(probed.bands).or_insert(0) += 1;
    }
    let common = band_counts.iter().filter(|(bands, _)| **bands > 1).max_by_key(|(_, count)| **count);
    let Some(samples) = found.iter().map(|probed| probed.samples).max() else {
        let missing = format!("none of {} images could be read", measured.len());
        return Err(Error::no_data(missing, "see the message for each file"));
    };
    let [pixels, empty] = [found.iter().map(|p| p.pixels).sum::<usize>(), found.iter().map(|p| p.empty).sum()];
    Ok(ImageProbe {
        bands: common.map_or(1, |(bands, _)| *bands),
        gray: band_counts.keys().any(|bands| *bands > 1) && found.iter().all(|probed| probed.gray),
        band_counts,
        samples,
        empty: empty as f64 / pixels.max(1) as f64,
        measured: [found.len(), images.len()],
    })
}

impl Probed {
    fn of(image: &Image) -> Self {
        let (samples, (gray, empty)) = match &image.samples {
            Samples::U8(v) => (SampleKind::Bytes, inspect(v, image.bands)),
            Samples::U16(v) => (SampleKind::Words, inspect(v, image.bands)),
            Samples::F32(v) => (SampleKind::Floats, inspect(v, image.bands)),
        };
        Self { bands: image.bands, samples, gray, pixels: image.size.width * image.size.height, empty }
    }
}

/// Whether the bands are all equal, and how many pixels are 0 in all of them.
fn inspect<T: Copy + PartialEq + Default>(samples: &[T], bands: usize) -> (bool, usize) {
    let pixels = samples.chunks_exact(bands);
    let gray = pixels.clone().all(|pixel| pixel.iter().all(|sample| *sample == pixel[0]));
    (gray, pixels.filter(|pixel| pixel.iter().all(|sample| *sample == T::default())).count())
}
