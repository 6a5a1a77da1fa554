//! Recipes, as files in `models/` write them: a network with the training that goes with it, or features and a forest.

mod forest;
mod overrides;
mod schedule;
mod training;

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use forest::ForestRecipe;
pub use schedule::{Curve, Schedule, Warmup};
pub use training::{Criterion, Phase, Training};

pub use crate::nn::learner::{AdamSettings, Decayed, Freeze, OptimizerConfig, OptimizerKind};

use crate::base::error::plain_types;
use crate::base::named_enum::find_text;
use crate::base::{Error, Result, require};
use crate::data::Dataset;
use crate::nn::activation::{Activation, Rule};
use crate::nn::device::DeviceChoice;
use crate::nn::loss::{ClassWeights, Loss, LossTerm};
use crate::nn::model::NetworkConfig;
use crate::nn::precision::Precision;

/// Recipes that are compiled in, by name.
const BUILT_IN: &[(&str, &str)] = &[
    ("attention-unet-seeps", include_str!("../../models/attention-unet-seeps.toml")),
    ("hypercolumn-core", include_str!("../../models/hypercolumn-core.toml")),
    ("mit-resnet34-c1", include_str!("../../models/mit-resnet34-c1.toml")),
    ("mit-resnet50-ppm", include_str!("../../models/mit-resnet50-ppm.toml")),
    ("mit-upernet50", include_str!("../../models/mit-upernet50.toml")),
    ("pspnet101-ade20k", include_str!("../../models/pspnet101-ade20k.toml")),
    ("pspnet50-ade20k", include_str!("../../models/pspnet50-ade20k.toml")),
    ("pspnet50-capstone", include_str!("../../models/pspnet50-capstone.toml")),
    ("pspnet50-torchvision", include_str!("../../models/pspnet50-torchvision.toml")),
    ("pspnet18", include_str!("../../models/pspnet18.toml")),
    ("resnet-unet-seeps", include_str!("../../models/resnet-unet-seeps.toml")),
    ("smp-unet-resnet34", include_str!("../../models/smp-unet-resnet34.toml")),
    ("unet-demo", include_str!("../../models/unet-demo.toml")),
    ("unet-earthquake", include_str!("../../models/unet-earthquake.toml")),
    ("unet-milesial", include_str!("../../models/unet-milesial.toml")),
    ("unet-seeps", include_str!("../../models/unet-seeps.toml")),
    ("unet-seeps-binary", include_str!("../../models/unet-seeps-binary.toml")),
    ("unet-seeps-phases", include_str!("../../models/unet-seeps-phases.toml")),
    ("unet-seeps-phases-binary", include_str!("../../models/unet-seeps-phases-binary.toml")),
];

/// A network and its training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRecipe {
    /// Its short name.
    pub name: String,
    /// One line on what it is.
    #[serde(default)]
    pub summary: String,
    /// The data set it is made for; `--dataset` chooses another.
    pub dataset: Option<String>,
    /// Whether all classes but the first are trained as one.
    #[serde(default)]
    pub merge_classes: bool,
    /// How scores become probabilities.
    #[serde(default)]
    pub activation: Activation,
    /// With a sigmoid: the probability above which a class is there.
    #[serde(default = "half")]
    pub threshold: f64,
    /// The network.
    pub network: NetworkConfig,
    /// How it is trained.
    pub training: Training,
}

fn half() -> f64 {
    0.5
}

/// Kinds of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A convolutional network.
    Network,
    /// A random forest over hypercolumns.
    Forest,
}

impl Kind {
    /// Whether it learns from label images in which transparent pixels are not labelled, such as strokes.
    pub fn learns_from_strokes(self) -> bool {
        self == Self::Forest
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::Forest => "random forest",
        })
    }
}

/// A recipe of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Recipe {
    /// A network and its training.
    Network(Box<NetworkRecipe>),
    /// Features and a forest.
    Forest(Box<ForestRecipe>),
}

impl Recipe {
    /// A built-in recipe by name, or the one in a `.toml` file.
    pub fn find(name_or_path: &str) -> Result<Self> {
        Self::find_with(name_or_path, &[])
    }

    /// The same with other values for some of its keys: `changes` are such as `training.ema=0.999`, the value as TOML
    /// writes it, text also without quotes.
    pub fn find_with(name_or_path: &str, changes: &[String]) -> Result<Self> {
        Self::parse(&find_text("recipe", name_or_path, BUILT_IN)?, changes, Path::new(name_or_path))
    }

    /// Names of the built-in recipes of either kind.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The text of a built-in recipe's file.
    pub fn built_in_text(name: &str) -> Option<&'static str> {
        BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    fn parse(text: &str, changes: &[String], path: &Path) -> Result<Self> {
        if changes.is_empty() {
            let table: toml::Table = text.parse().map_err(|e| Error::content(path, e))?;
            // From the text, so that errors tell the line.
            let failed = |e: toml::de::Error| Error::content(path, plain_types(&e.to_string()));
            return Ok(if is_forest(&table) {
                Self::Forest(toml::from_str(text).map_err(failed)?)
            } else {
                Self::Network(toml::from_str(text).map_err(failed)?)
            });
        }
        Self::with_changes(text.parse().map_err(|e| Error::content(path, e))?, changes, path)
    }

