//! Strips and tiles decoded here: in codecs and sample types that `tiff-reader` does not know (CCITT fax codes, LZMA, float16,
//! 17 to 31 bits), and, where it refuses a file for the way in which it is written, as libtiff does it: streams without an end
//! mark or with more data than asked for, tiles in the tags of strips, LZW with the low bit first, predictors of packed bits.

use std::io::Read;
use std::path::Path;

use hayro_ccitt::{DecodeSettings, Decoder, DecoderContext, EncodingMode};
use image_webp::WebPDecoder;
use lzma_rust2::XzReader;
use rayon::prelude::*;
use tiff_reader::filters::{decompress, fix_endianness_and_predict};
use tiff_reader::{Ifd, PhotometricInterpretation, TiffError, TiffFile};
use weezl::BitOrder;
use weezl::decode::Configuration;

use super::refusal::refused;
use crate::base::{Error, Result};
use crate::image::limits::MAX_BYTES;

const CCITT_RLE: u16 = 2;
const CCITT_GROUP_3: u16 = 3;
const CCITT_GROUP_4: u16 = 4;
const CCITT_RLE_WORDS: u16 = 32771;
const LZMA: u16 = 34925;
const LZW: u16 = 5;
const DEFLATE: u16 = 8;
const OLD_DEFLATE: u16 = 32946;
const WEBP: u16 = 50001;
const PACKBITS: u16 = 32773;
/// No compression, PackBits and ZSTD, which `tiff-reader` unpacks for us.
const OTHERS: [u16; 3] = [1, PACKBITS, 50000];
const T4_OPTIONS: u16 = 292;
const TWO_DIMENSIONAL: u64 = 1;
const UNSIGNED: u16 = 1;
const FLOAT: u16 = 3;
/// Of a sample format, which is read as unsigned.
const UNDEFINED: u16 = 4;

/// A page of an open file.
#[derive(Clone, Copy)]
pub(super) struct Page<'a> {
    pub(super) path: &'a Path,
    pub(super) file: &'a TiffFile,
    pub(super) ifd: &'a Ifd,
}

/// Width and height of a page's tiles, or of its strips. A damaged file may say 0.
pub(super) fn block_size(page: &Ifd) -> (usize, usize) {
    match (page.tile_width(), page.tile_height()) {
        (Some(width), Some(height)) => (width as usize, height as usize),
        _ => (page.width() as usize, page.rows_per_strip().min(page.height()) as usize),
    }
}

/// Where the blocks of a page begin, and their bytes. Some writers put those of tiles into the tags of strips.
pub(super) fn tables(page: &Ifd) -> Option<(Vec<u64>, Vec<u64>)> {
    let strips = || page.strip_offsets().zip(page.strip_byte_counts());
    if page.is_tiled() { page.tile_offsets().zip(page.tile_byte_counts()).or_else(strips) } else { strips() }
}

/// How the samples of a page are laid out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) bands: usize,
    pub(super) bits: u16,
    pub(super) sample_format: u16,
    separate: bool,
    block: (usize, usize),
}

impl Layout {
    fn of(Page { path, ifd: page, .. }: Page<'_>) -> Result<Self> {
        let failed = |e: TiffError| refused(path, e);
        let (bits, formats) = (page.bits_per_sample().map_err(failed)?, page.sample_format().map_err(failed)?);
        let (width, height) = (page.width() as usize, page.height() as usize);
        let block = block_size(page);
        let bands = usize::from(page.samples_per_pixel());
        let all_equal = |values: &[u16]| values.windows(2).all(|pair| pair[0] == pair[1]);
        let block_bytes = block.0.checked_mul(block.1).and_then(|pixels| pixels.checked_mul(8 * bands));
        let sound = [width, height, bands, block.0, block.1].iter().all(|side| *side > 0);
        if !sound || block_bytes.is_none_or(|bytes| bytes > MAX_BYTES) || !all_equal(&bits) || !all_equal(&formats) {
            return Err(Error::content(path, "damaged or unsupported TIFF: its size or sample type is invalid"));
        }
        Ok(Self {
            width,
            height,
            bands,
            bits: bits.first().copied().unwrap_or(1),
            sample_format: formats.first().copied().filter(|format| *format != UNDEFINED).unwrap_or(UNSIGNED),
            separate: page.planar_configuration() == 2,
            block,
        })
    }

    fn blocks_across(&self) -> usize {
        self.width.div_ceil(self.block.0)
    }

