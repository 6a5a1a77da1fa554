//! Features on disk, so that another training on the same pictures need not compute them again.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, View};
use sha2::{Digest, Sha256};

use super::layout::{Layout, Window};
use super::sampler::Map;
use super::{Hypercolumns, Picture, WindowFeatures};
use crate::error::{Error, Result};
use crate::files::{create_folder, read_bytes, write_bytes_unsynced};

/// A folder with the features of some pictures: a folder for each picture and kind of features, a file for each window.
#[derive(Debug, Clone)]
pub struct FeatureCache {
    root: PathBuf,
}

/// The stored features of one picture.
#[derive(Debug)]
pub struct StoredFeatures {
    folder: PathBuf,
}

impl FeatureCache {
    /// Makes the folder, if it is not there.
    pub fn open(root: &Path) -> Result<Self> {
        create_folder(root)?;
        Ok(Self { root: root.into() })
    }

    /// The place of a picture's features: by its content, not its name, and by what else they depend on.
    pub fn picture(&self, path: &Path, hypercolumns: &Hypercolumns) -> Result<StoredFeatures> {
        let mut hash = Sha256::new();
        hash.update(hypercolumns.fingerprint);
        hash.update(read_bytes(path)?);
        let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let folder = self.root.join(format!("{stem}-{hash}"));
        create_folder(&folder)?;
        Ok(StoredFeatures { folder })
    }
}

impl StoredFeatures {
    fn file(&self, window: &Window) -> PathBuf {
        let Window { rows, columns } = window;
        self.folder.join(format!("{}-{}-{}x{}.safetensors", rows.start, columns.start, rows.len(), columns.len()))
    }

    /// The features of a window as they are stored, or computed and then stored. What is damaged is computed anew.
    pub fn see(
        &self,
        hypercolumns: &Hypercolumns,
        picture: &Picture<'_>,
        layout: &Layout,
        window: &Window,
    ) -> Result<WindowFeatures> {
        let path = self.file(window);
        if let Some(maps) = fs::read(&path).ok().and_then(|bytes| stored(&bytes, hypercolumns, layout, window)) {
            return Ok(WindowFeatures::new(layout, window, maps));
        }
        let features = hypercolumns.see(picture, layout, window)?;
        let named = features.maps().enumerate().map(|(i, map)| (i.to_string(), map));
        let bytes = safetensors::serialize(named, None).map_err(|e| Error::content(&path, e))?;
        write_bytes_unsynced(&path, &bytes)?;
        Ok(features)
    }
}

/// The maps in a file, if they are what this window needs.
fn stored(bytes: &[u8], hypercolumns: &Hypercolumns, layout: &Layout, window: &Window) -> Option<Vec<Map>> {
    let file = SafeTensors::deserialize(bytes).ok()?;
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
        // A file that was written in part before a power failure may hold zeros only, or rubbish.
        if !values.iter().all(|value| value.is_finite()) {
            return None;
        }
        maps.push(Map { values, shape, corner: layout.corner(tap, &input) });
    }
    (file.len() == maps.len()).then_some(maps)
}

impl View for &Map {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        4 * self.values.len()
    }
}
