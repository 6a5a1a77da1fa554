//! What lies beside weights of other projects and says what names and shapes do not: the `config.json` of a folder as
//! Hugging Face's hub has them, mmsegmentation's configuration in the checkpoint, classes in a safetensors file.

use serde_json::{Map, Value};

use super::checkpoint::{Checkpoint, INTERPOLATION_MODE, MMSEG_CONFIG};
use super::content::Content;
use super::names::Names;
use crate::base::files::read_text;
use crate::data::{Dataset, Normalisation, ValidPixels};
use crate::nn::activation::Activation;
use crate::nn::model::{DecoderConfig, Dilation, EncoderDecoderConfig, NetworkConfig, Style};
use crate::nn::ops::Interpolation;

/// Why tensors are of no network here.
type Described<T> = Result<T, String>;

/// The entry of a safetensors file with another project's names in which `export` says what the classes are.
pub(super) const CLASSES: &str = "segtool_classes";

/// Names of files that lie in a folder with a `config.json` of their own.
const HUB_FILES: &[&str] = &["model.safetensors", "pytorch_model.bin"];

/// timm's names of networks that are torchvision's ResNets.
const PLAIN: &[&str] = &["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"];

/// Relatives of these under the same names, with layers without weights in between.
const SAME_NAMES: &[&str] = &["resnetblur", "resnetaa"];

/// What segmentation_models_pytorch says of networks that is looked at or shows in the names and shapes of tensors.
const SMP_KEYS: &[&str] = &[
    "_model_class",
    "activation",
    "aux_params",
    "classes",
    "decoder_attention_type",
    "decoder_channels",
    "decoder_interpolation",
    "decoder_use_batchnorm",
    "decoder_use_norm",
    "encoder_depth",
    "encoder_name",
    "encoder_weights",
    "in_channels",
    "psp_dropout",
    "psp_out_channels",
    "psp_use_batchnorm",
    "upsampling",
];

/// What was told beside names and shapes, and does not belong to the network.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) activation: Option<Activation>,
    pub(super) normalisation: Option<Normalisation>,
    pub(super) dataset: Option<Dataset>,
    pub(super) notes: Vec<String>,
}

/// Changes what weights are taken for by what lies beside them.
///
/// # Errors
/// What lies beside them cannot be read, or says that they are of another network.
pub(super) fn apply(checkpoint: &Checkpoint, names: Names, content: &mut Content) -> Described<Told> {
    let mut told = Told::default();
    for path in &checkpoint.paths {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        if let Some(relative) = SAME_NAMES.iter().find(|relative| stem.contains(*relative)) {
            return Err(format!(
                "its file name says {relative}, a ResNet with anti-aliasing, whose tensors have the same names but which computes \
                 something else; if it is a plain ResNet, rename the file"
            ));
        }
    }
    if let Some(text) = checkpoint.metadata.get(CLASSES) {
        told.dataset = Some(serde_json::from_str(text).map_err(|e| format!("its classes are not readable ({e})"))?);
    }
    if let Some(mode) = checkpoint.metadata.get(INTERPOLATION_MODE) {
        enlarge(content, mode)?;
    }
    if let (Names::Mmseg, Some(text)) = (names, checkpoint.metadata.get(MMSEG_CONFIG)) {
        mmseg(text, content, &mut told)?;
    }
    if let Some(config) = hub_config(checkpoint)? {
        if config.contains_key("_model_class") || config.contains_key("encoder_name") {
            smp(&config, names, content, &mut told)?;
        } else if let Some(architecture) = config.get("architecture").and_then(Value::as_str) {
            plain(architecture)?;
            told.notes.push(format!("config.json beside it says: {architecture}"));
        }
    }
    Ok(told)
}

/// The `config.json` beside a file of weights that has the usual name.
fn hub_config(checkpoint: &Checkpoint) -> Described<Option<Map<String, Value>>> {
    let [path] = &checkpoint.paths[..] else { return Ok(None) };
    let is_of_hub = path.file_name().is_some_and(|name| HUB_FILES.iter().any(|usual| name == *usual));
    let config = path.with_file_name("config.json");
    if !is_of_hub || !config.is_file() {
        return Ok(None);
    }
    let text = read_text(&config).map_err(|e| e.to_string());
    text.and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string())).map(Some).map_err(|e| {
        format!(
            "config.json beside it, which may change what the network computes, is not readable ({e}); fetch it again, or \
             remove it"
        )
    })
}

/// That timm's network of that name is a plain ResNet.
fn plain(name: &str) -> Described<()> {
    let base = name.strip_prefix("tu-").unwrap_or(name).split('.').next().unwrap_or(name);
    let base = ["tv_", "gluon_", "ssl_", "swsl_"].iter().find_map(|start| base.strip_prefix(start)).unwrap_or(base);
    let base = base.strip_suffix("_v1b").unwrap_or(base);
    if PLAIN.contains(&base) {
        return Ok(());
    }
    Err(format!(
        "config.json beside it says {name}, whose tensors have the names of a ResNet but which computes something else; \
         supported are {}",
        PLAIN.join(", ")
    ))
}

