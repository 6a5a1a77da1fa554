//! GeoTIFF: where an image lies, copied from it as it is, and label maps that keep it.

mod cog;
mod labels;
mod levels;
mod place;
mod probabilities;
mod tags;
mod world;

use std::path::Path;

use super::notes::note_file;
use super::orientation::Orientation;
use super::read::declared_by;
pub use labels::{LabelTiff, LabelTiffWriter};
pub use place::ReferenceSystem;
pub use probabilities::{ProbabilityTiffWriter, ProbabilityType};
use tags::{RawTag, read_tags};
pub(crate) use world::keep_place;

const ORIENTATION: u16 = 274;
const PIXEL_SCALE: u16 = 33550;
const TIEPOINT: u16 = 33922;
const TRANSFORMATION: u16 = 34264;
const KEYS: u16 = 34735;
const KEYS_DOUBLES: u16 = 34736;
const KEYS_TEXT: u16 = 34737;
/// All that says where an image lies.
const GEOGRAPHY: [u16; 6] = [PIXEL_SCALE, TIEPOINT, TRANSFORMATION, KEYS, KEYS_DOUBLES, KEYS_TEXT];

/// Where an image lies: its coordinate reference system, and the coordinates of its pixels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Georeference {
    tags: Vec<RawTag>,
    /// The orientation that a TIFF declares; its coordinates are those of the pixels as they are stored.
    orientation: Option<u16>,
}

/// Whether a file is a TIFF with the tags of a GeoTIFF. Only its directory is read; a damaged file is none.
pub fn is_geotiff(path: &Path) -> bool {
    let placed = [TIEPOINT, TRANSFORMATION, KEYS];
    read_tags(path, &placed).is_ok_and(|tags| !tags.is_empty())
}

/// Whether a file declares that its pixels are to be turned, and they are.
pub fn declares_orientation(path: &Path) -> bool {
    let in_tiff = || {
        let tags = read_tags(path, &[ORIENTATION]).unwrap_or_default();
        tags.first().and_then(|tag| Orientation::from_exif(u16::try_from(tag.number()?).ok()?))
    };
    declared_by(path).or_else(in_tiff).is_some()
}

impl Georeference {
    /// What the tags of a TIFF say, or the world file beside an image; `None` without either. A world file that is damaged,
    /// or beside an image that is turned upright, is noted and left out.
    pub fn of(image: &Path) -> Option<Self> {
        let codes = [&GEOGRAPHY[..], &[ORIENTATION]].concat();
        let mut found = read_tags(image, &codes).unwrap_or_else(|_| {
            if is_geotiff(image) {
                note_file(image, "its geographic tags are damaged, so that its GeoTIFF has no coordinates");
            }
            Vec::new()
        });
        let orientation = found.iter().position(|tag| tag.code == ORIENTATION).map(|at| found.remove(at));
        let orientation = orientation.and_then(|tag| u16::try_from(tag.number()?).ok()).filter(|value| *value != 1);
        if !found.iter().any(|tag| [TIEPOINT, TRANSFORMATION].contains(&tag.code)) {
            let tags = of_world_file(image).unwrap_or_default();
            found.retain(|tag| tag.code != PIXEL_SCALE || tags.is_empty());
            found.extend(tags);
        }
        (!found.is_empty()).then_some(Self { tags: found, orientation })
    }

    /// What turns an upright map as the image is stored.
    fn undone(&self) -> Option<Orientation> {
        // A quarter turn is undone by one the other way; all else undoes itself.
        let undoing = match self.orientation? {
            6 => 8,
            8 => 6,
            other => other,
        };
        Orientation::from_exif(undoing)
    }
}

fn of_world_file(image: &Path) -> Option<Vec<RawTag>> {
    let world = world::beside(image)?;
    if declared_by(image).is_some() {
        note_file(
            image,
            "is turned upright, which its world file does not account for: the GeoTIFF has no coordinates",
        );
        return None;
    }
    world::read(&world)
        .inspect_err(|fault| {
            note_file(&world, &format!("not a world file, so the GeoTIFF has no coordinates: {fault}"))
        })
        .ok()
}
