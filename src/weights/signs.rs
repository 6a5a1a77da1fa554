//! Whose names tensors have: signs of each project, and what no network here uses.

use std::collections::BTreeMap;

use super::Names;
use super::checkpoint::Checkpoint;
use super::recognise::some;
use crate::error::Result;

/// Tensors that only the weights of one project have, all of them; the first that fits decides.
const SIGNS: &[(Names, &[&str])] = &[
    (Names::Mmseg, &["backbone.", "decode_head."]),
    (Names::SmpUnet, &["encoder.layer1.", "decoder.blocks.", "segmentation_head.0."]),
    (Names::SmpPspnet, &["encoder.layer1.", "decoder.psp.blocks.", "segmentation_head.0."]),
    (Names::Semseg, &["layer0.0.", "layer1.0.conv1.", "ppm.features."]),
    (Names::Milesial, &["inc.double_conv.", "down1.maxpool_conv.", "outc.conv."]),
    (Names::Seeps, &["dconv_down1.0.", "dconv_up1.0.", "conv_last."]),
    (Names::SeepsResnet, &["base_model.conv1.", "layer0_1x1.0.", "conv_up0.0."]),
    (Names::SmpUnetTimm, &["encoder.model.layer1.", "decoder.blocks.", "segmentation_head.0."]),
    (Names::SmpPspnetTimm, &["encoder.model.layer1.", "decoder.psp.blocks.", "segmentation_head.0."]),
    (Names::CsailModule, &["encoder.conv3.", "encoder.bn3.", "encoder.layer1.", "decoder.conv_last"]),
    (Names::Segtool, &["encoder.layer1.", "decoder.conv_last"]),
    (Names::Segtool, &["conv_scale2.", "center_1.", "final."]),
    (Names::Segtool, &["down1.conv1.", "up1.enlarge."]),
    (Names::Csail, &["conv1.", "conv3.", "bn3.", "layer1.0.conv1."]),
    (Names::Torchvision, &["conv1.", "bn1.", "layer1.0.conv1."]),
    (Names::Torchvision, &["features.0.", "features.28."]),
];

/// Signs of half a network, and what is missing.
const HALVES: &[(&[&str], &str)] = &[
    (&["ppm.0.1.", "conv_last."], "the decoder alone of CSAIL; give the encoder's file, too"),
    (&["cbr.0.", "conv_last."], "the decoder alone of CSAIL; give the encoder's file, too"),
    (&["ppm_conv.0.", "fpn_in.0."], "the decoder alone of CSAIL; give the encoder's file, too"),
    (&["decode_head.conv_seg."], "a head of mmsegmentation without its backbone"),
    (&["encoder.model.layer1.", "decoder."], "another network of segmentation_models_pytorch than Unet and PSPNet"),
    (&["encoder.layer1.", "decoder."], "another network of segmentation_models_pytorch than Unet and PSPNet"),
    (&["encoder.features.", "decoder."], "a network of segmentation_models_pytorch on another encoder than a ResNet"),
    (&["features.0."], "a VGG of another depth, or another classifier; VGG-16 is known here"),
    (&["layer0.0.", "layer1.0.conv1."], "a network of hszhao/semseg that is no PSPNet"),
    (
        &["backbone.layer1.0.conv1."],
        "a torchvision segmentation network, or a backbone of mmsegmentation without its heads",
    ),
];

/// How much of a network names are of, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    Network,
    Encoder,
    Part,
}

/// Whether a name begins with `prefix` and `sign`.
fn has<T>(tensors: &BTreeMap<String, T>, prefix: &str, sign: &str) -> bool {
    let begin = format!("{prefix}{sign}");
    tensors.range(begin.clone()..).next().is_some_and(|(name, _)| name.starts_with(&begin))
}

/// Of what the names below `prefix` are, if they are somebody's.
pub(super) fn known<T>(tensors: &BTreeMap<String, T>, prefix: &str) -> Option<Known> {
    let all = |signs: &[&str]| signs.iter().all(|sign| has(tensors, prefix, sign));
    match SIGNS.iter().find(|(_, signs)| all(signs)) {
        Some((Names::Csail | Names::Torchvision, _)) => Some(Known::Encoder),
        Some(_) => Some(Known::Network),
        None => HALVES.iter().any(|(signs, _)| all(signs)).then_some(Known::Part),
    }
}

