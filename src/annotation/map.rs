//! Shapes in the coordinates of a map, over images with a place on it.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Point, Shape};
use crate::base::{Error, Result, Size};
use crate::image::{Georeference, ReferenceSystem};

/// Properties that name the class of a feature, the first that there is; otherwise its only text does.
const CLASS: [&str; 6] = ["class", "label", "category", "class_name", "name", "type"];

/// The shapes of a file as they lie in an image, in pixels.
pub(super) fn in_pixels(
    (file, reference): (&Path, ReferenceSystem),
    shapes: &[Shape],
    (image, size): (&Path, Size),
) -> Result<Vec<Shape>> {
    let georeference = Georeference::of(image);
    let transform = georeference.as_ref().and_then(|place| place.transform(size)).ok_or_else(|| {
        let reason = "do not go together: the first holds shapes in map coordinates, and the second is no GeoTIFF with a \
                      place on the map; give a GeoTIFF, or label maps";
        Error::pair(file, image, reason)
    })?;
    let found = georeference.map_or(ReferenceSystem::Unknown, |place| place.reference_system());
    if let (ReferenceSystem::Epsg(shapes), ReferenceSystem::Epsg(image_epsg)) = (reference, found)
        && shapes != image_epsg
    {
        let reason = format!(
            "have different coordinate reference systems, EPSG:{shapes} and EPSG:{image_epsg}; convert the first with \
             `ogr2ogr -t_srs EPSG:{image_epsg} converted.geojson {}`",
            file.display()
        );
        return Err(Error::pair(file, image, reason));
    }
    let pixel = inverse(transform);
    let moved: Vec<Shape> = shapes.iter().map(|shape| shape.moved(&pixel)).collect();
    let is_inside = |[x, y]: &Point| (0.0..=size.width as f64).contains(x) && (0.0..=size.height as f64).contains(y);
    let is_sure = matches!((reference, found), (ReferenceSystem::Epsg(_), ReferenceSystem::Epsg(_)));
    if !is_sure && !moved.is_empty() && !moved.iter().any(|shape| shape.geometry.points().any(is_inside)) {
        let reason = "do not go together: no shape has a corner in the image; are their coordinate reference systems the \
                      same? `gdalinfo` and `ogrinfo -al -so` show them";
        return Err(Error::pair(file, image, reason));
    }
    Ok(moved)
}

/// From coordinates to pixels.
fn inverse([x, a, b, y, c, d]: [f64; 6]) -> impl Fn(Point) -> Point {
    let determinant = a * d - b * c;
    let rows = [[d / determinant, -b / determinant], [-c / determinant, a / determinant]];
    move |point: Point| {
        let (dx, dy) = (point[0] - x, point[1] - y);
        rows.map(|[right, down]| right * dx + down * dy)
    }
}

/// The class that the properties of a feature name.
pub(super) fn class_of(properties: &Map<String, Value>) -> Option<String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let usual = |usual: &str| properties.iter().find(|(key, _)| key.eq_ignore_ascii_case(usual));
    let named = CLASS.iter().find_map(|name| text(usual(name)?.1));
    named.or_else(|| {
        let mut texts = properties.values().filter(|value| value.is_string()).filter_map(text);
        texts.next().filter(|_| texts.next().is_none())
    })
}

/// What to say where a feature has no class.
pub(super) fn no_class() -> String {
    format!("names no class; give it one of the properties {}", CLASS.join(", "))
}

/// A number in the EPSG register from the name of a coordinate reference system, as of a `.prj` file.
pub(super) fn epsg_of_wkt(text: &str) -> ReferenceSystem {
    let quoted = |text: &str| text.trim_start_matches([' ', '"', ',']).split('"').next().map(str::to_owned);
    // The authority of the whole is the last element; any before it is that of a part, such as the unit.
    let number = |at: &str| {
        let (number, rest) = text.rsplit_once(at)?.1.split_once(']')?;
        let number = number.split(['"', ',']).map(str::trim).find(|part| !part.is_empty())?;
        number.parse::<u16>().ok().filter(|_| rest.trim() == "]")
    };
    if let Some(number) = number("AUTHORITY[\"EPSG\",").or_else(|| number("ID[\"EPSG\",")) {
        return ReferenceSystem::Epsg(number);
    }
    let name = text.split_once('[').and_then(|(_, rest)| quoted(rest)).unwrap_or_default();
    let zone = |prefix: &str| {
        let rest = name.strip_prefix(prefix)?;
        let (zone, is_south) =
            rest.strip_suffix('N').map(|zone| (zone, false)).or(rest.strip_suffix('S').map(|zone| (zone, true)))?;
        let zone: u16 = zone.parse().ok().filter(|zone| (1..=60).contains(zone))?;
        Some((zone, is_south))
    };
    let known = match name.as_str() {
        "GCS_WGS_1984" | "WGS 84" => Some(4326),
        "WGS_1984_Web_Mercator_Auxiliary_Sphere" => Some(3857),
        _ => zone("WGS_1984_UTM_Zone_")
            .map(|(zone, is_south)| if is_south { 32700 + zone } else { 32600 + zone })
            .or_else(|| zone("ETRS_1989_UTM_Zone_").map(|(zone, _)| 25800 + zone)),
    };
    known.map_or(ReferenceSystem::Unknown, ReferenceSystem::Epsg)
}
