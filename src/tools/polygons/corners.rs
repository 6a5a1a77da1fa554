//! Corners of outlines, linked into rings while rows arrive.

use std::collections::HashMap;

/// No corner, no region.
pub(super) const NONE: u32 = u32::MAX;

/// A point where pixels meet, counted from the top left of the image; in the order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::tools) struct Vertex {
    pub(super) y: u32,
    pub(super) x: u32,
}

/// A vertex of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Corner {
    pub(super) at: Vertex,
    /// Whether more than two regions meet here, the outside of the image counted as one.
    pub(super) node: bool,
    /// Whether pixels of one value touch here that share no side: a ring may come here twice.
    pub(super) pinch: bool,
}

#[derive(Debug)]
struct Link {
    corner: Corner,
    /// The next corner of the ring.
    next: u32,
    /// Whether it waits to be used again.
    free: bool,
}

/// Corners of all regions that are not finished.
#[derive(Debug, Default)]
pub(super) struct Corners {
    links: Vec<Link>,
    free: Vec<u32>,
}

impl Corners {
    /// Adds a corner, whose successor may not be known yet.
    pub(super) fn add(&mut self, corner: Corner, next: u32) -> u32 {
        let link = Link { corner, next, free: false };
        match self.free.pop() {
            Some(place) => {
                self.links[place as usize] = link;
                place
            }
            None => {
                self.links.push(link);
                self.links.len() as u32 - 1
            }
        }
    }

    /// Says which corner follows one.
    pub(super) fn link(&mut self, corner: u32, next: u32) {
        self.links[corner as usize].next = next;
    }

    /// Takes the rings out that begin at these corners, the one around the region first.
    pub(super) fn take(&mut self, births: &[u32]) -> Vec<Vec<Corner>> {
        let mut rings = Vec::new();
        for &birth in births {
            let (mut ring, mut place) = (Vec::new(), birth);
            while !self.links[place as usize].free {
                let link = &mut self.links[place as usize];
                link.free = true;
                ring.push(link.corner);
                self.free.push(place);
                place = link.next;
            }
            if !ring.is_empty() {
                split(ring, &mut rings);
            }
        }
        if let Some(outer) = rings.iter().position(|ring| doubled_area(ring.iter().map(|corner| corner.at)) > 0) {
            rings.swap(0, outer);
        }
        rings
    }

    /// How many corners there is room for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.links.len()
    }
}

/// Splits a ring where it comes to a vertex for the second time: a hole that touches the outline in a point, or another hole,
/// is a ring by itself.
fn split(ring: Vec<Corner>, rings: &mut Vec<Vec<Corner>>) {
    let mut places: HashMap<Vertex, usize> = HashMap::new();
    let mut path: Vec<Corner> = Vec::with_capacity(ring.len());
    for corner in ring {
        if corner.pinch {
            let here = places.get(&corner.at).copied();
            if let Some(place) = here.filter(|&place| path.get(place).is_some_and(|known| known.at == corner.at)) {
                rings.push(path.drain(place..).collect());
            }
            places.insert(corner.at, path.len());
        }
        path.push(corner);
    }
    rings.push(path);
}

/// Twice the area that a ring goes around: more than 0 where its inside lies to its left, seen on a screen.
pub(super) fn doubled_area(ring: impl Iterator<Item = Vertex> + Clone) -> i64 {
    let after = ring.clone().cycle().skip(1);
    ring.zip(after).map(|(a, b)| i64::from(b.x) * i64::from(a.y) - i64::from(a.x) * i64::from(b.y)).sum()
}
