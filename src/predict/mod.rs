//! From images to label maps, with a network or a random forest: at one size or several, whole or in sliding windows.

mod encoded;
pub mod forest;
pub mod formats;
mod free_folder;
mod journal;
mod label_file;
mod listing;
#[doc(hidden)]
pub mod merge;
pub(crate) mod model;
pub mod network;
mod options;
mod output;
mod planned;
mod prediction;
mod record;
mod recording;
mod remote;
mod shard;
mod strips;
mod target;
mod watch;
mod words;
mod writing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::base::event::Sink;
use crate::base::store;
use crate::base::{Error, Result, Size};
use crate::data::Dataset;
use crate::image::{Image, report_notes};
use crate::nn::activation::Rule;
use crate::nn::device::DeviceChoice;
use crate::nn::model::{Network, NetworkConfig};
use crate::nn::precision::Precision;
use crate::recipe::Kind;
use crate::run::Run;
pub use crate::tools::polygons::{GeojsonCrs, PolygonOptions};
use crate::weights::{Report, Weights};

use forest::ForestPredictor;
pub use formats::Formats;
pub use journal::{JOURNAL, Line, State, Version, read_journal};
pub use label_file::NpyType;
pub use listing::list_of;
pub use merge::Wanted;
use model::{Form, Model, Part};
use network::NetworkPredictor;
pub use network::{Blend, Border, Choices, Join, Preset, Procedure, Scales, Sizes, Tiles};
pub use options::Options;
pub use output::{Along, Outputs};
pub use prediction::Prediction;
pub use record::{Maker, RECORD, Record, origins};
use recording::Recording;
use remote::Remote;
pub use shard::Shard;
pub use target::Target;
use target::{Claim, Listed};
pub use watch::Watch;
use writing::Writing;

/// A trained model, of whatever kind, with what its classes mean.
#[derive(Debug)]
pub struct Predictor {
    model: Box<dyn Model>,
}

/// What became of the inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The label maps that were written, in the order of the inputs: of each the first of .npy, .tif, .png and .geojson that
    /// was asked for.
    pub written: Vec<PathBuf>,
    /// Number of inputs; with a shard, of those in the shard.
    pub inputs: usize,
    /// Inputs whose results were complete already, and were kept.
    pub kept: usize,
    /// Inputs that could not be read.
    pub skipped: usize,
    /// Whether it was stopped before all inputs were done.
    pub stopped: bool,
    /// How long it took from the first image to the last result.
    pub elapsed: Duration,
    /// How long of that the network computed; nothing of a forest. The rest went to waiting for images, and for results to
    /// be written.
    pub network: Option<Duration>,
}

impl Predictor {
    /// Opens a run folder, of a network (its best weights) or of a random forest, on [`DeviceChoice::Auto`]: an NVIDIA GPU
    /// if libtorch finds one, otherwise the CPU. Computes in float32.
    ///
    /// # Errors
    ///
    /// If the folder is no run, or one of its files is missing or damaged.
    pub fn open(run: impl AsRef<Path>) -> Result<Self> {
        Self::open_on(run, DeviceChoice::Auto, Precision::Float32)
    }

    /// [`Self::open`] on a device of choice; a forest's features are computed in float32 alone.
    pub fn open_on(run: impl AsRef<Path>, device: DeviceChoice, precision: Precision) -> Result<Self> {
        let model: Box<dyn Model> = match Run::open(run)? {
            Run::Network(run) => Box::new(NetworkPredictor::open(run, device, precision)?),
            Run::Forest(_) if !matches!(precision, Precision::Float32 | Precision::Auto) => {
                let expected = "float32, in which the features of a random forest are computed";
                return Err(Error::invalid("precision", precision, expected));
            }
            Run::Forest(run) => Box::new(ForestPredictor::open(&run, device)?),
        };
        Ok(Self { model })
    }

    /// A network's weights without a run. What their classes are, `dataset` says; without one the file, if it knows; else
    /// 150 classes are ADE20K's, and others have label values 0 to K-1. Images are normalised as the weights are known to
    /// need it, else as the data set says.
    pub fn from_weights(
        weights: &Weights,
        dataset: Option<Dataset>,
        device: DeviceChoice,
        precision: Precision,
    ) -> Result<(Self, Report)> {
        let (model, report) = NetworkPredictor::from_weights(weights, dataset, device, precision)?;
        Ok((Self { model: Box::new(model) }, report))
    }

