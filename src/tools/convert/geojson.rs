//! A GeoJSON file for an image with a place on the map.

use std::path::Path;

use geojson::{Feature, Geometry, GeometryValue, JsonObject};
use serde_json::json;

use super::region::{left_out, name_of};
use crate::base::label_map::LabelMap;
use crate::base::{Error, Result};
use crate::data::Dataset;
use crate::image::Georeference;
use crate::tools::polygons::{GeojsonCrs, Grid, Outline, outlines};

pub(super) fn file(image: &Path, map: &LabelMap, dataset: &Dataset, simplify: Option<f64>) -> Result<Vec<u8>> {
    if Georeference::of(image).and_then(|place| place.transform(map.size)).is_none() {
        let reason = "has no place on the map, which GeoJSON needs; choose another format, such as labelme or coco";
        return Err(Error::content(image, reason));
    }
    let grid = Grid::of(image, map.size, GeojsonCrs::Scene)?;
    let feature = |outline: Outline| {
        let coordinates = outline.rings.iter().map(|ring| grid.ring(ring)).collect();
        let mut properties = JsonObject::new();
        properties.insert("class".into(), name_of(outline.class, dataset).into());
        properties.insert("label".into(), dataset.value_of(outline.class).into());
        let geometry = Some(Geometry::new(GeometryValue::Polygon { coordinates }));
        Feature { geometry, properties: Some(properties), ..Feature::default() }
    };
    let features: Vec<Feature> = outlines(map, left_out(dataset), simplify).into_iter().map(feature).collect();
    let mut file = json!({ "type": "FeatureCollection", "features": features });
    if let Some(crs) = grid.crs_member() {
        file["crs"] = crs;
    }
    serde_json::to_vec(&file).map_err(|e| Error::failed("write the annotations", e))
}
