//! TIFFs in memory, and those in stores: `tiff-reader` asks for parts, and all strips or tiles of some rows come together.

use std::ops::Range;
use std::path::{Path, PathBuf};

use tiff_reader::source::TiffSource;
use tiff_reader::{Ifd, TiffError};

use super::blocks::{block_size, tables};
use crate::base::Result;
use crate::base::store::{self, HeldBytes, Object};

/// An object as `tiff-reader` reads it.
pub(super) struct ObjectSource {
    pub(super) url: PathBuf,
    pub(super) object: Object,
}

impl TiffSource for ObjectSource {
    fn len(&self) -> u64 {
        self.object.len()
    }

    fn read_exact_at(&self, offset: u64, len: usize) -> Result<Vec<u8>, TiffError> {
        self.object.read_at(offset, len).map_err(|cause| TiffError::Io(cause, self.url.display().to_string()))
    }
}

/// A file in memory as `tiff-reader` reads it.
pub(super) struct HeldSource(pub(super) HeldBytes);

impl TiffSource for HeldSource {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_exact_at(&self, offset: u64, len: usize) -> Result<Vec<u8>, TiffError> {
        self.0.read_at(offset, len).map_err(|cause| TiffError::Io(cause, "a file in memory".into()))
    }

    fn as_slice(&self) -> Option<&[u8]> {
        Some(self.0.as_ref())
    }
}

/// Has the strips or tiles that hold some rows of a page sent together, if the file is in a store. Overviews are left there.
pub(super) fn fetch_ahead(path: &Path, page: &Ifd, rows: Range<usize>) -> Result<()> {
    if !store::is_url(path) {
        return Ok(());
    }
    let (offsets, counts) = tables(page).unwrap_or_default();
    let (wide, high) = block_size(page);
    let (across, high) = ((page.width() as usize).div_ceil(wide.max(1)), high.max(1));
    let plane = across * (page.height() as usize).div_ceil(high);
    let planes = if page.planar_configuration() == 2 { usize::from(page.samples_per_pixel()) } else { 1 };
    let (first, last) = (rows.start / high * across, rows.end.div_ceil(high) * across);
    let blocks = (0..planes).flat_map(|i| i * plane + first..i * plane + last);
    // Blocks that are not stored are at 0.
    let stored = blocks.filter_map(|i| Some((*offsets.get(i)?, *counts.get(i)?)));
    let wanted: Vec<(u64, u64)> = stored.filter(|(offset, count)| *offset > 0 && *count > 0).collect();
    store::fetch_ahead(path, &wanted)
}
