//! From images to label maps: at one size or several, plain and mirrored, whole or window by window.

pub mod forest;
pub mod merge;
pub mod network;

mod output;
mod record;
mod target;
mod words;

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

use burn::tensor::Device;

use crate::base::LabelMap;
use crate::base::event::Sink;
use crate::base::{Error, Result, require};
use crate::data::{Dataset, Normalisation, ValidPixels, prepared};
use crate::image::{Image, orientation_policy, report_notes};
use crate::nn::activation::{Activation, Rule};
use crate::nn::device::DeviceChoice;
use crate::nn::model::{InferenceNetwork, Network, NetworkConfig, checksum_of};
use crate::nn::precision::Precision;
use crate::run::NetworkRun;
use crate::weights::{self, Names, Report, Weights};
use merge::Wanted;

use network::work::{Pending, Work, not_numbers};
pub use network::{Choices, Join, Preset, Procedure, Scales, Sizes, Tiles};
pub use output::{Along, NpyType, Outputs};
pub use record::{Maker, RECORD, Record, origins};
pub(crate) use target::Claim;
pub use target::Target;

/// Weights of so many classes are ADE20K's, if nobody says otherwise.
const ADE20K_CLASSES: usize = 150;
/// Weights of the oil-seep system of so many classes are for its own data set.
const SEEPS_CLASSES: usize = 8;

/// A trained network with what its classes mean.
#[derive(Debug)]
pub struct Predictor {
    network: InferenceNetwork,
    /// Where its weights come from, and what tells them from others.
    source: String,
    checksum: String,
    config: NetworkConfig,
    dataset: Dataset,
    choice: DeviceChoice,
    device: Device,
    precision: Precision,
    rule: Rule,
}

/// The result for one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The class of every pixel.
    pub labels: LabelMap,
    /// Its probability, if asked for.
    pub probability: Option<Vec<f32>>,
    /// The probabilities of all classes, `[classes, height, width]`, if asked for.
    pub probabilities: Option<Vec<f32>>,
}

impl Prediction {
    /// Takes class and probabilities away from pixels without data: they are "not labelled", of probability 0.
    pub(crate) fn leave_out(&mut self, nodata: Option<&[bool]>) {
        let Some(nodata) = nodata else { return };
        self.labels.leave_out(nodata);
        let planes = self.probabilities.iter_mut().flat_map(|all| all.chunks_exact_mut(nodata.len()));
        for plane in self.probability.iter_mut().map(Vec::as_mut_slice).chain(planes) {
            plane.iter_mut().zip(nodata).filter(|(_, nodata)| **nodata).for_each(|(value, _)| *value = 0.0);
        }
    }
}

impl Predictor {
    /// Loads the best weights of a run.
    pub fn open(run: &Path, device: DeviceChoice, precision: Precision) -> Result<Self> {
        let run = NetworkRun::open(run)?;
        run.config.dataset.follow_orientation();
        let path = run.weights_path();
        if !path.exists() {
            let reason = "the run has no model.safetensors yet: it is written after the first epoch; let the training go on \
                 with `resume`";
            return Err(Error::content(run.folder(), reason));
        }
        let choice = device.resolve()?;
        let device = choice.open_for(precision)?;
        let rule = run.config.recipe.rule();
        let source = format!("run {}", run.folder().display());
        let config = run.config.recipe.network;
        let network = weights::load(config.hollow(&device)?, &path)?;
        let given = Given { source, network, config, dataset: run.config.dataset, rule };
        given.on(choice, device, precision)
    }

    /// Weights without a run. What their classes are, `dataset` says; without one the file, if it knows; else 150 classes
    /// are ADE20K's, and others have label values 0 to K-1. Images are normalised as the weights are known to need it, else as the data set says.
    pub fn from_weights(
        weights: &Weights,
        dataset: Option<Dataset>,
        device: DeviceChoice,
        precision: Precision,
    ) -> Result<(Self, Report)> {
        let config = weights.network()?.clone();
        let dataset = dataset_of(weights, &config, dataset)?;
        let choice = device.resolve()?;
        let device = choice.open_for(precision)?;
        let (network, report) = weights.load(config.hollow(&device)?, false)?;
        let (source, rule) = (weights.checkpoint.label(), weights.description.rule());
        let given = Given { source, network, config, dataset, rule };
        Ok((given.on(choice, device, precision)?, report))
    }

