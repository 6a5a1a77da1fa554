//! Weights of encoders that give features.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::TensorData;

use super::checkpoint::Stored;
use super::content::{Content, residual};
use super::load::{BEYOND, Report};
use super::recognise::Weights;
use super::safetensors::report as report_lines;
use crate::base::{Error, Result};
use crate::data::{Dataset, Normalisation};
use crate::nn::model::{FeatureEncoder, FeatureEncoderConfig, ResNetFeaturesConfig, VggConfig, replace, shapes};

impl Weights {
    /// A recipe's encoder of features, changed so that these weights fit, and what was changed. The weights may be of an
    /// encoder alone or of a whole network with one.
    pub fn adapt_features(&self, recipe: &FeatureEncoderConfig) -> Result<(FeatureEncoderConfig, Vec<String>)> {
        let refuse = || {
            self.checkpoint.error(format!(
                "holds {}, but the recipe's features come from {recipe}; give weights of that encoder, or choose another one, as \
                 with `set` features.encoder='{{ architecture = \"resnet\", variant = \"resnet50\" }}' and `taps` layer1",
                self.summary()
            ))
        };
        let found = match (&self.description.content, recipe) {
            (Content::Vgg16 { batch_norm, .. }, FeatureEncoderConfig::Vgg16(_)) => {
                FeatureEncoderConfig::Vgg16(VggConfig { batch_norm: *batch_norm })
            }
            (content, FeatureEncoderConfig::Resnet(own)) => {
                let same = residual(content).filter(|(theirs, _)| theirs.variant == own.variant);
                let (theirs, _) = same.ok_or_else(refuse)?;
                // An encoder alone does not know where it is to be dilated.
                let dilation = match content {
                    Content::Network(_) => theirs.dilation,
                    _ => own.dilation,
                };
                FeatureEncoderConfig::Resnet(ResNetFeaturesConfig { dilation, ..theirs.into() })
            }
            _ => return Err(refuse()),
        };
        let text = |config: &FeatureEncoderConfig| toml::to_string(config).unwrap_or_default().replace('\n', ", ");
        let changed = (found != *recipe).then(|| {
            let [from, to] = [recipe, &found].map(|config| text(config).trim_end_matches(", ").to_owned());
            format!("encoder: {from} -> {to}")
        });
        Ok((found, changed.into_iter().collect()))
    }

    /// Makes a data set's images be normalised as these weights need it, where that is known; says what was changed.
    pub fn fit_normalisation(&self, dataset: &mut Dataset) -> Option<String> {
        let theirs = match &self.description.normalisation {
            Some(Normalisation::Fixed { mean, std, .. }) if mean.len() == dataset.bands => {
                Normalisation::Fixed { mean: mean.clone(), std: std.clone(), valid: dataset.normalisation.valid() }
            }
            Some(theirs @ Normalisation::PerImage { .. }) => theirs.clone(),
            _ => return None,
        };
        if theirs == dataset.normalisation {
            return None;
        }
        let change = format!("normalisation: {} -> {theirs}", dataset.normalisation);
        dataset.normalisation = theirs;
        Some(change)
    }

    /// Bands that the weights' normalisation is of, where the data set has another number.
    pub fn other_bands(&self, dataset: &Dataset) -> Option<usize> {
        match &self.description.normalisation {
            Some(Normalisation::Fixed { mean, .. }) => Some(mean.len()).filter(|bands| *bands != dataset.bands),
            _ => None,
        }
    }

    /// Gives an encoder, which was built as [`Self::adapt_features`] says, these weights. What it lacks is an error; what no
    /// tap needs is left out. Kernels of the first convolution are spread over other bands than the file's.
    pub fn load_features(&self, encoder: FeatureEncoder) -> Result<(FeatureEncoder, Report)> {
        let mut report = Report { source: self.summary(), ..Report::default() };
        let (mut values, mut faults) = (HashMap::<String, TensorData>::new(), Vec::new());
        let mut left = self.encoder_tensors();
        let parameters = shapes(&encoder);
        let first = parameters.first().map(|parameter| parameter.name.clone());
        for parameter in parameters {
            let (name, wanted) = (parameter.name, parameter.shape);
            let Some(tensor) = left.remove(name.as_str()) else {
                faults.push(format!("missing: {name} {wanted:?}"));
                continue;
            };
            match report.take((&name, &wanted), (&name, tensor), Some(&name) == first.as_ref())? {
                Some(data) => _ = values.insert(name, data),
                None => faults.push(format!("{name}: the file has {:?}, the encoder {wanted:?}", tensor.shape())),
            }
        }
        if !faults.is_empty() {
            return Err(Error::Weights { path: self.checkpoint.label().into(), details: report_lines(&faults) });
        }
        if !left.is_empty() {
            report.skipped.insert(BEYOND.into(), left.into_keys().map(str::to_owned).collect());
        }
        self.report_kept(&mut report);
        Ok((replace(encoder, |name| values.remove(name)), report))
    }

    /// The tensors of the encoder, by torchvision's names.
    fn encoder_tensors(&self) -> BTreeMap<&str, &Stored> {
        let prefix = match &self.description.content {
            Content::Vgg16 { .. } => "",
            content => residual(content).map_or("encoder.", |(_, prefix)| prefix),
        };
        self.tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?, tensor))).collect()
    }
}