    /// A network in memory that decides by `rule`, on `device`, in float32.
    pub fn from_network(
        config: NetworkConfig,
        network: Network,
        dataset: Dataset,
        rule: Rule,
        device: DeviceChoice,
    ) -> Result<Self> {
        Ok(Self { model: Box::new(NetworkPredictor::from_network(config, network, dataset, rule, device)?) })
    }

    /// The kind of model.
    pub fn kind(&self) -> Kind {
        self.model.kind()
    }

    /// What images it takes and what its classes mean.
    pub fn dataset(&self) -> &Dataset {
        self.model.dataset()
    }

    /// Sets the probability above which a class counts as present, from 0 to below 1.
    ///
    /// # Errors
    ///
    /// If the model has no sigmoid, or the number is out of range.
    pub fn set_threshold(&mut self, threshold: f64) -> Result<()> {
        self.model.set_threshold(threshold)
    }

    /// What makes the predictions with these options, as `predictions.json` keeps it.
    pub fn maker(&self, options: &Options) -> Result<Maker> {
        self.model.maker(options)
    }

    /// The largest side of sliding windows, of 256 to 1024, of which a batch fits into half of the memory that `options`
    /// allow or this machine has free; else one of 64 to 256 of which a single window does.
    ///
    /// # Errors
    ///
    /// If the model is a random forest, which needs no windows to be chosen.
    pub fn largest_tile(&self, options: &Options) -> Result<usize> {
        self.model.largest_tile(options)
    }

    /// Says whether an image of that size fits into the memory that `options` allow or this machine has free; `path` is
    /// what errors call it.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`], with what would make it fit.
    pub fn check_memory(&self, path: &Path, size: Size, options: &Options) -> Result<()> {
        self.model.check_memory(path, size, options)
    }

