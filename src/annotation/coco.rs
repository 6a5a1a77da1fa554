//! COCO: one JSON file for the instances or the stuff of many images.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::parts::{check_mask, image_size, json, outline};
use super::{AnnotatedImage, Annotations, Format, Geometry, Mask, Shape, Unit};
use crate::base::{Error, Result, Size};

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

/// Numbers in most files, texts in some.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(untagged)]
enum Id {
    Number(i64),
    Text(String),
}

#[derive(Deserialize)]
struct Image {
    id: Id,
    file_name: String,
    width: Option<usize>,
    height: Option<usize>,
}

#[derive(Deserialize)]
struct Category {
    id: Id,
    name: String,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: Id,
    category_id: Option<Id>,
    #[serde(default)]
    segmentation: Option<Segmentation>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Segmentation {
    Polygons(Vec<Vec<f64>>),
    Runs { counts: Counts, size: [usize; 2] },
}

/// Lengths of runs down the columns, beginning with pixels that are not set.
#[derive(Deserialize)]
#[serde(untagged)]
enum Counts {
    Plain(Vec<usize>),
    Packed(String),
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Annotations> {
    let file: File = json(path, text)?;
    let fault = |i: usize, reason: String| Error::content(path, format!("annotation {}: {reason}", i + 1));
    let names: BTreeMap<&Id, &str> = file.categories.iter().map(|c| (&c.id, c.name.as_str())).collect();
    let places: BTreeMap<&Id, usize> = file.images.iter().enumerate().map(|(i, image)| (&image.id, i)).collect();
    let image = |image: &Image| AnnotatedImage {
        name: image.file_name.clone(),
        size: image_size(image.width, image.height),
        shapes: Vec::new(),
    };
    let mut images: Vec<AnnotatedImage> = file.images.iter().map(image).collect();
    for (i, annotation) in file.annotations.iter().enumerate() {
        let category = annotation.category_id.as_ref();
        let class = *category.and_then(|id| names.get(id)).ok_or_else(|| {
            fault(i, "its category_id is not among the categories; COCO panoptic files have none: convert them".into())
        })?;
        let at = places
            .get(&annotation.image_id)
            .ok_or_else(|| fault(i, "its image_id is not among the images; delete it, or add the image".into()))?;
        if let (Some(Segmentation::Runs { size: [height, width], .. }), Some(stated)) =
            (&annotation.segmentation, images[*at].size)
        {
            let size = Size { width: *width, height: *height };
            if size != stated {
                return Err(fault(i, format!("its mask is {size}, but the image {stated}; export it again")));
            }
        }
        let geometry = annotation.geometry(path).map_err(|reason| fault(i, reason))?;
        images[*at].shapes.extend(geometry.into_iter().map(|geometry| Shape { class: class.into(), geometry }));
    }
    let declared = file.categories.iter().map(|category| category.name.clone());
    Ok(Annotations::new(path, (Format::Coco, Unit::Pixels), declared, images))
}

impl Annotation {
    /// The union of its polygons, which COCO takes one by one, or its pixels.
    fn geometry(&self, path: &Path) -> Result<Vec<Geometry>, String> {
        match &self.segmentation {
            Some(Segmentation::Polygons(polygons)) if !polygons.is_empty() => {
                polygons.iter().map(|numbers| Ok(Geometry::Polygon(vec![outline(numbers)?]))).collect()
            }
            Some(Segmentation::Runs { counts, size: [height, width] }) => {
                let size = Size { width: *width, height: *height };
                Ok(vec![Geometry::Mask(counts.mask(path, size)?)])
            }
            _ => Err("it has no `segmentation`, only a box; export polygons or masks".into()),
        }
    }
}

impl Counts {
    fn mask(&self, path: &Path, size: Size) -> Result<Mask, String> {
        let counts = match self {
            Self::Plain(counts) => counts.clone(),
            Self::Packed(text) => unpacked(text).ok_or("its run lengths are damaged")?,
        };
        let pixels = size.width.checked_mul(size.height).ok_or("its size is too large")?;
        let total = counts.iter().try_fold(0, |sum: usize, count| sum.checked_add(*count));
        if total != Some(pixels) {
            let total = total.map_or_else(|| "too many".into(), |total| total.to_string());
            return Err(format!("its run lengths cover {total} pixels, but its size is {size}"));
        }
        check_mask(path, size, 1)?;
        let mut runs = Vec::new();
        let mut at = 0;
        for (i, count) in counts.into_iter().enumerate() {
            if i % 2 == 1 && count > 0 {
                runs.push(at..at + count);
            }
            at += count;
        }
        Ok(Mask::from_columns(size, &runs))
    }
}

/// Run lengths of pycocotools' text: five bits a character, the lowest first, a sixth bit where more follow; from the fourth
/// on as the difference to the one before the last.
fn unpacked(text: &str) -> Option<Vec<usize>> {
    let mut counts: Vec<i64> = Vec::new();
    let mut bytes = text.bytes();
    while let Some(first) = bytes.next() {
        let (mut number, mut shift, mut byte) = (0_i64, 0, first);
        loop {
            let bits = i64::from(byte.checked_sub(48).filter(|bits| *bits < 64)?);
            number |= (bits & 0x1f).checked_shl(shift).filter(|_| shift < 60)?;
            shift += 5;
            if bits & 0x20 == 0 {
                if bits & 0x10 != 0 {
                    number |= -1 << shift;
                }
                break;
            }
            byte = bytes.next()?;
        }
        if counts.len() > 2 {
            number = number.checked_add(counts[counts.len() - 2])?;
        }
        counts.push(number);
    }
    counts.into_iter().map(|count| usize::try_from(count).ok()).collect()
}
