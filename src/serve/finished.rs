//! The result of an image: what is told of it, and what can be downloaded.

use std::path::Path;

use serde_json::{Value, json};

use super::models::Hex;
use crate::base::{Result, Size};
use crate::image::{Georeference, Image, ReferenceSystem, TiffRows};
use crate::predict::Prediction;

/// What was found out about an image.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) prediction: Prediction,
    /// Bands of the image, alpha among them, and those that are shown if none are asked for, by number from 1.
    pub(super) bands: usize,
    pub(super) shown: Vec<usize>,
    place: Option<Place>,
    /// Side of the sliding windows, where there were some.
    tile: Option<usize>,
    no_data: u64,
    classes: Vec<ClassShare>,
}

/// Where an image lies.
#[derive(Debug)]
struct Place {
    system: Option<String>,
    /// Square metres of a pixel, where its coordinates are metres.
    pixel_area: Option<f64>,
}

/// A class that was found.
#[derive(Debug)]
struct ClassShare {
    index: usize,
    pixels: u64,
    probability: f64,
}

impl Finished {
    /// Takes stock of a prediction of the file at `path`, made of these bands.
    pub(super) fn new(
        path: &Path,
        prediction: Prediction,
        chosen: Option<&[usize]>,
        tile: Option<usize>,
    ) -> Result<Self> {
        let bands = bands_of(path)?;
        let first = |count: usize| (1..=count).collect();
        let shown = match chosen {
            Some(chosen) if chosen.len() >= 3 => chosen[..3].to_vec(),
            Some(chosen) => chosen[..1].to_vec(),
            None => first(if bands < 3 { 1 } else { 3 }),
        };
        let (no_data, shares) = prediction.shares();
        let mut classes: Vec<ClassShare> = shares
            .into_iter()
            .enumerate()
            .filter(|(_, (pixels, _))| *pixels > 0)
            .map(|(index, (pixels, sum))| ClassShare { index, pixels, probability: sum / pixels as f64 })
            .collect();
        classes.sort_by_key(|class| std::cmp::Reverse(class.pixels));
        let place = place_of(path, prediction.size());
        Ok(Self { prediction, bands, shown, place, tile, no_data, classes })
    }

    pub(super) fn is_placed(&self) -> bool {
        self.place.is_some()
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> u64 {
        let pixels = self.prediction.labels.classes.len() as u64;
        pixels * (2 + if self.prediction.probability.is_some() { 4 } else { 0 })
    }

    /// What is told of it; `base` is the path of its downloads, if it has some, and `stem` what their names begin with.
    pub(super) fn to_json(&self, downloads: Option<(&str, &str)>) -> Value {
        let Size { width, height } = self.prediction.size();
        let dataset = &self.prediction.dataset;
        let with_data = self.classes.iter().map(|class| class.pixels).sum::<u64>().max(1);
        let area = |pixels: u64| Some(self.place.as_ref()?.pixel_area? * pixels as f64);
        let colors = dataset.shown_colors();
        let class = |share: &ClassShare| {
            let class = &dataset.classes[share.index];
            json!({
                "index": share.index, "value": class.values[0], "name": class.name,
                "color": Hex(colors[share.index]).to_string(), "pixels": share.pixels,
                "share": share.pixels as f64 / with_data as f64, "area_m2": area(share.pixels),
                "mean_probability": share.probability,
            })
        };
        json!({
            "width": width, "height": height, "bands": self.bands, "shown_bands": self.shown,
            "georeferenced": self.is_placed(), "crs": self.place.as_ref().and_then(|place| place.system.clone()),
            "tile": self.tile, "classes": self.classes.iter().map(class).collect::<Vec<_>>(), "no_data": self.no_data,
            "downloads": downloads.map_or_else(Vec::new, |(base, stem)| self.downloads(base, stem)),
        })
    }

    fn downloads(&self, base: &str, stem: &str) -> Vec<Value> {
        let all = [
            ("npy", "labels.npy", ".npy", true),
            ("png", "labels.png", ".png", true),
            ("overlay", "overlay.png", "_overlay.png", true),
            ("geojson", "polygons.geojson", ".geojson", true),
            ("tiff", "labels.tif", ".tif", self.is_placed()),
        ];
        let there = all.into_iter().filter(|(.., there)| *there);
        let entry = |(format, file, ending, _)| json!({ "format": format, "name": format!("{stem}{ending}"), "path": format!("{base}/{file}") });
        there.map(entry).collect()
    }
}

/// Bands of an image, alpha among them. Of a TIFF that can be read row by row, one row tells.
fn bands_of(path: &Path) -> Result<usize> {
    let image = match TiffRows::open(path)? {
        Some(rows) => rows.read(0..1)?,
        None => Image::read(path)?,
    };
    Ok(image.bands + usize::from(image.alpha.is_some()))
}

fn place_of(path: &Path, size: Size) -> Option<Place> {
    let place = Georeference::of(path)?;
    let transform = place.transform(size);
    let area = transform.map(|[_, a, b, _, d, e]| (a * e - b * d).abs());
    let system = place.reference_system();
    let number = match system {
        ReferenceSystem::Epsg(number) => Some(number),
        _ => None,
    };
    Some(Place {
        system: number.map(|number| format!("EPSG:{number}")),
        pixel_area: area.filter(|_| number.is_some_and(is_utm)),
    })
}

/// Whether coordinates are metres that hardly depend on the place: UTM on WGS 84 and on ETRS89.
fn is_utm(number: u16) -> bool {
    matches!(number, 32601..=32660 | 32701..=32760 | 25828..=25838)
}