    /// Settles how images are predicted, for whoever takes the predictions as they come. Once `stop` is set, an image that
    /// is gone over in windows is given up.
    #[cfg(feature = "serve")]
    pub(crate) fn work<'a>(
        &'a self,
        options: &'a Options,
        stop: Option<&'a std::sync::atomic::AtomicBool>,
    ) -> Result<Box<dyn model::Work + 'a>> {
        self.model.work(options, stop)
    }

    /// Predicts a decoded image at its own size, without probabilities: a network the whole image, a random forest in windows
    /// if memory requires it.
    ///
    /// # Errors
    ///
    /// If the bands of the image do not fit the model, or [`Error::Memory`] if there is too little memory; with a network,
    /// [`Self::predict_with`] then takes sliding windows.
    pub fn predict(&self, image: &Image) -> Result<Prediction> {
        self.predict_with(Path::new("image"), image.clone(), &Options::default())
    }

    /// Predicts a decoded image with options; `name` is what errors call it.
    pub fn predict_with(&self, name: &Path, image: Image, options: &Options) -> Result<Prediction> {
        self.model.work(options, None)?.one(name, image)
    }

    /// The first of the folders `base`, `base-2`, `base-3`, ... that holds no results of other weights, options or images.
    pub fn free_folder(
        &self,
        target: &Target<'_>,
        inputs: &[PathBuf],
        outputs: &Outputs,
        options: &Options,
    ) -> Result<PathBuf> {
        free_folder::free_folder(target, inputs, outputs, &self.maker(options)?)
    }

    /// Predicts files, or objects in stores by their URLs, and writes what `outputs` says for each into the folder of
    /// `target`, which may be in a store. Also writes `predictions.json`, which records what made the results,
    /// `predictions.jsonl`, which says what became of each input, and `predictions.txt`, the list of the results.
    /// Reading, computing and writing overlap. An image that cannot be read, or that has no coordinates where its polygons
    /// are to be in longitude and latitude, is reported and left out; a result that cannot be written ends the work.
    ///
    /// # Errors
    ///
    /// Among others: a result would take the place of an input, or of a file that `target` does not let go.
    pub fn predict_files(
        &self,
        inputs: &[PathBuf],
        target: &Target<'_>,
        outputs: &Outputs,
        options: &Options,
        sink: &dyn Sink,
    ) -> Result<Summary> {
        let inputs = (inputs, Listed::Inputs);
        if !store::is_url(target.folder) {
            return self.predict_set(inputs, (target, None), outputs, options, sink);
        }
        let remote = Remote::open(target.folder, target.shard)?;
        let here = Target { folder: remote.folder(), ..*target };
        let done = self.predict_set(inputs, (&here, Some(&remote)), outputs, options, sink);
        done.map_err(|fault| remote.named(fault))
    }

    fn predict_set(
        &self,
        (inputs, listed): (&[PathBuf], Listed),
        (target, remote): (&Target<'_>, Option<&Remote>),
        outputs: &Outputs,
        options: &Options,
        sink: &dyn Sink,
    ) -> Result<Summary> {
        let maker = self.maker(options)?;
        outputs.check()?;
        let mut claim = Claim::new((target, remote), inputs, outputs, &maker)?;
        let options = Options { wanted: outputs.wanted(), ..options.clone() };
        let work = self.model.work(&options, target.stop)?;
        claim.begin(sink)?;
        claim.try_out(inputs);
        let recording = Recording::new(&claim, inputs, sink);
        let hanging = recording.leave_out_hanging(inputs);
        let to_do = claim.to_do();
        let paths: Vec<PathBuf> = to_do.iter().map(|&number| inputs[number].clone()).collect();
        let dataset = Arc::clone(self.model.dataset());
        // A batch waits to be written while the next is computed. Of strips only one waits: their memory is reckoned so.
        let (sender, receiver) = sync_channel::<(usize, Part)>(options.batch_size.min(to_do.len()));
        let (strip_waits, strip_taken) = sync_channel::<()>(1);
        let began = Instant::now();
        let computed = thread::scope(|scope| {
            let (claim, recording, to_do) = (&claim, &recording, &to_do);
            let writer = scope.spawn(move || -> Result<()> {
                let mut writing = Writing::new(outputs, &dataset);
                for (number, part) in receiver.into_iter().map(|(i, part)| (to_do[i], part)) {
                    if let Part::Strip(_) = part {
                        let _ = strip_taken.recv();
                    }
                    let (formats, folder) = claim.place(number);
                    match writing.take(part, (&inputs[number], formats), &folder) {
                        Ok(false) => {}
                        written => recording.written(number, written.map(drop))?,
                    }
                }
                Ok(())
            });
            let computed = work.each(&paths, outputs.form(), recording, &mut |i, part| {
                let writable = !matches!(part, Part::Strip(_)) || strip_waits.send(()).is_ok();
                Ok(writable && sender.send((i, part)).is_ok() && !target.is_stopped())
            });
            drop(sender);
            let written = writer.join().expect("the writer thread panicked");
            // A failed write closes the channel, so its error comes first.
            written.and(computed)
        });
        let elapsed = began.elapsed();
        report_notes(sink);
        let done = recording.done();
        let skipped = hanging + computed.inspect_err(|_| claim.give_up(&done, listed, sink))?;
        let stopped = target.is_stopped() && done.len() + skipped < hanging + to_do.len();
        claim.finish(&done, !stopped, listed, sink)?;
        let written = done.iter().map(|&number| claim.label_map(number)).collect();
        let (inputs, kept, network) = (claim.count(), claim.kept(), work.busy());
        Ok(Summary { written, inputs, kept, skipped, stopped, elapsed, network })
    }

    /// Predicts files and hands the predictions on with the index of their input, in order, until `handle` declines.
    /// Returns how many could not be read; each is reported.
    pub fn predict_each(
        &self,
        inputs: &[PathBuf],
        options: &Options,
        sink: &dyn Sink,
        handle: &mut dyn FnMut(usize, Prediction) -> Result<bool>,
    ) -> Result<usize> {
        let work = self.model.work(options, None)?;
        let skipped = work.each(inputs, Form::default(), sink, &mut |i, part| match part {
            Part::Whole(pending) => handle(i, pending.finish()),
            Part::Strip(_) | Part::Abandoned => Ok(true),
        });
        report_notes(sink);
        skipped
    }
}
