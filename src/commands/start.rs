//! What a training begins with where the command line leaves it open: recipe, data set, run folder.

use std::path::{Path, PathBuf};

use anyhow::Result;
use segtool::data::Descriptor;
use segtool::error::Error;
use segtool::recipe::{AnyRecipe, Recipe};
use segtool::run::{AnyRun, find_dataset};

use crate::cli::Train;

/// The network of the Capstone's script, which names none.
const RECIPE: &str = "pspnet50-capstone";
/// Of masks in folders, the earthquake system's network; of single pixels, the forest.
const RECIPE_FOR_MASKS: &str = "unet-earthquake";
const RECIPE_FOR_PIXELS: &str = "hypercolumn-core";

/// What a training begins with.
pub(super) struct Start {
    /// With the values of `--set`, before other flags change it.
    pub(super) recipe: AnyRecipe,
    /// Where it is not the recipe's own.
    pub(super) dataset: Option<Descriptor>,
    /// The run folder to write.
    pub(super) folder: PathBuf,
    /// What was chosen without being asked for.
    pub(super) notes: Vec<String>,
}

impl Start {
    pub(super) fn of(arguments: &Train) -> Result<Self> {
        let mut notes = Vec::new();
        let given = arguments.dataset.as_deref().map(find_dataset).transpose()?;
        let changes = &arguments.procedure.set;
        let own = |recipe: Recipe| Ok::<_, Error>(AnyRecipe::Network(Box::new(recipe.changed(changes)?)));
        let run_of = |name: Option<&String>| name.map_or(Ok(None), |name| trained(name));
        let (recipe, dataset) = match (&arguments.recipe, run_of(arguments.weights.first())?) {
            (Some(name), _) => match run_of(Some(name))? {
                Some((recipe, dataset)) => (own(recipe)?, Some(given.unwrap_or(dataset))),
                None => (AnyRecipe::find_with(name, changes)?, given),
            },
            (None, Some((recipe, dataset))) => {
                notes.push(format!("no --recipe: taking that of {}, {}", arguments.weights[0], recipe.name));
                (own(recipe)?, Some(given.unwrap_or(dataset)))
            }
            (None, None) => {
                let name = usual_recipe(arguments);
                notes.push(format!("no --recipe: taking {name}; segtool info --recipes lists them all"));
                (AnyRecipe::find_with(name, changes)?, given)
            }
        };
        let folder = match &arguments.output_path {
            Some(folder) => folder.clone(),
            None => {
                let folder = free_folder(arguments, recipe.name());
                if arguments.limits.show_augmented.is_none() {
                    notes.push(format!("no --output-path: the run goes to {}", folder.display()));
                }
                folder
            }
        };
        Ok(Self { recipe, dataset, folder, notes })
    }
}

/// What the network was trained with whose run folder has that name; `None` if there is none.
fn trained(name: &str) -> Result<Option<(Recipe, Descriptor)>> {
    if !Path::new(name).join("config.json").is_file() {
        return Ok(None);
    }
    Ok(match AnyRun::open(Path::new(name))? {
        AnyRun::Network(run) => {
            let mut recipe = run.config.recipe;
            recipe.network.unfit();
            Some((recipe, find_dataset(name)?))
        }
        AnyRun::Forest(_) => None,
    })
}

fn usual_recipe(arguments: &Train) -> &'static str {
    if arguments.pixels.label_csv.is_some() {
        RECIPE_FOR_PIXELS
    } else if arguments.mask_folders.is_some() {
        RECIPE_FOR_MASKS
    } else {
        RECIPE
    }
}

/// A folder that is not there yet, or that may be overwritten.
fn free_folder(arguments: &Train, recipe: &str) -> PathBuf {
    let name = arguments.modelname.as_deref().unwrap_or(recipe);
    let first = arguments.ckpt.join(name);
    if arguments.overwrite {
        return first;
    }
    let numbered = (2..).map(|number| arguments.ckpt.join(format!("{name}-{number}")));
    let mut folders = std::iter::once(first.clone()).chain(numbered);
    folders.find(|folder| std::fs::symlink_metadata(folder).is_err()).unwrap_or(first)
}
