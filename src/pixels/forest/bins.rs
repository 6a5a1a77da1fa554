//! Values rounded to at most 256 a feature, so that a split is found by counting instead of sorting.

use rayon::prelude::*;

use super::draw::Draws;
use super::features::{Features, LINE, all_finite};
use super::settings::MAX_BINS;
use crate::base::{Error, Result};

/// Bins are laid by this many samples, drawn if there are more; as in scikit-learn's histogram gradient boosting.
const LOOKED_AT: usize = 200_000;

/// This many samples are turned and binned together.
const STRIP: usize = 4096;

/// The training samples by bin.
#[derive(Debug)]
pub(super) struct Binned {
    samples: usize,
    /// `[features, samples]`.
    bins: Vec<u8>,
    ranges: Vec<Ranges>,
}

/// The least and the greatest value of every bin of one feature.
#[derive(Debug)]
struct Ranges {
    least: Vec<f32>,
    greatest: Vec<f32>,
}

impl Binned {
    /// Bins all samples; an error names the first sample that is no finite number.
    pub(super) fn new(features: &Features<'_>, most: usize, seed: u64) -> Result<Self> {
        let samples = features.samples();
        let looked_at = looked_at(samples, seed);
        let mut bins = vec![0; samples * features.features()];
        let ranges: Result<Vec<Vec<Ranges>>> = bins
            .par_chunks_mut(samples * LINE)
            .enumerate()
            .map(|(group, bins)| bin_group(features, group * LINE, &looked_at, most, bins))
            .collect();
        Ok(Self { samples, bins, ranges: ranges?.into_iter().flatten().collect() })
    }

    /// Number of features.
    pub(super) fn features(&self) -> usize {
        self.ranges.len()
    }

    /// The bin of every sample for one feature.
    pub(super) fn column(&self, feature: usize) -> &[u8] {
        &self.bins[feature * self.samples..(feature + 1) * self.samples]
    }

    /// Halfway between two bins, of which `below` has the lesser values.
    pub(super) fn threshold(&self, feature: usize, below: u8, above: u8) -> f32 {
        let ranges = &self.ranges[feature];
        halfway(ranges.greatest[usize::from(below)], ranges.least[usize::from(above)])
    }
}

/// Places of the samples by which bins are laid, one in each of as many equal stretches.
fn looked_at(samples: usize, seed: u64) -> Vec<usize> {
    if samples <= LOOKED_AT {
        return (0..samples).collect();
    }
    let mut draws = Draws::for_bins(seed);
    let start = |stretch: usize| (stretch as u128 * samples as u128 / LOOKED_AT as u128) as usize;
    (0..LOOKED_AT).map(|i| start(i) + draws.below(start(i + 1) - start(i))).collect()
}

/// Bins up to [`LINE`] features from `first` on.
fn bin_group(
    features: &Features<'_>,
    first: usize,
    looked_at: &[usize],
    most: usize,
    bins: &mut [u8],
) -> Result<Vec<Ranges>> {
    let samples = features.samples();
    let wide = bins.len() / samples;
    let mut seen = vec![Vec::with_capacity(looked_at.len()); wide];
    for &sample in looked_at {
        for (place, values) in seen.iter_mut().enumerate() {
            // Adding 0 makes -0 the 0 that it equals.
            values.push(features.at(sample, first + place) + 0.0);
        }
    }
    let cuts: Vec<Cuts> = seen.into_iter().map(|values| Cuts::of(values, most)).collect();
    let empty = |&Cuts { count, .. }: &Cuts| Ranges {
        least: vec![f32::INFINITY; count],
        greatest: vec![f32::NEG_INFINITY; count],
    };
    let mut ranges: Vec<Ranges> = cuts.iter().map(empty).collect();
    let mut strip = vec![0.0; wide * STRIP];
    for start in (0..samples).step_by(STRIP) {
        let count = STRIP.min(samples - start);
        features.copy(start, count, first..first + wide, STRIP, &mut strip);
        for (place, values) in strip.chunks_exact(STRIP).enumerate() {
            let values = &values[..count];
            if !all_finite(values) {
                return Err(not_finite(values, start, first + place));
            }
            let begin = place * samples + start;
            cuts[place].bin(values, &mut bins[begin..begin + count], &mut ranges[place]);
        }
    }
    Ok(ranges)
}

/// Names the first of the values, samples from `start` on, that is infinite or not a number.
pub(super) fn not_finite(values: &[f32], start: usize, feature: usize) -> Error {
    let place = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
    let (value, sample) = (values[place], start + place);
    Error::invalid("features", format!("{value} for feature {feature} of sample {sample}"), "finite throughout")
}

/// Where the bins of one feature end.
struct Cuts {
    count: usize,
    /// The greatest number of every bin; infinite from the last bin on.
    ends: [f32; MAX_BINS],
}

impl Cuts {
    fn of(mut values: Vec<f32>, most: usize) -> Self {
        values.sort_unstable_by(f32::total_cmp);
        let starts = starts(&values, most);
        let mut ends = [f32::INFINITY; MAX_BINS];
        for (end, &start) in ends.iter_mut().zip(&starts) {
            *end = halfway(values[start - 1], values[start]);
        }
        Self { count: starts.len() + 1, ends }
    }

