//! Whether the data of a JPEG is whole. The decoder fills what is missing with grey and says nothing, so the markers
//! are walked through first, by the rules of libjpeg. Where libjpeg warns of damage within the image data and goes on,
//! the file is refused, too: no two decoders make the same pixels of it.

mod decode;
mod frame;
mod scan;

use frame::{Component, Frame, RST0};
use memchr::memchr;

pub(super) use decode::read;

use crate::base::Size;
use scan::{Table, Tables, blocks};

const TEM: u8 = 0x01;
const DHT: u8 = 0xc4;
const DAC: u8 = 0xcc;
const RST7: u8 = 0xd7;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DQT: u8 = 0xdb;
const DNL: u8 = 0xdc;
const DRI: u8 = 0xdd;
const APP0: u8 = 0xe0;
const APP15: u8 = 0xef;
const COM: u8 = 0xfe;

/// Checks the markers of the first image; what follows it, such as the video of a motion photo, does not matter, and an end
/// marker may be missing where every pixel is there. The error says what is damaged.
fn check(bytes: &[u8]) -> Result<(), String> {
    let mut walk = Walk { bytes, at: 2, ..Walk::default() };
    let marked = walk.finish()?;
    let Some(frame) = &walk.frame else {
        return Err("damaged JPEG: it holds no image; copy or download the file again".into());
    };
    // Each block of 8 x 8 pixels takes a bit at the least.
    if frame.size.width.div_ceil(8) * frame.size.height.div_ceil(8) > 8 * bytes.len() {
        return Err(format!(
            "damaged JPEG: its {} bytes are too few for the {} pixels that its header claims; copy or download the file \
             again",
            bytes.len(),
            frame.size
        ));
    }
    if !marked && !walk.is_whole() {
        return Err("damaged JPEG: its end is missing; copy or download the file again".into());
    }
    Ok(())
}

/// Whether every block of a single scan can be decoded.
fn whole_scan(bytes: &[u8]) -> bool {
    let mut walk = Walk { bytes, at: 2, ..Walk::default() };
    walk.finish().is_ok() && walk.is_whole()
}

/// Width and height, and the bytes of memory that decoding takes; `None` where no header tells them.
fn size_and_claim(bytes: &[u8]) -> Option<(Size, u64)> {
    let mut walk = Walk { bytes, at: 2, ..Walk::default() };
    while walk.scans == 0 && walk.step().ok()? == Step::On {}
    let frame = walk.frame?;
    let samples = frame.size.width as u64 * frame.size.height as u64 * frame.components.len() as u64;
    // Scans that complete each other are collected as 16-bit coefficients.
    Some((frame.size, samples * if walk.several_scans { 3 } else { 1 }))
}

#[derive(Debug, Default)]
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<Frame>,
    scans: usize,
    several_scans: bool,
    /// Whether only compressed data and restart markers came since the last header of a scan.
    in_scan: bool,
    /// Minimum coded units between restart markers; 0 where there are none.
    interval: usize,
    next_restart: u8,
    tables: Tables,
    /// Where the data of the first scan begins, and the tables of its components.
    first_scan: (usize, Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    On,
    End,
    /// The file is over.
    Cut,
}

impl<'a> Walk<'a> {
    /// Whether there is an end marker.
    fn finish(&mut self) -> Result<bool, String> {
        loop {
            match self.step()? {
                Step::On => {}
                Step::End => return Ok(true),
                Step::Cut => return Ok(false),
            }
        }
    }

    fn step(&mut self) -> Result<Step, String> {
        let from = self.at;
        let Some(marker) = self.next_marker() else { return Ok(Step::Cut) };
        let start = self.at - 2;
        let foreign =
            || format!("damaged JPEG: unexpected marker {marker:02x} at byte {start}; copy or download the file again");
        // libjpeg goes on after such damage, with what is left of the image shifted or grey.
        if self.scans > 0 && !self.in_scan && self.bytes[from] != 0xff {
            return Err(format!(
                "damaged JPEG: the image data is interrupted before byte {from}; copy or download the file again"
            ));
        }
        match marker {
            EOI => return Ok(Step::End),
            RST0..=RST7 if self.in_scan && self.interval > 0 && marker == RST0 + self.next_restart => {
                self.next_restart = (self.next_restart + 1) % 8;
                return Ok(Step::On);
            }
            TEM if self.scans == 0 => return Ok(Step::On),
            _ if has_segment(marker) => {}
            _ => return Err(unsupported(marker).filter(|_| self.frame.is_none()).map_or_else(foreign, not_read)),
        }
        let Some(body) = self.segment().map_err(|()| foreign())? else { return Ok(Step::Cut) };
        self.in_scan = marker == SOS;
        match marker {
            SOS => self.scan(body).ok_or_else(foreign)?,
            DRI => self.interval = u16::from_be_bytes(body.try_into().map_err(|_| foreign())?).into(),
            0xc0..=0xc2 if self.frame.is_some() => return Err(foreign()),
            0xc0..=0xc2 => self.frame = Some(frame(marker, body).ok_or_else(foreign)??),
            DHT => self.huffman_tables(body).ok_or_else(foreign)?,
            DQT if !are_quantisation_tables(body) => return Err(foreign()),
            _ => {}
        }
        Ok(Step::On)
    }

