//! labelme: a JSON file for each image, with its shapes.

use std::path::Path;

use serde::Deserialize;

use super::parts::{image_size, json, png_mask};
use super::{AnnotatedImage, Annotations, Format, Geometry, Point, Shape, Unit};
use crate::base::{Error, Result};

/// Width of lines and radius of points in pixels, as labelme draws them (`shape_to_mask`).
const LINE_WIDTH: f64 = 10.0;
const POINT_RADIUS: f64 = 5.0;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    shapes: Vec<Drawn>,
    image_path: Option<String>,
    image_height: Option<usize>,
    image_width: Option<usize>,
}

#[derive(Deserialize)]
struct Drawn {
    label: String,
    points: Vec<Point>,
    shape_type: Option<String>,
    mask: Option<String>,
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Annotations> {
    let file: File = json(path, text)?;
    let size = image_size(file.image_width, file.image_height);
    let name = file.image_path.unwrap_or_else(|| path.file_stem().unwrap_or_default().to_string_lossy().into());
    let mut shapes = Vec::new();
    for (i, drawn) in file.shapes.into_iter().enumerate() {
        let geometry =
            drawn.geometry(path).map_err(|reason| Error::content(path, format!("shape {}: {reason}", i + 1)))?;
        shapes.extend(geometry.into_iter().map(|geometry| Shape { class: drawn.label.clone(), geometry }));
    }
    let images = vec![AnnotatedImage { name, size, shapes }];
    Ok(Annotations::new(path, (Format::Labelme, Unit::Pixels), [], images))
}

/// A piece of a line with square ends; nothing of one without a length.
fn piece([[x0, y0], [x1, y1]]: [Point; 2]) -> Option<Geometry> {
    let (dx, dy) = (x1 - x0, y1 - y0);
    let half = LINE_WIDTH / 2.0 / Some(dx.hypot(dy)).filter(|length| *length > 0.0)?;
    let (x, y) = (-dy * half, dx * half);
    Some(Geometry::Polygon(vec![vec![[x0 + x, y0 + y], [x1 + x, y1 + y], [x1 - x, y1 - y], [x0 - x, y0 - y]]]))
}

impl Drawn {
    fn geometry(&self, path: &Path) -> Result<Vec<Geometry>, String> {
        let kind = self.shape_type.as_deref().unwrap_or("polygon");
        let circle = |center: Point, radius: f64| Geometry::Ellipse { center, radii: [radius; 2] };
        Ok(vec![match (kind, &self.points[..]) {
            ("mask", [corner, ..]) => {
                let text = self.mask.as_deref().ok_or("a mask without pixels")?;
                let is_set = |[r, g, b, opacity]: [u16; 4]| opacity > 0 && [r, g, b] != [0; 3];
                Geometry::Mask(png_mask(path, text, *corner, is_set)?)
            }
            ("rectangle", [a, b]) => Geometry::rectangle(*a, *b),
            ("circle", [center, edge]) => circle(*center, (edge[0] - center[0]).hypot(edge[1] - center[1])),
            ("line" | "linestrip", points @ [_, _, ..]) => {
                return Ok(points.windows(2).filter_map(|ends| piece([ends[0], ends[1]])).collect());
            }
            ("point" | "points", points @ [_, ..]) => {
                return Ok(points.iter().map(|point| circle(*point, POINT_RADIUS)).collect());
            }
            ("polygon" | "rectangle" | "oriented_rectangle", points @ [_, _, _, ..]) => {
                Geometry::Polygon(vec![points.to_vec()])
            }
            (
                "polygon" | "rectangle" | "oriented_rectangle" | "circle" | "line" | "linestrip" | "point" | "points"
                | "mask",
                points,
            ) => {
                let n = points.len();
                return Err(format!("a {kind} of {n} points; complete or delete it in labelme"));
            }
            _ => {
                return Err(format!(
                    "'{kind}' is not a known shape; convert it to a polygon, rectangle, circle, line, point or mask"
                ));
            }
        }])
    }
}
