//! TIFFs larger than a window: read, predicted and handed on some rows at a time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::by_rows::{ROWS, rows_at_once};
use super::inference::{TileRunner, not_numbers};
use super::memory::Reservation;
use super::procedure::Procedure;
use super::source::{Moving, Source};
use super::sweep::Block;
use super::tiles::Tiles;
use crate::base::{Error, Result, Size};
use crate::data::{Dataset, Parts, chosen_bands};
use crate::image::{Image, TiffRows};
use crate::nn::ops::Resampling;
use crate::predict::Options;
use crate::predict::merge::{Decision, Wanted, WeightedScores, decide};
use crate::predict::model::{Handle, Part, Strip};

/// An image that is to be predicted some rows at a time.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) size: Size,
    pub(super) tiles: Tiles,
    pub(super) reserved: Option<Reservation>,
}

/// Rows that were read and normalised.
struct Arrived {
    /// `[bands, width]` each.
    rows: Vec<Vec<f32>>,
    /// Pixels without data of each, if there are any.
    nodata: Vec<Option<Vec<bool>>>,
}

impl Arrived {
    fn new(planes: &[f32], nodata: Option<&[bool]>, Size { width, height }: Size) -> Self {
        let row = |y: usize| {
            let planes = planes.chunks_exact(width * height);
            planes.flat_map(|plane| &plane[y * width..(y + 1) * width]).copied().collect()
        };
        let nodata_of = |y: usize| {
            nodata.map(|nodata| nodata[y * width..(y + 1) * width].to_vec()).filter(|row| row.contains(&true))
        };
        Self { rows: (0..height).map(row).collect(), nodata: (0..height).map(nodata_of).collect() }
    }
}

/// The rows of an image that are at hand.
struct Held<'a> {
    size: Size,
    /// The first of them.
    top: usize,
    rows: VecDeque<Vec<f32>>,
    arriving: Receiver<Result<Arrived>>,
    /// Pixels without data of the rows that are not decided on yet.
    nodata: &'a RefCell<VecDeque<Option<Vec<bool>>>>,
}

impl Source for Held<'_> {
    fn size(&self) -> Size {
        self.size
    }

    fn row(&self, band: usize, y: usize) -> &[f32] {
        &self.rows[y - self.top][band * self.size.width..][..self.size.width]
    }
}

impl Moving for Held<'_> {
    fn move_to(&mut self, rows: Range<usize>) -> Result<()> {
        while self.top < rows.start {
            self.rows.pop_front();
            self.top += 1;
        }
        while self.top + self.rows.len() < rows.end {
            // A reader that is gone has said why.
            let arrived = self.arriving.recv().unwrap_or(Err(Error::Stopped))?;
            self.rows.extend(arrived.rows);
            self.nodata.borrow_mut().extend(arrived.nodata);
        }
        Ok(())
    }

    fn source(&self) -> &dyn Source {
        self
    }
}

/// A file that is read some rows at a time, and what is taken of it.
struct Reader<'a> {
    path: &'a Path,
    file: TiffRows<'a>,
    bands: Option<&'a [usize]>,
}

impl Reader<'_> {
    /// Rows that are read together, from the top down.
    fn steps(&self) -> impl Iterator<Item = Range<usize>> {
        let (height, step) = (self.file.size().height, rows_at_once(&self.file));
        (0..height).step_by(step).map(move |top| top..height.min(top + step))
    }

    fn read(&self, rows: Range<usize>) -> Result<Image> {
        chosen_bands(self.path, self.file.read(rows)?, self.bands)
    }

    /// How its rows are prepared. Reads it once or twice where that takes the whole image.
    fn settle(&self, dataset: &Dataset, is_stopped: impl Fn() -> bool) -> Result<Parts> {
        let sample_type = self.read(0..rows_at_once(&self.file))?.sample_type;
        Parts::settle(self.path, sample_type, dataset, &mut |take: &mut dyn FnMut(Image) -> Result<()>| {
            self.steps().try_for_each(|rows| if is_stopped() { Err(Error::Stopped) } else { take(self.read(rows)?) })
        })
    }

    /// Reads it from the top down until nobody takes the rows any more. Rows that are decoded together are prepared in
    /// smaller portions, since as network input they take more memory.
    fn read_on(&self, parts: &Parts, sender: &SyncSender<Result<Arrived>>) {
        for rows in self.steps() {
            let image = match self.read(rows) {
                Ok(image) => image,
                Err(fault) => {
                    let _ = sender.send(Err(fault));
                    return;
                }
            };
            let Size { width, height } = image.size;
            for top in (0..height).step_by(ROWS) {
                let size = Size { width, height: ROWS.min(height - top) };
                let portion = image.cropped(top..top + size.height, 0..width);
                let arrived = parts
                    .input(self.path, portion)
                    .map(|(planes, nodata)| Arrived::new(&planes, nodata.as_deref(), size));
                let failed = arrived.is_err();
                if sender.send(arrived).is_err() || failed {
                    return;
                }
            }
        }
    }
}

