//! The stored numbers of a page, in memory of a type that holds them.

use std::ops::Range;
use std::path::Path;

use half::f16;
use tiff_reader::{ByteOrder, Ifd, TiffError};

use super::blocks::{Blocks, Layout, Page, block_size};
use super::object::fetch_ahead;
use super::refusal::refused;
use crate::base::{Error, Result};
use crate::image::limits::{self, WINDOW_BYTES};
use crate::image::samples::split_band;
use crate::image::{SampleType, Samples};

/// Samples of a page, interleaved by pixel.
pub(super) struct Stored {
    pub(super) samples: Samples,
    pub(super) sample_type: SampleType,
    /// Bits a sample.
    pub(super) bits: u16,
    /// Samples a pixel.
    pub(super) bands: usize,
}

/// The same as exact numbers, for label images: float32 does not hold every 32-bit integer.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::image) enum Numbers {
    Bytes(Vec<u8>),
    Words(Vec<u16>),
    Wide(Vec<f64>),
}

impl Numbers {
    /// One of `bands` bands, and the others.
    pub(super) fn split_band(self, bands: usize, band: usize) -> (Self, Self) {
        match self {
            Self::Bytes(v) => split_band(&v, bands, band, Self::Bytes),
            Self::Words(v) => split_band(&v, bands, band, Self::Words),
            Self::Wide(v) => split_band(&v, bands, band, Self::Wide),
        }
    }

    /// Unsigned samples of up to 16 bits.
    pub(super) fn into_samples(self) -> Option<Samples> {
        match self {
            Self::Bytes(v) => Some(Samples::U8(v)),
            Self::Words(v) => Some(Samples::U16(v)),
            Self::Wide(_) => None,
        }
    }
}

/// The samples of some rows as they are stored: palette indices, packed bits as numbers.
pub(super) fn read(page: Page<'_>, rows: Range<usize>) -> Result<Stored> {
    read_with(page, |source| source.samples(rows.clone()))
}

/// Reads with the stricter decoder, and what that refuses with the more lenient one, if this decodes all of it.
fn read_with<T>(page: Page<'_>, read: impl Fn(&Source<'_>) -> Result<T>) -> Result<T> {
    Source::stored(page).and_then(|source| read(&source)).or_else(|refusal| {
        // What did not arrive, no decoder reads.
        if matches!(refusal, Error::Read { .. }) {
            return Err(refusal);
        }
        match Source::lenient(page) {
            Ok(Some(source)) => read(&source).map_err(|_| refusal),
            _ => Err(refusal),
        }
    })
}

/// The samples of some rows with YCbCr, CMYK and CIELab converted to RGB.
pub(super) fn read_converted(page: Page<'_>, rows: Range<usize>) -> Result<Stored> {
    Source::converted(page)?.samples(rows)
}

/// The samples of some rows of a label image.
pub(super) fn read_exactly(page: Page<'_>, rows: Range<usize>) -> Result<Numbers> {
    read_with(page, |source| source.numbers(rows.clone()))
}

/// Rows of a page that are decoded together: those of a strip or a tile.
pub(super) fn block_rows(page: &Ifd) -> usize {
    block_size(page).1.max(1)
}

/// Where the numbers of a page come from, some rows at a time from the top down.
struct Source<'a> {
    page: Page<'a>,
    way: Way<'a>,
    sample_type: SampleType,
    bits: u16,
    width: usize,
    height: usize,
    /// Samples a pixel.
    bands: usize,
}

enum Way<'a> {
    /// `tiff-reader`, without and with its conversion of colours.
    Stored,
    Converted,
    /// Codecs and sample types that it does not know.
    Blocks(Blocks<'a>),
}

impl<'a> Source<'a> {
    fn stored(page: Page<'a>) -> Result<Self> {
        if let Some(blocks) = Blocks::of(page)? {
            return Self::blocks(page, blocks);
        }
        let layout = page.ifd.raster_layout().map_err(|e| refused(page.path, e))?;
        Self::of(page, Way::Stored, layout)
    }

    fn lenient(page: Page<'a>) -> Result<Option<Self>> {
        Blocks::lenient(page)?.map(|blocks| Self::blocks(page, blocks)).transpose()
    }

    fn blocks(page: Page<'a>, blocks: Blocks<'a>) -> Result<Self> {
        let Layout { width, height, bands, bits, sample_format, .. } = blocks.layout();
        let sample_type = sample_type(page.path, sample_format, bits)?;
        Ok(Self { page, way: Way::Blocks(blocks), sample_type, bits, width, height, bands })
    }

    fn converted(page: Page<'a>) -> Result<Self> {
        let layout = page.ifd.decoded_raster_layout().map_err(|e| refused(page.path, e))?;
        Self::of(page, Way::Converted, layout)
    }

    fn of(page: Page<'a>, way: Way<'a>, layout: tiff_reader::RasterLayout) -> Result<Self> {
        let bits = layout.bits_per_sample;
        let sample_type = sample_type(page.path, layout.sample_format, bits)?;
        let (width, height, bands) = (layout.width, layout.height, layout.samples_per_pixel);
        Ok(Self { page, way, sample_type, bits, width, height, bands })
    }

    /// An empty vector with room for all samples of that many rows.
    fn room<T>(&self, rows: usize) -> Result<Vec<T>> {
        limits::buffer(self.page.path, self.width.saturating_mul(rows).saturating_mul(self.bands))
    }

