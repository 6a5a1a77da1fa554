//! The `last/` folder: enough to go on as if nothing had happened.

use std::path::Path;

use burn::optim::ModuleOptimizer;
use burn::tensor::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::{create_folder, old_name, read_bytes, replace_folder, write_bytes};
use crate::model::Network;
use crate::run::{read_json, write_json};
use crate::weights::{self, Description};

/// Where a training stands. Order and augmentation follow from seed, epoch and sample, so no random state is needed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Epochs that are over.
    pub epoch: usize,
    /// Steps done of the current one.
    pub step: usize,
    /// Sum of the losses of the current epoch, weighted by samples.
    pub loss_sum: f64,
    /// Samples seen in the current epoch.
    pub samples: usize,
    /// Seconds spent in the current epoch.
    pub seconds: f64,
    /// Seconds of these spent waiting for data.
    pub waited: f64,
    /// Best validation score so far.
    pub best: Option<f64>,
}

/// Replaces `last/` as a whole.
pub(super) fn save(
    folder: &Path,
    (network, description): (&Network, &Description),
    optimizer: &ModuleOptimizer,
    position: &Position,
) -> Result<()> {
    let fresh = folder.with_extension("new");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).map_err(|e| Error::write(&fresh, e))?;
    }
    let filled = fill(&fresh, (network, description), optimizer, position);
    if filled.is_err() {
        // The disk may be full: what is written would only be in the way. The first error is the one to report.
        let _ = std::fs::remove_dir_all(&fresh);
    }
    filled.and_then(|()| replace_folder(&fresh, folder))
}

fn fill(
    folder: &Path,
    (network, description): (&Network, &Description),
    optimizer: &ModuleOptimizer,
    position: &Position,
) -> Result<()> {
    create_folder(folder)?;
    weights::save(network, description, &folder.join("model.safetensors"))?;
    let state = optimizer.into_bytes().map_err(|e| Error::Config(format!("cannot encode the optimiser: {e}")))?;
    write_bytes(&folder.join("optimizer.bpk"), &state)?;
    write_json(&folder.join("position.json"), position)
}

/// Reads `last/`, or its predecessor if the program was killed while it was being replaced.
pub(super) fn load(
    folder: &Path,
    network: Network,
    optimizer: ModuleOptimizer,
) -> Result<(Network, ModuleOptimizer, Position)> {
    let old = old_name(folder);
    let folder = if !folder.exists() && old.exists() { &old } else { folder };
    if !folder.exists() {
        return Err(Error::content(
            folder,
            "there is nothing to resume: the run has not saved yet; start it again with --overwrite",
        ));
    }
    let position = read_json(&folder.join("position.json"))?;
    let network = weights::load(network, &folder.join("model.safetensors"))?;
    let path = folder.join("optimizer.bpk");
    let optimizer = optimizer
        .from_bytes(Bytes::from_bytes_vec(read_bytes(&path)?))
        .map_err(|e| Error::content(&path, format!("damaged optimiser state: {e}")))?;
    Ok((network, optimizer, position))
}
