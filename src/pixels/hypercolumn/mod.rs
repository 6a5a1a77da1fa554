//! Hypercolumns (Hariharan et al., arXiv 1411.5752): all that an encoder's inner layers show at a pixel, side by side, as
//! features of that pixel.
//!
//! An image is gone over in windows, each computed with as much around it as its features depend on, so that windows
//! change no more than the rounding of sums. What the layers show is kept as small as they give it; it is enlarged
//! (bilinear, as PyTorch's `interpolate` without aligned corners does) only where pixels are asked for.

mod cache;
mod layout;
mod prepared_image;
mod sampler;

use std::fmt;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use cache::{FeatureCache, StoredFeatures};
pub use layout::{Layout, Window};
pub use prepared_image::PreparedImage;
pub use sampler::WindowFeatures;

use crate::base::{Error, Result, Size, require};
use crate::nn::model::{FeatureEncoder, FeatureEncoderConfig, Reach, Tap, checksum_of, collect};
use sampler::Map;

/// Smallest size, relative to the image, at which features are computed: a 64th.
const MAX_SCALE: usize = 64;

/// Encoder, layers and scales that make up the hypercolumn features, as a recipe writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HypercolumnConfig {
    /// The encoder that computes the features.
    pub encoder: FeatureEncoderConfig,
    /// Its layers that are features, in this order.
    pub taps: Vec<Tap>,
    /// The encoder sees the image at 1/1, 1/2, ... of its size: means of squares of this many pixels (napari-convpaint's
    /// image scales). Features come scale by scale.
    #[serde(default = "own_size")]
    pub scales: Vec<usize>,
}

fn own_size() -> Vec<usize> {
    vec![1]
}

/// Features that come from one tap at one scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The image is that many times smaller.
    pub scale: usize,
    /// The layer.
    pub tap: Tap,
    /// Features.
    pub channels: usize,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scale {
            1 => write!(f, "{}", self.tap),
            scale => write!(f, "{} at 1/{scale}", self.tap),
        }
    }
}

impl HypercolumnConfig {
    /// Says what is wrong, for images of `bands` bands.
    pub fn check(&self, bands: usize) -> Result<()> {
        self.encoder.check()?;
        refuse_repeated("features.taps", &self.taps)?;
        refuse_repeated("features.scales", &self.scales)?;
        require(!self.taps.is_empty(), "features.taps", "empty", "a list of layers; pool1 and pool2 are usual")?;
        require(
            !self.scales.is_empty(),
            "features.scales",
            "empty",
            "a list of at least one scale, such as 1 for the image's own size",
        )?;
        for scale in &self.scales {
            let expected = format!("whole numbers from 1 to {MAX_SCALE}");
            require((1..=MAX_SCALE).contains(scale), "features.scales", scale, expected)?;
        }
        self.reaches(bands).map(drop)
    }

    /// What the numbers of every tap stand for.
    fn reaches(&self, bands: usize) -> Result<Vec<Reach>> {
        self.taps.iter().map(|tap| self.encoder.reach(*tap, bands)).collect()
    }

    /// Where the features come from, in their order.
    pub fn parts(&self, bands: usize) -> Result<Vec<Part>> {
        let reaches = self.reaches(bands)?;
        let part = |scale: usize| {
            let taps = self.taps.iter().zip(&reaches);
            taps.map(move |(tap, reach)| Part { scale, tap: *tap, channels: reach.channels })
        };
        Ok(self.scales.iter().flat_map(|scale| part(*scale)).collect())
    }

    /// How many features a pixel has.
    pub fn features(&self, bands: usize) -> Result<usize> {
        Ok(self.parts(bands)?.iter().map(|part| part.channels).sum())
    }

    /// How an image of that size, in `bands` bands, is gone over.
    pub fn layout(&self, size: Size, bands: usize) -> Result<Layout> {
        Ok(Layout::new(size, &self.scales, &self.reaches(bands)?))
    }
}

fn refuse_repeated<T: PartialEq + fmt::Display>(field: &'static str, list: &[T]) -> Result<()> {
    let twice = (0..list.len()).find(|&i| list[..i].contains(&list[i]));
    twice.map_or(Ok(()), |i| Err(Error::conflict(field, format!("lists {} twice; remove one", list[i]))))
}

/// An encoder with its weights, ready to give features.
#[derive(Debug)]
pub struct Hypercolumns {
    config: HypercolumnConfig,
    encoder: FeatureEncoder,
    device: Device,
    bands: usize,
    fingerprint: [u8; 32],
    checksum: String,
}

impl Hypercolumns {
    /// Hypercolumns of `encoder`, which must have been built for the taps of `config` and `bands` bands, on `device`.
    pub fn new(config: HypercolumnConfig, encoder: FeatureEncoder, bands: usize, device: Device) -> Result<Self> {
        config.check(bands)?;
        let fingerprint = fingerprint(&config, &encoder, &device)?;
        let hyperparameters = serde_json::to_string(&config).map_err(|e| Error::failed("describe the encoder", e))?;
        let checksum = checksum_of(&hyperparameters, &encoder);
        let encoder = encoder.folded(&config.taps);
        Ok(Self { config, encoder, device, bands, fingerprint, checksum })
    }

    /// What tells these features from others, on whatever device.
    pub(crate) fn checksum(&self) -> &str {
        &self.checksum
    }

    /// The configuration of the features.
    pub fn config(&self) -> &HypercolumnConfig {
        &self.config
    }

    /// How many features a pixel has.
    pub fn features(&self) -> usize {
        self.config.features(self.bands).unwrap_or_default()
    }

    /// How an image of that size is gone over.
    pub fn layout(&self, size: Size) -> Layout {
        self.config.layout(size, self.bands).expect("the taps were checked")
    }

    /// Runs the encoder on a window and returns its feature maps, from which the features of pixels are sampled.
    pub fn see(&self, image: &PreparedImage<'_>, layout: &Layout, window: &Window) -> Result<WindowFeatures> {
        let mut maps = Vec::with_capacity(self.config.scales.len() * self.config.taps.len());
        for (number, &scale) in self.config.scales.iter().enumerate() {
            let input = layout.input(number, window);
            let planes = image.reduced(scale, &input.rows, &input.columns)?;
            let shape = [1, self.bands, input.rows.len(), input.columns.len()];
            let tensor = Tensor::<4>::from_data(TensorData::new(planes, shape), &self.device);
            for (tap, seen) in self.encoder.forward(tensor, &self.config.taps).into_iter().enumerate() {
                let [_, shape @ ..] = seen.dims();
                let values = seen.into_data().try_into_vec::<f32>();
                let values = values.map_err(|e| Error::failed("read features from the device", format!("{e:?}")))?;
                maps.push(Map { values, shape, corner: layout.corner(tap, &input) });
            }
        }
        Ok(WindowFeatures::new(layout, window, maps))
    }
}

/// What features of an image depend on beside the normalised image; the device, by their last digits.
fn fingerprint(config: &HypercolumnConfig, encoder: &FeatureEncoder, device: &Device) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    hash.update(format!("{device:?}"));
    hash.update(serde_json::to_vec(config).map_err(|e| Error::failed("describe the encoder", e))?);
    for parameter in collect(encoder) {
        hash.update(parameter.name.as_bytes());
        hash.update(parameter.data.as_bytes());
    }
    Ok(hash.finalize().into())
}
