//! Whose weights a file holds, and of which network: by the names and shapes of its tensors.

use super::content::{Content, Description, bands, half, outputs};
use std::collections::BTreeMap;

use super::checkpoint::{Checkpoint, ENTRY, Stored};
use super::names::{Names, some};
use super::unwrap::Choice;
use super::whose::{same_twice, unused, whose};
use super::{beside, describe, extras};
use crate::base::{Error, Result};
use crate::data::{Dataset, Normalisation, ValidPixels};
use crate::nn::activation::Activation;
use crate::nn::model::NetworkConfig;

/// What the names of tensors begin with that are kept for an export only.
pub(super) const KEPT: &str = "kept.";

/// Recognised weights.
#[derive(Debug, Clone)]
pub struct Weights {
    /// Whose they are and what of.
    pub description: Description,
    /// The files.
    pub checkpoint: Checkpoint,
    /// The tensors of the network, by segtool's names.
    pub tensors: BTreeMap<String, Stored>,
    /// What no network here uses, by the names in the file, and why. Kept so that an export gives the whole file back.
    pub kept: BTreeMap<String, (Stored, &'static str)>,
}

impl Weights {
    /// Opens files and recognises them.
    pub fn open(paths: &[std::path::PathBuf], recipe: Option<&NetworkConfig>) -> Result<Self> {
        Self::open_chosen(paths, recipe, &Choice::default())
    }

    /// The same for files that hold several networks: `choice` says which.
    pub fn open_chosen(paths: &[std::path::PathBuf], recipe: Option<&NetworkConfig>, choice: &Choice) -> Result<Self> {
        Self::recognise(Checkpoint::open_chosen(paths, choice)?, recipe)
    }

    /// Opens files for a training by `recipe`; see [`Self::recognise_for`].
    pub fn open_for(paths: &[std::path::PathBuf], recipe: &NetworkConfig) -> Result<Self> {
        Self::recognise_for(Checkpoint::open(paths)?, recipe)
    }

    /// Says how samples became the network's input, where that is known better.
    pub fn set_normalisation(&mut self, normalisation: Normalisation) -> Result<()> {
        let bands = bands(&self.description.content).unwrap_or(0);
        normalisation.validate(bands).map_err(|reason| self.checkpoint.error(reason))?;
        self.description.normalisation = Some(normalisation);
        Ok(())
    }

    /// Says what the classes are, where the weights are of a whole network of this many.
    pub fn set_dataset(&mut self, dataset: Dataset) {
        if self.class_count() == Some(dataset.class_count()) {
            self.description.dataset = Some(Box::new(dataset));
        }
    }

    /// Says how scores become classes, where that is known better; a single output stays a sigmoid.
    pub fn set_activation(&mut self, activation: Activation, threshold: f64) {
        if outputs(&self.description.content) != Some(1) {
            self.description.activation = activation;
        }
        self.description.threshold = threshold;
    }

    /// Classes of the network, where the weights are of a whole one.
    pub fn class_count(&self) -> Option<usize> {
        outputs(&self.description.content).map(|outputs| self.description.activation.classes(outputs))
    }

    /// How scores become classes, in words, where the weights are of a whole network.
    pub(super) fn deciding(&self) -> Option<String> {
        let outputs = outputs(&self.description.content)?;
        Some(match (self.description.activation, outputs) {
            (Activation::Softmax, _) => format!("softmax over {outputs} classes"),
            (Activation::Sigmoid, 1) => format!("sigmoid, class 1 above {}", self.description.threshold),
            (Activation::Sigmoid, _) => {
                format!("sigmoid, the largest of classes 1 to {outputs} above {}", self.description.threshold)
            }
        })
    }

    /// The network, where the weights are of a whole one.
    pub fn network(&self) -> Result<&NetworkConfig> {
        match &self.description.content {
            Content::Network(network) => Ok(network),
            Content::Encoder { .. } | Content::Vgg16 { .. } => Err(Error::content(
                self.checkpoint.label(),
                format!("holds {}, which cannot predict on its own; train with it as `weights`", self.summary()),
            )),
        }
    }

