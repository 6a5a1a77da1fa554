//! From pictures to label maps: at one size or several, plain and mirrored, whole or window by window.

mod look;
mod memory;
mod output;
mod procedure;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use burn::tensor::Device;
use image::RgbImage;

use crate::data::{Descriptor, Normalisation, ValidPixels, network_input, ordered};
use crate::device::DeviceChoice;
use crate::error::{Error, Result, Size};
use crate::event::{Event, Sink, Task};
use crate::files::{create_folder, write_bytes};
use crate::fuse::{Decision, Look, ScoreMap, Wanted, decide, rows_known};
use crate::image::{Raster, read_image};
use crate::label::LabelMap;
use crate::model::{InferenceNetwork, Network, NetworkConfig};
use crate::precision::Precision;
use crate::run::Run;
use crate::weights::{self, Report, Weights};

use look::{Seer, View};
use memory::{Budget, Reservation};
pub use output::{NpyType, Outputs};
pub use procedure::{Choices, Join, Preset, Procedure, Scales, Sizes, Tiles};

/// Weights of so many classes are ADE20K's, if nobody says otherwise.
const ADE20K_CLASSES: usize = 150;

/// A trained network with what its classes mean.
#[derive(Debug)]
pub struct Predictor {
    network: InferenceNetwork,
    config: NetworkConfig,
    descriptor: Descriptor,
    choice: DeviceChoice,
    device: Device,
    precision: Precision,
}

/// The result for one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The most probable class of every pixel.
    pub labels: LabelMap,
    /// Its probability, if asked for.
    pub probability: Option<Vec<f32>>,
    /// The probabilities of all classes, `[classes, height, width]`, if asked for.
    pub probabilities: Option<Vec<f32>>,
}

impl Predictor {
    /// Loads the best weights of a run.
    pub fn open(run: &Path, device: DeviceChoice, precision: Precision) -> Result<Self> {
        let run = Run::open(run)?;
        let path = run.weights_path();
        if !path.exists() {
            return Err(Error::content(
                run.folder(),
                "the run has no model.safetensors yet: it is written after the first epoch; let the training go on \
                 with `segtool train --resume`",
            ));
        }
        let choice = device.resolve()?;
        let device = choice.open_for(precision)?;
        let config = run.config.recipe.network;
        let network = weights::load(config.hollow(&device)?, &path)?.into();
        Ok(Self { network, config, descriptor: run.config.dataset, choice, device, precision })
    }

    /// Weights without a run. What their classes are, `dataset` says; without one, 150 classes are ADE20K's and others have
    /// label values 0 to K-1. Pictures are normalised as the weights are known to need it, else as the data set says.
    pub fn from_weights(
        weights: &Weights,
        dataset: Option<Descriptor>,
        device: DeviceChoice,
        precision: Precision,
    ) -> Result<(Self, Report)> {
        let config = weights.network()?.clone();
        let descriptor = descriptor_of(weights, &config, dataset)?;
        let choice = device.resolve()?;
        let device = choice.open_for(precision)?;
        let (network, report) = weights.load(config.hollow(&device)?, false)?;
        Ok((Self { network: network.into(), config, descriptor, choice, device, precision }, report))
    }

    /// A network that is at hand, on `choice`, in float32.
    pub fn from_network(
        config: NetworkConfig,
        network: Network,
        descriptor: Descriptor,
        choice: DeviceChoice,
    ) -> Result<Self> {
        let (choice, precision) = (choice.resolve()?, Precision::Float32);
        let device = choice.open()?;
        Ok(Self { network: network.into(), config, descriptor, choice, device, precision })
    }

    /// The network.
    pub fn network(&self) -> &NetworkConfig {
        &self.config
    }

