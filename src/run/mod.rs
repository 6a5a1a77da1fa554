//! The run folder: everything that `predict` and `--resume` need, in one place.
//!
//! Of a network:
//!
//! | file | content |
//! | --- | --- |
//! | `config.json` | recipe as used, data set, seed, version |
//! | `samples.json` | the training and validation pairs |
//! | `model.safetensors` | the best weights |
//! | `last/` | model, optimiser, position and log of the last save |
//! | `log.csv` | one row an epoch |
//! | `curves.png` | the log as curves |
//! | `report.html` | what came of it, to open in a browser |
//! | `tensorboard/` | curves for TensorBoard, by step |
//! | `epochs/` | the weights of every Nth epoch, on request |
//! | `validation/` | the best and worst validation images of each epoch, on request |
//!
//! Of a random forest: `config.json`, `samples.json` (images and where their labels are), `forest.bin`,
//! `encoder.safetensors` (what gives the features), `scores.json` and `report.html`.
//!
//! While a process writes to a run folder, `.segtool.lock` says which ([`RunLock`]); `.segtool.next/` holds a new run until
//! it is in the place of the old one.

pub(crate) mod log;

pub use log::Row;

mod config;
mod lock;
mod replace;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::error::plain_types;
use crate::base::files::{holds_only, is_there, read_text, write_bytes};
use crate::base::{Error, Remedy, Result};
use crate::data::{ClassPresence, Dataset, Pair};
use crate::recipe::{ForestRecipe, Kind, NetworkRecipe, Recipe};

pub use config::{ForestRunConfig, NetworkRunConfig, RunConfig, RunRecipe};
pub use lock::RunLock;

/// What a run was made with; it makes a folder a run.
const CONFIG: &str = "config.json";
const SAMPLES: &str = "samples.json";

/// A data set by name or file, or the one that a run folder was trained on, with its classes merged or not. A folder that is
/// no run does not stand in the way of a data set of its name.
pub fn find_dataset(name_or_run: impl AsRef<Path>) -> Result<Dataset> {
    let folder = name_or_run.as_ref();
    if !is_run(folder) {
        return Dataset::find(&folder.to_string_lossy()).map_err(|e| match e {
            Error::Unknown { known, .. } if folder.is_dir() => Error::content(
                folder,
                format!(
                    "is neither a run folder (it has no {CONFIG}) nor the name of a data set; give the folder that training \
                     wrote, a .toml file, or one of {known}"
                ),
            ),
            e => e,
        });
    }
    let run = Run::open(folder)?;
    run.dataset().follow_orientation();
    Ok(run.dataset().clone())
}

/// Whether a folder is a run, of a network or of a forest, also if its configuration is damaged. Folders of other programs
/// may have a config.json, too.
pub fn is_run(folder: &Path) -> bool {
    let config = replace::home(folder).and_then(|home| read_text(&home.join(CONFIG)));
    config.is_ok_and(|text| serde_json::from_str::<Value>(&text).map_or(true, |config| config.get("recipe").is_some()))
}

/// The pairs of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// Trained on.
    pub train: Vec<Pair>,
    /// Scored after each epoch; may be empty.
    pub validation: Vec<Pair>,
    /// What the pairs that are trained on show.
    #[serde(default)]
    pub presence: ClassPresence,
}

/// The run folder of one kind of model.
#[derive(Debug, Clone)]
pub struct RunOf<R> {
    folder: PathBuf,
    /// What it was made with.
    pub config: RunConfig<R>,
}

/// A network's run folder.
pub type NetworkRun = RunOf<NetworkRecipe>;
/// A random forest's run folder.
pub type ForestRun = RunOf<ForestRecipe>;

/// A run folder of any kind.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one a process
pub enum Run {
    /// Of a network.
    Network(NetworkRun),
    /// Of a random forest.
    Forest(ForestRun),
}

