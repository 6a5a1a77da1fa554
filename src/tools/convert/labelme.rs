//! labelme's files.

use std::io::Cursor;
use std::path::{Component, Path};

use ::image::{GrayImage, ImageFormat};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::region::{Form, Region, bits};
use crate::annotation::Mask;
use crate::base::{Error, Result, Size};

/// The version of labelme whose form this is.
const VERSION: &str = "5.5.0";

pub(super) fn file(regions: &[Region], size: Size, image: &str) -> Result<Vec<u8>> {
    let shapes: Vec<Value> = regions.iter().map(shape).collect::<Result<_>>()?;
    let file = json!({
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": null,
        "imageHeight": size.height,
        "imageWidth": size.width,
    });
    serde_json::to_vec_pretty(&file).map_err(|e| Error::failed("write the annotations", e))
}

fn shape(region: &Region) -> Result<Value> {
    let (kind, points, mask) = match &region.form {
        Form::Polygon(points) => ("polygon", json!(points), Value::Null),
        Form::Mask(mask) => {
            let (right, bottom) = (mask.left + mask.size.width - 1, mask.top + mask.size.height - 1);
            ("mask", json!([[mask.left, mask.top], [right, bottom]]), json!(png(mask)?))
        }
    };
    Ok(json!({
        "label": region.class, "points": points, "group_id": null, "description": "", "shape_type": kind, "flags": {},
        "mask": mask,
    }))
}

/// The pixels of a mask as a PNG in base64.
fn png(mask: &Mask) -> Result<String> {
    let failed = |reason: String| Error::failed("encode a mask", reason);
    let pixels: Vec<u8> = bits(mask).into_iter().map(|bit| if bit { u8::MAX } else { 0 }).collect();
    let image = GrayImage::from_raw(mask.size.width as u32, mask.size.height as u32, pixels)
        .ok_or_else(|| failed("its size is wrong".into()))?;
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).map_err(|e| failed(e.to_string()))?;
    Ok(STANDARD.encode(bytes.into_inner()))
}

/// The path of an image as seen from the folder of a file, with `/`.
pub(super) fn path_from(file: &Path, image: &Path) -> Result<String> {
    let whole = |path: &Path| std::path::absolute(path).map_err(|e| Error::read(path, e));
    let (file, image) = (whole(file)?, whole(image)?);
    let folder: Vec<Component<'_>> = file.parent().unwrap_or(&file).components().collect();
    let image: Vec<Component<'_>> = image.components().collect();
    let shared = folder.iter().zip(&image).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".to_owned(), folder.len() - shared);
    let down = image[shared..].iter().map(|part| part.as_os_str().to_string_lossy().into_owned());
    Ok(up.chain(down).collect::<Vec<_>>().join("/"))
}
