//! How long a forward pass or a training step of a recipe takes, on random images.

mod check;
mod scaling;

use std::collections::BTreeMap;
use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::base::named_enum::named_enum;
use crate::base::{Error, Remedy, Result, Size, require};
use crate::nn::activation::{Activation, Rule};
use crate::nn::cost::{inference_memory, training_memory};
use crate::nn::device::{DeviceChoice, free_memory, peak_memory};
use crate::nn::learner::{Learner, Part, Settings};
use crate::nn::loss::{Loss, Target};
use crate::nn::model::InferenceNetwork;
use crate::nn::ops::profile::{self, Asked};
use crate::nn::precision::Precision;
use crate::predict::merge::{Wanted, WeightedScores, decide, decide_on_device, decides_on_device};
use crate::recipe::{NetworkRecipe, OptimizerConfig};
pub use check::{Difference, check};
pub use scaling::{ScalingPoint, run_among};

/// Steps before the clock starts.
const WARM_UP: usize = 2;

/// Most different labels; the number does not matter for the time.
const LABELS: usize = 8;

/// Decides weights, images, labels and dropout.
const SEED: u64 = 0;

/// Learning rate of the steps.
const RATE: f64 = 1e-2;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A training step: forward, loss, backward, optimiser.
    Train,
    /// The most probable class of every pixel.
    Infer,
}

named_enum!(Mode, "mode", "train" => Train, "infer" => Infer);

/// What to measure, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The recipe, whose network is taken.
    pub recipe: NetworkRecipe,
    /// Output channels; those of the recipe's data set if left out.
    pub classes: Option<usize>,
    /// What is measured.
    pub mode: Mode,
    /// Images a step.
    pub batch: usize,
    /// Their width and height.
    pub size: usize,
    /// Where.
    pub device: DeviceChoice,
    /// In which numbers.
    pub precision: Precision,
    /// Steps to take the time of.
    pub steps: usize,
    /// Whether to run them once more for the time by kind of operation, and again for what they ask of the device.
    pub profile: bool,
    /// Whether a training step is the recipe's own (of its first phase), with its loss, optimiser, clipping, moving
    /// average and checkpointing; else SGD on the cross-entropy or, with a sigmoid, on the recipe's loss.
    pub own_step: bool,
}

impl Options {
    /// With what an automatic precision stands for.
    fn settled(&self) -> Result<Self> {
        Ok(Self { precision: self.device.settle(self.precision)?, ..self.clone() })
    }

    /// How a step of a phase learns: as the recipe says, or by SGD; from the recipe's loss, or from the cross-entropy.
    /// A sigmoid has an output fewer than there are classes, so that only the recipe's own loss goes with it.
    fn learning(&self, phase: usize) -> Result<(Settings, Loss)> {
        let phases = self.recipe.training.resolved_phases();
        let training = phases.get(phase).unwrap_or(&self.recipe.training);
        let settings = if self.own_step { Settings::from(training) } else { Settings::plain(OptimizerConfig::sgd()) };
        let loss = if self.own_step || self.recipe.activation == Activation::Sigmoid {
            Loss::new(&training.loss, self.recipe.activation, None)?
        } else {
            Loss::cross_entropy()
        };
        Ok((settings, loss))
    }
}

/// What was measured; displays as one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Name of the recipe.
    pub recipe: String,
    /// What was measured.
    pub mode: Mode,
    /// Where.
    pub device: String,
    /// In which numbers.
    pub precision: Precision,
    /// Images a step.
    pub batch: usize,
    /// Their width and height.
    pub size: usize,
    /// Seconds of each step, in order.
    pub times: Vec<f64>,
    /// Their median.
    pub seconds: f64,
    /// Images a second at the median.
    pub images_per_second: f64,
    /// The most memory held at a time, in bytes: of the process on a CPU, of tensors on a GPU.
    pub peak_memory: Option<u64>,
    /// Time by kind of operation, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Vec<Row>>,
    /// What a step asks of the device, if a profile was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operators: Option<Operators>,
}

/// What a step asks of the device, as the mean over some steps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Operators {
    /// Calls of libtorch's operators, without those that operators make of one another; none on flex.
    pub calls: f64,
    /// Calls that operators make of one another.
    pub nested: f64,
    /// How often numbers are read back.
    pub reads: f64,
    /// The calls by operator.
    pub by_name: BTreeMap<String, f64>,
}

