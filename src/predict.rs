//! From pictures to label maps on disk.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Device, Tensor, TensorData};

use crate::data::{Descriptor, Normalisation, ValidPixels, load_image, ordered};
use crate::device::DeviceChoice;
use crate::error::{Error, Result, Size};
use crate::evaluate::classes;
use crate::event::{Event, Sink, Task};
use crate::files::{create_folder, refuse_equal_outputs, write_bytes};
use crate::image::{write_label_npy, write_probability_npy};
use crate::label::LabelMap;
use crate::model::Network;
use crate::run::Run;
use crate::weights::{self, Report, Weights};

/// Weights of so many classes are ADE20K's, if nobody says otherwise.
const ADE20K_CLASSES: usize = 150;

/// A trained network with what its classes mean.
pub struct Predictor {
    network: Network,
    descriptor: Descriptor,
    device: Device,
}

/// The result for one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The most probable class of every pixel.
    pub labels: LabelMap,
    /// Its probability, if asked for.
    pub probability: Option<Vec<f32>>,
}

impl Predictor {
    /// Loads the best weights of a run.
    pub fn open(run: &Path, device: DeviceChoice) -> Result<Self> {
        let run = Run::open(run)?;
        let path = run.weights_path();
        if !path.exists() {
            return Err(Error::content(
                run.folder(),
                "the run has no model.safetensors yet: it is written after the first epoch; let the training go on \
                 with `segtool train --resume`",
            ));
        }
        let device = device.open()?;
        let network = weights::load(run.config.recipe.network.init(run.config.seed, &device)?, &path)?;
        Ok(Self { network, descriptor: run.config.dataset, device })
    }

    /// Weights without a run. What their classes are, `dataset` says; without one, 150 classes are ADE20K's and others have
    /// label values 0 to K-1. Pictures are normalised as the weights are known to need it, else as the data set says.
    pub fn from_weights(
        weights: &Weights,
        dataset: Option<Descriptor>,
        device: DeviceChoice,
    ) -> Result<(Self, Report)> {
        let network = weights.network()?;
        let (bands, outputs) = network.bands_and_outputs();
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
        let device = device.open()?;
        let (network, report) = weights.load(network.init(0, &device)?, false)?;
        Ok((Self { network, descriptor, device }, report))
    }

    /// What pictures it takes and what its classes mean.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Predicts normalised pictures `[bands, height, width]` that all have one size.
    pub fn predict(&self, size: Size, planes: &[Vec<f32>], probability: bool) -> Result<Vec<Prediction>> {
        let shape = [planes.len(), self.descriptor.bands, size.height, size.width];
        let input = Tensor::<4>::from_data(TensorData::new(planes.concat(), shape), &self.device);
        let logits = self.network.forward(input);
        let mut probabilities = match probability {
            true => Some(highest_probability(logits.clone())?.into_iter()),
            false => None,
        };
        let pixels = size.width * size.height;
        let classes = classes(logits)?;
        let predictions = classes.chunks_exact(pixels).map(|classes| Prediction {
            labels: LabelMap { size, classes: classes.to_vec() },
            probability: probabilities.as_mut().map(|p| p.by_ref().take(pixels).collect()),
        });
        Ok(predictions.collect())
    }
}

/// Probability of the class that [`classes`] picks, row by row.
fn highest_probability(logits: Tensor<4>) -> Result<Vec<f32>> {
    let [_, outputs, _, _] = logits.dims();
    let highest = if outputs == 1 {
        // The other class has 1 - p.
        let p = sigmoid(logits);
        p.clone().max_pair(p.neg() + 1.0)
    } else {
        softmax(logits, 1).max_dim(1)
    };
    highest.try_into_vec_as().map_err(|e| Error::Device(format!("the result could not be read from the device: {e}")))
}

/// How pictures are predicted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether the probability of the predicted class is wanted too.
    pub probability: bool,
    /// Pictures computed together where they have one size.
    pub batch_size: usize,
    /// Threads that read pictures.
    pub workers: usize,
}

/// What became of the inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The .npy files, in the order of the inputs.
    pub written: Vec<PathBuf>,
    /// Inputs that could not be read.
    pub skipped: usize,
}

