//! Strips and tiles that a file leaves out. GDAL reads them as nodata, or as 0 where there is no such value.

use std::ops::Range;

use tiff_reader::Ifd;

use super::blocks::{block_size, tables};
use super::numbers::{Numbers, Stored};
use crate::image::Samples;

/// Pixels of a block that is not stored.
struct Hole {
    rows: Range<usize>,
    columns: Range<usize>,
    /// The band that it belongs to, where every band has blocks of its own.
    band: Option<usize>,
}

/// Writes the nodata value where blocks are not stored, into samples that begin with row `top`.
pub(super) fn fill(page: &Ifd, stored: &mut Stored, nodata: f64, top: usize) {
    let layout = Layout::of(page, stored.bands, top);
    match &mut stored.samples {
        Samples::U8(v) => layout.fill(v, nodata as u8),
        Samples::U16(v) => layout.fill(v, nodata as u16),
        Samples::F32(v) => layout.fill(v, nodata as f32),
    }
}

/// The same for the numbers of a label image.
pub(super) fn fill_numbers(page: &Ifd, numbers: &mut Numbers, nodata: f64) {
    let layout = Layout::of(page, page.samples_per_pixel().into(), 0);
    match numbers {
        Numbers::Bytes(v) => layout.fill(v, nodata as u8),
        Numbers::Words(v) => layout.fill(v, nodata as u16),
        Numbers::Wide(v) => layout.fill(v, nodata),
    }
}

struct Layout {
    /// The first row that there is.
    top: usize,
    width: usize,
    bands: usize,
    holes: Vec<Hole>,
}

impl Layout {
    fn of(page: &Ifd, bands: usize, top: usize) -> Self {
        let (width, height) = (page.width() as usize, page.height() as usize);
        let (offsets, counts) = tables(page).unwrap_or_default();
        let (wide, high) = block_size(page);
        let (wide, high) = (wide.max(1), high.max(1));
        let (across, down) = (width.div_ceil(wide), height.div_ceil(high));
        let blocks = offsets.into_iter().zip(counts);
        let hole = |(i, _)| {
            let (plane, i) = (i / (across * down).max(1), i % (across * down).max(1));
            let (upper, left) = (i / across * high, i % across * wide);
            let band = (page.planar_configuration() == 2).then_some(plane);
            Hole { rows: upper..height.min(upper + high), columns: left..width.min(left + wide), band }
        };
        let holes = blocks.enumerate().filter(|(_, (offset, bytes))| *offset == 0 || *bytes == 0).map(hole).collect();
        Self { top, width, bands, holes }
    }

    fn fill<T: Copy>(&self, samples: &mut [T], value: T) {
        let row = self.width * self.bands;
        for Hole { rows, columns, band } in &self.holes {
            let rows = rows.start.saturating_sub(self.top)..rows.end.saturating_sub(self.top);
            for line in samples.chunks_exact_mut(row.max(1)).skip(rows.start).take(rows.len()) {
                let pixels = &mut line[columns.start * self.bands..columns.end * self.bands];
                match band {
                    None => pixels.fill(value),
                    Some(band) => pixels.iter_mut().skip(*band).step_by(self.bands).for_each(|sample| *sample = value),
                }
            }
        }
    }
}
