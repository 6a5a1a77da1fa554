//! Features on disk, so that another training on the same images need not compute them again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, View};
use sha2::{Digest, Sha256};

use super::Hypercolumns;
use super::layout::{Layout, Window};
use super::prepared_image::PreparedImage;
use super::sampler::{Map, WindowFeatures};
use crate::base::files::{create_folder, read_bytes, write_bytes_unsynced};
use crate::base::{Error, Result};
use crate::image::{Image, Samples};

/// Stored features are computed anew when this changes.
const FORMAT: &[u8] = b"segtool features 3";
/// The entry of a file that tells whether it is whole.
const CHECK: &str = "crc32c";

/// A folder with the features of some images: in it a folder for each image and kind of features, with a file for each
/// window.
#[derive(Debug, Clone)]
pub struct FeatureCache {
    root: PathBuf,
}

/// The stored features of one image.
#[derive(Debug)]
pub struct StoredFeatures {
    folder: PathBuf,
}

impl FeatureCache {
    /// Makes the folder, if it is not there.
    pub fn open(root: &Path) -> Result<Self> {
        create_folder(root).map_err(unwritable)?;
        Ok(Self { root: root.into() })
    }

    /// The place of an image's features: by the samples that they are computed from, not its name, and by all that they
    /// depend on besides. Which bands were chosen and how the image was turned is in its samples.
    pub fn image(&self, hypercolumns: &Hypercolumns, image: &PreparedImage<'_>) -> Result<StoredFeatures> {
        let mut hash = Sha256::new();
        hash.update(FORMAT);
        hash.update(hypercolumns.fingerprint);
        hash.update(image.normalisation());
        add_image(&mut hash, image.raster());
        let hash: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let folder = self.root.join(hash);
        create_folder(&folder).map_err(unwritable)?;
        Ok(StoredFeatures { folder })
    }
}

/// Adds an image to what is hashed.
fn add_image(hash: &mut Sha256, image: &Image) {
    hash.update(format!("{} {} {:?}", image.size, image.bands, image.sample_type));
    match &image.samples {
        Samples::U8(samples) => hash.update(samples),
        Samples::U16(samples) => add(hash, samples, u16::to_le_bytes),
        Samples::F32(samples) => add(hash, samples, f32::to_le_bytes),
    }
    if let Some(nodata) = &image.nodata {
        add(hash, nodata, |nodata| [u8::from(nodata)]);
    }
}

fn add<T: Copy, const N: usize>(hash: &mut Sha256, values: &[T], bytes: impl Fn(T) -> [u8; N]) {
    for part in values.chunks(1 << 16) {
        hash.update(part.iter().flat_map(|value| bytes(*value)).collect::<Vec<u8>>());
    }
}

impl Hypercolumns {
    /// The feature maps of a window, read from the store if there is one and it has them, otherwise computed.
    pub fn recall(
        &self,
        stored: Option<&StoredFeatures>,
        image: &PreparedImage<'_>,
        layout: &Layout,
        window: &Window,
    ) -> Result<WindowFeatures> {
        stored.map_or_else(|| self.see(image, layout, window), |stored| stored.see(self, image, layout, window))
    }
}

impl StoredFeatures {
    fn file(&self, window: &Window) -> PathBuf {
        let Window { rows, columns } = window;
        self.folder.join(format!("{}-{}-{}x{}.safetensors", rows.start, columns.start, rows.len(), columns.len()))
    }

    /// The features of a window as they are stored, or computed and then stored. What is damaged is computed anew.
    fn see(
        &self,
        hypercolumns: &Hypercolumns,
        image: &PreparedImage<'_>,
        layout: &Layout,
        window: &Window,
    ) -> Result<WindowFeatures> {
        let path = self.file(window);
        if let Some(maps) = read_bytes(&path).ok().and_then(|bytes| stored(&bytes, hypercolumns, layout, window)) {
            return Ok(WindowFeatures::new(layout, window, maps));
        }
        let features = hypercolumns.see(image, layout, window)?;
        let named = features.maps().enumerate().map(|(i, map)| (i.to_string(), map));
        let check = HashMap::from([(CHECK.to_owned(), checksum(features.maps()).to_string())]);
        let bytes = safetensors::serialize(named, Some(check)).map_err(|e| Error::content(&path, e))?;
        write_bytes_unsynced(&path, &bytes).map_err(unwritable)?;
        Ok(features)
    }
}

/// A failed write, with the way out that there is here.
fn unwritable(error: Error) -> Error {
    match error {
        Error::Write { path, cause } => Error::content(
            path,
            format!("features cannot be stored: {cause}; name another folder with `cache_features`, or leave it out"),
        ),
        other => other,
    }
}

/// The maps in a file, if they are what this window needs.
fn stored(bytes: &[u8], hypercolumns: &Hypercolumns, layout: &Layout, window: &Window) -> Option<Vec<Map>> {
    let file = SafeTensors::deserialize(bytes).ok()?;
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let check = header.metadata().as_ref()?.get(CHECK)?.parse::<u32>().ok()?;
    let parts = hypercolumns.config.parts(hypercolumns.bands).ok()?;
    let mut maps = Vec::with_capacity(parts.len());
    for (number, part) in parts.iter().enumerate() {
        let view = file.tensor(&number.to_string()).ok()?;
        let (scale, tap) = (number / layout.taps(), number % layout.taps());
        let input = layout.input(scale, window);
        let [rows, columns] = layout.map_size(tap, &input);
        let shape = [part.channels, rows, columns];
        if view.shape() != shape || view.dtype() != Dtype::F32 {
            return None;
        }
        let values: Vec<f32> = view.data().as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
        maps.push(Map { values, shape, corner: layout.corner(tap, &input) });
    }
    // A power failure may leave any part of a file unwritten.
    (file.len() == maps.len() && checksum(maps.iter()) == check).then_some(maps)
}

fn checksum<'a>(maps: impl Iterator<Item = &'a Map>) -> u32 {
    maps.fold(0, |sum, map| crc32c::crc32c_append(sum, &map.bytes()))
}

impl Map {
    fn bytes(&self) -> Vec<u8> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }
}

impl View for &Map {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.bytes())
    }

    fn data_len(&self) -> usize {
        4 * self.values.len()
    }
}
