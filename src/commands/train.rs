//! `segtool train`.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use segtool::base::files::check_writable;
use segtool::base::inputs::ReadFiles;
use segtool::base::words::counted;
use segtool::data::shell_word;
use segtool::nn::device::DeviceChoice;
use segtool::report::ForestReport;
use segtool::run::{NetworkRun, RunLock};
use segtool::train::{Job, Outcome, Plan, Session, resume_for};
use segtool::weights::locate;

use super::data::Sources;
use super::start::Start;
use super::stop::Stop;
use super::together::{self, Member};
use super::{overrides, say_peak, say_precision};
use crate::cli::Train;
use crate::program::exit::Exit;
use crate::program::ui::{self, Progress};

pub(crate) fn run(arguments: Train) -> Result<Exit> {
    let processes = arguments.network.limits.together.processes.unwrap_or(1);
    together::check_device(arguments.device.unwrap_or_default(), processes)?;
    together::run(&arguments.network.limits.together, |member| train(&arguments, member))
}

fn train(arguments: &Train, member: Option<&Member>) -> Result<Exit> {
    let deadline = arguments.network.limits.max_time.map(|time| Instant::now() + time);
    let leads = member.is_none_or(Member::leads);
    let progress = if leads { Progress::new() } else { Progress::hidden() };
    if let Some(folder) = &arguments.resume {
        return continue_run(folder, arguments, (deadline, member), &progress);
    }
    if let Some(folder) = member.and_then(Member::begun) {
        return continue_run(&folder, arguments, (deadline, member), &progress);
    }
    let start = Start::of(arguments)?;
    start.notes.iter().for_each(|note| ui::say(&format!("note: {note}")));
    let folder = start.folder;
    let Sources { images, validation, dataset, exclude } = Sources::of(&arguments.data, &progress)?;
    let mut recipe = overrides::apply(start.recipe, arguments)?;
    // Asked for before anything is read: a device that is not there should not cost a pass over the data.
    let device = device_of(arguments, arguments.device, member).resolve()?;
    together::check_device(device, member.map_or(1, |member| member.group.size()))?;
    device.supports(recipe.precision())?;
    let requested = recipe.precision();
    recipe.settle_precision(device)?;
    say_precision(requested, recipe.precision(), device);
    // Held from here on, so that a second process is refused before it has read through its data.
    let sheet = arguments.network.show_augmented.as_deref();
    let lock = match sheet {
        Some(path) if leads => check_writable(path).map(|()| None)?,
        None if leads => Some(RunLock::claim(&folder, arguments.overwrite)?),
        _ => None,
    };
    let job = Job {
        dataset: start.dataset.or(dataset),
        validation,
        weights: locate(&arguments.weights, &progress)?,
        new_head: arguments.network.new_head,
        split: arguments.forest.split,
        group_by: arguments.data.whole.group_by.clone(),
        exclude,
        seed: arguments.seed,
        ..Job::new(recipe, images)
    };
    if sheet.is_none() {
        job.check_weights(&folder)?;
    }
    let plan = Plan::new(job, &progress);
    let plan = match member {
        Some(member) => member.group.together(plan),
        None => plan,
    }?;
    if let Some(path) = sheet {
        if !leads {
            return Ok(Exit::Done);
        }
        return show(path, &plan, arguments.network.limits.workers);
    }
    say_what(&plan, arguments, device, member);
    let stop = Stop::on_signal()?;
    let session = Session { deadline, lock: lock.as_ref(), ..session(device, arguments, member, &stop, &progress) };
    let outcome = plan.start(&folder, &session)?;
    Ok(finish(&folder, device, &outcome, &stop, leads))
}

fn say_what(plan: &Plan, arguments: &Train, device: DeviceChoice, member: Option<&Member>) {
    let (name, summary) = plan.recipe();
    ui::say(&format!("recipe {name}: {summary}"));
    ui::say(&format!("data set {}: {}", plan.dataset().name, plan.dataset().title));
    let (train, validation) = plan.images();
    let where_to = match member {
        Some(member) if device.is_gpu() => format!("{} GPUs", member.group.size()),
        Some(member) => format!("{device}, in {} processes", member.group.size()),
        None => device.described(),
    };
    ui::say(&format!("training on {}, {validation} for validation, on {where_to}", counted(train, "image")));
    if member.is_some() {
        ui::say("note: the batch size is that of all processes together, and the learning rate is used as it is given");
    }
    plan.advice(device).iter().for_each(|advice| ui::say(&format!("note: {advice}")));
    if validation == 0 && arguments.network.limits.validation_images > 0 {
        ui::say("note: --validation-images draws nothing without a validation set");
    }
}

