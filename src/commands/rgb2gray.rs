//! `segtool rgb2gray`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use segtool::base::words::counted;
use segtool::data::{find_images, find_images_below, read_list};
use segtool::tools::rgb2gray::{Job, Options, convert_files};

use super::{end_with_skipped, use_threads};
use crate::cli::Rgb2Gray;
use crate::program::exit::Exit;
use crate::program::ui::{self, Progress};

pub(crate) fn run(arguments: Rgb2Gray) -> Result<Exit> {
    let progress = Progress::new();
    let jobs = jobs(&arguments, &progress)?;
    use_threads(arguments.workers)?;
    let Rgb2Gray { method, stretch, alpha, overwrite, .. } = arguments;
    let summary = convert_files(&jobs, Options { method, stretch, alpha, overwrite }, &progress)?;
    if summary.written + summary.kept + summary.in_place == 0 {
        bail!("none of the {} images could be used", jobs.len());
    }
    let kept = match summary.kept {
        0 => String::new(),
        1 => "; 1 existing file kept (--overwrite replaces it)".into(),
        kept => format!("; {} kept (--overwrite replaces them)", counted(kept, "existing file")),
    };
    if summary.in_place > 0 {
        let images = counted(summary.in_place, "image");
        ui::say(&format!("note: left out {images} that the results would overwrite; choose another --output-folder"));
    }
    if summary.others > 0 {
        ui::say(&format!(
            "note: {} made with a different method or options; --overwrite replaces such files",
            counted(summary.others, "kept file")
        ));
    }
    let folder = arguments.output_folder.display();
    ui::result(&format!("{} written to {folder} ({method}){kept}", counted(summary.written, "greyscale image")));
    Ok(end_with_skipped(summary.skipped, jobs.len(), "images"))
}

/// The images, each with its place in the output folder; below a folder, sub-folders are kept.
fn jobs(arguments: &Rgb2Gray, progress: &Progress) -> Result<Vec<Job>> {
    let below = |folder: &Path| -> Result<Vec<Job>> {
        let inputs =
            if arguments.recursive { find_images_below(folder, progress)? } else { find_images(folder, progress)? };
        // What an earlier call wrote below the input folder is no input. It may be spelled otherwise.
        let written = arguments
            .output_folder
            .canonicalize()
            .ok()
            .filter(|output| folder.canonicalize().ok().as_ref() != Some(output));
        let made = |input: &PathBuf| match (&written, input.canonicalize()) {
            (Some(output), Ok(input)) => input.starts_with(output),
            _ => false,
        };
        Ok(inputs.into_iter().filter(|input| !made(input)).map(|input| job(arguments, folder, input)).collect())
    };
    let one = |input: PathBuf| job(arguments, &input.parent().map(Path::to_path_buf).unwrap_or_default(), input);
    if let Some(list) = &arguments.input_list {
        return Ok(read_list(list, progress)?.into_iter().map(one).collect());
    }
    let mut jobs = Vec::new();
    for input in arguments.input_folder.iter().chain(&arguments.images) {
        if input.is_dir() { jobs.extend(below(input)?) } else { jobs.push(one(input.clone())) }
    }
    Ok(jobs)
}

fn job(arguments: &Rgb2Gray, root: &Path, input: PathBuf) -> Job {
    let inside = input.strip_prefix(root).unwrap_or(&input).with_extension("png");
    Job { output: arguments.output_folder.join(inside), input }
}
