//! Counts on disk, so that the jobs of a cluster score their shares of a set and one of them adds up.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::files::{read_text, write_bytes};
use crate::base::{Error, Result};
use crate::data::Dataset;
use crate::metric::Tally;

const FORMAT: &str = "segtool-partial-1";

/// A tally with what its classes mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    format: String,
    /// Name of the convention that it was counted for.
    pub convention: String,
    /// What the classes mean.
    pub dataset: Dataset,
    /// The counts.
    pub tally: Tally,
}

impl Partial {
    /// Combines a tally with the convention and the data set that it was counted for.
    pub fn new(convention: String, dataset: Dataset, tally: Tally) -> Self {
        Self { format: FORMAT.into(), convention, dataset, tally }
    }

    /// Writes the file, atomically.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_bytes(path, &serde_json::to_vec(self).map_err(|e| Error::content(path, e))?)
    }

    /// Reads a file and checks that its parts belong together.
    pub fn read(path: &Path) -> Result<Self> {
        let what = "not a file of partial scores, as metrics writes them with `partial`";
        let partial: Self =
            serde_json::from_str(&read_text(path)?).map_err(|e| Error::content(path, format!("{what}: {e}")))?;
        let fault = |reason: &str| Err(Error::content(path, format!("{what}: {reason}")));
        if partial.format != FORMAT {
            return fault(&format!("its format is {}, not {FORMAT}", partial.format));
        }
        if let Err(reason) = partial.dataset.check_values() {
            return fault(&reason.to_string());
        }
        if !partial.tally.is_whole() || partial.tally.matrix.classes() != partial.dataset.class_count() {
            return fault("its counts are damaged");
        }
        Ok(partial)
    }

    /// Adds the files up. They must be of the same classes, convention and boundary width.
    pub fn merge(files: &[impl AsRef<Path>]) -> Result<Self> {
        let mut sum: Option<Self> = None;
        let mut seen = BTreeSet::new();
        for path in files.iter().map(AsRef::as_ref) {
            let next = Self::read(path)?;
            if !seen.insert(path.canonicalize().map_err(|e| Error::read(path, e))?) {
                return Err(Error::content(path, "is named twice, and its images would count twice"));
            }
            let Some(sum) = &mut sum else {
                sum = Some(next);
                continue;
            };
            if let Some(what) = sum.difference(&next) {
                let first = files[0].as_ref().display();
                let reason = format!("was counted with {what} than {first}; they cannot be added");
                return Err(Error::content(path, reason));
            }
            sum.tally.merge(&next.tally);
            if !sum.tally.is_whole() {
                return Err(Error::content(path, "together with the files before it, the counts are too large to add"));
            }
        }
        sum.ok_or_else(|| Error::no_data("there is no file to merge", "name at least one"))
    }

    fn difference(&self, other: &Self) -> Option<&'static str> {
        let width = |partial: &Self| partial.tally.boundary.as_ref().map(|boundary| boundary.width);
        if self.dataset != other.dataset {
            Some("another data set or other label values")
        } else if self.convention != other.convention {
            Some("another `convention`")
        } else if width(self) != width(other) {
            Some("another `boundary`")
        } else {
            None
        }
    }
}