fn encoder_decoder(content: &mut Content) -> Option<&mut EncoderDecoderConfig> {
    match content {
        Content::Network(NetworkConfig::EncoderDecoder(config)) => Some(config),
        _ => None,
    }
}

/// Sets how the U-Net decoder enlarges.
fn enlarge(content: &mut Content, mode: &str) -> Described<()> {
    if let Some(DecoderConfig::Unet(decoder)) = encoder_decoder(content).map(|config| &mut config.decoder) {
        decoder.interpolation = match mode {
            "nearest" => Interpolation::Nearest,
            "bilinear" => Interpolation::Bilinear,
            "bicubic" => Interpolation::Bicubic,
            other => {
                return Err(format!(
                    "its decoder upsamples by '{other}'; nearest, bilinear and bicubic are supported: to choose one of them, set \
                     decoder.interpolation in a `recipe`"
                ));
            }
        };
    }
    Ok(())
}

/// What `save_pretrained` wrote.
fn smp(config: &Map<String, Value>, names: Names, content: &mut Content, told: &mut Told) -> Described<()> {
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    let refuse = |key: &str| {
        Err(format!(
            "config.json beside it says {key} = {}, which segtool does not support",
            config.get(key).unwrap_or(&Value::Null)
        ))
    };
    if !names.is_smp() {
        return refuse("_model_class");
    }
    let ours = if matches!(names, Names::SmpUnet | Names::SmpUnetTimm) { "Unet" } else { "PSPNet" };
    if text("_model_class").is_some_and(|class| class != ours) {
        return refuse("_model_class");
    }
    if let Some((key, _)) = config.iter().find(|(key, value)| !SMP_KEYS.contains(&key.as_str()) && !value.is_null()) {
        return refuse(key);
    }
    text("encoder_name").map_or(Ok(()), plain)?;
    for key in ["decoder_use_norm", "decoder_use_batchnorm", "psp_use_batchnorm"] {
        let usual = [Value::Null, true.into(), "batchnorm".into()];
        if config.get(key).is_some_and(|value| !usual.contains(value)) {
            return refuse(key);
        }
    }
    if let Some(mode) = text("decoder_interpolation") {
        enlarge(content, mode)?;
    }
    let stages = encoder_decoder(content).map_or(0, |config| config.encoder.stages);
    if ours == "PSPNet" && config.get("upsampling").and_then(Value::as_u64).is_some_and(|times| times != 2 << stages) {
        return refuse("upsampling");
    }
    let activation = config.get("activation").filter(|value| !value.is_null());
    told.activation = match activation.map_or(Some("identity"), Value::as_str) {
        Some("identity") => None,
        Some("sigmoid") => Some(Activation::Sigmoid),
        Some("softmax" | "softmax2d" | "logsoftmax") => Some(Activation::Softmax),
        _ => return refuse("activation"),
    };
    told.notes.push("the settings of config.json beside it were used".into());
    Ok(())
}

/// The text between the brackets after `name=dict` or `name = dict`, if there is any.
fn section<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let begin = |between: &str| {
        let sign = format!("{name}{between}dict(");
        text.find(&sign).map(|place| place + sign.len())
    };
    let start = begin("=").or_else(|| begin(" = "))?;
    let mut depth = 1usize;
    let end = text[start..].find(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    Some(&text[start..start + end])
}

/// What a setting of that name is, up to where it ends.
fn setting<'a>(section: &'a str, name: &str) -> Option<&'a str> {
    let sign = format!("{name}=");
    let mut starts = section.match_indices(&sign).map(|(place, _)| place);
    let own = |place: &usize| !section[..*place].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let rest = &section[starts.find(own)? + name.len() + 1..];
    let end = match rest.chars().next()? {
        '(' => rest.find(')')? + 1,
        '[' => rest.find(']')? + 1,
        _ => rest.find(',').unwrap_or(rest.len()),
    };
    Some(rest[..end].trim())
}

fn numbers(setting: &str) -> Vec<f64> {
    setting.trim_matches(['(', ')', '[', ']']).split(',').filter_map(|number| number.trim().parse().ok()).collect()
}

/// Whether a normalisation is another than ImageNet's, which 123.675 and the like of 255 are only nearly.
fn is_unusual(normalisation: &Normalisation) -> bool {
    const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
    const STD: [f64; 3] = [0.229, 0.224, 0.225];
    let near = |found: &[f64], usual: [f64; 3]| found.iter().zip(usual).all(|(a, b)| (a - b).abs() < 1e-6);
    match normalisation {
        Normalisation::Fixed { mean, std, .. } => !(mean.len() == 3 && near(mean, MEAN) && near(std, STD)),
        _ => true,
    }
}