/// Draws training samples as the network would see them.
fn show(path: &Path, plan: &Plan, workers: usize) -> Result<Exit> {
    ReadFiles::new(plan.files()).refuse(path, "show_augmented")?;
    plan.write_contact_sheet(path, workers)?;
    ui::result(&format!("drawn: {}", path.display()));
    Ok(Exit::Done)
}

fn session<'a>(
    device: DeviceChoice,
    arguments: &'a Train,
    member: Option<&'a Member>,
    stop: &'a Stop,
    progress: &'a Progress,
) -> Session<'a> {
    let limits = &arguments.network.limits;
    Session {
        workers: limits.workers,
        cache: limits.cache,
        cache_features: arguments.forest.cache_features.as_deref(),
        validation_images: limits.validation_images,
        keep_every: limits.save_epoch,
        save_every: limits.save_every.0,
        overwrite: arguments.overwrite,
        ignore_memory: arguments.network.ignore_memory,
        group: member.map(|member| &member.group),
        synchronised: limits.together.sync_batch_norm.choice(),
        collectives: limits.together.collectives.unwrap_or_default(),
        ..Session::new(device, stop.flag(), progress)
    }
}

/// The device of this process, where `asked` is that of all.
fn device_of(arguments: &Train, asked: Option<DeviceChoice>, member: Option<&Member>) -> DeviceChoice {
    let devices = arguments.network.limits.together.devices.as_ref();
    together::device(asked, devices, member.map(|member| &member.membership))
}

/// Resumes a run on its own device, unless another is asked for.
fn continue_run(
    folder: &Path,
    arguments: &Train,
    (deadline, member): (Option<Instant>, Option<&Member>),
    progress: &Progress,
) -> Result<Exit> {
    let trained_on: DeviceChoice = NetworkRun::open(folder)?.config.device.parse()?;
    let leads = member.is_none_or(Member::leads);
    let lock = leads.then(|| RunLock::acquire(folder)).transpose()?;
    let usual = if trained_on.is_gpu() { DeviceChoice::Gpu } else { trained_on };
    let device = match member {
        None if arguments.network.limits.together.devices.is_none() => arguments.device.unwrap_or(trained_on),
        _ => device_of(arguments, arguments.device.or(Some(usual)), member),
    };
    let device = device.resolve().with_context(|| {
        format!(
            "the run was trained on {trained_on}; choose another device with --device, or build segtool with that one"
        )
    })?;
    together::check_device(device, member.map_or(1, |member| member.group.size()))?;
    ui::say(&format!("resuming {} on {}", folder.display(), device.described()));
    if device != trained_on {
        ui::say(&format!("note: previously trained on {trained_on}; results will differ by floating-point rounding"));
    }
    let stop = Stop::on_signal()?;
    let session = Session { deadline, lock: lock.as_ref(), ..session(device, arguments, member, &stop, progress) };
    // A training that is started again has the epochs that it began with.
    let epochs = if arguments.resume.is_some() { &arguments.network.procedure.num_epoch[..] } else { &[] };
    let outcome = resume_for(folder, epochs, &session)?;
    Ok(finish(folder, device, &outcome, &stop, leads))
}

fn finish(folder: &Path, device: DeviceChoice, outcome: &Outcome, stop: &Stop, leads: bool) -> Exit {
    match outcome {
        Outcome::Stopped(_) if !leads => stop.exit().unwrap_or(Exit::Done),
        _ if !leads => Exit::Done,
        Outcome::Finished { best, forest } => {
            forest.iter().for_each(|report| say_scores(report));
            say_peak(device);
            let best = best.map_or_else(String::new, |best| format!(", best validation mean IoU {best:.4}"));
            ui::result(&format!("trained: {}{best}", folder.display()));
            ui::say(&format!("report: {}", folder.join("report.html").display()));
            ui::say(&format!("next: segtool predict --run {} --overlay IMAGES", shell_word(folder)));
            Exit::Done
        }
        Outcome::Stopped(Some(position)) => {
            say_peak(device);
            ui::result(&format!(
                "stopped in epoch {} after batch {}; continue with: segtool train --resume {}",
                position.epoch + 1,
                position.batch,
                folder.display()
            ));
            // At --max-time it stops as it was told to.
            stop.exit().unwrap_or(Exit::Done)
        }
        Outcome::Stopped(None) => {
            ui::say("stopped; nothing was written");
            stop.exit().unwrap_or(Exit::Failed)
        }
    }
}

/// What was found out about a forest.
fn say_scores(report: &ForestReport) {
    report.table().iter().for_each(|line| ui::result(line));
    if let Some(found) = &report.out_of_bag {
        ui::result(&format!("out-of-bag error {:.4}", 1.0 - found.accuracy));
    }
    for importance in &report.importances {
        ui::result(&format!("importance of {}: {:.1} %", importance.name, 100.0 * importance.importance));
    }
}
