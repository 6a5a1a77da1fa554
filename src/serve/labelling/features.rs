//! Features of images, window by window: computed once and kept in memory as long as there is room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::input::Input;
use super::options::LabelOptions;
use super::place::{ImageFile, Place};
use crate::base::label_map::{IGNORE, LabelMap};
use crate::base::{Error, Result, locked};
use crate::data::{Dataset, load_raster};
use crate::image::Image;
use crate::nn::device::{DeviceChoice, free_memory};
use crate::nn::model::FeatureEncoder;
use crate::pixels::hypercolumn::{
    FeatureCache, Hypercolumns, Layout, PreparedImage, StoredFeatures, Window, WindowFeatures,
};
use crate::predict::forest::budget::{Budget, Limits};
use crate::train::forest::{encoder, leave_out_unmeasured};

/// Of the memory that is free when the program begins, the part that features may take.
const SHARE: u64 = 4;
/// Bytes that they may take where nobody knows what is free.
const UNKNOWN: u64 = 1 << 30;
/// Decoded images that are kept.
const DECODED: usize = 2;
/// Bytes a pixel that a prediction takes beside the features.
const BESIDE: u64 = 16;

/// What a window is found by: indices of image and window.
type Key = (usize, usize);

/// Features of all images, as far as they were needed.
pub(super) struct FeatureStore {
    images: Vec<ImageFile>,
    /// Not yet made ready for its device; what is saved.
    pub(super) encoder: FeatureEncoder,
    hypercolumns: Hypercolumns,
    /// What images are: their bands and normalisation.
    pub(super) dataset: Dataset,
    budget: Budget,
    cache: Option<FeatureCache>,
    limit: u64,
    windows: Vec<OnceLock<Arc<Vec<Window>>>>,
    masks: Vec<OnceLock<Masks>>,
    kept: Mutex<Kept>,
    /// One window is computed at a time, on all threads.
    computing: Mutex<HashMap<usize, StoredFeatures>>,
    decoded: Mutex<Vec<(usize, Arc<Image>)>>,
    clock: AtomicU64,
}

/// Which pixels of an image are special; `None` if there are none.
pub(super) struct Masks {
    /// Those that carry no measurement: they are not learnt from.
    pub(super) unmeasured: Option<Vec<bool>>,
    /// Those that are predicted as not labelled.
    pub(super) without_data: Option<Vec<bool>>,
}

/// Features in memory.
#[derive(Default)]
struct Kept {
    /// With the time of their last use.
    windows: HashMap<Key, (Arc<WindowFeatures>, u64)>,
    bytes: u64,
}

impl FeatureStore {
    pub(super) fn new(input: &Input, place: &Place, options: &LabelOptions, device: DeviceChoice) -> Result<Self> {
        let (config, bands) = (&input.recipe.features, input.dataset.bands);
        let weights = (input.weights.as_ref(), options.seed);
        let encoder = encoder(config, bands, weights, device, &|_| ())?;
        let hypercolumns = Hypercolumns::new(config.clone(), encoder.clone(), bands, device.open()?)?;
        let cache = options.cache_features.as_deref().map(FeatureCache::open).transpose()?;
        let limits = Limits { stored: cache.is_some(), ..Limits::default() };
        let free = || free_memory(DeviceChoice::Flex).map_or(UNKNOWN, |free| free / SHARE);
        Ok(Self {
            images: place.images.clone(),
            encoder,
            hypercolumns,
            dataset: input.dataset.clone(),
            budget: Budget::new(config, bands, device, limits),
            cache,
            limit: options.memory.unwrap_or_else(free),
            windows: place.images.iter().map(|_| OnceLock::new()).collect(),
            masks: place.images.iter().map(|_| OnceLock::new()).collect(),
            kept: Mutex::default(),
            computing: Mutex::default(),
            decoded: Mutex::default(),
            clock: AtomicU64::new(0),
        })
    }

    /// Columns of an image.
    pub(super) fn width(&self, image: usize) -> usize {
        self.images[image].size.width
    }

    /// How many features a pixel has.
    pub(super) fn features(&self) -> usize {
        self.hypercolumns.features()
    }