/// Predicts files and writes `<stem>.npy` for each (and `<stem>_prob.npy`, if the probability is wanted) into the folder
/// `output`, and `predictions.txt` for all. Reading, computing and writing overlap. A picture that cannot be read is
/// reported and left out; a result that cannot be written ends the work.
pub fn predict_files(
    predictor: &Predictor,
    inputs: &[PathBuf],
    output: &Path,
    options: &Options,
    sink: &dyn Sink,
) -> Result<Summary> {
    let names = |input| output_names(input, options.probability).into_iter();
    let outputs = inputs.iter().flat_map(|input| names(input).map(|name| (output.join(name), input.as_path())));
    refuse_equal_outputs(outputs)?;
    create_folder(output)?;
    let (sender, receiver) = sync_channel::<(usize, Prediction)>(2 * options.batch_size);
    let (written, skipped) = thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<Vec<PathBuf>> {
            receiver
                .into_iter()
                .map(|(i, prediction)| write(&predictor.descriptor, &inputs[i], &prediction, output, options))
                .collect()
        });
        let computed = predict_each(predictor, inputs, options, sink, &mut |i, prediction| {
            Ok(sender.send((i, prediction)).is_ok())
        });
        drop(sender);
        let written = writer.join().expect("the writer thread panicked");
        // A failed write closes the channel, so its error comes first.
        written.and_then(|written| Ok((written, computed?)))
    })?;
    let summary = Summary { written, skipped };
    let list: String =
        summary.written.iter().filter_map(|p| p.file_name()).map(|n| format!("{}\n", n.to_string_lossy())).collect();
    write_bytes(&output.join("predictions.txt"), list.as_bytes())?;
    Ok(summary)
}

/// Reads pictures ahead, gathers neighbours of one size, computes them together and hands the predictions on with the
/// index of their input, in order, until `handle` declines. Returns how many could not be read; each is reported.
pub fn predict_each(
    predictor: &Predictor,
    inputs: &[PathBuf],
    options: &Options,
    sink: &dyn Sink,
    handle: &mut dyn FnMut(usize, Prediction) -> Result<bool>,
) -> Result<usize> {
    let (paths, descriptor) = (inputs.to_vec(), predictor.descriptor.clone());
    let reads = ordered(inputs.len(), options.workers, move |i| load_image(&paths[i], &descriptor));
    let mut group: Vec<(usize, Vec<f32>)> = Vec::new();
    let mut group_size = None;
    let (mut done, mut skipped) = (0, 0);
    let mut flush = |group: &mut Vec<(usize, Vec<f32>)>, size: Option<Size>| -> Result<bool> {
        let Some(size) = size.filter(|_| !group.is_empty()) else { return Ok(true) };
        let (indices, planes): (Vec<_>, Vec<_>) = group.drain(..).unzip();
        let predictions = predictor.predict(size, &planes, options.probability)?;
        done += indices.len();
        sink.event(Event::Advanced { done, loss: None });
        for (i, prediction) in indices.into_iter().zip(predictions) {
            if !handle(i, prediction)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    sink.event(Event::Started { task: Task::Predict, total: inputs.len(), done: 0 });
    let mut go_on = true;
    for (i, read) in reads.enumerate() {
        match read {
            Err(e) => {
                skipped += 1;
                sink.event(Event::Skipped { path: inputs[i].clone(), reason: e.to_string() });
            }
            Ok((size, planes)) => {
                if group_size != Some(size) || group.len() == options.batch_size {
                    go_on = flush(&mut group, group_size)?;
                }
                group_size = Some(size);
                group.push((i, planes));
            }
        }
        if !go_on {
            break;
        }
    }
    if go_on {
        flush(&mut group, group_size)?;
    }
    sink.event(Event::Finished);
    Ok(skipped)
}

fn write(
    descriptor: &Descriptor,
    input: &Path,
    prediction: &Prediction,
    output: &Path,
    options: &Options,
) -> Result<PathBuf> {
    let paths: Vec<PathBuf> =
        output_names(input, options.probability).into_iter().map(|name| output.join(name)).collect();
    let size = prediction.labels.size;
    let values: Vec<u16> = prediction.labels.classes.iter().map(|&c| descriptor.value_of(c)).collect();
    write_label_npy(&paths[0], size, &values, descriptor.largest_value())?;
    if let (Some(probability), Some(path)) = (&prediction.probability, paths.get(1)) {
        write_probability_npy(path, size, probability)?;
    }
    Ok(paths[0].clone())
}

/// Names of the results of an input: label values, and probabilities if asked for.
fn output_names(input: &Path, probability: bool) -> Vec<String> {
    let stem = input.file_stem().unwrap_or_default().to_string_lossy();
    let mut names = vec![format!("{stem}.npy")];
    names.extend(probability.then(|| format!("{stem}_prob.npy")));
    names
}
