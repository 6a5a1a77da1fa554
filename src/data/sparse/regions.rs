//! Connected regions of equal labels.

use crate::base::Size;
use crate::base::label_map::{IGNORE, LabelMap};

/// The number of pixels that belong to no region.
pub const NO_REGION: u32 = u32::MAX;

/// Labelled pixels of one class that hang together, by their sides or corners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Their class.
    pub class: u16,
    /// How many they are.
    pub pixels: usize,
}

/// The regions of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regions {
    /// Region of every pixel, row by row; [`NO_REGION`] where there is no label. Regions are numbered from 0 in the
    /// order of their first pixels.
    pub numbers: Vec<u32>,
    /// The regions by number.
    pub regions: Vec<Region>,
}

impl Regions {
    /// The regions of a label map, in two passes over its pixels.
    pub fn of(labels: &LabelMap) -> Self {
        let (mut numbers, mut parents) = number(labels);
        // A parent's number is never larger than its own, so that it is final already.
        let mut next = 0;
        for i in 0..parents.len() {
            parents[i] = if parents[i] as usize == i {
                next += 1;
                next - 1
            } else {
                parents[parents[i] as usize]
            };
        }
        let mut regions: Vec<Region> = Vec::with_capacity(next as usize);
        for (number, &class) in numbers.iter_mut().zip(&labels.classes).filter(|(number, _)| **number != NO_REGION) {
            *number = parents[*number as usize];
            if *number as usize == regions.len() {
                regions.push(Region { class, pixels: 0 });
            }
            regions[*number as usize].pixels += 1;
        }
        Self { numbers, regions }
    }
}

/// Numbers of pieces of regions, and a smaller number of the same region for each piece; its own for the first.
fn number(LabelMap { size: Size { width, height }, classes }: &LabelMap) -> (Vec<u32>, Vec<u32>) {
    let mut numbers = vec![NO_REGION; classes.len()];
    let mut parents = Vec::new();
    for y in 0..*height {
        for x in 0..*width {
            let i = y * width + x;
            let class = classes[i];
            if class == IGNORE {
                continue;
            }
            let same = |inside: bool, back: usize| (inside && classes[i - back] == class).then(|| numbers[i - back]);
            // Of the pixels before this one, all that touch each other are of one piece already: only the one at the
            // upper right may have to be joined with those at the left.
            let above = same(y > 0, *width);
            let left = same(x > 0, 1).or_else(|| same(x > 0 && y > 0, width + 1));
            let right = same(y > 0 && x + 1 < *width, width.saturating_sub(1));
            numbers[i] = match (above, left, right) {
                (Some(number), ..) | (None, Some(number), None) | (None, None, Some(number)) => number,
                (None, Some(left), Some(right)) => join(&mut parents, left, right),
                (None, None, None) => {
                    let new = parents.len() as u32;
                    parents.push(new);
                    new
                }
            };
        }
    }
    (numbers, parents)
}

/// Makes two pieces one region, whose number is returned.
fn join(parents: &mut [u32], a: u32, b: u32) -> u32 {
    let (a, b) = (root(parents, a), root(parents, b));
    let (first, last) = (a.min(b), a.max(b));
    parents[last as usize] = first;
    first
}

fn root(parents: &mut [u32], mut number: u32) -> u32 {
    while parents[number as usize] != number {
        // Halving the path keeps later searches short.
        let next = parents[parents[number as usize] as usize];
        parents[number as usize] = next;
        number = next;
    }
    number
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// `.` is not labelled, a digit is a class.
    fn map(rows: &[&str]) -> LabelMap {
        let class = |c: char| c.to_digit(10).map_or(IGNORE, |class| class as u16);
        let classes = rows.iter().flat_map(|row| row.chars().map(class)).collect();
        LabelMap { size: Size { width: rows[0].len(), height: rows.len() }, classes }
    }

    fn summary(regions: &Regions) -> Vec<(u16, usize)> {
        regions.regions.iter().map(|region| (region.class, region.pixels)).collect()
    }

    /// The same by flooding from every first pixel.
    fn flooded(LabelMap { size, classes }: &LabelMap) -> Regions {
        let mut numbers = vec![NO_REGION; classes.len()];
        let mut regions = Vec::new();
        for first in 0..classes.len() {
            if classes[first] == IGNORE || numbers[first] != NO_REGION {
                continue;
            }
            let (number, class) = (regions.len() as u32, classes[first]);
            let (mut pixels, mut open) = (0, vec![first]);
            numbers[first] = number;
            while let Some(i) = open.pop() {
                pixels += 1;
                let (x, y) = (i % size.width, i / size.width);
                for y in y.saturating_sub(1)..size.height.min(y + 2) {
                    for x in x.saturating_sub(1)..size.width.min(x + 2) {
                        let other = y * size.width + x;
                        if classes[other] == class && numbers[other] == NO_REGION {
                            numbers[other] = number;
                            open.push(other);
                        }
                    }
                }
            }
            regions.push(Region { class, pixels });
        }
        Regions { numbers, regions }
    }

    #[test]
    fn regions_are_numbered_by_their_first_pixels() {
        let regions = Regions::of(&map(&["..1.0", "1.1.0", "1...2"]));
        let no = NO_REGION;
        assert_eq!(regions.numbers, [no, no, 0, no, 1, 2, no, 0, no, 1, 2, no, no, no, 3]);
        assert_eq!(summary(&regions), [(1, 2), (0, 2), (1, 2), (2, 1)]);
    }

    #[test]
    fn corners_connect_but_other_classes_and_the_image_s_sides_do_not() {
        for rows in [["1..", ".1.", "..1"], ["..1", ".1.", "1.."], ["1.1", ".1.", "..."]] {
            assert_eq!(summary(&Regions::of(&map(&rows))), [(1, 3)]);
        }
        assert_eq!(summary(&Regions::of(&map(&["12", "21"]))), [(1, 2), (2, 2)]);
        assert_eq!(summary(&Regions::of(&map(&["..1", "1.."]))), [(1, 1), (1, 1)]);
        assert_eq!(summary(&Regions::of(&map(&["1", ".", "1"]))), [(1, 1), (1, 1)]);
        assert_eq!(Regions::of(&map(&["..."])), Regions { numbers: vec![NO_REGION; 3], regions: Vec::new() });
    }

    #[test]
    fn spirals_and_combs_are_one_region() {
        let spirals = map(&[
            "111111111",
            "222222221",
            "111111121",
            "122222121",
            "121112121",
            "121222121",
            "121111121",
            "122222221",
            "111111111",
        ]);
        assert_eq!(summary(&Regions::of(&spirals)), [(1, 49), (2, 32)]);
        // Combs join many pieces late, at their last row.
        let comb: Vec<String> = (0..20).map(|y| if y == 19 { "1".repeat(99) } else { "1.".repeat(49) + "1" }).collect();
        let comb = map(&comb.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(summary(&Regions::of(&comb)), [(1, 19 * 50 + 99)]);
    }

    #[test]
    fn random_maps_have_the_regions_that_flooding_finds() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        for case in 0..400 {
            let size = Size { width: random.random_range(1..40), height: random.random_range(1..40) };
            let classes = random.random_range(1..4);
            let labelled = f64::from(case % 10 + 1) / 10.0;
            let mut class = || if random.random_bool(labelled) { random.random_range(0..classes) } else { IGNORE };
            let labels = LabelMap { size, classes: (0..size.width * size.height).map(|_| class()).collect() };
            assert_eq!(Regions::of(&labels), flooded(&labels), "{labels:?}");
        }
    }
}
