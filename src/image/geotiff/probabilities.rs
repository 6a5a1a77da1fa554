//! Probabilities as GeoTIFFs.

use std::path::Path;

use super::Georeference;
use super::cog::{Cog, Head, SHEETS, SPOOLED};
use super::levels::{Share, TILE};
use crate::base::markup::escaped;
use crate::base::named_enum::named_enum;
use crate::base::{Result, Size};

/// The number that stands for a probability of 1 in 8 bits, and the one for nodata.
const FULL: u8 = 250;
const NODATA: u8 = 255;

/// How probabilities are stored in GeoTIFFs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProbabilityType {
    /// float32; nodata is NaN.
    #[default]
    Float32,
    /// 8 bits, in steps of 0.004, which the file tells as its scale; nodata is 255.
    Uint8,
}

named_enum!(ProbabilityType, "type of probabilities", "float32" => Float32, "uint8" => Uint8);

/// Writes probabilities as a Cloud Optimized GeoTIFF, some rows at a time, in the order in which the image stores them.
/// Overviews hold means. What is not finished leaves nothing.
#[derive(Debug)]
pub struct ProbabilityTiffWriter(Kind);

#[derive(Debug)]
enum Kind {
    Floats(Cog<f32>),
    Shares(Cog<Share>),
}

impl ProbabilityTiffWriter {
    /// A raster of `size` at `place` with a band of each of these names.
    ///
    /// # Errors
    ///
    /// If the raster has no pixels, or more than a TIFF can have.
    pub fn new(
        path: &Path,
        size: Size,
        bands: &[&str],
        kind: ProbabilityType,
        place: Option<Georeference>,
    ) -> Result<Self> {
        let mut items = String::new();
        for (i, name) in bands.iter().enumerate() {
            let name = escaped(name);
            items += &format!("<Item name=\"DESCRIPTION\" sample=\"{i}\" role=\"description\">{name}</Item>");
            if kind == ProbabilityType::Uint8 {
                let scale = 1.0 / f64::from(FULL);
                items += &format!("<Item name=\"OFFSET\" sample=\"{i}\" role=\"offset\">0</Item>");
                items += &format!("<Item name=\"SCALE\" sample=\"{i}\" role=\"scale\">{scale}</Item>");
            }
        }
        let metadata = Some(format!("<GDALMetadata>{items}</GDALMetadata>"));
        let head = |nodata: &str| Head { size, palette: None, nodata: Some(nodata.into()), metadata, place };
        Ok(Self(match kind {
            ProbabilityType::Float32 => {
                Kind::Floats(Cog::new(path, head("nan"), Some(f32::NAN), bands.len(), SPOOLED)?)
            }
            ProbabilityType::Uint8 => {
                let head = head(&NODATA.to_string());
                Kind::Shares(Cog::new(path, head, Some(Share(NODATA)), bands.len(), SPOOLED)?)
            }
        }))
    }

    /// Bytes of memory that a writer of `bands` bands, `width` pixels wide, takes, about.
    pub fn memory(width: usize, bands: usize) -> u64 {
        (TILE * width * bands * 12) as u64 + SHEETS
    }

    /// Adds whole rows, `[bands, rows, width]`; `has_data` tells of each pixel, `[rows, width]`, whether it has data.
    ///
    /// # Errors
    ///
    /// If they cannot be written, or are more than the raster has.
    pub fn push(&mut self, probabilities: &[f32], has_data: &[bool]) -> Result<()> {
        let each = || has_data.iter().copied().cycle().zip(probabilities.iter().copied());
        match &mut self.0 {
            Kind::Floats(cog) => {
                cog.push(&each().map(|(has_data, p)| if has_data { p } else { f32::NAN }).collect::<Vec<_>>())
            }
            Kind::Shares(cog) => {
                let share = |(has_data, p): (bool, f32)| {
                    Share(if has_data { (p.clamp(0.0, 1.0) * f32::from(FULL)).round() as u8 } else { NODATA })
                };
                cog.push(&each().map(share).collect::<Vec<_>>())
            }
        }
    }

    /// Puts the file together and gives it its name.
    ///
    /// # Errors
    ///
    /// If rows are missing, or the file cannot be written.
    pub fn finish(self) -> Result<()> {
        match self.0 {
            Kind::Floats(cog) => cog.finish(None),
            Kind::Shares(cog) => cog.finish(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Samples, read_image};

    const SIZE: Size = Size { width: 3, height: 2 };

    #[test]
    fn bands_are_read_back_and_pixels_without_data_are_nodata() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        let values = [0.0, 0.25, 1.0, 0.5, 0.125, 0.2, 1.0, 0.75, 0.0, 0.5, 0.875, 0.8];
        let has_data = [true, true, true, true, false, true];
        for (kind, expected) in [
            (ProbabilityType::Float32, values.map(|p| p * 250.0)),
            (ProbabilityType::Uint8, values.map(|p| (p * 250.0f32).round())),
        ] {
            let mut writer = ProbabilityTiffWriter::new(&path, SIZE, &["a<b", "c"], kind, None).unwrap();
            for y in 0..2 {
                let rows = [&values[3 * y..3 * y + 3], &values[6 + 3 * y..9 + 3 * y]].concat();
                writer.push(&rows, &has_data[3 * y..3 * y + 3]).unwrap();
            }
            writer.finish().unwrap();
            let image = read_image(&path).unwrap();
            assert_eq!((image.size, image.bands), (SIZE, 2));
            let found: Vec<f32> = match image.samples {
                Samples::F32(v) => v.into_iter().map(|p| p * 250.0).collect(),
                Samples::U8(v) => v.into_iter().map(f32::from).collect(),
                Samples::U16(_) => panic!("16 bits"),
            };
            for (i, pixel) in found.chunks(2).enumerate().filter(|(i, _)| has_data[*i]) {
                assert_eq!(pixel, [expected[i], expected[6 + i]], "{kind}");
            }
            let is_nodata = if kind == ProbabilityType::Uint8 { found[8] == 255.0 } else { found[8].is_nan() };
            assert!(is_nodata && String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains("a&lt;b"));
        }
    }
}