    /// What pictures it takes and what its classes mean.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Predicts a picture that has been decoded; `name` is what errors call it.
    pub fn predict(&self, name: &Path, picture: Raster, options: &Options) -> Result<Prediction> {
        let work = Work::new(self, options)?;
        work.budget.check(name, picture.size)?;
        let read = work.reading.prepare(name, picture)?;
        let mut found = Vec::new();
        work.compute(vec![(0, read)], &mut |_, pending| {
            found.push(pending.finish());
            Ok(true)
        })?;
        found.pop().ok_or_else(|| Error::Device("the picture was not computed".into()))
    }
}

/// What the classes of weights mean and how their pictures are normalised.
fn descriptor_of(weights: &Weights, config: &NetworkConfig, dataset: Option<Descriptor>) -> Result<Descriptor> {
    let (bands, outputs) = config.bands_and_outputs();
    let (bands, outputs) = (bands.unwrap_or(0), outputs.unwrap_or(0));
    let classes = if outputs == 1 { 2 } else { outputs };
    let known = weights.description.normalisation.clone();
    let mut descriptor = match dataset {
        Some(dataset) if outputs == 1 => dataset.merged(),
        Some(dataset) => dataset,
        None if classes == ADE20K_CLASSES => Descriptor::find("ade20k")?,
        None => {
            let measured = Normalisation::PerDataset { valid: ValidPixels::All };
            let values = weights.checkpoint.label_values().filter(|values| values.len() == classes);
            Descriptor::unnamed(classes, values, (bands, known.clone().unwrap_or(measured)))?
        }
    };
    if descriptor.class_count() != classes {
        return Err(weights.checkpoint.error(format!(
            "the weights have {outputs} outputs, but data set '{}' has {} classes; give the one they were trained on",
            descriptor.name,
            descriptor.class_count()
        )));
    }
    descriptor.bands = bands;
    descriptor.normalisation = known.unwrap_or(descriptor.normalisation);
    descriptor.normalisation.validate(bands).map_err(|reason| weights.checkpoint.error(reason))?;
    if let Normalisation::PerDataset { .. } = descriptor.normalisation {
        return Err(weights.checkpoint.error(
            "how its pictures were normalised is not known; give a data set whose normalisation is fixed or per-image \
             with --dataset",
        ));
    }
    Ok(descriptor)
}

/// How pictures are predicted.
#[derive(Debug, Clone)]
pub struct Options {
    /// From a picture to its classes.
    pub procedure: Procedure,
    /// What is wanted besides the classes.
    pub wanted: Wanted,
    /// Most network inputs computed together: pictures of one size, mirrored looks, windows.
    pub batch_size: usize,
    /// Threads that read pictures.
    pub workers: usize,
    /// Most bytes to hold; what is free on this machine if left out.
    pub memory: Option<u64>,
}

impl Options {
    /// One look at whole pictures, `batch_size` of them together, read by `workers` threads.
    pub fn new(batch_size: usize, workers: usize) -> Self {
        let (procedure, wanted) = (Procedure::default(), Wanted::default());
        Self { procedure, wanted, batch_size, workers, memory: None }
    }
}

/// What became of the inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The .npy files, in the order of the inputs.
    pub written: Vec<PathBuf>,
    /// Inputs that could not be read.
    pub skipped: usize,
}

