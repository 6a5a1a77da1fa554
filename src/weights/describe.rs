//! From names and shapes to a network's hyperparameters, and what two networks differ in.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::checkpoint::Stored;
use super::content::Content;
use super::names::Names;
use crate::nn::model::{
    AttentionUnetConfig, C1Config, DecoderConfig, DeepSupervisionConfig, Dilation, EncoderDecoderConfig, Enlargement,
    NetworkConfig, PyramidConfig, PyramidForm, ResNetConfig, ResnetUnetConfig, Stem, Style, UnetConfig,
    UnetDecoderConfig, UperNetConfig, Variant,
};
use crate::nn::ops::{Interpolation, Resampling};

/// Why tensors are of no network here.
type Described<T> = Result<T, String>;

/// Settings that change what is learnt, not what the weights mean.
const TRAINING_ONLY: &[&str] = &["dropout", "dropout_unit", "momentum", "initialisation", "weight"];
/// Further settings that shapes do not show.
const NOT_SHOWN: &[&str] = &[
    "encoder.dilation",
    "encoder.style",
    "resampling.interpolation",
    "resampling.align_corners",
    "norm.epsilon",
    "decoder.bins",
    "deep_supervision",
    "decoder.interpolation",
];
/// Settings that make it another network.
const IDENTITY: &[&str] = &["architecture", "encoder.variant", "decoder.kind", "decoder.form"];

/// The tensors, by segtool's names.
struct Tensors<'a>(&'a BTreeMap<String, Stored>);

