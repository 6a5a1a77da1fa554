//! TIFF and BigTIFF, read as GDAL and libtiff read them.
//!
//! The crate `tiff-reader` parses directories and decodes strips and tiles. What is done here is what the numbers mean: pages,
//! palettes, alpha, masks, nodata, orientation, and blocks that a sparse file does not store.

mod blocks;
mod color;
mod numbers;
mod object;
mod refusal;
mod rows;
mod sparse;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tiff_reader::{ExtraSample, Ifd, OpenOptions, PhotometricInterpretation, TiffFile};

use super::limits::{self, MAX_BYTES, Reservation, WINDOW_BYTES};
use super::notes;
use super::orientation::{Orientation, upright};
use super::raw_labels::{LabelImage, RawLabels};
use super::samples::{AlphaBand, Image, Samples, matching};
use super::webp::is_lossy_webp;
use crate::base::files::is_file;
use crate::base::store;
use crate::base::{Error, Result, Size};
use blocks::{Page, block_size, tables};
pub(super) use numbers::Numbers;
use numbers::Stored;
use object::{HeldSource, ObjectSource};
use refusal::refused;
pub use rows::TiffRows;

/// Bytes of a tile that may be far larger than its image.
const LARGEST_BLOCK: u64 = 64 << 20;

/// Bytes of a label that is held as a float64, and of its class.
const NUMBER_AND_CLASS: u64 = 10;

/// The most bytes of a mask's pixel.
const MASK_SAMPLE: u64 = 4;

const NEW_SUBFILE_TYPE: u16 = 254;
const SUBFILE_TYPE: u16 = 255;
const ORIENTATION: u16 = 274;
const GDAL_NODATA: u16 = 42113;

/// Bits of NewSubfileType.
const REDUCED: u64 = 1;
const MASK: u64 = 4;

/// JPEG, and its obsolete form.
const JPEG: [u16; 2] = [7, 6];
const WEBP: u16 = 50001;

/// Whether a file begins as a TIFF or a BigTIFF does.
pub(super) fn is_tiff(bytes: &[u8]) -> bool {
    matches!(bytes.get(..4), Some(b"II*\0" | b"MM\0*" | b"II+\0" | b"MM\0+"))
}

/// The image in a TIFF, upright and without its alpha band, and whether it was turned; palettes, YCbCr, CMYK and CIELab
/// as RGB.
pub(super) fn read_image(path: &Path) -> Result<(Image, bool)> {
    let tiff = Tiff::open(path)?;
    let _held = tiff.reserve(false)?;
    let raster = tiff.rows(0..tiff.size().height)?;
    Ok(upright(path, raster, tiff.orientation()))
}

/// The label image in a TIFF, with its alpha: numbers or colours as stored, upright, and whether it was turned.
pub(super) fn read_labels(path: &Path) -> Result<(LabelImage, bool)> {
    let tiff = Tiff::open(path)?;
    Ok(tiff.labels()?.upright(tiff.orientation()))
}

/// Width and height of the upright image.
pub(super) fn read_size(path: &Path) -> Result<Size> {
    let tiff = Tiff::open(path)?;
    Ok(tiff.orientation().map_or(tiff.size(), |orientation| orientation.size(tiff.size())))
}

/// An open file, with the page that is the image.
struct Tiff<'a> {
    path: &'a Path,
    file: TiffFile,
    page: Ifd,
    /// Which pixels hold data.
    mask: Option<Ifd>,
}

/// What the samples of a pixel are.
struct Bands {
    /// Colours, measurements or palette indices, in front.
    count: usize,
    /// The alpha band, its place, and whether colours have been multiplied by it.
    alpha: Option<(usize, bool)>,
}

