//! A COCO file.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::region::{Form, Order, Region, image_run_lengths};
use crate::base::Size;

/// The image and then its annotations, still without numbers and with names as categories.
pub(super) fn image(regions: &[Region], name: &str, size: Size) -> Vec<Value> {
    let image = json!({ "file_name": name, "width": size.width, "height": size.height });
    std::iter::once(image).chain(regions.iter().map(|region| annotation(region, size))).collect()
}

fn annotation(region: &Region, size: Size) -> Value {
    let segmentation = match &region.form {
        Form::Polygon(points) => json!([points.iter().flatten().collect::<Vec<_>>()]),
        Form::Mask(mask) => {
            let counts = image_run_lengths(mask, size, Order::Columns);
            json!({ "size": [size.height, size.width], "counts": counts })
        }
    };
    let (area, bbox) = (region.area(), region.bounds());
    json!({ "category_id": region.class, "segmentation": segmentation, "area": area, "bbox": bbox, "iscrowd": 0 })
}

/// The file of all images, each with its annotations.
pub(super) fn file(images: Vec<Vec<Value>>, names: &[String]) -> Value {
    let numbers: BTreeMap<&str, usize> = names.iter().map(String::as_str).zip(1..).collect();
    let (mut described, mut annotations) = (Vec::new(), Vec::new());
    for (image_id, parts) in (1..).zip(images) {
        let mut parts = parts.into_iter();
        described.extend(parts.next().map(|mut image| {
            image["id"] = json!(image_id);
            image
        }));
        for mut annotation in parts {
            annotation["id"] = json!(annotations.len() + 1);
            annotation["image_id"] = json!(image_id);
            let number = annotation["category_id"].as_str().and_then(|name| numbers.get(name).copied());
            annotation["category_id"] = json!(number);
            annotations.push(annotation);
        }
    }
    let categories: Vec<Value> =
        (1..).zip(names).map(|(id, name): (usize, _)| json!({ "id": id, "name": name, "supercategory": "" })).collect();
    json!({ "info": {}, "licenses": [], "images": described, "annotations": annotations, "categories": categories })
}
