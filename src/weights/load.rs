//! Weights into a network, with an account of what went where.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use burn::tensor::TensorData;
use serde_json::Value;

use super::checkpoint::Stored;
use super::content::Content;
use super::describe;
use super::names::some;
use super::recognise::Weights;
use super::safetensors::report as report_lines;
use crate::base::{Error, Result};
use crate::nn::device::DeviceChoice;
use crate::nn::model::{
    C1Config, DecoderConfig, EncoderDecoderConfig, FeatureEncoderConfig, Network, NetworkConfig, ParameterShape, Tap,
    VggConfig, replace, shapes,
};

/// What the names of a second head begin with.
const SECOND_HEAD: &[&str] = &["decoder.cbr_deepsup.", "decoder.conv_last_deepsup."];

/// Which tensors of a weight file were loaded or skipped, and which parameters kept their initial values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was given.
    pub source: String,
    /// Tensors that were loaded.
    pub tensors: usize,
    /// Numbers in them.
    pub numbers: usize,
    /// Parameters that keep their initial values, by the reason.
    pub fresh: BTreeMap<String, Vec<String>>,
    /// Tensors that were not loaded, by the reason.
    pub skipped: BTreeMap<String, Vec<String>>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loaded {} tensors ({} numbers): {}", self.tensors, self.numbers, self.source)?;
        for (word, groups) in [("newly initialised", &self.fresh), ("not loaded", &self.skipped)] {
            for (reason, names) in groups {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                write!(f, "\n{word} ({reason}): {}", some(&names))?;
            }
        }
        Ok(())
    }
}

impl Report {
    /// The values of a tensor, which is called `theirs` in the file, for a parameter of that shape; counted. With `spread`,
    /// the kernels of a first convolution may be spread over other bands. `None` if the tensor does not fit.
    pub(super) fn take(
        &mut self,
        (name, wanted): (&str, &[usize]),
        (theirs, tensor): (&str, &Stored),
        spread: bool,
    ) -> Result<Option<TensorData>> {
        let data = tensor.floats(theirs)?;
        let fits = data.shape().as_slice() == wanted;
        let fitting = if spread && !fits { other_bands(&data, wanted) } else { fits.then_some(data) };
        if fitting.is_some() {
            self.tensors += 1;
            self.numbers += tensor.len();
            if !fits {
                let note = format!("spread over {} bands instead of {}", wanted[1], tensor.shape()[1]);
                self.source = format!("{}; {name} {note}", self.source);
            }
        }
        Ok(fitting)
    }
}

impl Weights {
    /// A recipe's network, changed so that these weights fit and mean what they meant where they come from: stem,
    /// dilation, alignment of corners, widths. Also says what was changed.
    pub fn adapt(&self, recipe: &NetworkConfig) -> Result<(NetworkConfig, Vec<String>)> {
        let refuse = |reason: String| self.checkpoint.error(reason);
        let network = match &self.description.content {
            Content::Network(weights) => describe::adapt(recipe, weights).map_err(refuse)?,
            Content::Vgg16 { .. } => {
                return Err(refuse(format!(
                    "holds {}, which a recipe of hypercolumns can use, but this recipe's network cannot",
                    self.summary()
                )));
            }
            Content::Encoder { encoder, .. } => {
                let mut network = recipe.clone();
                let Some((own, _)) = network.encoder_mut() else {
                    return Err(refuse(format!(
                        "holds {}, but the recipe's network has no residual encoder",
                        self.summary()
                    )));
                };
                if own.variant != encoder.variant {
                    return Err(refuse(format!(
                        "holds {}, but the recipe's encoder is {}; give weights of that encoder, or use another recipe",
                        self.summary(),
                        describe::encoder(own)
                    )));
                }
                (own.stem, own.width, own.style) = (encoder.stem, encoder.width, encoder.style);
                network
            }
        };
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let changes = describe::differences(recipe, &network);
        Ok((
            network,
            changes.iter().map(|(path, from, to)| format!("{path}: {} -> {}", word(from), word(to))).collect(),
        ))
    }

    /// Reads every tensor and checks that they make the network that they were recognised as.
    pub fn check(&self) -> Result<Report> {
        let config = match &self.description.content {
            Content::Network(network) => network.clone(),
            // An encoder is looked at in the smallest network that has one.
            Content::Encoder { encoder, bands } => NetworkConfig::EncoderDecoder(EncoderDecoderConfig::new(
                encoder.clone(),
                DecoderConfig::C1(C1Config { width: Some(1), deep_supervision: None }),
                *bands,
                1,
            )),
            Content::Vgg16 { bands, batch_norm } => return self.check_vgg16(*bands, *batch_norm),
        };
        let (_, mut report) = self.load(config.hollow(&DeviceChoice::Flex.open()?)?, false)?;
        if let Content::Encoder { .. } = self.description.content {
            report.fresh.clear();
        }
        Ok(report)
    }