    fn bin(&self, values: &[f32], bins: &mut [u8], ranges: &mut Ranges) {
        for (bin, &value) in bins.iter_mut().zip(values) {
            let value = value + 0.0;
            let mut place = 0;
            // The number of ends below the value.
            for step in [128, 64, 32, 16, 8, 4, 2, 1] {
                place += usize::from(self.ends[(place + step - 1) % MAX_BINS] < value) * step;
            }
            *bin = place as u8;
            ranges.least[place] = ranges.least[place].min(value);
            ranges.greatest[place] = ranges.greatest[place].max(value);
        }
    }
}

/// Where, in sorted values, a new bin starts: at most `most - 1` places. Every value is a bin of its own if there are
/// few enough; otherwise the bins hold as many samples each as the frequent values (zeros behind a ReLU) allow.
fn starts(values: &[f32], most: usize) -> Vec<usize> {
    let runs = || (1..values.len()).filter(|&i| values[i] != values[i - 1]);
    let distinct: Vec<usize> = runs().take(most).collect();
    if distinct.len() < most {
        return distinct;
    }
    let mut starts = Vec::with_capacity(most);
    let (mut begin, mut previous) = (0, 0);
    for run in runs().chain([values.len()]) {
        let bins_left = most - starts.len();
        if bins_left == 1 {
            break;
        }
        let target = (values.len() - begin).div_ceil(bins_left);
        // The run from `previous` to `run` joins the bin unless the bin is nearer to its share without it.
        if previous > begin && (previous + run).div_ceil(2) - begin > target {
            starts.push(previous);
            begin = previous;
        }
        previous = run;
    }
    starts
}

/// The greatest float32 that is at least `below`, less than `above` and not above their mean: every float32 lies on
/// the same side of it as of the mean itself.
fn halfway(below: f32, above: f32) -> f32 {
    let mean = f64::from(below) / 2.0 + f64::from(above) / 2.0;
    let rounded = mean as f32;
    let rounded = if f64::from(rounded) > mean { rounded.next_down() } else { rounded };
    if rounded >= below && rounded < above { rounded } else { below }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halfway_lies_between_even_where_floats_are_dense_huge_or_tiny() {
        let tiny = f32::from_bits(1);
        let pairs =
            [(0.0, tiny), (-tiny, 0.0), (1.0, 1.0f32.next_up()), (f32::MIN, f32::MAX), (-1e30, 1e38), (2.0, 5.0)];
        for (below, above) in pairs {
            let threshold = halfway(below, above);
            assert!(below <= threshold && threshold < above, "{below} {threshold} {above}");
        }
        assert_eq!(halfway(2.0, 5.0), 3.5);
    }

    #[test]
    fn few_values_are_bins_of_their_own() {
        let values = [3.0, -0.0, 1.0, 0.0, 3.0, -7.5];
        let binned = Binned::new(&Features::rows(&values, 1).unwrap(), 4, 0).unwrap();
        assert_eq!(binned.column(0), [3, 1, 2, 1, 3, 0]);
        assert_eq!(binned.threshold(0, 1, 3), 1.5);
    }

    #[test]
    fn many_values_fill_their_bins_evenly_and_frequent_ones_stay_alone() {
        // Six in ten are 0.
        let values: Vec<f32> = (0..100_000).map(|i: u32| (i * 7919 % 10_000).saturating_sub(6000) as f32).collect();
        let binned = Binned::new(&Features::rows(&values, 1).unwrap(), 256, 0).unwrap();
        let mut counts = [0; 256];
        binned.column(0).iter().for_each(|&bin| counts[usize::from(bin)] += 1);
        assert!((60_000..60_020).contains(&counts[0]), "{}", counts[0]);
        assert!(counts[1..].iter().all(|count| (150..170).contains(count)), "{counts:?}");
        for (&value, &bin) in values.iter().zip(binned.column(0)) {
            let (least, greatest) = (&binned.ranges[0].least, &binned.ranges[0].greatest);
            assert!((least[usize::from(bin)]..=greatest[usize::from(bin)]).contains(&value));
        }
    }

    #[test]
    fn samples_that_laid_no_bins_are_binned_too() {
        let values: Vec<f32> = (0..LOOKED_AT * 2 + 77).map(|i| (i * 40_503 % 100_003) as f32).collect();
        let binned = Binned::new(&Features::rows(&values, 1).unwrap(), 16, 3).unwrap();
        let ranges = &binned.ranges[0];
        assert_eq!((ranges.least.len(), ranges.least[0], ranges.greatest[15]), (16, 0.0, 100_002.0));
        assert!((1..16).all(|bin| ranges.greatest[bin - 1] < ranges.least[bin]));
    }

    #[test]
    fn numbers_that_are_not_finite_are_named() {
        for wrong in [f32::NAN, f32::INFINITY] {
            let mut values = vec![0.5; 20 * 40];
            values[17 * 40 + 33] = wrong;
            assert_refused!(
                Binned::new(&Features::rows(&values, 40).unwrap(), 256, 0),
                &format!("`features` is {wrong} for feature 33 of sample 17")
            );
        }
    }
}
