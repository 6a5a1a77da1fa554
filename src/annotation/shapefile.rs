//! ESRI shapefiles: polygons and lines on a map, with a table of their classes in the `.dbf` beside and the coordinate
//! reference system in the `.prj`.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use shapefile::dbase::{self, FieldValue};
use shapefile::record::polygon::GenericPolygon;
use shapefile::record::polyline::GenericPolyline;
use shapefile::record::traits::HasXY;
use shapefile::{Reader, Shape as Stored, ShapeReader};

use super::map::{class_of, epsg_of_wkt, no_class};
use super::{AnnotatedImage, Annotations, Format, Geometry, Point, Shape, Unit};
use crate::base::files::read_bytes;
use crate::base::{Error, Result};
use crate::image::ReferenceSystem;

/// Pixels that a line is wide.
const LINE_WIDTH: f64 = 1.0;

pub(super) fn parse(path: &Path) -> Result<Annotations> {
    let failed = |e: shapefile::Error| {
        Error::content(path, format!("cannot be read as a shapefile, of .shp, .shx and .dbf: {e}"))
    };
    check_counts(&read_bytes(path)?).map_err(|reason| Error::content(path, reason))?;
    let mut reader = reader(path).map_err(failed)?;
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
    let text = beside(path, "prj").and_then(|file| fs::read_to_string(file).ok());
    let reference = text.map_or(ReferenceSystem::Unknown, |text| epsg_of_wkt(&text));
    let images = vec![AnnotatedImage { name: String::new(), size: None, shapes }];
    Ok(Annotations::new(path, (Format::Shapefile, Unit::Map(reference)), [], images))
}

/// The file of the same name with another ending; old programs write all in capitals.
fn beside(path: &Path, ending: &str) -> Option<PathBuf> {
    [ending, &ending.to_uppercase()].map(|ending| path.with_extension(ending)).into_iter().find(|file| file.is_file())
}

/// The files that belong to a `.shp`.
pub(super) fn files_beside(path: &Path) -> Vec<PathBuf> {
    ["shx", "dbf", "prj"].into_iter().filter_map(|ending| beside(path, ending)).collect()
}

fn reader(path: &Path) -> Result<Reader<BufReader<File>, BufReader<File>>, shapefile::Error> {
    let open = |file: &Path| File::open(file).map(BufReader::new);
    let shapes = match beside(path, "shx") {
        Some(index) => ShapeReader::with_shx(open(path)?, open(&index)?)?,
        None => ShapeReader::new(open(path)?)?,
    };
    let table = beside(path, "dbf").ok_or(shapefile::Error::MissingDbf)?;
    Ok(Reader::new(shapes, dbase::Reader::new(open(&table)?)?))
}

/// Refuses records that claim more parts and points than they have room for: memory would be taken for them.
fn check_counts(bytes: &[u8]) -> Result<(), String> {
    const HEAD: usize = 100;
    const RECORD_HEAD: usize = 8;
    let word = |at: usize| bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    let big = |at: usize| word(at).map(i32::from_be_bytes).and_then(|number| usize::try_from(number).ok());
    let count = |at: usize| word(at).map(i32::from_le_bytes).and_then(|number| usize::try_from(number).ok());
    let damaged = |number: usize| format!("record {number} is damaged: it claims more than the file holds");
    let (mut at, mut number) = (HEAD, 1);
    while at + RECORD_HEAD < bytes.len() {
        let start = at + RECORD_HEAD;
        // In words of two bytes.
        let length = big(at + 4).and_then(|words| words.checked_mul(2)).ok_or_else(|| damaged(number))?;
        let end = start.checked_add(length).filter(|end| *end <= bytes.len()).ok_or_else(|| damaged(number))?;
        let needed = match count(start) {
            // Points alone, lines and polygons in two and more dimensions, patches.
            Some(8 | 18 | 28) => count(start + 36).and_then(|points| points.checked_mul(16)),
            Some(3 | 5 | 13 | 15 | 23 | 25 | 31) => {
                let (parts, points) = count(start + 36).zip(count(start + 40)).ok_or_else(|| damaged(number))?;
                let room = parts.checked_mul(4).zip(points.checked_mul(16)).and_then(|(a, b)| a.checked_add(b));
                // Where each part begins, among the points.
                let begins = || (0..parts).map(|part| count(start + 44 + 4 * part).filter(|first| *first <= points));
                room.filter(|room| {
                    *room > end - start || (begins().all(|first| first.is_some()) && begins().is_sorted())
                })
            }
            Some(_) => Some(0),
            None => None,
        };
        if needed.is_none_or(|needed| needed > end - start) {
            return Err(damaged(number));
        }
        (at, number) = (end, number + 1);
    }
    Ok(())
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
    Ok(match stored {
        Stored::NullShape => Vec::new(),
        Stored::Polygon(stored) => vec![polygon(stored)],
        Stored::PolygonM(stored) => vec![polygon(stored)],
        Stored::PolygonZ(stored) => vec![polygon(stored)],
        Stored::Polyline(stored) => lines(stored),
        Stored::PolylineM(stored) => lines(stored),
        Stored::PolylineZ(stored) => lines(stored),
        other => return Err(format!("a {}; draw polygons or lines", other.shapetype())),
    })
}

/// The rings of all polygons of a record together: with the even-odd rule, holes are holes.
fn polygon<P: HasXY>(stored: &GenericPolygon<P>) -> Geometry {
    Geometry::Polygon(stored.rings().iter().map(|ring| points(ring.points())).collect())
}

fn lines<P: HasXY>(stored: &GenericPolyline<P>) -> Vec<Geometry> {
    stored.parts().iter().map(|part| Geometry::Line { points: points(part), width: LINE_WIDTH }).collect()
}

fn points<P: HasXY>(stored: &[P]) -> Vec<Point> {
    stored.iter().map(|point| [point.x(), point.y()]).collect()
}
