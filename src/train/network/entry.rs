//! Starts a training, or continues it from its last save.

use super::checkpoint::{self, Saved};
use super::course::{Course, Position};
use super::engine::{Trainer, loss_of};
use super::estimate::Need;
use super::initial::Initial;
use super::longer;
use super::plan::Plan;
use crate::base::{Error, Result};
use crate::image::orientation_policy;
use crate::nn::device::{DeviceChoice, free_memory};
use crate::nn::group::Group;
use crate::nn::learner::{Learner, Settings, broadcast};
use crate::nn::model::identify;
use crate::run::{NetworkRun, NetworkRunConfig, Samples, utc};
use crate::train::session::{Outcome, Session, refuse_own_weights};
use burn::module::Module;
use serde::Serialize;
use std::path::Path;
use std::time::SystemTime;

/// Share of the free memory that decoded images may take.
const CACHE_SHARE: u64 = 4;

/// Trains from the beginning into `folder`.
pub(in crate::train) fn start(mut plan: Plan, folder: &Path, session: &Session<'_>) -> Result<Outcome> {
    // Everything that may be refused comes before an old run is replaced.
    let _lock = session.claim(folder)?;
    if session.cache_features.is_some() {
        return Err(Error::conflict("cache_features", "has no effect on the training of a network; leave it out"));
    }
    // The run goes on in it wherever it is resumed.
    plan.recipe.training.precision = session.device.settle(plan.recipe.training.precision)?;
    let need = Need::of(&plan, session.device, session.group)?;
    session.sink.note(need.to_string());
    if !session.ignore_memory {
        need.check()?;
    }
    if let Some(initial) = &plan.initial {
        refuse_own_weights(&initial.weights.checkpoint.paths, folder)?;
    }
    plan.loader(session.workers)?;
    plan.recipe.training.resolved_phases().iter().try_for_each(|phase| session.check_shares(phase.batch_size))?;
    let cache = cache_bytes(session, if session.device.is_gpu() { 0 } else { need.bytes() });
    let device = session.device.open_for(plan.recipe.training.precision)?;
    let mut network = plan.recipe.network.init(plan.seed, &device)?;
    if let Some(initial) = &plan.initial {
        let report;
        (network, report) = initial.weights.load(network, initial.new_head)?;
        session.sink.note(report.to_string());
    }
    if let Some(group) = session.group {
        agree(group, &plan, session)?;
        network = broadcast(network, group);
    }
    let samples = Samples { train: plan.train, validation: plan.validation, presence: plan.presence };
    let config = NetworkRunConfig {
        version: env!("CARGO_PKG_VERSION").into(),
        seed: plan.seed,
        device: session.device.resolve()?.to_string(),
        weights: plan.initial.as_ref().map(Initial::files).unwrap_or_default(),
        started: Some(utc(SystemTime::now())),
        recipe: plan.recipe,
        class_weights: plan.class_weights,
        dataset: plan.dataset,
    };
    let network = identify(network).train();
    let phases = config.recipe.training.resolved_phases();
    for phase in &phases {
        Settings::from(phase).check(&network)?;
    }
    let first = &phases[0];
    let learner = Learner::new(network, Settings::from(first), loss_of(&config, first)?)?;
    let run = if session.writes() {
        let run = NetworkRun::create_with(folder, config, &samples, |run| checkpoint::begin(run, &learner))?;
        session.group.iter().for_each(|group| group.note_begun(folder));
        run
    } else {
        NetworkRun::written_elsewhere(folder, config)
    };
    Trainer::new(run, samples, device, learner, (session, cache))?.run(Position::default(), None)
}

/// Continues a run from its last save, for other numbers of epochs if there are any, one a phase.
///
/// # Errors
///
/// [`Error::Conflict`] where the run would have gone otherwise so far with these numbers.
pub fn resume_for(folder: &Path, epochs: &[usize], session: &Session<'_>) -> Result<Outcome> {
    // Before it is locked: a folder that is no run is left as it is.
    NetworkRun::open(folder)?;
    let _lock = session.lock(folder)?;
    let (mut run, mut saved) = opened(folder, epochs, session)?;
    run.config.dataset.follow_orientation();
    let (trained, requested) = (run.config.dataset.orientation.unwrap_or_default(), orientation_policy());
    if trained != requested {
        let reason = format!("of this run is {trained}: it cannot be resumed with `orientation` {requested}");
        return Err(Error::conflict("orientation", format!("{reason}; leave that out, or start a new training")));
    }
    let samples = run.samples()?;
    if !go_on(&mut run, &mut saved.position, epochs, session)? {
        return Ok(Outcome::Finished { best: saved.position.best.map(|best| best.mean_iou), forest: None });
    }
    let training = &run.config.recipe.training;
    let phases = training.resolved_phases();
    let phase = phases.get(saved.position.phase).unwrap_or(training).clone();
    let device = session.device.open_for(training.precision)?;
    let network = saved.network(identify(run.config.recipe.network.hollow(&device)?))?;
    let mut learner = Learner::new(network.train(), Settings::from(&phase), loss_of(&run.config, &phase)?)?;
    saved.restore(&mut learner)?;
    if let Some(group) = session.group {
        // The one that writes replaces the save only when all have read it.
        group.meet();
        group.check()?;
    }
    let (position, rows) = (saved.position, saved.rows);
    let cache = cache_bytes(session, 0);
    Trainer::new(run, samples, device, learner, (session, cache))?.run(position, Some(rows))
}