/// Predicts files and writes what `outputs` says for each into the folder `output`, and `predictions.txt` for all. Reading,
/// computing and writing overlap. A picture that cannot be read is reported and left out; a result that cannot be
/// written ends the work.
pub fn predict_files(
    predictor: &Predictor,
    inputs: &[PathBuf],
    output: &Path,
    outputs: &Outputs,
    options: &Options,
    sink: &dyn Sink,
) -> Result<Summary> {
    outputs.refuse_collisions(inputs, output)?;
    create_folder(output)?;
    let options = Options { wanted: outputs.wanted(), ..options.clone() };
    let (sender, receiver) = sync_channel::<(usize, Pending)>(1);
    let (written, skipped) = thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<Vec<PathBuf>> {
            let write = |(i, mut pending): (usize, Pending)| {
                let (shown, _reserved) = (pending.shown.take(), pending.reserved.take());
                outputs.write(&predictor.descriptor, &inputs[i], &pending.finish(), shown, output)
            };
            receiver.into_iter().map(write).collect()
        });
        let work = Work::new(predictor, &options)?;
        let computed =
            work.each(inputs, outputs.overlay, sink, &mut |i, pending| Ok(sender.send((i, pending)).is_ok()));
        drop(sender);
        let written = writer.join().expect("the writer thread panicked");
        // A failed write closes the channel, so its error comes first.
        written.and_then(|written| Ok((written, computed?)))
    })?;
    let summary = Summary { written, skipped };
    if summary.written.is_empty() {
        return Ok(summary);
    }
    let list: String =
        summary.written.iter().filter_map(|p| p.file_name()).map(|n| format!("{}\n", n.to_string_lossy())).collect();
    write_bytes(&output.join("predictions.txt"), list.as_bytes())?;
    Ok(summary)
}

/// Predicts files and hands the predictions on with the index of their input, in order, until `handle` declines. Returns
/// how many could not be read; each is reported.
pub fn predict_each(
    predictor: &Predictor,
    inputs: &[PathBuf],
    options: &Options,
    sink: &dyn Sink,
    handle: &mut dyn FnMut(usize, Prediction) -> Result<bool>,
) -> Result<usize> {
    Work::new(predictor, options)?.each(inputs, false, sink, &mut |i, pending| handle(i, pending.finish()))
}

/// A picture as it was read: what the network takes.
#[derive(Debug)]
struct Read {
    size: Size,
    views: Vec<View>,
    /// The picture to look at, where it is wanted.
    shown: Option<RgbImage>,
    reserved: Option<Reservation>,
}

/// What reading threads know.
#[derive(Debug, Clone)]
struct Reading {
    descriptor: Descriptor,
    procedure: Procedure,
    budget: Budget,
}

impl Reading {
    /// Reads the picture whose turn it is, when there is room for it.
    fn read(&self, turn: usize, path: &Path, shown: bool) -> Result<Read> {
        let reserved = self.budget.admit(path, turn)?;
        let picture = read_image(path)?;
        // The beginning of the file may not have told the size.
        self.budget.check(path, picture.size)?;
        let shown = shown.then(|| picture.clone().to_rgb());
        Ok(Read { shown, reserved: Some(reserved), ..self.prepare(path, picture)? })
    }

    /// The picture at the sizes that it is looked at.
    fn prepare(&self, path: &Path, picture: Raster) -> Result<Read> {
        let size = picture.size;
        let sizes = self.procedure.views(size);
        // The last view takes the picture itself.
        let last = if self.procedure.float_scaling { picture.into_floats() } else { picture };
        let copies: Vec<Raster> = vec![last.clone(); sizes.len().saturating_sub(1)];
        let view = |(picture, view): (Raster, Size)| {
            let planes = network_input(path, &picture.resized(view, self.procedure.scaling), &self.descriptor)?;
            Ok(View { size: view, planes })
        };
        let views = copies.into_iter().chain([last]).zip(sizes).map(view).collect::<Result<_>>()?;
        Ok(Read { size, views, shown: None, reserved: None })
    }
}

/// A picture whose looks are not averaged yet, or are.
#[derive(Debug)]
struct Pending {
    size: Size,
    seen: Seen,
    wanted: Wanted,
    shown: Option<RgbImage>,
    /// Held until this is gone.
    reserved: Option<Reservation>,
}

#[derive(Debug)]
enum Seen {
    Looks(Vec<Look>),
    All(Decision),
}

impl Pending {
    fn finish(self) -> Prediction {
        let size = self.size;
        let decision = match self.seen {
            Seen::Looks(looks) => decide(&looks, size, 0..size.height, self.wanted),
            Seen::All(decision) => decision,
        };
        Prediction {
            labels: LabelMap { size, classes: decision.classes },
            probability: decision.highest,
            probabilities: decision.all,
        }
    }
}

