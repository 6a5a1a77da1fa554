//! Which images make up an epoch and its batches.

use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::presence::{ClassPresence, Group};
use super::random::{Purpose, stream};
use crate::base::{Result, require};

/// Which images make up an epoch and its batches.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Batches of an epoch, all of them full, from one shuffle of the images after the other; as many as the images
    /// fill if left out.
    pub epoch_batches: Option<usize>,
    /// Whether images that are higher than wide share no batch with the others, as in CSAIL's training.
    #[serde(default)]
    pub group_by_aspect: bool,
    /// Share of the samples that are chosen to show a class other than the first, each of these as often; a crop is
    /// then placed to show it.
    #[serde(default)]
    pub foreground: f64,
}

/// An image at a place of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pick {
    /// Its position in the pairs.
    pub(super) pair: usize,
    /// The class that it was chosen for.
    pub(super) class: Option<u16>,
}

/// What images are drawn from.
#[derive(Clone, Copy)]
pub(super) struct Pool<'a> {
    /// How many there are.
    pub(super) pairs: usize,
    /// What they show.
    pub(super) presence: &'a ClassPresence,
    /// Samples a batch.
    pub(super) batch_size: usize,
}

impl Sampling {
    /// Says what is wrong with the numbers.
    pub fn check(&self) -> Result<()> {
        let expected = "at least 1, or left out for one pass";
        require(self.epoch_batches != Some(0), "sampling.epoch_batches", 0, expected)?;
        let foreground = self.foreground;
        require((0.0..=1.0).contains(&foreground), "sampling.foreground", foreground, "a share from 0 to 1")
    }

    /// Whether it depends on what the images show.
    pub fn needs_presence(&self) -> bool {
        self.group_by_aspect || self.foreground > 0.0
    }

    /// Batches of an epoch.
    pub(super) fn batches(&self, pool: Pool<'_>) -> usize {
        self.epoch_batches.unwrap_or_else(|| self.round(pool))
    }

    /// Samples of an epoch.
    pub(super) fn samples(&self, pool: Pool<'_>) -> usize {
        self.epoch_batches.map_or(pool.pairs, |batches| batches * pool.batch_size)
    }

    /// Batches that one shuffle of the images fills.
    fn round(&self, pool: Pool<'_>) -> usize {
        let all = pool.pairs;
        if !self.group_by_aspect {
            return all.div_ceil(pool.batch_size);
        }
        let high = (0..all).filter(|pair| pool.presence.is_high(*pair)).count();
        high.div_ceil(pool.batch_size) + (all - high).div_ceil(pool.batch_size)
    }

    /// The batches of an epoch: a function of `seed`, `epoch` and the pool alone.
    pub(super) fn epoch(&self, pool: Pool<'_>, seed: u64, epoch: usize) -> Vec<Vec<Pick>> {
        if pool.pairs == 0 {
            return Vec::new();
        }
        let pairs = match (self.epoch_batches, self.group_by_aspect) {
            (None, false) => chunks(shuffled(pool.pairs, seed, epoch).into_iter(), pool.batch_size),
            (None, true) => grouped(pool, seed, epoch, false),
            (Some(batches), false) => {
                let first = epoch * batches * pool.batch_size;
                let rounds = (first / pool.pairs..).flat_map(|round| shuffled(pool.pairs, seed, round));
                chunks(rounds.skip(first % pool.pairs).take(batches * pool.batch_size), pool.batch_size)
            }
            (Some(batches), true) => {
                let (round, first) = (self.round(pool), epoch * batches);
                let rounds = (first / round..).flat_map(|round| grouped(pool, seed, round, true));
                rounds.skip(first % round).take(batches).collect()
            }
        };
        let plain = |pairs: Vec<usize>| pairs.into_iter().map(|pair| Pick { pair, class: None }).collect();
        let mut batches: Vec<Vec<Pick>> = pairs.into_iter().map(plain).collect();
        if self.foreground > 0.0 {
            self.choose_foreground(pool, seed, epoch, &mut batches);
        }
        batches
    }

    /// Exchanges every nth image of the epoch for one that shows a class other than the first: the class drawn
    /// evenly among those that occur, then the image among those that show it.
    fn choose_foreground(&self, pool: Pool<'_>, seed: u64, epoch: usize, batches: &mut [Vec<Pick>]) {
        let groups: &[Group] = if self.group_by_aspect { &[Group::High, Group::Wide] } else { &[Group::All] };
        let shown: Vec<_> = groups.iter().map(|group| pool.presence.pairs_by_class(*group)).collect();
        let chosen = |place: usize| (place as f64 * self.foreground).floor();
        let mut place = 0;
        for (batch, picks) in batches.iter_mut().enumerate() {
            let is_wide = |pick: &Pick| self.group_by_aspect && !pool.presence.is_high(pick.pair);
            let classes = &shown[usize::from(picks.first().is_some_and(is_wide))];
            for (slot, pick) in picks.iter_mut().enumerate() {
                if chosen(place + 1) > chosen(place) && !classes.is_empty() {
                    let mut rng = stream(seed, epoch, batch * pool.batch_size + slot, Purpose::Foreground);
                    let (class, pairs) = &classes[rng.random_range(0..classes.len())];
                    *pick = Pick { pair: pairs[rng.random_range(0..pairs.len())], class: Some(*class) };
                }
                place += 1;
            }
        }
    }
}

fn shuffled(pairs: usize, seed: u64, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pairs).collect();
    order.shuffle(&mut stream(seed, round, usize::MAX, Purpose::Sample));
    order
}

fn chunks(pairs: impl Iterator<Item = usize>, size: usize) -> Vec<Vec<usize>> {
    pairs.collect::<Vec<_>>().chunks(size).map(<[usize]>::to_vec).collect()
}

/// A shuffle of the images in batches of one group each, in the order in which they are full; the two that are not
/// come last, `full` of images of their group that were there already if asked for.
fn grouped(pool: Pool<'_>, seed: u64, round: usize, full: bool) -> Vec<Vec<usize>> {
    let mut batches = Vec::new();
    let mut open: [Vec<usize>; 2] = Default::default();
    let order = shuffled(pool.pairs, seed, round);
    for &pair in &order {
        let group = &mut open[usize::from(!pool.presence.is_high(pair))];
        group.push(pair);
        if group.len() == pool.batch_size {
            batches.push(std::mem::take(group));
        }
    }
    for mut rest in open.into_iter().filter(|rest| !rest.is_empty()) {
        let high = pool.presence.is_high(rest[0]);
        let missing = if full { pool.batch_size - rest.len() } else { 0 };
        let again = order.iter().copied().filter(|pair| pool.presence.is_high(*pair) == high);
        rest.extend(again.collect::<Vec<_>>().into_iter().cycle().take(missing));
        batches.push(rest);
    }
    batches
}