    fn with_changes(mut table: toml::Table, changes: &[String], path: &Path) -> Result<Self> {
        let of_forest = is_forest(&table);
        for change in changes {
            overrides::apply(&mut table, change)?;
        }
        let failed = |e: toml::de::Error| overrides::refused(&path.display(), changes, &e);
        Ok(if of_forest {
            Self::Forest(table.try_into().map_err(failed)?)
        } else {
            Self::Network(table.try_into().map_err(failed)?)
        })
    }

    /// What it makes.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Network(_) => Kind::Network,
            Self::Forest(_) => Kind::Forest,
        }
    }

    /// Its short name.
    pub fn name(&self) -> &str {
        match self {
            Self::Network(recipe) => &recipe.name,
            Self::Forest(recipe) => &recipe.name,
        }
    }

    /// Puts what an automatic precision stands for on `device` in its place.
    pub fn settle_precision(&mut self, device: DeviceChoice) -> Result<()> {
        if let Self::Network(recipe) = self {
            recipe.training.precision = device.settle(recipe.training.precision)?;
        }
        Ok(())
    }

    /// In which numbers it is trained; the features of a forest are computed in float32.
    pub fn precision(&self) -> Precision {
        match self {
            Self::Network(recipe) => recipe.training.precision,
            Self::Forest(_) => Precision::Float32,
        }
    }

    /// The same recipe with other values for some of its keys; see [`Self::find_with`].
    pub fn changed(&self, changes: &[String]) -> Result<Self> {
        if changes.is_empty() {
            return Ok(self.clone());
        }
        let written = match self {
            Self::Network(recipe) => toml::Table::try_from(recipe),
            Self::Forest(recipe) => toml::Table::try_from(recipe),
        };
        let table = written.map_err(|e| overrides::refused(&self.name(), changes, &e))?;
        Self::with_changes(table, changes, Path::new(self.name()))
    }

    /// The data set it is made for.
    pub fn dataset(&self) -> Option<&str> {
        match self {
            Self::Network(recipe) => recipe.dataset.as_deref(),
            Self::Forest(recipe) => recipe.dataset.as_deref(),
        }
    }

    /// One line on what it is.
    pub fn summary(&self) -> &str {
        match self {
            Self::Network(recipe) => &recipe.summary,
            Self::Forest(recipe) => &recipe.summary,
        }
    }
}

/// Whether a recipe's table is a forest's.
fn is_forest(table: &toml::Table) -> bool {
    table.contains_key("forest") || table.contains_key("features")
}

impl NetworkRecipe {
    /// A built-in recipe of a network by name, or the one in a `.toml` file.
    pub fn find(name_or_path: &str) -> Result<Self> {
        Self::find_with(name_or_path, &[])
    }

    /// The same with other values for some of its keys; see [`Recipe::find_with`].
    pub fn find_with(name_or_path: &str, changes: &[String]) -> Result<Self> {
        match Recipe::find_with(name_or_path, changes)? {
            Recipe::Network(recipe) => Ok(*recipe),
            Recipe::Forest(_) => {
                let expected =
                    "a recipe of a network; those of hypercolumns and a random forest work only with train and info";
                Err(Error::invalid("recipe", format!("'{name_or_path}'"), expected))
            }
        }
    }

