//! Formats of label maps.

use std::path::Path;
use std::str::FromStr;

use crate::base::named_enum::by_name;
use crate::base::{Error, Result};
use crate::image::is_geotiff;

/// Endings of label maps, of the names of the classes beside a TIFF, and of polygons.
pub(super) const NPY: &str = ".npy";
pub(super) const TIFF: &str = ".tif";
pub(super) const NAMES: &str = ".tif.aux.xml";
pub(super) const PNG: &str = ".png";
pub(super) const GEOJSON: &str = ".geojson";

/// Formats in which label maps are written, at least one. As text: some of `npy`, `tiff`, `png` and `geojson` with commas
/// between them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Formats {
    /// `<stem>.npy`.
    pub npy: bool,
    /// `<stem>.tif`, a GeoTIFF, and `<stem>.tif.aux.xml` with the names of its classes.
    pub tiff: bool,
    /// `<stem>.png`: the label values, 8- or 16-bit grey.
    pub png: bool,
    /// `<stem>.geojson`: the regions of each class as polygons.
    pub geojson: bool,
}

impl Formats {
    /// Formats of the label map of an image: an array, and of a GeoTIFF also a GeoTIFF. Reads the beginning of the file.
    pub(super) fn usual(input: &Path) -> Self {
        Self { npy: true, tiff: is_geotiff(input), ..Self::default() }
    }

    /// Whether a file is written that can be scored, which polygons cannot.
    pub fn has_label_map(self) -> bool {
        self.npy || self.tiff || self.png
    }

    /// Endings of the files, the label map first that is listed and scored.
    pub(super) fn endings(self) -> impl Iterator<Item = &'static str> {
        let all = [(self.npy, NPY), (self.tiff, TIFF), (self.tiff, NAMES), (self.png, PNG), (self.geojson, GEOJSON)];
        all.into_iter().filter(|(wanted, _)| *wanted).map(|(_, ending)| ending)
    }
}

impl FromStr for Formats {
    type Err = Error;

    fn from_str(list: &str) -> Result<Self> {
        let table = [("npy", NPY), ("tiff", TIFF), ("tif", TIFF), ("png", PNG), ("geojson", GEOJSON)];
        let mut formats = Self::default();
        for name in list.split(',') {
            match by_name("format", name, &table)? {
                NPY => formats.npy = true,
                TIFF => formats.tiff = true,
                PNG => formats.png = true,
                _ => formats.geojson = true,
            }
        }
        Ok(formats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_lists_in_any_order() {
        for (text, endings) in [
            ("npy", &[NPY][..]),
            ("tiff", &[TIFF, NAMES]),
            ("TIF", &[TIFF, NAMES]),
            ("tiff,tiff", &[TIFF, NAMES]),
            ("npy,tiff", &[NPY, TIFF, NAMES]),
            ("tiff, npy", &[NPY, TIFF, NAMES]),
            ("geojson,png", &[PNG, GEOJSON]),
            ("geojson,png,npy,tiff", &[NPY, TIFF, NAMES, PNG, GEOJSON]),
        ] {
            let formats: Formats = text.parse().unwrap();
            assert_eq!(formats.endings().collect::<Vec<_>>(), endings, "{text}");
            assert_eq!(formats.has_label_map(), endings != [GEOJSON]);
        }
        assert_refused!("npy,jpeg".parse::<Formats>(), "unknown format 'jpeg'; choose npy, tiff, png or geojson");
        assert!("".parse::<Formats>().is_err() && "npy,".parse::<Formats>().is_err());
    }
}
