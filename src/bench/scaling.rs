//! How fast several processes are together, each on images of its own.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Job, Mode, Options, WARM_UP, Work, check_memory, median, run};
use crate::base::Result;
use crate::nn::group::Group;
use crate::nn::learner::Members;
use crate::nn::precision::Precision;
use crate::train::SMALL_SHARE;

/// Sums of which the median is taken.
const TRANSFERS: usize = 5;

/// The speed of a number of processes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalingPoint {
    /// Name of the recipe.
    pub recipe: String,
    /// What was measured.
    pub mode: Mode,
    /// Where; of process 0.
    pub device: String,
    /// In which numbers.
    pub precision: Precision,
    /// Width and height of the images.
    pub size: usize,
    /// How many there are.
    pub processes: usize,
    /// Images a step of each of them.
    pub batch: usize,
    /// Seconds of a step: the median of the process whose median is longest.
    pub seconds: f64,
    /// Images a second of all of them together.
    pub images_per_second: f64,
    /// Images a second relative to as many times those of one process; `None` if one was not measured.
    pub efficiency: Option<f64>,
    /// Share of the time in collectives, from 0 to 1, waiting included; the mean over the processes.
    pub collectives: f64,
    /// Share that one sum of as many bytes takes when all processes are ready for it: what is above that is waiting for the
    /// slowest process, and the delay of many small exchanges.
    pub transfer: f64,
    /// Bytes that each process gives to collectives in a step.
    pub bytes: u64,
}

impl ScalingPoint {
    /// The same with its efficiency relative to `one`, the speed of one process with as many images a step.
    #[must_use]
    pub fn relative_to(self, one: &Self) -> Self {
        let linear = one.images_per_second * self.processes as f64 / one.processes as f64;
        Self { efficiency: Some(self.images_per_second / linear), ..self }
    }
}

/// What a process finds.
struct Timed {
    seconds: f64,
    collectives: f64,
    /// Seconds of a sum of as many bytes.
    transfer: f64,
    bytes: u64,
}

/// Measures as one of the processes of `group`, or as the only one, on a batch of each process's own, so that the global
/// batch grows with their number (weak scaling). All must do so with the same options but for the device. Batch norms are
/// `synchronised` as in a training, by default if a process has fewer than 16 images.
///
/// # Errors
///
/// [`crate::Error::Process`] if the processes are set to different things or another one fails; those of [`run`].
pub fn run_among(options: &Options, group: Option<&Group>, synchronised: Option<bool>) -> Result<ScalingPoint> {
    let options = &options.settled()?;
    let found = match group {
        None => alone(options)?,
        Some(group) => among(options, group, synchronised)?,
    };
    let processes = group.map_or(1, Group::size);
    let gather = |value: f64| group.map_or(vec![value], |group| gathered(group, value));
    let (seconds, shares, transfers) = (gather(found.seconds), gather(found.collectives), gather(found.transfer));
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
        collectives: mean(&shares),
        transfer: mean(&transfers) / seconds,
        bytes: found.bytes,
    })
}

fn gathered(group: &Group, value: f64) -> Vec<f64> {
    group.gather(&[value as f32]).into_iter().map(f64::from).collect()
}

fn alone(options: &Options) -> Result<Timed> {
    let report = run(&Options { profile: false, ..options.clone() })?;
    Ok(Timed { seconds: report.seconds, collectives: 0.0, transfer: 0.0, bytes: 0 })
}

fn among(options: &Options, group: &Group, synchronised: Option<bool>) -> Result<Timed> {
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
        ("version of segtool", env!("CARGO_PKG_VERSION").to_owned()),
    ])?;
    group.together(check_memory(options, group.local_size()))?;
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
    // The same number in all: sums of different lengths would end the program.
    let sent = group.sum_counts(&[(after.bytes - before.bytes) as i64])[0] as u64;
    let bytes = sent / (group.size() * options.steps) as u64;
    Ok(Timed {
        seconds: median(&times),
        collectives: (after.time - before.time).as_secs_f64() / times.iter().sum::<f64>(),
        transfer: transfer(group, bytes),
        bytes,
    })
}

/// The seconds in which the processes add up that many bytes when all are ready.
fn transfer(group: &Group, bytes: u64) -> f64 {
    let count = bytes as usize / size_of::<f32>();
    if count == 0 {
        return 0.0;
    }
    let timed = |_| {
        let values = vec![1.0; count];
        group.meet();
        let start = Instant::now();
        group.sum_in_place(values);
        start.elapsed().as_secs_f64()
    };
    median(&(0..TRANSFERS).map(timed).collect::<Vec<_>>())
}

impl Work {
    /// The same as one of several processes, each with a share of as many images.
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
            collectives: 0.0,
            transfer: 0.0,
            bytes: 0,
        };
        let one = point(1, 2.0);
        assert_eq!(one.clone().relative_to(&one).efficiency, Some(1.0));
        assert_eq!(point(4, 6.0).relative_to(&one).efficiency, Some(0.75));
    }
}