/// The run and its last save. Of several processes, all of which read the folder, the one that writes puts it in order first,
/// and changes nothing before the others have read it.
fn opened(folder: &Path, epochs: &[usize], session: &Session<'_>) -> Result<(NetworkRun, Saved)> {
    let open = |saved: fn(&NetworkRun) -> Result<Saved>| {
        let run = NetworkRun::open(folder)?;
        let saved = saved(&run)?;
        Ok::<_, Error>((run, saved))
    };
    let Some(group) = session.group else { return open(Saved::open) };
    let leading = group.leads().then(|| open(Saved::open)).transpose()?;
    group.meet();
    group.check()?;
    let found = match leading {
        Some(found) => found,
        None => open(Saved::peek)?,
    };
    let of_run = [
        ("saved position", written(&found.1.position)),
        ("run", written(&found.0.config)),
        ("number of epochs", format!("{epochs:?}")),
    ];
    group.agree(&[&of_run[..], &of_session(session)?].concat())?;
    Ok(found)
}

/// What all processes of a training must be given alike.
fn agree(group: &Group, plan: &Plan, session: &Session<'_>) -> Result<()> {
    let of_plan = [
        ("seed", plan.seed.to_string()),
        ("recipe", written(&plan.recipe)),
        ("data set", written(&plan.dataset)),
        ("list of training images", written(&plan.train)),
        ("list of validation images", written(&plan.validation)),
        ("set of class weights", written(&plan.class_weights)),
    ];
    group.agree(&[&of_plan[..], &of_session(session)?].concat())
}

/// What decides on the order of collectives, beside the run.
fn of_session(session: &Session<'_>) -> Result<[(&'static str, String); 5]> {
    Ok([
        ("version of segtool", env!("CARGO_PKG_VERSION").into()),
        ("kind of device", if session.device.resolve()?.is_gpu() { "GPU" } else { "CPU" }.into()),
        ("setting of the batch norms", format!("{:?}", session.synchronised)),
        ("library of collectives", session.collectives.to_string()),
        ("number of validation images to draw", session.validation_images.to_string()),
    ])
}

fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Bytes for decoded images: a part of the main memory that is free, and of what is left of it where the training takes
/// `taken` bytes there, too; each process of this machine has its share.
fn cache_bytes(session: &Session<'_>, taken: u64) -> u64 {
    session.cache.unwrap_or_else(|| {
        let free = free_memory(DeviceChoice::Flex).unwrap_or(0);
        let here = session.group.map_or(1, |group| group.local_size() as u64);
        (free / CACHE_SHARE).min(free.saturating_sub(taken) / 2) / here
    })
}

/// Settles for how many epochs a run goes on, and from where; says so if it does not because all of them are done.
fn go_on(run: &mut NetworkRun, position: &mut Position, epochs: &[usize], session: &Session<'_>) -> Result<bool> {
    let phases = run.config.recipe.training.resolved_phases().len();
    let end = position.reopened().filter(|_| position.phase >= phases);
    if !epochs.is_empty() {
        let folder = run.folder().to_path_buf();
        let training = &mut run.config.recipe.training;
        let before = training.clone();
        longer::set_epochs(training, epochs, end.as_ref().unwrap_or(position), &folder)?;
        if *training != before && session.writes() {
            run.rewrite_config()?;
        }
    }
    let training = &run.config.recipe.training;
    if position.phase < phases {
        return Ok(true);
    }
    match end {
        Some(end) if !Course::new(training, 0).phase_is_over(&end) => *position = end,
        end => {
            session.sink.note(longer::finished(training, end.as_ref(), position.epoch, run.folder()));
            return Ok(false);
        }
    }
    Ok(true)
}
