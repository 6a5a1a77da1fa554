//! The best split of a node: the feature and the threshold that lower the Gini impurity most (Breiman et al. 1984).
//!
//! With the weights `l` and `r` of each class left and right of a split, the weighted impurity of both sides is
//! `W - (sum l^2 / sum l + sum r^2 / sum r)`, where `W` is the weight of the node. The bracket is the score that is
//! maximised; what it exceeds `sum t^2 / W` of the whole node by is the decrease of the impurity.

use super::bins::Binned;
use super::draw::{Draws, FeatureOrder};
use super::settings::MAX_BINS;

/// One sample of a tree.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    /// Its place in the training data.
    pub(super) row: u32,
    /// Its class.
    pub(super) class: u16,
    /// How often it was drawn.
    pub(super) count: u16,
}

/// A split of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    pub(super) feature: usize,
    /// Samples of this bin, and of those below it, go left.
    pub(super) last_left: u8,
    /// The first bin that goes right.
    pub(super) first_right: u8,
    /// The bracket above.
    score: f64,
    /// Weighted decrease of the impurity.
    pub(super) decrease: f64,
}

/// What the search for splits needs to know.
#[derive(Debug)]
pub(super) struct Search<'a> {
    pub(super) data: &'a Binned,
    /// Weight of every class.
    pub(super) weights: &'a [f64],
    /// Features that a node tries.
    pub(super) tried: usize,
    pub(super) min_samples_leaf: usize,
}

/// Nodes of up to this many samples are sorted; of larger ones, the samples are counted by bin and class.
const SORTED: usize = 64;

/// Looks for splits, with room that it uses again and again.
#[derive(Debug)]
pub(super) struct Finder<'a> {
    search: &'a Search<'a>,
    order: FeatureOrder,
    /// Draws by bin and class: `[bins, classes]`. All 0 between two features.
    histogram: Vec<u32>,
    /// Samples by bin; counted only if leaves need several.
    places: [u32; MAX_BINS],
    keys: [u64; SORTED],
    /// Weight of every class in the node.
    total: Vec<f64>,
    /// The same, left of the split that is looked at.
    left: Vec<f64>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(search: &'a Search<'a>) -> Self {
        let classes = search.weights.len();
        Self {
            search,
            order: FeatureOrder::new(search.data.features()),
            histogram: vec![0; MAX_BINS * classes],
            places: [0; MAX_BINS],
            keys: [0; SORTED],
            total: vec![0.0; classes],
            left: vec![0.0; classes],
        }
    }

    /// The best split of a node with these samples and draws a class, among features drawn at random. Looks further
    /// while all features drawn are constant in the node, as scikit-learn does. `None` where there is no split.
    pub(super) fn best(&mut self, samples: &[Sample], counts: &[u32], draws: &mut Draws) -> Option<Split> {
        for (total, (&count, weight)) in self.total.iter_mut().zip(counts.iter().zip(self.search.weights)) {
            *total = f64::from(count) * weight;
        }
        let features = self.search.data.features();
        let (mut best, mut all_constant) = (None, true);
        for place in 0..features {
            if place >= self.search.tried && !all_constant {
                break;
            }
            let feature = self.order.draw(place, draws);
            let column = self.search.data.column(feature);
            let mut sides = Sides::new(&self.total, &mut self.left, feature, best);
            let constant = if samples.len() <= SORTED {
                by_sorting(samples, column, self.search, &mut self.keys, &mut sides)
            } else {
                let counted = Counted { histogram: &mut self.histogram, places: &mut self.places };
                counted.scan(samples, column, self.search, &mut sides)
            };
            best = sides.best;
            all_constant &= constant;
        }
        best
    }
}

/// The weights on the two sides of a place in a feature, as the place moves to the right.
struct Sides<'a> {
    total: &'a [f64],
    left: &'a mut [f64],
    /// Sum of `total`.
    weight: f64,
    /// Sum of the squares of `total`.
    squares: f64,
    left_weight: f64,
    left_squares: f64,
    /// Sum of `total * left`.
    cross: f64,
    feature: usize,
    best: Option<Split>,
}

