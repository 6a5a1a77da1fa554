//! Where the images and labels are that the options of [`LabelledImages`] name.

use std::path::PathBuf;

use anyhow::Result;
use segtool::base::event::Sink;
use segtool::data::{Dataset, Ratings, find_layout};
use segtool::train::{Source, Validation};

use crate::cli::LabelledImages;
use crate::program::exit::wrong_usage;

/// Images to learn from and to validate with.
pub(super) struct Sources {
    pub(super) images: Source,
    pub(super) validation: Validation,
    /// What the labels of a published data set mean, where it is known.
    pub(super) dataset: Option<Dataset>,
    /// Pairs to leave out.
    pub(super) exclude: Option<Ratings>,
}

impl Sources {
    pub(super) fn of(data: &LabelledImages, sink: &dyn Sink) -> Result<Self> {
        let exclude = data.whole.exclude.as_deref().map(Ratings::read).transpose()?;
        let validation = validation(data);
        // A folder is the root of a data set where nothing else says where the labels are.
        let said = data.labels.is_some() || data.table.label_csv.is_some();
        let Some(root) = data.images.as_deref().filter(|root| !said && root.is_dir()) else {
            return Ok(Self { images: images(data)?, validation, dataset: None, exclude });
        };
        let layout = find_layout(root, sink)?;
        let validation = match validation {
            Validation::None if !layout.validation.is_empty() => Validation::Source(Source::Pairs(layout.validation)),
            given => given,
        };
        Ok(Self { images: Source::Pairs(layout.train), validation, dataset: layout.dataset, exclude })
    }
}

fn images(data: &LabelledImages) -> Result<Source> {
    if let Some(table) = &data.table.label_csv {
        return Ok(Source::Table { table: table.clone(), images: data.images.clone() });
    }
    let folders = data.images.clone().zip(data.labels.clone());
    let folders = folders.map(|(images, labels)| match data.label_suffix.clone() {
        Some(suffix) => Source::Suffixed { images, labels, suffix },
        None => Source::Folders { images, labels },
    });
    let masks = data.whole.mask_folders.clone().map(Source::MaskFolders);
    match listed(&data.train_list, &data.label_list).or(folders).or(masks) {
        Some(source) => Ok(source),
        None => wrong_usage!(
            "no labels: give --images and --labels, --train-list and --label-list, --mask-folders, or --label-csv for a \
             random forest"
        ),
    }
}

fn listed(images: &Option<PathBuf>, labels: &Option<PathBuf>) -> Option<Source> {
    let images = images.clone()?;
    Some(match labels.clone() {
        Some(labels) => Source::Lists { images, labels },
        None => Source::PairList(images),
    })
}

fn validation(data: &LabelledImages) -> Validation {
    let masks = || data.whole.val_mask_folders.clone().map(Source::MaskFolders);
    match (listed(&data.val_list, &data.val_label_list).or_else(masks), data.val_fraction) {
        (Some(source), _) => Validation::Source(source),
        (None, Some(share)) => Validation::Fraction(share),
        (None, None) => Validation::None,
    }
}
