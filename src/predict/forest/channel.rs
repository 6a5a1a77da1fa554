//! What one channel of an encoder's layer shows of an image, to look at.

use std::path::Path;

use crate::base::{Error, Result, Size, require};
use crate::data::{Dataset, load_raster};
use crate::nn::device::DeviceChoice;
use crate::nn::model::{FeatureEncoder, FeatureEncoderConfig, Tap, shapes};
use crate::pixels::hypercolumn::{HypercolumnConfig, Hypercolumns, PreparedImage};
use crate::recipe::ForestRecipe;
use crate::run::ForestRun;
use crate::weights::{self, Weights};

/// Shares of the pixels below the darkest and above the lightest.
const CUT: f64 = 0.005;

/// Where features to look at come from.
#[derive(Debug)]
pub struct ChannelImage<'a> {
    encoder: FeatureEncoderConfig,
    source: Source<'a>,
    dataset: Dataset,
    device: DeviceChoice,
}

#[derive(Debug)]
enum Source<'a> {
    Run(&'a ForestRun),
    Weights(&'a Weights),
    Random,
}

impl<'a> ChannelImage<'a> {
    /// The encoder of a run.
    pub fn of_run(run: &'a ForestRun, device: DeviceChoice) -> Result<Self> {
        let (encoder, dataset) = (run.config.recipe.features.encoder.clone(), run.config.dataset.clone());
        Ok(Self { encoder, source: Source::Run(run), dataset, device: device.resolve()? })
    }

    /// The encoder of a recipe with weights, or random ones.
    pub fn of_recipe(recipe: &ForestRecipe, weights: Option<&'a Weights>, device: DeviceChoice) -> Result<Self> {
        let mut dataset = Dataset::find(recipe.dataset.as_deref().unwrap_or("core"))?;
        let (mut encoder, mut source) = (recipe.features.encoder.clone(), Source::Random);
        if let Some(weights) = weights {
            (encoder, _) = weights.adapt_features(&encoder)?;
            weights.fit_normalisation(&mut dataset);
            source = Source::Weights(weights);
        }
        Ok(Self { encoder, source, dataset, device: device.resolve()? })
    }

    /// The encoder, which goes to `tap` at the least.
    fn encoder(&self, tap: Tap) -> Result<FeatureEncoder> {
        let (bands, device) = (self.dataset.bands, self.device.open()?);
        match self.source {
            Source::Random => self.encoder.init(bands, &[tap], 0, &device),
            Source::Weights(weights) => Ok(weights.load_features(self.encoder.hollow(bands, &[tap], &device)?)?.0),
            Source::Run(run) => {
                let taps = &run.config.recipe.features.taps;
                let whole = self.encoder.hollow(bands, taps, &device)?;
                if shapes(&self.encoder.hollow(bands, &[tap], &device)?).len() > shapes(&whole).len() {
                    let names: Vec<String> = taps.iter().map(Tap::to_string).collect();
                    let (run, names) = (run.folder().display(), names.join(", "));
                    let reason = format!(
                        "{tap} lies beyond the encoder of {run}, which is kept only as far as its taps ({names})"
                    );
                    let advice = "give `encoder_weights` instead of `run`";
                    return Err(Error::conflict("tap", format!("{reason}; {advice}")));
                }
                weights::load(whole, &run.encoder_path())
            }
        }
    }
}

/// A channel, drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct DrawnChannel {
    /// The image's size.
    pub size: Size,
    /// Values from 0, dark, to 1, light, row by row.
    pub shares: Vec<f32>,
    /// The values that these stand for.
    pub limits: (f32, f32),
}

/// Draws channel `channel` of `tap` for an image; the half per cent of the lowest and of the highest values is cut off.
pub fn draw_channel(image: &Path, tap: Tap, channel: usize, from: ChannelImage<'_>) -> Result<DrawnChannel> {
    let config = HypercolumnConfig { encoder: from.encoder.clone(), taps: vec![tap], scales: vec![1] };
    let channels = config.features(from.dataset.bands)?;
    let expected = format!("below {channels}: the channels of {tap} of {} are numbered from 0", from.encoder);
    require(channel < channels, "channel", channel, expected)?;
    let hypercolumns = Hypercolumns::new(config, from.encoder(tap)?, from.dataset.bands, from.device.open()?)?;
    from.dataset.follow_orientation();
    let raster = load_raster(image, &from.dataset)?;
    let (size, layout) = (raster.size, hypercolumns.layout(raster.size));
    let image = PreparedImage::new(image, &raster, &from.dataset)?;
    let mut values = vec![0.0; size.width * size.height];
    for window in layout.windows(None) {
        let seen = hypercolumns.see(&image, &layout, &window)?;
        for row in window.rows.clone() {
            let out = &mut values[row * size.width..][window.columns.clone()];
            seen.fill_one(channel, row..row + 1, window.columns.clone(), out);
        }
    }
    let mut sorted = values.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    let (low, high) = (at(CUT), at(1.0 - CUT));
    // A channel that sees nothing, as many do behind a ReLU, is dark.
    let range = if high > low { high - low } else { 1.0 };
    values.iter_mut().for_each(|value| *value = ((*value - low) / range).clamp(0.0, 1.0));
    Ok(DrawnChannel { size, shares: values, limits: (low, high) })
}
