//! Fitting a forest.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;

use super::bins::Binned;
use super::draw::Draws;
use super::features::Features;
use super::grow::{Grown, Growth};
use super::out_of_bag::{Bag, OutOfBag};
use super::settings::Settings;
use super::split::{Sample, Search};
use super::{Forest, MAX_CLASSES, Node, Tree, lanes};
use crate::base::{Error, Result, require};

/// Progress callback and stop flag of a fit.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Told how many trees are done, after each; from any thread.
    pub progress: &'a (dyn Fn(usize) + Sync),
    /// Ends the fit soon after it is set.
    pub stop: &'a AtomicBool,
}

/// How a fit ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With a forest.
    Finished(Fitted),
    /// Stopped from outside.
    Stopped,
}

/// A forest and what was found out while it grew.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The forest.
    pub forest: Forest,
    /// Its score on samples that the trees did not see; `None` without a bootstrap or if it was not asked for.
    pub out_of_bag: Option<OutOfBag>,
}

/// Fits a forest to samples and their classes, numbers below `classes`.
///
/// The same samples, settings and seed give the same forest, whatever the number of threads. Memory beyond the
/// features: a byte a feature of a sample, 16 bytes a sample and thread, 16 bytes a split, a bit a sample and tree.
///
/// # Errors
/// If a setting or a label cannot work, a feature is not a finite number, or fewer than two classes have samples.
pub fn fit(
    features: &Features<'_>,
    labels: &[u16],
    classes: usize,
    settings: &Settings,
    watch: Watch<'_>,
) -> Result<Outcome> {
    settings.check()?;
    let weights = settings.weights(&class_counts(features, labels, classes)?)?;
    let samples = used(labels, &weights)?;
    let binned = Binned::new(features, settings.bins, settings.seed)?;
    let growth = Growth {
        search: Search {
            data: &binned,
            weights: &weights,
            tried: settings.features_per_split.of(features.features()),
            min_samples_leaf: settings.min_samples_leaf,
        },
        max_depth: settings.max_depth.unwrap_or(usize::MAX),
        min_samples_split: settings.min_samples_split,
        stop: watch.stop,
    };
    let scored = settings.bootstrap && settings.out_of_bag;
    let done = AtomicUsize::new(0);
    let grown: Option<Vec<(Grown, Option<Bag>)>> = (0..settings.trees)
        .into_par_iter()
        .with_max_len(1)
        .map(|tree| {
            let mut draws = Draws::for_tree(settings.seed, tree);
            let mut drawn = draw(&samples, settings, &mut draws);
            let bag = scored.then(|| Bag::of(&drawn, labels.len()));
            let tree = growth.tree(&mut drawn, draws)?;
            (watch.progress)(done.fetch_add(1, Ordering::Relaxed) + 1);
            Some((tree, bag))
        })
        .collect();
    let Some(grown) = grown else { return Ok(Outcome::Stopped) };
    let (grown, bags): (Vec<Grown>, Vec<Option<Bag>>) = grown.into_iter().unzip();
    drop(binned);
    let forest = assemble(grown, classes)?;
    let bags: Option<Vec<Bag>> = bags.into_iter().collect();
    let out_of_bag = bags.map(|bags| OutOfBag::new(&forest, features, labels, &bags));
    Ok(Outcome::Finished(Fitted { forest, out_of_bag }))
}

/// Samples of every class; an error if they cannot be trained on.
fn class_counts(features: &Features<'_>, labels: &[u16], classes: usize) -> Result<Vec<usize>> {
    let samples = features.samples();
    let count = format!("a list of {}", labels.len());
    require(labels.len() == samples, "labels", count, format!("one for each of the {samples} samples"))?;
    if samples == 0 || features.features() == 0 {
        let missing = format!("there is nothing to learn from {samples} samples of {} features", features.features());
        return Err(Error::no_data(missing, "give samples with features"));
    }
    let countable = u32::try_from(samples).is_ok() && u32::try_from(features.features()).is_ok();
    require(countable, "samples", samples, format!("at most {}", u32::MAX))?;
    require(classes <= MAX_CLASSES, "classes", classes, format!("at most {MAX_CLASSES}"))?;
    let mut counts = vec![0; classes];
    for (sample, &label) in labels.iter().enumerate() {
        let unknown = || {
            let value = format!("{label} for sample {sample}");
            Error::invalid("labels", value, format!("below {classes}, the number of classes"))
        };
        *counts.get_mut(usize::from(label)).ok_or_else(unknown)? += 1;
    }
    Ok(counts)
}

/// The samples whose class has a weight.
fn used(labels: &[u16], weights: &[f64]) -> Result<Vec<Sample>> {
    let sample = |(row, &class): (usize, &u16)| Sample { row: row as u32, class, count: 1 };
    let samples: Vec<Sample> =
        labels.iter().enumerate().map(sample).filter(|sample| weights[usize::from(sample.class)] > 0.0).collect();
    let Some(first) = samples.first() else {
        let missing = "every class that has samples has weight 0, so there is nothing to learn";
        return Err(Error::no_data(missing, "give one of them a weight in `forest.class_weights`"));
    };
    if samples.iter().all(|sample| sample.class == first.class) {
        let missing = format!("all samples that have a weight are of class {}", first.class);
        return Err(Error::no_data(missing, "at least two classes need samples and a weight"));
    }
    Ok(samples)
}

/// The samples of one tree.
fn draw(samples: &[Sample], settings: &Settings, draws: &mut Draws) -> Vec<Sample> {
    if !settings.bootstrap {
        return samples.to_vec();
    }
    let number = (samples.len() as f64 * settings.sample_share).round().max(1.0) as usize;
    let counts = draws.bootstrap(samples.len(), number);
    samples
        .iter()
        .zip(counts)
        .filter(|(_, count)| *count > 0)
        .map(|(&sample, count)| Sample { count, ..sample })
        .collect()
}

/// Brings the trees together.
fn assemble(grown: Vec<Grown>, classes: usize) -> Result<Forest> {
    let (lanes, mut leaves) = (lanes(classes), Vec::new());
    let mut importances = vec![0.0; grown.first().map_or(0, |tree| tree.decreases.len())];
    let mut trees = Vec::with_capacity(grown.len());
    for mut tree in grown {
        let sum: f64 = tree.decreases.iter().sum();
        if sum > 0.0 {
            importances.iter_mut().zip(&tree.decreases).for_each(|(all, decrease)| *all += decrease / sum);
        }
        let before = leaves.len() / lanes;
        leaves.append(&mut tree.mixed);
        if leaves.len() / lanes + classes > i32::MAX as usize || tree.nodes.len() > i32::MAX as usize {
            let advice = "limit `forest.max_depth`, or ask for larger leaves";
            return Err(Error::failed("number the leaves of the trees", format!("there are too many; {advice}")));
        }
        let moved = |child: i32| if child < 0 && !child as usize >= classes { child - before as i32 } else { child };
        tree.nodes.iter_mut().for_each(|node: &mut Node| node.children = node.children.map(moved));
        tree.nodes.shrink_to_fit();
        trees.push(Tree { root: moved(tree.root), nodes: tree.nodes });
    }
    let sum: f64 = importances.iter().sum();
    if sum > 0.0 {
        importances.iter_mut().for_each(|importance| *importance /= sum);
    }
    Ok(Forest { classes, importances, trees, leaves })
}
