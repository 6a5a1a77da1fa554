//! An image and where its labels are.

use crate::base::Result;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// An image and its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    /// The image.
    pub image: PathBuf,
    /// Its label image, its masks, or its place in a file of annotations.
    pub label: Labels,
}

/// Where the labels of an image are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Labels {
    /// In a label image.
    File(PathBuf),
    /// In masks that are merged.
    Masks(Vec<PathBuf>),
    /// In a file of an annotation tool.
    Annotated {
        /// The file.
        annotations: PathBuf,
        /// What it calls the image; nothing of shapes on a map.
        image: String,
    },
}

impl Labels {
    /// The files.
    pub fn files(&self) -> &[PathBuf] {
        match self {
            Self::File(file) | Self::Annotated { annotations: file, .. } => std::slice::from_ref(file),
            Self::Masks(files) => files,
        }
    }

    /// The same with other paths.
    pub fn map(self, path: impl Fn(PathBuf) -> Result<PathBuf>) -> Result<Self> {
        Ok(match self {
            Self::File(file) => Self::File(path(file)?),
            Self::Masks(files) => Self::Masks(files.into_iter().map(path).collect::<Result<_>>()?),
            Self::Annotated { annotations, image } => Self::Annotated { annotations: path(annotations)?, image },
        })
    }

    /// What to call them: the label image, the folder of the masks, or the annotation file; nothing if there is no mask.
    pub fn name(&self) -> &Path {
        match self {
            Self::File(file) | Self::Annotated { annotations: file, .. } => file,
            Self::Masks(files) => files.first().and_then(|file| file.parent()).unwrap_or(Path::new("")),
        }
    }
}

impl From<PathBuf> for Labels {
    fn from(file: PathBuf) -> Self {
        Self::File(file)
    }
}
