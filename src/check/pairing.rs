//! Pairs images with labels, and finds what prevents it: where training stops at the first fault, a check goes on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Kind, Place, Severity};
use crate::base::event::Sink;
use crate::base::{Error, Result};
use crate::data::{
    CsvLabels, Dataset, Labels, Pair, annotation_files, ends_as_label_image, find_images, find_labels, mask_folders,
    name_note, pair_lists, read_label_list, read_list,
};
use crate::train::Source;

/// Lists of unequal length are paired by stem if at least this share of the shorter one has counterparts.
const PAIRED_BY_STEM: f64 = 0.5;

/// Labelled points or rectangles, by image.
pub(super) type Tables = BTreeMap<PathBuf, CsvLabels>;

/// Pairs, and findings about files that could not be paired.
#[derive(Debug, Default)]
pub(super) struct Paired {
    pub(super) pairs: Vec<Pair>,
    /// Labels that come from a table.
    pub(super) tables: Tables,
    pub(super) findings: Vec<Finding>,
}

/// The pairs of a source. It is an error if there is nothing to read at all.
pub(super) fn pair(source: &Source, dataset: Option<&Dataset>, sink: &dyn Sink) -> Result<Paired> {
    let mut found = match source {
        Source::Table { table, .. } => of_table(source, table, dataset)?,
        Source::Lists { images, labels } => lists([images, labels], sink)?,
        Source::Folders { images, labels } if images.is_dir() && labels.is_dir() && !is_annotated(images, labels)? => {
            match source.pairs(sink) {
                Ok(pairs) => Paired { pairs, ..Paired::default() },
                Err(fault) => folders([images, labels], &|_| ()).map_err(|_| fault)?,
            }
        }
        Source::MaskFolders(root) => masks(root)?,
        other => Paired { pairs: other.pairs(sink)?, ..Paired::default() },
    };
    found.note_names();
    found.note_repeated();
    Ok(found)
}

/// Whether labels are in annotation files, which many images share.
fn is_annotated(images: &Path, labels: &Path) -> Result<bool> {
    Ok(!annotation_files(labels, Some(images))?.is_empty())
}

fn lists([images, labels]: [&PathBuf; 2], sink: &dyn Sink) -> Result<Paired> {
    let (left, right) = (read_list(images, sink)?, read_label_list(labels, sink)?);
    if left.len() == right.len() {
        let pairs = if right.iter().all(|file| ends_as_label_image(file)) {
            left.into_iter().zip(right).map(of_files).collect()
        } else {
            pair_lists(images, labels, &|_| ())?
        };
        return Ok(Paired { pairs, ..Paired::default() });
    }
    let message = format!("the lists differ in length: {} and {} files", left.len(), right.len());
    let place = Place::two(images, labels, "");
    let length = Finding::new(Kind::ListLength, Severity::Error, message, vec![place])
        .remedy("name one label image for each image, in the same order");
    let (by_stem, others) = (by_stem(left.clone()), by_stem(right.clone()));
    let common = by_stem.keys().filter(|stem| others.contains_key(*stem)).count();
    let mut found = if common as f64 >= PAIRED_BY_STEM * left.len().min(right.len()) as f64 {
        matched(by_stem, others)
    } else {
        Paired { pairs: left.into_iter().zip(right).map(of_files).collect(), ..Paired::default() }
    };
    found.findings.insert(0, length);
    Ok(found)
}

fn folders([images, labels]: [&PathBuf; 2], sink: &dyn Sink) -> Result<Paired> {
    Ok(matched(by_stem(find_images(images, sink)?), by_stem(find_labels(labels)?)))
}

fn masks(root: &Path) -> Result<Paired> {
    let mut found = Paired::default();
    let mut faults = Vec::new();
    for (folder, pair) in mask_folders(root)? {
        match pair {
            Ok(pair) => found.pairs.push(pair),
            Err(fault) => faults.push(Place::new(&folder, fault.to_string())),
        }
    }
    let what = ("folder", "without exactly one image and its masks");
    found.findings.extend(Finding::about(Kind::Source, Severity::Error, faults, what, ""));
    Ok(found)
}

