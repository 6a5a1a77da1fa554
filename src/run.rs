//! The run folder: everything that `predict` and `--resume` need, in one place.
//!
//! | file | content |
//! | --- | --- |
//! | `config.json` | recipe as used, data set descriptor, seed, version |
//! | `samples.json` | the training and validation pairs |
//! | `model.safetensors` | the best weights |
//! | `last/` | model, optimiser and position of the last save |
//! | `log.csv` | one row an epoch |
//! | `curves.png` | the log as curves |

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::{Descriptor, Pair};
use crate::error::{Error, Result};
use crate::files::{create_folder, old_name, read_text, write_bytes};
use crate::recipe::Recipe;
use crate::weights::Description;

/// What a run was made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// Version of segtool that wrote it.
    pub version: String,
    /// Seed of weights, order and augmentation.
    pub seed: u64,
    /// Where it was trained; resumed there too unless told otherwise.
    pub device: String,
    /// Files of the weights it began with, if it did not begin with random ones.
    #[serde(default)]
    pub weights: Vec<PathBuf>,
    /// The recipe as used.
    pub recipe: Recipe,
    /// The data set as used: merged classes and measured normalisation are in it.
    pub dataset: Descriptor,
}

impl RunConfig {
    /// What its weights are of.
    pub fn description(&self) -> Description {
        Description::own(self.recipe.network.clone(), self.dataset.normalisation.clone())
    }
}

/// A data set by name or file, or the one that a run folder was trained on, with its classes merged or not.
pub fn find_dataset(name_or_run: &str) -> Result<Descriptor> {
    let folder = Path::new(name_or_run);
    if folder.is_dir() { Ok(Run::open(folder)?.config.dataset) } else { Descriptor::find(name_or_run) }
}

/// The pairs of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// Trained on.
    pub train: Vec<Pair>,
    /// Scored after each epoch; may be empty.
    pub validation: Vec<Pair>,
}

/// A run folder.
#[derive(Debug, Clone)]
pub struct Run {
    folder: PathBuf,
    /// What it was made with.
    pub config: RunConfig,
}

impl Run {
    /// Says whether [`Self::create`] would be refused, without touching anything.
    pub fn check_target(folder: &Path, overwrite: bool) -> Result<()> {
        let occupied = match fs::read_dir(folder) {
            Ok(mut entries) => entries.next().is_some(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
            Err(e) => return Err(Error::read(folder, e)),
        };
        let is_run = folder.join("config.json").exists();
        match (occupied, is_run, overwrite) {
            (false, ..) | (true, true, true) => Ok(()),
            (true, true, false) => Err(Error::Config(format!(
                "{} already holds a run; continue it with --resume {0}, replace it with --overwrite, or choose another \
                 --output-path",
                folder.display()
            ))),
            (true, false, _) => Err(Error::Config(format!(
                "{} exists and is not a run folder; choose another --output-path",
                folder.display()
            ))),
        }
    }

    /// Makes the folder and writes what the run is made with; an older run in it goes.
    pub fn create(folder: &Path, config: RunConfig, samples: &Samples) -> Result<Self> {
        create_folder(folder)?;
        let run = Self { folder: folder.into(), config };
        let failed = |path: &Path, e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(Error::write(path, e)),
        };
        for file in [run.weights_path(), run.log_path(), run.curves_path()] {
            fs::remove_file(&file).or_else(|e| failed(&file, e))?;
        }
        for old in [run.last_path(), old_name(&run.last_path()), run.last_path().with_extension("new")] {
            fs::remove_dir_all(&old).or_else(|e| failed(&old, e))?;
        }
        // First what makes the folder a run, so that one that failed half-way can be overwritten.
        write_json(&folder.join("config.json"), &run.config)?;
        write_json(&folder.join("samples.json"), samples)?;
        Ok(run)
    }

    /// Opens the folder of a run.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        if !path.exists() {
            return Err(Error::content(
                folder,
                "is not a run folder (it has no config.json); give the folder that `segtool train --output-path` wrote",
            ));
        }
        Ok(Self { folder: folder.into(), config: read_json(&path)? })
    }

    /// The pairs it was trained on.
    pub fn samples(&self) -> Result<Samples> {
        read_json(&self.folder.join("samples.json"))
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The best weights.
    pub fn weights_path(&self) -> PathBuf {
        self.folder.join("model.safetensors")
    }

    /// The last save.
    pub fn last_path(&self) -> PathBuf {
        self.folder.join("last")
    }

    /// The log.
    pub fn log_path(&self) -> PathBuf {
        self.folder.join("log.csv")
    }

    /// The curves.
    pub fn curves_path(&self) -> PathBuf {
        self.folder.join("curves.png")
    }
}

/// Writes a value as JSON, atomically.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::content(path, e))?;
    write_bytes(path, text.as_bytes())
}

/// Reads a value from JSON.
pub fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    serde_json::from_str(&read_text(path)?)
        .map_err(|e| Error::content(path, format!("{e}; it is damaged, or was written by another version of segtool")))
}