/// What mmsegmentation's configuration says.
fn mmseg(text: &str, content: &mut Content, told: &mut Told) -> Described<()> {
    let Some(config) = encoder_decoder(content) else { return Ok(()) };
    let (Some(backbone), Some(head)) = (section(text, "backbone"), section(text, "decode_head")) else { return Ok(()) };
    let basic = config.encoder.variant.is_basic();
    let four = |name: &str, usual: [f64; 4]| setting(backbone, name).map_or_else(|| usual.to_vec(), numbers);
    let (strides, dilations) = (four("strides", [1.0, 2.0, 2.0, 2.0]), four("dilations", [1.0; 4]));
    let contracted = setting(backbone, "contract_dilation") == Some("True");
    config.encoder.dilation = match (&strides[..], &dilations[..], contracted) {
        ([1.0, 2.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0], _) => Dilation::None,
        ([1.0, 2.0, 1.0, 1.0], [1.0, 1.0, 2.0, 4.0], true) if basic => Dilation::AfterStrideConv1,
        ([1.0, 2.0, 1.0, 1.0], [1.0, 1.0, 2.0, 4.0], true) => Dilation::AfterStride,
        ([1.0, 2.0, 1.0, 1.0], [1.0, 1.0, 2.0, 4.0], false) if !basic => Dilation::Throughout,
        ([1.0, 2.0, 2.0, 1.0], [1.0, 1.0, 1.0, 2.0], true) if !basic => Dilation::Stage4,
        _ => {
            return Err(format!(
                "its configuration has strides and dilations that segtool does not support (strides {strides:?}, dilations {dilations:?}, \
                 contract_dilation {contracted})"
            ));
        }
    };
    if setting(backbone, "style").is_some_and(|style| style.trim_matches(['\'', '"']) == "caffe") {
        config.encoder.style = Style::Caffe;
    }
    if [backbone, head].iter().any(|section| setting(section, "eps").is_some()) {
        return Err("its configuration sets an epsilon of the batch norms; set it in a `recipe` (norm.epsilon)".into());
    }
    if setting(head, "pool_scales").is_some_and(|scales| numbers(scales) != [1.0, 2.0, 3.0, 6.0]) {
        return Err("its configuration has other pool_scales than 1, 2, 3 and 6".into());
    }
    config.resampling.align_corners = setting(head, "align_corners") == Some("True");
    let prepared = section(text, "data_preprocessor").or_else(|| section(text, "img_norm_cfg")).unwrap_or_default();
    let shares =
        |name: &str| setting(prepared, name).map(|list| numbers(list).into_iter().map(|n| n / 255.0).collect());
    if let (Some(mean), Some(std)) = (shares("mean"), shares("std")) {
        let bands = config.bands.unwrap_or(0);
        let normalisation = Normalisation::Fixed { mean, std, valid: ValidPixels::All };
        told.normalisation = normalisation.validate(bands).is_ok().then_some(normalisation).filter(is_unusual);
    }
    if ["bgr_to_rgb", "to_rgb"].iter().any(|name| setting(prepared, name) == Some("False")) {
        return Err("its network expects images in blue, green, red; segtool gives it red, green, blue".into());
    }
    told.notes.push("mmsegmentation's configuration in the file was used".into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_in_their_section() {
        let text = "model = dict(\n    backbone=dict(\n        contract_dilation=True,\n        dilations=(\n            1,\n            \
                    1,\n            2,\n            4,\n        ),\n        norm_cfg=dict(requires_grad=True, type='BN'),\n        \
                    style='pytorch'),\n    decode_head=dict(align_corners=False, num_classes=19))";
        let backbone = section(text, "backbone").unwrap();
        assert_eq!(numbers(setting(backbone, "dilations").unwrap()), [1.0, 1.0, 2.0, 4.0]);
        assert_eq!(setting(backbone, "contract_dilation"), Some("True"));
        assert_eq!(setting(backbone, "style"), Some("'pytorch'"));
        assert_eq!(setting(backbone, "dilation"), None);
        assert_eq!(setting(section(text, "decode_head").unwrap(), "align_corners"), Some("False"));
        assert_eq!(section(text, "auxiliary_head"), None);
    }

    #[test]
    fn plain_residual_networks_of_timm_are_known_by_their_names() {
        for name in ["resnet50", "tu-resnet18", "resnet34.a1_in1k", "tu-tv_resnet152.tv_in1k", "gluon_resnet50_v1b"] {
            assert_eq!(plain(name), Ok(()), "{name}");
        }
        for name in ["resnetblur50", "tu-resnetaa50", "seresnet50", "resnet50_gn", "resnet26", "se_resnet50"] {
            assert!(plain(name).unwrap_err().contains(name.trim_start_matches("tu-")), "{name}");
        }
    }
}