    /// Names of the built-in recipes of networks.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Recipe::names().filter(|name| matches!(Recipe::find(name), Ok(Recipe::Network(_))))
    }

    /// The network for the bands and classes of the recipe's data set, or for `classes` outputs; 3 bands if the recipe
    /// names no data set.
    pub fn fitted_network(&self, classes: Option<usize>) -> Result<NetworkConfig> {
        let (bands, own) = match &self.dataset {
            None => (3, None),
            Some(name) => {
                let dataset = Dataset::find(name)?;
                let dataset = if self.merge_classes { dataset.merged() } else { dataset };
                (dataset.bands, Some(self.activation.outputs(dataset.class_count())))
            }
        };
        let Some(classes) = classes.or(own) else {
            let reason = format!("must be given: recipe '{}' names no data set", self.name);
            return Err(Error::conflict("classes", reason));
        };
        let mut network = self.network.clone();
        network.fit(bands, classes)?;
        Ok(network)
    }

    /// How its network's scores become classes.
    pub fn rule(&self) -> Rule {
        Rule::new(self.activation, self.threshold)
    }

    /// Settles what the data set decides (bands, outputs, merged classes) and checks that everything goes together.
    /// Returns the data set to train with.
    pub fn fit(&mut self, dataset: &Dataset) -> Result<Dataset> {
        let dataset = if self.merge_classes { dataset.merged() } else { dataset.clone() };
        self.network.fit(dataset.bands, self.activation.outputs(dataset.class_count()))?;
        self.network.check()?;
        let threshold = self.threshold;
        require((0.0..1.0).contains(&threshold), "threshold", threshold, "a probability from 0 to below 1")?;
        if self.activation == Activation::Softmax && threshold != half() {
            let reason =
                "applies only to a sigmoid; with a softmax the most probable class is predicted, so leave it out";
            return Err(Error::conflict("threshold", reason));
        }
        self.training.check()?;
        self.training.class_weights.check(dataset.class_count())?;
        let phases = self.training.resolved_phases();
        for phase in &phases {
            Loss::new(&phase.loss, self.activation, None)?;
        }
        let weighed = phases.iter().flat_map(|phase| &phase.loss).any(LossTerm::takes_class_weights);
        if self.training.class_weights != ClassWeights::Equal && !weighed {
            let reason = "apply only to losses that are means over pixels (cross-entropy, ohem-cross-entropy, bce, focal), but the \
                          recipe has none of these; leave them out, or add such a loss";
            return Err(Error::conflict("class_weights", reason));
        }
        Ok(dataset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_recipe_fits_its_data_set() {
        for name in Recipe::names() {
            let dataset = |name: Option<String>| Dataset::find(&name.unwrap()).unwrap();
            let own = match Recipe::find(name).unwrap() {
                Recipe::Network(mut recipe) => {
                    recipe.fit(&dataset(recipe.dataset.clone())).unwrap();
                    recipe.name
                }
                Recipe::Forest(recipe) => {
                    recipe.check(&dataset(recipe.dataset.clone())).unwrap();
                    recipe.name
                }
            };
            assert_eq!(own, name);
        }
    }

    #[test]
    fn names_and_kinds_are_known_in_other_spellings() {
        assert_eq!(NetworkRecipe::find("UNet_Seeps").unwrap().name, "unet-seeps");
        for spelling in ["adamw", "adam-w", "AdamW", "adam_w"] {
            let change = format!("training.optimizer.kind={spelling}");
            let recipe = NetworkRecipe::find_with("unet-seeps", &[change]).unwrap();
            assert_eq!(recipe.training.optimizer, OptimizerConfig::adam_w(), "{spelling}");
        }
        // Written as the README has it.
        assert_eq!(serde_json::to_value(OptimizerConfig::adam_w()).unwrap()["kind"], "adamw");
    }

    #[test]
    fn a_recipe_at_hand_takes_other_values_too() {
        let change = ["summary=another".to_owned()];
        for name in Recipe::names() {
            let recipe = Recipe::find(name).unwrap();
            assert_eq!(recipe.changed(&[]).unwrap(), recipe);
            assert_eq!(recipe.changed(&change).unwrap(), Recipe::find_with(name, &change).unwrap());
        }
    }

    #[test]
    fn numbers_of_another_kind_are_refused_in_plain_words() {
        for (change, words) in [
            ("training.epochs=-3", "expected a whole number from 0 up"),
            ("training.epochs=2.5", "expected a whole number from 0 up"),
            ("training.learning_rate=fast", "expected a number"),
            ("training.loss=dice", "expected a list"),
        ] {
            let said = NetworkRecipe::find_with("unet-seeps", &[change.into()]).unwrap_err().to_string();
            assert!(said.contains(words) && !said.contains("usize") && !said.contains("f64"), "{change}: {said}");
        }
        let said = Recipe::parse("name = 'x'\n[training]\nepochs = -3", &[], Path::new("x.toml")).unwrap_err();
        assert!(!said.to_string().contains("usize"), "{said}");
    }

    #[test]
    fn what_would_do_nothing_or_harm_is_refused() {
        for (name, change, words) in [
            ("unet-seeps", "training.patience=0", "`training.patience`"),
            ("unet-seeps", "training.optimizer.beta_1=1.0", "`optimizer.beta_1`"),
            ("unet-seeps", "training.optimizer.epsilon=0", "`optimizer.epsilon`"),
            ("unet-seeps", "training.optimizer.weight_decay=-1", "`optimizer.weight_decay`"),
            ("unet-seeps", "training.optimizer={ kind = 'sgd', momentum = -0.9 }", "`optimizer.momentum`"),
            (
                "unet-seeps",
                "training.optimizer={ kind = 'sgd', momentum = 0, nesterov = true }",
                "`optimizer.nesterov`",
            ),
            ("unet-seeps", "threshold=0.7", "`threshold`"),
            ("unet-seeps", "training.class_weights=[1, 2]", "a list of 2 numbers; it must be a list of 8"),
            ("unet-seeps-phases", "training.epochs=5", "`training.epochs` 5"),
            ("unet-seeps-phases", "training.phases.1.epochs=0", "`training.epochs`"),
        ] {
            let mut recipe = NetworkRecipe::find_with(name, &[change.into()]).unwrap();
            assert_refused!(recipe.fit(&Dataset::find("seeps").unwrap()), words);
        }
        let changes = ["training.class_weights=auto", "training.loss=[{ kind = 'dice' }]"].map(String::from);
        let mut recipe = NetworkRecipe::find_with("unet-seeps", &changes).unwrap();
        assert_refused!(recipe.fit(&Dataset::find("seeps").unwrap()), "`class_weights` apply only to losses");
    }
}
