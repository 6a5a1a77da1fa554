//! What the tags of a GeoTIFF say: the coordinates of pixels, and the name of their coordinate reference system.

use super::tags::{DOUBLE, RawTag, SHORT};
use super::{Georeference, KEYS, PIXEL_SCALE, TIEPOINT, TRANSFORMATION};
use crate::base::Size;
use crate::image::orientation::Orientation;

/// Keys of the GeoKeyDirectory.
const MODEL_TYPE: u16 = 1024;
const RASTER_TYPE: u16 = 1025;
const GEOGRAPHIC_TYPE: u16 = 2048;
const PROJECTED_TYPE: u16 = 3072;
/// Values of these.
const MODEL_GEOGRAPHIC: u16 = 2;
const PIXEL_IS_POINT: u16 = 2;
const USER_DEFINED: u16 = 32767;

/// The coordinate reference system of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceSystem {
    /// By its number in the EPSG register.
    Epsg(u16),
    /// Described by parameters; it has no number.
    UserDefined,
    /// Not stated.
    Unknown,
}

impl Georeference {
    /// The transform of pixels to coordinates, in GDAL's order: x = t\[0\] + t\[1\] column + t\[2\] row and
    /// y = t\[3\] + t\[4\] column + t\[5\] row, counted from the corner of the first pixel. `size` and pixels are those of the
    /// image as it is read, that is upright. `None` if there is no such transform, as with several ground control points.
    pub fn transform(&self, size: Size) -> Option<[f64; 6]> {
        let stored = self.stored_transform()?;
        let is_regular =
            stored[1] * stored[5] != stored[2] * stored[4] && stored.iter().all(|number| number.is_finite());
        let orientation = self.orientation.and_then(Orientation::from_exif);
        is_regular.then(|| orientation.map_or(stored, |orientation| upright(stored, orientation, size)))
    }

    /// The coordinate reference system of these coordinates.
    pub fn reference_system(&self) -> ReferenceSystem {
        let is_geographic = self.key(MODEL_TYPE) == Some(MODEL_GEOGRAPHIC);
        let projected = self.key(PROJECTED_TYPE).filter(|_| !is_geographic);
        // The geographic one is only the base of a projection whose type is not stated.
        match projected.or_else(|| self.key(GEOGRAPHIC_TYPE).filter(|_| is_geographic)) {
            Some(USER_DEFINED) => ReferenceSystem::UserDefined,
            Some(number @ 1..) => ReferenceSystem::Epsg(number),
            _ if self.tags.iter().any(|tag| tag.code == KEYS) => ReferenceSystem::UserDefined,
            _ => ReferenceSystem::Unknown,
        }
    }

    /// The transform of the pixels as they are stored, as GDAL has it.
    fn stored_transform(&self) -> Option<[f64; 6]> {
        let mut transform = match (self.doubles(PIXEL_SCALE).as_slice(), self.doubles(TIEPOINT).as_slice()) {
            (&[x, y, ..], &[column, row, _, left, top, ..]) if x != 0.0 && y != 0.0 => {
                let down = -y.abs();
                [left - column * x, x, 0.0, top - row * down, 0.0, down]
            }
            _ => match self.doubles(TRANSFORMATION).as_slice() {
                &[a, b, _, x, d, e, _, y, _, _, _, _, _, _, _, _] => [x, a, b, y, d, e],
                _ => return None,
            },
        };
        if self.key(RASTER_TYPE) == Some(PIXEL_IS_POINT) {
            transform[0] -= (transform[1] + transform[2]) / 2.0;
            transform[3] -= (transform[4] + transform[5]) / 2.0;
        }
        Some(transform)
    }

    fn tag(&self, code: u16, kind: u16) -> Option<&RawTag> {
        self.tags.iter().find(|tag| tag.code == code && tag.kind == kind)
    }

    fn doubles(&self, code: u16) -> Vec<f64> {
        let bytes = self.tag(code, DOUBLE).map_or(&[][..], |tag| &tag.bytes);
        bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
    }

    /// The value of a key that is stored in the directory of keys itself.
    fn key(&self, wanted: u16) -> Option<u16> {
        let bytes = &self.tag(KEYS, SHORT)?.bytes;
        let numbers: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect();
        let entries = numbers.as_chunks::<4>().0.iter().skip(1);
        entries.filter(|[key, place, ..]| *key == wanted && *place == 0).map(|[.., value]| *value).next()
    }
}

