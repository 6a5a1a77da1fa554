//! YOLO segmentation: a text file for each image, and a `data.yaml` with the names of the classes in a folder above.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::parts::outline;
use super::{AnnotatedImage, Annotations, Format, Geometry, Shape, Unit};
use crate::base::files::read_text;
use crate::base::{Error, Result};

/// Names of the file with the classes, and how many folders above the labels it is looked for in.
const NAMES: [&str; 4] = ["data.yaml", "data.yml", "dataset.yaml", "dataset.yml"];
const FOLDERS: usize = 4;

#[derive(Deserialize)]
struct Data {
    names: Names,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    List(Vec<String>),
    Numbered(BTreeMap<usize, String>),
}

/// Whether a text is of this format: lines of a number and coordinates between 0 and 1.
pub(super) fn is_yolo(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).take(10).peekable();
    let is_one = |line: &str| {
        let mut words = line.split_whitespace();
        let class = words.next().is_some_and(|class| class.parse::<usize>().is_ok());
        class && words.clone().count() >= 4 && words.all(|word| word.parse::<f64>().is_ok())
    };
    lines.peek().is_some() && lines.all(is_one)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Annotations> {
    let classes = class_names(path)?;
    let mut shapes = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let shape =
            shape(line, &classes).map_err(|reason| Error::content(path, format!("line {}: {reason}", i + 1)))?;
        shapes.push(shape);
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into();
    let images = vec![AnnotatedImage { name, size: None, shapes }];
    Ok(Annotations::new(path, (Format::Yolo, Unit::Shares), classes, images))
}

fn shape(line: &str, classes: &[String]) -> Result<Shape, String> {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    let class: usize = first.parse().map_err(|_| format!("'{first}' is no class number"))?;
    let number = |word: &str| {
        let number = word.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| format!("'{word}' is no coordinate"))
    };
    let numbers: Vec<f64> = words.map(number).collect::<Result<_, _>>()?;
    if numbers.len() == 4 {
        return Err("a box, not an outline; segmentation labels have at least 3 points".into());
    }
    let class = classes.get(class).ok_or_else(|| {
        format!("class {class} has no name; data.yaml names {} classes, counted from 0", classes.len())
    })?;
    Ok(Shape { class: class.clone(), geometry: Geometry::Polygon(vec![outline(&numbers)?]) })
}

/// The names of the classes that go with a file of labels.
fn class_names(labels: &Path) -> Result<Vec<String>> {
    let whole = std::path::absolute(labels).map_err(|e| Error::read(labels, e))?;
    let folders = whole.ancestors().skip(1).take(FOLDERS);
    let places: Vec<PathBuf> = folders.flat_map(|folder| NAMES.map(|name| folder.join(name))).collect();
    let Some(file) = places.into_iter().find(|place| place.is_file()) else {
        let reason = "there is no data.yaml in its folder or the three above, which would name the classes; add one with a \
                      line such as names: [seep, ship]";
        return Err(Error::content(labels, reason));
    };
    let data: Data = serde_saphyr::from_str(&read_text(&file)?)
        .map_err(|e| Error::content(&file, format!("holds no `names` of classes: {e}")))?;
    match data.names {
        Names::List(names) => Ok(names),
        Names::Numbered(names) => {
            let last = names.keys().next_back().map_or(0, |last| last.saturating_add(1));
            if last != names.len() {
                return Err(Error::content(
                    &file,
                    format!("`names` has {} classes, but the last has number {}", names.len(), last - 1),
                ));
            }
            Ok(names.into_values().collect())
        }
    }
}
