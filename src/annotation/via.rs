//! VGG Image Annotator: a project or its annotations as JSON, or as CSV.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::parts::{ellipse, json, polygon};
use super::{AnnotatedImage, Annotations, Format, Geometry, Point, Shape, Unit};
use crate::base::{Error, Result};

/// Attributes that mean the class where a region has several.
const CLASS: [&str; 5] = ["class", "label", "category", "name", "type"];
/// Line width and radius of points in pixels; VIA has neither.
const LINE_WIDTH: f64 = 1.0;
const POINT_RADIUS: f64 = 1.0;

#[derive(Deserialize)]
struct Project {
    #[serde(rename = "_via_img_metadata")]
    images: BTreeMap<String, Image>,
    /// Their order in the project.
    #[serde(rename = "_via_image_id_list", default)]
    order: Vec<String>,
}

#[derive(Deserialize)]
struct Image {
    filename: String,
    #[serde(deserialize_with = "regions")]
    regions: Vec<Region>,
}

/// A list, or, in versions before 2, regions numbered by keys.
fn regions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Region>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Regions {
        List(Vec<Region>),
        Numbered(BTreeMap<String, Region>),
    }
    Ok(match Regions::deserialize(deserializer)? {
        Regions::List(regions) => regions,
        Regions::Numbered(regions) => {
            let mut numbered: Vec<(String, Region)> = regions.into_iter().collect();
            numbered.sort_by_key(|(number, _)| number.parse::<u64>().unwrap_or(u64::MAX));
            numbered.into_iter().map(|(_, region)| region).collect()
        }
    })
}

#[derive(Deserialize)]
struct Region {
    shape_attributes: Map<String, Value>,
    #[serde(default)]
    region_attributes: Map<String, Value>,
}

/// A row of the CSV export.
#[derive(Deserialize)]
struct Row {
    #[serde(alias = "#filename")]
    filename: String,
    region_shape_attributes: String,
    region_attributes: String,
}

pub(super) fn parse_project(path: &Path, text: &str) -> Result<Annotations> {
    let Project { mut images, order } = json(path, text)?;
    let mut ordered: Vec<Image> = order.iter().filter_map(|key| images.remove(key)).collect();
    ordered.extend(images.into_values());
    annotations(path, ordered)
}

pub(super) fn parse_images(path: &Path, text: &str) -> Result<Annotations> {
    let images: BTreeMap<String, Image> = json(path, text)?;
    annotations(path, images.into_values().collect())
}

pub(super) fn parse_csv(path: &Path, text: &str) -> Result<Annotations> {
    let mut images: Vec<Image> = Vec::new();
    for (i, row) in csv::Reader::from_reader(text.as_bytes()).deserialize().enumerate() {
        let fault = |reason: String| Error::content(path, format!("row {}: {reason}", i + 1));
        let row: Row = row.map_err(|e| fault(e.to_string()))?;
        let parse = |text: &str| match text.trim() {
            "" => Ok(Map::new()),
            text => serde_json::from_str(text).map_err(|e| fault(e.to_string())),
        };
        let shape_attributes = parse(&row.region_shape_attributes)?;
        if images.last().is_none_or(|image| image.filename != row.filename) {
            images.push(Image { filename: row.filename, regions: Vec::new() });
        }
        if let (Some(image), false) = (images.last_mut(), shape_attributes.is_empty()) {
            image.regions.push(Region { shape_attributes, region_attributes: parse(&row.region_attributes)? });
        }
    }
    annotations(path, images)
}

