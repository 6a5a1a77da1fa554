//! ESRI shapefiles: polygons and lines on a map, with a table of their classes in the `.dbf` beside and the coordinate
//! reference system in the `.prj`.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};
use shapefile::dbase::FieldValue;
use shapefile::{Reader, Shape as Stored};

use super::map::{class_of, epsg_of_wkt, no_class};
use super::{AnnotatedImage, Annotations, Format, Geometry, Point, Shape, Unit};
use crate::base::{Error, Result};
use crate::image::ReferenceSystem;

/// Pixels that a line is wide.
const LINE_WIDTH: f64 = 1.0;

pub(super) fn parse(path: &Path) -> Result<Annotations> {
    let failed = |e: shapefile::Error| {
        Error::content(path, format!("cannot be read as a shapefile, of .shp, .shx and .dbf: {e}"))
    };
    let mut reader = Reader::from_path(path).map_err(failed)?;
    let mut shapes = Vec::new();
    for (i, record) in reader.iter_shapes_and_records().enumerate() {
        let (stored, record) = record.map_err(failed)?;
        let properties: Map<String, Value> =
            record.into_iter().filter_map(|(name, value)| Some((name, json_value(value)?))).collect();
        let fault = |reason: String| Error::content(path, format!("record {}: {reason}", i + 1));
        let geometries = geometries(&stored).map_err(fault)?;
        if geometries.is_empty() {
            continue;
        }
        let class = class_of(&properties).ok_or_else(|| fault(no_class()))?;
        shapes.extend(geometries.into_iter().map(|geometry| Shape { class: class.clone(), geometry }));
    }
    let reference =
        fs::read_to_string(path.with_extension("prj")).map_or(ReferenceSystem::Unknown, |text| epsg_of_wkt(&text));
    let images = vec![AnnotatedImage { name: String::new(), size: None, shapes }];
    Ok(Annotations::new(path, (Format::Shapefile, Unit::Map(reference)), [], images))
}

fn json_value(value: FieldValue) -> Option<Value> {
    match value {
        FieldValue::Character(text) => Some(text?.into()),
        FieldValue::Integer(number) => Some(number.into()),
        FieldValue::Numeric(number) => {
            let number = number?;
            Some(if number.fract() == 0.0 { (number as i64).into() } else { number.into() })
        }
        _ => None,
    }
}

fn geometries(stored: &Stored) -> Result<Vec<Geometry>, String> {
    /// The rings of all polygons of a record together: with the even-odd rule, holes are holes.
    macro_rules! polygon {
        ($polygon:expr) => {
            vec![Geometry::Polygon($polygon.rings().iter().map(|ring| points(ring.points(), |p| [p.x, p.y])).collect())]
        };
    }
    macro_rules! lines {
        ($line:expr) => {
            $line
                .parts()
                .iter()
                .map(|part| Geometry::Line { points: points(part, |p| [p.x, p.y]), width: LINE_WIDTH })
                .collect()
        };
    }
    Ok(match stored {
        Stored::NullShape => Vec::new(),
        Stored::Polygon(polygon) => polygon!(polygon),
        Stored::PolygonM(polygon) => polygon!(polygon),
        Stored::PolygonZ(polygon) => polygon!(polygon),
        Stored::Polyline(line) => lines!(line),
        Stored::PolylineM(line) => lines!(line),
        Stored::PolylineZ(line) => lines!(line),
        other => return Err(format!("a {}; draw polygons or lines", other.shapetype())),
    })
}

fn points<P>(stored: &[P], point: impl Fn(&P) -> Point) -> Vec<Point> {
    stored.iter().map(point).collect()
}
