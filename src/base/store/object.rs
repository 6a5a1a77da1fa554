//! One object, read in parts: small ones through a cache of blocks, large ones in a request each, and those that will be
//! wanted together in few requests.

use std::collections::VecDeque;
use std::io::{Error as IoError, ErrorKind, Read, Result as IoResult, Seek, SeekFrom};
use std::iter::once;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStoreExt};

use super::client::{Place, again, answer, causes, in_words};
use crate::base::locked;

/// Bytes of a block: what a small read asks for, and the first request of an object. The directories of most TIFFs fit.
const BLOCK: u64 = 16 << 10;
/// Most blocks that are kept of an object.
const BLOCKS: usize = 64;
/// Bytes of larger reads that are kept of an object, such as the tables of its tiles, which are read at each opening.
const KEPT: usize = 4 << 20;
/// Most bytes of a request: one that breaks costs no more, and takes less than the time that a request may take.
const MOST: u64 = 8 << 20;
/// Bytes between two parts that are read with them, for a request takes longer.
const GAP: u64 = 4 << 10;
/// Bytes of the counts that GDAL writes around the tiles of a COG, which are read with them.
const AROUND: u64 = 8;
/// Requests at the same time.
const AT_ONCE: usize = 8;
/// Bytes that are read ahead of whoever reads from the front.
const AHEAD: u64 = 4 << 20;
/// Whoever has read so far goes on, probably.
const FAR: u64 = 64 << 10;

/// An object whose beginning has been read.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) url: PathBuf,
    place: Place,
    pub(super) bytes: u64,
    /// When it was last changed, in seconds since 1970.
    pub(super) modified: i64,
    /// What tells this version from others, if the server says.
    tag: Option<String>,
    parts: Mutex<Parts>,
}

/// Parts of an object that are at hand.
#[derive(Debug, Default)]
struct Parts {
    /// By their number, in the order in which they came.
    blocks: VecDeque<(u64, Vec<u8>)>,
    /// By where they begin.
    large: Vec<(u64, Vec<u8>)>,
    /// Parts that are wanted next, by where they begin, in order.
    ahead: Vec<(u64, Vec<u8>)>,
}

impl Parts {
    fn find(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let inside = |(start, bytes): &(u64, Vec<u8>)| {
            let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
            bytes.get(from..from.checked_add(length)?).map(<[u8]>::to_vec)
        };
        let before = self.ahead.partition_point(|(start, _)| *start <= offset);
        before.checked_sub(1).and_then(|last| inside(&self.ahead[last])).or_else(|| self.large.iter().find_map(inside))
    }

    fn block(&self, number: u64) -> Option<&[u8]> {
        self.blocks.iter().find(|(known, _)| *known == number).map(|(_, bytes)| bytes.as_slice())
    }

    fn keep_block(&mut self, number: u64, bytes: Vec<u8>) {
        if self.block(number).is_none() {
            self.blocks.push_back((number, bytes));
        }
        // The first holds the header, which is read again and again.
        if self.blocks.len() > BLOCKS {
            self.blocks.remove(1);
        }
    }
}

impl Known {
    /// Reads the beginning of an object.
    pub(super) fn open(url: &Path, place: Place) -> IoResult<Self> {
        let failed = |e| in_words(url, &e);
        let begun = answer(async {
            let options = GetOptions { range: Some(GetRange::Bounded(0..BLOCK)), ..GetOptions::default() };
            let found = place.store.get_opts(&place.key, options).await?;
            let meta = found.meta.clone();
            // What broke off is read again as a block.
            Ok((meta, found.bytes().await.map_or_else(|_| Vec::new(), |bytes| bytes.to_vec())))
        });
        let (meta, first): (ObjectMeta, _) = match begun {
            Ok(begun) => begun,
            // An empty object has no bytes to give.
            Err(fault) => match is_empty(&fault).then(|| answer(place.store.head(&place.key))) {
                Some(Ok(meta)) => (meta, Vec::new()),
                _ => return Err(failed(fault)),
            },
        };
        let mut parts = Parts::default();
        if first.len() as u64 == meta.size.min(BLOCK) {
            parts.keep_block(0, first);
        }
        // A weak tag tells no bytes apart, and servers refuse it as a condition.
        let tag = meta.e_tag.filter(|tag| !tag.starts_with("W/"));
        let modified = meta.last_modified.timestamp();
        Ok(Self { url: url.into(), place, bytes: meta.size, modified, tag, parts: Mutex::new(parts) })
    }

