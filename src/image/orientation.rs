//! The orientation that a file declares (EXIF, or tag 274 of a TIFF), applied as image viewers, OpenCV and labelling tools
//! apply it.

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

use super::notes;
use super::samples::{Image, Samples};
use crate::base::Size;
use crate::base::named_enum::named_enum;

/// Whether images are turned upright as their files declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrientationPolicy {
    /// They are.
    #[default]
    Apply,
    /// Pixels stay in the order in which they are stored.
    Ignore,
}

named_enum!(OrientationPolicy, "orientation policy", "apply" => Apply, "ignore" => Ignore);

/// What the user asked for, and what the run that was opened last was trained with; 0 where that is not set.
static REQUESTED: AtomicU8 = AtomicU8::new(0);
static FOLLOWED: AtomicU8 = AtomicU8::new(0);

fn set(setting: &AtomicU8, policy: OrientationPolicy) {
    setting.store(if policy == OrientationPolicy::Apply { 1 } else { 2 }, Ordering::Relaxed);
}

/// Sets what is done with declared orientations, for the whole process: images and their labels must be read alike. Without
/// it, the policy of the run that was opened last holds; without a run, orientations are applied.
pub fn set_orientation_policy(policy: OrientationPolicy) {
    set(&REQUESTED, policy);
}

/// Takes over the policy of a run, unless another was requested.
pub(crate) fn follow_orientation_policy(policy: OrientationPolicy) {
    set(&FOLLOWED, policy);
}

/// Whether [`set_orientation_policy`] was called, so that the policies of runs do not matter.
pub fn orientation_is_requested() -> bool {
    REQUESTED.load(Ordering::Relaxed) > 0
}

/// What is done with declared orientations.
pub fn orientation_policy() -> OrientationPolicy {
    let settings = [&REQUESTED, &FOLLOWED].map(|setting| setting.load(Ordering::Relaxed));
    let policy = settings.into_iter().find(|policy| *policy > 0).unwrap_or(1);
    if policy == 1 { OrientationPolicy::Apply } else { OrientationPolicy::Ignore }
}

/// A declared orientation, by where the stored first row and first column belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orientation {
    /// Rows and columns are exchanged before anything else.
    transposed: bool,
    /// Then columns run from right to left.
    mirrored: bool,
    /// Then rows run from the bottom up.
    flipped: bool,
}

