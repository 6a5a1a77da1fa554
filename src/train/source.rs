//! Where images and their labels come from.

use std::path::PathBuf;

use crate::base::event::Sink;
use crate::base::{Error, Result};
use crate::data::{
    CsvLabels, Dataset, Pair, pair_folders, pair_lists, pair_mask_folders, pair_suffixed, read_label_csv, read_pairs,
};

/// Where the images and labels of a training come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Two lists, paired line by line.
    Lists {
        /// Images.
        images: PathBuf,
        /// Label images.
        labels: PathBuf,
    },
    /// A list of an image and its label image in each line.
    PairList(PathBuf),
    /// Two folders, paired by stem, or by the names in files of annotation tools.
    Folders {
        /// Images.
        images: PathBuf,
        /// Label images, or files of an annotation tool.
        labels: PathBuf,
    },
    /// Two folders, or one, in which the names of label images are those of the images with something behind them.
    Suffixed {
        /// Images.
        images: PathBuf,
        /// Label images.
        labels: PathBuf,
        /// What is behind the stem, such as `_mask`.
        suffix: String,
    },
    /// A folder with a folder for each image, which may have several masks.
    MaskFolders(PathBuf),
    /// A table of labelled points or rectangles, for a random forest; see [`read_label_csv`](crate::data::read_label_csv).
    Table {
        /// The CSV file.
        table: PathBuf,
        /// Folder of the images that it names; beside the table if left out.
        images: Option<PathBuf>,
    },
    /// Pairs that are at hand.
    Pairs(Vec<Pair>),
}

impl Source {
    /// The pairs.
    pub fn pairs(&self, sink: &dyn Sink) -> Result<Vec<Pair>> {
        match self {
            Self::Lists { images, labels } => pair_lists(images, labels, sink),
            Self::PairList(list) => read_pairs(list, sink),
            Self::Folders { images, labels } => pair_folders(images, labels, sink),
            Self::Suffixed { images, labels, suffix } => pair_suffixed(images, labels, suffix, sink),
            Self::MaskFolders(root) => pair_mask_folders(root),
            Self::Table { table, .. } => Err(Error::content(
                table,
                "is a table of labelled points, which only a random forest learns from; give label images",
            )),
            Self::Pairs(pairs) => Ok(pairs.clone()),
        }
    }
    /// The labelled points or rectangles of each image; `None` if the labels are in no table.
    pub fn table(&self, dataset: &Dataset) -> Result<Option<Vec<CsvLabels>>> {
        let Self::Table { table, images } = self else { return Ok(None) };
        if let Some(folder) = images.as_deref().filter(|folder| !folder.is_dir()) {
            let reason = "is not a folder; with `label_csv` it must be the folder of the images";
            return Err(Error::conflict("images", format!("{} {reason}", folder.display())));
        }
        read_label_csv(table, dataset, images.as_deref()).map(Some)
    }
}