impl Tensors<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Output channels, input channels and kernel of a convolution.
    fn conv(&self, name: &str) -> Described<[usize; 3]> {
        let tensor = self.0.get(name).ok_or_else(|| format!("{name} is missing"))?;
        match *tensor.shape() {
            [outputs, inputs, height, width] if height == width => Ok([outputs, inputs, height]),
            ref other => Err(format!("{name} has the shape {other:?}, which is not that of a square convolution")),
        }
    }

    fn outputs(&self, name: &str) -> Described<usize> {
        self.conv(name).map(|[outputs, ..]| outputs)
    }

    /// How many consecutive numbers from `first` make names `prefix` + number + `suffix`.
    fn count(&self, prefix: &str, first: usize, suffix: &str) -> usize {
        (first..).take_while(|i| self.has(&format!("{prefix}{i}{suffix}"))).count()
    }

    /// Channels inside the blocks of the first stage, where these are a plain residual network's.
    fn inner_width(&self, prefix: &str) -> Described<usize> {
        let name = |rest: &str| format!("{prefix}layer1.0.{rest}.weight");
        let width = self.outputs(&name("conv1"))?;
        if !self.has(&name("conv3")) {
            return Ok(width);
        }
        let [_, inputs, _] = self.conv(&name("conv2"))?;
        let outputs = self.outputs(&name("conv3"))?;
        let plain = "only the plain ResNet-18, -34, -50, -101 and -152 are supported; use weights of one of these";
        if inputs != width {
            let groups = width / inputs.max(1);
            return Err(format!("it is a ResNeXt, with {groups} groups in a convolution; {plain}"));
        }
        if outputs != 4 * width {
            return Err(format!(
                "it is a wide ResNet, of {width} channels inside a block and {outputs} after it; {plain}"
            ));
        }
        Ok(width)
    }

    /// The encoder whose names begin with `prefix`, and its input bands.
    fn encoder(&self, prefix: &str) -> Described<(ResNetConfig, usize)> {
        let name = |rest: &str| format!("{prefix}{rest}");
        let width = self.inner_width(prefix)?;
        let [first, bands, kernel] = self.conv(&name("conv1.weight"))?;
        let stem = if self.has(&name("conv3.weight")) {
            match self.outputs(&name("conv3.weight"))? {
                last if last == 2 * width => Stem::Deep,
                last if last == width => Stem::DeepNarrow,
                last => {
                    return Err(format!(
                        "its stem ends with {last} channels; only {width} and {} are supported",
                        2 * width
                    ));
                }
            }
        } else if (first, kernel) == (width, 7) {
            Stem::Conv7
        } else {
            return Err(format!(
                "its stem is one {kernel}x{kernel} convolution of {first} channels; only 7x7 of {width} is supported"
            ));
        };
        let blocks: Vec<usize> = (1..=4)
            .map(|stage| self.count(&name(&format!("layer{stage}.")), 0, ".conv1.weight"))
            .take_while(|count| *count > 0)
            .collect();
        let bottleneck = self.has(&name("layer1.0.conv3.weight"));
        let variant = Variant::of(bottleneck, &blocks).ok_or_else(|| {
            format!("a residual network of {blocks:?} blocks is not supported; ResNet-18, -34, -50, -101 and -152 are")
        })?;
        let (dilation, style) = (Dilation::None, Style::Pytorch);
        Ok((ResNetConfig { variant, width, stem, dilation, style, stages: blocks.len() }, bands))
    }

    fn deep_supervision(&self) -> Described<Option<DeepSupervisionConfig>> {
        let name = "decoder.cbr_deepsup.0.weight";
        if !self.has(name) {
            return Ok(None);
        }
        Ok(Some(DeepSupervisionConfig { width: Some(self.outputs(name)?), ..DeepSupervisionConfig::default() }))
    }

    /// Four levels, which cannot show their bins, have the published ones.
    fn published_levels(&self, prefix: &str, suffix: &str) -> Described<()> {
        match self.count(prefix, 0, suffix) {
            4 => Ok(()),
            other => Err(format!("its pyramid has {other} levels; only 4 (bins 1, 2, 3 and 6) are supported")),
        }
    }

    /// The decoder and the number of outputs.
    fn decoder(&self) -> Described<(DecoderConfig, usize)> {
        if self.has("decoder.ppm_conv.0.0.weight") {
            self.published_levels("decoder.ppm_conv.", ".0.weight")?;
            let config = UperNetConfig {
                level_width: Some(self.outputs("decoder.ppm_conv.0.0.weight")?),
                width: Some(self.outputs("decoder.ppm_last_conv.0.weight")?),
                ..UperNetConfig::default()
            };
            return Ok((DecoderConfig::UperNet(config), self.outputs("decoder.conv_last.1.weight")?));
        }
        if self.has("decoder.ppm.0.1.weight") {
            self.published_levels("decoder.ppm.", ".1.weight")?;
            let form = if self.has("decoder.ppm.0.1.bias") { PyramidForm::Smp } else { PyramidForm::Published };
            let config = PyramidConfig {
                level_width: Some(self.outputs("decoder.ppm.0.1.weight")?),
                width: Some(self.outputs("decoder.conv_last.0.weight")?),
                form,
                deep_supervision: self.deep_supervision()?,
                ..PyramidConfig::default()
            };
            return Ok((DecoderConfig::Pyramid(config), self.outputs("decoder.conv_last.4.weight")?));
        }
        if self.has("decoder.cbr.0.weight") {
            let config = C1Config {
                width: Some(self.outputs("decoder.cbr.0.weight")?),
                deep_supervision: self.deep_supervision()?,
            };
            return Ok((DecoderConfig::C1(config), self.outputs("decoder.conv_last.weight")?));
        }
        if self.has("decoder.blocks.0.conv1.0.weight") {
            let blocks = self.count("decoder.blocks.", 0, ".conv1.0.weight");
            let channels = (0..blocks).map(|i| self.outputs(&format!("decoder.blocks.{i}.conv1.0.weight")));
            let config =
                UnetDecoderConfig { channels: channels.collect::<Described<_>>()?, ..UnetDecoderConfig::default() };
            return Ok((DecoderConfig::Unet(config), self.outputs("segmentation_head.0.weight")?));
        }
        Err("its decoder is not supported; C1, pyramid pooling (PPM), UPerNet and segmentation_models_pytorch's U-Net are"
            .into())
    }

    /// How many stages of the encoder reach the decoder, if its first convolution shows it.
    fn used_stages(&self, encoder: &ResNetConfig, decoder: &DecoderConfig) -> Described<usize> {
        let inputs = match decoder {
            DecoderConfig::Unet(config) => return Ok(config.channels.len().saturating_sub(1)),
            DecoderConfig::Pyramid(_) => self.conv("decoder.ppm.0.1.weight")?[1],
            DecoderConfig::C1(_) | DecoderConfig::UperNet(_) => return Ok(encoder.stages),
        };
        (1..=encoder.stages)
            .find(|stage| encoder.channels(*stage) == inputs)
            .ok_or_else(|| format!("its pyramid takes {inputs} channels, which no stage of its encoder gives"))
    }

    /// Encoder and decoder, put together as the project does it.
    fn encoder_decoder(&self, names: Names) -> Described<NetworkConfig> {
        let (mut encoder, bands) = self.encoder("encoder.")?;
        let (mut decoder, outputs) = self.decoder()?;
        encoder.stages = self.used_stages(&encoder, &decoder)?;
        encoder.dilation = dilation(names, &encoder, &decoder)?;
        if let (DecoderConfig::Pyramid(config), true) = (&mut decoder, names.is_smp()) {
            config.dropout = 0.2;
        }
        let mut config = EncoderDecoderConfig::new(encoder, decoder, bands, outputs);
        let align_corners = matches!(names, Names::Semseg | Names::SmpPspnet | Names::SmpPspnetTimm);
        config.resampling = Resampling { interpolation: Interpolation::Bilinear, align_corners };
        Ok(NetworkConfig::EncoderDecoder(config))
    }

    fn unet(&self, first: &str, level: (&str, &str), head: &str) -> Described<UnetConfig> {
        let [width, bands, _] = self.conv(first)?;
        Ok(UnetConfig::new(width, self.count(level.0, 1, level.1), bands, self.outputs(head)?))
    }
}

