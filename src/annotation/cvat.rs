//! CVAT for images 1.1: one XML file for many images.

use std::path::Path;

use roxmltree::{Document, Node, ParsingOptions};

use super::parts::{ellipse, image_size, points_of, polygon, turned};
use super::{AnnotatedImage, Annotations, Format, Geometry, Mask, Shape, Unit};
use crate::base::{Error, Result, Size};

pub(super) fn parse(path: &Path, text: &str) -> Result<Annotations> {
    let options = ParsingOptions { allow_dtd: false, ..ParsingOptions::default() };
    let document =
        Document::parse_with_options(text, options).map_err(|e| Error::content(path, format!("is not XML: {e}")))?;
    let root = document.root_element();
    if root.children().any(|node| node.has_tag_name("track")) {
        let reason = "holds tracks of a video; export the task from CVAT as 'CVAT for images 1.1'";
        return Err(Error::content(path, reason));
    }
    let images = root.children().filter(|node| node.has_tag_name("image"));
    let images: Vec<AnnotatedImage> = images.map(|node| image(path, &document, node)).collect::<Result<_>>()?;
    let labels = root.descendants().filter(|node| node.has_tag_name("label"));
    let names = labels.filter_map(|label| label.children().find(|node| node.has_tag_name("name"))?.text());
    let declared = names.map(|name| name.trim().to_owned());
    Ok(Annotations::new(path, (Format::Cvat, Unit::Pixels), declared, images))
}

fn image(path: &Path, document: &Document<'_>, node: Node<'_, '_>) -> Result<AnnotatedImage> {
    let fault = |node: Node<'_, '_>, reason: String| {
        let line = document.text_pos_at(node.range().start).row;
        Error::content(path, format!("line {line}: {reason}"))
    };
    let name = node.attribute("name").ok_or_else(|| fault(node, "an image without a name".into()))?;
    let side = |name: &str| node.attribute(name)?.parse().ok();
    let mut shapes: Vec<(i64, Shape)> = Vec::new();
    // Tags are no regions.
    for region in node.children().filter(|node| node.is_element() && !node.has_tag_name("tag")) {
        let (order, class) = (region.attribute("z_order"), region.attribute("label"));
        let class = class.ok_or_else(|| fault(region, "a shape without a label".into()))?;
        let geometry = geometry(region).map_err(|reason| fault(region, reason))?;
        let order = order.and_then(|order| order.parse().ok()).unwrap_or(0);
        shapes.push((order, Shape { class: class.into(), geometry }));
    }
    shapes.sort_by_key(|(order, _)| *order);
    Ok(AnnotatedImage {
        name: name.into(),
        size: image_size(side("width"), side("height")),
        shapes: shapes.into_iter().map(|(_, shape)| shape).collect(),
    })
}

fn geometry(node: Node<'_, '_>) -> Result<Geometry, String> {
    let number = |name: &str| number(node, name);
    let angle = || node.attribute("rotation").map_or(Ok(0.0), |_| number("rotation"));
    Ok(match node.tag_name().name() {
        "polygon" => polygon(points(node)?)?,
        "box" => {
            let (a, b) = ([number("xtl")?, number("ytl")?], [number("xbr")?, number("ybr")?]);
            turned([a, b], [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0], angle()?)
        }
        "ellipse" => ellipse([number("cx")?, number("cy")?], [number("rx")?, number("ry")?], angle()?),
        "polyline" => Geometry::Line { points: points(node)?, width: line_width(node)? },
        "mask" => Geometry::Mask(mask(node)?),
        kind => return Err(format!("a {kind}; draw it as a polygon, box, ellipse, polyline or mask")),
    })
}

fn number(node: Node<'_, '_>, name: &str) -> Result<f64, String> {
    let text = node.attribute(name).ok_or_else(|| format!("its {name} is missing"))?;
    let number = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| format!("its {name} is '{text}', which is not a number"))
}

fn points(node: Node<'_, '_>) -> Result<Vec<[f64; 2]>, String> {
    points_of(node.attribute("points").ok_or("its points are missing")?)
}

/// The attribute `width` that a label may have; a pixel where it has none.
fn line_width(node: Node<'_, '_>) -> Result<f64, String> {
    let is_width = |node: &Node<'_, '_>| node.has_tag_name("attribute") && node.attribute("name") == Some("width");
    let Some(text) = node.children().find(is_width).and_then(|node| node.text()) else { return Ok(1.0) };
    let width = text.trim().parse().ok().filter(|width: &f64| width.is_finite() && *width > 0.0);
    width.ok_or_else(|| format!("its width is '{text}'; it must be a number of pixels above 0"))
}

/// Pixels of a rectangle, as lengths of runs by rows that begin with pixels that are not set.
fn mask(node: Node<'_, '_>) -> Result<Mask, String> {
    let whole = |name: &str| {
        let number = number(node, name)?;
        let is_whole = number.fract() == 0.0 && (0.0..=1e9).contains(&number);
        if is_whole {
            Ok(number as usize)
        } else {
            Err(format!("its {name} is {number}, which is not a number of pixels"))
        }
    };
    let size = Size { width: whole("width")?, height: whole("height")? };
    let text = node.attribute("rle").ok_or("its rle is missing")?;
    let mut runs = Vec::new();
    let mut at = 0_usize;
    for (i, count) in text.split(',').enumerate() {
        let count: usize = count.trim().parse().map_err(|_| format!("its rle holds '{count}', which is no number"))?;
        let end = at.checked_add(count).filter(|end| *end <= size.width * size.height);
        let end = end.ok_or_else(|| format!("its rle covers more pixels than its size, {size}"))?;
        if i % 2 == 1 && count > 0 {
            runs.push(at..end);
        }
        at = end;
    }
    Ok(Mask { left: whole("left")?, top: whole("top")?, size, runs })
}