    /// Blocks of one plane.
    fn blocks(&self) -> usize {
        self.blocks_across() * self.height.div_ceil(self.block.1)
    }

    /// Samples of a pixel that a block holds.
    fn block_bands(&self) -> usize {
        if self.separate { 1 } else { self.bands }
    }

    /// Bytes of a decoded sample.
    fn sample_bytes(&self) -> usize {
        usize::from(self.bits.div_ceil(8)).next_power_of_two()
    }

    /// Bytes of a row in a block, packed.
    fn packed_row(&self) -> usize {
        (self.block.0 * self.block_bands() * usize::from(self.bits)).div_ceil(8)
    }
}

/// The blocks of a page.
pub(super) struct Blocks<'a> {
    page: Page<'a>,
    layout: Layout,
    offsets: Vec<u64>,
    counts: Vec<u64>,
}

impl<'a> Blocks<'a> {
    /// The blocks of a page that has to be decoded here; `None` if `tiff-reader` does it.
    pub(super) fn of(page: Page<'a>) -> Result<Option<Self>> {
        let (ifd, codec) = (page.ifd, page.ifd.compression());
        let bits = ifd.bits_per_sample().ok().and_then(|bits| bits.first().copied()).unwrap_or(1);
        let half = bits == 16 && ifd.sample_format().is_ok_and(|formats| formats.first() == Some(&FLOAT));
        if is_fax(codec) || codec == LZMA || half || (17..32).contains(&bits) {
            return Self::new(page).map(Some);
        }
        Ok(None)
    }

    /// The blocks of a page that `tiff-reader` refuses, if they can be decoded here.
    pub(super) fn lenient(page: Page<'a>) -> Result<Option<Self>> {
        let codec = page.ifd.compression();
        let known = [LZW, DEFLATE, OLD_DEFLATE, WEBP].contains(&codec) || OTHERS.contains(&codec);
        let plain = page.ifd.photometric_interpretation_enum() != Some(PhotometricInterpretation::YCbCr);
        if known && plain { Self::new(page).map(Some) } else { Ok(None) }
    }

