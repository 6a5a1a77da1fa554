//! World files: six numbers beside an image that say where it lies.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::tags::RawTag;
use super::{PIXEL_SCALE, TIEPOINT, TRANSFORMATION};
use crate::base::files::read_text;

/// The world file of an image, if it has one: `.jgw` or `.jpgw` of a `.jpg`, and so on, or `.wld`.
pub(super) fn beside(image: &Path) -> Option<PathBuf> {
    let ending = image.extension()?.to_str()?;
    let ends: Vec<char> = ending.chars().collect();
    let short: String = [*ends.first()?, *ends.last()?, 'w'].iter().collect();
    let names = [short, format!("{ending}w"), "wld".to_owned()];
    let spellings = names.iter().flat_map(|name| [name.clone(), name.to_lowercase(), name.to_uppercase()]);
    spellings.map(|name| image.with_extension(OsString::from(name))).find(|path| path.is_file())
}

/// What a world file says, as tags of a GeoTIFF.
///
/// # Errors
///
/// What is wrong with the file, as the end of a sentence.
pub(super) fn read(path: &Path) -> Result<Vec<RawTag>, String> {
    let text = read_text(path).map_err(|fault| fault.to_string())?;
    let number = |word: &str| word.parse::<f64>().ok().filter(|number| number.is_finite());
    let numbers: Option<Vec<f64>> = text.split_whitespace().map(number).collect();
    match numbers.as_deref() {
        Some(&[a, d, b, e, c, f]) if a * e != b * d => Ok(tags(a, d, b, e, c, f)),
        _ => Err("it should hold six numbers, with steps along rows and columns that are not 0 or parallel".into()),
    }
}

/// x = a column + b row + c and y = d column + e row + f, of the centres of pixels.
fn tags(a: f64, d: f64, b: f64, e: f64, c: f64, f: f64) -> Vec<RawTag> {
    // A GeoTIFF counts from the corner of the first pixel.
    let (x, y) = (c - (a + b) / 2.0, f - (d + e) / 2.0);
    if b == 0.0 && d == 0.0 && a > 0.0 && e < 0.0 {
        let tiepoint = [0.0, 0.0, 0.0, x, y, 0.0];
        return vec![RawTag::doubles(PIXEL_SCALE, &[a, -e, 0.0]), RawTag::doubles(TIEPOINT, &tiepoint)];
    }
    let rows = [[a, b, 0.0, x], [d, e, 0.0, y], [0.0; 4], [0.0, 0.0, 0.0, 1.0]];
    vec![RawTag::doubles(TRANSFORMATION, rows.as_flattened())]
}