/// Takes what was seen of a picture, with the index of the input; whether there should be more.
type Handle<'a> = dyn FnMut(usize, Pending) -> Result<bool> + 'a;

/// Everything that one piece of work needs.
struct Work<'a> {
    predictor: &'a Predictor,
    options: &'a Options,
    reading: Arc<Reading>,
    budget: Budget,
}

impl<'a> Work<'a> {
    fn new(predictor: &'a Predictor, options: &'a Options) -> Result<Self> {
        let budget = Budget::new(predictor, options)?;
        let (descriptor, procedure) = (predictor.descriptor.clone(), options.procedure.clone());
        let reading = Arc::new(Reading { descriptor, procedure, budget: budget.clone() });
        Ok(Self { predictor, options, reading, budget })
    }

    /// Reads pictures ahead, gathers neighbours of one size and computes them together.
    fn each(&self, inputs: &[PathBuf], shown: bool, sink: &dyn Sink, handle: &mut Handle<'_>) -> Result<usize> {
        let (paths, reading) = (inputs.to_vec(), Arc::clone(&self.reading));
        let reads = ordered(inputs.len(), self.options.workers, move |i| reading.read(i, &paths[i], shown));
        let mut group: Vec<(usize, Read)> = Vec::new();
        let mut skipped = 0;
        // Everything before the next picture is done or was skipped.
        let mut flush = |group: &mut Vec<(usize, Read)>, done: usize| -> Result<bool> {
            let go_on = self.compute(std::mem::take(group), handle)?;
            sink.event(Event::Advanced { done, loss: None });
            Ok(go_on)
        };
        sink.event(Event::Started { task: Task::Predict, total: inputs.len(), done: 0 });
        let mut go_on = true;
        for (i, read) in reads.enumerate() {
            match read {
                Err(e) => {
                    skipped += 1;
                    sink.event(Event::Skipped { path: inputs[i].clone(), reason: e.to_string() });
                }
                Ok(read) => {
                    if group.last().is_some_and(|(_, last)| last.size != read.size) {
                        go_on = flush(&mut group, i)?;
                    }
                    let full = group.len() + 1 >= self.group_size(read.size);
                    group.push((i, read));
                    let bytes =
                        group.iter().filter_map(|(_, read)| read.reserved.as_ref()).map(|held| held.bytes).sum();
                    if go_on && (full || !self.budget.may_wait(bytes)) {
                        go_on = flush(&mut group, i + 1)?;
                    }
                }
            }
            if !go_on {
                break;
            }
        }
        if go_on && !group.is_empty() {
            flush(&mut group, inputs.len())?;
        }
        sink.event(Event::Finished);
        Ok(skipped)
    }

    /// Pictures of a size that are computed together.
    fn group_size(&self, size: Size) -> usize {
        let views = self.options.procedure.views(size);
        let in_windows = |tiles: Tiles| views.iter().any(|view| view.width.max(view.height) > tiles.side);
        if self.options.procedure.tiles.is_some_and(in_windows) {
            return 1;
        }
        let looks = if self.options.procedure.flip { 2 } else { 1 };
        let fitting = views.iter().map(|view| self.budget.at_once(*view)).min().unwrap_or(1);
        (fitting / looks).max(1)
    }

