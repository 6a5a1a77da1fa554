//! Windows at random places.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::geometry::{overlap, window};
use super::{Draws, Sample};
use crate::base::Size;
use crate::base::label_map::{IGNORE, LabelMap};

/// How often a window is drawn again in which one class has too large a share, as mmsegmentation does it.
const REDRAWS: usize = 10;

/// Cuts a window out. If the sample was chosen for a class that it still shows, the window shows one of its pixels,
/// each as likely.
pub(super) fn crop(sample: &mut Sample, size: Size, max_share: Option<f64>, draws: &mut Draws) {
    let labels = &sample.labels;
    let chosen = draws.class.map(|class| (class, labels.classes.iter().filter(|c| **c == class).count()));
    let chosen = chosen.filter(|(_, pixels)| *pixels > 0);
    let place = |rng: &mut ChaCha8Rng| {
        let focus = chosen.and_then(|(class, pixels)| nth_pixel(labels, class, rng.random_range(0..pixels)));
        let left = offset(rng, labels.size.width, size.width, focus.map(|(x, _)| x));
        (left, offset(rng, labels.size.height, size.height, focus.map(|(_, y)| y)))
    };
    let mut corner = place(&mut draws.own);
    if let Some(share) = max_share.filter(|share| *share < 1.0) {
        for _ in 0..REDRAWS {
            if largest_share(labels, corner, size).is_some_and(|largest| largest < share) {
                break;
            }
            corner = place(&mut draws.own);
        }
    }
    window(sample, corner, size);
}

/// Column and row of a class's pixel by number.
fn nth_pixel(labels: &LabelMap, class: u16, number: usize) -> Option<(usize, usize)> {
    let mut own = labels.classes.iter().enumerate().filter(|(_, c)| **c == class).map(|(i, _)| i);
    let i = own.nth(number)?;
    Some((i % labels.size.width, i / labels.size.width))
}

/// Where a window of `to` positions begins on a side of `from`, so that it holds `focus`. A longer window lies with its
/// middle over that of the side.
fn offset(rng: &mut ChaCha8Rng, from: usize, to: usize, focus: Option<usize>) -> isize {
    let Some(room) = from.checked_sub(to) else { return -((to - from) as isize / 2) };
    let (first, last) = focus.map_or((0, room), |at| ((at + 1).saturating_sub(to), at.min(room)));
    rng.random_range(first..=last) as isize
}

/// The share of the labelled pixels of a window that the most frequent class has; `None` if none has a label.
fn largest_share(labels: &LabelMap, (left, top): (isize, isize), size: Size) -> Option<f64> {
    let (_, columns) = overlap(left, size.width, labels.size.width);
    let (_, rows) = overlap(top, size.height, labels.size.height);
    let mut counts: Vec<usize> = Vec::new();
    for y in rows {
        for class in &labels.classes[y * labels.size.width..][columns.clone()] {
            if *class == IGNORE {
                continue;
            }
            let class = usize::from(*class);
            if class >= counts.len() {
                counts.resize(class + 1, 0);
            }
            counts[class] += 1;
        }
    }
    Some(*counts.iter().max()? as f64 / counts.iter().sum::<usize>() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::augment::tests::{coded, draws};

    const SIZE: Size = Size { width: 4, height: 3 };

    #[test]
    fn windows_lie_anywhere_inside() {
        let classes: Vec<u16> = (0..48).collect();
        let mut seen = vec![0; 48];
        let mut draws = draws(3);
        for _ in 0..3_000 {
            let mut sample = coded(8, &classes);
            crop(&mut sample, SIZE, None, &mut draws);
            assert_eq!(sample.labels.size, SIZE);
            assert!(sample.planes.iter().zip(&sample.labels.classes).all(|(v, c)| *v == f32::from(*c)));
            seen[usize::from(sample.labels.classes[0])] += 1;
        }
        // Five columns, four rows.
        for (i, count) in seen.into_iter().enumerate() {
            let expected = if i % 8 < 5 && i / 8 < 4 { 100..210 } else { 0..1 };
            assert!(expected.contains(&count), "{i}: {count}");
        }
    }

    #[test]
    fn smaller_images_lie_in_the_middle_of_ignored_pixels() {
        let mut sample = coded(2, &[1, 2]);
        crop(&mut sample, SIZE, Some(0.75), &mut draws(0));
        let i = IGNORE;
        assert_eq!(sample.labels.classes, [i, i, i, i, i, 1, 2, i, i, i, i, i]);
        assert_eq!(sample.planes.iter().filter(|value| value.is_nan()).count(), 10);
    }

    #[test]
    fn a_class_that_was_chosen_is_shown() {
        let mut classes = vec![0; 400];
        classes[0] = 5;
        classes[287] = 5;
        let mut found = [0; 2];
        for seed in 0..200 {
            let mut sample = coded(20, &classes);
            let mut draws = Draws { class: Some(5), ..draws(seed) };
            crop(&mut sample, SIZE, None, &mut draws);
            assert!(sample.labels.classes.contains(&5));
            found[usize::from(sample.labels.classes[0] != 5)] += 1;
        }
        assert!(found[0] > 60 && found[1] > 60, "{found:?}");
        let mut without = coded(20, &[0; 400]);
        crop(&mut without, SIZE, None, &mut Draws { class: Some(5), ..draws(1) });
        assert_eq!(without.labels.size, SIZE);
    }

    #[test]
    fn one_class_does_not_fill_a_window() {
        // A tenth of the windows show the border between the halves.
        let classes: Vec<u16> = (0..1_600).map(|i| u16::from(i % 40 >= 20)).collect();
        let mixed = |share: Option<f64>| {
            let shows = |seed: &u64| {
                let mut sample = coded(40, &classes);
                crop(&mut sample, SIZE, share, &mut draws(*seed));
                largest_share(&sample.labels, (0, 0), SIZE).unwrap() < 0.8
            };
            (0..200).filter(shows).count()
        };
        assert!(mixed(None) < 40, "{}", mixed(None));
        // 1 - 0.919^11 = 0.605.
        assert!((90..150).contains(&mixed(Some(0.8))), "{}", mixed(Some(0.8)));
        let mut nothing = coded(4, &[IGNORE; 16]);
        crop(&mut nothing, SIZE, Some(0.5), &mut draws(0));
        assert_eq!(nothing.labels.size, SIZE);
    }
}
