//! Turns by any angle.

use super::Sample;
use crate::base::Size;
use crate::base::label_map::IGNORE;

/// Turns about the centre, counter-clockwise, at the same size. A pixel is covered where the old pixel nearest to its
/// origin is; it is mixed from the four around its origin, as far as they are covered.
pub(super) fn rotate(sample: &mut Sample, degrees: f64) {
    let size = sample.labels.size;
    let (width, height) = (size.width as f64, size.height as f64);
    let pixels = size.width * size.height;
    let (sin, cos) = degrees.to_radians().sin_cos();
    let mut planes = vec![f32::NAN; sample.planes.len()];
    let mut classes = vec![IGNORE; pixels];
    for row in 0..size.height {
        let down = row as f64 - (height - 1.0) / 2.0;
        for column in 0..size.width {
            let across = column as f64 - (width - 1.0) / 2.0;
            let x = cos * across - sin * down + (width - 1.0) / 2.0;
            let y = sin * across + cos * down + (height - 1.0) / 2.0;
            if !(x >= -0.5 && x < width - 0.5 && y >= -0.5 && y < height - 0.5) {
                continue;
            }
            let around = Around::new(x, y, size);
            let at = row * size.width + column;
            classes[at] = sample.labels.classes[around.nearest];
            let bands = sample.planes.chunks_exact(pixels).zip(planes.chunks_exact_mut(pixels));
            bands.for_each(|(old, new)| new[at] = around.mix(old));
        }
    }
    sample.planes = planes;
    sample.labels.classes = classes;
}

/// The four pixels around a place, with their weights.
struct Around {
    places: [usize; 4],
    weights: [f32; 4],
    nearest: usize,
}

impl Around {
    /// Around a place at most half a pixel outside.
    fn new(x: f64, y: f64, size: Size) -> Self {
        let (columns, right) = pair(x, size.width);
        let (rows, low) = pair(y, size.height);
        let place = |i: usize, j: usize| rows[i] * size.width + columns[j];
        Self {
            places: [place(0, 0), place(0, 1), place(1, 0), place(1, 1)],
            weights: [(1.0 - low) * (1.0 - right), (1.0 - low) * right, low * (1.0 - right), low * right],
            nearest: place(usize::from(low >= 0.5), usize::from(right >= 0.5)),
        }
    }

    fn mix(&self, plane: &[f32]) -> f32 {
        let values = self.places.map(|place| plane[place]);
        let sum: f32 = values.iter().zip(self.weights).map(|(value, weight)| value * weight).sum();
        if !sum.is_nan() || plane[self.nearest].is_nan() {
            return sum;
        }
        let known = || values.iter().zip(self.weights).filter(|(value, _)| !value.is_nan());
        let weight: f32 = known().map(|(_, weight)| weight).sum();
        known().map(|(value, weight)| value * weight).sum::<f32>() / weight
    }
}

/// The positions before and after a coordinate, kept inside, and the second's share.
fn pair(coordinate: f64, side: usize) -> ([usize; 2], f32) {
    // Truncation is the floor above 0.
    let after = (coordinate + 1.0) as usize;
    let share = coordinate + 1.0 - after as f64;
    ([after.saturating_sub(1), after.min(side - 1)], share as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::augment::tests::coded;

    const I: u16 = IGNORE;

    #[test]
    fn no_turn_is_exact_and_quarters_are_those_of_pixels() {
        let classes: Vec<u16> = (0..35).collect();
        let sample = coded(7, &classes);
        let mut turned = sample.clone();
        rotate(&mut turned, 0.0);
        assert_eq!(turned, sample);
        rotate(&mut turned, 180.0);
        assert_eq!(turned.labels.classes, (0..35).rev().collect::<Vec<_>>());
        let mut square = coded(3, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
        rotate(&mut square, 90.0);
        assert_eq!(square.labels.classes, [2, 5, 8, 1, 4, 7, 0, 3, 6]);
        assert!(square.planes.iter().zip(&square.labels.classes).all(|(v, c)| (v - f32::from(*c)).abs() < 1e-4));
    }

    #[test]
    fn corners_that_come_in_are_uncovered() {
        let mut sample = coded(9, &[4; 81]);
        rotate(&mut sample, 45.0);
        let (planes, classes) = (&sample.planes, &sample.labels.classes);
        assert_eq!([classes[0], classes[8], classes[40], classes[72], classes[80]], [I, I, 4, I, I]);
        for (value, class) in planes.iter().zip(classes) {
            assert!(if *class == I { value.is_nan() } else { (value - 4.0).abs() < 1e-5 });
        }
    }

    #[test]
    fn uncovered_pixels_do_not_spread() {
        let classes: Vec<u16> = (0..100).map(|i| if i % 10 < 4 { I } else { 6 }).collect();
        let mut sample = coded(10, &classes);
        rotate(&mut sample, 13.0);
        for (value, class) in sample.planes.iter().zip(&sample.labels.classes) {
            assert!(if *class == I { value.is_nan() } else { (value - 6.0).abs() < 1e-5 });
        }
    }

    #[test]
    fn turns_are_pillows() {
        // Image.rotate(25) of 9x7 pixels by NEAREST and, in thousandths, by BILINEAR, in Pillow 12.
        #[rustfmt::skip]
        let expected: [(u16, i32); 63] = [
            (I, 0), (I, 0), (I, 0), (6, 604), (4, 610), (5, 514), (3, 187), (4, 746), (I, 0),
            (I, 0), (3, 659), (1, 293), (2, 853), (0, 529), (1, 498), (6, 489), (4, 610), (0, 569),
            (5, 509), (6, 481), (4, 464), (5, 499), (5, 631), (6, 603), (4, 612), (2, 332), (3, 134),
            (3, 520), (4, 577), (2, 625), (3, 436), (1, 40), (6, 599), (0, 465), (5, 513), (6, 374),
            (6, 164), (0, 706), (5, 478), (3, 487), (4, 404), (4, 591), (5, 626), (3, 609), (4, 459),
            (2, 521), (5, 480), (3, 601), (1, 592), (2, 561), (0, 237), (1, 797), (6, 431), (I, 0),
            (I, 0), (5, 344), (6, 903), (4, 576), (5, 480), (3, 486), (I, 0), (I, 0), (I, 0),
        ];
        let pixel = |i: usize| (i % 9, i / 9);
        let classes: Vec<u16> = (0..63).map(pixel).map(|(x, y)| ((5 * x + 3 * y) % 7) as u16).collect();
        let mut sample = coded(9, &classes);
        sample.planes = (0..63).map(pixel).map(|(x, y)| ((37 * x + 53 * y) % 101) as f32 / 100.0).collect();
        rotate(&mut sample, 25.0);
        for ((value, class), (label, thousandths)) in sample.planes.iter().zip(&sample.labels.classes).zip(expected) {
            assert_eq!(*class, label);
            assert!(label == I && value.is_nan() || (1000.0 * value - thousandths as f32).abs() < 0.6, "{value}");
        }
    }
}
