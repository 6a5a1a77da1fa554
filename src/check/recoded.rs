//! Crops of one scene that were saved with a lossy format since: their pixels differ a little everywhere. Images with some
//! [landmarks](super::landmarks) in common, all shifted alike, are read again and compared where they overlap.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::content::{Link, LinkKind};
use super::fine::Fine;
use super::landmarks::Landmark;
use super::repeated::Repeated;
use super::summary::ImageSummary;
use crate::base::event::{Event, Sink, Task};

/// Most bits in which the codes of one landmark differ, and fewest landmarks that two crops share.
const MOST_BITS: u32 = 8;
const FEWEST_SHARED: usize = 4;
/// How many bits of a code must be the same for two to be compared: of a few codes, and of many.
const KEY_BITS: [(usize, u32); 3] = [(50_000, 16), (250_000, 20), (usize::MAX, 24)];
/// Bits between the beginnings of such parts of a code.
const STEP: u32 = 16;
/// Codes with an equal part that are compared; more of them tell nothing.
const COMPARED: usize = 64;
/// Most pairs that are read again, of all and of one image.
const MOST_READ: usize = 10_000;
const MOST_OF_ONE: usize = 32;
/// Most landmarks in common that are kept, of two images and of all (about 200 MiB).
const KEPT_OF_TWO: usize = 64;
const KEPT: usize = 8 << 20;
/// Pixels around a landmark in which others support it.
const AROUND: i64 = 128;

/// Whether a file may have been changed by compression.
pub(super) fn is_lossy(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    ["jpg", "jpeg", "jpe", "jfif", "webp"].iter().any(|lossy| ending == *lossy)
}

/// What was found.
pub(super) struct Recoded {
    pub(super) links: Vec<Link>,
    /// Pairs that may belong together, but were one too many to be compared; at least as many if not all were counted.
    pub(super) left_out: usize,
    pub(super) all_counted: bool,
}

/// Images with their places among the pairs, and the pairs that are known to belong together.
#[derive(Clone, Copy)]
struct Search<'a> {
    images: &'a [(usize, &'a ImageSummary)],
    known: &'a HashSet<(usize, usize)>,
}

/// Images that show parts of one scene, but for those that are `known` to belong together or hold the same.
pub(super) fn recoded<'a>(
    images: &[(usize, &ImageSummary)],
    known: &HashSet<(usize, usize)>,
    path: impl Fn(usize) -> &'a Path + Sync,
    sink: &dyn Sink,
) -> Recoded {
    let (candidates, left_out, all_counted) = Search { images, known }.candidates();
    if candidates.is_empty() {
        return Recoded { links: Vec::new(), left_out, all_counted };
    }
    sink.event(Event::Started { task: Task::Check, total: candidates.len(), done: 0 });
    let done = AtomicUsize::new(0);
    // The first image of several pairs is read once for some of them.
    let alike = candidates.chunk_by(|a, b| a.first == b.first).flat_map(|same| same.chunks(MOST_OF_ONE));
    let compare = |same: &&[Candidate]| -> Vec<Link> {
        let first = images[same[0].first].0;
        let one = Fine::of(path(first));
        let compared = same.iter().filter_map(|found| {
            let second = images[found.second].0;
            let link = one.as_ref().and_then(|one| {
                let other = Fine::of(path(second))?;
                let (x, y) = one.place_of(&other, found.shift, found.centre)?;
                let kind = LinkKind::Overlap(x, y, one.share(&other, (x, y))?);
                Some(Link { first, second, kind })
            });
            sink.event(Event::Advanced { done: done.fetch_add(1, Ordering::Relaxed) + 1, loss: None });
            link
        });
        compared.collect()
    };
    let links = alike.collect::<Vec<_>>().par_iter().flat_map_iter(compare).collect();
    sink.event(Event::Finished);
    Recoded { links, left_out, all_counted }
}

/// Two images with landmarks in common, by their places in a list.
struct Candidate {
    first: usize,
    second: usize,
    /// Where the second begins in the first.
    shift: (i64, i64),
    /// The place in the first that has most of the landmarks around it.
    centre: (i64, i64),
    landmarks: usize,
}

/// A landmark that two images have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shared {
    images: (u32, u32),
    landmarks: (u32, u32),
    shift: (i32, i32),
}

impl Shared {
    fn is_near(&self, other: &Self) -> bool {
        (self.shift.0 - other.shift.0).abs() <= 1 && (self.shift.1 - other.shift.1).abs() <= 1
    }
}

