//! Which labelled pixels are held out, so that what was learnt from the others can be scored on them.
//!
//! [`pixel_split`] holds single pixels out. Their neighbours are learnt from and look the same, so the score is too
//! good: it tells whether the classes can be told apart at all. [`region_folds`] holds whole regions out: the score
//! tells how well a stroke or a rectangle is found that nobody drew.
//!
//! For k-fold cross-validation, learn once a fold from the samples that [`region_split`] does not hold out, and count
//! over all folds together: a class with fewer regions than there are folds is missing in some, and there may be folds
//! without any sample.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::regions::Region;
use crate::base::{Result, require};

/// Parts into which connected regions are dealt out.
pub const REGION_FOLDS: usize = 5;

/// Holds out a random share of the samples of every class; `classes` has the class of every sample. The share is
/// rounded to whole samples, but is at least one and never all. Of a class with a single sample, none is held out.
/// Returns which samples are held out.
pub fn pixel_split(classes: &[u16], share: f64, seed: u64) -> Result<Vec<bool>> {
    require(share > 0.0 && share < 1.0, "share", share, "between 0 and 1")?;
    let mut held_out = vec![false; classes.len()];
    for (class, mut samples) in by_class(classes.iter().copied()) {
        if samples.len() < 2 {
            continue;
        }
        let count = ((samples.len() as f64 * share).round() as usize).clamp(1, samples.len() - 1);
        let (chosen, _) = samples.partial_shuffle(&mut stream(seed, class), count);
        for sample in chosen {
            held_out[*sample] = true;
        }
    }
    Ok(held_out)
}

/// Deals the regions of all images out to folds, each of which is held out once; returns the fold of every region.
/// Neighbouring pixels look alike, so a region is held out whole. The pixels of each class are spread evenly: its
/// largest region first, always to the fold with the fewest pixels of the class so far, at equal numbers by chance.
/// `None` is never held out: the only region of a class, without which there would be nothing to learn the class from.
pub fn region_folds(regions: &[Region], folds: usize, seed: u64) -> Result<Vec<Option<usize>>> {
    require(folds >= 2, "folds", folds, "at least 2")?;
    let mut fold_of = vec![None; regions.len()];
    for (class, mut members) in by_class(regions.iter().map(|region| region.class)) {
        if members.len() < 2 {
            continue;
        }
        let mut random = stream(seed, class);
        members.shuffle(&mut random);
        // Stable, so that regions of one size stay shuffled.
        members.sort_by_key(|region| std::cmp::Reverse(regions[*region].pixels));
        let mut order: Vec<usize> = (0..folds).collect();
        order.shuffle(&mut random);
        let mut pixels = vec![0; folds];
        for region in members {
            fold_of[region] = order.iter().copied().min_by_key(|fold| pixels[*fold]);
            if let Some(fold) = fold_of[region] {
                pixels[fold] += regions[region].pixels;
            }
        }
    }
    Ok(fold_of)
}

/// Which samples a fold holds out; `sample_regions` has the region of every sample, `folds` the fold of every region.
pub fn region_split(sample_regions: &[u32], folds: &[Option<usize>], fold: usize) -> Vec<bool> {
    sample_regions.iter().map(|region| folds[*region as usize] == Some(fold)).collect()
}

/// Positions by class.
fn by_class(classes: impl Iterator<Item = u16>) -> BTreeMap<u16, Vec<usize>> {
    let mut positions: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (i, class) in classes.enumerate() {
        positions.entry(class).or_default().push(i);
    }
    positions
}

