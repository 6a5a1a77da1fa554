//! The run folder: everything that `predict` and `--resume` need, in one place.
//!
//! Of a network:
//!
//! | file | content |
//! | --- | --- |
//! | `config.json` | recipe as used, data set dataset, seed, version |
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

mod lock;
mod replace;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::error::plain_types;
use crate::base::files::{holds_only, is_there, read_text, write_bytes};
use crate::base::{Error, Remedy, Result, require};
use crate::data::{ClassPresence, Dataset, Pair};
use crate::recipe::{ForestRecipe, NetworkRecipe};
use crate::weights::Description;

pub use lock::RunLock;

/// What a run was made with; it makes a folder a run.
const CONFIG: &str = "config.json";
const SAMPLES: &str = "samples.json";

/// What a run was made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkRunConfig {
    /// Version of segtool that wrote it.
    pub version: String,
    /// Seed of weights, order and augmentation.
    pub seed: u64,
    /// Where it was trained; resumed there too unless told otherwise.
    pub device: String,
    /// Files of the weights it began with, if it did not begin with random ones.
    #[serde(default)]
    pub weights: Vec<PathBuf>,
    /// When it began, by [`utc`]; older runs do not say.
    #[serde(default)]
    pub started: Option<String>,
    /// The recipe as used.
    pub recipe: NetworkRecipe,
    /// What a pixel of each class counts in the losses that are means over pixels, where they do not all count the same.
    #[serde(default)]
    pub class_weights: Option<Vec<f32>>,
    /// The data set as used: merged classes and measured normalisation are in it.
    pub dataset: Dataset,
}

impl NetworkRunConfig {
    /// Checks what recipe and data set files are checked for, and that both go together.
    fn check(&self) -> Result<()> {
        check_dataset(&self.dataset)?;
        let mut recipe = self.recipe.clone();
        // Epochs beside phases, a mistake in a recipe, change nothing in a run that went by its phases.
        if !recipe.training.phases.is_empty() {
            recipe.training.epochs = 0;
        }
        recipe.fit(&self.dataset).map(drop)
    }

    /// Names of the classes.
    pub(crate) fn class_names(&self) -> Vec<String> {
        self.dataset.classes.iter().map(|class| class.name.clone()).collect()
    }

    /// What its weights are of.
    pub fn description(&self) -> Description {
        let own = Description::own(self.recipe.network.clone(), self.dataset.normalisation.clone());
        own.deciding_by(self.recipe.activation, self.recipe.threshold).of_classes(self.dataset.clone())
    }
}

/// What a run of a random forest was made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForestRunConfig {
    /// Version of segtool that wrote it.
    pub version: String,
    /// Seed of the forest, of the split and of random weights.
    pub seed: u64,
    /// Where features were computed.
    pub device: String,
    /// Files of the encoder's weights, if they are not random ones.
    pub weights: Vec<PathBuf>,
    /// When it was made, by [`utc`].
    pub started: String,
    /// The recipe as used.
    pub recipe: ForestRecipe,
    /// The data set as used.
    pub dataset: Dataset,
}

impl ForestRunConfig {
    /// Checks what recipe and data set files are checked for, and that both go together.
    fn check(&self) -> Result<()> {
        check_dataset(&self.dataset)?;
        self.recipe.check(&self.dataset)
    }
}

fn check_dataset(dataset: &Dataset) -> Result<()> {
    dataset.validate()?;
    let most = usize::from(u16::MAX);
    require(dataset.bands <= most, "bands", dataset.bands, format!("at most {most}, as in images"))
}

