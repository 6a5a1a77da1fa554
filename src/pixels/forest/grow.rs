//! Growing one tree.

use std::sync::atomic::{AtomicBool, Ordering};

use super::draw::Draws;
use super::split::{Finder, Sample, Search};
use super::{Node, lanes};

/// What every tree of a forest has in common.
#[derive(Debug)]
pub(super) struct Growth<'a> {
    pub(super) search: Search<'a>,
    pub(super) max_depth: usize,
    pub(super) min_samples_split: usize,
    /// Ends the work early.
    pub(super) stop: &'a AtomicBool,
}

/// A tree, or a part of one, before it joins the forest.
#[derive(Debug, Default)]
pub(super) struct Grown {
    /// As in [`Node::children`], but with the leaves numbered by this tree.
    pub(super) root: i32,
    pub(super) nodes: Vec<Node>,
    /// Distributions of the leaves that are not pure.
    pub(super) mixed: Vec<f32>,
    /// Weighted decrease of the impurity, one a feature.
    pub(super) decreases: Vec<f64>,
}

/// A node that is still to be made. The draws of every class in it are the last ones in `Builder::counts`.
#[derive(Debug, Clone, Copy)]
struct Pending {
    start: usize,
    end: usize,
    depth: usize,
    /// Place of the node above, and on which side of it; a root has none.
    parent: Option<(usize, usize)>,
}

/// Parts with this many samples are handed to other threads, this far from the root. Neither number may depend on the
/// threads there are: the branches have random streams of their own.
const SHARED: usize = 32_768;
const SHARED_DEPTH: usize = 4;

impl Growth<'_> {
    /// A tree on these samples, which are reordered; `None` if it was stopped.
    pub(super) fn tree(&self, samples: &mut [Sample], draws: Draws) -> Option<Grown> {
        let mut counts = vec![0; self.classes()];
        samples.iter().for_each(|sample| counts[usize::from(sample.class)] += u32::from(sample.count));
        self.part(samples, counts, 0, draws)
    }

    fn classes(&self) -> usize {
        self.search.weights.len()
    }

    /// The part of a tree below a node of these samples.
    fn part(&self, samples: &mut [Sample], counts: Vec<u32>, depth: usize, mut draws: Draws) -> Option<Grown> {
        let mut builder = Builder::new(self, counts, samples.len());
        if samples.len() < SHARED || depth >= SHARED_DEPTH {
            return builder.grow(samples, depth, &mut draws);
        }
        let Some(middle) = builder.split(samples, depth, &mut draws) else {
            builder.grown.root = builder.leaf();
            return Some(builder.grown);
        };
        let Builder { grown, left, right, .. } = builder;
        let (first, second) = samples.split_at_mut(middle);
        let (first_draws, second_draws) = (draws.branch(), draws.branch());
        let (first, second) = rayon::join(
            || self.part(first, left, depth + 1, first_draws),
            || self.part(second, right, depth + 1, second_draws),
        );
        Some(grown.join([first?, second?], self.classes()))
    }
}

impl Grown {
    /// Hangs two parts below the only node.
    fn join(mut self, parts: [Self; 2], classes: usize) -> Self {
        for (side, part) in parts.into_iter().enumerate() {
            let (nodes, mixed) = (self.nodes.len(), self.mixed.len() / lanes(classes));
            let moved = |child: i32| match child {
                0.. => child + nodes as i32,
                // Pure leaves come first, and are the same everywhere.
                _ if (!child as usize) < classes => child,
                _ => child - mixed as i32,
            };
            self.nodes.extend(part.nodes.iter().map(|node| Node { children: node.children.map(moved), ..*node }));
            self.nodes[0].children[side] = moved(part.root);
            self.mixed.extend(part.mixed);
            self.decreases.iter_mut().zip(part.decreases).for_each(|(sum, decrease)| *sum += decrease);
        }
        self
    }
}

/// A part of a tree while it grows.
struct Builder<'a> {
    growth: &'a Growth<'a>,
    finder: Finder<'a>,
    grown: Grown,
    pending: Vec<Pending>,
    /// Draws by class of the pending nodes: `[pending, classes]`.
    counts: Vec<u32>,
    /// Draws by class of the node that is looked at, and of its children.
    here: Vec<u32>,
    left: Vec<u32>,
    right: Vec<u32>,
    scratch: Vec<Sample>,
}

impl<'a> Builder<'a> {
    fn new(growth: &'a Growth<'a>, here: Vec<u32>, samples: usize) -> Self {
        let decreases = vec![0.0; growth.search.data.features()];
        Self {
            growth,
            finder: Finder::new(&growth.search),
            grown: Grown { decreases, ..Grown::default() },
            pending: Vec::new(),
            counts: Vec::new(),
            left: here.clone(),
            right: here.clone(),
            here,
            scratch: vec![Sample::default(); samples],
        }
    }

