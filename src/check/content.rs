//! Finds identical images, near-duplicates and overlapping crops of one scene, from the summaries of the images.

use std::collections::HashMap;

use rayon::prelude::*;

use super::pixel_hashes::SIDE;
use super::repeated::Repeated;
use super::sketch::Sketch;
use super::summary::ImageSummary;
use super::thumbnail::{Turn, TurnedHashes};

/// Minimum number of windows that two crops of one scene must share.
const MIN_SHARED: usize = 4;
/// Minimum share of the sketched windows in an overlap that must be found in both images. Crops of one scene share all
/// of them, images with the same logo or frame only a few.
const SHARE_FOUND: f64 = 0.5;
/// Largest number of images with the same window that are all compared with one another; of more, each is compared only
/// with the next few.
const COMPARED: usize = 16;

/// Two related images, by index, the smaller first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) kind: LinkKind,
}

/// How two images are related.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LinkKind {
    /// Their pixels are identical.
    Same,
    /// They are overlapping crops of one scene: column and row of the second's origin in the first, and the overlap in
    /// thousandths of the smaller image.
    Overlap(i64, i64, u32),
    /// They are near-duplicates.
    Alike,
    /// They are near-duplicates once one of them is rotated or mirrored.
    AlikeTurned,
}

/// Links each image to the first one with identical pixels. Constant images are skipped, as a match between them means
/// nothing.
pub(super) fn same(images: &[(usize, &ImageSummary)]) -> Vec<Link> {
    let mut firsts: HashMap<u64, usize> = HashMap::new();
    let mut found = Vec::new();
    for (i, image) in images.iter().filter(|(_, image)| !image.is_constant()) {
        match firsts.get(&image.content) {
            Some(first) => found.push(Link { first: *first, second: *i, kind: LinkKind::Same }),
            None => {
                firsts.insert(image.content, *i);
            }
        }
    }
    found
}

/// Near-duplicates: images that look the same, but are not identical.
pub(super) fn alike(images: &[(usize, &ImageSummary)]) -> Vec<Link> {
    let shown: Vec<(usize, &ImageSummary)> =
        images.iter().filter(|(_, image)| !image.thumbnail.is_empty()).copied().collect();
    let turned: TurnedHashes = shown.iter().map(|(_, image)| &image.thumbnail).collect();
    let of = |at: usize| {
        let (second, image) = shown[at];
        // The hashes rule out most pairs; thumbnails are compared only for the rest.
        let near = turned.near(&image.thumbnail, at).into_iter().map(|before| (shown[before], turned.get(before)));
        near.filter(|((_, other), _)| other.content != image.content)
            .filter_map(|((first, other), hashes)| {
                let looks = |(turn, hash): &(Turn, u64)| image.thumbnail.looks_like(&other.thumbnail, *turn, *hash);
                let (turn, _) = Turn::all().zip(hashes).find(looks)?;
                let kind = if turn.is_none() { LinkKind::Alike } else { LinkKind::AlikeTurned };
                Some(Link { first, second, kind })
            })
            .collect::<Vec<Link>>()
    };
    let mut found: Vec<Link> = (0..shown.len()).into_par_iter().flat_map_iter(of).collect();
    found.sort_unstable();
    found
}

/// A window that two images share: their indices, and the offset of the second in the first.
type Shared = (u32, u32, i64, i64);

/// Overlapping crops of one scene: images that share enough windows at one offset, which are at least [`SHARE_FOUND`]
/// of those in the overlap.
pub(super) fn overlapping(images: &[(usize, &ImageSummary)]) -> Vec<Link> {
    let mut shared = shared_windows(images);
    shared.par_sort_unstable();
    let mut found = Vec::new();
    for both in shared.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let most = both.chunk_by(|a, b| a == b).max_by_key(|alike| alike.len());
        let Some((alike, &(a, b, x, y))) = most.and_then(|alike| Some((alike.len(), alike.first()?))) else { continue };
        let ((first, one), (second, other)) = (images[a as usize], images[b as usize]);
        if alike >= MIN_SHARED && one.content != other.content {
            found.extend(share(one, other, (x, y), alike).map(|share| Link {
                first,
                second,
                kind: LinkKind::Overlap(x, y, share),
            }));
        }
    }
    found
}

/// The windows shared by pairs of images, as indices into `images`.
fn shared_windows(images: &[(usize, &ImageSummary)]) -> Vec<Shared> {
    let hashes: Vec<u64> =
        images.iter().flat_map(|(_, image)| image.sketch.windows.iter().map(|window| window.hash)).collect();
    let repeated = Repeated::of(hashes.into_iter());
    let windows = images.iter().enumerate().flat_map(|(i, (_, image))| {
        let windows = image.sketch.windows.iter().filter(|window| repeated.may_hold(window.hash));
        windows.map(move |window| (window.hash, i as u32, window.x, window.y))
    });
    let mut all: Vec<(u64, u32, u32, u32)> = windows.collect();
    all.par_sort_unstable();
    let mut shared = Vec::new();
    for same in all.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
        for (at, (_, a, ax, ay)) in same.iter().enumerate() {
            let reach = if same.len() > COMPARED { 4 } else { COMPARED };
            for (_, b, bx, by) in same[at + 1..].iter().take(reach) {
                shared.push((*a, *b, i64::from(*ax) - i64::from(*bx), i64::from(*ay) - i64::from(*by)));
            }
        }
    }
    shared
}

/// The overlap in thousandths of the smaller image, if enough of the windows in it are shared.
fn share(one: &ImageSummary, other: &ImageSummary, (x, y): (i64, i64), shared: usize) -> Option<u32> {
    let size = |image: &ImageSummary| (image.size.width as i64, image.size.height as i64);
    let ((w1, h1), (w2, h2)) = (size(one), size(other));
    // In pixel coordinates of the first image.
    let (left, right) = (x.max(0), (x + w2).min(w1));
    let (top, bottom) = (y.max(0), (y + h2).min(h1));
    let limit = one.sketch.limit.min(other.sketch.limit);
    let expected = |sketch: &Sketch, left: i64, top: i64| {
        let (right, bottom) = (left + right - x.max(0), top + bottom - y.max(0));
        let inside = |window: &&super::sketch::Window| {
            let (wx, wy) = (i64::from(window.x), i64::from(window.y));
            let begins = |at: i64, from: i64| at + 1 - SIDE as i64 >= from;
            window.hash <= limit && begins(wx, left) && wx < right && begins(wy, top) && wy < bottom
        };
        sketch.windows.iter().filter(inside).count()
    };
    let of_one = expected(&one.sketch, left, top);
    let of_other = expected(&other.sketch, left - x, top - y);
    let area = ((right - left) * (bottom - top)).max(0) as f64;
    let smaller = (w1 * h1).min(w2 * h2).max(1) as f64;
    let is_most = shared as f64 >= SHARE_FOUND * of_one.max(of_other) as f64;
    is_most.then_some((1000.0 * area / smaller).round() as u32)
}
