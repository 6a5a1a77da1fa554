//! Where images lie, and which lie over each other.

use std::path::Path;

use super::pair::Pair;
use crate::image::{Georeference, ReferenceSystem, read_size};
use rayon::prelude::*;

/// Share of the smaller image that must be covered by the other: less is a seam of neighbours, or rounding.
const LEAST_SHARE: f64 = 0.01;
/// Most pairs that are listed.
const MOST_PAIRS: usize = 1_000_000;

/// The rectangle that an image covers, in the coordinates of its file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Footprint {
    system: ReferenceSystem,
    left: f64,
    right: f64,
    bottom: f64,
    top: f64,
}

impl Footprint {
    /// Where an image lies; `None` where its file does not say.
    pub fn of(image: &Path) -> Option<Self> {
        let place = Georeference::of(image)?;
        let size = read_size(image)?;
        let t = place.transform(size)?;
        let (w, h) = (size.width as f64, size.height as f64);
        let corners = [(0.0, 0.0), (w, 0.0), (0.0, h), (w, h)];
        let xs = corners.map(|(x, y)| t[0] + t[1] * x + t[2] * y);
        let ys = corners.map(|(x, y)| t[3] + t[4] * x + t[5] * y);
        let least = |values: [f64; 4]| values.into_iter().fold(f64::INFINITY, f64::min);
        let most = |values: [f64; 4]| values.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let system = place.reference_system();
        Some(Self { system, left: least(xs), right: most(xs), bottom: least(ys), top: most(ys) })
    }

    /// Whether two images lie over each other, by more than a seam.
    pub fn overlaps(&self, other: &Self) -> bool {
        let across = self.right.min(other.right) - self.left.max(other.left);
        let along = self.top.min(other.top) - self.bottom.max(other.bottom);
        let least = LEAST_SHARE * self.area().min(other.area());
        self.system == other.system && across > 0.0 && along > 0.0 && across * along > least
    }

    fn area(&self) -> f64 {
        (self.right - self.left) * (self.top - self.bottom)
    }
}

/// The pairs of images that lie over each other, by index, in ascending order; a million at most: thousands of images of one
/// place have more.
pub fn overlapping(places: &[Option<Footprint>]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    each_overlap(places, &mut |pair| {
        if found.len() < MOST_PAIRS {
            found.push(pair);
        }
    });
    found.sort_unstable();
    found
}

/// Hands out each pair of images that lie over each other, by index, the smaller first.
pub(super) fn each_overlap(places: &[Option<Footprint>], take: &mut dyn FnMut((usize, usize))) {
    let mut placed: Vec<(usize, &Footprint)> =
        places.iter().enumerate().filter_map(|(i, place)| Some((i, place.as_ref()?))).collect();
    placed.sort_by(|(_, a), (_, b)| a.left.total_cmp(&b.left));
    for (at, (i, place)) in placed.iter().enumerate() {
        let beside = placed[at + 1..].iter().take_while(|(_, other)| other.left < place.right);
        beside.filter(|(_, other)| place.overlaps(other)).for_each(|(j, _)| take((*i.min(j), *i.max(j))));
    }
}

/// Where the images of pairs lie.
pub(super) fn footprints(pairs: &[Pair]) -> Vec<Option<Footprint>> {
    pairs.par_iter().map(|pair| Footprint::of(&pair.image)).collect()
}

/// What there is to say of validation images that lie over training images, by their georeference.
pub fn overlap_note(train: &[Pair], validation: &[Pair]) -> Option<String> {
    if validation.is_empty() {
        return None;
    }
    let (learnt, scored) = (footprints(train), footprints(validation));
    // The first alone: of one place there may be thousands.
    let covering = |(i, place): (usize, &Option<Footprint>)| {
        let place = place.as_ref()?;
        let at = learnt.iter().position(|other| other.as_ref().is_some_and(|other| other.overlaps(place)))?;
        Some((i, at))
    };
    let across: Vec<(usize, usize)> = scored.par_iter().enumerate().filter_map(covering).collect();
    let (image, other) = across.first()?;
    Some(format!(
        "{} of {} validation images overlap training images by their georeference ({} with {}): validation scores will be \
         too optimistic; `segtool check` tells more",
        across.len(),
        validation.len(),
        validation[*image].image.display(),
        train[*other].image.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_do_not_overlap_but_crops_do() {
        let square = |left: f64, bottom: f64| {
            Some(Footprint {
                system: ReferenceSystem::Epsg(32633),
                left,
                right: left + 10.0,
                bottom,
                top: bottom + 10.0,
            })
        };
        let elsewhere = square(0.0, 0.0).map(|place| Footprint { system: ReferenceSystem::Unknown, ..place });
        let places = [square(10.0, 0.0), square(0.0, 0.0), None, square(15.0, 5.0), elsewhere, square(0.0, 9.999)];
        assert_eq!(overlapping(&places), [(0, 3)]);
    }
}
