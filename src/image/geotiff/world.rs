//! World files: six numbers beside an image that say where it lies.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::tags::RawTag;
use super::{Georeference, PIXEL_SCALE, ReferenceSystem, TIEPOINT, TRANSFORMATION};
use crate::base::Result;
use crate::base::files::{is_file, read_text, write_bytes};
use crate::image::notes::note_file;
use crate::image::read::read_size;

/// The world file of an image, if it has one: `.jgw` or `.jpgw` of a `.jpg`, and so on, or `.wld`.
pub(super) fn beside(image: &Path) -> Option<PathBuf> {
    let ending = image.extension()?.to_str()?;
    let ends: Vec<char> = ending.chars().collect();
    let short: String = [*ends.first()?, *ends.last()?, 'w'].iter().collect();
    let names = [short, format!("{ending}w"), "wld".to_owned()];
    let spellings = names.iter().flat_map(|name| {
        let [lower, upper] = [name.to_lowercase(), name.to_uppercase()];
        let is_mixed = *name != lower && *name != upper;
        [is_mixed.then(|| name.clone()), Some(lower), Some(upper)].into_iter().flatten()
    });
    spellings.map(|name| image.with_extension(OsString::from(name))).find(|path| is_file(path))
}

/// What a world file says, as tags of a GeoTIFF.
///
/// # Errors
///
/// What is wrong with the file, as the end of a sentence.
pub(super) fn read(path: &Path) -> std::result::Result<Vec<RawTag>, String> {
    let text = read_text(path).map_err(|fault| fault.to_string())?;
    let number = |word: &str| word.parse::<f64>().ok().filter(|number| number.is_finite());
    let numbers: Option<Vec<f64>> = text.split_whitespace().map(number).collect();
    match numbers.as_deref() {
        Some(&[a, d, b, e, c, f]) if a * e != b * d => Ok(tags(a, d, b, e, c, f)),
        _ => Err("it should hold six numbers, with steps along rows and columns that are not 0 or parallel".into()),
    }
}

/// Puts a world file beside a PNG, which has no place for coordinates itself, if the image of the same pixels that it was made
/// of has some; and a system with an EPSG number into `.png.aux.xml`, where GDAL and QGIS look for it. What is lost is noted.
///
/// # Errors
///
/// If the files cannot be written.
pub(crate) fn keep_place(source: &Path, png: &Path) -> Result<()> {
    let Some(place) = Georeference::of(source) else { return Ok(()) };
    let Some(transform) = read_size(source).and_then(|size| place.transform(size)) else {
        let lost = "the PNG made of it has no coordinates: those of the image are not a transform of its pixels";
        note_file(source, lost);
        return Ok(());
    };
    write_bytes(&png.with_extension("pgw"), text(transform).as_bytes())?;
    match place.reference_system() {
        ReferenceSystem::Epsg(number) => {
            let text = format!("<PAMDataset>\n  <SRS>EPSG:{number}</SRS>\n</PAMDataset>\n");
            write_bytes(&png.with_added_extension("aux.xml"), text.as_bytes())
        }
        ReferenceSystem::UserDefined => {
            let lost = "the PNG made of it has a world file, but not its coordinate reference system, which has no \
                        EPSG number";
            note_file(source, lost);
            Ok(())
        }
        ReferenceSystem::Unknown => Ok(()),
    }
}

/// A transform as a world file, which counts from the centre of the first pixel.
fn text([x, a, b, y, d, e]: [f64; 6]) -> String {
    let (c, f) = (x + (a + b) / 2.0, y + (d + e) / 2.0);
    [a, d, b, e, c, f].map(|number| format!("{number}\n")).concat()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_file_says_what_the_one_that_it_was_made_of_says() {
        let folder = tempfile::tempdir().unwrap();
        let [jpg, jgw, png] = ["a.jpg", "a.jgw", "b.png"].map(|name| folder.path().join(name));
        image::RgbImage::new(4, 3).save(&jpg).unwrap();
        image::RgbImage::new(4, 3).save(&png).unwrap();
        std::fs::write(&jgw, "2.5\n0.5\n-0.25\n-2\n1001.125\n2000.5\n").unwrap();
        keep_place(&jpg, &png).unwrap();
        assert_eq!(
            std::fs::read_to_string(&jgw).unwrap(),
            std::fs::read_to_string(folder.path().join("b.pgw")).unwrap()
        );
        assert_eq!(Georeference::of(&jpg), Georeference::of(&png));
        assert!(!folder.path().join("b.png.aux.xml").exists());
    }
}
