//! Pixels at other places.

use super::Sample;
use crate::base::Size;
use crate::base::label_map::IGNORE;
use crate::image::{Scaling, nearest, resize_floats};

/// The old sample's planes and labels, with the new ones put in their place by `make` and `make_labels`.
fn remade(
    sample: &mut Sample,
    size: Size,
    make: impl Fn(&[f32], &mut Vec<f32>),
    make_labels: impl Fn(&[u16], &mut Vec<u16>),
) {
    let bands = sample.bands();
    let pixels = sample.labels.classes.len();
    let mut planes = Vec::with_capacity(bands * size.width * size.height);
    sample.planes.chunks_exact(pixels).for_each(|plane| make(plane, &mut planes));
    let mut classes = Vec::with_capacity(size.width * size.height);
    make_labels(&sample.labels.classes, &mut classes);
    sample.planes = planes;
    sample.labels.classes = classes;
    sample.labels.size = size;
}

pub(super) fn flip_horizontal(sample: &mut Sample) {
    let width = sample.labels.size.width;
    sample.planes.chunks_exact_mut(width).for_each(<[f32]>::reverse);
    sample.labels.classes.chunks_exact_mut(width).for_each(<[u16]>::reverse);
}

pub(super) fn flip_vertical(sample: &mut Sample) {
    let Size { width, height } = sample.labels.size;
    sample.planes.chunks_exact_mut(width * height).for_each(|plane| exchange_rows(plane, width));
    exchange_rows(&mut sample.labels.classes, width);
}

fn exchange_rows<T>(plane: &mut [T], width: usize) {
    let height = plane.len() / width;
    for y in 0..height / 2 {
        let (upper, lower) = plane.split_at_mut((height - 1 - y) * width);
        upper[y * width..(y + 1) * width].swap_with_slice(&mut lower[..width]);
    }
}

/// Turns by this many times 90 degrees, counter-clockwise.
pub(super) fn quarter_turns(sample: &mut Sample, turns: usize) {
    let from = sample.labels.size;
    match turns % 4 {
        0 => {}
        2 => {
            sample.planes.chunks_exact_mut(from.width * from.height).for_each(<[f32]>::reverse);
            sample.labels.classes.reverse();
        }
        turns => {
            let size = Size { width: from.height, height: from.width };
            remade(sample, size, |plane, out| quarter(plane, from, turns, out), |l, out| quarter(l, from, turns, out));
        }
    }
}

fn quarter<T: Copy>(plane: &[T], from: Size, turns: usize, out: &mut Vec<T>) {
    for y in 0..from.width {
        if turns == 1 {
            out.extend((0..from.height).map(|x| plane[x * from.width + from.width - 1 - y]));
        } else {
            out.extend((0..from.height).map(|x| plane[(from.height - 1 - x) * from.width + y]));
        }
    }
}

/// The window of a size whose upper left corner lies at `(left, top)`; what lies beyond the image is uncovered.
pub(super) fn window(sample: &mut Sample, (left, top): (isize, isize), size: Size) {
    let from = sample.labels.size;
    if (left, top, size) == (0, 0, from) {
        return;
    }
    let corner = (left, top);
    remade(
        sample,
        size,
        |plane, out| cut(plane, from, (corner, size), f32::NAN, out),
        |labels, out| cut(labels, from, (corner, size), IGNORE, out),
    );
}

/// Of `to` positions from `start` on: how many come before the first of `0..from`, and which of these there are.
pub(super) fn overlap(start: isize, to: usize, from: usize) -> (usize, std::ops::Range<usize>) {
    let before = start.min(0).unsigned_abs().min(to);
    let first = start.max(0).unsigned_abs().min(from);
    (before, first..(first + to - before).min(from))
}

fn cut<T: Copy>(plane: &[T], from: Size, window: ((isize, isize), Size), fill: T, out: &mut Vec<T>) {
    let ((left, top), size) = window;
    let (before, columns) = overlap(left, size.width, from.width);
    let (above, rows) = overlap(top, size.height, from.height);
    let start = out.len();
    out.resize(start + above * size.width, fill);
    for y in rows {
        let end = out.len() + size.width;
        out.resize(out.len() + before, fill);
        out.extend_from_slice(&plane[y * from.width..][columns.clone()]);
        out.resize(end, fill);
    }
    out.resize(start + size.width * size.height, fill);
}

