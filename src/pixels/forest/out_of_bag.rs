//! The score of a forest on the samples that its trees did not see (Breiman 1996, "Out-of-bag estimation").

use rayon::prelude::*;

use super::Forest;
use super::descend::{GROUP, Group, greatest};
use super::features::Features;
use super::split::Sample;

/// Counts of the out-of-bag predictions. A sample is predicted by the trees that were grown without it; one that all
/// trees have seen is not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfBag {
    /// `[true class, predicted class]`.
    pub confusion: Vec<u64>,
    /// Number of classes.
    pub classes: usize,
}

/// Which samples a tree has seen, a bit each: a word a [`GROUP`].
#[derive(Debug)]
pub(super) struct Bag(Vec<u32>);

impl Bag {
    /// Of the samples that were drawn from all `samples`.
    pub(super) fn of(drawn: &[Sample], samples: usize) -> Self {
        let mut bits = vec![0; samples.div_ceil(GROUP)];
        drawn.iter().for_each(|sample| bits[sample.row as usize / GROUP] |= 1 << (sample.row as usize % GROUP));
        Self(bits)
    }
}

impl OutOfBag {
    /// Predicts the training samples by the trees that did not see them.
    pub(super) fn new(forest: &Forest, features: &Features<'_>, labels: &[u16], bags: &[Bag]) -> Self {
        let classes = forest.classes;
        let empty = || vec![0; classes * classes];
        let start = || (Group::new(forest), vec![0.0; classes], empty());
        let confusion = labels.par_chunks(GROUP).enumerate().fold(
            start,
            |(mut group, mut sums, mut confusion), (place, labels)| {
                // They were finite when the forest was fitted.
                if group.load(features, place * GROUP, labels.len()).is_ok() {
                    for (tree, bag) in forest.trees.iter().zip(bags) {
                        group.pass(tree, !bag.0[place]);
                    }
                    for (sample, &label) in labels.iter().enumerate() {
                        group.sums(sample, &mut sums);
                        let class = greatest(&sums);
                        confusion[usize::from(label) * classes + class] += u64::from(sums[class] > 0.0);
                    }
                }
                (group, sums, confusion)
            },
        );
        let confusion = confusion.map(|(_, _, confusion)| confusion).reduce(empty, |mut all, part| {
            all.iter_mut().zip(part).for_each(|(all, part)| *all += part);
            all
        });
        Self { confusion, classes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::forest::Settings;
    use crate::pixels::forest::draw::Draws;
    use crate::pixels::forest::predict::tests::{data, fitted, plain};

    #[test]
    fn the_score_is_that_of_a_plain_recount() {
        let (rows, labels) = data(500);
        for trees in [3, 40] {
            let settings = Settings { trees, seed: 4, sample_share: 0.8, ..Settings::default() };
            let fitted = fitted(&Features::rows(&rows, 6).unwrap(), &labels, &settings);
            let bags: Vec<Vec<u16>> = (0..trees).map(|tree| Draws::for_tree(4, tree).bootstrap(500, 400)).collect();
            let mut confusion = vec![0; 16];
            for (sample, row) in rows.chunks(6).enumerate() {
                let mut sums = [0.0; 4];
                for (tree, bag) in fitted.forest.trees.iter().zip(&bags) {
                    if bag[sample] == 0 {
                        plain(&fitted.forest, tree, row).iter().zip(&mut sums).for_each(|(share, sum)| *sum += share);
                    }
                }
                if sums != [0.0; 4] {
                    confusion[usize::from(labels[sample]) * 4 + greatest(&sums)] += 1;
                }
            }
            let score = fitted.out_of_bag.unwrap();
            assert_eq!(score, OutOfBag { confusion: confusion.clone(), classes: 4 });
            assert!((trees == 40) == (confusion.iter().sum::<u64>() == 500));
        }
    }
}