    /// The next marker, past compressed data, stuffed zeros, fill bytes and garbage.
    fn next_marker(&mut self) -> Option<u8> {
        loop {
            self.at += memchr(0xff, self.bytes.get(self.at..)?)? + 1;
            while *self.bytes.get(self.at)? == 0xff {
                self.at += 1;
            }
            let marker = self.bytes[self.at];
            self.at += 1;
            if marker != 0 {
                return Some(marker);
            }
        }
    }

    /// What follows the marker, without the two bytes of its length; none if the file ends before.
    fn segment(&mut self) -> Result<Option<&'a [u8]>, ()> {
        let bytes = self.bytes;
        let Some(&[high, low]) = bytes.get(self.at..self.at + 2) else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 2 {
            return Err(());
        }
        let body = bytes.get(self.at + 2..self.at + length);
        self.at += length;
        Ok(body)
    }

    /// The header of a scan.
    fn scan(&mut self, body: &[u8]) -> Option<()> {
        let frame = self.frame.as_ref()?;
        let (&count, selectors) = body.split_first()?;
        let count = usize::from(count);
        let known = |selector: &[u8]| frame.components.iter().any(|component| component.id == selector[0]);
        if !(1..=4).contains(&count)
            || selectors.len() != 2 * count + 3
            || !selectors[..2 * count].chunks_exact(2).all(known)
        {
            return None;
        }
        if self.scans == 0 {
            self.several_scans = frame.progressive || count < frame.components.len();
            self.first_scan = (self.at, selectors[..2 * count].chunks_exact(2).map(|selector| selector[1]).collect());
        } else if !self.several_scans {
            return None;
        }
        self.scans += 1;
        self.next_restart = 0;
        Some(())
    }

    fn huffman_tables(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((&which, rest)) = body.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let (symbols, rest) = rest.split_at_checked(counts.iter().map(|&count| usize::from(count)).sum())?;
            let tables = if which & 0x10 == 0 { &mut self.tables.direct } else { &mut self.tables.alternating };
            if symbols.len() > 256 {
                return None;
            }
            *tables.get_mut(usize::from(which & !0x10))? = Some(Table::new(counts, symbols));
            body = rest;
        }
        Some(())
    }

    /// Whether the pixels of a file without an end marker are all there.
    fn is_whole(&self) -> bool {
        let (start, selectors) = &self.first_scan;
        let (Some(frame), Some(data)) = (&self.frame, self.bytes.get(*start..)) else { return false };
        self.scans > 0 && !self.several_scans && blocks(data, frame, selectors, &self.tables, self.interval).is_some()
    }
}

/// Those that libjpeg reads or skips.
fn has_segment(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xc2 | DHT | DAC | SOS | DQT | DNL | DRI | APP0..=APP15 | COM)
}

/// What the header of a frame announces that the decoder does not know.
fn unsupported(marker: u8) -> Option<&'static str> {
    match marker {
        0xc3 => Some("a lossless JPEG"),
        0xc5..=0xc7 | 0xcd..=0xcf => Some("a hierarchical JPEG"),
        0xc9..=0xcb => Some("an arithmetic-coded JPEG"),
        _ => None,
    }
}

fn not_read(kind: &str) -> String {
    format!("is {kind}, which segtool does not read; convert it, as with: magick in.jpg out.png")
}