fn of_table(source: &Source, table: &Path, dataset: Option<&Dataset>) -> Result<Paired> {
    let dataset = dataset.ok_or_else(|| Error::conflict("dataset", "must be given with `label_csv`"))?;
    let tables: Tables =
        source.table(dataset)?.into_iter().flatten().map(|labels| (labels.image.clone(), labels)).collect();
    let label = || Labels::Annotated { annotations: table.into(), image: String::new() };
    let pairs = tables.keys().map(|image| Pair { image: image.clone(), label: label() }).collect();
    Ok(Paired { pairs, tables, findings: Vec::new() })
}

fn of_files((image, label): (PathBuf, PathBuf)) -> Pair {
    Pair { image, label: label.into() }
}

fn by_stem(files: Vec<PathBuf>) -> BTreeMap<String, Vec<PathBuf>> {
    let mut stems: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        stems.entry(stem).or_default().push(file);
    }
    stems
}

/// Pairs files by stem. Ambiguous stems and files without a counterpart become findings.
fn matched(images: BTreeMap<String, Vec<PathBuf>>, mut labels: BTreeMap<String, Vec<PathBuf>>) -> Paired {
    let mut found = Paired::default();
    let (mut several, mut unlabelled) = (Vec::new(), Vec::new());
    let mut only = |files: Vec<PathBuf>| {
        if let [first, second, ..] = files.as_slice() {
            several.push(Place::two(first, second, "have the same stem"));
        }
        files.into_iter().next()
    };
    for (stem, files) in images {
        let Some(image) = only(files) else { continue };
        match labels.remove(&stem).and_then(&mut only) {
            Some(label) => found.pairs.push(of_files((image, label))),
            None => unlabelled.push(Place::new(&image, "")),
        }
    }
    let unused: Vec<Place> = labels.into_values().flatten().map(|file| Place::new(&file, "")).collect();
    let mut add = |kind, places: Vec<Place>, what: &str, remedy: &str| {
        found.findings.extend(Finding::about(kind, Severity::Error, places, ("file", what), remedy));
    };
    add(Kind::MissingLabel, unlabelled, "without a label image of the same stem", "label them, or move them elsewhere");
    add(
        Kind::MissingImage,
        unused,
        "without an image of the same stem",
        "add the images, or move the label images elsewhere",
    );
    add(
        Kind::SameStem,
        several,
        "with the same stem as another one, so it is unclear which to pair",
        "use lists instead",
    );
    found
}

impl Paired {
    fn note_names(&mut self) {
        let with_files = self.pairs.iter().filter(|pair| !matches!(pair.label, Labels::Annotated { .. }));
        let names: Vec<[&Path; 2]> = with_files.map(|pair| [pair.image.as_path(), pair.label.name()]).collect();
        if let Some(note) = name_note(&names) {
            let finding = Finding::new(Kind::NamesDiffer, Severity::Warning, note, Vec::new());
            self.findings.push(finding.remedy("compare a few pairs, and sort both lists in the same order"));
        }
    }

    /// Reports files that are in several pairs.
    fn note_repeated(&mut self) {
        let mut first: BTreeMap<&Path, &Path> = BTreeMap::new();
        let mut places = Vec::new();
        for pair in &self.pairs {
            // An annotation file may serve many images.
            let files = if matches!(pair.label, Labels::Annotated { .. }) { &[] } else { pair.label.files() };
            for (file, with) in std::iter::once((&pair.image, pair.label.name()))
                .chain(files.iter().map(|file| (file, pair.image.as_path())))
            {
                if let Some(before) = first.insert(file, with) {
                    places.push(Place::two(file, with, format!("also in the pair with {}", before.display())));
                }
            }
        }
        let (what, remedy) = (("file", "listed more than once"), "list each file once");
        self.findings.extend(Finding::about(Kind::ListedTwice, Severity::Warning, places, what, remedy));
    }

    /// Removes pairs with missing files, and reports those files.
    pub(super) fn take_missing(&mut self) {
        let mut places = Vec::new();
        self.pairs.retain(|pair| {
            let files = std::iter::once(&pair.image).chain(pair.label.files());
            let gone: Vec<&PathBuf> = files.filter(|file| is_gone(file)).collect();
            places.extend(gone.iter().map(|file| Place::new(file, "")));
            gone.is_empty()
        });
        let (what, remedy) = (("file", "listed, but not found"), "correct the list, or restore the files");
        self.findings.extend(Finding::about(Kind::MissingFile, Severity::Error, places, what, remedy));
    }
}

fn is_gone(file: &Path) -> bool {
    !crate::base::store::is_url(file)
        && fs::metadata(file).is_err_and(|cause| cause.kind() == std::io::ErrorKind::NotFound)
}
