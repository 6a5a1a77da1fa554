//! Tags of a TIFF as raw bytes, so that they can be copied exactly, whatever they hold.

use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::path::Path;

use crate::base::files::open_input;
use crate::base::store::Opened;

const NEW_SUBFILE_TYPE: u16 = 254;
const SUBFILE_TYPE: u16 = 255;
/// Bits of NewSubfileType: an overview, a mask.
const REDUCED_OR_MASK: u64 = 1 | 4;
/// What SubfileType, its predecessor, calls an overview.
const OLD_REDUCED: u64 = 2;

/// Pages that are read at most.
const MOST_PAGES: usize = 64;
/// Most tags of a page, and most bytes of a tag, that are believed.
const MOST_TAGS: u64 = 4096;
const MOST_BYTES: u64 = 16 << 20;

/// Types of tags.
pub(super) const ASCII: u16 = 2;
pub(super) const SHORT: u16 = 3;
pub(super) const LONG: u16 = 4;
pub(super) const DOUBLE: u16 = 12;
pub(super) const LONG8: u16 = 16;

/// A tag with its value in little-endian bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawTag {
    pub(super) code: u16,
    pub(super) kind: u16,
    pub(super) count: u64,
    pub(super) bytes: Vec<u8>,
}

impl RawTag {
    pub(super) fn shorts(code: u16, values: &[u16]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { code, kind: SHORT, count: values.len() as u64, bytes }
    }

    pub(super) fn longs(code: u16, values: &[u32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { code, kind: LONG, count: values.len() as u64, bytes }
    }

    pub(super) fn doubles(code: u16, values: &[f64]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { code, kind: DOUBLE, count: values.len() as u64, bytes }
    }

    /// Ends with a zero byte, as the format asks.
    pub(super) fn text(code: u16, text: &str) -> Self {
        let bytes = [text.as_bytes(), b"\0"].concat();
        Self { code, kind: ASCII, count: bytes.len() as u64, bytes }
    }

    /// The first value of a tag of 16 or 32 bits.
    pub(super) fn number(&self) -> Option<u64> {
        match self.kind {
            SHORT => self.bytes.first_chunk().map(|bytes| u16::from_le_bytes(*bytes).into()),
            LONG => self.bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes).into()),
            _ => None,
        }
    }
}

/// The tags of these codes on the page that is the image: the first that is neither an overview nor a mask. Only the
/// beginning of the file and its directories are read.
///
/// # Errors
///
/// If the file cannot be read, or is no TIFF.
pub(super) fn read_tags(path: &Path, codes: &[u16]) -> Result<Vec<RawTag>> {
    let mut file = Directories::open(path)?;
    let mut next = file.first;
    let mut first = None;
    for _ in 0..MOST_PAGES {
        if next == 0 {
            break;
        }
        let (entries, after) = file.entries(next)?;
        let kind = |code, file: &mut Directories| {
            let entry = entries.iter().find(|entry| entry.code == code);
            entry.and_then(|entry| file.tag(entry).ok()?.number())
        };
        let new = kind(NEW_SUBFILE_TYPE, &mut file);
        let old = kind(SUBFILE_TYPE, &mut file);
        let is_image = new.map_or(old != Some(OLD_REDUCED), |bits| bits & REDUCED_OR_MASK == 0);
        if is_image {
            return file.wanted(&entries, codes);
        }
        first.get_or_insert(entries);
        next = after;
    }
    let first = first.ok_or_else(|| damaged("has no pages"))?;
    file.wanted(&first, codes)
}

fn damaged(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}

/// A directory's entry.
struct Entry {
    code: u16,
    kind: u16,
    count: u64,
    /// The value, or where it is, as stored.
    field: Vec<u8>,
}

/// The directories of an open file.
struct Directories {
    file: Box<dyn Opened>,
    big_endian: bool,
    /// Whether it is a BigTIFF.
    big: bool,
    first: u64,
}

impl Directories {
    fn open(path: &Path) -> Result<Self> {
        let (mut file, _) = open_input(path).map_err(Error::other)?;
        let mut head = [0; 4];
        file.read_exact(&mut head)?;
        let (big_endian, big) = match &head {
            b"II*\0" => (false, false),
            b"MM\0*" => (true, false),
            b"II+\0" => (false, true),
            b"MM\0+" => (true, true),
            _ => return Err(damaged("is not a TIFF")),
        };
        let mut opened = Self { file, big_endian, big, first: 0 };
        let place = opened.read_at(if big { 8 } else { 4 }, if big { 8 } else { 4 })?;
        opened.first = opened.number(&place);
        Ok(opened)
    }