impl Operators {
    fn of(asked: Asked, steps: usize) -> Self {
        let mean = |count: u64| count as f64 / steps as f64;
        let by_name: BTreeMap<String, f64> = asked.operators.into_iter().map(|(name, n)| (name, mean(n))).collect();
        Self { calls: by_name.values().sum(), nested: mean(asked.nested), reads: mean(asked.reads), by_name }
    }
}

/// One kind of operation in a profile.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The kind.
    pub kind: String,
    /// Seconds a step.
    pub seconds: f64,
    /// Share of the step, from 0 to 1.
    pub share: f64,
    /// Calls a step.
    pub calls: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peak = self.peak_memory.map_or(f64::NAN, |bytes| bytes as f64 / f64::from(1 << 30));
        write!(
            f,
            "segtool-{}-{}-{}-{} b{} s{} {:.4}s {:.2} images/s peak {} GiB",
            self.recipe,
            self.mode,
            self.device,
            self.precision,
            self.batch,
            self.size,
            self.seconds,
            self.images_per_second,
            // Rust writes NaN, the peers write nan.
            if peak.is_nan() { "nan".to_owned() } else { format!("{peak:.2}") }
        )
    }
}

/// Checks that there is something to measure, and that a step of each of `processes` on this machine fits into the free
/// memory.
fn check_work(options: &Options, processes: usize) -> Result<()> {
    for (name, value) in [("steps", options.steps), ("batch", options.batch), ("size", options.size)] {
        require(value > 0, name, value, "at least 1")?;
    }
    let Options { recipe, batch, size: side, device, precision, .. } = options;
    let (config, size) = (recipe.fitted_network(options.classes)?, Size { width: *side, height: *side });
    let memory = match options.mode {
        Mode::Infer => inference_memory(&config, size, *device)?,
        Mode::Train => {
            let (settings, loss) = options.learning(0)?;
            training_memory(&config, size, *device, &settings, &loss)?
        }
    };
    let memory = if *precision == Precision::Bf16 { memory.with_halved_images() } else { memory };
    let device = device.resolve()?;
    // Each GPU has its own memory.
    let here = if device.is_gpu() { 1 } else { processes as u64 };
    let (needed, free) = (memory.bytes(*batch), free_memory(device).unwrap_or(u64::MAX / 2) / here);
    if needed <= free {
        return Ok(());
    }
    let work = format!("a step on a batch of {batch} images of {size}");
    Err(Error::Memory { work, needed, free, remedies: vec![Remedy::Smaller("batch"), Remedy::Smaller("size")] })
}

