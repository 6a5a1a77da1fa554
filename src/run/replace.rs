//! How a run takes the place of another one: a program that is killed at any time leaves the old one or the new one.
//!
//! The new run is written to a folder within the old one's, its `config.json` last. From then on the run is that one, for
//! whoever opens it. Its files are put in their places under two names at a time, and when all are, the folder goes,
//! its `config.json` first.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{CONFIG, write_json};
use crate::base::files::{
    create_folder, entries, is_temporary, is_there, link_file, remove_file, remove_folder, sync_folder,
};
use crate::base::{Error, Result};

/// Holds a new run until all of it is in its place.
pub(super) const NEXT: &str = ".segtool.next";

/// Files of either kind of run beside its config.json and samples.json, and folders.
const FILES: [&str; 7] =
    ["model.safetensors", "log.csv", "curves.png", "report.html", "forest.bin", "encoder.safetensors", "scores.json"];
const FOLDERS: [&str; 6] = ["last", "last.old", "last.new", "tensorboard", "validation", "epochs"];

/// Where the files of the run in a folder are.
pub(super) fn home(folder: &Path) -> Result<PathBuf> {
    let next = folder.join(NEXT);
    Ok(if is_there(&next.join(CONFIG))? { next } else { folder.into() })
}

/// Puts a run in the place of what a folder holds: `fill` writes everything to the folder that it is given, but for what
/// the run is made with.
pub(super) fn replace(folder: &Path, config: &impl Serialize, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    create_folder(folder)?;
    settle(folder)?;
    let next = folder.join(NEXT);
    create_folder(&next)?;
    let filled = fill(&next).and_then(|()| write_json(&next.join(CONFIG), config));
    if filled.is_err() {
        // The disk may be full: what is written would only be in the way. The first error is the one to report.
        let _ = discard(&next);
    }
    filled.and_then(|()| settle(folder))
}

/// Ends what a program may have left half done.
pub(super) fn settle(folder: &Path) -> Result<()> {
    let next = folder.join(NEXT);
    if !is_there(&next)? {
        return Ok(());
    }
    if is_there(&next.join(CONFIG))? {
        sync_folder(&next);
        // What an older run left, and nothing else.
        FILES.iter().try_for_each(|name| remove_file(&folder.join(name)))?;
        FOLDERS.iter().try_for_each(|name| remove_folder(&folder.join(name)))?;
        put_in_place(&next, folder)?;
        sync_folder(folder);
    }
    discard(&next)
}

/// First what makes it count.
fn discard(next: &Path) -> Result<()> {
    remove_file(&next.join(CONFIG))?;
    remove_folder(next)
}

fn put_in_place(from: &Path, to: &Path) -> Result<()> {
    let failed = |cause| Error::read(from, cause);
    for entry in entries(from)? {
        let target = to.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            create_folder(&target)?;
            put_in_place(&entry.path(), &target)?;
        } else if !is_temporary(&entry.file_name()) {
            link_file(&entry.path(), &target)?;
        }
    }
    Ok(())
}
