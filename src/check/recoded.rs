//! Overlapping crops of one scene that were re-encoded in a lossy format, so that their pixels differ slightly
//! everywhere. Images with [landmarks](super::landmarks) in common at about the same offset are read again and compared
//! where they overlap.

use std::collections::HashSet;
use std::path::Path;

use rayon::prelude::*;

use super::content::{Link, LinkKind};
use super::fine::Fine;
use super::landmarks::Landmark;
use super::repeated::Repeated;
use super::summary::ImageSummary;
use crate::base::event::{Sink, Stretch, Task};

/// Maximum Hamming distance between two descriptors of the same landmark, and minimum number of landmarks that two
/// crops must share.
const MAX_DISTANCE: u32 = 8;
const MIN_SHARED: usize = 4;
/// Number of bits of a descriptor that must match exactly for two landmarks to be compared, by the number of landmarks
/// in the set.
const KEY_BITS: [(usize, u32); 3] = [(50_000, 16), (250_000, 20), (usize::MAX, 24)];
/// Distance, in bits, between the starts of such parts of a descriptor.
const STEP: u32 = 16;
/// Maximum number of landmarks with an equal part that are compared; more frequent parts are not distinctive.
const COMPARED: usize = 64;
/// Maximum number of pairs that are read again, in total and per image.
const MAX_READ: usize = 10_000;
const MAX_PER_IMAGE: usize = 32;
/// Maximum number of landmark matches kept, per pair of images and in total (about 200 MiB).
const KEPT_PER_PAIR: usize = 64;
const KEPT: usize = 8 << 20;
/// Distance, in pixels, within which other matches support a landmark.
const AROUND: i64 = 128;

/// Whether a file is in a format that may be lossy.
pub(super) fn is_lossy(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    ["jpg", "jpeg", "jpe", "jfif", "webp"].iter().any(|lossy| ending == *lossy)
}

/// What was found.
pub(super) struct Recoded {
    pub(super) links: Vec<Link>,
    /// Number of candidate pairs that were not compared because there were too many; a lower bound unless
    /// `all_counted`.
    pub(super) left_out: usize,
    pub(super) all_counted: bool,
}

/// Images with their indices among the pairs, and the pairs already known to be related.
#[derive(Clone, Copy)]
struct Search<'a> {
    images: &'a [(usize, &'a ImageSummary)],
    known: &'a HashSet<(usize, usize)>,
}

/// Overlapping crops of one scene, except pairs that are already `known` or have identical pixels.
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
    let stretch = Stretch::begin(sink, Task::Check, candidates.len());
    // Pairs with the same first image are compared in groups, for each of which it is read only once.
    let alike = candidates.chunk_by(|a, b| a.first == b.first).flat_map(|same| same.chunks(MAX_PER_IMAGE));
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
            stretch.advance();
            link
        });
        compared.collect()
    };
    let links = alike.collect::<Vec<_>>().par_iter().flat_map_iter(compare).collect();
    Recoded { links, left_out, all_counted }
}

/// Two images with landmarks in common, by their indices in [`Search::images`].
struct Candidate {
    first: usize,
    second: usize,
    /// The origin of the second in the first.
    shift: (i64, i64),
    /// The matched landmark in the first image that has the most others around it.
    centre: (i64, i64),
    landmarks: usize,
}

/// A landmark matched between two images.
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
    /// The pairs to compare, sorted by their first image; how many more there are; and whether all matches were
    /// counted.
    fn candidates(self) -> (Vec<Candidate>, usize, bool) {
        let (shared, all_counted) = self.shared_landmarks();
        let pairs = shared.chunk_by(|a, b| a.images == b.images).filter(|both| both.len() >= MIN_SHARED);
        let mut found: Vec<Candidate> = pairs.filter_map(|both| self.candidate(both)).collect();
        let all = found.len();
        found.sort_by_key(|candidate| std::cmp::Reverse(candidate.landmarks));
        let mut read = vec![0; self.images.len()];
        found.retain(|candidate| {
            let wanted = read[candidate.first].min(read[candidate.second]) < MAX_PER_IMAGE;
            read[candidate.first] += usize::from(wanted);
            read[candidate.second] += usize::from(wanted);
            wanted
        });
        found.truncate(MAX_READ);
        found.sort_by_key(|candidate| (candidate.first, candidate.second));
        let left_out = all - found.len();
        (found, left_out, all_counted)
    }

    /// Two images, as a candidate if enough of their landmark matches agree on about the same offset.
    fn candidate(self, both: &[Shared]) -> Option<Candidate> {
        let near = |one: &Shared| both.iter().filter(|other| one.is_near(other)).count();
        let (most, landmarks) = both.iter().map(|one| (one, near(one))).max_by_key(|(_, count)| *count)?;
        if landmarks < MIN_SHARED {
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

    /// The landmark matches, sorted by pair of images, and whether these are all.
    fn shared_landmarks(self) -> (Vec<Shared>, bool) {
        let count: usize = self.images.iter().map(|(_, image)| image.landmarks.len()).sum();
        let bits = KEY_BITS.iter().find(|(most, _)| count <= *most).map_or(0, |(_, bits)| *bits);
        let mut shared = Vec::new();
        for begin in (0..u64::BITS).step_by(STEP as usize) {
            let key = |landmark: &Landmark| landmark.descriptor.rotate_right(begin) & ((1 << bits) - 1);
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

    /// Adds the matches among landmarks with the same key, except between images that are known to be related or
    /// identical.
    fn add_shared(self, same: &[Key], shared: &mut Vec<Shared>) {
        for (at, (_, a, k)) in same.iter().enumerate() {
            let (first, image) = self.images[*a as usize];
            let one = image.landmarks[*k as usize];
            for (_, b, m) in same[at + 1..].iter().filter(|(_, b, _)| b != a) {
                let (second, other_image) = self.images[*b as usize];
                let other = other_image.landmarks[*m as usize];
                if (one.descriptor ^ other.descriptor).count_ones() <= MAX_DISTANCE
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

/// Some bits of a landmark's descriptor, its image, and its index there.
type Key = (u64, u32, u32);

/// Sorts and deduplicates the matches, and keeps no more per pair of images than are needed: the strongest.
fn keep_some(shared: &mut Vec<Shared>) {
    shared.par_sort_unstable();
    shared.dedup();
    let (mut images, mut count) = (None, 0);
    shared.retain(|one| {
        count = if images == Some(one.images) { count + 1 } else { 1 };
        images = Some(one.images);
        count <= KEPT_PER_PAIR
    });
}