    /// A network that is at hand, which decides by `rule`, on `choice`, in float32.
    pub fn from_network(
        config: NetworkConfig,
        network: Network,
        dataset: Dataset,
        rule: Rule,
        choice: DeviceChoice,
    ) -> Result<Self> {
        let choice = choice.resolve()?;
        let device = choice.open()?;
        let given = Given { source: "a network in memory".into(), network, config, dataset, rule };
        given.on(choice, device, Precision::Float32)
    }

    /// Takes a class for there only above another probability, from 0 to below 1. An error without a sigmoid.
    pub fn set_threshold(&mut self, threshold: f64) -> Result<()> {
        require((0.0..1.0).contains(&threshold), "threshold", threshold, "a probability from 0 to below 1")?;
        match &mut self.rule {
            Rule::Above(own) => *own = threshold as f32,
            Rule::MostProbable => {
                let reason = "is for networks with a sigmoid; this one has a softmax, and the most probable class is taken, so \
                              leave it out";
                return Err(Error::conflict("threshold", reason));
            }
        }
        Ok(())
    }

    /// The network.
    pub fn network(&self) -> &NetworkConfig {
        &self.config
    }

    /// What images it takes and what its classes mean.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// What makes the predictions by this procedure. Devices and batches, which change no more than roundings, do not
    /// count.
    pub fn maker(&self, procedure: &Procedure) -> Maker {
        let rule = match self.rule {
            Rule::MostProbable => "the most probable class".to_owned(),
            Rule::Above(threshold) => format!("above {threshold}"),
        };
        let orientation = orientation_policy();
        let options = format!("{procedure}; {rule}; {}; orientation {orientation}", self.precision);
        Maker::new(self.source.clone(), self.checksum.clone(), &self.dataset, options)
    }

    /// Predicts an image that has been decoded; `name` is what errors call it.
    pub fn predict(&self, name: &Path, image: Image, options: &Options) -> Result<Prediction> {
        let work = Work::new(self, options)?;
        work.budget.check(name, image.size)?;
        let read = work.reading.prepare(name, prepared(name, image, &self.dataset)?)?;
        let mut found = Vec::new();
        work.compute(vec![(0, read)], &mut |_, pending| {
            found.push(pending.finish());
            Ok(true)
        })?;
        found.pop().ok_or_else(|| not_numbers(name))
    }
}

/// What a predictor is made of.
struct Given {
    source: String,
    network: Network,
    config: NetworkConfig,
    dataset: Dataset,
    rule: Rule,
}

impl Given {
    fn on(self, choice: DeviceChoice, device: Device, precision: Precision) -> Result<Predictor> {
        let Self { source, network, config, dataset, rule } = self;
        let hyperparameters = serde_json::to_string(&config).map_err(|e| Error::failed("describe the network", e))?;
        let checksum = checksum_of(&hyperparameters, &network);
        let network = network.into();
        Ok(Predictor { network, source, checksum, config, dataset, choice, device, precision, rule })
    }
}

/// What the classes of weights mean and how their images are normalised.
fn dataset_of(weights: &Weights, config: &NetworkConfig, dataset: Option<Dataset>) -> Result<Dataset> {
    let (bands, outputs) = config.bands_and_outputs();
    let (bands, outputs) = (bands.unwrap_or(0), outputs.unwrap_or(0));
    let activation = weights.description.activation;
    let classes = activation.classes(outputs);
    let known = weights.description.normalisation.clone();
    let told = weights.description.dataset.as_deref().filter(|told| told.class_count() == classes);
    let mut dataset = match (dataset, told) {
        (Some(dataset), _) if activation == Activation::Sigmoid && classes == 2 => dataset.merged(),
        (Some(dataset), _) => dataset,
        (None, Some(told)) => {
            told.follow_orientation();
            told.clone()
        }
        (None, None) if classes == ADE20K_CLASSES => Dataset::find("ade20k")?,
        (None, None) if is_seeps(weights, classes) => Dataset::find("seeps")?,
        (None, None) => {
            let measured = Normalisation::PerDataset { valid: ValidPixels::All };
            let values = weights.checkpoint.label_values().filter(|values| values.len() == classes);
            Dataset::unnamed(classes, values, (bands, known.clone().unwrap_or(measured)))?
        }
    };
    if dataset.class_count() != classes {
        return Err(weights.checkpoint.error(format!(
            "the weights have {outputs} outputs{}, but data set '{}' has {} classes; give the one they were trained on",
            if activation == Activation::Sigmoid { " beside the background" } else { "" },
            dataset.name,
            dataset.class_count()
        )));
    }
    dataset.bands = bands;
    dataset.normalisation = known.unwrap_or(dataset.normalisation);
    dataset.normalisation.validate(bands).map_err(|reason| weights.checkpoint.error(reason))?;
    if let Normalisation::PerDataset { .. } = dataset.normalisation {
        return Err(weights.checkpoint.error(
            "how its images were normalised is not known; give a data set whose normalisation is fixed or per-image \
             with `dataset`",
        ));
    }
    Ok(dataset)
}

