//! Classes and probabilities of many samples.

use rayon::prelude::*;

use super::Forest;
use super::descend::{GROUP, Group, greatest};
use super::features::Features;
use crate::base::{Result, require};

/// What a prediction is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Only the class: samples about which more than half of the trees agree need not meet the rest.
    Class,
    Probabilities,
}

/// Samples that are decided are looked for after this many trees.
const LOOKED_AFTER: usize = 4;

impl Forest {
    /// The class of every sample: the most probable one, the first of those that are equally so.
    ///
    /// # Errors
    /// If the features are not as many as the forest has, or a value is not a finite number.
    pub fn predict(&self, features: &Features<'_>) -> Result<Vec<u16>> {
        let mut classes = vec![0; features.samples()];
        self.groups(features, &mut classes, Wanted::Class, |class, sums| class[0] = greatest(sums) as u16)?;
        Ok(classes)
    }

    /// The probability of every class, `[samples, classes]`: the mean over the trees of the share that the class has,
    /// by weight, in the training samples of the sample's leaf. They sum to 1.
    ///
    /// # Errors
    /// As [`Self::predict`].
    pub fn probabilities(&self, features: &Features<'_>) -> Result<Vec<f32>> {
        self.predict_with_probabilities(features).map(|(_, probabilities)| probabilities)
    }

    /// What [`Self::predict`] and [`Self::probabilities`] give, in one pass.
    ///
    /// # Errors
    /// As [`Self::predict`].
    pub fn predict_with_probabilities(&self, features: &Features<'_>) -> Result<(Vec<u16>, Vec<f32>)> {
        let mut sums = vec![0.0; features.samples() * self.classes];
        self.groups(features, &mut sums, Wanted::Probabilities, <[f32]>::copy_from_slice)?;
        // Of the sums: two that differ may give one quotient.
        let classes = sums.chunks_exact(self.classes).map(|sums| greatest(sums) as u16).collect();
        sums.iter_mut().for_each(|sum| *sum /= self.trees.len() as f32);
        Ok((classes, sums))
    }

    /// Hands the sums over the trees of every sample, in groups on all threads, to `write` with its results.
    fn groups<T: Send>(
        &self,
        features: &Features<'_>,
        results: &mut [T],
        wanted: Wanted,
        write: impl Fn(&mut [T], &[f32]) + Sync,
    ) -> Result<()> {
        let (expected, found) = (self.features(), features.features());
        let needed = format!("{expected} a sample, as the forest was fitted to");
        require(expected == found, "features", found, needed)?;
        let wide = if wanted == Wanted::Class { 1 } else { self.classes };
        results.par_chunks_mut(GROUP * wide).enumerate().try_for_each_init(
            || (Group::new(self), vec![0.0; self.classes]),
            |(group, sums), (place, results)| {
                group.load(features, place * GROUP, results.len() / wide)?;
                self.pass(group, sums, wanted);
                for (sample, result) in results.chunks_exact_mut(wide).enumerate() {
                    group.sums(sample, sums);
                    write(result, sums);
                }
                Ok(())
            },
        )
    }

    /// Sends a group through the trees.
    fn pass(&self, group: &mut Group<'_>, sums: &mut [f32], wanted: Wanted) {
        let (trees, mut open) = (self.trees.len(), u32::MAX);
        for (done, tree) in self.trees.iter().enumerate() {
            if wanted == Wanted::Class && done > trees / 2 && done % LOOKED_AFTER == 0 {
                open = group.undecided(open, trees - done, sums);
            }
            group.pass(tree, open);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::pixels::forest::{Fitted, Outcome, Settings, Tree, Watch, fit, lanes};
    use std::sync::atomic::AtomicBool;

    /// Rows of 6 features, half of which agree, and classes that follow from some of them.
    pub(in crate::pixels::forest) fn data(samples: usize) -> (Vec<f32>, Vec<u16>) {
        let number = |i: usize| (i as u32).wrapping_mul(2_654_435_761).rotate_left(15).wrapping_mul(40_503) >> 22;
        let values: Vec<f32> = (0..samples * 6).map(|i| number(i) as f32).collect();
        let class =
            |row: &[f32]| u16::from(row[0] + row[1] > 900.0) + u16::from(row[2] > row[3]) + u16::from(row[4] > 990.0);
        let labels = values.chunks(6).map(class).collect();
        (values, labels)
    }

    pub(in crate::pixels::forest) fn fitted(features: &Features<'_>, labels: &[u16], settings: &Settings) -> Fitted {
        let watch = Watch { progress: &|_| (), stop: &AtomicBool::new(false) };
        match fit(features, labels, 4, settings, watch).unwrap() {
            Outcome::Finished(fitted) => fitted,
            Outcome::Stopped => unreachable!("nobody stopped it"),
        }
    }

    /// The distribution of the leaf that one sample meets, step by step.
    pub(in crate::pixels::forest) fn plain(forest: &Forest, tree: &Tree, row: &[f32]) -> Vec<f32> {
        let mut at = tree.root;
        while at >= 0 {
            let node = &tree.nodes[at as usize];
            at = node.children[usize::from(row[node.feature as usize] > node.threshold)];
        }
        let leaf = !at as usize;
        if leaf < forest.classes {
            return (0..forest.classes).map(|class| f32::from(u8::from(class == leaf))).collect();
        }
        let start = (leaf - forest.classes) * lanes(forest.classes);
        forest.leaves[start..start + forest.classes].to_vec()
    }

    #[test]
    fn groups_meet_the_leaves_that_single_samples_meet() {
        let (rows, labels) = data(700);
        for settings in [Settings::default(), Settings { trees: 300, max_depth: Some(4), ..Settings::default() }] {
            let forest = fitted(&Features::rows(&rows, 6).unwrap(), &labels, &settings).forest;
            for samples in [1, 31, 32, 33, 600] {
                let rows = &data(samples + 50).0[300..];
                let found = forest.probabilities(&Features::rows(rows, 6).unwrap()).unwrap();
                let classes = forest.predict(&Features::rows(rows, 6).unwrap()).unwrap();
                let both = forest.predict_with_probabilities(&Features::rows(rows, 6).unwrap()).unwrap();
                assert!(both.0 == classes && both.1 == found);
                for ((row, found), class) in rows.chunks(6).zip(found.chunks(4)).zip(classes) {
                    let mut sums = [0.0; 4];
                    for tree in &forest.trees {
                        plain(&forest, tree, row).iter().zip(&mut sums).for_each(|(share, sum)| *sum += share);
                    }
                    let close = |(found, sum): (&f32, f32)| (found - sum / forest.trees.len() as f32).abs() < 1e-6;
                    assert!(found.iter().zip(sums).all(close), "{found:?} {sums:?}");
                    assert_eq!(usize::from(class), greatest(found));
                }
            }
        }
    }

    #[test]
    fn the_first_of_equal_classes_is_the_greatest() {
        assert_eq!((greatest(&[0.2, 0.4, 0.4]), greatest(&[0.5, 0.5]), greatest(&[1.0])), (1, 0, 0));
    }
}