/// A VGG-16, by its first and last convolutions.
fn vgg16(tensors: &Tensors<'_>) -> Described<Content> {
    let [width, bands, kernel] = tensors.conv("features.0.weight")?;
    let batch_norm = tensors.has("features.1.running_mean");
    let last = if batch_norm { "features.40.weight" } else { "features.28.weight" };
    if (width, kernel) != (64, 3) || tensors.outputs(last)? != 512 {
        return Err("its convolutions are not a VGG-16's".into());
    }
    Ok(Content::Vgg16 { bands, batch_norm })
}

/// What tensors are of. Settings that they cannot show are those of the project; segtool's own files without a
/// description need a recipe for them.
pub(super) fn content(
    names: Names,
    tensors: &BTreeMap<String, Stored>,
    recipe: Option<&NetworkConfig>,
) -> Described<Content> {
    let tensors = Tensors(tensors);
    let has_decoder = || tensors.0.keys().any(|name| name.starts_with("decoder."));
    let encoder_alone = || tensors.encoder("encoder.").map(|(encoder, bands)| Content::Encoder { encoder, bands });
    let network = match names {
        Names::Torchvision if tensors.has("features.0.weight") => return vgg16(&tensors),
        Names::Torchvision => return encoder_alone(),
        Names::Csail if !has_decoder() => return encoder_alone(),
        Names::Milesial => unet_milesial(&tensors)?,
        Names::Seeps => {
            let levels = ("dconv_down", ".0.weight");
            NetworkConfig::UnetSeeps(tensors.unet("dconv_down1.0.weight", levels, "conv_last.weight")?)
        }
        Names::SeepsResnet => {
            let (encoder, bands) = tensors.encoder("base_model.")?;
            let outputs = Some(tensors.outputs("conv_last.weight")?);
            NetworkConfig::UnetResnet(ResnetUnetConfig { encoder, bands: Some(bands), outputs })
        }
        Names::Segtool if tensors.has("conv_scale2.weight") => {
            let [width, bands, _] = tensors.conv("conv1_1.weight")?;
            let config = AttentionUnetConfig::new(bands, tensors.outputs("final.weight")?);
            NetworkConfig::UnetAttention(AttentionUnetConfig { width, ..config })
        }
        Names::Segtool if tensors.has("up1.enlarge.weight") => {
            let levels = ("down", ".conv1.weight");
            NetworkConfig::UnetEarthquake(tensors.unet("down1.conv1.weight", levels, "last.weight")?)
        }
        Names::Segtool if recipe.is_none() => {
            let reason = "it does not say where dilation replaces strides; import it first: segtool import --recipe";
            return Err(reason.into());
        }
        _ => tensors.encoder_decoder(names)?,
    };
    Ok(Content::Network(network))
}