/// The sample at another size. A pixel is covered where the nearest old one is; it is mixed from the covered ones.
pub(super) fn resize(sample: &mut Sample, to: Size, how: Scaling) {
    let from = sample.labels.size;
    if from == to {
        return;
    }
    let covered = coverage(&sample.planes[..from.width * from.height]);
    let shares =
        covered.as_ref().map(|mask| (resize_floats(mask.clone(), 1, (from, to), how), nearest(mask, from, to)));
    let resized =
        |plane: &[f32], out: &mut Vec<f32>| {
            let Some((shares, nearest)) = &shares else {
                out.extend(resize_floats(plane.to_vec(), 1, (from, to), how));
                return;
            };
            let known = plane.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect();
            let mixed = resize_floats(known, 1, (from, to), how);
            out.extend(mixed.into_iter().zip(shares).zip(nearest).map(|((value, share), covered)| {
                if *covered > 0.0 && *share > 0.0 { value / share } else { f32::NAN }
            }));
        };
    remade(sample, to, resized, |labels, out| *out = nearest(labels, from, to));
}

/// 1 where a plane has a value, 0 where it has none; `None` if it has one everywhere.
pub(super) fn coverage(plane: &[f32]) -> Option<Vec<f32>> {
    let mask = || plane.iter().map(|value| f32::from(u8::from(!value.is_nan()))).collect();
    plane.iter().any(|value| value.is_nan()).then(mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::augment::tests::coded;

    const I: u16 = IGNORE;

    fn changed(how: impl Fn(&mut Sample)) -> Vec<u16> {
        let mut sample = coded(3, &[0, 1, 2, 3, 4, 5]);
        how(&mut sample);
        let expected: Vec<u32> = sample.labels.classes.iter().map(|class| f32::from(*class).to_bits()).collect();
        for (value, (class, expected)) in sample.planes.iter().zip(sample.labels.classes.iter().zip(expected)) {
            assert!(if *class == I { value.is_nan() } else { value.to_bits() == expected });
        }
        sample.labels.classes
    }

    #[test]
    fn changes_move_the_pixels_they_should() {
        assert_eq!(changed(flip_horizontal), [2, 1, 0, 5, 4, 3]);
        assert_eq!(changed(flip_vertical), [3, 4, 5, 0, 1, 2]);
        // As np.rot90 turns.
        assert_eq!(changed(|s| quarter_turns(s, 0)), [0, 1, 2, 3, 4, 5]);
        assert_eq!(changed(|s| quarter_turns(s, 1)), [2, 5, 1, 4, 0, 3]);
        assert_eq!(changed(|s| quarter_turns(s, 2)), [5, 4, 3, 2, 1, 0]);
        assert_eq!(changed(|s| quarter_turns(s, 3)), [3, 0, 4, 1, 5, 2]);
    }

    #[test]
    fn what_a_window_does_not_cover_is_ignored() {
        let size = |width, height| Size { width, height };
        assert_eq!(changed(|s| window(s, (1, 0), size(2, 1))), [1, 2]);
        assert_eq!(changed(|s| window(s, (-1, -1), size(3, 3))), [I, I, I, I, 0, 1, I, 3, 4]);
        assert_eq!(changed(|s| window(s, (2, 1), size(2, 2))), [5, I, I, I]);
        assert_eq!(changed(|s| window(s, (9, 9), size(1, 2))), [I, I]);
        assert_eq!(changed(|s| window(s, (-9, 0), size(2, 1))), [I, I]);
    }

    #[test]
    fn labels_are_those_of_the_nearest_pixel() {
        // As torch.nn.functional.interpolate(mode="nearest-exact").
        let from = Size { width: 5, height: 1 };
        assert_eq!(nearest(&[0, 1, 2, 3, 4], from, Size { width: 3, height: 1 }), [0, 2, 4]);
        assert_eq!(nearest(&[0, 1, 2, 3, 4], from, Size { width: 7, height: 1 }), [0, 1, 1, 2, 3, 3, 4]);
        assert_eq!(nearest(&[0, 1], Size { width: 1, height: 2 }, Size { width: 2, height: 3 }), [0, 0, 1, 1, 1, 1]);
    }

    #[test]
    fn resizing_to_the_same_size_changes_nothing() {
        for how in [Scaling::Pillow, Scaling::OpenCv] {
            assert_eq!(changed(|s| resize(s, Size { width: 3, height: 2 }, how)), [0, 1, 2, 3, 4, 5]);
        }
    }

    #[test]
    fn uncovered_pixels_do_not_spread() {
        for how in [Scaling::Pillow, Scaling::OpenCv] {
            for to in [(8, 2), (2, 2), (3, 1)] {
                let mut sample = coded(4, &[7, 7, I, I, 7, 7, I, I]);
                resize(&mut sample, Size { width: to.0, height: to.1 }, how);
                for (value, class) in sample.planes.iter().zip(&sample.labels.classes) {
                    assert!(if *class == I { value.is_nan() } else { (value - 7.0).abs() < 1e-5 }, "{sample:?}");
                }
            }
        }
    }
}
