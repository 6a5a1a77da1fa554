//! The encoder that gives a forest its features.

use crate::base::Result;
use crate::base::event::Sink;
use crate::data::Dataset;
use crate::nn::device::DeviceChoice;
use crate::nn::model::FeatureEncoder;
use crate::pixels::hypercolumn::HypercolumnConfig;
use crate::weights::Weights;

/// Changes a recipe's encoder and a data set's normalisation to those that the weights need.
pub(crate) fn fit_to_weights(
    weights: &Weights,
    features: &mut HypercolumnConfig,
    dataset: &mut Dataset,
    sink: &dyn Sink,
) -> Result<()> {
    let (encoder, mut changes) = weights.adapt_features(&features.encoder)?;
    features.encoder = encoder;
    changes.extend(weights.fit_normalisation(dataset));
    if let Some(bands) = weights.other_bands(dataset) {
        sink.note(format!(
            "the weights' normalisation is for {bands} bands, but data set '{}' has {}; the data set's normalisation is kept",
            dataset.name, dataset.bands
        ));
    }
    changes.into_iter().for_each(|change| sink.note(format!("changed to fit the weights: {change}")));
    Ok(())
}

/// The encoder with its weights, or with random ones of a seed where there are none.
pub(crate) fn encoder(
    config: &HypercolumnConfig,
    bands: usize,
    (weights, seed): (Option<&Weights>, u64),
    device: DeviceChoice,
    sink: &dyn Sink,
) -> Result<FeatureEncoder> {
    let HypercolumnConfig { encoder, taps, .. } = config;
    let device = device.open()?;
    let Some(weights) = weights else { return encoder.init(bands, taps, seed, &device) };
    let (loaded, report) = weights.load_features(encoder.hollow(bands, taps, &device)?)?;
    let (tensors, numbers) = (report.tensors, report.numbers);
    sink.note(format!("loaded {tensors} tensors ({numbers} numbers): {}", report.source));
    Ok(loaded)
}