/// Whether weights are Oil_Seep_Detection's for its seven classes of seeps.
fn is_seeps(weights: &Weights, classes: usize) -> bool {
    matches!(weights.description.names, Names::Seeps | Names::SeepsResnet) && classes == SEEPS_CLASSES
}

/// How images are predicted.
#[derive(Debug, Clone)]
pub struct Options {
    /// From an image to its classes.
    pub procedure: Procedure,
    /// What is wanted besides the classes.
    pub wanted: Wanted,
    /// Most network inputs computed together: images of one size, mirrored looks, windows.
    pub batch_size: usize,
    /// Threads that read images.
    pub workers: usize,
    /// Most bytes to hold; what is free on this machine if left out.
    pub memory: Option<u64>,
}

impl Options {
    /// One look at whole images, `batch_size` of them together, read by `workers` threads.
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
    /// Whether it was stopped before all inputs were done.
    pub stopped: bool,
}

/// Predicts files and writes what `outputs` says for each into the folder of `target`, `predictions.json`, which says what
/// made them, and `predictions.txt`, the list of what was written. Reading, computing and writing overlap. An image that
/// cannot be read is reported and left out; a result that cannot be written ends the work.
///
/// # Errors
/// Among others: a result would take the place of an input, or of a file that `target` does not let go.
pub fn predict_files(
    predictor: &Predictor,
    inputs: &[PathBuf],
    target: &Target<'_>,
    outputs: &Outputs,
    options: &Options,
    sink: &dyn Sink,
) -> Result<Summary> {
    let maker = predictor.maker(&options.procedure);
    let mut claim = Claim::new(target, inputs, outputs, &maker)?;
    let options = Options { wanted: outputs.wanted(), ..options.clone() };
    let mut work = Work::new(predictor, &options)?;
    work.stop = target.stop;
    claim.begin(sink)?;
    let (sender, receiver) = sync_channel::<(usize, Pending)>(1);
    let (written, skipped) = thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<Vec<PathBuf>> {
            let write = |(i, mut pending): (usize, Pending)| {
                let (shown, _reserved) = (pending.shown.take(), pending.reserved.take());
                outputs.write(&predictor.dataset, &inputs[i], &pending.finish(), shown, target.folder)
            };
            receiver.into_iter().map(write).collect()
        });
        let computed = work.each(inputs, outputs.show_image(), sink, &mut |i, pending| {
            Ok(sender.send((i, pending)).is_ok() && !target.is_stopped())
        });
        drop(sender);
        let written = writer.join().expect("the writer thread panicked");
        // A failed write closes the channel, so its error comes first.
        written.and_then(|written| Ok((written, computed.or_else(at_a_stop)?)))
    })?;
    report_notes(sink);
    let stopped = target.is_stopped() && written.len() + skipped < inputs.len();
    claim.finish(&written, !stopped, sink)?;
    Ok(Summary { written, skipped, stopped })
}

/// An image that was given up because of a stop counts as not begun.
fn at_a_stop(error: Error) -> Result<usize> {
    if matches!(error, Error::Stopped) { Ok(0) } else { Err(error) }
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
    let skipped =
        Work::new(predictor, options)?.each(inputs, false, sink, &mut |i, pending| handle(i, pending.finish()));
    report_notes(sink);
    skipped
}