impl Run {
    /// Opens a run folder.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let home = replace::home(folder)?;
        let path = home.join(CONFIG);
        if !is_there(&path)? {
            let reason = "is not a run folder (it has no config.json); give the folder that training wrote";
            return Err(Error::content(folder, reason));
        }
        let config: Value = read_json(&path)?;
        if config.get("recipe").is_some_and(|recipe| recipe.get("forest").is_some()) {
            Ok(Self::Forest(RunOf::read(home, &path)?))
        } else {
            Ok(Self::Network(RunOf::read(home, &path)?))
        }
    }

    /// Says whether a new run may be written to a folder, without touching anything.
    pub fn check_target(folder: &Path, overwrite: bool) -> Result<()> {
        let is_run = is_there(&replace::home(folder)?.join(CONFIG))?;
        let occupied = is_run || !holds_only(folder, &[lock::LOCK, replace::NEXT])?;
        match (occupied, is_run, overwrite) {
            (false, ..) | (true, true, true) => Ok(()),
            (true, true, false) => {
                let of_forest = matches!(Run::open(folder), Ok(Run::Forest(_)));
                let go_on = (!of_forest).then(|| Remedy::Resume(folder.into()));
                let remedies = go_on.into_iter().chain([Remedy::Overwrite, Remedy::Another("output")]);
                Err(Error::occupied(folder, "already holds a run", remedies.collect::<Vec<_>>()))
            }
            (true, false, _) => {
                Err(Error::occupied(folder, "exists and is not a run folder", [Remedy::Another("output")]))
            }
        }
    }

    /// The kind of model.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Network(_) => Kind::Network,
            Self::Forest(_) => Kind::Forest,
        }
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        match self {
            Self::Network(run) => run.folder(),
            Self::Forest(run) => run.folder(),
        }
    }

    /// The data set as it was trained on.
    pub fn dataset(&self) -> &Dataset {
        match self {
            Self::Network(run) => &run.config.dataset,
            Self::Forest(run) => &run.config.dataset,
        }
    }

    /// Its report.
    pub fn report_path(&self) -> PathBuf {
        match self {
            Self::Network(run) => run.report_path(),
            Self::Forest(run) => run.report_path(),
        }
    }

    /// The images and labels that it was trained and scored on.
    pub fn samples(&self) -> Result<Samples> {
        match self {
            Self::Network(run) => run.samples(),
            Self::Forest(run) => run.samples(),
        }
    }

    /// What it was trained with, as a recipe for another training.
    pub fn recipe(&self) -> Recipe {
        match self {
            Self::Network(run) => {
                let mut recipe = run.config.recipe.clone();
                recipe.network.unfit();
                Recipe::Network(Box::new(recipe))
            }
            Self::Forest(run) => Recipe::Forest(Box::new(run.config.recipe.clone())),
        }
    }
}

impl<R: RunRecipe> RunOf<R> {
    fn read(folder: PathBuf, path: &Path) -> Result<Self>
    where
        R: for<'a> Deserialize<'a>,
    {
        let config: RunConfig<R> = read_json(path)?;
        let damaged = |e: Error| Error::content(path, format!("{e}; it is damaged, or was changed by hand"));
        config.check().map_err(damaged)?;
        Ok(Self { folder, config })
    }

    /// Makes the folder and writes what the run is made with.
    ///
    /// # Errors
    ///
    /// Those of [`Run::check_target`]: a run that is there already is not replaced.
    pub fn create(folder: &Path, config: RunConfig<R>, samples: &Samples) -> Result<Self> {
        Run::check_target(folder, false)?;
        Self::create_with(folder, config, samples, |_| Ok(()))
    }

