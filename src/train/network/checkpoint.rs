//! The `last/` folder: enough to go on as if nothing had happened.
//!
//! A save is written to `last.new/`, its position last. From then on it counts, and what follows can be done again: the best
//! weights go to their place, the old save goes, the new one gets its name. So no weights are ever ahead of the position.

use std::fs::{self, DirEntry};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use burn::module::Module;
use burn::tensor::Bytes;

use super::course::Position;
use crate::base::files::{
    copy_file, create_folder, entries, is_there, read_bytes, remove_file, remove_folder, sync_folder, write_bytes,
};
use crate::base::{Error, Result};
use crate::nn::learner::Learner;
use crate::nn::model::Network;
use crate::run::{NetworkRun, Row, log, read_json, write_json};
use crate::weights;

/// The network as it learns.
const MODEL: &str = "model.safetensors";
/// The moving average of its weights.
const AVERAGE: &str = "average.safetensors";
/// The best weights, where they are those of this save, until they are in their place.
const BEST: &str = "best.safetensors";
const OPTIMIZER: &str = "optimizer.bpk";
const LOG: &str = "log.csv";
const POSITION: &str = "position.json";
/// How often and when to try again to read a save that is being replaced.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// What is saved.
pub(super) struct State<'a> {
    pub(super) learner: &'a Learner,
    pub(super) position: &'a Position,
    /// The epochs that are over.
    pub(super) rows: &'a [Row],
    /// The weights, if they are the best so far.
    pub(super) best: Option<&'a Network>,
}

/// Replaces `last/`, and the best weights if these are better, as a whole.
pub(super) fn save(run: &NetworkRun, state: &State<'_>) -> Result<()> {
    let fresh = fresh_path(run);
    discard(&fresh)?;
    let filled = fill(run, &fresh, state);
    if filled.is_err() {
        // The disk may be full: what is written would only be in the way. The first error is the one to report.
        let _ = discard(&fresh);
    }
    filled.and_then(|()| settle(run))
}

/// Writes the first save of a run that is not in its place yet.
pub(super) fn begin(run: &NetworkRun, learner: &Learner) -> Result<()> {
    fill(run, &run.last_path(), &State { learner, position: &Position::default(), rows: &[], best: None })
}

fn fill(run: &NetworkRun, folder: &Path, state: &State<'_>) -> Result<()> {
    let State { learner, position, rows, best } = state;
    let description = &run.config.description();
    create_folder(folder)?;
    weights::save(&learner.network().valid(), description, &folder.join(MODEL))?;
    if let Some(average) = learner.average() {
        weights::save(average, description, &folder.join(AVERAGE))?;
    }
    if let Some(best) = best {
        weights::save(best, description, &folder.join(BEST))?;
    }
    write_bytes(&folder.join(OPTIMIZER), &learner.optimizer_state()?)?;
    log::write(&folder.join(LOG), &run.config.class_names(), rows)?;
    write_json(&folder.join(POSITION), position)
}

fn fresh_path(run: &NetworkRun) -> PathBuf {
    run.last_path().with_extension("new")
}

/// Ends what a program that was killed in [`save`] left half done.
fn settle(run: &NetworkRun) -> Result<()> {
    let (last, fresh) = (run.last_path(), fresh_path(run));
    // Where versions before this one kept the previous save while they replaced it.
    let old = last.with_extension("old");
    if !is_there(&fresh.join(POSITION))? {
        if is_there(&old)? && !is_there(&last)? {
            rename(&old, &last)?;
        }
        discard(&fresh)?;
        return discard(&old);
    }
    sync_folder(&fresh);
    if is_there(&fresh.join(BEST))? {
        rename(&fresh.join(BEST), &run.weights_path())?;
    }
    discard(&last)?;
    discard(&old)?;
    rename(&fresh, &last)?;
    sync_folder(run.folder());
    Ok(())
}

/// Removes a save, first what makes it count.
fn discard(folder: &Path) -> Result<()> {
    remove_file(&folder.join(POSITION))?;
    remove_folder(folder)
}

/// Renames a file or a save. Where the file system cannot rename a folder (the layers of a container's), it is copied.
fn rename(from: &Path, to: &Path) -> Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == ErrorKind::CrossesDevices => {}
        renamed => return renamed.map_err(|e| Error::write(to, e)),
    }
    if !from.is_dir() {
        copy_file(from, to)?;
        return remove_file(from);
    }
    create_folder(to)?;
    let mut names: Vec<_> = entries(from)?.iter().map(DirEntry::file_name).collect();
    // What makes it count is last.
    names.sort_by_key(|name| name == POSITION);
    names.iter().try_for_each(|name| copy_file(&from.join(name), &to.join(name)))?;
    discard(from)
}

/// A saved state, whose parts are read when they are asked for.
pub(super) struct Saved {
    folder: PathBuf,
    pub(super) position: Position,
    /// The epochs that are over.
    pub(super) rows: Vec<Row>,
}

impl Saved {
    /// Opens the last save of a run that no other process writes to.
    pub(super) fn open(run: &NetworkRun) -> Result<Self> {
        settle(run)?;
        if !is_there(&run.last_path())? {
            let reason =
                "there is nothing to resume: the run has not saved anything yet; start it again with `overwrite`";
            return Err(Error::content(run.last_path(), reason));
        }
        Self::read(run)
    }

    /// Reads position and log of the last save, and changes nothing: another process may be training. While that replaces
    /// a save, there is none for a moment.
    pub(super) fn peek(run: &NetworkRun) -> Result<Self> {
        let mut found = Self::read(run);
        for _ in 0..TRIES {
            if found.is_ok() {
                break;
            }
            sleep(PAUSE);
            found = Self::read(run);
        }
        found.map_err(|fault| match is_there(&run.last_path()) {
            Ok(false) => Error::content(run.folder(), "the run has no saved state (last/), which its report needs"),
            _ => fault,
        })
    }

    fn read(run: &NetworkRun) -> Result<Self> {
        let folder = run.last_path();
        let position: Position = read_json(&folder.join(POSITION))?;
        // Versions before this one saved no log.
        let own = folder.join(LOG);
        let path = if is_there(&own)? { own } else { run.log_path() };
        let rows = log::read(&path, &run.config.class_names(), position.epoch)?;
        Ok(Self { folder, position, rows })
    }

    /// `network` with the saved weights.
    pub(super) fn network(&self, network: Network) -> Result<Network> {
        weights::load(network, &self.folder.join(MODEL))
    }

    /// Gives the optimiser and the average, if there is one, their saved states.
    pub(super) fn restore(&self, learner: &mut Learner) -> Result<()> {
        if let Some(average) = learner.average() {
            learner.set_average(weights::load(average.clone(), &self.folder.join(AVERAGE))?);
        }
        let path = self.folder.join(OPTIMIZER);
        learner
            .load_optimizer_state(Bytes::from_bytes_vec(read_bytes(&path)?))
            .map_err(|e| Error::content(&path, format!("damaged optimiser state: {e}")))
    }
}
