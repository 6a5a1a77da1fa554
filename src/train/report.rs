//! Reports of runs, written again at any time.

use std::path::{Path, PathBuf};

use super::{forest, network};
use crate::base::Result;
use crate::base::event::Sink;
use crate::nn::device::DeviceChoice;
use crate::run::Run;

/// Writes the HTML report of a run, with scores and predictions of its best weights so far, to `path`, or to its place in
/// the run folder. The run may be finished, stopped, or in training by another process.
pub fn write_report(run: &Run, path: Option<&Path>, device: DeviceChoice, sink: &dyn Sink) -> Result<PathBuf> {
    let path = path.map_or_else(|| run.report_path(), Path::to_path_buf);
    match run {
        Run::Network(run) => network::report::write(run, &path, device, sink)?,
        Run::Forest(run) => forest::report::write(run, &path, device, sink)?,
    }
    Ok(path)
}