    /// What it is, in a few words.
    pub fn summary(&self) -> String {
        let Description { names, content, .. } = &self.description;
        match content {
            Content::Network(network) => format!("{} from {}", describe::summary(network), names.owner()),
            Content::Encoder { encoder, .. } => {
                format!("the encoder {} from {}", describe::encoder(encoder), names.owner())
            }
            Content::Vgg16 { batch_norm, .. } => {
                let norms = if *batch_norm { " with batch norm" } else { "" };
                format!("the convolutions of a VGG-16{norms} from {}", names.owner())
            }
        }
    }

    /// Recognises a checkpoint. What its tensors do not show (where strides give way to dilation, whether corners are
    /// aligned) is what the project that it comes from does; with a `recipe`, what that says.
    pub fn recognise(checkpoint: Checkpoint, recipe: Option<&NetworkConfig>) -> Result<Self> {
        let mut found = Self::as_they_are(&checkpoint, recipe, recipe.is_none())?;
        let Some(recipe) = recipe else { return Ok(found) };
        let Content::Network(network) = &mut found.description.content else {
            let what = found.summary();
            return Err(checkpoint.error(format!("holds {what}, but the recipe describes a whole network")));
        };
        *network = describe::by_recipe(network, recipe).map_err(|reason| checkpoint.error(reason))?;
        Ok(found)
    }

    /// Recognises a checkpoint for a training by `recipe`, which says what the tensors do not show only where nobody else
    /// can: in segtool's own files that have lost their description.
    pub fn recognise_for(checkpoint: Checkpoint, recipe: &NetworkConfig) -> Result<Self> {
        let mut found = Self::as_they_are(&checkpoint, Some(recipe), true)?;
        let undescribed = found.description.names == Names::Segtool && !checkpoint.metadata.contains_key(ENTRY);
        if let (true, Content::Network(network)) = (undescribed, &mut found.description.content) {
            *network = describe::by_recipe(network, recipe).map_err(|reason| checkpoint.error(reason))?;
        }
        Ok(found)
    }

    /// `beside` says whether configurations that lie beside the weights count.
    pub(super) fn as_they_are(checkpoint: &Checkpoint, recipe: Option<&NetworkConfig>, beside: bool) -> Result<Self> {
        let found = match checkpoint.metadata.get(ENTRY) {
            Some(text) => Self::own(checkpoint, text),
            None => Self::foreign(checkpoint, recipe, beside),
        }?;
        // Networks are made by these numbers, which a tensor without values may claim for nothing.
        if let Some((name, tensor)) = found.tensors.iter().find(|(_, tensor)| tensor.is_empty()) {
            let shape = tensor.shape();
            let reason = format!("tensor {name} of shape {shape:?} holds no number; the file is damaged");
            return Err(checkpoint.error(reason));
        }
        found.description.check().map_err(|reason| checkpoint.error(format!("{reason}; the file is damaged")))?;
        found.check_encoder_names()?;
        Ok(found)
    }

    fn own(checkpoint: &Checkpoint, text: &str) -> Result<Self> {
        let mut description: Description = serde_json::from_str(text).map_err(|e| {
            checkpoint.error(format!("{e}; it is damaged, or was written by another version of segtool"))
        })?;
        if !(0.0..1.0).contains(&description.threshold) {
            return Err(checkpoint.error(format!(
                "its threshold is {}, which is not a probability below 1; it is damaged",
                description.threshold
            )));
        }
        // Older files do not say so.
        if outputs(&description.content) == Some(1) {
            description.activation = Activation::Sigmoid;
        }
        let (mut tensors, mut kept) = (BTreeMap::new(), BTreeMap::new());
        for (name, tensor) in &checkpoint.tensors {
            let tensor = tensor.clone();
            if let Some(name) = name.strip_prefix(KEPT) {
                kept.insert(name.to_owned(), (tensor, unused(description.names, name).unwrap_or("kept")));
            } else {
                tensors.insert(name.clone(), tensor);
            }
        }
        Ok(Self { description, checkpoint: checkpoint.clone(), tensors, kept })
    }