/// The random stream of a class: more samples of one leave the choice of the others as it was.
fn stream(seed: u64, class: u16) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(class.into());
    random
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(class: u16, sizes: &[usize]) -> Vec<Region> {
        sizes.iter().map(|&pixels| Region { class, pixels }).collect()
    }

    /// Pixels of a class by fold.
    fn loads(regions: &[Region], dealt: &[Option<usize>], folds: usize, class: u16) -> Vec<usize> {
        let mut loads = vec![0; folds];
        for (region, fold) in regions.iter().zip(dealt).filter(|(region, _)| region.class == class) {
            loads[fold.unwrap()] += region.pixels;
        }
        loads
    }

    #[test]
    fn a_share_of_every_class_is_held_out() {
        let counts = [(0, 1000, 50), (1, 30, 2), (2, 7, 1), (3, 2, 1), (4, 1, 0)];
        let classes: Vec<u16> = counts.iter().flat_map(|&(class, count, _)| vec![class; count]).collect();
        let held_out = pixel_split(&classes, 0.05, 3).unwrap();
        for (class, _, wanted) in counts {
            let chosen = classes.iter().zip(&held_out).filter(|(c, held)| **c == class && **held).count();
            assert_eq!(chosen, wanted, "class {class}");
        }
        assert!(pixel_split(&[], 0.5, 3).unwrap().is_empty());
        assert_eq!(pixel_split(&[0, 0, 0], 0.99, 3).unwrap().iter().filter(|held| **held).count(), 2);
    }

    #[test]
    fn pixels_are_chosen_by_the_seed_and_class_by_class() {
        let classes: Vec<u16> = (0..600).map(|i| i % 3).collect();
        let split = pixel_split(&classes, 0.25, 7).unwrap();
        assert_eq!(split, pixel_split(&classes, 0.25, 7).unwrap());
        assert_ne!(split, pixel_split(&classes, 0.25, 8).unwrap());
        let chosen = |split: &[bool], class: usize| split.iter().skip(class).step_by(3).copied().collect::<Vec<_>>();
        assert_ne!(chosen(&split, 0), chosen(&split, 1));
        let without_last: Vec<u16> = classes.iter().map(|&class| if class == 2 { 9 } else { class }).collect();
        let other = pixel_split(&without_last, 0.25, 7).unwrap();
        assert_eq!([chosen(&split, 0), chosen(&split, 1)], [chosen(&other, 0), chosen(&other, 1)]);
        // Written down, so that a later version holds out the same pixels.
        let first: Vec<usize> = (0..600).filter(|&i| split[i]).take(8).collect();
        assert_eq!(first, [1, 4, 18, 19, 22, 26, 27, 31]);
    }

    #[test]
    fn a_share_that_is_none_is_refused() {
        for share in [0.0, 1.0, -0.1, f64::NAN] {
            let message = pixel_split(&[0, 0], share, 0).unwrap_err().to_string();
            assert_eq!(message, format!("`share` is {share}; it must be between 0 and 1"));
        }
    }

    #[test]
    fn regions_are_spread_evenly_by_pixels() {
        let all = [regions(0, &[4, 90, 31, 29, 30]), regions(1, &[5, 5, 5, 5, 5, 5]), regions(2, &[8])].concat();
        for seed in 0..20 {
            let dealt = region_folds(&all, 2, seed).unwrap();
            let mut loads_of_first = loads(&all, &dealt, 2, 0);
            loads_of_first.sort_unstable();
            assert_eq!(loads_of_first, [90, 94]);
            assert_eq!(loads(&all, &dealt, 2, 1), [15, 15]);
            assert_eq!(dealt[11], None, "the only region of its class");
            assert_eq!(dealt, region_folds(&all, 2, seed).unwrap());
        }
    }

    #[test]
    fn fewer_regions_than_folds_go_to_a_fold_each_by_the_seed() {
        let all = regions(6, &[3, 3, 500]);
        let dealt: Vec<_> = (0..50).map(|seed| region_folds(&all, 5, seed).unwrap()).collect();
        for folds in &dealt {
            assert_eq!(loads(&all, folds, 5, 6).into_iter().filter(|pixels| *pixels > 0).count(), 3);
        }
        for fold in 0..5 {
            assert!(dealt.iter().any(|folds| folds[2] == Some(fold)), "the largest is not always in the same fold");
        }
    }

    #[test]
    fn every_fold_leaves_something_of_each_class_and_all_are_held_out_once() {
        let all = [regions(0, &[1, 1]), regions(1, &[700, 1, 1]), regions(3, &[2]), regions(0, &[9])].concat();
        let samples: Vec<u32> = (0..7).flat_map(|region| vec![region; all[region as usize].pixels]).collect();
        let dealt = region_folds(&all, 3, 1).unwrap();
        let mut times = vec![0; samples.len()];
        for fold in 0..3 {
            let held_out = region_split(&samples, &dealt, fold);
            for class in [0, 1, 3] {
                assert!(
                    samples.iter().zip(&held_out).any(|(region, held)| !held && all[*region as usize].class == class),
                    "class {class}, fold {fold}"
                );
            }
            times.iter_mut().zip(&held_out).for_each(|(times, held)| *times += usize::from(*held));
        }
        let wanted: Vec<usize> = samples.iter().map(|region| usize::from(all[*region as usize].class != 3)).collect();
        assert_eq!(times, wanted);
    }

    #[test]
    fn one_fold_is_refused() {
        for folds in [0, 1] {
            let message = region_folds(&regions(0, &[1, 1]), folds, 0).unwrap_err().to_string();
            assert_eq!(message, format!("`folds` is {folds}; it must be at least 2"));
        }
        assert!(region_folds(&[], 2, 0).unwrap().is_empty());
    }
}