    /// The windows of an image: those that `segtool predict` goes over it in, so that features agree to the last digit.
    pub(super) fn windows(&self, image: usize) -> Result<Arc<Vec<Window>>> {
        if let Some(windows) = self.windows[image].get() {
            return Ok(Arc::clone(windows));
        }
        let ImageFile { path, size, .. } = &self.images[image];
        let beside = BESIDE * (size.width * size.height) as u64;
        let windows = Arc::new(self.budget.windows(path, *size, beside)?);
        Ok(Arc::clone(self.windows[image].get_or_init(|| windows)))
    }

    /// A window's features if they are in memory.
    pub(super) fn kept(&self, key: Key) -> Option<Arc<WindowFeatures>> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut kept = locked(&self.kept);
        let (features, used) = kept.windows.get_mut(&key)?;
        *used = now;
        Some(Arc::clone(features))
    }

    /// A window's features, computed if they are not in memory.
    pub(super) fn window(&self, key: Key) -> Result<Arc<WindowFeatures>> {
        if let Some(features) = self.kept(key) {
            return Ok(features);
        }
        let mut stored = locked(&self.computing);
        // Another thread may have computed them meanwhile.
        if let Some(features) = self.kept(key) {
            return Ok(features);
        }
        let (image, window) = key;
        let (raster, path) = (self.decoded(image)?, &self.images[image].path);
        let prepared = PreparedImage::new(path, &raster, &self.dataset)?;
        if let (Some(cache), false) = (&self.cache, stored.contains_key(&image)) {
            stored.insert(image, cache.image(&self.hypercolumns, &prepared)?);
        }
        let layout: Layout = self.hypercolumns.layout(raster.size);
        let windows = self.windows(image)?;
        let features = self.hypercolumns.recall(stored.get(&image), &prepared, &layout, &windows[window])?;
        let features = Arc::new(features);
        self.keep(key, &features);
        Ok(features)
    }

    /// Keeps features, in the place of those that were not used for longest.
    fn keep(&self, key: Key, features: &Arc<WindowFeatures>) {
        let bytes = features.bytes() as u64;
        let mut kept = locked(&self.kept);
        while kept.bytes + bytes > self.limit {
            let oldest = kept.windows.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            let Some((gone, _)) = oldest.and_then(|oldest| kept.windows.remove(&oldest)) else { break };
            kept.bytes -= gone.bytes() as u64;
        }
        if bytes <= self.limit {
            let now = self.clock.fetch_add(1, Ordering::Relaxed);
            kept.bytes += bytes;
            kept.windows.insert(key, (Arc::clone(features), now));
        }
    }

    /// Whether a window of that many bytes more would push others out.
    pub(super) fn is_full(&self) -> bool {
        let kept = locked(&self.kept);
        let mean = kept.bytes / (kept.windows.len() as u64).max(1);
        kept.bytes + mean > self.limit
    }

    /// An image as the encoder's data set means it.
    fn decoded(&self, image: usize) -> Result<Arc<Image>> {
        if let Some((_, decoded)) = locked(&self.decoded).iter().find(|(own, _)| *own == image) {
            return Ok(Arc::clone(decoded));
        }
        let ImageFile { path, size, .. } = &self.images[image];
        let decoded = Arc::new(load_raster(path, &self.dataset)?);
        if decoded.size != *size {
            let reason = format!("was {size} when the program began and is {} now; start it again", decoded.size);
            return Err(Error::content(path, reason));
        }
        let mut all = locked(&self.decoded);
        all.truncate(DECODED - 1);
        all.insert(0, (image, Arc::clone(&decoded)));
        Ok(decoded)
    }

    /// Which pixels of an image are special.
    pub(super) fn masks(&self, image: usize) -> Result<&Masks> {
        if let Some(known) = self.masks[image].get() {
            return Ok(known);
        }
        let decoded = self.decoded(image)?;
        let mut map = LabelMap { size: decoded.size, classes: vec![0; decoded.size.width * decoded.size.height] };
        leave_out_unmeasured(&mut map, &decoded, &self.dataset);
        let unmeasured: Vec<bool> = map.classes.iter().map(|class| *class == IGNORE).collect();
        let unmeasured = unmeasured.contains(&true).then_some(unmeasured);
        let masks = Masks { unmeasured, without_data: decoded.nodata.clone() };
        Ok(self.masks[image].get_or_init(|| masks))
    }
}