    fn foreign(checkpoint: &Checkpoint, recipe: Option<&NetworkConfig>, beside: bool) -> Result<Self> {
        let names = whose(checkpoint)?;
        let refuse =
            |reason: String| checkpoint.error(format!("looks like weights of {}, but {reason}", names.owner()));
        let (mut tensors, mut kept) = by_our_names(checkpoint, names)?;
        same_twice(checkpoint, names)?;
        let mut content = describe::content(names, &tensors, recipe).map_err(refuse)?;
        if names.is_smp() {
            let used = describe::stages(&content);
            let beyond = |name: &str| (used + 1..=4).any(|stage| name.starts_with(&format!("encoder.layer{stage}.")));
            kept.extend(tensors.extract_if(.., |name, _| beyond(name)).map(|(name, tensor)| {
                (names.theirs(&name).unwrap_or(name), (tensor, "the decoder does not use that stage"))
            }));
        }
        let told = beside.then(|| beside::apply(checkpoint, names, &mut content)).transpose().map_err(refuse)?;
        let told = told.unwrap_or_default();
        let normalisation = told.normalisation.or_else(|| normalisation(names, &content));
        let mut description = Description::new(names, content, normalisation);
        description.dataset =
            told.dataset.filter(|dataset| outputs(&description.content) == Some(dataset.class_count())).map(Box::new);
        let mut found = Self { description, checkpoint: checkpoint.clone(), tensors, kept };
        found.checkpoint.notes.extend(told.notes);
        if let Some(activation) = told.activation {
            found.set_activation(activation, half());
        }
        Ok(found)
    }

    /// Refuses tensors of an encoder that no residual network or VGG-16 has: they change what it sees.
    fn check_encoder_names(&self) -> Result<()> {
        let strange = extras::of_encoder(&self.description.content, &self.tensors)?;
        if strange.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = strange.iter().map(String::as_str).collect();
        let kind = names.iter().find_map(|name| extras::kind(name));
        let kind = kind.map_or_else(String::new, |kind| format!(" ({kind})"));
        Err(self.checkpoint.error(format!(
            "looks like {}, but has tensors that this network does not have{kind}: {}. They change what it computes; give \
             weights of the plain network",
            self.summary(),
            some(&names)
        )))
    }
}

/// Tensors by their names here, and those that no network here uses by their own, with the reason.
type Sorted = (BTreeMap<String, Stored>, BTreeMap<String, (Stored, &'static str)>);

/// Sorts a project's tensors.
fn by_our_names(checkpoint: &Checkpoint, names: Names) -> Result<Sorted> {
    let (mut tensors, mut kept, mut strange) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (name, tensor) in &checkpoint.tensors {
        let counter = tensor.is_counter().then_some("a counter, not a weight");
        if let Some(reason) = unused(names, name).or(counter) {
            kept.insert(name.clone(), (tensor.clone(), reason));
            continue;
        }
        match names.ours(name) {
            Some(ours) => _ = tensors.insert(ours, tensor.clone()),
            None => strange.push(name.as_str()),
        }
    }
    if !strange.is_empty() {
        return Err(checkpoint.error(format!(
            "looks like weights of {}, but has unexpected tensors: {}; it comes from another network, or from \
             another version of that project",
            names.owner(),
            some(&strange)
        )));
    }
    if let Some((name, what)) = checkpoint.odd.iter().find(|(name, _)| unused(names, name).is_none()) {
        let whose = names.owner();
        let reason = format!("looks like weights of {whose}, but {name} is {what}, which cannot be loaded as a weight");
        return Err(checkpoint.error(reason));
    }
    Ok((tensors, kept))
}

/// What each project does with its images.
fn normalisation(names: Names, content: &Content) -> Option<Normalisation> {
    let fixed = |mean: &[f64], std: &[f64]| {
        Some(Normalisation::Fixed { mean: mean.to_vec(), std: std.to_vec(), valid: ValidPixels::All })
    };
    match (names, bands(content)?) {
        (Names::Segtool, _) => None,
        (Names::Milesial, bands) => fixed(&vec![0.0; bands], &vec![1.0; bands]),
        // Its notebook's figures for 16-bit samples, as shares of 65535.
        (Names::Seeps | Names::SeepsResnet, 1) => fixed(&[28_974.714_06 / 65_535.0], &[10_697.437_589 / 65_535.0]),
        // ImageNet's: torchvision's, and so everybody's; usuyama's, too, whose U-Nets the seep system has.
        (_, 3) => fixed(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]),
        _ => None,
    }
}