fn unet_milesial(tensors: &Tensors<'_>) -> Described<NetworkConfig> {
    let levels = ("down", ".maxpool_conv.1.double_conv.0.weight");
    let mut config = tensors.unet("inc.double_conv.0.weight", levels, "outc.conv.weight")?;
    config.depth += 1;
    let transposed = tensors.has("up1.up.weight");
    config.enlargement = Some(if transposed { Enlargement::Transposed } else { Enlargement::Bilinear });
    Ok(NetworkConfig::UnetMilesial(config))
}

/// What each project trains with.
fn dilation(names: Names, encoder: &ResNetConfig, decoder: &DecoderConfig) -> Described<Dilation> {
    Ok(match (names, decoder) {
        (Names::Csail | Names::CsailModule, DecoderConfig::UperNet(_)) => Dilation::None,
        _ if names.is_smp() => Dilation::None,
        // Its PSPNet moves the strides of bottlenecks alone, and refuses other depths than 50, 101 and 152.
        (Names::Semseg, _) if encoder.variant.is_basic() => {
            return Err(format!(
                "its encoder is {}, for which that project does not say where dilation replaces strides; its own are \
                 ResNet-50, -101 and -152",
                encoder.variant
            ));
        }
        (Names::Semseg, _) => Dilation::Throughout,
        (Names::Mmseg, _) if encoder.variant.is_basic() => Dilation::AfterStrideConv1,
        _ => Dilation::AfterStride,
    })
}

/// Stages of the encoder that the network uses; all where there is none.
pub(super) fn stages(content: &Content) -> usize {
    match content {
        Content::Network(NetworkConfig::EncoderDecoder(config)) => config.encoder.stages,
        _ => 4,
    }
}

/// A network in a few words.
pub(super) fn summary(network: &NetworkConfig) -> String {
    let classes = network.bands_and_outputs().1.map_or_else(String::new, |n| format!(", {n} outputs"));
    let unet = |name, config: &UnetConfig| format!("unet-{name} of width {} and depth {}", config.width, config.depth);
    let what = match network {
        NetworkConfig::EncoderDecoder(config) => {
            let decoder = match &config.decoder {
                DecoderConfig::C1(_) => "C1",
                DecoderConfig::Pyramid(_) => "pyramid pooling",
                DecoderConfig::UperNet(_) => "UPerNet",
                DecoderConfig::Unet(_) => "U-Net decoder",
            };
            format!("{decoder} on {}", encoder(&config.encoder))
        }
        NetworkConfig::UnetSeeps(config) => unet("seeps", config),
        NetworkConfig::UnetMilesial(config) => unet("milesial", config),
        NetworkConfig::UnetEarthquake(config) => unet("earthquake", config),
        NetworkConfig::UnetResnet(config) => format!("unet-resnet on {}", encoder(&config.encoder)),
        NetworkConfig::UnetAttention(config) => format!("unet-attention of width {}", config.width),
    };
    format!("{what}{classes}")
}

/// An encoder in a few words.
pub(super) fn encoder(config: &ResNetConfig) -> String {
    let fields = serde_json::to_value(config).unwrap_or_default();
    let [variant, stem] = ["variant", "stem"].map(|name| fields[name].as_str().unwrap_or_default());
    format!("{variant} ({stem} stem)")
}

/// What weights are taken for that their shapes do not show.
pub(super) fn facts(network: &NetworkConfig) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let settings = settings(network);
    // The U-Net decoder's logits are as large as the input: only its blocks enlarge.
    let enlarges_logits = !settings.contains_key("decoder.interpolation");
    let shown = ["encoder.stem", "encoder.dilation", "decoder.interpolation"];
    let logits = ["resampling.interpolation", "resampling.align_corners"].into_iter().filter(|_| enlarges_logits);
    let paths = shown.into_iter().chain(logits).chain(["enlargement"]);
    paths.filter_map(|path| Some((path.to_owned(), text(settings.get(path)?)))).collect()
}

