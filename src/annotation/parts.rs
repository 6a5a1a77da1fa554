//! What several formats have in common.

use std::f64::consts::TAU;
use std::io::Cursor;
use std::path::Path;

use ::image::{ImageError, ImageFormat, ImageReader, Limits};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Geometry, Mask, Point};
use crate::base::error::plain_types;
use crate::base::{Error, Result, Size};
use crate::image::limits;

/// Points of an ellipse that lies askew: with these, it is a hundredth of a pixel off at a radius of 2,000.
const ELLIPSE_POINTS: usize = 2048;
/// Largest mask of a single shape, in bytes.
const LARGEST_MASK: u64 = 1 << 30;
/// Most bytes that a pixel of a PNG takes, decoded and in four bands of 16 bits.
const BYTES: u64 = 14;

pub(super) fn json<'a, T: Deserialize<'a>>(path: &Path, text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| {
        if e.is_eof() {
            let reason = format!("ends in the middle, at line {}: it was cut off; export or copy it again", e.line());
            return Error::content(path, reason);
        }
        Error::content(path, plain_types(&e.to_string()))
    })
}

pub(super) fn image_size(width: Option<usize>, height: Option<usize>) -> Option<Size> {
    let (width, height) = width.zip(height).filter(|(width, height)| *width > 0 && *height > 0)?;
    Some(Size { width, height })
}

/// The points of x, y, x, y, ...
pub(super) fn outline(numbers: &[f64]) -> Result<Vec<Point>, String> {
    let (points, rest) = numbers.as_chunks::<2>();
    if points.len() < 3 || !rest.is_empty() {
        return Err(format!("its outline has {} numbers; it needs x and y of at least 3 points", numbers.len()));
    }
    Ok(points.to_vec())
}

/// A polygon through at least 3 points.
pub(super) fn polygon(points: Vec<Point>) -> Result<Geometry, String> {
    if points.len() < 3 {
        return Err(format!("a polygon of {} points; it needs at least 3", points.len()));
    }
    Ok(Geometry::Polygon(vec![points]))
}

/// The points of `x,y;x,y;...`.
pub(super) fn points_of(text: &str) -> Result<Vec<Point>, String> {
    let number = |text: &str| text.trim().parse().ok().filter(|number: &f64| number.is_finite());
    let point = |text: &str| text.split_once(',').and_then(|(x, y)| Some([number(x)?, number(y)?]));
    let points = text.split(';').filter(|text| !text.trim().is_empty());
    points.map(|text| point(text).ok_or_else(|| format!("'{text}' is no point; it must be x,y"))).collect()
}

/// The rectangle between opposite corners, turned clockwise by an angle in degrees about a point.
pub(super) fn turned([a, b]: [Point; 2], about: Point, degrees: f64) -> Geometry {
    let corners = [a, [b[0], a[1]], b, [a[0], b[1]]];
    Geometry::Polygon(vec![corners.map(|corner| turn(corner, about, degrees)).to_vec()])
}

/// An ellipse, turned clockwise by an angle in degrees about its centre; a turned one becomes a polygon.
pub(super) fn ellipse(center: Point, radii: [f64; 2], degrees: f64) -> Geometry {
    if degrees % 180.0 == 0.0 || radii[0] == radii[1] {
        return Geometry::Ellipse { center, radii };
    }
    let point = |i: usize| {
        let (sin, cos) = (TAU * i as f64 / ELLIPSE_POINTS as f64).sin_cos();
        turn([center[0] + radii[0] * cos, center[1] + radii[1] * sin], center, degrees)
    };
    Geometry::Polygon(vec![(0..ELLIPSE_POINTS).map(point).collect()])
}

fn turn([x, y]: Point, about: Point, degrees: f64) -> Point {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (dx, dy) = (x - about[0], y - about[1]);
    [about[0] + dx * cos - dy * sin, about[1] + dx * sin + dy * cos]
}

/// An error if the pixels of a mask, of `bytes` each, would take more memory than there is.
pub(super) fn check_mask(path: &Path, size: Size, bytes: u64) -> Result<(), String> {
    let bytes = (size.width as u64).saturating_mul(size.height as u64).saturating_mul(bytes);
    limits::check(path, format_args!("a mask claims {size} pixels"), bytes).map_err(|e| e.to_string())
}

/// The pixels of a PNG in base64 that are set, by their red, green, blue and opacity, with the top left corner at a point of
/// the image.
pub(super) fn png_mask(
    path: &Path,
    text: &str,
    [left, top]: Point,
    is_set: fn([u16; 4]) -> bool,
) -> Result<Mask, String> {
    let place = |at: f64| if (0.0..=1e9).contains(&at) { Ok(at as usize) } else { Err("a mask outside the image") };
    let bytes = STANDARD.decode(text.trim()).map_err(|e| format!("its mask is not base64: {e}"))?;
    let reader = || {
        let mut reader = ImageReader::with_format(Cursor::new(&bytes[..]), ImageFormat::Png);
        let mut limits = Limits::default();
        limits.max_alloc = Some(LARGEST_MASK);
        reader.limits(limits);
        reader
    };
    let not_png = |e: ImageError| format!("its mask is not a PNG: {e}");
    let size = Size::from(reader().into_dimensions().map_err(not_png)?);
    check_mask(path, size, BYTES)?;
    let mask = reader().decode().map_err(not_png)?.into_rgba16();
    Ok(Mask::from_bits(place(left)?, place(top)?, size, mask.pixels().map(|pixel| is_set(pixel.0))))
}