    fn new(page: Page<'a>) -> Result<Self> {
        let layout = Layout::of(page)?;
        let planes = if layout.separate { layout.bands } else { 1 };
        let enough =
            |(offsets, counts): &(Vec<u64>, Vec<u64>)| offsets.len().min(counts.len()) >= layout.blocks() * planes;
        let Some((offsets, counts)) = tables(page.ifd).filter(enough) else {
            return Err(Error::content(page.path, "damaged TIFF: it has fewer strips or tiles than its size requires"));
        };
        let fits = match page.ifd.compression() {
            WEBP => layout.bits == 8 && matches!(layout.block_bands(), 3 | 4),
            codec => !is_fax(codec) || (layout.bits, layout.block_bands()) == (1, 1),
        };
        if !fits {
            return Err(refused(page.path, TiffError::UnsupportedBitsPerSample(layout.bits)));
        }
        Ok(Self { page, layout, offsets, counts })
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Rows of the image, interleaved, in the machine's byte order; a byte for a sample of up to 8 bits.
    pub(super) fn rows(&self, top: usize, rows: usize) -> Result<Vec<u8>> {
        let layout = &self.layout;
        let (wide, high) = layout.block;
        let (across, planes) = (layout.blocks_across(), layout.bands / layout.block_bands());
        let wanted: Vec<(usize, usize)> = (top / high..(top + rows).div_ceil(high))
            .flat_map(|down| (0..planes).flat_map(move |plane| (0..across).map(move |i| (plane, down * across + i))))
            .collect();
        let decode = |&(plane, block): &(usize, usize)| self.block(plane * layout.blocks() + block);
        let decoded: Vec<Vec<u8>> = wanted.par_iter().map(decode).collect::<Result<_>>()?;
        let (sample, own) = (layout.sample_bytes(), layout.block_bands());
        let mut out = vec![0; rows * layout.width * layout.bands * sample];
        for ((plane, block), bytes) in wanted.into_iter().zip(decoded) {
            let (left, first) = (block % across * wide, block / across * high);
            let columns = wide.min(layout.width - left);
            for (i, line) in bytes.chunks_exact(wide * own * sample).enumerate() {
                let Some(row) = (first + i).checked_sub(top).filter(|row| *row < rows) else { continue };
                let start = (row * layout.width + left) * layout.bands + plane;
                for (x, pixel) in line.chunks_exact(own * sample).take(columns).enumerate() {
                    out[(start + x * layout.bands) * sample..][..own * sample].copy_from_slice(pixel);
                }
            }
        }
        Ok(out)
    }

    /// A decoded block, of its full size; one that is not stored is 0.
    fn block(&self, index: usize) -> Result<Vec<u8>> {
        let layout = &self.layout;
        let length = layout.block.0 * layout.block.1 * layout.block_bands() * layout.sample_bytes();
        let (offset, count) = (self.offsets[index], self.counts[index]);
        if offset == 0 || count == 0 {
            return Ok(vec![0; length]);
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut bytes = self.page.file.source().read_exact_at(offset, count).map_err(|e| refused(self.page.path, e))?;
        if self.page.ifd.fill_order() == 2 {
            bytes.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
        }
        let limit = layout.packed_row() * layout.block.1;
        let unpacked = match self.page.ifd.compression() {
            codec if is_fax(codec) => return self.fax(index, &bytes),
            LZMA => unpacked(XzReader::new(bytes.as_slice(), true), limit),
            DEFLATE | OLD_DEFLATE => unpacked(flate2::read::ZlibDecoder::new(bytes.as_slice()), limit),
            LZW => Ok(unpacked_lzw(&bytes, limit)),
            WEBP => unpacked_webp(&bytes, layout.block_bands()).map_err(std::io::Error::other),
            // Two bytes may stand for 128, and more rows than asked for may follow.
            PACKBITS => decompress(PACKBITS, &bytes, index, None, 64 * bytes.len()).map_err(std::io::Error::other),
            codec => decompress(codec, &bytes, index, None, limit).map_err(std::io::Error::other),
        };
        self.samples(index, unpacked)
    }

    /// Samples of unpacked bytes: predictor undone, byte order the machine's, packed bits as bytes. The last strip may be
    /// shorter.
    fn samples(&self, index: usize, unpacked: std::io::Result<Vec<u8>>) -> Result<Vec<u8>> {
        let layout = &self.layout;
        let mut bytes = unpacked.map_err(|e| self.damaged(index, &e.to_string()))?;
        let row = layout.packed_row();
        let rows_needed = self.rows_needed(index);
        if bytes.len() < row * rows_needed {
            return Err(self.damaged(index, &format!("{} of {} bytes", bytes.len(), row * rows_needed)));
        }
        bytes.resize(row * layout.block.1, 0);
        if !matches!(layout.bits, 8 | 16 | 32 | 64) {
            let differences = self.page.ifd.predictor() == 2;
            return Ok(bytes.chunks_exact(row).flat_map(|line| unpacked_bits(line, layout, differences)).collect());
        }
        for line in bytes.chunks_exact_mut(row) {
            let (order, predictor) = (self.page.file.byte_order(), self.page.ifd.predictor());
            fix_endianness_and_predict(line, layout.bits, layout.block_bands() as u16, order, predictor)
                .map_err(|e| refused(self.page.path, e))?;
        }
        Ok(bytes)
    }

    /// Rows of a block that belong to the image: the last strip may have fewer than the others.
    fn rows_needed(&self, index: usize) -> usize {
        let high = self.layout.block.1;
        if self.page.ifd.is_tiled() { high } else { high.min(self.layout.height - index % self.layout.blocks() * high) }
    }

    fn fax(&self, index: usize, bytes: &[u8]) -> Result<Vec<u8>> {
        let (columns, rows) = (self.layout.block.0, self.rows_needed(index));
        let codec = self.page.ifd.compression();
        let options = self.page.ifd.tag(T4_OPTIONS).and_then(|tag| tag.value.as_u64()).unwrap_or(0);
        let encoding = match codec {
            CCITT_GROUP_4 => EncodingMode::Group4,
            CCITT_GROUP_3 if options & TWO_DIMENSIONAL != 0 => EncodingMode::Group3_2D,
            _ => EncodingMode::Group3_1D,
        };
        let settings = DecodeSettings {
            columns: columns as u32,
            rows: rows as u32,
            end_of_block: matches!(codec, CCITT_GROUP_3 | CCITT_GROUP_4),
            end_of_line: codec == CCITT_GROUP_3,
            rows_are_byte_aligned: matches!(codec, CCITT_RLE | CCITT_RLE_WORDS),
            encoding,
            strict: false,
        };
        let mut page = FaxPage { columns, pixels: Vec::with_capacity(columns * rows) };
        let decoded = hayro_ccitt::decode(bytes, &mut page, &mut DecoderContext::new(settings));
        // What follows the last row does not matter; rows that are not coded are white.
        if page.pixels.len() < columns * rows {
            decoded.map_err(|e| self.damaged(index, &e.to_string()))?;
        }
        page.pixels.resize(columns * self.layout.block.1, 0);
        Ok(page.pixels)
    }

    fn damaged(&self, index: usize, reason: &str) -> Error {
        let block = if self.page.ifd.is_tiled() { "tile" } else { "strip" };
        Error::content(self.page.path, format!("damaged TIFF: {block} {index} cannot be decoded: {reason}"))
    }
}

/// A fax page as a byte a pixel, 1 for black.
struct FaxPage {
    columns: usize,
    pixels: Vec<u8>,
}

impl Decoder for FaxPage {
    fn push_row(&mut self, changes: &[u32]) {
        let start = self.pixels.len();
        self.pixels.resize(start + self.columns, 0);
        let row = &mut self.pixels[start..];
        for run in changes.chunks(2) {
            let from = run[0] as usize;
            let to = run.get(1).map_or(row.len(), |to| *to as usize);
            row[from.min(to)..to].fill(1);
        }
    }
}

fn is_fax(codec: u16) -> bool {
    [CCITT_RLE, CCITT_GROUP_3, CCITT_GROUP_4, CCITT_RLE_WORDS].contains(&codec)
}

/// At most `limit` bytes of a stream. Damage behind the last byte that was read does not matter.
fn unpacked(stream: impl Read, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    let read = stream.take(limit as u64).read_to_end(&mut unpacked);
    if unpacked.len() < limit { read.map(|_| unpacked) } else { Ok(unpacked) }
}

/// As much of an LZW stream as can be decoded, up to `limit` bytes. Files of before TIFF 6.0 begin with the clear code in the
/// low bits.
fn unpacked_lzw(bytes: &[u8], limit: usize) -> Vec<u8> {
    let old = matches!(bytes, [0, second, ..] if second & 1 == 1);
    let mut decoder = if old {
        Configuration::new(BitOrder::Lsb, 8).build()
    } else {
        Configuration::with_tiff_size_switch(BitOrder::Msb, 8).build()
    };
    let mut unpacked = vec![0; limit];
    let (mut from, mut to) = (0, 0);
    while to < limit {
        let step = decoder.decode_bytes(&bytes[from..], &mut unpacked[to..]);
        (from, to) = (from + step.consumed_in, to + step.consumed_out);
        if step.status.is_err() || step.consumed_in + step.consumed_out == 0 {
            break;
        }
    }
    unpacked.truncate(to);
    unpacked
}

/// The pixels of a WebP. Encoders leave out an alpha channel that is opaque.
fn unpacked_webp(bytes: &[u8], bands: usize) -> Result<Vec<u8>, image_webp::DecodingError> {
    let mut decoder = WebPDecoder::new(std::io::Cursor::new(bytes))?;
    let mut pixels = vec![0; decoder.output_buffer_size().unwrap_or(0)];
    decoder.read_image(&mut pixels)?;
    Ok(match (bands, decoder.has_alpha()) {
        (4, false) => pixels.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], u8::MAX]).collect(),
        (3, true) => pixels.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        _ => pixels,
    })
}

/// Samples of other than whole bytes, the high bit first, in 1, 2 or 4 bytes each; with the predictor, they are stored as
/// differences between pixels.
fn unpacked_bits(line: &[u8], layout: &Layout, differences: bool) -> Vec<u8> {
    let (bits, bands) = (usize::from(layout.bits), layout.block_bands());
    let bit = |i: usize| u32::from(line[i / 8] >> (7 - i % 8) & 1);
    let sample = |i: usize| (i * bits..(i + 1) * bits).fold(0, |value, i| value << 1 | bit(i));
    let mut samples: Vec<u32> = (0..layout.block.0 * bands).map(sample).collect();
    if differences {
        let mask = u32::MAX >> (32 - bits);
        for i in bands..samples.len() {
            samples[i] = samples[i].wrapping_add(samples[i - bands]) & mask;
        }
    }
    match layout.sample_bytes() {
        1 => samples.into_iter().map(|value| value as u8).collect(),
        2 => samples.into_iter().flat_map(|value| (value as u16).to_ne_bytes()).collect(),
        _ => samples.into_iter().flat_map(u32::to_ne_bytes).collect(),
    }
}