    /// Exactly those bytes.
    pub(super) fn read_at(&self, offset: u64, length: usize) -> IoResult<Vec<u8>> {
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.bytes);
        let Some(end) = end else {
            return Err(IoError::new(ErrorKind::UnexpectedEof, "the object ends before that"));
        };
        if length == 0 {
            return Ok(Vec::new());
        }
        if let Some(found) = locked(&self.parts).find(offset, length) {
            return Ok(found);
        }
        if length as u64 >= BLOCK {
            let bytes = self.fetch(once(offset..end))?.concat();
            let mut parts = locked(&self.parts);
            if parts.large.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() + length <= KEPT {
                parts.large.push((offset, bytes.clone()));
            }
            return Ok(bytes);
        }
        let (first, last) = (offset / BLOCK, (end - 1) / BLOCK);
        let mut blocks = Vec::with_capacity(2 * BLOCK as usize);
        for number in first..=last {
            blocks.extend(self.block(number)?);
        }
        let from = (offset - first * BLOCK) as usize;
        Ok(blocks[from..from + length].to_vec())
    }

    fn block(&self, number: u64) -> IoResult<Vec<u8>> {
        if let Some(block) = locked(&self.parts).block(number) {
            return Ok(block.to_vec());
        }
        let range = number * BLOCK..((number + 1) * BLOCK).min(self.bytes);
        let bytes = self.fetch(once(range))?.concat();
        locked(&self.parts).keep_block(number, bytes.clone());
        Ok(bytes)
    }

    /// Reads parts, by offset and length, that will be wanted soon, neighbours together. What was read so before and is not
    /// wanted is dropped.
    pub(super) fn fetch_ahead(&self, wanted: &[(u64, u64)]) -> IoResult<()> {
        let mut parts = locked(&self.parts);
        let is_wanted = |(start, bytes): &(u64, Vec<u8>)| {
            wanted.iter().any(|(offset, _)| (*start..*start + bytes.len() as u64).contains(offset))
        };
        parts.ahead.retain(is_wanted);
        let is_missing = |(offset, length): &&(u64, u64)| {
            !parts
                .ahead
                .iter()
                .any(|(start, bytes)| start <= offset && offset.saturating_add(*length) <= *start + bytes.len() as u64)
        };
        let missing: Vec<(u64, u64)> = wanted.iter().filter(is_missing).copied().collect();
        drop(parts);
        let ranges = merged(&missing, self.bytes);
        let starts: Vec<u64> = ranges.iter().map(|range| range.start).collect();
        let fetched = self.fetch(ranges)?;
        let mut parts = locked(&self.parts);
        parts.ahead.extend(starts.into_iter().zip(fetched));
        parts.ahead.sort_by_key(|(start, _)| *start);
        Ok(())
    }

    /// Forgets all but the beginning.
    pub(super) fn drop_parts(&self) {
        let mut parts = locked(&self.parts);
        (parts.ahead, parts.large) = (Vec::new(), Vec::new());
    }

    /// All of it.
    pub(super) fn read(&self) -> IoResult<Vec<u8>> {
        let ranges = (0..self.bytes).step_by(MOST as usize).map(|start| start..(start + MOST).min(self.bytes));
        match locked(&self.parts).block(0).filter(|first| first.len() as u64 == self.bytes) {
            Some(whole) => return Ok(whole.to_vec()),
            None if self.bytes == 0 => return Ok(Vec::new()),
            None => {}
        }
        Ok(self.fetch(ranges)?.concat())
    }

    fn fetch(&self, ranges: impl IntoIterator<Item = Range<u64>>) -> IoResult<Vec<Vec<u8>>> {
        let requests = stream::iter(ranges).map(|range| self.part(range)).buffered(AT_ONCE);
        answer(requests.try_collect()).map_err(|e| in_words(&self.url, &e))
    }

    async fn part(&self, range: Range<u64>) -> object_store::Result<Vec<u8>> {
        again(|| async {
            let options = GetOptions {
                range: Some(GetRange::Bounded(range.clone())),
                if_match: self.tag.clone(),
                ..GetOptions::default()
            };
            Ok(self.place.store.get_opts(&self.place.key, options).await?.bytes().await?.to_vec())
        })
        .await
    }
}