    /// Splits until there are only leaves. No recursion: a tree may be as deep as it has samples.
    fn grow(mut self, samples: &mut [Sample], depth: usize, draws: &mut Draws) -> Option<Grown> {
        let mut next = Some(Pending { start: 0, end: samples.len(), depth, parent: None });
        while let Some(node) = next {
            if self.growth.stop.load(Ordering::Relaxed) {
                return None;
            }
            let place = self.grown.nodes.len();
            match self.split(&mut samples[node.start..node.end], node.depth, draws) {
                None => {
                    let leaf = self.leaf();
                    self.enter(node.parent, leaf);
                }
                Some(middle) => {
                    self.enter(node.parent, place as i32);
                    self.defer(node, node.start + middle, place);
                }
            }
            next = self.pending.pop();
            if next.is_some() {
                let rest = self.counts.len() - self.here.len();
                self.here.copy_from_slice(&self.counts[rest..]);
                self.counts.truncate(rest);
            }
        }
        Some(self.grown)
    }

    /// Makes the children of node `place` pending, the larger one last: it is made next, so that the likelier way
    /// through the tree leads to the neighbour in memory.
    fn defer(&mut self, node: Pending, middle: usize, place: usize) {
        let depth = node.depth + 1;
        let child = |side, start, end| Pending { start, end, depth, parent: Some((place, side)) };
        let (left, right) = (child(0, node.start, middle), child(1, middle, node.end));
        let left_is_larger = middle - node.start > node.end - middle;
        let order = if left_is_larger {
            [(right, &self.right), (left, &self.left)]
        } else {
            [(left, &self.left), (right, &self.right)]
        };
        for (child, counts) in order {
            self.counts.extend(counts);
            self.pending.push(child);
        }
    }

    fn enter(&mut self, parent: Option<(usize, usize)>, child: i32) {
        match parent {
            None => self.grown.root = child,
            Some((place, side)) => self.grown.nodes[place].children[side] = child,
        }
    }

    /// The leaf of the draws in `here`.
    fn leaf(&mut self) -> i32 {
        let classes = self.here.len();
        if let Some(class) = pure(&self.here) {
            return !(class as i32);
        }
        let place = classes + self.grown.mixed.len() / lanes(classes);
        let weight = |(&count, weight): (&u32, &f64)| f64::from(count) * weight;
        let sum: f64 = self.here.iter().zip(self.growth.search.weights).map(weight).sum();
        self.grown
            .mixed
            .extend(self.here.iter().zip(self.growth.search.weights).map(|pair| (weight(pair) / sum) as f32));
        self.grown.mixed.resize((place + 1 - classes) * lanes(classes), 0.0);
        !(place as i32)
    }

    /// Splits the node of the draws in `here`: adds it, brings its samples in order and counts `left` and `right`.
    /// How many samples go left; `None` for a leaf.
    fn split(&mut self, samples: &mut [Sample], depth: usize, draws: &mut Draws) -> Option<usize> {
        let growth = self.growth;
        let leaf = depth >= growth.max_depth
            || samples.len() < growth.min_samples_split
            || samples.len() / 2 < growth.search.min_samples_leaf
            || pure(&self.here).is_some();
        let split = if leaf { None } else { self.finder.best(samples, &self.here, draws) }?;
        self.grown.decreases[split.feature] += split.decrease;
        let threshold = growth.search.data.threshold(split.feature, split.last_left, split.first_right);
        self.grown.nodes.push(Node { threshold, feature: split.feature as u32, children: [0; 2] });
        let middle = self.divide(samples, growth.search.data.column(split.feature), split.last_left);
        for ((right, here), left) in self.right.iter_mut().zip(&self.here).zip(&self.left) {
            *right = here - left;
        }
        Some(middle)
    }

    /// Brings the samples of bins up to `last_left` to the front. The order stays, so that columns are read from the
    /// beginning to the end.
    fn divide(&mut self, samples: &mut [Sample], column: &[u8], last_left: u8) -> usize {
        self.left.fill(0);
        let (mut left, mut right) = (0, 0);
        for place in 0..samples.len() {
            let sample = samples[place];
            let goes_left = column[sample.row as usize] <= last_left;
            // Written to both sides and counted on one: no branch that could go either way.
            samples[left] = sample;
            self.scratch[right] = sample;
            left += usize::from(goes_left);
            right += usize::from(!goes_left);
            self.left[usize::from(sample.class)] += u32::from(sample.count) * u32::from(goes_left);
        }
        samples[left..].copy_from_slice(&self.scratch[..right]);
        left
    }
}

/// The only class of these draws, if there is only one.
fn pure(counts: &[u32]) -> Option<usize> {
    let mut present = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let class = present.next()?.0;
    present.next().is_none().then_some(class)
}
