//! How much memory images take, and how much there is.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::by_rows::{ROWS, larger_than, rows_at_once, windows};
use super::predictor::NetworkPredictor;
use super::procedure::{Join, Procedure, Sizes};
use super::sweep::Grid;
use super::tiles::{Border, Tiles};
use crate::base::words::bytes_in_words;
use crate::base::{Error, Remedy, Result, Size, locked};
use crate::image::{LabelTiffWriter, ProbabilityTiffWriter, TiffRows, is_geotiff, read_size};
use crate::nn::cost::inference_memory;
use crate::nn::device::{DeviceChoice, free_memory};
use crate::predict::Options;
use crate::predict::merge::Wanted;
use crate::predict::model::Form;

/// Bytes of a float32.
const FLOAT: u64 = 4;
/// Images that wait to be computed together may take this share of the memory beyond the limit of those being read,
/// so that neither waits for the other.
const WAITING_SHARE: u64 = 8;
/// Windows and sizes that are proposed for images that are too large.
const WINDOW: usize = 512;
const SMALLER: [usize; 2] = [1024, 512];
/// Sides of windows among which the memory chooses: of these one of which a batch has room, else one of the smaller ones
/// of which a single window has.
const AUTO: [usize; 5] = [1024, 768, 512, 384, 256];
const SMALL: [usize; 5] = [256, 192, 128, 96, 64];
/// An image for which there must be room beside the windows that are chosen.
const MODEST: Size = Size { width: 512, height: 512 };

/// What may be held, and what things take.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    /// Bytes that may be held, if that is known.
    limit: Option<u64>,
    /// Bytes of the process with the network, and of its features for one pixel of the input, in main memory.
    network: u64,
    features: f64,
    /// Whether the network gives its scores much smaller than its input.
    small_scores: bool,
    bands: u64,
    classes: u64,
    procedure: Procedure,
    wanted: Wanted,
    batch_size: usize,
    gate: Arc<Gate>,
}

impl Budget {
    /// `procedure` is fitted to the network.
    pub(crate) fn new(predictor: &NetworkPredictor, procedure: Procedure, options: &Options) -> Result<Self> {
        let (mut network, mut features) = (0, 0.0);
        if !predictor.choice.is_gpu() {
            // Features grow with the area; one size tells by how much.
            let sample = Size { width: 256, height: 256 };
            let held = inference_memory(&predictor.config, sample, predictor.choice)?.parts(1);
            (network, features) = (held.fixed, held.per_image as f64 / area(sample) as f64);
        }
        Ok(Self {
            // The network is there already.
            limit: options.memory.or_else(|| free_memory(DeviceChoice::Flex).map(|free| free.saturating_add(network))),
            network,
            features,
            small_scores: predictor.network.gives_small_scores(),
            bands: predictor.dataset.bands as u64,
            classes: predictor.dataset.class_count() as u64,
            procedure,
            wanted: options.wanted,
            batch_size: options.batch_size,
            gate: Arc::default(),
        })
    }

    /// Network inputs of a size that are computed together: what was asked for, if the memory allows.
    pub(crate) fn at_once(&self, size: Size) -> usize {
        let one = (self.features * area(size) as f64).max(1.0);
        // Half of it is for images that are read ahead and for results.
        let fitting =
            self.limit.map_or(usize::MAX, |limit| (limit.saturating_sub(self.network) as f64 / 2.0 / one) as usize);
        self.batch_size.min(fitting).max(1)
    }

    /// Bytes of images that may wait to be computed together while another one goes in.
    pub(super) fn waiting(&self) -> u64 {
        self.limit.map_or(u64::MAX, |limit| limit / WAITING_SHARE)
    }

    /// Says whether an image fits, from the beginning of its file, and waits until it does beside those before it; `turn`
    /// counts the images. A file without a readable size passes: reading it says what is wrong.
    pub(crate) fn admit(&self, path: &Path, turn: usize, form: Form) -> Result<Reservation> {
        let turn = self.gate.turn(turn);
        let Some(size) = read_size(path) else { return Ok(turn.reserve(0, u64::MAX, self.waiting())) };
        self.check(path, size, form)?;
        let held = self.held(&self.procedure, size);
        let room = self
            .limit
            .map_or(u64::MAX, |limit| limit.saturating_sub(self.network + self.computing(&self.procedure, size)));
        Ok(turn.reserve(held, room, self.waiting()))
    }

