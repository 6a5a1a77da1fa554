//! Label Studio's JSON export: a list of tasks, each with an image.

use std::ops::Range;
use std::path::Path;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::parts::{check_mask, ellipse, image_size, json, png_mask, polygon, turned};
use super::{AnnotatedImage, Annotations, Format, Geometry, Mask, Point, Shape, Unit};
use crate::base::{Error, Result, Size};

/// Endings of regions' types; the text before them is their form.
const LABELS: &str = "labels";

#[derive(Deserialize)]
struct Task {
    id: Option<i64>,
    file_upload: Option<String>,
    data: Map<String, Value>,
    #[serde(default)]
    annotations: Vec<Annotation>,
    /// What a model made of it, before anybody has looked.
    #[serde(default, deserialize_with = "whole_ones")]
    predictions: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Annotation {
    #[serde(default)]
    was_cancelled: bool,
    #[serde(default)]
    ground_truth: bool,
    #[serde(default)]
    result: Vec<Region>,
}

#[derive(Deserialize)]
struct Region {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    to_name: Option<String>,
    original_width: Option<usize>,
    original_height: Option<usize>,
    #[serde(default)]
    value: Map<String, Value>,
}

/// The predictions that are there: Label Studio's own exports only hold their numbers.
fn whole_ones<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Annotation>, D::Error> {
    let all = Vec::<Value>::deserialize(deserializer)?;
    let whole = all.into_iter().filter(|one| !one.is_number());
    whole.map(|one| serde_json::from_value(one).map_err(D::Error::custom)).collect()
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Annotations> {
    let tasks: Vec<Task> = json(path, text)?;
    let image = |(i, task): (usize, &Task)| {
        let number = task.id.unwrap_or(i as i64 + 1);
        task.image(path).map_err(|reason| Error::content(path, format!("task {number}: {reason}")))
    };
    // Tasks that nobody has labelled yet, or that were skipped, say nothing of their images.
    let labelled = tasks.iter().enumerate().filter(|(_, task)| task.annotation().is_some());
    let images: Vec<AnnotatedImage> = labelled.map(image).collect::<Result<_>>()?;
    Ok(Annotations::new(path, (Format::LabelStudio, Unit::Pixels), [], images))
}

impl Task {
    /// The annotation that is marked as ground truth, otherwise the last one; of a task without annotations, what a model
    /// predicted.
    fn annotation(&self) -> Option<&Annotation> {
        let all = if self.annotations.is_empty() { &self.predictions } else { &self.annotations };
        let kept = || all.iter().filter(|annotation| !annotation.was_cancelled);
        kept().rfind(|annotation| annotation.ground_truth).or_else(|| kept().next_back())
    }

    /// The image with the regions of its annotation.
    fn image(&self, path: &Path) -> Result<AnnotatedImage, String> {
        let regions = self.annotation().map_or(&[][..], |annotation| &annotation.result);
        let name = self.image_name(regions).ok_or("it names no image")?;
        let mut shapes = Vec::new();
        let mut size = None;
        for region in regions {
            if let Some(shape) = region.shape(path, regions)? {
                size = size.or(image_size(region.original_width, region.original_height));
                shapes.push(shape);
            }
        }
        Ok(AnnotatedImage { name, size, shapes })
    }

    /// The uploaded file; otherwise what the data has under the only key, or under the usual one.
    fn image_name(&self, regions: &[Region]) -> Option<String> {
        let text = |key: &str| self.data.get(key).and_then(Value::as_str);
        let named = regions.iter().find_map(|region| text(region.to_name.as_deref()?));
        let only = || self.data.values().find_map(Value::as_str).filter(|_| self.data.len() == 1);
        let address = named.or_else(|| text("image")).or_else(|| text("img")).or_else(only);
        let name = self.file_upload.as_deref().or(address)?;
        // Local files stand behind ?d=.
        let name = name.split_once("?d=").map_or(name, |(_, name)| name);
        Some(percent_decoded(name))
    }
}

impl Region {
    /// Its shape; nothing for what is no region of the image, such as a choice or a rating.
    fn shape(&self, path: &Path, all: &[Self]) -> Result<Option<Shape>, String> {
        let form = self.kind.strip_suffix(LABELS).unwrap_or(&self.kind);
        let is_region = ["polygon", "rectangle", "ellipse", "brush", "bitmask"].contains(&form);
        if ["keypoint", "vector"].contains(&form) {
            return Err(format!("a {form} covers no pixels; draw it as a polygon, rectangle, ellipse or brush"));
        }
        if !is_region {
            return Ok(None);
        }
        let Some(class) = self.class().or_else(|| self.same(all).find_map(Self::class)) else {
            return Err(format!("a {form} has no label; label it or delete it in Label Studio"));
        };
        let Some(size) = image_size(self.original_width, self.original_height) else {
            return Err(format!("a {form} has no original_width and original_height; export the project again"));
        };
        Ok(Some(Shape { class, geometry: self.geometry(path, form, size)? }))
    }

    /// What else is said of the same region: where labels and forms are chosen apart, each has an entry.
    fn same<'a>(&'a self, all: &'a [Self]) -> impl Iterator<Item = &'a Self> {
        all.iter().filter(|other| other.id.is_some() && other.id == self.id)
    }

    fn class(&self) -> Option<String> {
        let (_, labels) = self.value.iter().find(|(key, _)| key.ends_with(LABELS))?;
        Some(labels.get(0)?.as_str()?.to_owned())
    }

    fn geometry(&self, path: &Path, form: &str, size: Size) -> Result<Geometry, String> {
        let (width, height) = (size.width as f64, size.height as f64);
        let pixels = |[x, y]: Point| [x * width / 100.0, y * height / 100.0];
        let number = |key: &str| {
            let number = self.value.get(key).and_then(Value::as_f64).filter(|number| number.is_finite());
            number.ok_or_else(|| format!("a {form} without {key}"))
        };
        let pair = |x: &str, y: &str| Ok::<_, String>(pixels([number(x)?, number(y)?]));
        let angle = if self.value.contains_key("rotation") { number("rotation")? } else { 0.0 };
        Ok(match form {
            "polygon" => {
                let points = self.value.get("points").cloned().unwrap_or_default();
                let points: Vec<Point> = serde_json::from_value(points).map_err(|e| format!("a polygon: {e}"))?;
                polygon(points.into_iter().map(pixels).collect())?
            }
            "rectangle" => {
                let ([x, y], [w, h]) = (pair("x", "y")?, pair("width", "height")?);
                turned([[x, y], [x + w, y + h]], [x, y], angle)
            }
            "ellipse" => ellipse(pair("x", "y")?, pair("radiusX", "radiusY")?, angle),
            "bitmask" => {
                let address = self.value.get("imageDataURL").and_then(Value::as_str);
                let (_, png) = address
                    .and_then(|address| address.split_once("base64,"))
                    .ok_or("a bitmask without `imageDataURL`, a PNG in base64; export the project again")?;
                // Black where something is drawn, and transparent elsewhere.
                let mask = png_mask(path, png, [0.0; 2], |[.., opacity]: [u16; 4]| opacity > 0)?;
                if mask.size != size {
                    return Err(format!("a bitmask is {}, but the image {size}; export the project again", mask.size));
                }
                Geometry::Mask(mask)
            }
            _ => {
                let rle = self.value.get("rle").cloned().unwrap_or_default();
                let bytes: Vec<u8> =
                    serde_json::from_value(rle).map_err(|_| format!("a {form} without `rle`, a list of bytes"))?;
                Geometry::Mask(brush(path, &bytes, size)?)
            }
        })
    }
}

/// The pixels of a brush: opacities of the fourth of four bands, packed by Label Studio's own code, the one of the library
/// `@thi.ng/rle-pack`. A head gives the number of values, their width in bits, and the widths of four kinds of run lengths;
/// then come runs of equal and of different values.
fn brush(path: &Path, bytes: &[u8], size: Size) -> Result<Mask, String> {
    let damaged = || "the rle of a brush is damaged".to_owned();
    let mut bits = Bits { bytes, at: 0 };
    let mut take = |count: u32| bits.take(count).ok_or_else(damaged);
    let values = take(32)? as usize;
    let pixels = size.width.checked_mul(size.height).ok_or_else(damaged)?;
    if Some(values) != pixels.checked_mul(4) {
        return Err(format!(
            "the rle of a brush holds {values} values; an image of {size} has {}",
            pixels.saturating_mul(4)
        ));
    }
    check_mask(path, size, 1)?;
    let word = take(5)? + 1;
    let widths = [take(4)? + 1, take(4)? + 1, take(4)? + 1, take(4)? + 1];
    let mut set = vec![false; pixels];
    let mut at = 0;
    // Every fourth value is an opacity.
    let mut put = |values: Range<usize>, value: u32| {
        if value > 0 {
            set[values.start.saturating_sub(3).div_ceil(4)..values.end / 4].fill(true);
        }
    };
    while at < values {
        let is_run = take(1)? == 1;
        let width = widths[take(2)? as usize];
        let end = at + take(width)? as usize + 1;
        if end > values {
            return Err(damaged());
        }
        if is_run {
            let value = take(word)?;
            put(at..end, value);
        } else {
            for at in at..end {
                put(at..at + 1, take(word)?);
            }
        }
        at = end;
    }
    Ok(Mask::from_bits(0, 0, size, set))
}

/// Bits of bytes, the highest first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut number = 0_u32;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            number = number << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(number)
    }
}

/// A name from an address, in which other characters stand as %20.
fn percent_decoded(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, more @ ..] = rest {
        let is_code = |hex: &&[u8]| *first == b'%' && hex.iter().all(u8::is_ascii_hexdigit);
        let code = more.get(..2).filter(is_code).and_then(|hex| std::str::from_utf8(hex).ok());
        let decoded = code.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &more[2..] } else { more };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| name.to_owned())
}