/// Whether a server refused to give the first bytes because there are none.
fn is_empty(fault: &object_store::Error) -> bool {
    causes(fault).any(|fault| fault.to_string().contains("416"))
}

/// What to ask for to have all parts: neighbours together, up to the bytes of a request.
fn merged(wanted: &[(u64, u64)], end: u64) -> Vec<Range<u64>> {
    let around = |&(offset, length): &(u64, u64)| {
        offset.saturating_sub(AROUND)..offset.saturating_add(length).saturating_add(AROUND).min(end)
    };
    let mut ranges: Vec<Range<u64>> = wanted.iter().map(around).filter(|range| range.start < range.end).collect();
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end + GAP && range.end.max(last.end) - last.start <= MOST => {
                last.end = last.end.max(range.end);
            }
            // Inside the part before it.
            Some(last) if range.end <= last.end => {}
            _ => merged.push(range),
        }
    }
    merged
}

/// An object, read from its beginning.
#[derive(Debug)]
pub(crate) struct Reader {
    object: Arc<Known>,
    position: u64,
    /// Bytes that were read ahead, and where they begin.
    ahead: (u64, Vec<u8>),
}

impl Reader {
    pub(super) fn new(object: Arc<Known>) -> Self {
        Self { object, position: 0, ahead: Default::default() }
    }

    fn at_hand(&self) -> &[u8] {
        let from = self.position.checked_sub(self.ahead.0).and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.ahead.1.get(from..)).unwrap_or_default()
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        let left = self.object.bytes.saturating_sub(self.position);
        if left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        if self.at_hand().is_empty() {
            let length = if self.position < FAR { (buffer.len() as u64).min(BLOCK - 1) } else { AHEAD };
            self.ahead = (self.position, self.object.read_at(self.position, length.min(left) as usize)?);
        }
        let ready = self.at_hand();
        let length = ready.len().min(buffer.len());
        buffer[..length].copy_from_slice(&ready[..length]);
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> IoResult<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(step) => self.object.bytes.checked_add_signed(step),
            SeekFrom::Current(step) => self.position.checked_add_signed(step),
        };
        let before = || IoError::new(ErrorKind::InvalidInput, "a place before the beginning of the object");
        self.position = place.ok_or_else(before)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_asked_for_together() {
        let end = 100 << 20;
        let asked = |parts: &[(u64, u64)]| -> Vec<(u64, u64)> {
            merged(parts, end).into_iter().map(|range| (range.start, range.end)).collect()
        };
        let two = [(992, 1816), (39_992, 40_018)];
        assert_eq!(asked(&[(1000, 500), (1508, 300), (40_000, 10)]), two);
        // In any order, and none twice.
        assert_eq!(asked(&[(40_000, 10), (1508, 300), (1000, 500), (1000, 500)]), two);
        // No request grows beyond its bounds, unless one part does.
        let tile = 3 << 20;
        assert_eq!(asked(&[0, 1, 2, 3].map(|i| (i * tile, tile))).len(), 2);
        assert_eq!(asked(&[(0, 2 * MOST), (100, 5)]), [(0, 2 * MOST + AROUND)]);
        // What a damaged file claims beyond its end is not asked for.
        assert_eq!(asked(&[(end - 4, 100), (2 * end, 5)]), [(end - 12, end)]);
        assert!(asked(&[]).is_empty());
    }
}
