//! From pictures to label maps: at one size or several, plain and mirrored, whole or window by window.

mod look;
mod memory;
mod output;
mod procedure;
mod work;

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

use burn::tensor::Device;

use crate::activation::{Activation, Rule};
use crate::data::{Descriptor, Normalisation, ValidPixels, prepared};
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::event::Sink;
use crate::files::{create_folder, write_bytes};
use crate::fuse::Wanted;
use crate::image::{Raster, report_notes};
use crate::label::LabelMap;
use crate::model::{InferenceNetwork, Network, NetworkConfig};
use crate::precision::Precision;
use crate::run::Run;
use crate::weights::{self, Names, Report, Weights};

pub(crate) use memory::in_words;
pub use output::{Along, NpyType, Outputs};
pub use procedure::{Choices, Join, Preset, Procedure, Scales, Sizes, Tiles};
use work::{Pending, Work};

/// Weights of so many classes are ADE20K's, if nobody says otherwise.
const ADE20K_CLASSES: usize = 150;
/// Weights of the oil-seep system of so many classes are for its own data set.
const SEEPS_CLASSES: usize = 8;

/// A trained network with what its classes mean.
#[derive(Debug)]
pub struct Predictor {
    network: InferenceNetwork,
    config: NetworkConfig,
    descriptor: Descriptor,
    choice: DeviceChoice,
    device: Device,
    precision: Precision,
    rule: Rule,
}

/// The result for one picture.
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
        let run = Run::open(run)?;
        run.config.dataset.follow_orientation();
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
        let rule = run.config.recipe.rule();
        let config = run.config.recipe.network;
        let network = weights::load(config.hollow(&device)?, &path)?.into();
        Ok(Self { network, config, descriptor: run.config.dataset, choice, device, precision, rule })
    }

    /// Weights without a run. What their classes are, `dataset` says; without one the file, if it knows; else 150 classes
    /// are ADE20K's, and others have label values 0 to K-1. Pictures are normalised as the weights are known to need it, else as the data set says.
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
        let rule = weights.description.rule();
        Ok((Self { network: network.into(), config, descriptor, choice, device, precision, rule }, report))
    }

    /// A network that is at hand, which decides by `rule`, on `choice`, in float32.
    pub fn from_network(
        config: NetworkConfig,
        network: Network,
        descriptor: Descriptor,
        rule: Rule,
        choice: DeviceChoice,
    ) -> Result<Self> {
        let (choice, precision) = (choice.resolve()?, Precision::Float32);
        let device = choice.open()?;
        Ok(Self { network: network.into(), config, descriptor, choice, device, precision, rule })
    }

    /// Takes a class for there only above another probability, from 0 to below 1. An error without a sigmoid.
    pub fn set_threshold(&mut self, threshold: f64) -> Result<()> {
        if !(0.0..1.0).contains(&threshold) {
            return Err(Error::Config(format!("the threshold is a probability from 0 to below 1, not {threshold}")));
        }
        match &mut self.rule {
            Rule::Above(own) => *own = threshold as f32,
            Rule::MostProbable => {
                return Err(Error::Config(
                    "a threshold is for networks with a sigmoid; this one has a softmax, and the most probable class is \
                     taken; leave out --threshold"
                        .into(),
                ));
            }
        }
        Ok(())
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
        let read = work.reading.prepare(name, prepared(name, picture, &self.descriptor)?)?;
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
    let activation = weights.description.activation;
    let classes = activation.classes(outputs);
    let known = weights.description.normalisation.clone();
    let told = weights.description.dataset.as_deref().filter(|told| told.class_count() == classes);
    let mut descriptor = match (dataset, told) {
        (Some(dataset), _) if activation == Activation::Sigmoid && classes == 2 => dataset.merged(),
        (Some(dataset), _) => dataset,
        (None, Some(told)) => {
            told.follow_orientation();
            told.clone()
        }
        (None, None) if classes == ADE20K_CLASSES => Descriptor::find("ade20k")?,
        (None, None) if is_seeps(weights, classes) => Descriptor::find("seeps")?,
        (None, None) => {
            let measured = Normalisation::PerDataset { valid: ValidPixels::All };
            let values = weights.checkpoint.label_values().filter(|values| values.len() == classes);
            Descriptor::unnamed(classes, values, (bands, known.clone().unwrap_or(measured)))?
        }
    };
    if descriptor.class_count() != classes {
        return Err(weights.checkpoint.error(format!(
            "the weights have {outputs} outputs{}, but data set '{}' has {} classes; give the one they were trained on",
            if activation == Activation::Sigmoid { " beside the background" } else { "" },
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

/// Whether weights are Oil_Seep_Detection's for its seven classes of seeps.
fn is_seeps(weights: &Weights, classes: usize) -> bool {
    matches!(weights.description.names, Names::Seeps | Names::SeepsResnet) && classes == SEEPS_CLASSES
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

impl Summary {
    /// Writes `predictions.txt`, the list of what was written, if anything was.
    pub(crate) fn write_list(&self, folder: &Path) -> Result<()> {
        if self.written.is_empty() {
            return Ok(());
        }
        let name = |path: &PathBuf| path.file_name().map(|name| format!("{}\n", name.to_string_lossy()));
        let list: String = self.written.iter().filter_map(name).collect();
        write_bytes(&folder.join("predictions.txt"), list.as_bytes())
    }
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
            work.each(inputs, outputs.show_picture(), sink, &mut |i, pending| Ok(sender.send((i, pending)).is_ok()));
        drop(sender);
        let written = writer.join().expect("the writer thread panicked");
        // A failed write closes the channel, so its error comes first.
        written.and_then(|written| Ok((written, computed?)))
    })?;
    report_notes(sink);
    let summary = Summary { written, skipped };
    summary.write_list(output)?;
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
    let skipped =
        Work::new(predictor, options)?.each(inputs, false, sink, &mut |i, pending| handle(i, pending.finish()));
    report_notes(sink);
    skipped
}
