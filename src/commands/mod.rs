//! One file a subcommand: glue between the command line and the library, no algorithms.

pub(crate) mod bench;
pub(crate) mod concat;
pub(crate) mod dataset;
pub(crate) mod demo;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod metrics;
mod pixels;
pub(crate) mod predict;
mod procedure;
pub(crate) mod rgb2gray;
mod stop;
pub(crate) mod train;

use anyhow::{Context, Result};

/// Has rayon work on so many threads; on all cores if nothing is said. To be called before it works at all.
pub(crate) fn use_threads(threads: Option<usize>) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0));
    pool.build_global().context("cannot start the threads")
}
