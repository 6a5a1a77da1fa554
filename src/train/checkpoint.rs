//! The `last/` folder: enough to go on as if nothing had happened.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Bytes;

use super::course::Position;
use crate::error::{Error, Result};
use crate::files::{create_folder, old_name, read_bytes, replace_folder, write_bytes};
use crate::model::Network;
use crate::run::{read_json, write_json};
use crate::step::Learner;
use crate::weights::{self, Description};

/// The network as it learns.
const MODEL: &str = "model.safetensors";
/// The moving average of its weights.
const AVERAGE: &str = "average.safetensors";
const OPTIMIZER: &str = "optimizer.bpk";
const POSITION: &str = "position.json";

/// Replaces `last/` as a whole.
pub(super) fn save(folder: &Path, learner: &Learner, description: &Description, position: &Position) -> Result<()> {
    let fresh = folder.with_extension("new");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).map_err(|e| Error::write(&fresh, e))?;
    }
    let filled = fill(&fresh, learner, description, position);
    if filled.is_err() {
        // The disk may be full: what is written would only be in the way. The first error is the one to report.
        let _ = std::fs::remove_dir_all(&fresh);
    }
    filled.and_then(|()| replace_folder(&fresh, folder))
}

fn fill(folder: &Path, learner: &Learner, description: &Description, position: &Position) -> Result<()> {
    create_folder(folder)?;
    weights::save(&learner.network().valid(), description, &folder.join(MODEL))?;
    if let Some(average) = learner.average() {
        weights::save(average, description, &folder.join(AVERAGE))?;
    }
    write_bytes(&folder.join(OPTIMIZER), &learner.optimizer_state()?)?;
    write_json(&folder.join(POSITION), position)
}

/// A saved state, whose parts are read when they are asked for.
pub(super) struct Saved {
    folder: PathBuf,
    pub(super) position: Position,
}

impl Saved {
    /// Opens `last/`, or its predecessor if the program was killed while it was being replaced.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let old = old_name(folder);
        let folder = if !folder.exists() && old.exists() { old } else { folder.to_path_buf() };
        if !folder.exists() {
            return Err(Error::content(
                &folder,
                "there is nothing to resume: the run has not saved yet; start it again with --overwrite",
            ));
        }
        let position = read_json(&folder.join(POSITION))?;
        Ok(Self { folder, position })
    }

    /// `network` with the saved weights.
    pub(super) fn network(&self, network: Network) -> Result<Network> {
        weights::load(network, &self.folder.join(MODEL))
    }

    /// Gives the optimiser and the average, if there is one, their saved states.
    pub(super) fn restore(&self, learner: &mut Learner) -> Result<()> {
        if let Some(average) = learner.average() {
            let average = weights::load(average.clone(), &self.folder.join(AVERAGE))?;
            learner.set_average(average);
        }
        let path = self.folder.join(OPTIMIZER);
        learner
            .load_optimizer_state(Bytes::from_bytes_vec(read_bytes(&path)?))
            .map_err(|e| Error::content(&path, format!("damaged optimiser state: {e}")))
    }
}