    /// [`Self::admit`] for an image that is predicted some rows at a time.
    pub(super) fn admit_scene(
        &self,
        path: &Path,
        turn: usize,
        (tiles, file): (Tiles, &TiffRows<'_>),
        form: Form,
    ) -> Result<Reservation> {
        let turn = self.gate.turn(turn);
        let held = self.held_rows(tiles, (path, file), form)?;
        let computing = self.network.saturating_add(self.computing_windows(tiles, 1));
        let Some(limit) = self.limit else { return Ok(turn.reserve(held, u64::MAX, self.waiting())) };
        let needed = held.saturating_add(computing);
        if needed <= limit {
            return Ok(turn.reserve(held, limit - computing, self.waiting()));
        }
        let mut work =
            format!("predicting {}, an image of {}, in windows of {}", path.display(), file.size(), tiles.side);
        let rows = rows_at_once(file);
        if rows > 4 * tiles.side {
            work += &format!(
                " (its strips of {rows} rows are decoded whole; gdal_translate -co TILED=YES stores the image in tiles)"
            );
        }
        let smaller = |side: &usize| {
            let smaller = Tiles::two_thirds_apart(*side);
            let needed = self
                .held_rows(smaller, (path, file), form)
                .map(|held| held + self.computing_windows(smaller, 1) + self.network);
            *side < tiles.side && needed.is_ok_and(|needed| needed <= limit)
        };
        let side = [WINDOW, WINDOW / 2, WINDOW / 4].into_iter().find(|side| smaller(side));
        let remedies = side.map(Remedy::Tile).into_iter().chain([Remedy::Larger("memory")]).collect();
        Err(Error::Memory { work, needed, free: limit, remedies })
    }

    /// Windows of such an image that are computed together.
    /// Half of the memory is for images that are read ahead.
    pub(super) fn windows_at_once(&self, tiles: Tiles, reserved: Option<&Reservation>) -> usize {
        let (one, held) = (self.computing_windows(tiles, 1).max(1), reserved.map_or(0, |reserved| reserved.bytes));
        let fitting =
            self.limit.map_or(usize::MAX, |limit| (limit.saturating_sub(self.network + held) / 2 / one) as usize);
        self.batch_size.min(fitting).max(1)
    }

    /// The largest side of windows, of some usual ones, of which a batch, or else one, fits into half of the memory
    /// beside an image. Where none does, the smallest: whether an image fits then is known when its size is.
    pub(crate) fn largest_tile(&self) -> usize {
        let room = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.network) / 2);
        let fits = |side: usize, windows: usize| {
            let tiles = Tiles::two_thirds_apart(side);
            self.computing_windows(tiles, windows) <= room && self.takes_modest(tiles)
        };
        let batch = AUTO.into_iter().find(|side| fits(*side, self.batch_size));
        batch.or_else(|| SMALL.into_iter().find(|side| fits(*side, 1))).unwrap_or(SMALL[SMALL.len() - 1])
    }

    /// Whether an image of [`MODEST`] size fits, as a whole and some rows at a time.
    fn takes_modest(&self, tiles: Tiles) -> bool {
        let Some(limit) = self.limit else { return true };
        let procedure = Procedure { tiles: Some(tiles), ..self.procedure.clone() };
        // Rows are decoded as numbers of 16 bits, and copied.
        let reading = 4 * (ROWS * MODEST.width) as u64 * self.bands;
        let in_rows = reading + self.held_beside_file(tiles, MODEST, ROWS, true);
        let in_rows = self.network.saturating_add(self.computing_windows(tiles, 1)).saturating_add(in_rows);
        self.needed(&procedure, MODEST).max(in_rows) <= limit
    }

    /// Bytes that the network takes for a number of windows, with their scores at full size.
    fn computing_windows(&self, tiles: Tiles, windows: usize) -> u64 {
        let pixels = area(Size { width: tiles.side, height: tiles.side });
        let scores = 4 * self.classes * FLOAT * pixels;
        windows as u64 * ((self.features * pixels as f64) as u64 + scores)
    }

    /// Bytes of an image that is read, predicted and written some rows at a time.
    fn held_rows(&self, tiles: Tiles, (path, file): (&Path, &TiffRows<'_>), form: Form) -> Result<u64> {
        let step = rows_at_once(file);
        let rasters = form.rasters.unwrap_or_else(|| is_geotiff(path));
        Ok(file.memory(step)? + self.held_beside_file(tiles, file.size(), step, rasters))
    }

    /// [`Self::held_rows`] without what decoding `step` rows takes.
    fn held_beside_file(&self, tiles: Tiles, size: Size, step: usize, rasters: bool) -> u64 {
        let grid = Grid::new(tiles, size);
        let rows = |count: usize| (count * size.width) as u64;
        let side = grid.window().height;
        // One portion is prepared, one waits and one arrives.
        let reading = 3 * rows(ROWS.min(step)) * self.bands * FLOAT;
        let held = rows(side + ROWS) * (self.bands * FLOAT + 1);
        let sums = 2 * rows(grid.rows.largest_overlap()) * self.classes * FLOAT;
        // One strip grows, one waits and one is written.
        let (highest, all) = (u64::from(self.wanted.highest), u64::from(self.wanted.all));
        let strips = 3 * rows(side) * (4 + FLOAT * highest + 2 * self.classes * FLOAT * all);
        let bands = usize::from(self.wanted.highest) + if self.wanted.all { self.classes as usize } else { 0 };
        let writers = LabelTiffWriter::memory(size.width) + ProbabilityTiffWriter::memory(size.width, bands);
        reading + held + sums + strips + if rasters { writers } else { 0 }
    }

    /// Says whether an image of that size fits.
    pub(crate) fn check(&self, path: &Path, image: Size, form: Form) -> Result<()> {
        let Some(limit) = self.limit else { return Ok(()) };
        let needed = self.needed(&self.procedure, image);
        if needed <= limit {
            return Ok(());
        }
        let mut work = format!("predicting {}, an image of {image},", path.display());
        let mut remedies = self.remedies(path, image, form, limit);
        if remedies.is_empty() && self.network >= limit {
            work += &format!(" with a network that alone takes {}", bytes_in_words(self.network));
        } else if remedies.is_empty() {
            remedies.push(Remedy::Pieces);
        }
        remedies.push(Remedy::Larger("memory"));
        Err(Error::Memory { work, needed, free: limit, remedies })
    }

    /// What would make the image fit.
    fn remedies(&self, path: &Path, image: Size, form: Form, limit: u64) -> Vec<Remedy> {
        let mut remedies = Vec::new();
        let fits = |procedure: &Procedure| self.needed(procedure, image) <= limit;
        let tiles = Some(Tiles::two_thirds_apart(WINDOW));
        if self.procedure.tiles.is_none() && self.procedure.join != Join::Direct {
            let procedure = Procedure { tiles, ..self.procedure.clone() };
            let in_rows = |tiles: Tiles| {
                let held = self.held_rows(tiles, (path, &larger_than(tiles, path)?), form).ok()?;
                Some(held + self.computing_windows(tiles, 1) + self.network <= limit)
            };
            let fits = match windows(&procedure).filter(|_| form.strips).and_then(in_rows) {
                Some(fits) => fits,
                None => fits(&procedure),
            };
            remedies.extend(fits.then_some(Remedy::Tile(WINDOW)));
        }
        if self.procedure.sizes == Sizes::Own {
            let smaller = |side: &usize| {
                let sizes = Sizes::Fixed(Size { width: *side, height: *side });
                let smaller = area(image) > (side * side) as u64;
                smaller && fits(&Procedure { sizes, tiles: None, ..self.procedure.clone() })
            };
            let side = SMALLER.iter().find(|side| smaller(side));
            remedies.extend(side.map(|side| Remedy::Resize(*side)));
        }
        remedies
    }

    /// Bytes for one image and the network, about.
    fn needed(&self, procedure: &Procedure, image: Size) -> u64 {
        self.network.saturating_add(self.computing(procedure, image)).saturating_add(self.held(procedure, image))
    }

    /// Bytes that the network takes while it computes an image.
    fn computing(&self, procedure: &Procedure, image: Size) -> u64 {
        (self.features * self.largest_input(procedure, image) as f64) as u64
    }

    /// Pixels of the largest input of the network.
    fn largest_input(&self, procedure: &Procedure, image: Size) -> u64 {
        let window = |view: &Size| match procedure.tiles {
            Some(Tiles { side, .. }) => area(Size { width: view.width.min(side), height: view.height.min(side) }),
            None => area(*view),
        };
        procedure.views(image).iter().map(|view| window(&extended(procedure, *view))).max().unwrap_or(0)
    }

    /// Bytes of one image from reading to writing, beside the network.
    fn held(&self, procedure: &Procedure, image: Size) -> u64 {
        let views: Vec<Size> = procedure.views(image).into_iter().map(|view| extended(procedure, view)).collect();
        let pixels = area(image);
        let seen: u64 = views.iter().map(|view| area(*view)).sum();
        // Decoded, and where several sizes are made of it, kept beside; then in floats at every size.
        let sample = if procedure.float_scaling { 2 * FLOAT } else { 2 };
        let input = sample * pixels * self.bands + 2 * seen * self.bands * FLOAT;
        let scores = self.classes * FLOAT * self.held_scores(procedure, image, &views);
        // Classes and label values in 4 bytes, and in as many what is written of them at a time: an array, or a GeoTIFF
        // with its overviews.
        let (highest, all) = (u64::from(self.wanted.highest), u64::from(self.wanted.all));
        let output = pixels * (8 + FLOAT * highest + 2 * self.classes * FLOAT * all);
        input + scores + output
    }

    /// Pixels whose scores of all classes are held at once.
    fn held_scores(&self, procedure: &Procedure, image: Size, views: &[Size]) -> u64 {
        let sum = || views.iter().map(|view| area(*view)).sum::<u64>();
        let mirrored = if procedure.flip { 2 } else { 1 };
        // Of the image and of the mirrored one, unless the two have been averaged.
        let kept = if procedure.join == Join::Probabilities { 1 } else { mirrored };
        // Where the network itself gives scores of the input's size, they come, are copied and turned around.
        let own = if self.small_scores { 0 } else { 3 * mirrored * self.largest_input(procedure, image) };
        own + match (procedure.tiles, views) {
            // Strips of two windows' height.
            (Some(tiles), [view]) if kept == 1 && !tiles.is_padded() => {
                (2 * tiles.side.min(view.height) * view.width) as u64
            }
            (Some(_), _) => kept * sum(),
            (None, _) if procedure.join == Join::Direct || !self.small_scores => 0,
            (None, _) => kept * views.iter().filter(|view| **view != image).map(|view| area(*view)).sum::<u64>(),
        }
    }
}

