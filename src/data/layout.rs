//! Folders as well-known data sets have them: images, label images and parts for training and validation under one root.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::annotated::annotation_files;
use super::dataset::Dataset;
use super::folder::stem;
use super::image_probe::probe_images;
use super::list::pair_folders;
use super::masks::{id_folders, pair_mask_folders};
use super::pair::Pair;
use super::proposal::{class_lines, quoted};
use crate::base::error::plain_types;
use crate::base::event::Sink;
use crate::base::files::{entries, read_text};
use crate::base::words::counted;
use crate::base::{Error, Result};

/// What is known, for an error.
const KNOWN: &str = "Pascal VOC (ImageSets/Segmentation/train.txt, JPEGImages, SegmentationClass), Cityscapes (leftImg8bit/train, \
                     gtFine/train), mmsegmentation (img_dir/train, ann_dir/train), ADE20K (images/training, \
                     annotations/training), nnU-Net (imagesTr, labelsTr, dataset.json), a folder with images/ and masks/ for each \
                     image, or annotation files beside the images";

/// A data set in folders.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// What it is.
    pub name: &'static str,
    /// Images to train on.
    pub train: Vec<Pair>,
    /// Images to validate with, where they are apart.
    pub validation: Vec<Pair>,
    /// What the labels mean, where it is known.
    pub dataset: Option<Dataset>,
}

/// Images and label images in folders beside each other, with a folder for each part.
struct Parallel {
    name: &'static str,
    images: &'static str,
    labels: &'static str,
    parts: [&'static str; 2],
    dataset: Option<&'static str>,
}

const PARALLEL: [Parallel; 3] = [
    Parallel {
        name: "Cityscapes",
        images: "leftImg8bit",
        labels: "gtFine",
        parts: ["train", "val"],
        dataset: Some("cityscapes"),
    },
    Parallel { name: "mmsegmentation", images: "img_dir", labels: "ann_dir", parts: ["train", "val"], dataset: None },
    Parallel {
        name: "ADE20K",
        images: "images",
        labels: "annotations",
        parts: ["training", "validation"],
        dataset: Some("ade20k"),
    },
];

impl Layout {
    /// What is scored: the images for validation, or all where they are not apart.
    pub fn scored(self) -> Vec<Pair> {
        if self.validation.is_empty() { self.train } else { self.validation }
    }

    /// What was predicted, if this is the first prediction: the images for validation, or those for training if one of these
    /// alone has its stem; the latter is noted.
    pub fn predicted(self, first: &Path, sink: &dyn Sink) -> Vec<Pair> {
        let has_first = |part: &[Pair]| part.iter().any(|pair| stem(&pair.image) == stem(first));
        if has_first(&self.validation) || !has_first(&self.train) {
            return self.scored();
        }
        if !self.validation.is_empty() {
            let images = counted(self.train.len(), "image");
            sink.note(format!("the predictions are of the training images: {images}"));
        }
        self.train
    }
}

/// Whether a folder holds a data set as it is published, with images and label images in folders of their own.
pub fn is_published_layout(root: &Path) -> Result<bool> {
    Ok(voc_folder(root)?.is_some() || PARALLEL.iter().any(|known| known.is_in(root)) || is_nnunet(root))
}

fn is_nnunet(root: &Path) -> bool {
    ["imagesTr", "labelsTr"].iter().all(|folder| root.join(folder).is_dir())
}

/// The data set that a folder holds, recognised by its subfolders.
///
/// # Errors
///
/// If it is none that is known, or if images and labels do not match.
pub fn find_layout(root: &Path, sink: &dyn Sink) -> Result<Layout> {
    let layout = if let Some(voc) = voc_folder(root)? {
        pascal_voc(&voc)?
    } else if let Some(known) = PARALLEL.iter().find(|known| known.is_in(root)) {
        known.pairs(root, sink)?
    } else if is_nnunet(root) {
        nnunet(root, sink)?
    } else if has_mask_folders(root)? {
        let train = pair_mask_folders(root)?;
        Layout { name: "folders of masks", train, validation: Vec::new(), dataset: None }
    } else if !annotation_files(root, Some(root))?.is_empty() {
        let train = pair_folders(root, root, sink)?;
        Layout { name: "images with annotations", train, validation: Vec::new(), dataset: None }
    } else {
        return Err(Error::content(root, format!("does not have a known layout: {KNOWN}; give `labels`, too")));
    };
    let (train, validation) = (layout.train.len(), layout.validation.len());
    let place = root.display();
    let text = format!("{place} holds {}: {train} images for training, {validation} for validation", layout.name);
    sink.note(text);
    Ok(layout)
}

impl Parallel {
    /// Whether a folder has images and labels for training so.
    fn is_in(&self, root: &Path) -> bool {
        [self.images, self.labels].iter().all(|folder| root.join(folder).join(self.parts[0]).is_dir())
    }

