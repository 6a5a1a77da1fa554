//! Samples on their way through the trees.
//!
//! Neighbouring pixels take much the same way. So [`GROUP`] samples start at the root together; a node compares them
//! all at once and hands each child the samples that go there, as bits. The last few of a group go on by themselves,
//! several abreast, since each waits for memory most of the time. A leaf that is pure, as nearly all are in trees
//! without a limit, casts one vote a sample; votes are counted for the whole group at once, in binary digits that are a
//! word each.

use super::bins::not_finite;
use super::features::{Features, all_finite};
use super::{Forest, LANES, Node, Tree, lanes};
use crate::base::Result;

/// Samples that start together: a bit each. 192 features of this many fit into the first level of the cache.
pub(super) const GROUP: usize = 32;

/// A node that is met by no more samples than this lets them go on by themselves.
const FEW: usize = 4;

/// Samples that go on by themselves at the same time.
const ABREAST: usize = 8;

/// Binary digits of the votes for a class: there are fewer than 2^16 trees.
const DIGITS: usize = 16;

/// The bit of every sample of a group.
const BITS: [u32; GROUP] = {
    let mut bits = [1; GROUP];
    let mut place = 1;
    while place < GROUP {
        bits[place] = bits[place - 1] << 1;
        place += 1;
    }
    bits
};

/// A group of samples, and what the trees said about them so far.
pub(super) struct Group<'a> {
    forest: &'a Forest,
    /// `[features, GROUP]`.
    values: Vec<f32>,
    /// Votes of pure leaves: the digits, one set a class.
    votes: Vec<[u32; DIGITS]>,
    /// Digits that the votes of all trees need.
    digits: usize,
    /// Votes of one tree, a word a class.
    ballot: Vec<u32>,
    /// Sums of the distributions of the other leaves: `[GROUP, lanes]`.
    mixed: Vec<f32>,
    /// Samples that go on by themselves, and where they are.
    alone: Vec<(u32, i32)>,
}

impl<'a> Group<'a> {
    pub(super) fn new(forest: &'a Forest) -> Self {
        Self {
            forest,
            values: vec![0.0; forest.features() * GROUP],
            votes: vec![[0; DIGITS]; forest.classes],
            digits: (forest.trees.len().ilog2() + 1) as usize,
            ballot: vec![0; forest.classes],
            mixed: vec![0.0; GROUP * lanes(forest.classes)],
            alone: Vec::with_capacity(GROUP),
        }
    }

    /// Replaces the samples by `first..first + count`; what is missing at the end repeats older values.
    pub(super) fn load(&mut self, features: &Features<'_>, first: usize, count: usize) -> Result<()> {
        self.votes.fill([0; DIGITS]);
        self.mixed.fill(0.0);
        features.copy(first, count, 0..features.features(), GROUP, &mut self.values);
        if all_finite(&self.values) {
            return Ok(());
        }
        let mut strips = self.values.chunks_exact(GROUP).map(|strip| &strip[..count]).enumerate();
        match strips.find(|(_, strip)| !all_finite(strip)) {
            Some((feature, strip)) => Err(not_finite(strip, first, feature)),
            None => Ok(()),
        }
    }

    /// Sends the samples whose bit is set through a tree.
    pub(super) fn pass(&mut self, tree: &Tree, mask: u32) {
        if mask == 0 {
            return;
        }
        self.together(tree, mask);
        self.alone(tree);
        for (digits, vote) in self.votes.iter_mut().zip(&mut self.ballot) {
            add_one(digits, std::mem::take(vote));
        }
    }

    /// The sums over the trees of the distributions that a sample met, to `sums`: one a class.
    pub(super) fn sums(&self, sample: usize, sums: &mut [f32]) {
        let mixed = &self.mixed[sample * lanes(self.forest.classes)..];
        for ((sum, digits), mixed) in sums.iter_mut().zip(&self.votes).zip(mixed) {
            let votes = digits[..self.digits].iter().rev().fold(0, |votes, digit| votes << 1 | (digit >> sample & 1));
            *sum = votes as f32 + mixed;
        }
    }

