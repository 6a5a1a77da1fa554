//! From the pixels of an image to the coordinates of its polygons.

use std::path::Path;

use geojson::Position;
use serde_json::{Value, json};

use super::GeojsonCrs;
use super::corners::Vertex;
use super::projection::Projection;
use crate::base::{Error, Result, Size};
use crate::image::{Georeference, ReferenceSystem, note_file};

/// Longest edge of a polygon that is converted as a straight line, in pixels: on a map such an edge is curved, by less than a
/// thousandth of a pixel where that is 10 m wide.
const LONGEST_EDGE: f64 = 64.0;
/// Digits of degrees after the point: a tenth of a millimetre.
const DEGREES: f64 = 1e9;

/// Where the pixels of an image lie.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// From pixels to coordinates of the image, in GDAL's order.
    transform: [f64; 6],
    system: ReferenceSystem,
    /// How these become those of the file, if they do not stay as they are.
    projection: Option<Projection>,
}

impl Grid {
    /// That of an image of this size, as it says or as the world file beside it does; without either, coordinates are pixels,
    /// counted from the top left.
    ///
    /// # Errors
    ///
    /// If longitude and latitude are asked for and take more than a formula.
    pub fn of(image: &Path, size: Size, crs: GeojsonCrs) -> Result<Self> {
        let place = Georeference::of(image);
        let transform = place.as_ref().and_then(|place| place.transform(size));
        let placed = place.as_ref().filter(|_| transform.is_some());
        let system = placed.map_or(ReferenceSystem::Unknown, Georeference::reference_system);
        let pixels = [0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let grid = Self { transform: transform.unwrap_or(pixels), system, projection: None };
        match crs {
            GeojsonCrs::Wgs84 if transform.is_none() => Err(no_degrees(image, "has no coordinates for its pixels")),
            GeojsonCrs::Wgs84 => grid.in_degrees(image),
            GeojsonCrs::Scene => {
                if place.is_some() && transform.is_none() {
                    note_file(image, "has no transform from pixels to coordinates, so its polygons are in pixels");
                } else if system == ReferenceSystem::UserDefined {
                    note_file(
                        image,
                        "has a coordinate reference system without an EPSG number, which GeoJSON cannot name; its polygons \
                         are in these coordinates",
                    );
                }
                Ok(grid)
            }
        }
    }

    fn in_degrees(self, image: &Path) -> Result<Self> {
        let name = match self.system {
            ReferenceSystem::Epsg(number) => match Projection::of_epsg(number) {
                None => format!("EPSG:{number}"),
                projection => return Ok(Self { projection, ..self }),
            },
            ReferenceSystem::UserDefined => "without an EPSG number".to_owned(),
            ReferenceSystem::Unknown => return Err(no_degrees(image, "does not name its coordinate reference system")),
        };
        let stem = image.file_stem().unwrap_or_default().to_string_lossy();
        let reason = format!(
            "has a coordinate reference system ({name}) that `geojson_crs` wgs84 does not convert; it converts \
             EPSG:4326, 3857, 32601 to 32660 and 32701 to 32760. Leave `geojson_crs` out and convert the result: \
             ogr2ogr -t_srs EPSG:4326 \
             {stem}-wgs84.geojson {stem}.geojson"
        );
        Err(Error::content(image, reason))
    }

    /// The area of a pixel, in square map units of the image.
    pub(super) fn pixel_area(&self) -> f64 {
        self.determinant().abs()
    }

    fn determinant(&self) -> f64 {
        let [_, a, b, _, d, e] = self.transform;
        a * e - b * d
    }

    /// Whether edges are curved in the coordinates of the file.
    pub(super) fn is_curved(&self) -> bool {
        self.projection.is_some_and(|projection| projection != Projection::Degrees)
    }

    /// The `crs` member of the file; `None` where it is not needed, as longitude and latitude on WGS 84 are the rule.
    pub(in crate::tools) fn crs_member(&self) -> Option<Value> {
        match self.system {
            _ if self.projection.is_some() => None,
            ReferenceSystem::Epsg(4326) => None,
            ReferenceSystem::Epsg(number) => {
                let name = format!("urn:ogc:def:crs:EPSG::{number}");
                Some(json!({ "type": "name", "properties": { "name": name } }))
            }
            // Without the member, readers would take it for longitude and latitude.
            ReferenceSystem::UserDefined | ReferenceSystem::Unknown => Some(Value::Null),
        }
    }

    /// A closed ring in the coordinates of the file. A ring with its inside to the left on a screen has it to the left on
    /// the map, too.
    pub(in crate::tools) fn ring(&self, vertices: &[Vertex]) -> Vec<Position> {
        let after = vertices.iter().cycle().skip(1);
        let mut ring: Vec<Position> =
            vertices.iter().zip(after).flat_map(|(from, to)| self.edge(*from, *to)).map(Position::from).collect();
        ring.extend_from_within(..ring.len().min(1));
        // Coordinates that grow downwards, or only to the left, turn it around.
        if self.determinant() > 0.0 {
            ring.reverse();
        }
        ring
    }

    /// The points of an edge without its end: the same for both regions that it is an edge of.
    fn edge(&self, from: Vertex, to: Vertex) -> impl Iterator<Item = [f64; 2]> {
        let (lower, upper) = (from.min(to), from.max(to));
        let [start, end] = [lower, upper].map(|vertex| [f64::from(vertex.x), f64::from(vertex.y)]);
        let [dx, dy] = [end[0] - start[0], end[1] - start[1]];
        let pieces = if self.is_curved() { (dx.hypot(dy) / LONGEST_EDGE).ceil().max(1.0) as u32 } else { 1 };
        (0..pieces).map(move |piece| {
            let part = if from == lower { piece } else { pieces - piece };
            let share = f64::from(part) / f64::from(pieces);
            self.coordinates([start[0] + dx * share, start[1] + dy * share])
        })
    }

    fn coordinates(&self, [column, row]: [f64; 2]) -> [f64; 2] {
        let [x, a, b, y, d, e] = self.transform;
        let place = [x + a * column + b * row, y + d * column + e * row];
        match self.projection {
            None | Some(Projection::Degrees) => place,
            Some(projection) => projection.degrees(place).map(|degrees| (degrees * DEGREES).round() / DEGREES),
        }
    }
}

fn no_degrees(image: &Path, reason: &str) -> Error {
    Error::content(
        image,
        format!("{reason}, so its polygons cannot be given in longitude and latitude; leave `geojson_crs` out"),
    )
}