/// Rows of a label map that grow from the left to the right.
struct Growing {
    size: Size,
    wanted: Wanted,
    strip: Option<Strip>,
}

impl Growing {
    /// Adds a block that was decided on; returns the rows when they are complete.
    fn add(
        &mut self,
        rows: &Range<usize>,
        columns: &Range<usize>,
        decision: &Decision,
        classes: usize,
    ) -> Option<Strip> {
        let (size, wanted, pixels) = (self.size, self.wanted, rows.len() * self.size.width);
        let strip = self.strip.get_or_insert_with(|| Strip {
            size,
            top: rows.start,
            decision: Decision::blank(pixels, classes, wanted),
        });
        let whole = &mut strip.decision;
        let copy = |to: &mut [f32], from: &[f32]| paste(to, from, size.width, columns);
        paste(&mut whole.classes, &decision.classes, size.width, columns);
        if let (Some(to), Some(from)) = (&mut whole.highest, &decision.highest) {
            copy(to, from);
        }
        if let (Some(to), Some(from)) = (&mut whole.all, &decision.all) {
            let planes = to.chunks_exact_mut(pixels.max(1)).zip(from.chunks_exact((rows.len() * columns.len()).max(1)));
            planes.for_each(|(to, from)| copy(to, from));
        }
        if columns.end == size.width { self.strip.take() } else { None }
    }
}

/// Puts a block into some columns of rows.
fn paste<T: Copy>(to: &mut [T], from: &[T], width: usize, columns: &Range<usize>) {
    let rows = to.chunks_exact_mut(width).zip(from.chunks_exact(columns.len().max(1)));
    rows.for_each(|(to, from)| to[columns.clone()].copy_from_slice(from));
}

impl Scene {
    /// Predicts the file some rows at a time and hands them on; [`Error::Stopped`] if there should be no more.
    pub(super) fn predict(
        &self,
        (i, path): (usize, &Path),
        runner: &TileRunner<'_>,
        (procedure, options, dataset): (&Procedure, &Options, &Dataset),
        handle: &mut Handle<'_>,
    ) -> Result<()> {
        let Some(file) = TiffRows::open(path)?.filter(|file| file.size() == self.size) else {
            return Err(Error::content(path, "changed while it was waiting to be read; run the command again"));
        };
        let (wanted, bands) = (options.wanted, options.bands.as_deref());
        let reader = Reader { path, file, bands };
        let parts = reader.settle(dataset, || runner.is_stopped())?;
        let nodata: RefCell<VecDeque<Option<Vec<bool>>>> = RefCell::default();
        let mut growing = Growing { size: self.size, wanted, strip: None };
        let mut emit = |Block { rows, columns, map }: Block| {
            let (size, classes) = (map.size, map.classes);
            let scores = [WeightedScores { map, enlargement: Resampling::default(), share: 1.0 }];
            if !scores[0].is_numeric() {
                return Err(not_numbers(path));
            }
            let decision = decide(&scores, size, 0..size.height, wanted);
            let Some(mut strip) = growing.add(&rows, &columns, &decision, classes) else { return Ok(()) };
            strip.leave_out(nodata.borrow_mut().drain(..rows.len()));
            if handle(i, Part::Strip(strip))? { Ok(()) } else { Err(Error::Stopped) }
        };
        thread::scope(|scope| {
            let (sender, arriving) = sync_channel(1);
            let (reader, parts) = (&reader, &parts);
            scope.spawn(move || reader.read_on(parts, &sender));
            let mut held = Held { size: self.size, top: 0, rows: VecDeque::new(), arriving, nodata: &nodata };
            runner.sweep(&mut held, self.tiles, procedure, &mut emit)
        })
    }
}
