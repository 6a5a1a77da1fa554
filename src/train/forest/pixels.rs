//! Labelled pixels and their features.

use std::sync::atomic::{AtomicBool, Ordering};

use super::labels::{LabelledImage, Loaded};
use super::samples::{Samples, chosen_for};
use crate::base::event::{Sink, Stretch, Task};
use crate::base::{Error, Result, Size};
use crate::data::{Dataset, Fingerprint, KnownImage, NO_REGION, Region, Regions, load_raster};
use crate::pixels::hypercolumn::{FeatureCache, Hypercolumns, PreparedImage, Window};
use crate::predict::forest::budget::Budget;

/// A labelled pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pixel {
    row: u32,
    column: u32,
    class: u16,
    region: u32,
}

/// The labelled pixels of some images, before anything is known of them.
#[derive(Debug)]
pub(super) struct Labelled<'a> {
    images: Vec<(&'a LabelledImage, Size, Vec<Pixel>)>,
    /// The connected regions that they make, of all images.
    pub(super) regions: Vec<Region>,
    /// Labelled pixels that there are, of which these may be a part.
    pub(super) total: usize,
    /// What the images show.
    contents: Vec<Fingerprint>,
}

impl<'a> Labelled<'a> {
    /// Reads the labels. All faults are found before any is told.
    pub(super) fn read(images: &'a [LabelledImage], dataset: &Dataset) -> Result<Self> {
        let (mut found, mut regions, mut faults) = (Vec::<(_, _, Vec<Pixel>)>::new(), Vec::new(), Vec::new());
        let mut contents = Vec::new();
        for image in images {
            match image.load(dataset) {
                Ok(Loaded { image: decoded, labels, content }) => {
                    let size = decoded.size;
                    contents.push(content);
                    let parts = Regions::of(&labels);
                    let first = regions.len() as u32;
                    let pixel = |(i, (&class, &region)): (usize, (&u16, &u32))| {
                        let (row, column) = ((i / size.width) as u32, (i % size.width) as u32);
                        (region != NO_REGION).then(|| Pixel { row, column, class, region: first + region })
                    };
                    let pixels = labels.classes.iter().zip(&parts.numbers).enumerate().filter_map(pixel).collect();
                    found.push((image, size, pixels));
                    regions.extend(parts.regions);
                }
                Err(error) => faults.push(error.to_string()),
            }
        }
        if !faults.is_empty() {
            return Err(Error::faults(faults, None));
        }
        let total = found.iter().map(|(_, _, pixels)| pixels.len()).sum();
        Ok(Self { images: found, regions, total, contents })
    }

    /// The images with what they show.
    pub(super) fn known(&self) -> Vec<KnownImage<'a>> {
        let images = self.images.iter().map(|(image, _, _)| image.image.as_path());
        images.zip(self.contents.iter().copied()).collect()
    }

    /// Labelled pixels of a class.
    pub(super) fn pixels_of(&self, class: usize) -> usize {
        self.regions.iter().filter(|region| usize::from(region.class) == class).map(|region| region.pixels).sum()
    }

    /// Classes of the pixels, in order.
    pub(super) fn classes(&self) -> Vec<u16> {
        self.pixels().map(|pixel| pixel.class).collect()
    }

    fn pixels(&self) -> impl Iterator<Item = &Pixel> {
        self.images.iter().flat_map(|(_, _, pixels)| pixels)
    }

    /// Leaves about this many pixels, a random part of every class; whether any had to go.
    pub(super) fn thin_out(&mut self, most: usize, seed: u64) -> Result<bool> {
        let Some(chosen) = chosen_for(&self.classes(), most, seed)? else { return Ok(false) };
        let mut kept = chosen.into_iter();
        for (_, _, pixels) in &mut self.images {
            pixels.retain(|_| kept.next().unwrap_or(false));
        }
        Ok(true)
    }
}

/// What features of pixels are computed with.
pub(super) struct Seeing<'a> {
    pub(super) hypercolumns: &'a Hypercolumns,
    pub(super) dataset: &'a Dataset,
    pub(super) cache: Option<&'a FeatureCache>,
    pub(super) budget: &'a Budget,
    pub(super) stop: &'a AtomicBool,
    pub(super) sink: &'a dyn Sink,
}

impl Seeing<'_> {
    /// The features of labelled pixels; `None` if it was stopped. Windows without a label are not computed.
    pub(super) fn samples(&self, labelled: &Labelled<'_>) -> Result<Option<Samples>> {
        let features = self.hypercolumns.features();
        let count = labelled.pixels().count();
        let mut planes = vec![0.0; features * count];
        let (mut work, mut first) = (Vec::new(), 0);
        for (image, size, pixels) in &labelled.images {
            let windows = self.budget.windows(&image.image, *size, (features * count * 8) as u64)?;
            work.push((image, within(pixels, first, windows)));
            first += pixels.len();
        }
        let total = work.iter().map(|(_, windows)| windows.len()).sum();
        let stretch = Stretch::begin(self.sink, Task::Features, total);
        for (labelled, windows) in work.into_iter().filter(|(_, windows)| !windows.is_empty()) {
            let raster = load_raster(&labelled.image, self.dataset)?;
            let layout = self.hypercolumns.layout(raster.size);
            let image = PreparedImage::new(&labelled.image, &raster, self.dataset)?;
            let stored = self.cache.map(|cache| cache.image(self.hypercolumns, &image)).transpose()?;
            for WindowPixels { window, places } in windows {
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                let seen = self.hypercolumns.recall(stored.as_ref(), &image, &layout, &window)?;
                seen.pick(&places, &mut planes, count);
                stretch.advance();
            }
        }
        let (classes, regions) = labelled.pixels().map(|pixel| (pixel.class, pixel.region)).unzip();
        Ok(Some(Samples::new(planes, features, classes, regions)))
    }
}

/// A window with labelled pixels: rows and columns of these, and their places among all.
struct WindowPixels {
    window: Window,
    places: Vec<([usize; 2], usize)>,
}

/// The windows that have labelled pixels, the first of which is at `first` among all.
fn within(pixels: &[Pixel], first: usize, windows: Vec<Window>) -> Vec<WindowPixels> {
    let filled = |window: Window| {
        let place = |(i, pixel): (usize, &Pixel)| {
            let [row, column] = [pixel.row as usize, pixel.column as usize];
            let inside = window.rows.contains(&row) && window.columns.contains(&column);
            inside.then_some(([row, column], first + i))
        };
        let places: Vec<_> = pixels.iter().enumerate().filter_map(place).collect();
        (!places.is_empty()).then_some(WindowPixels { window, places })
    };
    windows.into_iter().filter_map(filled).collect()
}