fn annotations(path: &Path, images: Vec<Image>) -> Result<Annotations> {
    let regions = images.iter().flat_map(|image| &image.regions);
    let attribute = class_attribute(regions).map_err(|reason| Error::content(path, reason))?;
    let image = |image: &Image| {
        let shape = |(i, region): (usize, &Region)| {
            let fault = |reason| Error::content(path, format!("{}, region {}: {reason}", image.filename, i + 1));
            region.shape(attribute.as_deref()).map_err(fault)
        };
        let shapes: Vec<Shape> = image.regions.iter().enumerate().map(shape).collect::<Result<_>>()?;
        Ok(AnnotatedImage { name: image.filename.clone(), size: None, shapes })
    };
    let images: Vec<AnnotatedImage> = images.iter().map(image).collect::<Result<_>>()?;
    Ok(Annotations::new(path, (Format::Via, Unit::Pixels), [], images))
}

/// The attribute of regions that names their class: the only one, or one of the usual names; none where no region has any.
fn class_attribute<'a>(regions: impl Iterator<Item = &'a Region>) -> Result<Option<String>, String> {
    let names: BTreeSet<&String> = regions.flat_map(|region| region.region_attributes.keys()).collect();
    if names.len() < 2 {
        return Ok(names.first().map(ToString::to_string));
    }
    let usual = CLASS.iter().find_map(|usual| names.iter().find(|name| name.eq_ignore_ascii_case(usual)));
    let listed = || names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let name = usual.ok_or_else(|| {
        format!("its regions have the attributes {}; name the one that is the class 'class'", listed())
    })?;
    Ok(Some(name.to_string()))
}

impl Region {
    fn shape(&self, attribute: Option<&str>) -> Result<Shape, String> {
        let class = attribute.and_then(|attribute| self.class(attribute)).ok_or("it has no class; name it in VIA")?;
        Ok(Shape { class, geometry: self.geometry()? })
    }

    /// A text, or the option that is ticked.
    fn class(&self, attribute: &str) -> Option<String> {
        let text = match self.region_attributes.get(attribute)? {
            Value::String(text) => text.clone(),
            Value::Object(options) => {
                let mut ticked = options.iter().filter(|(_, on)| on.as_bool() == Some(true));
                ticked.next().filter(|_| ticked.next().is_none())?.0.clone()
            }
            other => other.to_string(),
        };
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn geometry(&self) -> Result<Geometry, String> {
        let number = |key: &str| {
            let number = self.shape_attributes.get(key).and_then(Value::as_f64);
            number.ok_or_else(|| format!("its {key} is missing or not a number"))
        };
        let center = || Ok::<Point, String>([number("cx")?, number("cy")?]);
        let kind = self.shape_attributes.get("name").and_then(Value::as_str).unwrap_or("region without a form");
        Ok(match kind {
            "polygon" => polygon(self.points()?)?,
            "polyline" => Geometry::Line { points: self.points()?, width: LINE_WIDTH },
            "rect" => {
                let ([x, y], [w, h]) = ([number("x")?, number("y")?], [number("width")?, number("height")?]);
                Geometry::rectangle([x, y], [x + w, y + h])
            }
            "circle" => Geometry::Ellipse { center: center()?, radii: [number("r")?; 2] },
            "ellipse" => {
                let angle = if self.shape_attributes.contains_key("theta") { number("theta")? } else { 0.0 };
                // In radians.
                ellipse(center()?, [number("rx")?, number("ry")?], angle.to_degrees())
            }
            "point" => Geometry::Ellipse { center: center()?, radii: [POINT_RADIUS; 2] },
            other => return Err(format!("a {other}; draw it as a polygon, polyline, rect, circle or ellipse")),
        })
    }

    fn points(&self) -> Result<Vec<Point>, String> {
        let numbers = |key: &str| -> Result<Vec<f64>, String> {
            let list = self.shape_attributes.get(key).cloned().unwrap_or_default();
            serde_json::from_value(list).map_err(|_| format!("its {key} is no list of numbers"))
        };
        let (x, y) = (numbers("all_points_x")?, numbers("all_points_y")?);
        if x.len() != y.len() {
            return Err(format!("it has {} values of x and {} of y", x.len(), y.len()));
        }
        Ok(x.into_iter().zip(y).map(|(x, y)| [x, y]).collect())
    }
}
