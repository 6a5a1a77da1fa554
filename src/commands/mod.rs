//! One file a subcommand: glue between the command line and the library, no algorithms.

pub(crate) mod bench;
pub(crate) mod concat;
pub(crate) mod dataset;
pub(crate) mod demo;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod metrics;
mod overrides;
mod pixels;
pub(crate) mod predict;
pub(crate) mod rgb2gray;
mod start;
mod stop;
pub(crate) mod train;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Has rayon work on so many threads; on all cores if nothing is said. To be called before it works at all.
pub(crate) fn use_threads(threads: Option<usize>) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0));
    pool.build_global().context("cannot start the threads")
}

/// Refuses to train into a run that the training begins with: its weights would go before there are others.
pub(crate) fn refuse_own_weights(weights: &[PathBuf], run: Option<&Path>) -> Result<()> {
    let Some(Ok(run)) = run.map(fs::canonicalize) else { return Ok(()) };
    match weights.iter().find(|file| fs::canonicalize(file).is_ok_and(|file| file.starts_with(&run))) {
        Some(file) => bail!(
            "the run would overwrite the weights that it begins with, {}; choose another --output-path",
            file.display()
        ),
        None => Ok(()),
    }
}
