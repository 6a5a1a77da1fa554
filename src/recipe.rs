//! Recipes: a network with the training that goes with it, as files in `models/` write them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::{Augmentation, Descriptor};
use crate::error::{Error, Result};
use crate::files::read_text;
use crate::loss::LossConfig;
use crate::model::NetworkConfig;
use crate::precision::Precision;

/// Recipes that are compiled in, by name.
const BUILT_IN: &[(&str, &str)] = &[
    ("attention-unet-seeps", include_str!("../models/attention-unet-seeps.toml")),
    ("mit-resnet34-c1", include_str!("../models/mit-resnet34-c1.toml")),
    ("mit-resnet50-ppm", include_str!("../models/mit-resnet50-ppm.toml")),
    ("mit-upernet50", include_str!("../models/mit-upernet50.toml")),
    ("pspnet101-ade20k", include_str!("../models/pspnet101-ade20k.toml")),
    ("pspnet50-ade20k", include_str!("../models/pspnet50-ade20k.toml")),
    ("pspnet50-capstone", include_str!("../models/pspnet50-capstone.toml")),
    ("pspnet50-torchvision", include_str!("../models/pspnet50-torchvision.toml")),
    ("resnet-unet-seeps", include_str!("../models/resnet-unet-seeps.toml")),
    ("smp-unet-resnet34", include_str!("../models/smp-unet-resnet34.toml")),
    ("unet-demo", include_str!("../models/unet-demo.toml")),
    ("unet-earthquake", include_str!("../models/unet-earthquake.toml")),
    ("unet-milesial", include_str!("../models/unet-milesial.toml")),
    ("unet-seeps", include_str!("../models/unet-seeps.toml")),
    ("unet-seeps-binary", include_str!("../models/unet-seeps-binary.toml")),
];

/// A network and its training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
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
    /// The network.
    pub network: NetworkConfig,
    /// How it is trained.
    pub training: Training,
}

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Passes over the training set.
    pub epochs: usize,
    /// Pictures a step.
    pub batch_size: usize,
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// How gradients become steps.
    pub optimizer: OptimizerConfig,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// What is minimised.
    pub loss: LossConfig,
    /// Random changes of the training pictures.
    #[serde(default)]
    pub augment: Vec<Augmentation>,
    /// In which numbers to compute.
    #[serde(default)]
    pub precision: Precision,
}

/// Optimisers. Where a recipe is silent, Adam has PyTorch's defaults and SGD a momentum of 0.9.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Adam (arXiv 1412.6980).
    Adam {
        /// Decay of the mean of the gradient.
        #[serde(default = "beta_1")]
        beta_1: f32,
        /// Decay of the mean of its square.
        #[serde(default = "beta_2")]
        beta_2: f32,
        /// Added to the denominator.
        #[serde(default = "epsilon")]
        epsilon: f32,
        /// L2 penalty on all parameters.
        #[serde(default)]
        weight_decay: f32,
    },
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Share of the last step that is kept; 0 for none.
        #[serde(default = "momentum")]
        momentum: f64,
        /// Nesterov's form of the momentum.
        #[serde(default)]
        nesterov: bool,
        /// L2 penalty on all parameters.
        #[serde(default)]
        weight_decay: f32,
    },
}

fn beta_1() -> f32 {
    0.9
}

fn beta_2() -> f32 {
    0.999
}

fn epsilon() -> f32 {
    1e-8
}

fn momentum() -> f64 {
    0.9
}

impl OptimizerConfig {
    /// Adam with its defaults.
    pub fn adam() -> Self {
        Self::Adam { beta_1: beta_1(), beta_2: beta_2(), epsilon: epsilon(), weight_decay: 0.0 }
    }

    /// SGD with its defaults.
    pub fn sgd() -> Self {
        Self::Sgd { momentum: momentum(), nesterov: false, weight_decay: 0.0 }
    }
}

/// How the learning rate falls over the steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// It does not.
    Constant,
    /// `(1 - step / steps)^power`, as PyTorch's `PolynomialLR`.
    Poly {
        /// The exponent; 0.9 is usual.
        power: f64,
    },
}