    fn samples(&self, rows: Range<usize>) -> Result<Stored> {
        let samples = match self.sample_type {
            SampleType::Uint8 => {
                let mut samples = self.room(rows.len())?;
                self.each(rows, &mut |bytes| samples.extend_from_slice(bytes))?;
                Samples::U8(samples)
            }
            SampleType::Uint16 => {
                let mut samples: Vec<u16> = self.room(rows.len())?;
                let mut append =
                    |bytes: &[u8]| samples.extend(bytes.as_chunks().0.iter().map(|b| u16::from_ne_bytes(*b)));
                self.each(rows, &mut append)?;
                Samples::U16(samples)
            }
            sample_type => {
                let mut samples = self.room(rows.len())?;
                self.each(rows, &mut |bytes| append_f32(&mut samples, bytes, sample_type))?;
                Samples::F32(samples)
            }
        };
        Ok(Stored { samples, sample_type: self.sample_type, bits: self.bits, bands: self.bands })
    }

    fn numbers(&self, rows: Range<usize>) -> Result<Numbers> {
        if !matches!(self.sample_type, SampleType::Uint8 | SampleType::Uint16) {
            let mut numbers = self.room(rows.len())?;
            self.each(rows, &mut |bytes| append_f64(&mut numbers, bytes, self.sample_type))?;
            return Ok(Numbers::Wide(numbers));
        }
        Ok(match self.samples(rows)?.samples {
            Samples::U8(v) => Numbers::Bytes(v),
            Samples::U16(v) => Numbers::Words(v),
            Samples::F32(v) => Numbers::Wide(v.into_iter().map(f64::from).collect()),
        })
    }

    /// Whether samples come in the other byte order. libtiff turns the bytes of a file's order around before it hands them to
    /// LERC, and after LERC has unpacked them; `tiff-reader` does not.
    fn is_swapped(&self) -> bool {
        const LERC: u16 = 34887;
        let native = if cfg!(target_endian = "big") { ByteOrder::BigEndian } else { ByteOrder::LittleEndian };
        matches!(self.way, Way::Stored) && self.page.ifd.compression() == LERC && self.page.file.byte_order() != native
    }

    /// Hands the samples of some rows on, in the machine's byte order, whole rows of strips or tiles at a time.
    fn each(&self, rows: Range<usize>, sink: &mut dyn FnMut(&[u8])) -> Result<()> {
        let step = self.rows_at_once();
        let swapped = self.is_swapped();
        let (Page { path, file, ifd }, width) = (self.page, self.width);
        for top in rows.clone().step_by(step) {
            let rows = step.min(rows.end - top);
            fetch_ahead(path, ifd, top..top + rows)?;
            let bytes = match &self.way {
                Way::Stored => file.read_window_bytes_from_ifd(ifd, top, 0, rows, width),
                Way::Converted => file.read_decoded_window_bytes_from_ifd(ifd, top, 0, rows, width),
                Way::Blocks(blocks) => Ok(blocks.rows(top, rows)?),
            };
            let mut bytes = bytes.map_err(|e| refused(path, e))?;
            if swapped {
                bytes.chunks_exact_mut(usize::from(self.bits.div_ceil(8))).for_each(<[u8]>::reverse);
            }
            sink(&bytes);
        }
        Ok(())
    }

    /// Whole strips or tiles, as many as fit into a window.
    fn rows_at_once(&self) -> usize {
        let block = block_rows(self.page.ifd);
        let row = self.width * self.bands * usize::from(self.bits.div_ceil(8)).next_power_of_two();
        let blocks = (WINDOW_BYTES / row.max(1)).div_ceil(block).max(1);
        blocks.saturating_mul(block).min(self.height.max(1))
    }
}

fn sample_type(path: &Path, format: u16, bits: u16) -> Result<SampleType> {
    Ok(match (format, bits) {
        (1, 1..=8) => SampleType::Uint8,
        (1, 9..=16) => SampleType::Uint16,
        (1, 17..=32) => SampleType::Uint32,
        (1, 64) => SampleType::Uint64,
        (2, 8) => SampleType::Int8,
        (2, 16) => SampleType::Int16,
        (2, 32) => SampleType::Int32,
        (2, 64) => SampleType::Int64,
        (3, 16) => SampleType::Float16,
        (3, 32) => SampleType::Float32,
        (3, 64) => SampleType::Float64,
        _ => return Err(refused(path, TiffError::UnsupportedBitsPerSample(bits))),
    })
}

/// Defines a function that appends samples of any type as numbers of one.
macro_rules! append_as {
    ($name:ident, $number:ty) => {
        fn $name(numbers: &mut Vec<$number>, bytes: &[u8], sample_type: SampleType) {
            macro_rules! append {
                ($sample:ty, $convert:expr) => {
                    numbers.extend(bytes.as_chunks().0.iter().map(|b| $convert(<$sample>::from_ne_bytes(*b))))
                };
            }
            match sample_type {
                SampleType::Uint8 => append!(u8, <$number>::from),
                SampleType::Uint16 => append!(u16, <$number>::from),
                SampleType::Uint32 => append!(u32, |v| v as $number),
                SampleType::Uint64 => append!(u64, |v| v as $number),
                SampleType::Int8 => append!(i8, <$number>::from),
                SampleType::Int16 => append!(i16, <$number>::from),
                SampleType::Int32 => append!(i32, |v| v as $number),
                SampleType::Int64 => append!(i64, |v| v as $number),
                SampleType::Float16 => append!(f16, <$number>::from),
                SampleType::Float32 => append!(f32, <$number>::from),
                SampleType::Float64 => append!(f64, |v| v as $number),
            }
        }
    };
}

append_as!(append_f32, f32);
append_as!(append_f64, f64);
