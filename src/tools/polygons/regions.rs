//! Connected regions of equal value, found row by row.

use super::corners::{Corner, NONE};

/// A region whose pixels touch the last row.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// The region that it turned out to be part of, or itself.
    parent: u32,
    pub(super) value: u16,
    pub(super) pixels: u64,
    /// Sum of the probabilities of its pixels.
    pub(super) probability: f64,
    pub(super) top: u32,
    /// The last row, counted from 1, in which it was seen.
    seen: u32,
    /// A corner of each of its rings, of some rings several.
    pub(super) births: Vec<u32>,
}

/// A stretch of equal values in a row.
#[derive(Debug, Clone, Copy)]
struct Run {
    start: usize,
    end: usize,
    region: u32,
}

/// Regions that are not finished, by union-find; only pixels that touch on a side belong together.
#[derive(Debug, Default)]
pub(super) struct Regions {
    table: Vec<Open>,
    free: Vec<u32>,
    /// Those that were found to be part of another one in this row.
    merged: Vec<u32>,
    runs: Vec<Run>,
    /// Those that touch the last row.
    live: Vec<u32>,
    /// The region of each pixel of the last row; [`NONE`] without a class.
    of_pixel: Vec<u32>,
}

impl Regions {
    pub(super) fn new(width: usize) -> Self {
        Self { of_pixel: vec![NONE; width], ..Self::default() }
    }

    /// The region of a pixel of the last row.
    pub(super) fn at(&mut self, column: usize) -> &mut Open {
        &mut self.table[self.of_pixel[column] as usize]
    }

    /// Those that touch the last row.
    pub(super) fn live(&self) -> impl Iterator<Item = &Open> {
        self.live.iter().map(|&region| &self.table[region as usize])
    }

    /// Takes the next row, `y`, with the row above it. Returns the regions that do not touch it.
    pub(super) fn push(
        &mut self,
        y: u32,
        [above, below]: [&[u32]; 2],
        value_of: impl Fn(u32) -> Option<u16>,
        probability: Option<&[f32]>,
    ) -> Vec<u32> {
        self.runs.clear();
        let mut start = 0;
        for same in below.chunk_by(|left, right| left == right) {
            let end = start + same.len();
            if let Some(value) = value_of(same[0]) {
                let region = self.place(start..end, above, same[0]);
                let region = region.unwrap_or_else(|| self.open(value, y));
                let open = &mut self.table[region as usize];
                open.pixels += same.len() as u64;
                open.probability +=
                    probability.map_or(0.0, |all| all[start..end].iter().map(|&one| f64::from(one)).sum());
                self.runs.push(Run { start, end, region });
            }
            start = end;
        }
        self.settle(y)
    }

    /// The region above a run, if there is one; several become one.
    fn place(&mut self, columns: std::ops::Range<usize>, above: &[u32], cell: u32) -> Option<u32> {
        let (mut found, mut last) = (None, NONE);
        for x in columns {
            let over = self.of_pixel[x];
            if above[x] == cell && over != last {
                last = over;
                found = Some(match found {
                    None => self.root(over),
                    Some(region) => self.union(region, over),
                });
            }
        }
        found
    }

    fn open(&mut self, value: u16, y: u32) -> u32 {
        let region = self.free.pop().unwrap_or_else(|| {
            self.table.push(Open::default());
            self.table.len() as u32 - 1
        });
        self.table[region as usize] = Open { parent: region, value, top: y, ..Open::default() };
        region
    }

    fn root(&mut self, mut region: u32) -> u32 {
        while self.table[region as usize].parent != region {
            let parent = self.table[region as usize].parent;
            self.table[region as usize].parent = self.table[parent as usize].parent;
            region = parent;
        }
        region
    }

    fn union(&mut self, one: u32, other: u32) -> u32 {
        let (one, other) = (self.root(one), self.root(other));
        if one == other {
            return one;
        }
        let births = |region: u32| self.table[region as usize].births.len();
        let (kept, lost) = if births(one) >= births(other) { (one, other) } else { (other, one) };
        let lost_region = std::mem::take(&mut self.table[lost as usize]);
        self.table[lost as usize].parent = kept;
        let into = &mut self.table[kept as usize];
        into.pixels += lost_region.pixels;
        into.probability += lost_region.probability;
        into.top = into.top.min(lost_region.top);
        into.births.extend(lost_region.births);
        self.merged.push(lost);
        kept
    }

    /// Names the region of each pixel of row `y`; returns those that ended above it.
    fn settle(&mut self, y: u32) -> Vec<u32> {
        let mut live = Vec::new();
        self.of_pixel.fill(NONE);
        for run in std::mem::take(&mut self.runs) {
            let region = self.root(run.region);
            self.of_pixel[run.start..run.end].fill(region);
            let open = &mut self.table[region as usize];
            if open.seen != y + 1 {
                open.seen = y + 1;
                live.push(region);
            }
        }
        let mut ended = std::mem::replace(&mut self.live, live);
        ended.retain(|&region| {
            let open = &self.table[region as usize];
            open.parent == region && open.seen != y + 1
        });
        self.free.append(&mut self.merged);
        ended
    }

    /// Takes a region out that has ended.
    pub(super) fn close(&mut self, region: u32) -> Open {
        self.free.push(region);
        std::mem::take(&mut self.table[region as usize])
    }

    /// How many regions there is room for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.table.len()
    }
}

/// A region as it was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Region {
    /// Its label value.
    pub(super) value: u16,
    /// How many pixels it has.
    pub(super) pixels: u64,
    /// The mean of their probabilities; 0 where there are none.
    pub(super) probability: f64,
    /// The ring around it, then those around its holes. The region lies to the left of each, seen on a screen.
    pub(super) rings: Vec<Vec<Corner>>,
}