    fn check_vgg16(&self, bands: usize, batch_norm: bool) -> Result<Report> {
        let config = FeatureEncoderConfig::Vgg16(VggConfig { batch_norm });
        let encoder = config.hollow(bands, &[Tap::Pool(5)], &DeviceChoice::Flex.open()?)?;
        let (_, report) = self.load_features(encoder)?;
        if let Some((reason, names)) = report.skipped.iter().find(|(reason, _)| *reason == BEYOND) {
            let lines: Vec<String> = names.iter().map(|name| format!("{reason}: {name}")).collect();
            return Err(Error::Weights { path: self.checkpoint.label().into(), details: report_lines(&lines) });
        }
        Ok(report)
    }

    /// What the file holds beside what is loaded.
    pub(super) fn report_kept(&self, report: &mut Report) {
        for (name, (_, reason)) in &self.kept {
            report.skipped.entry((*reason).into()).or_default().push(name.clone());
        }
        let beside = self.checkpoint.beside.iter();
        let names: Vec<String> = beside.map(|(word, count)| format!("{word} ({count} tensors)")).collect();
        if !names.is_empty() {
            report.skipped.insert("beside the weights".into(), names);
        }
    }

    /// What was settled beside the numbers, as lines of a name and a value.
    pub fn facts(&self) -> Vec<(String, String)> {
        let mut facts = vec![("recognised".to_owned(), self.summary())];
        if let Content::Network(network) = &self.description.content {
            facts.extend(describe::facts(network));
        }
        let normalisation = self.description.normalisation.as_ref();
        facts.push((
            "normalisation".into(),
            normalisation.map_or("not known; the data set's is used".into(), ToString::to_string),
        ));
        facts.extend(self.deciding().map(|deciding| ("activation".into(), deciding)));
        if self.description.names.has_timm_encoder() {
            let text = "timm's plain ResNet; one with anti-aliasing (resnetaa, resnetblur) has the same names, and is another \
                        network";
            facts.push(("encoder taken for".into(), text.into()));
        }
        facts.extend(self.checkpoint.notes.iter().map(|note| ("note".to_owned(), note.clone())));
        facts
    }

    /// Gives a network these weights. With `new_head`, the layers that give the classes keep their initial values. What is
    /// missing, left over or of another shape is an error, but for what an encoder alone cannot have, a second head that
    /// only one side has, and an encoder's first convolution on other bands.
    pub fn load(&self, network: Network, new_head: bool) -> Result<(Network, Report)> {
        let mut report = Report { source: self.summary(), ..Report::default() };
        let (mut values, mut faults) = (HashMap::<String, TensorData>::new(), Vec::new());
        let sides = Sides::of(self, &network, new_head);
        let mut left = sides.by_our_names(&self.tensors);
        let mut misfit = false;
        for ParameterShape { name, shape: wanted, .. } in shapes(&network) {
            let found = left.remove(&name);
            let Some((theirs, tensor)) = found.filter(|_| !sides.is_new(&name)) else {
                match sides.why_fresh(&name) {
                    Some(reason) => report.fresh.entry(reason.into()).or_default().push(name),
                    None => faults.push(format!("missing: {name} {wanted:?}")),
                }
                continue;
            };
            match report.take((&name, &wanted), (theirs, tensor), sides.spreads(&name))? {
                Some(data) => _ = values.insert(name, data),
                None => {
                    misfit |= sides.is_head(&name);
                    faults.push(format!("{name}: the file has {:?}, the network {wanted:?}", tensor.shape()));
                }
            }
        }
        for (name, (theirs, tensor)) in left {
            match sides.why_skipped(&name) {
                Some(reason) => report.skipped.entry(reason.into()).or_default().push(theirs.clone()),
                None => faults.push(format!("left over: {name} {:?}", tensor.shape())),
            }
        }
        self.report_kept(&mut report);
        if faults.is_empty() {
            return Ok((replace(network, |name| values.remove(name)), report));
        }
        let mut details = report_lines(&faults);
        if misfit {
            details.push_str(
                "\nfor other classes than the file's, add `new_head`, which re-initialises the classification head",
            );
        }
        Err(Error::Weights { path: self.checkpoint.label().into(), details })
    }
}

/// What a file and a network need not have in common.
struct Sides {
    /// Whether the file holds an encoder and nothing else.
    alone: bool,
    /// What the names of the network's encoder begin with.
    prefix: Option<&'static str>,
    heads: Vec<&'static str>,
    new_head: bool,
    second_head: bool,
}

impl Sides {
    fn of(weights: &Weights, network: &Network, new_head: bool) -> Self {
        Self {
            alone: matches!(weights.description.content, Content::Encoder { .. }),
            prefix: network.encoder_prefix(),
            heads: network.heads(),
            new_head,
            second_head: weights.tensors.keys().any(|name| Self::is_second(name)),
        }
    }