/// Whether a name may be the first of those that are known.
pub(super) fn may_begin(name: &str) -> bool {
    let signs = SIGNS.iter().map(|(_, signs)| signs).chain(HALVES.iter().map(|(signs, _)| signs));
    signs.filter_map(|signs| signs.first()).any(|sign| name.starts_with(sign))
}

/// Whose weights a file holds.
pub(super) fn whose(checkpoint: &Checkpoint) -> Result<Names> {
    let all = |signs: &[&str]| signs.iter().all(|sign| has(&checkpoint.tensors, "", sign));
    if let Some((names, _)) = SIGNS.iter().find(|(_, signs)| all(signs)) {
        return Ok(*names);
    }
    if let Some((_, what)) = HALVES.iter().find(|(signs, _)| all(signs)) {
        return Err(checkpoint.error(format!("looks like {what}")));
    }
    let names: Vec<&str> = checkpoint.tensors.keys().map(String::as_str).collect();
    let notes: String = checkpoint.notes.iter().map(|note| format!("; {note}")).collect();
    Err(checkpoint.error(format!(
        "not recognised; its tensors are {}{notes}. Known are the weights of CSAIL's semantic-segmentation-pytorch, \
         torchvision's ResNet and VGG-16, hszhao/semseg, mmsegmentation's PSPNet, segmentation_models_pytorch's Unet and \
         PSPNet, milesial/Pytorch-UNet, the U-Nets of Oil_Seep_Detection, and segtool's own",
        some(&names)
    )))
}

/// Why no network here uses a tensor, if that is so.
pub(super) fn unused(names: Names, name: &str) -> Option<&'static str> {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    if leaf == "num_batches_tracked" {
        return Some("a counter of PyTorch's batch norm");
    }
    let classifier = || Some("the classifier of the pretraining");
    match names {
        Names::Csail | Names::CsailModule if leaf.starts_with("_tmp_running_") || leaf == "_running_iter" => {
            Some("a buffer of CSAIL's batch norm")
        }
        Names::CsailModule if name.starts_with("encoder.fc.") => classifier(),
        // timm's VGGs.
        Names::Torchvision if name.starts_with("pre_logits.") || name.starts_with("head.fc.") => classifier(),
        Names::Csail | Names::Torchvision if name.starts_with("fc.") || name.starts_with("classifier.") => classifier(),
        Names::SeepsResnet if name.starts_with("base_model.fc.") => classifier(),
        Names::SeepsResnet => second_name(name).map(|_| "the same as base_model"),
        _ if names.is_smp() && name.starts_with("classification_head.") => Some("a head that classifies whole images"),
        _ => None,
    }
}

/// The name under which `ResNetUNet` has a tensor of its encoder for the first time.
fn second_name(name: &str) -> Option<String> {
    let (layer, rest) = name.split_once('.')?;
    let inside = match layer {
        "layer0" => match rest.split_once('.')? {
            ("0", leaf) => format!("conv1.{leaf}"),
            ("1", leaf) => format!("bn1.{leaf}"),
            _ => return None,
        },
        "layer1" => format!("layer1.{}", rest.strip_prefix("1.")?),
        "layer2" | "layer3" | "layer4" => name.to_owned(),
        _ => return None,
    };
    Some(format!("base_model.{inside}"))
}

/// Two names of one tensor must hold the same.
pub(super) fn same_twice(checkpoint: &Checkpoint, names: Names) -> Result<()> {
    if names != Names::SeepsResnet {
        return Ok(());
    }
    for (name, tensor) in &checkpoint.tensors {
        let Some(first) = second_name(name) else { continue };
        let equal = match checkpoint.tensors.get(&first) {
            Some(other) => other.shape() == tensor.shape() && other.bytes()? == tensor.bytes()?,
            None => false,
        };
        if !equal {
            return Err(checkpoint.error(format!(
                "{name} and {first} are one tensor in ResNetUNet, but differ here; which one counts cannot be told"
            )));
        }
    }
    Ok(())
}