impl Orientation {
    /// Of EXIF's number, 1 to 8; `None` where there is nothing to do, or where the policy is to do nothing.
    pub(super) fn from_exif(value: u16) -> Option<Self> {
        let (transposed, mirrored, flipped) = match value {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, true, false),
            7 => (true, true, true),
            8 => (true, false, true),
            _ => return None,
        };
        (orientation_policy() == OrientationPolicy::Apply).then_some(Self { transposed, mirrored, flipped })
    }

    /// EXIF's number in a block of EXIF data, with or without the marker that JPEG puts in front.
    pub(super) fn in_exif(exif: &[u8]) -> Option<u16> {
        let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
        image::metadata::Orientation::from_exif_chunk(exif).map(|orientation| orientation.to_exif().into())
    }

    /// EXIF's number in the chunks of a PNG: its own, the text that ImageMagick writes (EXIF data in hexadecimal digits), or
    /// XMP data.
    pub(super) fn in_png(header: &png::Info<'_>) -> Option<u16> {
        const IMAGE_MAGICK: &str = "Raw profile type exif";
        let raw = || {
            let compressed = header.compressed_latin1_text.iter().filter(|text| text.keyword == IMAGE_MAGICK);
            let plain = header.uncompressed_latin1_text.iter().filter(|text| text.keyword == IMAGE_MAGICK);
            let text =
                compressed.filter_map(|text| text.get_text().ok()).chain(plain.map(|text| text.text.clone())).next()?;
            // A blank line, the name, the number of bytes, then the digits.
            let digits: Vec<u8> = text.lines().skip(3).flat_map(str::bytes).collect();
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            let exif: Vec<u8> = digits.chunks_exact(2).map_while(byte).collect();
            Self::in_exif(&exif)
        };
        let xmp = || {
            let text = header.utf8_text.iter().find(|text| text.keyword == "XML:com.adobe.xmp")?;
            Self::in_xmp(text.get_text().ok()?.as_bytes())
        };
        header.exif_metadata.as_deref().and_then(Self::in_exif).or_else(raw).or_else(xmp)
    }

    /// EXIF's number in XMP data, where it is an attribute or an element.
    pub(super) fn in_xmp(xmp: &[u8]) -> Option<u16> {
        let text = String::from_utf8_lossy(xmp);
        let (_, rest) = text.split_once("tiff:Orientation")?;
        let digit = rest.trim_start_matches(['=', '>', '"', '\'', ' ']).chars().next()?.to_digit(10)?;
        u16::try_from(digit).ok()
    }

    /// The size of an upright image.
    pub(super) fn size(self, Size { width, height }: Size) -> Size {
        if self.transposed { Size { width: height, height: width } } else { Size { width, height } }
    }

    /// For each pixel of an upright image, row by row, its position in the stored one, which is of `size`.
    fn positions(self, stored: Size) -> impl Iterator<Item = usize> + Clone {
        let upright = self.size(stored);
        let place = move |x: usize, y: usize| {
            let x = if self.mirrored { upright.width - 1 - x } else { x };
            let y = if self.flipped { upright.height - 1 - y } else { y };
            if self.transposed { x * stored.width + y } else { y * stored.width + x }
        };
        (0..upright.height).flat_map(move |y| (0..upright.width).map(move |x| place(x, y)))
    }

    /// Where a corner of pixels of an upright image, which is of `size`, is in the stored one.
    pub(super) fn stored_corner(self, size: Size, [x, y]: [f64; 2]) -> [f64; 2] {
        let x = if self.mirrored { size.width as f64 - x } else { x };
        let y = if self.flipped { size.height as f64 - y } else { y };
        if self.transposed { [y, x] } else { [x, y] }
    }

    /// The image upright.
    fn apply(self, raster: &Image) -> Image {
        raster.rearranged(self.size(raster.size), self.positions(raster.size))
    }

    /// Values of pixels, row by row, upright.
    pub(super) fn apply_to<T: Copy>(self, stored: Size, values: &[T]) -> Vec<T> {
        self.positions(stored).map(|i| values[i]).collect()
    }

    /// The opacity of pixels, upright.
    pub(super) fn apply_to_samples(self, stored: Size, samples: &Samples) -> Samples {
        samples.pixels_at(1, self.positions(stored))
    }
}

/// The image turned as its file declares, and whether it was, which is noted.
pub(super) fn upright(path: &Path, raster: Image, orientation: Option<Orientation>) -> (Image, bool) {
    let Some(orientation) = orientation else { return (raster, false) };
    notes::add(notes::Kind::Oriented, path);
    (orientation.apply(&raster), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_in_exif_and_in_xmp() {
        let block = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        assert_eq!((Orientation::in_exif(block), Orientation::in_exif(&block[6..])), (Some(6), Some(6)));
        assert_eq!(Orientation::in_xmp(b"<rdf:Description tiff:Orientation=\"8\"/>"), Some(8));
        assert_eq!(Orientation::in_xmp(b"<tiff:Orientation>3</tiff:Orientation>"), Some(3));
        assert_eq!((Orientation::in_xmp(b"<x/>"), Orientation::in_exif(b"Exif")), (None, None));
    }

    /// EXIF's table: which corner of the upright image the stored first pixel is, and along which side the first row runs.
    #[test]
    fn every_orientation_puts_rows_and_columns_where_exif_says() {
        let stored = Size { width: 3, height: 2 };
        let upright = |value: u16| {
            Orientation::from_exif(value).map_or_else(Vec::new, |o| o.apply_to(stored, &[1, 2, 3, 4, 5, 6]))
        };
        assert!(upright(1).is_empty() && upright(0).is_empty() && upright(9).is_empty());
        assert_eq!(upright(2), [3, 2, 1, 6, 5, 4]);
        assert_eq!(upright(3), [6, 5, 4, 3, 2, 1]);
        assert_eq!(upright(4), [4, 5, 6, 1, 2, 3]);
        assert_eq!(upright(5), [1, 4, 2, 5, 3, 6]);
        assert_eq!(upright(6), [4, 1, 5, 2, 6, 3]);
        assert_eq!(upright(7), [6, 3, 5, 2, 4, 1]);
        assert_eq!(upright(8), [3, 6, 2, 5, 1, 4]);
    }
}