impl Search<'_> {
    /// The pairs to compare, by their first image; how many more there are; and whether that is all.
    fn candidates(self) -> (Vec<Candidate>, usize, bool) {
        let (shared, all_counted) = self.shared_landmarks();
        let pairs = shared.chunk_by(|a, b| a.images == b.images).filter(|both| both.len() >= FEWEST_SHARED);
        let mut found: Vec<Candidate> = pairs.filter_map(|both| self.candidate(both)).collect();
        let all = found.len();
        found.sort_by_key(|candidate| std::cmp::Reverse(candidate.landmarks));
        let mut read = vec![0; self.images.len()];
        found.retain(|candidate| {
            let wanted = read[candidate.first].min(read[candidate.second]) < MOST_OF_ONE;
            read[candidate.first] += usize::from(wanted);
            read[candidate.second] += usize::from(wanted);
            wanted
        });
        found.truncate(MOST_READ);
        found.sort_by_key(|candidate| (candidate.first, candidate.second));
        let left_out = all - found.len();
        (found, left_out, all_counted)
    }

    /// Two images that have enough landmarks in common with about the same shift.
    fn candidate(self, both: &[Shared]) -> Option<Candidate> {
        let near = |one: &Shared| both.iter().filter(|other| one.is_near(other)).count();
        let (most, landmarks) = both.iter().map(|one| (one, near(one))).max_by_key(|(_, count)| *count)?;
        if landmarks < FEWEST_SHARED {
            return None;
        }
        let (first, second) = (most.images.0 as usize, most.images.1 as usize);
        let place = |shared: &Shared| {
            let landmark = self.images[first].1.landmarks[shared.landmarks.0 as usize];
            (i64::from(landmark.x), i64::from(landmark.y))
        };
        let places: Vec<(i64, i64)> = both.iter().filter(|other| most.is_near(other)).map(place).collect();
        let is_around = |a: &(i64, i64), b: &(i64, i64)| (a.0 - b.0).abs() <= AROUND && (a.1 - b.1).abs() <= AROUND;
        let around = |place: &&(i64, i64)| places.iter().filter(|other| is_around(place, other)).count();
        let centre = *places.iter().max_by_key(around)?;
        let shift = (i64::from(most.shift.0), i64::from(most.shift.1));
        Some(Candidate { first, second, shift, centre, landmarks })
    }

    /// The landmarks that images have in common, image pair by image pair, and whether these are all.
    fn shared_landmarks(self) -> (Vec<Shared>, bool) {
        let count: usize = self.images.iter().map(|(_, image)| image.landmarks.len()).sum();
        let bits = KEY_BITS.iter().find(|(most, _)| count <= *most).map_or(0, |(_, bits)| *bits);
        let mut shared = Vec::new();
        for begin in (0..u64::BITS).step_by(STEP as usize) {
            let key = |landmark: &Landmark| landmark.code.rotate_right(begin) & ((1 << bits) - 1);
            let all: Vec<u64> = self.images.iter().flat_map(|(_, image)| image.landmarks.iter().map(key)).collect();
            let repeated = Repeated::of(all.into_iter());
            let mut keys: Vec<Key> = Vec::new();
            for (i, (_, image)) in self.images.iter().enumerate() {
                let all = (0..).zip(&image.landmarks).map(|(k, landmark)| (key(landmark), i as u32, k));
                keys.extend(all.filter(|(key, ..)| repeated.may_hold(*key)));
            }
            keys.par_sort_unstable();
            for same in keys.chunk_by(|a, b| a.0 == b.0).filter(|same| (2..=COMPARED).contains(&same.len())) {
                self.add_shared(same, &mut shared);
                if shared.len() >= KEPT {
                    break;
                }
            }
            keep_some(&mut shared);
        }
        let all_counted = shared.len() < KEPT;
        (shared, all_counted)
    }

    /// Adds the landmarks with one key that are in common: their images are not known to belong together, nor the same.
    fn add_shared(self, same: &[Key], shared: &mut Vec<Shared>) {
        for (at, (_, a, k)) in same.iter().enumerate() {
            let (first, image) = self.images[*a as usize];
            let one = image.landmarks[*k as usize];
            for (_, b, m) in same[at + 1..].iter().filter(|(_, b, _)| b != a) {
                let (second, other_image) = self.images[*b as usize];
                let other = other_image.landmarks[*m as usize];
                if (one.code ^ other.code).count_ones() <= MOST_BITS
                    && image.content != other_image.content
                    && !self.known.contains(&(first, second))
                {
                    let shift = |a: u32, b: u32| a.cast_signed() - b.cast_signed();
                    let shift = (shift(one.x, other.x), shift(one.y, other.y));
                    shared.push(Shared { images: (*a, *b), landmarks: (*k, *m), shift });
                }
            }
        }
    }
}

/// Some bits of a landmark's code, its image and its place there.
type Key = (u64, u32, u32);

/// Sorts the landmarks in common and leaves each there once, and no more of two images than are needed: the strongest.
fn keep_some(shared: &mut Vec<Shared>) {
    shared.par_sort_unstable();
    shared.dedup();
    let (mut images, mut count) = (None, 0);
    shared.retain(|one| {
        count = if images == Some(one.images) { count + 1 } else { 1 };
        images = Some(one.images);
        count <= KEPT_OF_TWO
    });
}
