//! Files of annotation tools, recognised by their content.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::parts::json;
use super::{Annotations, Unit, coco, cvat, geojson, label_studio, labelme, shapefile, via, yolo};
use crate::base::files::read_text;
use crate::base::{Error, Result, locked};

/// Files with labels of many images that stay in memory: a training reads from them image by image, and CVAT writes one for
/// each task.
const KEPT: usize = 64;

/// What tells the JSON formats apart: keys that only one of them has.
#[derive(Deserialize)]
struct Keys {
    shapes: Option<IgnoredAny>,
    annotations: Option<IgnoredAny>,
    features: Option<IgnoredAny>,
    #[serde(rename = "_via_img_metadata")]
    via: Option<IgnoredAny>,
}

/// When a file, and those that belong to it, were last changed.
type Times = Vec<Option<SystemTime>>;

/// A file that stays in memory.
type Recent = (PathBuf, Times, Arc<Annotations>);

/// The labels in a file. Those of many images, as all on a map may be, are kept in memory for the next call.
///
/// # Errors
///
/// If the file cannot be read, is of no known format, or is damaged.
pub fn open(path: &Path) -> Result<Arc<Annotations>> {
    static RECENT: Mutex<Vec<Recent>> = Mutex::new(Vec::new());
    let times = last_changes(path);
    let recent = || locked(&RECENT);
    let known = |(known, then, _): &&Recent| known == path && *then == times;
    if let Some((_, _, annotations)) = recent().iter().find(known) {
        return Ok(annotations.clone());
    }
    let annotations = Arc::new(parse(path)?);
    if annotations.images.len() > 1 || matches!(annotations.unit, Unit::Map(_)) {
        let mut recent = recent();
        recent.retain(|(known, ..)| known != path);
        recent.truncate(KEPT - 1);
        recent.insert(0, (path.into(), times, annotations.clone()));
    }
    Ok(annotations)
}

fn last_changes(path: &Path) -> Times {
    let beside = if is_shapefile(path) { shapefile::files_beside(path) } else { Vec::new() };
    let modified = |file: &Path| fs::metadata(file).and_then(|file| file.modified()).ok();
    std::iter::once(path).chain(beside.iter().map(PathBuf::as_path)).map(modified).collect()
}

fn is_shapefile(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("shp"))
}

/// What reads a text of one format.
type Parser = fn(&Path, &str) -> Result<Annotations>;

fn parse(path: &Path) -> Result<Annotations> {
    if is_shapefile(path) {
        return shapefile::parse(path);
    }
    let text = read_text(path)?;
    let parser = parser(path, &text)?.ok_or_else(|| {
        let known = "labelme, COCO, CVAT for images, Label Studio, VIA, YOLO segmentation, GeoJSON, shapefile";
        Error::content(path, format!("holds no labels of a known format ({known})"))
    })?;
    parser(path, &text)
}

/// The parser for a text, by its beginning and its keys.
fn parser(path: &Path, text: &str) -> Result<Option<Parser>> {
    let first_line = text.lines().next().unwrap_or_default();
    Ok(match text.trim_start().chars().next() {
        // YOLO's file of an image without objects.
        None => path.extension().is_some_and(|ending| ending == "txt").then_some(yolo::parse as Parser),
        Some('<') => text.contains("<annotations").then_some(cvat::parse),
        Some('[') => Some(label_studio::parse),
        Some('{') => match json(path, text)? {
            Keys { via: Some(_), .. } => Some(via::parse_project),
            Keys { features: Some(_), .. } => Some(geojson::parse),
            Keys { shapes: Some(_), .. } => Some(labelme::parse),
            Keys { annotations: Some(_), .. } => Some(coco::parse),
            _ => text.contains("\"filename\"").then_some(via::parse_images),
        },
        Some(_) if first_line.contains("region_shape_attributes") => Some(via::parse_csv),
        Some(_) => yolo::is_yolo(text).then_some(yolo::parse),
    })
}
