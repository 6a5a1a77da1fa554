//! Throughput of several processes, each with its own images (weak scaling).

use std::time::Instant;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Job, Mode, Options, WARM_UP, Work, check_work, median, run};
use crate::base::Result;
use crate::nn::group::{Collectives, Exchange, Group};
use crate::nn::learner::Members;
use crate::nn::ops::{all_reduce, read_number};
use crate::nn::precision::Precision;
use crate::train::SMALL_SHARE;

/// Number of timed all-reduces; their median counts.
const TRANSFERS: usize = 5;

/// The throughput of a number of processes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalingPoint {
    /// Name of the recipe.
    pub recipe: String,
    /// What was measured.
    pub mode: Mode,
    /// Device of process 0.
    pub device: String,
    /// Numeric precision.
    pub precision: Precision,
    /// Height and width of the images, in pixels.
    pub size: usize,
    /// Number of processes.
    pub processes: usize,
    /// Images per step of each process.
    pub batch: usize,
    /// Seconds per step: the median of the slowest process.
    pub seconds: f64,
    /// Images per second of all processes together.
    pub images_per_second: f64,
    /// Images per second relative to linear scaling from one process; `None` if one process was not measured.
    pub efficiency: Option<f64>,
    /// Library that exchanged gradients, such as `gloo` or `nccl 2.27.5`; `None` for a single process.
    pub library: Option<String>,
    /// Share of the time spent in collectives, from 0 to 1, waiting included; the mean over the processes. `None` if GPUs
    /// exchange gradients, for which the program does not wait.
    pub collectives: Option<f64>,
    /// Share of the time that a single all-reduce of as many bytes takes if no process has to wait. The rest of
    /// `collectives` is waiting for the slowest process, and the latency of many small exchanges.
    pub transfer: f64,
    /// Bytes that each process passes to collectives per step.
    pub bytes: u64,
}

impl ScalingPoint {
    /// The same with its efficiency relative to `one`, the throughput of one process with as many images per step.
    #[must_use]
    pub fn relative_to(self, one: &Self) -> Self {
        let linear = one.images_per_second * self.processes as f64 / one.processes as f64;
        Self { efficiency: Some(self.images_per_second / linear), ..self }
    }
}

/// The measurements of one process.
struct Timed {
    seconds: f64,
    library: Option<String>,
    /// `None` if GPUs exchange gradients.
    collectives: Option<f64>,
    /// Seconds of a single all-reduce of as many bytes.
    transfer: f64,
    bytes: u64,
}

/// Measures as one of the processes of `group`, or as the only one. Each process has its own batch, so the global batch
/// grows with their number (weak scaling). All must call this with the same options, except for the device. Batch
/// norm is `synchronised` as in training, by default if a process has fewer than 16 images. `collectives` exchange gradients.
///
/// # Errors
///
/// [`crate::Error::Process`] if the processes' options differ or another process fails; those of [`run`].
pub fn run_among(
    options: &Options,
    group: Option<&Group>,
    synchronised: Option<bool>,
    collectives: Collectives,
) -> Result<ScalingPoint> {
    let options = &options.settled()?;
    let found = match group {
        None => alone(options)?,
        Some(group) => among(options, group, synchronised, collectives)?,
    };
    let processes = group.map_or(1, Group::size);
    let gather = |value: f64| group.map_or(vec![value], |group| gathered(group, value));
    let (seconds, transfers) = (gather(found.seconds), gather(found.transfer));
    let shares = found.collectives.map(gather);
    group.map_or(Ok(()), Group::check)?;
    let seconds = seconds.into_iter().fold(0.0, f64::max);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    Ok(ScalingPoint {
        recipe: options.recipe.name.clone(),
        mode: options.mode,
        device: options.device.resolve()?.to_string(),
        precision: options.precision,
        size: options.size,
        processes,
        batch: options.batch,
        seconds,
        images_per_second: (options.batch * processes) as f64 / seconds,
        efficiency: None,
        library: found.library,
        collectives: shares.map(|shares| mean(&shares)),
        transfer: mean(&transfers) / seconds,
        bytes: found.bytes,
    })
}

fn gathered(group: &Group, value: f64) -> Vec<f64> {
    group.gather(&[value as f32]).into_iter().map(f64::from).collect()
}

fn alone(options: &Options) -> Result<Timed> {
    let report = run(&Options { profile: false, ..options.clone() })?;
    Ok(Timed { seconds: report.seconds, library: None, collectives: Some(0.0), transfer: 0.0, bytes: 0 })
}

