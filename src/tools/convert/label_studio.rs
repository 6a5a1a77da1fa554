//! Tasks of Label Studio with predictions, as its import takes them.

use serde_json::{Value, json};

use super::region::{Form, Order, Region, image_run_lengths};
use crate::annotation::Mask;
use crate::base::Size;

/// Widths in bits of the four kinds of run lengths.
const WIDTHS: [u32; 4] = [3, 4, 8, 16];
/// Bits of a value.
const WORD: u32 = 8;
/// Bands of a packed mask: red, green, blue and opacity, all the same.
const BANDS: usize = 4;

/// The task of an image.
pub(super) fn task(regions: &[Region], name: &str, size: Size) -> Value {
    let results: Vec<Value> = (1..).zip(regions).map(|(number, region)| result(number, region, size)).collect();
    json!({
        "data": { "image": name },
        "predictions": [{ "model_version": concat!("segtool ", env!("CARGO_PKG_VERSION")), "result": results }],
    })
}

fn result(number: usize, region: &Region, size: Size) -> Value {
    let (width, height) = (size.width as f64, size.height as f64);
    let (kind, from, mut value) = match &region.form {
        Form::Polygon(points) => {
            let shares: Vec<[f64; 2]> = points.iter().map(|[x, y]| [100.0 * x / width, 100.0 * y / height]).collect();
            ("polygonlabels", "polygon", json!({ "points": shares, "closed": true }))
        }
        Form::Mask(mask) => ("brushlabels", "brush", json!({ "format": "rle", "rle": packed(mask, size) })),
    };
    value[kind] = json!([region.class]);
    json!({
        "id": format!("r{number}"), "type": kind, "from_name": from, "to_name": "image", "original_width": size.width,
        "original_height": size.height, "image_rotation": 0, "value": value,
    })
}

/// The pixels of a mask as the library `@thi.ng/rle-pack` packs them: a head, then runs of equal values.
fn packed(mask: &Mask, size: Size) -> Vec<u8> {
    let mut out = Bits::default();
    out.put((BANDS * size.width * size.height) as u32, 32);
    out.put(WORD - 1, 5);
    WIDTHS.into_iter().for_each(|width| out.put(width - 1, 4));
    for (i, run) in image_run_lengths(mask, size, Order::Rows).into_iter().enumerate() {
        let mut left = BANDS * run;
        while left > 0 {
            let length = left.min(1 << WIDTHS[3]);
            let kind = WIDTHS.iter().position(|width| length <= 1 << width).unwrap_or(WIDTHS.len() - 1);
            out.put(1, 1);
            out.put(kind as u32, 2);
            out.put(length as u32 - 1, WIDTHS[kind]);
            // Every other run is of pixels that are set.
            out.put(if i % 2 == 1 { u32::from(u8::MAX) } else { 0 }, WORD);
            left -= length;
        }
    }
    out.bytes
}

/// Bits in bytes, the highest first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Bits that are free in the last byte.
    free: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for place in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> place & 1) as u8) << self.free;
            }
        }
    }
}