/// A data set by name or file, or the one that a run folder was trained on, with its classes merged or not. A folder that is
/// no run does not stand in the way of a data set of its name.
pub fn find_dataset(name_or_run: &str) -> Result<Dataset> {
    let folder = Path::new(name_or_run);
    if !is_run(folder) {
        return Dataset::find(name_or_run).map_err(|e| match e {
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
    let dataset = match Run::open(folder)? {
        Run::Network(run) => run.config.dataset,
        Run::Forest(run) => run.config.dataset,
    };
    dataset.follow_orientation();
    Ok(dataset)
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

/// The folder of a random forest's run.
#[derive(Debug, Clone)]
pub struct ForestRun {
    folder: PathBuf,
    /// What it was made with.
    pub config: ForestRunConfig,
}

/// A run of either kind.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one a process
pub enum Run {
    /// Of a network.
    Network(NetworkRun),
    /// Of a random forest.
    Forest(ForestRun),
}

impl Run {
    /// Opens the folder of a run.
    pub fn open(folder: &Path) -> Result<Self> {
        let home = replace::home(folder)?;
        let path = home.join(CONFIG);
        if !is_there(&path)? {
            let reason = "is not a run folder (it has no config.json); give the folder that training wrote";
            return Err(Error::content(folder, reason));
        }
        let config: Value = read_json(&path)?;
        let of_forest = config.get("recipe").is_some_and(|recipe| recipe.get("forest").is_some());
        let folder = home;
        let damaged = |e: Error| Error::content(&path, format!("{e}; it is damaged, or was changed by hand"));
        Ok(match of_forest {
            true => {
                let config: ForestRunConfig = read_json(&path)?;
                config.check().map_err(damaged)?;
                Self::Forest(ForestRun { folder, config })
            }
            false => {
                let config: NetworkRunConfig = read_json(&path)?;
                config.check().map_err(damaged)?;
                Self::Network(NetworkRun { folder, config })
            }
        })
    }
}

impl ForestRun {
    /// Writes a run: what it is made with, and what `fill` adds. An older run in the folder goes when all of it is on the
    /// disk.
    pub fn write(
        folder: &Path,
        config: ForestRunConfig,
        samples: &Samples,
        fill: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<()> {
        let mut run = Self { folder: folder.into(), config };
        replace::replace(folder, &run.config.clone(), |next| {
            run.folder = next.into();
            write_json(&next.join(SAMPLES), samples)?;
            fill(&run)
        })
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The forest.
    pub fn forest_path(&self) -> PathBuf {
        self.folder.join("forest.bin")
    }

    /// The encoder's weights.
    pub fn encoder_path(&self) -> PathBuf {
        self.folder.join("encoder.safetensors")
    }

    /// What was found out about the forest.
    pub fn scores_path(&self) -> PathBuf {
        self.folder.join("scores.json")
    }

    /// The same to look at.
    pub fn report_path(&self) -> PathBuf {
        self.folder.join("report.html")
    }
}

/// A network's run folder.
#[derive(Debug, Clone)]
pub struct NetworkRun {
    folder: PathBuf,
    /// What it was made with.
    pub config: NetworkRunConfig,
}

impl NetworkRun {
    /// Says whether [`Self::create`] would be refused, without touching anything.
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

    /// Makes the folder and writes what the run is made with; an older run in it goes.
    pub fn create(folder: &Path, config: NetworkRunConfig, samples: &Samples) -> Result<Self> {
        Self::create_with(folder, config, samples, |_| Ok(()))
    }

    /// [`Self::create`] with what `fill` adds: the run that it is given is not in its place yet.
    pub(crate) fn create_with(
        folder: &Path,
        config: NetworkRunConfig,
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

    /// Opens the folder of a network's run.
    pub fn open(folder: &Path) -> Result<Self> {
        match Run::open(folder)? {
            Run::Network(run) => Ok(run),
            Run::Forest(run) => Err(Error::content(
                folder,
                format!(
                    "is a run of a random forest (recipe {}), and a network's is wanted here; it is predicted with as any run \
                     is, its `predictions` are scored, and it is not resumed but trained anew",
                    run.config.recipe.name
                ),
            )),
        }
    }

    /// Writes what the run is made with once more, after a change.
    pub fn rewrite_config(&self) -> Result<()> {
        write_json(&self.folder.join(CONFIG), &self.config)
    }

    /// The pairs it was trained on.
    pub fn samples(&self) -> Result<Samples> {
        read_json(&self.folder.join(SAMPLES))
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

    /// The report.
    pub fn report_path(&self) -> PathBuf {
        self.folder.join("report.html")
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
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since the 1st of March of the year 0, so that leap days end years; 400 years have 146,097 days.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march_month = (5 * day + 2) / 153;
    let day = day - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = 400 * era + year + u64::from(month < 3);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Writes a value as JSON, atomically.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::content(path, e))?;
    write_bytes(path, text.as_bytes())
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
        NetworkRun::create(folder.path(), config, &samples).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["config.json", "samples.json"]);
    }

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        // By Python's datetime.
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
