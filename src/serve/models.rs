//! The models that are served, each opened once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::settings::{Compute, Settings};
use crate::base::files::{absolute, is_file};
use crate::base::markup::hex;
use crate::base::{Error, Result, Size};
use crate::image::orientation_is_requested;
use crate::predict::{Choices, Options, Predictor, Procedure, Wanted};
use crate::recipe::Kind;
use crate::run::Run;

/// Images of the validation set that are offered.
const SAMPLES: usize = 12;
/// Images of more pixels are predicted in sliding windows, so that progress is seen and they can be cancelled.
const WHOLE: usize = 4 << 20;
/// Side of windows where memory does not choose it.
const SIDE: usize = 512;

/// The models, in the order in which they were given.
#[derive(Debug)]
pub struct Models(Vec<Model>);

/// A model that is served.
#[derive(Debug)]
pub struct Model {
    /// What requests call it.
    pub id: String,
    /// What predicts.
    pub predictor: Predictor,
    /// Images of the run's validation set.
    pub(super) samples: Vec<PathBuf>,
    recipe: String,
    compute: Compute,
}

impl Models {
    /// Opens the models of all runs.
    ///
    /// # Errors
    ///
    /// If one of them cannot be opened.
    pub fn open(settings: &Settings) -> Result<Self> {
        let mut ids = BTreeSet::new();
        let open = |folder: &PathBuf| Model::open(folder, free_id(folder, &mut ids), &settings.compute);
        let models: Vec<Model> = settings.runs.iter().map(open).collect::<Result<_>>()?;
        let policy = |model: &Model| model.predictor.dataset().orientation.unwrap_or_default();
        let differs = |model: &&Model| !orientation_is_requested() && policy(model) != policy(&models[0]);
        // There is one policy in a process.
        if let Some(other) = models.iter().find(differs) {
            let first = &models[0];
            let reason = format!(
                "{} was trained with `orientation` {}, but {} with {}; set `orientation`, or start a server for each",
                other.id,
                policy(other),
                first.id,
                policy(first)
            );
            return Err(Error::conflict("run", reason));
        }
        Ok(Self(models))
    }

    /// All of them.
    pub fn all(&self) -> &[Model] {
        &self.0
    }

    /// The model that requests call so.
    pub fn get(&self, id: &str) -> Option<&Model> {
        self.0.iter().find(|model| model.id == id)
    }
}

impl Model {
    fn open(folder: &Path, id: String, compute: &Compute) -> Result<Self> {
        let run = Run::open(folder)?;
        let precision = if run.kind() == Kind::Forest { Default::default() } else { compute.precision };
        let predictor = Predictor::open_on(folder, compute.device, precision)?;
        let validation = run.samples().map(|samples| samples.validation).unwrap_or_default();
        let there = validation.into_iter().map(|pair| pair.image).filter(|image| is_file(image));
        let samples = there.take(SAMPLES).collect();
        let recipe = run.recipe().name().to_owned();
        Ok(Self { id, predictor, samples, recipe, compute: compute.clone() })
    }

    /// How an image of `size` is predicted: in sliding windows if it is large or would not fit into memory as a whole. Also
    /// the side of these windows.
    pub(super) fn options(&self, path: &Path, size: Size, bands: Option<&[usize]>) -> Result<(Options, Option<usize>)> {
        let plain = Options {
            wanted: Wanted { highest: true, all: false },
            bands: bands.map(<[usize]>::to_vec),
            memory: self.compute.memory,
            ..Options::default()
        };
        let side = match (self.predictor.kind(), self.compute.tile) {
            (Kind::Forest, side) => side,
            (Kind::Network, Some(side)) => Some(side),
            (Kind::Network, None) => {
                let is_small = size.width * size.height <= WHOLE;
                let fits = is_small && self.predictor.check_memory(path, size, &plain).is_ok();
                (!fits).then(|| self.predictor.largest_tile(&plain).unwrap_or(SIDE))
            }
        };
        let procedure = match side {
            Some(side) => Procedure::new(&Choices { tile: Some(side), ..Choices::default() })?,
            None => Procedure::default(),
        };
        let goes_over = side.filter(|side| size.width.max(size.height) > *side);
        Ok((Options { procedure, ..plain }, goes_over))
    }

    /// Whether images of this size are computed with others. Those in windows are timed, shown and cancelled one by one.
    pub(super) fn goes_together(&self, size: Size) -> bool {
        let is_whole = self.compute.tile.is_none_or(|tile| size.width.max(size.height) <= tile);
        self.predictor.kind() == Kind::Network && is_whole && size.width * size.height <= WHOLE
    }

    /// What `/api/models` says of it.
    pub(super) fn to_json(&self, url_allowed: bool, limits: &super::settings::Limits) -> Value {
        let dataset = self.predictor.dataset();
        let classes = dataset.classes.iter().zip(dataset.shown_colors()).enumerate();
        let classes: Vec<Value> = classes
            .map(|(index, (class, color))| {
                json!({ "index": index, "value": class.values[0], "name": class.name, "color": hex(color) })
            })
            .collect();
        let samples: Vec<Value> = self
            .samples
            .iter()
            .enumerate()
            .map(|(id, path)| json!({ "id": id, "name": path.file_name().unwrap_or_default().to_string_lossy() }))
            .collect();
        let kind = if self.predictor.kind() == Kind::Forest { "forest" } else { "network" };
        json!({
            "id": self.id, "name": self.id, "kind": kind, "recipe": self.recipe, "dataset": dataset.name,
            "bands": dataset.bands, "classes": classes, "samples": samples, "url_allowed": url_allowed,
            "limits": { "bytes": limits.bytes, "pixels": limits.pixels },
        })
    }
}

/// The name of a folder in letters, digits, dots and dashes, with a number where others have the same.
fn free_id(folder: &Path, taken: &mut BTreeSet<String>) -> String {
    let name = absolute(folder).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '_' { c } else { '-' };
    let plain: String = name.chars().map(plain).collect();
    let first = match plain.trim_matches(['.', '-']) {
        "" => "model".to_owned(),
        name => name.to_owned(),
    };
    let numbered = (2..).map(|number| format!("{first}-{number}"));
    std::iter::once(first.clone()).chain(numbered).find(|id| taken.insert(id.clone())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_and_differ() {
        let mut taken = BTreeSet::new();
        let ids = ["runs/oil seeps", "b/oil seeps", "/", "x/../öl"].map(|path| free_id(Path::new(path), &mut taken));
        assert_eq!(ids, ["oil-seeps", "oil-seeps-2", "model", "l"]);
    }
}