/// A view with what is put around it where windows must be whole.
fn extended(procedure: &Procedure, view: Size) -> Size {
    match procedure.tiles {
        Some(Tiles { side, border: Border::Padded, .. }) => {
            Size { width: view.width.max(side), height: view.height.max(side) }
        }
        _ => view,
    }
}

fn area(size: Size) -> u64 {
    size.width as u64 * size.height as u64
}

/// Lets images in one after the other, as long as there is room.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whose turn it is.
    turn: usize,
    /// Bytes of the images that are in.
    held: u64,
}

/// The right to go through the gate; the next one has it when this is dropped.
#[derive(Debug)]
struct Turn(Arc<Gate>);

/// Room of an image that is in.
#[derive(Debug)]
pub(crate) struct Reservation {
    gate: Arc<Gate>,
    pub(crate) bytes: u64,
}

impl Gate {
    fn turn(self: &Arc<Self>, turn: usize) -> Turn {
        let mut state = locked(&self.state);
        while state.turn != turn {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Turn(Arc::clone(self))
    }
}

impl Turn {
    /// Goes in when those that are in leave `bytes` of `room`, or take no more than those that wait to be computed may.
    fn reserve(self, bytes: u64, room: u64, waiting: u64) -> Reservation {
        let gate = Arc::clone(&self.0);
        let mut state = locked(&gate.state);
        while state.held > waiting && state.held.saturating_add(bytes) > room {
            state = gate.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.held = state.held.saturating_add(bytes);
        drop(state);
        Reservation { gate, bytes }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        locked(&self.0.state).turn += 1;
        self.0.changed.notify_all();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = locked(&self.gate.state);
        state.held = state.held.saturating_sub(self.bytes);
        drop(state);
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn images_go_in_one_after_the_other_while_there_is_room() {
        let gate: Arc<Gate> = Arc::default();
        let (first, second) = (gate.turn(0).reserve(60, 100, 12), gate.turn(1).reserve(40, 100, 12));
        let other = Arc::clone(&gate);
        let third = thread::spawn(move || other.turn(2).reserve(50, 100, 12).bytes);
        thread::sleep(Duration::from_millis(30));
        assert!(!third.is_finished() && locked(&gate.state).held == 100);
        drop(second);
        thread::sleep(Duration::from_millis(30));
        assert!(!third.is_finished());
        drop(first);
        assert_eq!(third.join().unwrap(), 50);
        // What alone takes more than there is goes in when the rest is out.
        assert_eq!(gate.turn(3).reserve(500, 100, 12).bytes, 500);
        assert_eq!(locked(&gate.state).held, 0);
    }
}