/// The header of a frame; none if it is damaged.
fn frame(marker: u8, body: &[u8]) -> Option<Result<Frame, String>> {
    let (&[precision, h1, h0, w1, w0, count], components) = body.split_first_chunk()?;
    let size = Size { width: u16::from_be_bytes([w1, w0]).into(), height: u16::from_be_bytes([h1, h0]).into() };
    if count == 0 || components.len() != 3 * usize::from(count) || size.width == 0 || size.height == 0 {
        return None;
    }
    if precision != 8 {
        return Some(Err(not_read(&format!("a JPEG of {precision} bits a sample"))));
    }
    let component = |bytes: &[u8]| Component { id: bytes[0], across: bytes[1] >> 4, down: bytes[1] & 0xf };
    let components: Vec<Component> = components.chunks_exact(3).map(component).collect();
    if components.iter().any(|c| !(1..=4).contains(&c.across) || !(1..=4).contains(&c.down)) {
        return None;
    }
    Some(Ok(Frame { progressive: marker == 0xc2, size, components }))
}

fn are_quantisation_tables(mut body: &[u8]) -> bool {
    while let Some((&which, rest)) = body.split_first() {
        let length = if which >> 4 == 0 { 64 } else { 128 };
        if which & 0xf > 3 || rest.len() < length {
            return false;
        }
        body = &rest[length..];
    }
    true
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;

    use super::*;

    fn encoded() -> Vec<u8> {
        let samples: Vec<u8> = (0..64 * 48u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 90).encode(&samples, 64, 48, image::ExtendedColorType::L8).unwrap();
        bytes
    }

    /// The middle of the scan replaced.
    fn with_middle(bytes: &[u8]) -> Vec<u8> {
        let whole = encoded();
        let middle = whole.len() / 2;
        [&whole[..middle], bytes, &whole[middle + bytes.len()..]].concat()
    }

    #[test]
    fn what_follows_the_end_is_not_looked_at() {
        let whole = encoded();
        for tail in [&b""[..], b"MotionPhoto_Data\xff\xda\0\x10\xff\xc0", &whole, b"\xff\xd9", &[0; 99]] {
            assert_eq!(check(&[&whole, tail].concat()), Ok(()));
        }
    }

    #[test]
    fn a_missing_end_marker_is_forgiven_and_missing_pixels_are_not() {
        let whole = encoded();
        let open = &whole[..whole.len() - 2];
        for tail in [&b""[..], b"\xff", &[0; 5000], b"hello"] {
            assert_eq!(check(&[open, tail].concat()), Ok(()), "{tail:?}");
        }
        for kept in [3, 20, 200, whole.len() / 2, whole.len() - 60, whole.len() - 4] {
            let reason = check(&whole[..kept]).unwrap_err();
            assert!(reason.starts_with("damaged JPEG: ") && reason.ends_with("file again"), "{kept}: {reason}");
        }
        assert!(check(&whole[..whole.len() / 2]).unwrap_err().contains("its end is missing"));
    }

    #[test]
    fn foreign_markers_in_a_scan_are_damage() {
        for bytes in [
            &b"\xff\xd8"[..],
            b"\xff\x02",
            b"\xff\xbf",
            b"\xff\xf0",
            b"\xff\xd3",
            b"\xff\x01",
            b"\xff\xc0\0\x10",
            b"\xff\xc3\0\x10",
            b"\xff\xc4\0\x10",
            b"\xff\xda\0\x10",
            b"\xff\xdb\0\x10",
            b"\xff\xdd\0\x10",
        ] {
            assert_refused!(check(&with_middle(bytes)), &format!("marker {:02x} at byte ", bytes[1]));
        }
        for bytes in [b"\xff\xe1\0\x10", b"\xff\xfe\0\x10", b"\xff\xdc\0\x04"] {
            assert_refused!(check(&with_middle(bytes)), "the image data is interrupted before byte ");
        }
        for bytes in [&b"\xff\0"[..], b"\xff\xff\0"] {
            assert_eq!(check(&with_middle(bytes)), Ok(()), "{bytes:?}");
        }
    }

    #[test]
    fn size_and_memory_are_told_by_the_header() {
        let whole = encoded();
        assert_eq!(size_and_claim(&whole), Some((Size { width: 64, height: 48 }, 64 * 48)));
        assert_eq!(size_and_claim(&whole[..20]), None);
    }

    #[test]
    fn a_header_may_not_claim_more_than_the_data_can_hold() {
        let mut bytes = encoded();
        let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        bytes[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
        assert_refused!(check(&bytes), "too few for the 65535x65535 pixels");
    }

    #[test]
    fn what_the_decoder_does_not_know_is_named() {
        let whole = encoded();
        let frame = whole.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        for (at, value, kind) in
            [(1, 0xc9, "arithmetic-coded"), (1, 0xc3, "lossless"), (4, 12, "a JPEG of 12 bits a sample")]
        {
            let mut bytes = whole.clone();
            bytes[frame + at] = value;
            assert_refused!(check(&bytes), kind, "magick");
        }
    }
}
