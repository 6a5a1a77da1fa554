//! Labels as annotation tools write them: polygons, rectangles, lines and masks, which are drawn as label maps when they are
//! read.

mod coco;
mod cvat;
mod draw;
mod geojson;
mod label_studio;
mod labelme;
mod map;
mod open;
mod parts;
mod shape;
mod shapefile;
#[cfg(test)]
mod tests;
mod via;
mod yolo;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::base::{Error, Result, Size};
use crate::image::ReferenceSystem;

pub use draw::draw;
pub use open::open;
pub use shape::{Geometry, Mask, Point, Shape};

/// The labels that a file of an annotation tool holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotations {
    /// The file.
    pub path: PathBuf,
    /// The tool or format.
    pub format: Format,
    /// Names of the classes: those that the file declares, in its order, then those that only its shapes name.
    pub classes: Vec<String>,
    /// The images, in the order of the file.
    pub images: Vec<AnnotatedImage>,
    /// What the coordinates of its shapes count.
    pub unit: Unit,
    /// Places of the images by name, of the first of a name.
    places: BTreeMap<String, usize>,
}

/// What coordinates count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Pixels.
    Pixels,
    /// Shares of the image's width and height, from 0 to 1.
    Shares,
    /// Coordinates of a map, in the system of images with a place on it.
    Map(ReferenceSystem),
}

impl Annotations {
    /// Labels of a file, with the classes that it declares.
    fn new(
        path: &Path,
        (format, unit): (Format, Unit),
        declared: impl IntoIterator<Item = String>,
        images: Vec<AnnotatedImage>,
    ) -> Self {
        let named = images.iter().flat_map(|image| &image.shapes).map(|shape| shape.class.clone());
        let mut known = BTreeSet::new();
        let classes = declared.into_iter().chain(named).filter(|name| known.insert(name.clone())).collect();
        let mut places = BTreeMap::new();
        for (place, image) in images.iter().enumerate() {
            places.entry(image.name.clone()).or_insert(place);
        }
        Self { path: path.into(), format, classes, images, unit, places }
    }

    /// The image of a name.
    ///
    /// # Errors
    ///
    /// If the file names no such image.
    pub fn image(&self, name: &str) -> Result<&AnnotatedImage> {
        let place = self.places.get(name).and_then(|place| self.images.get(*place));
        place.ok_or_else(|| Error::content(&self.path, format!("names no image '{name}'; was the file changed?")))
    }

    /// The shapes of one of its images, in pixels; `path` and `size` are those of the image file.
    ///
    /// # Errors
    ///
    /// If the image is of another size than the file says, or if the shapes lie on a map and the image has no place on it, or
    /// one in another coordinate reference system.
    pub fn shapes<'a>(&'a self, labelled: &'a AnnotatedImage, path: &Path, size: Size) -> Result<Cow<'a, [Shape]>> {
        if let Some(stated) = labelled.size.filter(|stated| *stated != size) {
            let (first, second) = (path.into(), self.path.clone());
            return Err(Error::SizeMismatch { first, first_size: size, second, second_size: stated });
        }
        Ok(match self.unit {
            Unit::Pixels => Cow::Borrowed(&labelled.shapes),
            Unit::Shares => {
                let pixel = |[x, y]: Point| [x * size.width as f64, y * size.height as f64];
                labelled.shapes.iter().map(|shape| shape.moved(&pixel)).collect()
            }
            Unit::Map(reference) => map::in_pixels((&self.path, reference), &labelled.shapes, (path, size))?.into(),
        })
    }
}

/// The labels of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct AnnotatedImage {
    /// The image as the file names it: a file name, or a path, relative to a folder that is not always known.
    pub name: String,
    /// Its size, where the file says it.
    pub size: Option<Size>,
    /// The shapes, in the order they are drawn: a later one lies over an earlier one.
    pub shapes: Vec<Shape>,
}

/// Tools and formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// COCO instances or stuff: one JSON file for many images.
    Coco,
    /// labelme: a JSON file for each image.
    Labelme,
    /// CVAT for images 1.1: one XML file for many images.
    Cvat,
    /// Label Studio's JSON export.
    LabelStudio,
    /// VGG Image Annotator: one JSON or CSV file for many images.
    Via,
    /// YOLO segmentation: a text file for each image, with class names in `data.yaml`.
    Yolo,
    /// GeoJSON: polygons on a map.
    Geojson,
    /// An ESRI shapefile: polygons on a map.
    Shapefile,
}
