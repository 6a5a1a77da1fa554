//! What options change in a recipe.

use std::mem::discriminant;

use anyhow::Result;
use segtool::recipe::{Kind, NetworkRecipe, OptimizerConfig, Recipe, Training};

use super::refuse_flags;
use crate::cli::{ForestTraining, Given, LabelTable, NetworkTraining, Optimizer, Procedure, Train, WholeImages};
use crate::program::exit::wrong_usage;

/// The recipe as the options want it, but for `--set`, which comes before them. Options without effect on its kind of model
/// are refused.
pub(super) fn apply(recipe: Recipe, arguments: &Train) -> Result<Recipe> {
    refuse_without_effect(arguments, recipe.kind())?;
    Ok(match recipe {
        Recipe::Network(recipe) => {
            let mut recipe = adjusted(*recipe, &arguments.network.procedure)?;
            recipe.merge_classes |= arguments.network.merge_classes;
            Recipe::Network(Box::new(recipe))
        }
        Recipe::Forest(mut recipe) => {
            let ForestTraining { taps, scales, .. } = &arguments.forest;
            if !taps.is_empty() {
                recipe.features.taps.clone_from(taps);
            }
            if !scales.is_empty() {
                recipe.features.scales.clone_from(scales);
            }
            Recipe::Forest(recipe)
        }
    })
}

fn refuse_without_effect(arguments: &Train, kind: Kind) -> Result<()> {
    let given = &arguments.given;
    let more = match kind {
        Kind::Network => given.of::<ForestTraining>(),
        Kind::Forest => given.of::<NetworkTraining>(),
    };
    refuse_flags(&[data_without_effect(given, kind), more].concat(), &format!("a recipe of a {kind}"))
}

/// Refuses ways to give images and labels that have no effect on a kind of model.
pub(super) fn refuse_data_without_effect(given: &Given, kind: Kind) -> Result<()> {
    refuse_flags(&data_without_effect(given, kind), &format!("a recipe of a {kind}"))
}

fn data_without_effect(given: &Given, kind: Kind) -> Vec<String> {
    match kind {
        Kind::Network => given.of::<LabelTable>(),
        Kind::Forest => given.of::<WholeImages>(),
    }
}

fn adjusted(mut recipe: NetworkRecipe, procedure: &Procedure) -> Result<NetworkRecipe> {
    if let Some(width) = procedure.width {
        recipe.network.set_width(width);
    }
    let training = &mut recipe.training;
    set_epochs(training, &procedure.num_epoch)?;
    training.batch_size = procedure.batch_size.unwrap_or(training.batch_size);
    training.accumulate = procedure.accumulate.unwrap_or(training.accumulate);
    training.precision = procedure.precision.unwrap_or(training.precision);
    training.head_rate = procedure.head_rate.unwrap_or(training.head_rate);
    training.class_weights = procedure.class_weights.clone().unwrap_or(training.class_weights.clone());
    training.clip_norm = procedure.clip_norm.or(training.clip_norm);
    training.ema = procedure.ema.or(training.ema);
    training.sampling.foreground = procedure.foreground.unwrap_or(training.sampling.foreground);
    training.best_by = procedure.best_by.unwrap_or(training.best_by);
    training.patience = procedure.patience.or(training.patience);
    training.checkpointing |= procedure.checkpointing;
    set_in_all_phases(training, procedure);
    Ok(recipe)
}

/// One number a phase.
fn set_epochs(training: &mut Training, epochs: &[usize]) -> Result<()> {
    match (epochs, &mut training.phases[..]) {
        ([], _) => {}
        ([epochs], []) => training.epochs = *epochs,
        (epochs, phases) if epochs.len() == phases.len() => {
            phases.iter_mut().zip(epochs).for_each(|(phase, epochs)| phase.epochs = *epochs);
        }
        (_, phases) => wrong_usage!(
            "numbers given to --num-epoch: {}, training phases of the recipe: {}; give one number for each phase, as in {}",
            epochs.len(),
            phases.len().max(1),
            vec!["10"; phases.len().max(1)].join(",")
        ),
    }
    Ok(())
}

/// What phases have of their own is set in each of them.
fn set_in_all_phases(training: &mut Training, procedure: &Procedure) {
    if let Some(rate) = procedure.learning_rate {
        training.learning_rate = rate;
        training.phases.iter_mut().for_each(|phase| phase.learning_rate = None);
    }
    if let Some(terms) = &procedure.loss {
        training.loss.clone_from(&terms.0);
        training.phases.iter_mut().for_each(|phase| phase.loss = None);
    }
    if let Some(changes) = &procedure.augment {
        training.augment.clone_from(&changes.0);
        training.phases.iter_mut().for_each(|phase| phase.augment = None);
    }
    if !procedure.freeze.is_empty() {
        training.freeze.clone_from(&procedure.freeze);
        training.phases.iter_mut().for_each(|phase| phase.freeze = None);
    }
    if let Some(wanted) = procedure.optimizer {
        let named = match wanted {
            Optimizer::Adam => OptimizerConfig::adam(),
            Optimizer::AdamW => OptimizerConfig::adam_w(),
            Optimizer::Sgd => OptimizerConfig::sgd(),
        };
        let same = |config: &OptimizerConfig| discriminant(&config.kind) == discriminant(&named.kind);
        if !same(&training.optimizer) {
            training.optimizer = named.clone();
        }
        training.phases.iter_mut().for_each(|phase| phase.optimizer = phase.optimizer.take().filter(&same));
    }
}