/// The settings of a network by their paths, such as `encoder.stem`. Lists count as one setting.
fn settings(network: &NetworkConfig) -> BTreeMap<String, Value> {
    fn flatten(prefix: &str, value: Value, into: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
                    flatten(&path, value, into);
                }
            }
            value => _ = into.insert(prefix.to_owned(), value),
        }
    }
    let mut found = BTreeMap::new();
    flatten("", serde_json::to_value(network.clone().resolved()).unwrap_or_default(), &mut found);
    found
}

fn leaf(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Says how `from` and `to` differ in what weights mean: path, value before, value after. Bands and outputs do not count.
pub(super) fn differences(from: &NetworkConfig, to: &NetworkConfig) -> Vec<(String, Value, Value)> {
    let (from, to) = (settings(from), settings(to));
    let paths: std::collections::BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let value = |of: &BTreeMap<String, Value>, path: &str| of.get(path).cloned().unwrap_or_default();
    paths
        .into_iter()
        .filter(|path| {
            let open = ["bands", "outputs", "deep_supervision"].contains(&path.as_str());
            !open && !TRAINING_ONLY.contains(&leaf(path)) && !path.starts_with("decoder.deep_supervision")
        })
        .map(|path| (path.clone(), value(&from, path), value(&to, path)))
        .filter(|(_, from, to)| from != to)
        .collect()
}

/// Says what makes the two another network, if anything does.
fn check_identity(weights: &NetworkConfig, recipe: &NetworkConfig) -> Described<()> {
    match differences(recipe, weights).into_iter().find(|(path, ..)| IDENTITY.contains(&path.as_str())) {
        Some((path, wanted, found)) => Err(format!(
            "it holds {}, where {path} is {found}, but in the recipe it is {wanted}; use a recipe of that network",
            summary(weights)
        )),
        None => Ok(()),
    }
}

/// The network of weights, with what their shapes cannot show as a recipe says it.
pub(super) fn by_recipe(weights: &NetworkConfig, recipe: &NetworkConfig) -> Described<NetworkConfig> {
    check_identity(weights, recipe)?;
    let has_second = second_head(weights);
    merge(weights, recipe, |path| {
        let of_second = path.starts_with("decoder.deep_supervision");
        (NOT_SHOWN.contains(&path) || TRAINING_ONLY.contains(&leaf(path))) && (has_second || !of_second)
    })
}

/// A recipe's network, changed so that weights of a whole network fit and mean what they meant. Bands and outputs, and
/// whether there is a second head, stay the recipe's.
pub(super) fn adapt(recipe: &NetworkConfig, weights: &NetworkConfig) -> Described<NetworkConfig> {
    check_identity(weights, recipe)?;
    let other_heads = second_head(recipe) != second_head(weights);
    merge(weights, recipe, |path| {
        ["bands", "outputs", "deep_supervision"].contains(&path)
            || TRAINING_ONLY.contains(&leaf(path))
            || (other_heads && path.starts_with("decoder.deep_supervision"))
    })
}

fn second_head(network: &NetworkConfig) -> bool {
    match network {
        NetworkConfig::EncoderDecoder(config) => config.decoder.deep_supervision().is_some(),
        _ => false,
    }
}

/// `base`, with the settings that `take` chooses by their paths as `other` has them.
fn merge(base: &NetworkConfig, other: &NetworkConfig, take: impl Fn(&str) -> bool) -> Described<NetworkConfig> {
    let json = |network: &NetworkConfig| serde_json::to_value(network.clone().resolved()).unwrap_or_default();
    let mut merged = json(base);
    for (path, value) in settings(other).into_iter().filter(|(path, _)| take(path)) {
        set(&mut merged, &path, value);
    }
    serde_json::from_value(merged).map_err(|e| format!("recipe and weights do not fit together: {e}"))
}

/// Sets what lies at a path; a branch that is not there yet grows.
fn set(value: &mut Value, path: &str, new: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        if let Value::Object(fields) = value {
            fields.insert(path.to_owned(), new);
        }
        return;
    };
    if let Value::Object(fields) = value {
        let branch = fields.entry(first).or_insert(Value::Null);
        if branch.is_null() {
            *branch = Value::Object(Map::new());
        }
        set(branch, rest, new);
    }
}
