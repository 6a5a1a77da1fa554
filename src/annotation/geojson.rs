//! GeoJSON: polygons and lines on a map, each with a class among its properties.

use std::path::Path;

use geojson::{Feature, GeoJson, GeometryValue, Position};
use serde_json::Value;

use super::map::{class_of, no_class};
use super::{AnnotatedImage, Annotations, Format, Geometry, Point, Shape, Unit};
use crate::base::{Error, Result};
use crate::image::ReferenceSystem;

/// Pixels that a line is wide.
const LINE_WIDTH: f64 = 1.0;
/// WGS 84, in longitude and latitude: the system of GeoJSON (RFC 7946, section 4).
const WGS_84: u16 = 4326;

pub(super) fn parse(path: &Path, text: &str) -> Result<Annotations> {
    let fault = |reason: String| Error::content(path, reason);
    let collection = match text.parse::<GeoJson>().map_err(|e| fault(format!("is not GeoJSON: {e}")))? {
        GeoJson::FeatureCollection(collection) => collection,
        _ => return Err(fault("holds no collection of features, whose properties would name their classes".into())),
    };
    let reference = match collection.foreign_members.as_ref().and_then(|members| members.get("crs")) {
        Some(crs) => reference_system(crs),
        None => ReferenceSystem::Epsg(WGS_84),
    };
    let mut shapes = Vec::new();
    for (i, feature) in collection.features.iter().enumerate() {
        let found = shapes_of(feature).map_err(|reason| fault(format!("feature {}: {reason}", i + 1)))?;
        shapes.extend(found);
    }
    let images = vec![AnnotatedImage { name: String::new(), size: None, shapes }];
    Ok(Annotations::new(path, (Format::Geojson, Unit::Map(reference)), [], images))
}

/// The system that the member `crs` of older files names, as in `urn:ogc:def:crs:EPSG::32633`.
fn reference_system(crs: &Value) -> ReferenceSystem {
    let name = crs.pointer("/properties/name").and_then(Value::as_str).unwrap_or_default();
    if name.ends_with("CRS84") {
        return ReferenceSystem::Epsg(WGS_84);
    }
    let number = name.contains("EPSG").then(|| name.rsplit([':', '/']).next()?.parse().ok()).flatten();
    number.map_or(ReferenceSystem::Unknown, ReferenceSystem::Epsg)
}

fn shapes_of(feature: &Feature) -> Result<Vec<Shape>, String> {
    let Some(geometry) = &feature.geometry else { return Ok(Vec::new()) };
    let class = feature.properties.as_ref().and_then(class_of).ok_or_else(no_class)?;
    let mut found = Vec::new();
    add(&geometry.value, &mut found)?;
    Ok(found.into_iter().map(|geometry| Shape { class: class.clone(), geometry }).collect())
}

fn add(value: &GeometryValue, found: &mut Vec<Geometry>) -> Result<(), String> {
    let ring = |ring: &Vec<Position>| ring.iter().map(point).collect::<Result<Vec<Point>, String>>();
    let polygon =
        |rings: &[Vec<Position>]| Ok::<_, String>(Geometry::Polygon(rings.iter().map(ring).collect::<Result<_, _>>()?));
    let line = |points: &Vec<Position>| Ok::<_, String>(Geometry::Line { points: ring(points)?, width: LINE_WIDTH });
    match value {
        GeometryValue::Polygon { coordinates } => found.push(polygon(coordinates)?),
        GeometryValue::MultiPolygon { coordinates } => {
            for rings in coordinates {
                found.push(polygon(rings)?);
            }
        }
        GeometryValue::LineString { coordinates } => found.push(line(coordinates)?),
        GeometryValue::MultiLineString { coordinates } => {
            for points in coordinates {
                found.push(line(points)?);
            }
        }
        GeometryValue::GeometryCollection { geometries } => {
            for geometry in geometries {
                add(&geometry.value, found)?;
            }
        }
        GeometryValue::Point { .. } | GeometryValue::MultiPoint { .. } => {
            return Err("a point covers no pixels; draw polygons, or give a table of points with --label-csv".into());
        }
    }
    Ok(())
}

fn point(position: &Position) -> Result<Point, String> {
    match position.as_slice() {
        [x, y, ..] if x.is_finite() && y.is_finite() => Ok([*x, *y]),
        _ => Err("a position without x and y".into()),
    }
}
