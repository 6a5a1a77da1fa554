//! Class regions of a label map as polygons, in GeoJSON.

mod corners;
mod grid;
mod obstacles;
mod outlines;
mod projection;
mod regions;
mod simplify;
mod trace;
mod write;

#[cfg(test)]
mod tests;

use crate::base::named_enum::named_enum;

pub use grid::Grid;
pub(super) use outlines::{Outline, outlines};
pub use write::PolygonWriter;

/// Which polygons are written, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PolygonOptions {
    /// Area of the smallest region that is written, in square map units of the image; pixels of an image without
    /// coordinates.
    pub min_area: f64,
    /// How far an outline may be from that of the pixels, in pixels; if left out, it is exactly that.
    pub simplify: Option<f64>,
    /// What its coordinates are.
    pub crs: GeojsonCrs,
}

/// Coordinates of a GeoJSON file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GeojsonCrs {
    /// Those of the image, with the name of their coordinate reference system.
    #[default]
    Scene,
    /// Longitude and latitude on WGS 84.
    Wgs84,
}

named_enum!(GeojsonCrs, "coordinate reference system", "scene" => Scene, "wgs84" => Wgs84);