impl Schedule {
    /// The factor on the learning rate at `step` (from 0) of `steps`.
    pub fn factor(self, step: usize, steps: usize) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Poly { power } => (1.0 - step.min(steps) as f64 / steps.max(1) as f64).powf(power),
        }
    }
}

impl Recipe {
    /// A built-in recipe by name, or the one in a `.toml` file.
    pub fn find(name_or_path: &str) -> Result<Self> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(text, Path::new(name_or_path));
        }
        let path = Path::new(name_or_path);
        if path.extension().is_some_and(|e| e == "toml") || path.is_file() {
            return Self::parse(&read_text(path)?, path);
        }
        let known = Self::names().collect::<Vec<_>>().join(", ");
        Err(Error::Unknown { kind: "recipe", name: name_or_path.into(), known })
    }

    /// Names of the built-in recipes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        toml::from_str(text).map_err(|e| Error::content(path, e))
    }

    /// The network for the bands and classes of the recipe's data set, or for `classes` outputs; 3 bands if the recipe
    /// names no data set.
    pub fn fitted_network(&self, classes: Option<usize>) -> Result<NetworkConfig> {
        let (bands, own) = match &self.dataset {
            None => (3, None),
            Some(name) => {
                let dataset = Descriptor::find(name)?;
                let dataset = if self.merge_classes { dataset.merged() } else { dataset };
                let outputs = if self.training.loss.is_binary() { 1 } else { dataset.class_count() };
                (dataset.bands, Some(outputs))
            }
        };
        let Some(classes) = classes.or(own) else {
            return Err(Error::Config(format!("recipe '{}' names no data set; give --classes", self.name)));
        };
        let mut network = self.network.clone();
        network.fit(bands, classes)?;
        Ok(network)
    }

    /// Settles what the data set decides (bands, outputs, merged classes) and checks that everything goes together.
    /// Returns the descriptor to train with.
    pub fn fit(&mut self, descriptor: &Descriptor) -> Result<Descriptor> {
        let descriptor = if self.merge_classes { descriptor.merged() } else { descriptor.clone() };
        let binary = self.training.loss.is_binary();
        if binary && descriptor.class_count() != 2 {
            return Err(Error::Config(format!(
                "the loss of recipe '{}' has one sigmoid output and wants 2 classes, but data set '{}' has {}; \
                 add --merge-classes, or take a recipe with a softmax loss",
                self.name,
                descriptor.name,
                descriptor.class_count()
            )));
        }
        self.network.fit(descriptor.bands, if binary { 1 } else { descriptor.class_count() })?;
        self.network.check()?;
        let training = &self.training;
        for (name, value) in [("epochs", training.epochs), ("batch_size", training.batch_size)] {
            if value == 0 {
                return Err(Error::Config(format!("`{name}` must be at least 1")));
            }
        }
        if !(training.learning_rate > 0.0 && training.learning_rate.is_finite()) {
            return Err(Error::Config(format!("the learning rate must be above 0, not {}", training.learning_rate)));
        }
        Ok(descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_recipe_fits_its_data_set() {
        for name in Recipe::names() {
            let mut recipe = Recipe::find(name).unwrap();
            assert_eq!(recipe.name, name);
            let dataset = Descriptor::find(recipe.dataset.as_deref().unwrap()).unwrap();
            recipe.fit(&dataset).unwrap();
        }
    }

    #[test]
    fn a_binary_loss_needs_merged_classes() {
        let mut recipe = Recipe::find("unet-seeps-binary").unwrap();
        recipe.merge_classes = false;
        let message = recipe.fit(&Descriptor::find("seeps").unwrap()).unwrap_err().to_string();
        assert!(message.contains("--merge-classes"), "{message}");
    }

    #[test]
    fn poly_equals_pytorch() {
        // torch.optim.lr_scheduler.PolynomialLR(opt, 4, power=0.9) with lr 1.
        let poly = Schedule::Poly { power: 0.9 };
        for (step, expected) in [1.0, 0.771_889_51, 0.535_886_73, 0.287_174_59, 0.0].into_iter().enumerate() {
            assert!((poly.factor(step, 4) - expected).abs() < 1e-7, "{step}");
        }
    }
}