    fn read_at(&mut self, place: u64, bytes: usize) -> Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(place))?;
        let mut read = vec![0; bytes];
        self.file.read_exact(&mut read)?;
        Ok(read)
    }

    /// An unsigned number of up to 8 bytes.
    fn number(&self, bytes: &[u8]) -> u64 {
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    }

    /// The entries of the directory at a place, and where the next one is.
    fn entries(&mut self, place: u64) -> Result<(Vec<Entry>, u64)> {
        let (word, entry) = if self.big { (8, 20) } else { (4, 12) };
        let counter = if self.big { 8 } else { 2 };
        let count = self.read_at(place, counter)?;
        let count = self.number(&count);
        if count > MOST_TAGS {
            return Err(damaged("has a directory of too many tags"));
        }
        let bytes = self.read_at(place.saturating_add(counter as u64), count as usize * entry + word)?;
        let (table, next) = bytes.split_at(count as usize * entry);
        let entries = table.chunks_exact(entry).map(|bytes| Entry {
            code: self.number(&bytes[..2]) as u16,
            kind: self.number(&bytes[2..4]) as u16,
            count: self.number(&bytes[4..4 + word]),
            field: bytes[4 + word..].to_vec(),
        });
        Ok((entries.collect(), self.number(next)))
    }

    fn tag(&mut self, entry: &Entry) -> Result<RawTag> {
        // Of a value, and of what its byte order is about: a fraction is two numbers.
        let (size, unit) = match entry.kind {
            1 | 2 | 6 | 7 => (1, 1),
            3 | 8 => (2, 2),
            4 | 9 | 11 | 13 => (4, 4),
            5 | 10 => (8, 4),
            12 | 16 | 17 | 18 => (8, 8),
            _ => return Err(damaged("has a tag of an unknown type")),
        };
        let length = entry.count.checked_mul(size).filter(|length| *length <= MOST_BYTES);
        let length = length.ok_or_else(|| damaged("has a tag that is too long"))? as usize;
        let mut bytes = match entry.field.get(..length) {
            Some(inline) => inline.to_vec(),
            None => self.read_at(self.number(&entry.field), length)?,
        };
        if self.big_endian {
            bytes.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
        }
        Ok(RawTag { code: entry.code, kind: entry.kind, count: entry.count, bytes })
    }

    fn wanted(&mut self, entries: &[Entry], codes: &[u16]) -> Result<Vec<RawTag>> {
        entries.iter().filter(|entry| codes.contains(&entry.code)).map(|entry| self.tag(entry)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A big-endian TIFF: an overview, then the image, with text that is not UTF-8 and a number behind its directory.
    fn turned_around() -> Vec<u8> {
        let mut bytes = b"MM\0*\0\0\0\x08".to_vec();
        let entry = |code: u16, kind: u16, count: u32, field: [u8; 4]| {
            [&code.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes(), &field].concat()
        };
        bytes.extend([0, 1]);
        bytes.extend(entry(NEW_SUBFILE_TYPE, LONG, 1, [0, 0, 0, 1]));
        bytes.extend(26u32.to_be_bytes());
        bytes.extend([0, 2]);
        bytes.extend(entry(33550, DOUBLE, 1, 56u32.to_be_bytes()));
        bytes.extend(entry(34737, ASCII, 3, [0xfc, b'|', 0, 0]));
        bytes.extend(0u32.to_be_bytes());
        bytes.extend(2.5f64.to_be_bytes());
        bytes
    }

    #[test]
    fn values_are_copied_whatever_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        std::fs::write(&path, turned_around()).unwrap();
        let text = RawTag { code: 34737, kind: ASCII, count: 3, bytes: vec![0xfc, b'|', 0] };
        assert_eq!(read_tags(&path, &[33550, 34737]).unwrap(), [RawTag::doubles(33550, &[2.5]), text]);
        assert!(read_tags(&path, &[NEW_SUBFILE_TYPE]).unwrap().is_empty());
    }

    #[test]
    fn damaged_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        let whole = turned_around();
        for end in 0..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            assert!(read_tags(&path, &[33550]).is_err(), "{end}");
        }
        // Too many tags, a tag that is too long, a directory that is its own successor.
        for (place, byte) in [(26, 0x80), (32, 0xff), (25, 8)] {
            let mut bytes = whole.clone();
            bytes[place] = byte;
            std::fs::write(&path, bytes).unwrap();
            let tags = read_tags(&path, &[33550]);
            assert!(tags.as_ref().map_or(true, Vec::is_empty), "{place}: {tags:?}");
        }
    }
}