impl<'a> Tiff<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        // Every strip and tile is decoded once, so that nothing is gained by keeping them.
        let options = OpenOptions { block_cache_bytes: 0, decode_output_bytes: MAX_BYTES, ..OpenOptions::default() };
        let file = match (store::held(path), store::object(path)?) {
            (Some(held), _) => TiffFile::from_source_with_options(Arc::new(HeldSource(held)), options),
            (None, Some(object)) => {
                TiffFile::from_source_with_options(Arc::new(ObjectSource { url: path.into(), object }), options)
            }
            (None, None) => TiffFile::open_with_options(path, options),
        };
        let file = file.map_err(|e| refused(path, e))?;
        let first = file.ifds().iter().position(|ifd| subfile_type(ifd) & (REDUCED | MASK) == 0).unwrap_or(0);
        let page = file.ifd(first).map_err(|e| refused(path, e))?.clone();
        let size = |ifd: &Ifd| (ifd.width(), ifd.height());
        let others = || file.ifds().iter().enumerate().filter(|(i, _)| *i != first).map(|(_, ifd)| ifd);
        let is_mask = |ifd: &&Ifd| {
            subfile_type(ifd) & (REDUCED | MASK) == MASK && size(ifd) == size(&page) && ifd.samples_per_pixel() == 1
        };
        let mask = others().find(is_mask).cloned();
        let pages = || others().filter(|ifd| subfile_type(ifd) & (REDUCED | MASK) == 0);
        let equal = pages().filter(|ifd| size(ifd) == size(&page)).count();
        if equal > 0 {
            return Err(refusal::pages(path, equal + 1));
        }
        let pixels = |ifd: &Ifd| u64::from(ifd.width()) * u64::from(ifd.height());
        if pages().any(|ifd| pixels(ifd) > pixels(&page)) {
            return Err(refusal::larger_page(path));
        }
        if pages().next().is_some() {
            notes::add(notes::Kind::SmallerPages, path);
        }
        Ok(Self { path, file, page, mask })
    }

    fn own_page(&self) -> Page<'_> {
        Page { path: self.path, file: &self.file, ifd: &self.page }
    }

    fn size(&self) -> Size {
        Size { width: self.page.width() as usize, height: self.page.height() as usize }
    }

    fn orientation(&self) -> Option<Orientation> {
        Orientation::from_exif(self.page.tag(ORIENTATION)?.value.as_u16()?)
    }

    fn photometric(&self) -> Option<PhotometricInterpretation> {
        self.page.photometric_interpretation_enum()
    }

    /// Memory for all samples, for what is made of them, for a mask, and for the blocks that are decoded at a time.
    fn reserve(&self, labels: bool) -> Result<Reservation> {
        let claim = format_args!("its header claims {} pixels", self.size());
        limits::reserve(self.path, claim, self.memory(labels, self.page.height().into())?)
    }

    /// Bytes of memory that reading `rows` rows takes.
    fn memory(&self, labels: bool, rows: u64) -> Result<u64> {
        const UNSIGNED: u16 = 1;
        const UNDEFINED: u16 = 4;
        let page = &self.page;
        let bits = page.bits_per_sample().ok().and_then(|bits| bits.first().copied()).unwrap_or(1);
        let format = page.sample_format().ok().and_then(|formats| formats.first().copied()).unwrap_or(UNSIGNED);
        let stored = u64::from(bits.div_ceil(8)).min(8);
        let unsigned = matches!(format, UNSIGNED | UNDEFINED) && bits <= 16;
        let masked = self.mask.is_some() || is_file(&self.mask_beside());
        let split = page.extra_samples().is_ok_and(|extra| !extra.is_empty());
        let held = match labels {
            true if !unsigned || masked || self.nodata().is_some() => NUMBER_AND_CLASS,
            _ if unsigned => 2 * stored,
            // float32, twice where alpha is taken out.
            _ if split => 8,
            _ => 4,
        };
        let (width, height) = (u64::from(page.width()), u64::from(page.height()));
        let (wide, high) = block_size(page);
        let (wide, high) = (wide as u64, high as u64);
        let bytes = |pixels: u64| pixels.saturating_mul(page.samples_per_pixel().into()).saturating_mul(stored);
        let (image, block) = (bytes(width.saturating_mul(height)), bytes(wide.saturating_mul(high)));
        if block > LARGEST_BLOCK && block / 4 > image {
            let reason =
                format!("damaged TIFF: its header claims tiles of {wide}x{high} for an image of {}", self.size());
            return Err(Error::content(self.path, reason));
        }
        let pixels = width.saturating_mul(rows);
        let row_of_blocks = block.saturating_mul(width.div_ceil(wide.max(1)));
        let window = row_of_blocks.max(bytes(pixels).min(2 * WINDOW_BYTES as u64));
        let all = (bytes(pixels) / stored.max(1)).saturating_mul(held);
        // Its samples, and what they say.
        let mask = if masked { pixels.saturating_mul(MASK_SAMPLE + 1) } else { 0 };
        Ok(all.saturating_add(window).saturating_add(mask))
    }

    /// GDAL's nodata value.
    fn nodata(&self) -> Option<f64> {
        let text = self.page.tag(GDAL_NODATA)?.value.as_str()?.trim_matches(['\0', ' ', '\n']);
        // Old Windows libraries write 1.#QNAN and 1.#INF.
        if text.to_ascii_lowercase().contains("nan") || text.contains("#IND") {
            Some(f64::NAN)
        } else {
            text.parse().ok()
        }
    }

    /// Colours of a pixel and its alpha. Extra samples that are not called alpha, such as near infrared, are bands.
    fn bands(&self) -> Result<Bands> {
        let samples = usize::from(self.page.samples_per_pixel());
        let extra = self.page.extra_samples().map_err(|e| refused(self.path, e))?;
        let first = samples.saturating_sub(extra.len());
        let kind = |sample: &ExtraSample| match sample {
            ExtraSample::AssociatedAlpha => Some(true),
            ExtraSample::UnassociatedAlpha => Some(false),
            _ => None,
        };
        let alpha = extra.iter().enumerate().find_map(|(i, sample)| Some((first + i, kind(sample)?)));
        // A fourth sample of which nothing is said is alpha to GDAL, too.
        let unnamed = extra.is_empty() && samples == 4 && self.photometric() == Some(PhotometricInterpretation::Rgb);
        let alpha = alpha.or(unnamed.then_some((3, false)));
        // A damaged file may declare more extra samples than it has samples.
        Ok(Bands { count: samples, alpha: alpha.filter(|(position, _)| (1..samples).contains(position)) })
    }

    /// Some rows of the image, as they are stored: not turned upright.
    fn rows(&self, rows: Range<usize>) -> Result<Image> {
        let Bands { count, alpha } = self.bands()?;
        let stored = self.stored(rows.clone())?;
        let bits = stored.bits;
        let size = Size { height: rows.len(), ..self.size() };
        let raster = Image { sample_type: stored.sample_type, ..Image::new(size, stored.bands, stored.samples) };
        let Some((position, associated)) = alpha else {
            return color::to_rgb(self, Image { nodata: self.pixels_without_data(&raster, rows)?, ..raster }, bits);
        };
        // Colours may have become more bands, or fewer; those behind alpha have not.
        let behind = count - 1 - position;
        let (alpha, samples) = raster.samples.split_band(raster.bands, raster.bands - 1 - behind);
        let raster = Image { bands: raster.bands - 1, samples, ..raster };
        let raster = color::to_rgb(self, Image { nodata: self.pixels_without_data(&raster, rows)?, ..raster }, bits)?;
        let samples = color::alpha_like(alpha, &raster.samples, bits);
        let position = raster.bands.saturating_sub(behind);
        Ok(Image { alpha: Some(AlphaBand { samples, associated, position }), ..raster })
    }

    /// Pixels of these rows that the nodata value or the mask names.
    fn pixels_without_data(&self, raster: &Image, rows: Range<usize>) -> Result<Option<Vec<bool>>> {
        let named = match self.nodata().filter(|value| !value.is_nan()) {
            // In single precision it would be 0.
            Some(value) if value != 0.0 && value as f32 == 0.0 => self.holding(value, rows.clone())?,
            Some(value) => matching(&raster.samples, raster.bands, value),
            None => Vec::new(),
        };
        let named = Some(named).filter(|all| all.contains(&true));
        let masked = self.masked_out(rows)?;
        Ok(match (named, masked) {
            (Some(mut named), Some(masked)) => {
                named.iter_mut().zip(masked).for_each(|(named, masked)| *named |= masked);
                Some(named)
            }
            (named, masked) => named.or(masked),
        })
    }

    /// Pixels with a sample that equals a number in double precision.
    fn holding(&self, value: f64, rows: Range<usize>) -> Result<Vec<bool>> {
        let Numbers::Wide(numbers) = numbers::read_exactly(self.own_page(), rows)? else {
            return Ok(Vec::new());
        };
        let samples = usize::from(self.page.samples_per_pixel());
        Ok(numbers.chunks_exact(samples).map(|pixel| pixel.contains(&value)).collect())
    }

    /// Where GDAL writes a mask that is not in the file.
    fn mask_beside(&self) -> PathBuf {
        self.path.with_added_extension("msk")
    }

    /// Pixels of these rows that the mask excludes, if there is one: a page of the file, or the `.msk` that GDAL writes beside it.
    fn masked_out(&self, rows: Range<usize>) -> Result<Option<Vec<bool>>> {
        let beside = |rows| -> Result<Option<Stored>> {
            let path = &*self.mask_beside();
            if !is_file(path) {
                return Ok(None);
            }
            let mask = Tiff::open(path)?;
            if mask.size() != self.size() {
                let reason = format!(
                    "is {}, but the image that it masks is {}; remove it or make it again",
                    mask.size(),
                    self.size()
                );
                return Err(Error::content(path, reason));
            }
            let bits =
                mask.page.bits_per_sample().map_err(|e| refused(path, e))?.iter().map(|bits| u64::from(*bits)).sum();
            if !(1..=8 * MASK_SAMPLE).contains(&bits) {
                return Err(Error::content(path, format!("is not a mask: its pixels have {bits} bits")));
            }
            numbers::read(mask.own_page(), rows).map(Some)
        };
        let mask = match &self.mask {
            Some(mask) => Some(numbers::read(Page { ifd: mask, ..self.own_page() }, rows)?),
            None => beside(rows)?,
        };
        // With a mask for each band, as GDAL may write, a pixel needs all of them.
        let excluded = |stored: Stored| match stored.samples {
            Samples::U8(v) => v.chunks_exact(stored.bands).map(|pixel| pixel.contains(&0)).collect(),
            Samples::U16(v) => v.chunks_exact(stored.bands).map(|pixel| pixel.contains(&0)).collect(),
            Samples::F32(v) => v.chunks_exact(stored.bands).map(|pixel| pixel.contains(&0.0)).collect(),
        };
        Ok(mask.map(excluded))
    }

    /// The samples as the file stores them, but with the colours of JPEG, YCbCr, CMYK and CIELab as RGB.
    fn stored(&self, rows: Range<usize>) -> Result<Stored> {
        let top = rows.start;
        let mut stored = if color::is_converted(self) {
            numbers::read_converted(self.own_page(), rows)?
        } else {
            numbers::read(self.own_page(), rows)?
        };
        if let Some(value) = self.nodata().filter(|value| *value != 0.0) {
            sparse::fill(&self.page, &mut stored, value, top);
        }
        Ok(stored)
    }

    /// The bytes of the first strip or tile that is stored.
    fn first_block(&self) -> Result<Option<Vec<u8>>> {
        let (offsets, counts) = tables(&self.page).unwrap_or_default();
        let stored = offsets.into_iter().zip(counts).find(|(offset, count)| *offset > 0 && *count > 0);
        let read = |(offset, count)| {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            self.file.source().read_exact_at(offset, count).map_err(|e| refused(self.path, e))
        };
        stored.map(read).transpose()
    }

    fn labels(&self) -> Result<LabelImage> {
        let Bands { count, alpha } = self.bands()?;
        let lossy = match self.page.compression() {
            codec if JPEG.contains(&codec) => Some("JPEG"),
            WEBP if self.first_block()?.is_some_and(|block| is_lossy_webp(&block)) => Some("lossy WebP"),
            _ => None,
        };
        if let Some(codec) = lossy {
            let reason = format!(
                "a TIFF with {codec} compression cannot hold labels: the compression changes values at edges; save \
                 the label image again without it, as with gdal_translate -co COMPRESS=DEFLATE"
            );
            return Err(Error::content(self.path, reason));
        }
        let _held = self.reserve(true)?;
        let size = self.size();
        // A second band of which the file says nothing, such as a confidence, is no label either.
        let spare = count == 2 && alpha.is_none() && self.page.extra_samples().is_ok_and(|extra| extra.len() == 1);
        let labels = count - usize::from(alpha.is_some() || spare);
        if spare {
            notes::note_file(self.path, "the second band of this label image is not alpha and is left out");
        }
        if color::is_converted(self) {
            let reason = "a label image in YCbCr, CMYK or CIELab: converting its colours would change them; save it again in RGB, or \
                 with label values";
            return Err(Error::content(self.path, reason));
        }
        if !matches!(labels, 1 | 3) {
            let reason = format!("a label image must have 1 band or be RGB(A); this one has {labels} bands");
            return Err(Error::content(self.path, reason));
        }
        let mut numbers = numbers::read_exactly(self.own_page(), 0..size.height)?;
        if let Some(value) = self.nodata().filter(|value| *value != 0.0) {
            sparse::fill_numbers(&self.page, &mut numbers, value);
        }
        let (numbers, alpha) = match alpha {
            None if spare => (numbers.split_band(count, 1).1, None),
            None => (numbers, None),
            Some((position, associated)) => {
                let (samples, numbers) = numbers.split_band(count, position);
                (numbers, samples.into_samples().map(|samples| AlphaBand { samples, associated, position }))
            }
        };
        let raw = if labels == 1 {
            RawLabels::from_numbers(size, numbers, self.nodata(), self.masked_out(0..size.height)?)
        } else {
            RawLabels::Colors(size, color::label_colors(self.path, numbers, labels)?)
        };
        Ok(LabelImage { raw, alpha })
    }
}

/// NewSubfileType, or what its predecessor says.
fn subfile_type(ifd: &Ifd) -> u64 {
    let number = |code| ifd.tag(code).and_then(|tag| tag.value.as_u64());
    number(NEW_SUBFILE_TYPE).unwrap_or_else(|| u64::from(number(SUBFILE_TYPE) == Some(2)) * REDUCED)
}
