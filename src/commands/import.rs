//! `segtool import`.

use anyhow::Result;
use segtool::base::inputs::ReadFiles;
use segtool::data::{Dataset, Normalisation};
use segtool::recipe::NetworkRecipe;
use segtool::weights::{Weights, locate};

use crate::cli::Import;
use crate::program::exit::{Exit, wrong_usage};
use crate::program::ui::{self, Progress};

pub(crate) fn run(arguments: Import) -> Result<Exit> {
    if arguments.output.extension().is_none_or(|extension| extension != "safetensors") {
        wrong_usage!("--output {}: imported weights are written as .safetensors", arguments.output.display());
    }
    let recipe = arguments.recipe.as_deref().map(NetworkRecipe::find).transpose()?;
    let files = locate(&arguments.files, &Progress::new())?;
    ReadFiles::new(&files).refuse(&arguments.output, "output")?;
    let choice = arguments.chosen.choice();
    let mut weights = Weights::open_chosen(&files, recipe.as_ref().map(|recipe| &recipe.network), &choice)?;
    if let Some(recipe) = &recipe {
        weights.set_activation(recipe.activation, recipe.threshold);
    }
    if let Some(name) = &arguments.dataset {
        let dataset = Dataset::find(name)?;
        if let Normalisation::PerDataset { .. } = dataset.normalisation {
            wrong_usage!(
                "data set '{name}' measures its normalisation in training; give one whose normalisation is fixed"
            );
        }
        weights.set_normalisation(dataset.normalisation.clone())?;
        weights.set_dataset(dataset);
    }
    let report = weights.check()?;
    weights.write(&arguments.output)?;
    ui::say(&report.to_string());
    for (what, value) in weights.facts() {
        ui::say(&format!("{what}: {value}"));
    }
    ui::result(&format!("imported: {}", arguments.output.display()));
    Ok(Exit::Done)
}