    /// Tensors, with their names in the file, by our names in this network.
    fn by_our_names<'a>(&self, tensors: &'a BTreeMap<String, Stored>) -> BTreeMap<String, (&'a String, &'a Stored)> {
        let ours = |name: &String| match (self.alone, name.strip_prefix("encoder."), self.prefix) {
            (true, Some(rest), Some(prefix)) => format!("{prefix}{rest}"),
            _ => name.clone(),
        };
        tensors.iter().map(|(name, tensor)| (ours(name), (name, tensor))).collect()
    }

    fn is_head(&self, name: &str) -> bool {
        name.rsplit_once('.').is_some_and(|(layer, _)| self.heads.contains(&layer))
    }

    fn is_second(name: &str) -> bool {
        SECOND_HEAD.iter().any(|prefix| name.starts_with(prefix))
    }

    fn is_new(&self, name: &str) -> bool {
        self.new_head && self.is_head(name)
    }

    fn in_encoder(&self, name: &str, part: &str) -> bool {
        self.prefix.and_then(|prefix| name.strip_prefix(prefix)).is_some_and(|rest| rest.starts_with(part))
    }

    /// Whether a parameter's kernels may be spread over other bands.
    fn spreads(&self, name: &str) -> bool {
        self.alone && self.prefix.and_then(|prefix| name.strip_prefix(prefix)) == Some("conv1.weight")
    }

    /// Why a parameter that the file does not give may keep its initial values.
    fn why_fresh(&self, name: &str) -> Option<&'static str> {
        if self.is_new(name) {
            Some("new head")
        } else if self.alone && !self.in_encoder(name, "") {
            Some("the file holds an encoder alone")
        } else if !self.second_head && Self::is_second(name) {
            Some("the file has no auxiliary head")
        } else {
            None
        }
    }

    /// Why a tensor that the network does not take may be left.
    fn why_skipped(&self, name: &str) -> Option<&'static str> {
        if Self::is_second(name) {
            Some("the network has no auxiliary head")
        } else if self.alone && self.in_encoder(name, "layer") {
            Some("the network does not use that stage")
        } else {
            None
        }
    }
}

/// The first convolution of an encoder on other bands than it was trained on: its kernels in turn, summed where bands are
/// fewer and scaled where they are more, so that a grey image gives about what it gave (timm's way).
fn other_bands(data: &TensorData, wanted: &[usize]) -> Option<TensorData> {
    let (&[outputs, inputs, height, width], &[wanted_outputs, bands, wanted_height, wanted_width]) =
        (data.shape().as_slice(), wanted)
    else {
        return None;
    };
    if (outputs, height, width) != (wanted_outputs, wanted_height, wanted_width) {
        return None;
    }
    let values = data.as_slice::<f32>().ok()?;
    let plane = height * width;
    let kernel = |output: usize, input: usize| &values[(output * inputs + input) * plane..][..plane];
    let mut spread = Vec::with_capacity(outputs * bands * plane);
    for output in 0..outputs {
        for band in 0..bands {
            // Fewer bands than kernels: each takes the sum of its share.
            let share: Vec<&[f32]> = if bands >= inputs {
                vec![kernel(output, band % inputs)]
            } else {
                (band..inputs).step_by(bands).map(|input| kernel(output, input)).collect()
            };
            let scale = if bands > inputs { inputs as f32 / bands as f32 } else { 1.0 };
            spread.extend((0..plane).map(|i| scale * share.iter().map(|kernel| kernel[i]).sum::<f32>()));
        }
    }
    Some(TensorData::new(spread, wanted.to_vec()))
}

/// Why layers of an encoder are not loaded.
pub(super) const BEYOND: &str = "no tap needs it";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grey_image_gives_the_same_in_other_bands() {
        let data = TensorData::new((1..=12).map(|i| i as f32).collect::<Vec<_>>(), [2, 3, 1, 2]);
        for bands in 1..8 {
            let spread = other_bands(&data, &[2, bands, 1, 2]).unwrap();
            let sums = |data: &TensorData, inputs: usize| -> Vec<f32> {
                let values = data.as_slice::<f32>().unwrap();
                let sum =
                    |output: usize, i: usize| (0..inputs).map(|input| values[(output * inputs + input) * 2 + i]).sum();
                (0..4).map(|k| sum(k / 2, k % 2)).collect()
            };
            // Kernels in turn are not all used equally often, so only multiples are exact.
            if bands <= 3 || bands % 3 == 0 {
                for (a, b) in sums(&data, 3).iter().zip(sums(&spread, bands)) {
                    assert!((a - b).abs() < 1e-5, "{bands} bands: {a} {b}");
                }
            }
            assert_eq!(spread.shape().as_slice(), [2, bands, 1, 2]);
        }
        assert!(other_bands(&data, &[3, 1, 1, 2]).is_none());
    }
}