/// Measures; a run begins with two steps that do not count.
pub fn run(options: &Options) -> Result<Report> {
    let options = &options.settled()?;
    check_work(options, 1)?;
    let mut work = Work::of_phase(options, 0)?;
    for _ in 0..WARM_UP {
        work.step()?;
    }
    let times = (0..options.steps).map(|_| work.timed_step()).collect::<Result<Vec<_>>>()?;
    let seconds = median(&times);
    let device = options.device.resolve()?;
    let peak_memory = peak_memory(device);
    let profile = if options.profile { Some(work.profile(options.steps)?) } else { None };
    let operators = if options.profile { Some(work.operators(options.steps)?) } else { None };
    Ok(Report {
        recipe: options.recipe.name.clone(),
        mode: options.mode,
        device: device.to_string(),
        precision: options.precision,
        batch: options.batch,
        size: options.size,
        images_per_second: options.batch as f64 / seconds,
        peak_memory,
        times,
        seconds,
        profile,
        operators,
    })
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// A network with something to do, and the images to do it with.
struct Work {
    job: Job,
    input: Tensor<4>,
    device: Device,
    optimizer_time: Duration,
}

/// A network and what is done with it.
enum Job {
    Train(Box<(Learner, Part)>),
    Infer(Box<InferenceNetwork>, Rule),
}

impl Work {
    /// The work of one of the recipe's phases, counted from 0.
    fn of_phase(options: &Options, phase: usize) -> Result<Self> {
        let Options { batch, size, mode, precision, .. } = *options;
        let config = options.recipe.fitted_network(options.classes)?;
        let (bands, outputs) = config.bands_and_outputs();
        let (bands, outputs) = (bands.unwrap_or_default(), outputs.unwrap_or_default());
        let device = options.device.open_for(precision)?;
        let network = config.init(SEED, &device)?;
        let device = if mode == Mode::Train { device.autodiff() } else { device };
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        // As wide as the standard normal distribution.
        let bound = 3f32.sqrt();
        let values: Vec<f32> = (0..batch * bands * size * size).map(|_| rng.random_range(-bound..bound)).collect();
        let input = Tensor::from_data(TensorData::new(values, [batch, bands, size, size]), &device);
        let job = match mode {
            Mode::Infer => Job::Infer(Box::new(network.into()), options.recipe.rule()),
            Mode::Train => {
                let classes = options.recipe.activation.classes(outputs);
                let labels = 0..classes.min(LABELS) as i32;
                let labels: Vec<i32> = (0..batch * size * size).map(|_| rng.random_range(labels.clone())).collect();
                let labels = Tensor::<3, Int>::from_data(TensorData::new(labels, [batch, size, size]), &device);
                let (settings, loss) = options.learning(phase)?;
                let learner = Learner::new(network.train(), settings, loss)?;
                let target = Target { labels, complete: true };
                let part = Part::whole(precision.of_input(input.clone()), target, SEED);
                Job::Train(Box::new((learner, part)))
            }
        };
        Ok(Self { job, input: precision.of_input(input), device, optimizer_time: Duration::ZERO })
    }

    /// One step, and until it is done.
    fn step(&mut self) -> Result<()> {
        match &mut self.job {
            Job::Train(training) => {
                let (learner, part) = &mut **training;
                // The loss stays on the device: nobody reads it.
                learner.step([part.clone()], RATE, 0);
            }
            Job::Infer(network, rule) => infer(network, *rule, &self.input)?,
        }
        wait(&self.device)
    }

    /// The seconds of a step.
    fn timed_step(&mut self) -> Result<f64> {
        let start = Instant::now();
        self.step().map(|()| start.elapsed().as_secs_f64())
    }

    /// A step whose optimiser has a clock of its own.
    fn split_step(&mut self) -> Result<()> {
        let Job::Train(training) = &mut self.job else { return self.step() };
        let (learner, part) = &mut **training;
        let (_, gradients) = learner.gradients(part.clone());
        wait(&self.device)?;
        let start = Instant::now();
        learner.apply(gradients, RATE, 0);
        wait(&self.device)?;
        self.optimizer_time += start.elapsed();
        Ok(())
    }

    /// What steps ask of the device.
    fn operators(&mut self, steps: usize) -> Result<Operators> {
        let (done, asked) = profile::counted(|| (0..steps).try_for_each(|_| self.step()));
        done.map(|()| Operators::of(asked, steps))
    }

    /// Time by kind of operation over some steps, the longest first; then the optimiser and what is left.
    fn profile(&mut self, steps: usize) -> Result<Vec<Row>> {
        profile::start();
        let start = Instant::now();
        let done = (0..steps).try_for_each(|_| self.split_step());
        let whole = start.elapsed();
        let kinds = profile::stop();
        done?;
        let row = |kind: &str, time: Duration, calls: usize| Row {
            kind: kind.to_owned(),
            seconds: time.as_secs_f64() / steps as f64,
            share: time.as_secs_f64() / whole.as_secs_f64(),
            calls: calls as f64 / steps as f64,
        };
        let mut known: Duration = kinds.values().map(|spent| spent.time).sum();
        let mut rows: Vec<Row> = kinds.iter().map(|(kind, spent)| row(kind, spent.time, spent.calls)).collect();
        rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        if let Job::Train(..) = self.job {
            known += self.optimizer_time;
            rows.push(row("optimiser", self.optimizer_time, steps));
        }
        rows.push(row("other", whole.saturating_sub(known), steps));
        Ok(rows)
    }
}

/// The labels of all pixels, as prediction finds them.
fn infer(network: &InferenceNetwork, rule: Rule, input: &Tensor<4>) -> Result<()> {
    let [_, _, height, width] = input.dims();
    let size = Size { width, height };
    let scores = network.scores(input.clone());
    wait(&input.device())?;
    profile::timed_on_host("classes", || {
        if decides_on_device(&input.device(), scores.logits.dims()[1], size) {
            black_box(decide_on_device(&scores.logits, scores.enlargement, rule, size)?);
            return Ok(());
        }
        for part in WeightedScores::of_batch(scores.logits, scores.enlargement, rule, |_| false)? {
            black_box(decide(&[part], size, 0..height, Wanted::default()));
        }
        Ok(())
    })
}

fn wait(device: &Device) -> Result<()> {
    device.sync().map_err(|e| Error::failed("wait for the device", e))
}
