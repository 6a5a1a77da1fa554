//! One file a subcommand: glue between the command line and the library, no algorithms.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod concat;
pub(crate) mod convert;
mod data;
pub(crate) mod dataset;
pub(crate) mod demo;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod metrics;
mod overrides;
pub(crate) mod predict;
pub(crate) mod report;
pub(crate) mod rgb2gray;
#[cfg(feature = "serve")]
pub(crate) mod serve;
mod start;
mod stop;
mod together;
pub(crate) mod train;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use segtool::base::files::check_writable;
use segtool::base::words::bytes_in_words;
use segtool::nn::device::{DeviceChoice, peak_memory};
use segtool::nn::precision::Precision;

use crate::program::exit::{Exit, wrong_usage};
use crate::program::ui;

/// Has rayon work on this many threads; on all cores if nothing is said. To be called before it works at all.
pub(crate) fn use_threads(threads: Option<usize>) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0));
    pool.build_global().context("cannot start the threads")
}

/// Refuses options that were given and would have no effect with `what`.
fn refuse_flags(flags: &[String], what: &str) -> Result<()> {
    match flags {
        [] => Ok(()),
        [flag] => wrong_usage!("{flag} has no effect with {what}; leave it out"),
        flags => wrong_usage!("{} have no effect with {what}; leave them out", flags.join(" and ")),
    }
}

/// Refuses to replace a file unless that is asked for, and what cannot be written.
fn check_target(output: &Path, flag: &str, overwrite: bool) -> Result<()> {
    if output.is_file() && !overwrite {
        bail!("{} already exists; choose another {flag}, or replace it with --overwrite", output.display());
    }
    Ok(check_writable(output)?)
}

/// Refuses options that name the same file: the output that is written last would replace the other.
fn refuse_same_file(outputs: &[(&Option<PathBuf>, &str)]) -> Result<()> {
    let mut seen: Vec<(PathBuf, &str)> = Vec::new();
    for (path, flag) in outputs.iter().filter_map(|(path, flag)| Some((path.as_deref()?, *flag))) {
        let Some(file) = file_behind(path) else { continue };
        if let Some((_, other)) = seen.iter().find(|(known, _)| *known == file) {
            wrong_usage!("{other} and {flag} name the same file, {}; give each its own", path.display());
        }
        seen.push((file, flag));
    }
    Ok(())
}

/// The file of that name, behind links, whether it is there or not; `None` for a pipe or a device, which takes several
/// outputs.
fn file_behind(path: &Path) -> Option<PathBuf> {
    if path.starts_with("/dev") || (path.exists() && !path.is_file()) {
        return None;
    }
    if let Ok(file) = path.canonicalize() {
        return Some(file);
    }
    let file = std::path::absolute(path).ok()?;
    let folder = file.parent()?;
    Some(folder.canonicalize().unwrap_or_else(|_| folder.into()).join(file.file_name()?))
}

/// How a command ends that may have skipped some of its inputs; says how many.
fn end_with_skipped(skipped: usize, all: usize, what: &str) -> Exit {
    if skipped == 0 {
        return Exit::Done;
    }
    ui::warn(&format!("{skipped} of {all} {what} were skipped"));
    Exit::SomeSkipped
}

/// Rows of a table as lines, with columns as wide as they need be. Those that `left` names begin on the left.
fn aligned<R: AsRef<[String]>>(rows: &[R], left: &[usize]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row.as_ref()[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..rows.first().map_or(0, |row| row.as_ref().len())).map(width).collect();
    let cell = |(column, text): (usize, &String)| match widths[column] {
        width if left.contains(&column) => format!("{text:<width$}"),
        width => format!("{text:>width$}"),
    };
    let line = |row: &R| row.as_ref().iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned();
    rows.iter().map(line).collect()
}

/// Says what an automatic precision came to.
fn say_precision(requested: Precision, precision: Precision, device: DeviceChoice) {
    if requested == Precision::Auto {
        ui::say(&format!("precision: {precision}, by what device '{device}' is"));
    }
}

/// Says which GPU it is where the device's name does not: of several drivers' GPUs, the first may not be the one that is
/// meant.
fn say_hardware(device: DeviceChoice) -> Result<()> {
    let device = device.resolve()?;
    let (name, described) = (device.to_string(), device.described());
    if name != described {
        ui::say(&format!("computing on {described}"));
    }
    Ok(())
}

/// Says how much memory was held at a time.
fn say_peak(device: DeviceChoice) {
    if let Some(bytes) = peak_memory(device) {
        ui::say(&format!("peak memory: {}", bytes_in_words(bytes)));
    }
}