/// A transform of stored pixels as one of upright pixels.
fn upright(stored: [f64; 6], orientation: Orientation, size: Size) -> [f64; 6] {
    let corner = |x: f64, y: f64| {
        let [column, row] = orientation.stored_corner(size, [x, y]);
        let coordinate = |t: &[f64]| t[0] + t[1] * column + t[2] * row;
        [coordinate(&stored[..3]), coordinate(&stored[3..])]
    };
    let linear = |at: usize| {
        // Of steps, so that no digits are lost to the size of the coordinates.
        let [origin, right, below] = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]].map(|at| orientation.stored_corner(size, at));
        let step = |to: [f64; 2]| stored[at + 1] * (to[0] - origin[0]) + stored[at + 2] * (to[1] - origin[1]);
        [step(right), step(below)]
    };
    let ([x, y], [a, b], [d, e]) = (corner(0.0, 0.0), linear(0), linear(3));
    [x, a, b, y, d, e]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 90, height: 70 };
    const TIE: [f64; 6] = [2.0, 3.0, 0.0, 500.0, 900.0, 0.0];
    const MATRIX: [f64; 16] = [8.0, 5.0, 0.0, 500.0, 4.0, -8.0, 0.0, 900.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];

    fn keys(entries: &[[u16; 2]]) -> RawTag {
        let all = entries.iter().flat_map(|&[key, value]| [key, 0, 1, value]);
        RawTag::shorts(KEYS, &[1, 1, 0, entries.len() as u16].into_iter().chain(all).collect::<Vec<_>>())
    }

    fn place(tags: Vec<RawTag>) -> Georeference {
        Georeference { tags, orientation: None }
    }

    #[test]
    fn transforms_are_those_of_gdal() {
        let scale = || RawTag::doubles(PIXEL_SCALE, &[10.0, 20.0, 0.0]);
        let of = |tags: Vec<RawTag>| place(tags).transform(SIZE);
        let scaled = [480.0, 10.0, 0.0, 960.0, 0.0, -20.0];
        assert_eq!(of(vec![scale(), RawTag::doubles(TIEPOINT, &TIE)]), Some(scaled));
        let matrix = [500.0, 8.0, 5.0, 900.0, 4.0, -8.0];
        assert_eq!(of(vec![RawTag::doubles(TRANSFORMATION, &MATRIX)]), Some(matrix));
        let point = keys(&[[RASTER_TYPE, PIXEL_IS_POINT]]);
        let shifted = [475.0, 10.0, 0.0, 970.0, 0.0, -20.0];
        assert_eq!(of(vec![scale(), RawTag::doubles(TIEPOINT, &TIE), point]), Some(shifted));
        assert_eq!(of(vec![RawTag::doubles(TIEPOINT, &[TIE, TIE].concat())]), None);
        assert_eq!(of(vec![RawTag::doubles(TRANSFORMATION, &[0.0; 16])]), None);
    }

    #[test]
    fn upright_pixels_have_the_coordinates_of_the_stored_ones() {
        let stored = [500.0, 8.0, 5.0, 900.0, 4.0, -8.0];
        let at = |t: [f64; 6], x: f64, y: f64| [t[0] + t[1] * x + t[2] * y, t[3] + t[4] * x + t[5] * y];
        for value in 2..=8 {
            let orientation = Orientation::from_exif(value).unwrap();
            let size = orientation.size(SIZE);
            let place =
                Georeference { orientation: Some(value), ..place(vec![RawTag::doubles(TRANSFORMATION, &MATRIX)]) };
            let transform = place.transform(size).unwrap();
            // A table of the centres of stored pixels, turned upright.
            let centres: Vec<[f64; 2]> = (0..SIZE.width * SIZE.height)
                .map(|i| at(stored, (i % SIZE.width) as f64 + 0.5, (i / SIZE.width) as f64 + 0.5))
                .collect();
            for (i, centre) in orientation.apply_to(SIZE, &centres).into_iter().enumerate() {
                let found = at(transform, (i % size.width) as f64 + 0.5, (i / size.width) as f64 + 0.5);
                assert_eq!(found, centre, "{value}: {i}");
            }
        }
    }

    #[test]
    fn reference_systems_are_named_by_their_number() {
        let of = |entries: &[[u16; 2]]| place(vec![keys(entries)]).reference_system();
        assert_eq!(of(&[[MODEL_TYPE, 1], [PROJECTED_TYPE, 32633]]), ReferenceSystem::Epsg(32633));
        assert_eq!(of(&[[MODEL_TYPE, 2], [GEOGRAPHIC_TYPE, 4326]]), ReferenceSystem::Epsg(4326));
        let own = [[MODEL_TYPE, 1], [GEOGRAPHIC_TYPE, 4326], [PROJECTED_TYPE, USER_DEFINED]];
        assert_eq!(of(&own), ReferenceSystem::UserDefined);
        assert_eq!(of(&own[..2]), ReferenceSystem::UserDefined);
        assert_eq!(place(Vec::new()).reference_system(), ReferenceSystem::Unknown);
    }
}
