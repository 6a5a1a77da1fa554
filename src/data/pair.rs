//! An image and where its labels are.

use crate::base::Result;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// An image and its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    /// The image.
    pub image: PathBuf,
    /// Its label image, or its masks.
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
}

impl Labels {
    /// The files.
    pub fn files(&self) -> &[PathBuf] {
        match self {
            Self::File(file) => std::slice::from_ref(file),
            Self::Masks(files) => files,
        }
    }

    /// The same with other paths.
    pub fn map(self, path: impl Fn(PathBuf) -> Result<PathBuf>) -> Result<Self> {
        Ok(match self {
            Self::File(file) => Self::File(path(file)?),
            Self::Masks(files) => Self::Masks(files.into_iter().map(path).collect::<Result<_>>()?),
        })
    }

    /// What to call them: the label image, or the folder of the masks; nothing if there is no mask.
    pub fn name(&self) -> &Path {
        match self {
            Self::File(file) => file,
            Self::Masks(files) => files.first().and_then(|file| file.parent()).unwrap_or(Path::new("")),
        }
    }
}

impl From<PathBuf> for Labels {
    fn from(file: PathBuf) -> Self {
        Self::File(file)
    }
}
