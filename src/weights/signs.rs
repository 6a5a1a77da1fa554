//! Whose names tensors have: signs of each project, and what no network here uses.

use std::collections::BTreeMap;

use super::names::Names;

/// Tensors that only the weights of one project have, all of them; the first that fits decides.
pub(crate) const SIGNS: &[(Names, &[&str])] = &[
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
pub(crate) const HALVES: &[(&[&str], &str)] = &[
    (&["ppm.0.1.", "conv_last."], "the decoder alone of CSAIL; give the encoder's file, too"),
    (&["cbr.0.", "conv_last."], "the decoder alone of CSAIL; give the encoder's file, too"),
    (&["ppm_conv.0.", "fpn_in.0."], "the decoder alone of CSAIL; give the encoder's file, too"),
    (&["decode_head.conv_seg."], "a head of mmsegmentation without its backbone"),
    (&["encoder.model.layer1.", "decoder."], "another network of segmentation_models_pytorch than Unet and PSPNet"),
    (&["encoder.layer1.", "decoder."], "another network of segmentation_models_pytorch than Unet and PSPNet"),
    (
        &["encoder.features.", "decoder."],
        "a network of segmentation_models_pytorch with an encoder other than a ResNet",
    ),
    (&["features.0."], "a VGG of another depth, or another classifier; only VGG-16 is supported"),
    (&["layer0.0.", "layer1.0.conv1."], "a network of hszhao/semseg other than PSPNet"),
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
pub(crate) fn has<T>(tensors: &BTreeMap<String, T>, prefix: &str, sign: &str) -> bool {
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