fn among(options: &Options, group: &Group, synchronised: Option<bool>, collectives: Collectives) -> Result<Timed> {
    group.agree(&[
        ("recipe", format!("{:?}", options.recipe)),
        ("mode", format!("{:?}", options.mode)),
        ("number of classes", format!("{:?}", options.classes)),
        ("batch", options.batch.to_string()),
        ("size", options.size.to_string()),
        ("number of steps", options.steps.to_string()),
        ("precision", options.precision.to_string()),
        ("step (--own-step)", options.own_step.to_string()),
        ("setting of --sync-batch-norm", format!("{synchronised:?}")),
        ("library of collectives", collectives.to_string()),
        ("version of segtool", env!("CARGO_PKG_VERSION").to_owned()),
    ])?;
    group.together(check_work(options, group.local_size()))?;
    let device = options.device.resolve()?;
    let exchange = group.connect_gpus(device.cuda_number(), collectives)?;
    let synchronised = synchronised.unwrap_or(options.batch < SMALL_SHARE);
    let work = Work::of_phase(options, 0).map(|work| work.among(Members { group: group.clone(), synchronised }));
    let mut work = group.together(work)?;
    for _ in 0..WARM_UP {
        work.step()?;
        group.check()?;
    }
    group.meet();
    let before = group.spent();
    let mut times = Vec::with_capacity(options.steps);
    for _ in 0..options.steps {
        times.push(work.timed_step()?);
        group.check()?;
    }
    let after = group.spent();
    // All processes need the same number: an all-reduce of different lengths would abort the program.
    let sent = group.sum_counts(&[(after.bytes - before.bytes) as i64])[0] as u64;
    let bytes = sent / (group.size() * options.steps) as u64;
    let waiting = (after.time - before.time).as_secs_f64() / times.iter().sum::<f64>();
    let (library, collectives) = match exchange {
        Exchange::Nccl(version) => (format!("nccl {version}"), None),
        Exchange::Gloo { .. } => ("gloo".to_owned(), Some(waiting)),
    };
    let on_gpu = collectives.is_none().then(|| device.open()).transpose()?;
    Ok(Timed {
        seconds: median(&times),
        library: Some(library),
        collectives,
        transfer: transfer(group, bytes, on_gpu.as_ref()),
        bytes,
    })
}

/// Seconds of an all-reduce of that many bytes if no process has to wait: in main memory, or of tensors on a GPU.
fn transfer(group: &Group, bytes: u64, gpu: Option<&Device>) -> f64 {
    let count = bytes as usize / size_of::<f32>();
    if count == 0 {
        return 0.0;
    }
    let in_main_memory = || {
        let values = vec![1.0; count];
        group.meet();
        let start = Instant::now();
        group.sum_in_place(values);
        start.elapsed().as_secs_f64()
    };
    let on_gpu = |gpu: &Device| {
        let values = Tensor::ones([count], gpu);
        // Reading a number waits for everything before it.
        read_number(values.clone().narrow(0, 0, 1));
        group.meet();
        let start = Instant::now();
        read_number(all_reduce(values, group).narrow(0, 0, 1));
        start.elapsed().as_secs_f64()
    };
    median(&(0..TRANSFERS).map(|_| gpu.map_or_else(in_main_memory, on_gpu)).collect::<Vec<_>>())
}

impl Work {
    /// The same work, as one of several processes with equally many images each.
    fn among(self, members: Members) -> Self {
        let Job::Train(training) = self.job else { return self };
        let (learner, mut part) = *training;
        let [images, ..] = part.input.dims();
        part.first = images * members.group.rank();
        part.whole = false;
        Self { job: Job::Train(Box::new((learner.among(Some(members)), part))), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efficiency_is_relative_to_as_many_single_processes() {
        let point = |processes: usize, images_per_second: f64| ScalingPoint {
            recipe: "unet-seeps".into(),
            mode: Mode::Train,
            device: "flex".into(),
            precision: Precision::Float32,
            size: 16,
            processes,
            batch: 2,
            seconds: 1.0,
            images_per_second,
            efficiency: None,
            library: None,
            collectives: Some(0.0),
            transfer: 0.0,
            bytes: 0,
        };
        let one = point(1, 2.0);
        assert_eq!(one.clone().relative_to(&one).efficiency, Some(1.0));
        assert_eq!(point(4, 6.0).relative_to(&one).efficiency, Some(0.75));
    }
}