    fn pairs(&self, root: &Path, sink: &dyn Sink) -> Result<Layout> {
        let part = |part: &str| {
            let folders = [self.images, self.labels].map(|folder| root.join(folder).join(part));
            let [images, labels] = &folders;
            if images.is_dir() && labels.is_dir() { pair_folders(images, labels, sink) } else { Ok(Vec::new()) }
        };
        let [train, validation] = self.parts;
        let (train_pairs, validation) = (part(train)?, part(validation)?);
        if train_pairs.is_empty() {
            let reason =
                format!("has no images for training in {}/{train} with labels in {}/{train}", self.images, self.labels);
            return Err(Error::content(root, reason));
        }
        let dataset = self.dataset.map(Dataset::find).transpose()?;
        Ok(Layout { name: self.name, train: train_pairs, validation, dataset })
    }
}

/// The folder of a year of Pascal VOC: the root itself, or the only such folder in it.
fn voc_folder(root: &Path) -> Result<Option<PathBuf>> {
    let is_voc =
        |folder: &Path| folder.join("ImageSets/Segmentation").is_dir() && folder.join("SegmentationClass").is_dir();
    if is_voc(root) {
        return Ok(Some(root.into()));
    }
    let mut years: Vec<PathBuf> = entries(root)?.iter().map(|entry| entry.path()).filter(|path| is_voc(path)).collect();
    years.sort();
    match &years[..] {
        [first, second, ..] => Err(Error::pair(first, second, "are both of Pascal VOC; give the folder of one year")),
        years => Ok(years.first().cloned()),
    }
}

fn pascal_voc(root: &Path) -> Result<Layout> {
    let part = |name: &str| -> Result<Vec<Pair>> {
        let list = root.join("ImageSets/Segmentation").join(name);
        if !list.is_file() {
            return Ok(Vec::new());
        }
        let text = read_text(&list)?;
        let pair = |id: &str| Pair {
            image: root.join("JPEGImages").join(format!("{id}.jpg")),
            label: root.join("SegmentationClass").join(format!("{id}.png")).into(),
        };
        Ok(text.lines().map(str::trim).filter(|id| !id.is_empty()).map(pair).collect())
    };
    let (train, validation) = (part("train.txt")?, part("val.txt")?);
    if train.is_empty() {
        return Err(Error::content(root, "has no ImageSets/Segmentation/train.txt that names images"));
    }
    Ok(Layout { name: "Pascal VOC", train, validation, dataset: Some(Dataset::find("voc2012")?) })
}

fn has_mask_folders(root: &Path) -> Result<bool> {
    let folders = id_folders(root)?;
    Ok(folders.first().is_some_and(|first| first.join("images").is_dir() && first.join("masks").is_dir()))
}

/// nnU-Net's description of a data set; version 1 has names by number, version 2 numbers by name.
#[derive(Deserialize)]
struct Description {
    #[serde(default)]
    name: Option<String>,
    labels: BTreeMap<String, Value>,
}

fn nnunet(root: &Path, sink: &dyn Sink) -> Result<Layout> {
    let (images, file) = (root.join("imagesTr"), root.join("dataset.json"));
    let is_second = |path: &Path| path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("_0001"));
    if entries(&images)?.iter().any(|entry| is_second(&entry.path())) {
        let reason =
            "holds several files for each image (_0000, _0001, ...); merge them into one image of several bands";
        return Err(Error::content(&images, reason));
    }
    let train = pair_folders(&images, &root.join("labelsTr"), sink)?;
    let description: Description = serde_json::from_str(&read_text(&file)?)
        .map_err(|e| Error::content(&file, format!("{}; it must have `labels`", plain_types(&e.to_string()))))?;
    let mut classes: BTreeMap<u16, String> = BTreeMap::new();
    let mut ignore = Vec::new();
    for (key, value) in &description.labels {
        let number = |text: &str| text.trim().parse::<u16>().ok();
        let found = match value {
            Value::Number(value) => value.as_u64().and_then(|v| Some((u16::try_from(v).ok()?, key.clone()))),
            Value::String(text) => {
                number(key).map(|value| (value, text.clone())).or_else(|| Some((number(text)?, key.clone())))
            }
            _ => None,
        };
        let Some((value, name)) = found else {
            let reason =
                format!("label '{key}' is {value}, which is no label value; regions of several values are not read");
            return Err(Error::content(&file, reason));
        };
        if name == "ignore" {
            ignore.push(value);
        } else {
            classes.insert(value, name);
        }
    }
    let paths: Vec<PathBuf> = train.iter().map(|pair| pair.image.clone()).collect();
    let bands = probe_images(&paths, sink)?.bands;
    let folder = root.file_name().unwrap_or_default().to_string_lossy();
    let name = description.name.unwrap_or_else(|| folder.into_owned());
    let text = format!(
        "name = {}\nbands = {bands}\nignore = {ignore:?}\nnormalisation = {{ kind = \"per-dataset\" }}\n{}",
        quoted(&name),
        class_lines(&classes)
    );
    let dataset = Dataset::parse(&text, &file)?;
    Ok(Layout { name: "nnU-Net", train, validation: Vec::new(), dataset: Some(dataset) })
}
