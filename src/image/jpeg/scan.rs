//! The entropy-coded data of a JPEG of one scan, read without computing pixels: whether every block is there. It is asked
//! only where the end marker is missing.

use super::frame::{Component, Frame, RST0};

/// A Huffman table: for codes of each length, one more than the largest code, and where their symbols begin less the
/// first code.
#[derive(Debug, Clone)]
pub(super) struct Table {
    limits: [i32; 16],
    offsets: [i32; 16],
    symbols: Vec<u8>,
}

impl Table {
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Self {
        let mut table = Self { limits: [0; 16], offsets: [0; 16], symbols: symbols.to_vec() };
        let (mut code, mut first) = (0, 0);
        for (i, &count) in counts.iter().enumerate() {
            table.offsets[i] = first - code;
            code += i32::from(count);
            first += i32::from(count);
            table.limits[i] = code;
            code <<= 1;
        }
        table
    }
}

/// Huffman tables of direct and of alternating coefficients, by number.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) direct: [Option<Table>; 4],
    pub(super) alternating: [Option<Table>; 4],
}

/// Goes over all blocks of the frame in the scan `data`; `None` if one is missing. `selectors` are the tables of each
/// component, and `interval` is the number of minimum coded units between restart markers, 0 without.
pub(super) fn blocks(data: &[u8], frame: &Frame, selectors: &[u8], tables: &Tables, interval: usize) -> Option<()> {
    let mut coded = Vec::new();
    for (component, &selector) in frame.components.iter().zip(selectors) {
        let direct = tables.direct.get(usize::from(selector >> 4))?.as_ref()?;
        let alternating = tables.alternating.get(usize::from(selector & 0xf))?.as_ref()?;
        coded.push((component, direct, alternating));
    }
    // One component alone is not interleaved, whatever its sampling.
    let alone = coded.len() == 1;
    let largest = |factor: fn(&Component) -> u8| frame.components.iter().map(factor).max().map(usize::from);
    let (across, down) = if alone { (1, 1) } else { (largest(|c| c.across)?, largest(|c| c.down)?) };
    let units = frame.size.width.div_ceil(8 * across) * frame.size.height.div_ceil(8 * down);
    let mut bits = Bits { data, at: 0, buffer: 0, left: 0 };
    for unit in 0..units {
        if interval > 0 && unit > 0 && unit % interval == 0 {
            bits.restart((unit / interval - 1) % 8)?;
        }
        for (component, direct, alternating) in &coded {
            let blocks = if alone { 1 } else { component.across * component.down };
            (0..blocks).try_for_each(|_| bits.block(direct, alternating))?;
        }
    }
    Some(())
}

/// The bits of a scan, without stuffed zeros; none beyond a marker or the end.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    buffer: u8,
    left: u32,
}

impl Bits<'_> {
    fn block(&mut self, direct: &Table, alternating: &Table) -> Option<()> {
        let size = self.symbol(direct)?;
        self.skip(size)?;
        let mut coefficient = 1;
        while coefficient < 64 {
            let symbol = self.symbol(alternating)?;
            let (zeros, size) = (symbol >> 4, symbol & 0xf);
            if size == 0 && zeros < 15 {
                break;
            }
            self.skip(size)?;
            coefficient += usize::from(zeros) + 1;
        }
        Some(())
    }

    fn symbol(&mut self, table: &Table) -> Option<u8> {
        let mut code = 0;
        for (limit, offset) in table.limits.iter().zip(&table.offsets) {
            code = code << 1 | i32::from(self.bit()?);
            if code < *limit {
                return table.symbols.get(usize::try_from(code + offset).ok()?).copied();
            }
        }
        None
    }

    fn skip(&mut self, bits: u8) -> Option<()> {
        (0..bits).try_for_each(|_| self.bit().map(drop))
    }

    fn bit(&mut self) -> Option<u8> {
        if self.left == 0 {
            self.buffer = *self.data.get(self.at)?;
            self.at += 1;
            if self.buffer == 0xff {
                if *self.data.get(self.at)? != 0 {
                    return None;
                }
                self.at += 1;
            }
            self.left = 8;
        }
        self.left -= 1;
        Some(self.buffer >> self.left & 1)
    }

    fn restart(&mut self, number: usize) -> Option<()> {
        self.left = 0;
        let marker = self.data.get(self.at..self.at + 2)?;
        self.at += 2;
        (marker == [0xff, RST0 + number as u8]).then_some(())
    }
}