    /// [`Self::create`] with what `fill` adds: the run that it is given is not in its place yet, and an older one in the
    /// folder goes when all of it is on the disk.
    pub(crate) fn create_with(
        folder: &Path,
        config: RunConfig<R>,
        samples: &Samples,
        fill: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<Self> {
        let mut run = Self { folder: folder.into(), config };
        replace::replace(folder, &run.config.clone(), |next| {
            run.folder = next.into();
            write_json(&next.join(SAMPLES), samples)?;
            fill(&run)
        })?;
        run.folder = folder.into();
        Ok(run)
    }

    /// The run that another process writes.
    pub(crate) fn written_elsewhere(folder: &Path, config: RunConfig<R>) -> Self {
        Self { folder: folder.into(), config }
    }

    /// Writes what the run is made with once more, after a change.
    pub(crate) fn rewrite_config(&self) -> Result<()> {
        write_json(&self.folder.join(CONFIG), &self.config)
    }

    /// The images and labels that it was trained and scored on.
    pub fn samples(&self) -> Result<Samples> {
        read_json(&self.folder.join(SAMPLES))
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The report.
    pub fn report_path(&self) -> PathBuf {
        self.folder.join("report.html")
    }
}

impl ForestRun {
    /// The forest.
    pub fn forest_path(&self) -> PathBuf {
        self.folder.join("forest.bin")
    }

    /// The encoder's weights.
    pub fn encoder_path(&self) -> PathBuf {
        self.folder.join("encoder.safetensors")
    }

    /// Path of `scores.json`, the held-out scores and the feature importances of the forest.
    pub fn scores_path(&self) -> PathBuf {
        self.folder.join("scores.json")
    }
}

impl NetworkRun {
    /// Opens the folder of a network's run.
    pub fn open(folder: &Path) -> Result<Self> {
        match Run::open(folder)? {
            Run::Network(run) => Ok(run),
            Run::Forest(run) => Err(Error::content(
                folder,
                format!(
                    "is a run of a random forest (recipe {}), but a run of a network is needed here; a forest cannot be resumed, only \
                     trained again",
                    run.config.recipe.name
                ),
            )),
        }
    }

    /// The best weights.
    pub fn weights_path(&self) -> PathBuf {
        self.folder.join("model.safetensors")
    }

    /// Path of the folder `last/`, the checkpoint from which training resumes.
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

    /// Folder of the event files.
    pub fn tensorboard_path(&self) -> PathBuf {
        self.folder.join("tensorboard")
    }

    /// The weights of an epoch, where they are kept.
    pub fn epoch_path(&self, epoch: usize) -> PathBuf {
        self.folder.join("epochs").join(format!("epoch_{epoch:04}.safetensors"))
    }

    /// Folder of the best and worst validation images.
    pub fn validation_path(&self) -> PathBuf {
        self.folder.join("validation")
    }
}

/// A time as ISO 8601 has it, to the second: `2026-01-31T23:59:59Z`.
pub fn utc(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time.max(UNIX_EPOCH)).to_string()
}

/// Writes a value as JSON, atomically.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_bytes(path, serde_json::to_string_pretty(value).map_err(|e| Error::content(path, e))?.as_bytes())
}

/// Reads a value from JSON.
pub fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    serde_json::from_str(&read_text(path)?).map_err(|e| {
        let reason = plain_types(&e.to_string());
        Error::content(path, format!("{reason}; it is damaged, or was written by another version of segtool"))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::base::files::create_folder;

    #[test]
    fn a_new_run_leaves_nothing_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let config = NetworkRunConfig {
            version: "0.1.0".into(),
            seed: 1,
            device: "flex".into(),
            weights: Vec::new(),
            started: None,
            class_weights: None,
            recipe: NetworkRecipe::find("unet-demo").unwrap(),
            dataset: Dataset::find("demo").unwrap(),
        };
        let samples = Samples { train: Vec::new(), validation: Vec::new(), presence: ClassPresence::default() };
        let run = NetworkRun::create(folder.path(), config.clone(), &samples).unwrap();
        for file in [run.weights_path(), run.log_path(), run.curves_path(), run.report_path()] {
            fs::write(file, "old").unwrap();
        }
        for old in [run.last_path(), run.tensorboard_path(), run.validation_path().join("epoch_0001")] {
            create_folder(&old).unwrap();
            fs::write(old.join("file"), "old").unwrap();
        }
        let refused = NetworkRun::create(folder.path(), config.clone(), &samples).unwrap_err();
        assert!(matches!(refused, Error::Occupied { .. }), "{refused}");
        NetworkRun::create_with(folder.path(), config, &samples, |_| Ok(())).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["config.json", "samples.json"]);
    }

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
