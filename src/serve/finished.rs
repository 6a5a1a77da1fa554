//! The result of an image: what is told of it, and what can be downloaded.

use std::path::Path;

use serde_json::{Value, json};

use crate::base::markup::hex;
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

/// A file that is made of a result.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    pub(super) content: Content,
    /// What it is called below a job.
    name: &'static str,
    /// Its media type.
    pub(super) kind: &'static str,
    /// Of what is not for pages alone.
    pub(super) download: Option<Download>,
}

/// What requests call the format of a download, and what stands behind the name of the image in its name.
type Download = (&'static str, &'static str);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Image,
    Classes,
    Probability,
    Npy,
    Png,
    Overlay,
    Geojson,
    Tiff,
}

const OCTETS: &str = "application/octet-stream";

static FILES: [File; 8] = [
    file(Content::Image, "image.jpg", "image/jpeg", None),
    file(Content::Classes, "classes.bin", OCTETS, None),
    file(Content::Probability, "probability.bin", OCTETS, None),
    file(Content::Npy, "labels.npy", OCTETS, Some(("npy", ".npy"))),
    file(Content::Png, "labels.png", "image/png", Some(("png", ".png"))),
    file(Content::Overlay, "overlay.png", "image/png", Some(("overlay", "_overlay.png"))),
    file(Content::Geojson, "polygons.geojson", "application/geo+json", Some(("geojson", ".geojson"))),
    file(Content::Tiff, "labels.tif", "image/tiff", Some(("tiff", ".tif"))),
];

const fn file(content: Content, name: &'static str, kind: &'static str, download: Option<Download>) -> File {
    File { content, name, kind, download }
}

impl File {
    /// The file that stands under this name below a job.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        FILES.iter().find(|file| file.name == name).copied()
    }

    /// The file that a format stands for.
    pub(super) fn of_format(format: &str) -> Option<Self> {
        FILES.iter().find(|file| file.download.is_some_and(|(own, _)| own == format)).copied()
    }
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
                "color": hex(colors[share.index]), "pixels": share.pixels,
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
        let there = FILES.iter().filter(|file| file.content != Content::Tiff || self.is_placed());
        let entry = |file: &File| {
            let (format, ending) = file.download?;
            let path = format!("{base}/{}", file.name);
            Some(json!({ "format": format, "name": format!("{stem}{ending}"), "path": path }))
        };
        there.filter_map(entry).collect()
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
    let number = if let ReferenceSystem::Epsg(number) = place.reference_system() { Some(number) } else { None };
    Some(Place {
        system: number.map(|number| format!("EPSG:{number}")),
        pixel_area: area.filter(|_| number.is_some_and(is_utm)),
    })
}

/// Whether coordinates are metres that hardly depend on the place: UTM on WGS 84 and on ETRS89.
fn is_utm(number: u16) -> bool {
    matches!(number, 32601..=32660 | 32701..=32760 | 25828..=25838)
}