    /// Computes pictures of one size.
    fn compute(&self, pictures: Vec<(usize, Read)>, handle: &mut Handle<'_>) -> Result<bool> {
        let Some(size) = pictures.first().map(|(_, read)| read.size) else { return Ok(true) };
        let procedure = &self.options.procedure;
        let at_once = |size| self.budget.at_once(size);
        let predictor = self.predictor;
        let seer = Seer {
            network: &predictor.network,
            device: &predictor.device,
            precision: predictor.precision,
            bands: predictor.descriptor.bands,
            at_once: &at_once,
        };
        let mut looks: Vec<Vec<Look>> = pictures.iter().map(|_| Vec::new()).collect();
        for view in 0..pictures[0].1.views.len() {
            let views: Vec<&View> = pictures.iter().map(|(_, read)| &read.views[view]).collect();
            let tiles = procedure.tiles.filter(|tiles| {
                let Size { width, height } = views[0].size;
                tiles.padded || width.max(height) > tiles.side
            });
            let seen = match tiles {
                None => seer.whole(&views, size, procedure)?,
                Some(tiles) if self.is_large(&pictures, tiles) => {
                    for (i, read) in pictures {
                        let seen = Seen::All(self.in_strips(&seer, &read.views[0], tiles, size)?);
                        if !handle(i, self.pending(read, seen))? {
                            return Ok(false);
                        }
                    }
                    return Ok(true);
                }
                Some(tiles) => views.iter().map(|view| seer.tiled(view, tiles, procedure)).collect::<Result<_>>()?,
            };
            looks.iter_mut().zip(seen).for_each(|(looks, seen)| looks.extend(seen));
        }
        for ((i, read), looks) in pictures.into_iter().zip(looks) {
            if !handle(i, self.pending(read, Seen::Looks(looks)))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn pending(&self, read: Read, seen: Seen) -> Pending {
        let Read { size, shown, reserved, .. } = read;
        Pending { size, seen, wanted: self.options.wanted, shown, reserved }
    }

    /// Whether windows go over one size of the picture, once, so that rows can be decided on as they are complete.
    fn is_large(&self, pictures: &[(usize, Read)], tiles: Tiles) -> bool {
        let procedure = &self.options.procedure;
        let once = !procedure.flip || procedure.join == Join::Probabilities;
        once && !tiles.padded && pictures.iter().all(|(_, read)| read.views.len() == 1)
    }

    /// Goes over a view from the top down and decides on the picture's rows as soon as they are known, so that only the
    /// scores of a few rows are held.
    fn in_strips(&self, seer: &Seer<'_>, view: &View, tiles: Tiles, picture: Size) -> Result<Decision> {
        let procedure = &self.options.procedure;
        let wanted = self.options.wanted;
        let mut decision = Decision {
            classes: Vec::with_capacity(picture.width * picture.height),
            highest: wanted.highest.then(Vec::new),
            all: None,
        };
        let mut strips: Vec<(usize, Vec<f32>)> = Vec::new();
        let mut held: Option<Look> = None;
        let mut done = 0;
        seer.sweep(view, tiles, procedure, &mut |rows: ScoreMap| {
            let look = match held.take() {
                None => Look { map: rows, enlargement: procedure.upsample, share: 1.0 },
                Some(mut look) => {
                    look.map.values.extend(rows.values);
                    look
                }
            };
            let bottom = look.map.top + look.map.values.len() / (look.map.size.width * look.map.classes);
            let known = rows_known(&look, bottom, picture);
            let looks = [look];
            let strip = decide(&looks, picture, done..known, wanted);
            decision.classes.extend(strip.classes);
            decision.highest.iter_mut().for_each(|all| all.extend(strip.highest.iter().flatten()));
            strips.extend(strip.all.map(|all| (known - done, all)));
            done = known;
            let [mut look] = looks;
            look.drop_above(done, picture);
            held = Some(look);
            Ok(())
        })?;
        decision.all = wanted.all.then(|| stacked(&strips, picture));
        Ok(decision)
    }
}

/// Strips `[classes, rows, width]` as one `[classes, height, width]`.
fn stacked(strips: &[(usize, Vec<f32>)], size: Size) -> Vec<f32> {
    let filled = strips.iter().find(|(rows, _)| *rows > 0);
    let classes = filled.map_or(0, |(rows, strip)| strip.len() / (rows * size.width));
    let mut all = Vec::with_capacity(classes * size.width * size.height);
    for class in 0..classes {
        for (rows, strip) in strips {
            all.extend_from_slice(&strip[class * rows * size.width..][..rows * size.width]);
        }
    }
    all
}