    /// Those of some samples whose most probable class this many further trees could change.
    pub(super) fn undecided(&self, open: u32, trees: usize, sums: &mut [f32]) -> u32 {
        // A tree adds 1 to a class at most; one more, because sums are rounded.
        let enough = (trees + 1) as f32;
        let decided = |sample: u32, sums: &mut [f32]| {
            self.sums(sample as usize, sums);
            let best = greatest(sums);
            (0..sums.len()).all(|class| class == best || sums[best] - sums[class] > enough)
        };
        bits(open).fold(open, |open, sample| if decided(sample, sums) { open & !BITS[sample as usize] } else { open })
    }

    /// Takes the group down as long as enough of it stays together.
    fn together(&mut self, tree: &Tree, mask: u32) {
        // Every entry has samples of its own, so there are never more.
        let mut waiting = [(0, 0); GROUP];
        let (mut waits, mut here, mut mask) = (0, tree.root, mask);
        loop {
            if here >= 0 && !is_few(mask) {
                let node: &Node = &tree.nodes[here as usize];
                let start = node.feature as usize * GROUP;
                let right = above(&self.values[start..start + GROUP], node.threshold) & mask;
                here = node.children[usize::from(right == mask)];
                if right != 0 && right != mask {
                    waiting[waits] = (node.children[1], right);
                    waits += 1;
                    mask &= !right;
                }
                continue;
            }
            if here < 0 {
                self.arrive(!here as usize, mask);
            } else {
                self.alone.extend(bits(mask).map(|sample| (sample, here)));
            }
            if waits == 0 {
                return;
            }
            waits -= 1;
            (here, mask) = waiting[waits];
        }
    }

    /// Takes those who are left down.
    fn alone(&mut self, tree: &Tree) {
        let mut alone = std::mem::take(&mut self.alone);
        for walkers in alone.chunks(ABREAST) {
            let (mut samples, mut at) = ([0; ABREAST], [-1; ABREAST]);
            for ((sample, at), walker) in samples.iter_mut().zip(&mut at).zip(walkers) {
                (*sample, *at) = (walker.0 as usize, walker.1);
            }
            while at.iter().any(|at| *at >= 0) {
                for (at, sample) in at.iter_mut().zip(&samples) {
                    if *at >= 0 {
                        let node: &Node = &tree.nodes[*at as usize];
                        let value = self.values[node.feature as usize * GROUP + sample];
                        *at = node.children[usize::from(value > node.threshold)];
                    }
                }
            }
            for (sample, at) in samples.iter().zip(at).take(walkers.len()) {
                self.arrive(!at as usize, BITS[*sample]);
            }
        }
        alone.clear();
        self.alone = alone;
    }

    /// Counts what a leaf says about the samples that meet it.
    fn arrive(&mut self, leaf: usize, mask: u32) {
        if let Some(ballot) = self.ballot.get_mut(leaf) {
            *ballot |= mask;
            return;
        }
        let (place, lanes) = (leaf - self.forest.classes, lanes(self.forest.classes));
        let shares = self.forest.leaves[place * lanes..(place + 1) * lanes].as_chunks::<LANES>().0;
        for sample in bits(mask) {
            let start = sample as usize * lanes;
            let sums = self.mixed[start..start + lanes].as_chunks_mut::<LANES>().0;
            for (sums, shares) in sums.iter_mut().zip(shares) {
                sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
            }
        }
    }
}

/// Whether no more than [`FEW`] bits are set.
fn is_few(mask: u32) -> bool {
    (0..FEW).fold(mask, |mask, _| mask & mask.wrapping_sub(1)) == 0
}

/// The places of the bits that are set.
fn bits(mut mask: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let place = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (place < u32::BITS).then_some(place)
    })
}

/// The bits of the values above a threshold. A function of its own, for slices of any length: it then becomes a short
/// loop on vectors, whereas unrolled it becomes scalar.
#[inline(never)]
fn above(values: &[f32], threshold: f32) -> u32 {
    values.iter().zip(&BITS).fold(0, |bits, (&value, bit)| bits | if value > threshold { *bit } else { 0 })
}

/// The place of the greatest sum, of the first of those that are equal.
pub(super) fn greatest(sums: &[f32]) -> usize {
    (1..sums.len()).fold(0, |best, place| if sums[place] > sums[best] { place } else { best })
}

/// Adds 1 to the count of every sample whose bit is set.
fn add_one(digits: &mut [u32; DIGITS], mut carry: u32) {
    for digit in digits {
        if carry == 0 {
            return;
        }
        (*digit, carry) = (*digit ^ carry, *digit & carry);
    }
}
