//! What a training begins with where the command line leaves it open: recipe, data set, run folder.

use std::path::{Path, PathBuf};

use anyhow::Result;
use segtool::data::Dataset;
use segtool::recipe::{Kind, Recipe};
use segtool::run::{Run, find_dataset, is_run};

use crate::cli::Train;

/// The network of the Capstone's script, which names none.
const RECIPE: &str = "pspnet50-capstone";
/// Of masks in folders, the earthquake system's network; of single pixels, the forest.
const RECIPE_FOR_MASKS: &str = "unet-earthquake";
pub(super) const RECIPE_FOR_PIXELS: &str = "hypercolumn-core";

/// What a training begins with.
pub(super) struct Start {
    /// With the values of `--set`, before other flags change it.
    pub(super) recipe: Recipe,
    /// Where it is not the recipe's own.
    pub(super) dataset: Option<Dataset>,
    /// The run folder to write.
    pub(super) folder: PathBuf,
    /// What was chosen without being asked for.
    pub(super) notes: Vec<String>,
}

impl Start {
    pub(super) fn of(arguments: &Train) -> Result<Self> {
        let mut notes = Vec::new();
        let given = arguments.dataset.as_deref().map(find_dataset).transpose()?;
        let changes = &arguments.set;
        let (recipe, dataset) = match (&arguments.recipe, run_of_weights(arguments)?) {
            (Some(name), _) => match trained(name)? {
                Some((recipe, dataset)) => (recipe.changed(changes)?, Some(given.unwrap_or(dataset))),
                None => (Recipe::find_with(name, changes)?, given),
            },
            (None, Some((recipe, dataset))) => {
                notes.push(format!("no --recipe: using that of {}, {}", arguments.weights[0], recipe.name()));
                (recipe.changed(changes)?, Some(given.unwrap_or(dataset)))
            }
            (None, None) => {
                let name = usual_recipe(arguments);
                notes.push(format!("no --recipe: using {name}; segtool info --recipes lists all recipes"));
                (Recipe::find_with(name, changes)?, given)
            }
        };
        let folder = match &arguments.output_path {
            Some(folder) => folder.clone(),
            None => {
                let folder = free_folder(arguments, recipe.name());
                if arguments.network.show_augmented.is_none() {
                    notes.push(format!("no --output-path: the run goes to {}", folder.display()));
                }
                folder
            }
        };
        Ok(Self { recipe, dataset, folder, notes })
    }
}

/// What the network was trained with whose run is given as weights, unless a recipe is given or labels are single pixels,
/// which only a forest learns from.
fn run_of_weights(arguments: &Train) -> Result<Option<(Recipe, Dataset)>> {
    match arguments.weights.first() {
        Some(name) if arguments.recipe.is_none() && arguments.data.table.label_csv.is_none() => {
            Ok(trained(name)?.filter(|(recipe, _)| recipe.kind() == Kind::Network))
        }
        _ => Ok(None),
    }
}

/// What the run of that name was trained with; `None` if there is none.
fn trained(name: &str) -> Result<Option<(Recipe, Dataset)>> {
    if !is_run(Path::new(name)) {
        return Ok(None);
    }
    Ok(Some((Run::open(name)?.recipe(), find_dataset(name)?)))
}

fn usual_recipe(arguments: &Train) -> &'static str {
    if arguments.data.table.label_csv.is_some() {
        RECIPE_FOR_PIXELS
    } else if arguments.data.whole.mask_folders.is_some() {
        RECIPE_FOR_MASKS
    } else {
        RECIPE
    }
}

/// A folder that is not there yet or empty, or that may be overwritten.
fn free_folder(arguments: &Train, recipe: &str) -> PathBuf {
    let name = arguments.modelname.as_deref().unwrap_or(recipe);
    let first = arguments.ckpt.join(name);
    if arguments.overwrite {
        return first;
    }
    let numbered = (2..).map(|number| arguments.ckpt.join(format!("{name}-{number}")));
    let mut folders = std::iter::once(first.clone()).chain(numbered);
    folders.find(|folder| Run::check_target(folder, false).is_ok()).unwrap_or(first)
}