impl<'a> Sides<'a> {
    fn new(total: &'a [f64], left: &'a mut [f64], feature: usize, best: Option<Split>) -> Self {
        left.fill(0.0);
        let (weight, squares) = (total.iter().sum(), total.iter().map(|total| total * total).sum());
        Self { total, left, weight, squares, left_weight: 0.0, left_squares: 0.0, cross: 0.0, feature, best }
    }

    /// Moves so much weight of a class from the right to the left.
    fn pass(&mut self, class: usize, weight: f64) {
        let left = self.left[class];
        self.left_squares += weight * (left + left + weight);
        self.cross += weight * self.total[class];
        self.left_weight += weight;
        self.left[class] = left + weight;
    }

    /// Keeps the split between two bins if it is the best.
    fn consider(&mut self, last_left: u8, first_right: u8) {
        let right_weight = self.weight - self.left_weight;
        let right_squares = self.squares - 2.0 * self.cross + self.left_squares;
        let score = self.left_squares / self.left_weight + right_squares / right_weight;
        // Where class weights are too far apart for float64, nothing may be left on the right.
        if right_weight > 0.0 && self.best.is_none_or(|best| score > best.score) {
            let decrease = score - self.squares / self.weight;
            self.best = Some(Split { feature: self.feature, last_left, first_right, score, decrease });
        }
    }
}

/// Looks at one feature of a small node. Whether it is constant.
fn by_sorting(
    samples: &[Sample],
    column: &[u8],
    search: &Search<'_>,
    keys: &mut [u64; SORTED],
    sides: &mut Sides<'_>,
) -> bool {
    let keys = &mut keys[..samples.len()];
    let first = column[samples[0].row as usize];
    let mut differences = 0;
    for (key, sample) in keys.iter_mut().zip(samples) {
        let bin = column[sample.row as usize];
        differences |= bin ^ first;
        *key = u64::from(bin) << 32 | u64::from(sample.class) << 16 | u64::from(sample.count);
    }
    if differences == 0 {
        return true;
    }
    keys.sort_unstable();
    let leaf = search.min_samples_leaf;
    let bin = |key: u64| (key >> 32) as u8;
    for (place, pair) in keys.windows(2).enumerate() {
        let class = usize::from((pair[0] >> 16) as u16);
        sides.pass(class, search.weights[class] * f64::from(pair[0] as u16));
        let places = place + 1;
        if bin(pair[0]) != bin(pair[1]) && places >= leaf && keys.len() - places >= leaf {
            sides.consider(bin(pair[0]), bin(pair[1]));
        }
    }
    false
}

/// Counts by bin.
struct Counted<'a> {
    histogram: &'a mut [u32],
    places: &'a mut [u32; MAX_BINS],
}

impl Counted<'_> {
    /// Looks at one feature of a large node. Whether it is constant.
    fn scan(self, samples: &[Sample], column: &[u8], search: &Search<'_>, sides: &mut Sides<'_>) -> bool {
        let (classes, leaf) = (search.weights.len(), search.min_samples_leaf);
        for sample in samples {
            let bin = usize::from(column[sample.row as usize]);
            self.histogram[bin * classes + usize::from(sample.class)] += u32::from(sample.count);
        }
        if leaf > 1 {
            self.places.fill(0);
            samples.iter().for_each(|sample| self.places[usize::from(column[sample.row as usize])] += 1);
        }
        let (mut last, mut places, mut constant) = (None, 0, true);
        for (bin, counts) in self.histogram.chunks_exact_mut(classes).enumerate() {
            if counts.iter().all(|&count| count == 0) {
                continue;
            }
            if let Some(last) = last.replace(bin as u8) {
                constant = false;
                if leaf == 1 || (places >= leaf && samples.len() - places >= leaf) {
                    sides.consider(last, bin as u8);
                }
            }
            places += self.places[bin] as usize;
            for (class, count) in counts.iter_mut().enumerate() {
                sides.pass(class, search.weights[class] * f64::from(*count));
                *count = 0;
            }
        }
        constant
    }
}
