//! Gaussian blur.

use super::Sample;
use super::geometry::coverage;

/// Blurs every band. Near the edge, and near pixels without a value, the kernel is that of the pixels there are.
pub(super) fn blur(sample: &mut Sample, sigma: f64, radius: Option<usize>) {
    let kernel = kernel(sigma, radius);
    if kernel.len() < 2 {
        return;
    }
    let width = sample.labels.size.width;
    let pixels = sample.labels.classes.len();
    let shares = coverage(&sample.planes[..pixels]).map(|mut mask| {
        smooth(&mut mask, width, &kernel);
        mask
    });
    for plane in sample.planes.chunks_exact_mut(pixels) {
        let Some(shares) = &shares else {
            smooth(plane, width, &kernel);
            continue;
        };
        let mut known: Vec<f32> = plane.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect();
        smooth(&mut known, width, &kernel);
        for ((value, sum), share) in plane.iter_mut().zip(known).zip(shares) {
            *value = if value.is_nan() { f32::NAN } else { sum / share };
        }
    }
}

/// Weights of the middle and of the pixels to one side of it.
fn kernel(sigma: f64, radius: Option<usize>) -> Vec<f32> {
    // Narrower ones change nothing.
    if sigma < 0.05 {
        return Vec::new();
    }
    let radius = radius.unwrap_or_else(|| (3.0 * sigma).ceil() as usize);
    (0..=radius).map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp() as f32).collect()
}

/// Across, then down; divided by the weights that lie inside.
fn smooth(plane: &mut [f32], width: usize, kernel: &[f32]) {
    let height = plane.len() / width;
    let columns = inside(width, kernel);
    let mut row = vec![0.0; width];
    for values in plane.chunks_exact_mut(width) {
        row.copy_from_slice(values);
        values.iter_mut().for_each(|value| *value *= kernel[0]);
        for (i, weight) in kernel.iter().enumerate().skip(1).take_while(|(i, _)| *i < width) {
            let add = |(value, other): (&mut f32, &f32)| *value += weight * other;
            values[i..].iter_mut().zip(&row).for_each(add);
            values.iter_mut().zip(&row[i..]).for_each(add);
        }
        values.iter_mut().zip(&columns).for_each(|(value, total)| *value *= total);
    }
    let old = plane.to_vec();
    for ((y, values), total) in plane.chunks_exact_mut(width).enumerate().zip(inside(height, kernel)) {
        values.iter_mut().for_each(|value| *value *= kernel[0] * total);
        for (i, weight) in kernel.iter().enumerate().skip(1) {
            let others = [y.checked_sub(i), Some(y + i).filter(|other| *other < height)];
            for other in others.into_iter().flatten() {
                let old = &old[other * width..][..width];
                values.iter_mut().zip(old).for_each(|(value, other)| *value += weight * total * other);
            }
        }
    }
}

/// One divided by the sum of the weights that lie inside a side, at each of its positions.
fn inside(side: usize, kernel: &[f32]) -> Vec<f32> {
    let weight = |x: usize, other: usize| kernel.get(x.abs_diff(other)).copied().unwrap_or(0.0);
    let total = |x: usize| -> f32 {
        (x.saturating_sub(kernel.len())..(x + kernel.len()).min(side)).map(|other| weight(x, other)).sum()
    };
    (0..side).map(|x| 1.0 / total(x)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::label_map::IGNORE;
    use crate::data::augment::tests::coded;

    #[test]
    fn a_point_becomes_a_gaussian() {
        let mut classes = vec![0; 21 * 21];
        classes[220] = 100;
        let mut sample = coded(21, &classes);
        blur(&mut sample, 1.0, Some(4));
        assert!((sample.planes.iter().sum::<f32>() - 100.0).abs() < 1e-3);
        // exp(-(1 + 4) / 2) / (2 pi), but for what lies beyond the radius.
        let expected = 100.0 * (-2.5f32).exp() / std::f32::consts::TAU;
        for at in [220 + 1 + 42, 220 - 1 + 42, 220 + 2 - 21, 220 - 2 - 21] {
            assert!((sample.planes[at] - expected).abs() < 1e-3, "{} {expected}", sample.planes[at]);
        }
        assert_eq!(sample.labels.classes, classes);
    }

    #[test]
    fn even_images_stay_even_at_edges_and_beside_uncovered_pixels() {
        let classes: Vec<u16> = (0..70).map(|i| if i % 7 > 3 { IGNORE } else { 5 }).collect();
        for (sigma, radius) in [(0.1, None), (1.1, Some(2)), (4.0, None), (64.0, None)] {
            let mut sample = coded(7, &classes);
            blur(&mut sample, sigma, radius);
            for (value, class) in sample.planes.iter().zip(&classes) {
                assert!(if *class == IGNORE { value.is_nan() } else { (value - 5.0).abs() < 1e-4 }, "{value}");
            }
        }
    }
}
