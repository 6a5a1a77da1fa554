//! Sums of many float32 values: in lanes, so that they vectorise, and over short stretches, so that they stay exact.

const LANES: usize = 16;
const STRETCH: usize = 4096;

/// Sum of `of(value)`.
pub(super) fn sum(values: &[f32], of: impl Fn(f32) -> f32 + Copy) -> f64 {
    let stretch = |values: &[f32]| {
        let (lanes, rest) = values.as_chunks::<LANES>();
        let mut sums = [0f32; LANES];
        for chunk in lanes {
            sums.iter_mut().zip(chunk).for_each(|(sum, &value)| *sum += of(value));
        }
        total(&sums) + rest.iter().map(|&value| f64::from(of(value))).sum::<f64>()
    };
    values.chunks(STRETCH).map(stretch).sum()
}

/// Sum of `left * of(right)`.
pub(super) fn dot(left: &[f32], right: &[f32], of: impl Fn(f32) -> f32 + Copy) -> f64 {
    left.chunks(STRETCH)
        .zip(right.chunks(STRETCH))
        .map(|(left, right)| {
            let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
            let mut sums = [0f32; LANES];
            for (left, right) in left.iter().zip(right) {
                sums.iter_mut().zip(left).zip(right).for_each(|((sum, &l), &r)| *sum += l * of(r));
            }
            total(&sums) + left_rest.iter().zip(right_rest).map(|(&l, &r)| f64::from(l * of(r))).sum::<f64>()
        })
        .sum()
}

fn total(sums: &[f32]) -> f64 {
    sums.iter().map(|&sum| f64::from(sum)).sum()
}
