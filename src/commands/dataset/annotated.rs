//! A data set file of the classes in files of annotation tools.

use std::path::PathBuf;

use anyhow::{Result, bail};
use segtool::base::inputs::ReadFiles;
use segtool::base::words::counted;
use segtool::data::{AnnotatedClasses, Known, annotation_files, find_images_of, probe_images, shell_word};
use serde_json::json;

use super::{labels_text, name, write};
use crate::cli::InspectDataset;
use crate::program::exit::Exit;
use crate::program::ui::{self, Progress};

/// The annotation files that the command line names; none where it names label images.
pub(super) fn files(arguments: &InspectDataset) -> Result<Vec<PathBuf>> {
    let (mut files, mut others) = (Vec::new(), Vec::new());
    for path in &arguments.labels {
        let found = annotation_files(path, arguments.images.as_deref())?;
        if found.is_empty() {
            others.push(path);
        }
        files.extend(found);
    }
    if let (Some(other), false) = (others.first(), files.is_empty()) {
        bail!(
            "{} holds no annotations, but the other labels are annotations; describe them one by one",
            other.display()
        );
    }
    Ok(files)
}

/// Prints the classes and writes the file.
pub(super) fn describe(arguments: &InspectDataset, files: &[PathBuf]) -> Result<Exit> {
    if let Some(output) = &arguments.output {
        ReadFiles::new(files).refuse(output, "output")?;
    }
    let progress = Progress::new();
    let images = arguments.images.as_deref().map(|path| find_images_of(path, &progress)).transpose()?;
    let images = images.map(|images| probe_images(&images, &progress)).transpose()?;
    let found = AnnotatedClasses::read(files)?;
    let (name, labels) = (name(arguments), labels_text(&arguments.labels));
    let proposal = found.propose(&Known { name: &name, labels: &labels, images: images.as_ref(), names: None })?;
    if arguments.json {
        let class = |class: &segtool::data::AnnotatedClass| json!({ "name": class.name, "shapes": class.shapes, "images": class.images });
        let report = json!({
            "files": files.len(),
            "images": found.images,
            "shapes": found.shapes,
            "classes": found.classes.iter().map(class).collect::<Vec<_>>(),
            "dataset": proposal.dataset,
            "toml": proposal.text,
        });
        ui::result(&serde_json::to_string_pretty(&report)?);
    } else {
        let print = if arguments.output.is_some() { ui::result } else { ui::say };
        let (shapes, images) = (counted(found.shapes, "shape"), counted(found.images, "image"));
        print(&format!("{shapes} in {images}, in {}", counted(files.len(), "annotation file")));
        for class in &found.classes {
            let (shapes, images) = (counted(class.shapes, "shape"), counted(class.images, "image"));
            print(&format!("  {}: {shapes} in {images}", class.name));
        }
    }
    let images = arguments.images.as_ref().map_or_else(|| "IMAGES".to_owned(), |images| shell_word(images));
    let labels = arguments.labels.first().map_or_else(|| "LABELS".to_owned(), |labels| shell_word(labels));
    write(arguments, &proposal, ("", &format!("--images {images} --labels {labels}")))?;
    Ok(Exit::Done)
}
