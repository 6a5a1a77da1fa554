//! The names that other projects give to the same parameters.

use serde::{Deserialize, Serialize};

/// A project's naming scheme for the parameters of its networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Names {
    /// segtool's own.
    Segtool,
    /// CSAILVision/semantic-segmentation-pytorch; encoder and decoder are two files there.
    Csail,
    /// CSAIL's two parts in one module.
    CsailModule,
    /// torchvision's ResNet and VGG: encoders.
    Torchvision,
    /// hszhao/semseg's PSPNet.
    Semseg,
    /// mmsegmentation's PSPNet.
    Mmseg,
    /// segmentation_models_pytorch's U-Net.
    SmpUnet,
    /// segmentation_models_pytorch's PSPNet.
    SmpPspnet,
    /// Its U-Net on an encoder of timm (`tu-resnet34`).
    SmpUnetTimm,
    /// Its PSPNet on an encoder of timm.
    SmpPspnetTimm,
    /// milesial/Pytorch-UNet.
    Milesial,
    /// The U-Net of EvgenyDyshlyuk/Oil_Seep_Detection (and of usuyama/pytorch-unet).
    Seeps,
    /// Their U-Net on ResNet-18.
    SeepsResnet,
}

/// Another project's names and ours. `{}` stands for a number or a word, `{*}` for all the rest.
type Rules = &'static [(&'static str, &'static str)];

/// Where the names are segtool's own.
const SAME: Rules = &[("{*}", "{*}")];

const TORCHVISION: Rules = &[
    ("features.{*}", "features.{*}"),
    ("conv1.{}", "encoder.conv1.{}"),
    ("bn1.{}", "encoder.bn1.{}"),
    ("layer{*}", "encoder.layer{*}"),
];

const CSAIL: Rules = &[
    ("conv1.{}", "encoder.conv1.{}"),
    ("bn1.{}", "encoder.bn1.{}"),
    ("conv2.{}", "encoder.conv2.{}"),
    ("bn2.{}", "encoder.bn2.{}"),
    ("conv3.{}", "encoder.conv3.{}"),
    ("bn3.{}", "encoder.bn3.{}"),
    ("layer{*}", "encoder.layer{*}"),
    ("ppm{*}", "decoder.ppm{*}"),
    ("fpn_{*}", "decoder.fpn_{*}"),
    ("cbr{*}", "decoder.cbr{*}"),
    ("conv_last{*}", "decoder.conv_last{*}"),
];

const SEMSEG: Rules = &[
    ("layer0.0.{}", "encoder.conv1.{}"),
    ("layer0.1.{}", "encoder.bn1.{}"),
    ("layer0.3.{}", "encoder.conv2.{}"),
    ("layer0.4.{}", "encoder.bn2.{}"),
    ("layer0.6.{}", "encoder.conv3.{}"),
    ("layer0.7.{}", "encoder.bn3.{}"),
    ("layer{*}", "encoder.layer{*}"),
    ("ppm.features.{*}", "decoder.ppm.{*}"),
    ("cls.{*}", "decoder.conv_last.{*}"),
    ("aux.4.{}", "decoder.conv_last_deepsup.{}"),
    ("aux.{*}", "decoder.cbr_deepsup.{*}"),
];

const MMSEG: Rules = &[
    ("backbone.stem.0.{}", "encoder.conv1.{}"),
    ("backbone.stem.1.{}", "encoder.bn1.{}"),
    ("backbone.stem.3.{}", "encoder.conv2.{}"),
    ("backbone.stem.4.{}", "encoder.bn2.{}"),
    ("backbone.stem.6.{}", "encoder.conv3.{}"),
    ("backbone.stem.7.{}", "encoder.bn3.{}"),
    ("backbone.{*}", "encoder.{*}"),
    ("decode_head.psp_modules.{}.1.conv.{}", "decoder.ppm.{}.1.{}"),
    ("decode_head.psp_modules.{}.1.bn.{}", "decoder.ppm.{}.2.{}"),
    ("decode_head.bottleneck.conv.{}", "decoder.conv_last.0.{}"),
    ("decode_head.bottleneck.bn.{}", "decoder.conv_last.1.{}"),
    ("decode_head.conv_seg.{}", "decoder.conv_last.4.{}"),
    ("auxiliary_head.convs.0.conv.{}", "decoder.cbr_deepsup.0.{}"),
    ("auxiliary_head.convs.0.bn.{}", "decoder.cbr_deepsup.1.{}"),
    ("auxiliary_head.conv_seg.{}", "decoder.conv_last_deepsup.{}"),
];

const SMP_ENCODER: Rules = &[("encoder.{*}", "encoder.{*}")];

const TIMM_ENCODER: Rules = &[("encoder.model.{*}", "encoder.{*}")];

const SMP_UNET: Rules =
    &[("decoder.blocks.{*}", "decoder.blocks.{*}"), ("segmentation_head.0.{}", "segmentation_head.0.{}")];

const SMP_PSPNET: Rules = &[
    ("decoder.psp.blocks.{}.pool.1.0.{}", "decoder.ppm.{}.1.{}"),
    ("decoder.psp.blocks.{}.pool.1.1.{}", "decoder.ppm.{}.2.{}"),
    ("decoder.conv.0.{}", "decoder.conv_last.0.{}"),
    ("decoder.conv.1.{}", "decoder.conv_last.1.{}"),
    ("segmentation_head.0.{}", "decoder.conv_last.4.{}"),
];

/// The second names that ResNetUNet's encoder has in its files, and the first.
const TWICE: Rules = &[
    ("layer0.0.{}", "base_model.conv1.{}"),
    ("layer0.1.{}", "base_model.bn1.{}"),
    ("layer1.1.{*}", "base_model.layer1.{*}"),
    ("layer2.{*}", "base_model.layer2.{*}"),
    ("layer3.{*}", "base_model.layer3.{*}"),
    ("layer4.{*}", "base_model.layer4.{*}"),
];

/// The name under which ResNetUNet has a tensor for the first time, by the second.
pub(super) fn first_name(second: &str) -> Option<String> {
    TWICE.iter().find_map(|(from, to)| rewrite(second, from, to))
}

/// The name under which it has a tensor for the second time, by the first.
pub(super) fn second_name(first: &str) -> Option<String> {
    TWICE.iter().find_map(|(to, from)| rewrite(first, from, to))
}

impl Names {
    fn rules(self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        let [encoder, rest] = match self {
            Self::Csail => [&[], CSAIL],
            Self::Torchvision => [&[], TORCHVISION],
            Self::Semseg => [&[], SEMSEG],
            Self::Mmseg => [&[], MMSEG],
            Self::SmpUnet => [SMP_ENCODER, SMP_UNET],
            Self::SmpPspnet => [SMP_ENCODER, SMP_PSPNET],
            Self::SmpUnetTimm => [TIMM_ENCODER, SMP_UNET],
            Self::SmpPspnetTimm => [TIMM_ENCODER, SMP_PSPNET],
            Self::Segtool | Self::CsailModule | Self::Milesial | Self::Seeps | Self::SeepsResnet => [&[], SAME],
        };
        encoder.iter().chain(rest)
    }

    /// Whose they are, for people.
    pub fn owner(self) -> &'static str {
        match self {
            Self::Segtool => "segtool",
            Self::Csail | Self::CsailModule => "CSAIL (semantic-segmentation-pytorch)",
            Self::Torchvision => "torchvision",
            Self::Semseg => "hszhao/semseg",
            Self::Mmseg => "mmsegmentation",
            Self::Milesial => "milesial/Pytorch-UNet",
            Self::Seeps | Self::SeepsResnet => "Oil_Seep_Detection",
            Self::SmpUnet | Self::SmpPspnet | Self::SmpUnetTimm | Self::SmpPspnetTimm => "segmentation_models_pytorch",
        }
    }

    /// Whether they are segmentation_models_pytorch's.
    pub(super) fn is_smp(self) -> bool {
        matches!(self, Self::SmpUnet | Self::SmpPspnet) || self.has_timm_encoder()
    }

    /// Whether they are those of its networks on encoders of timm.
    pub(super) fn has_timm_encoder(self) -> bool {
        matches!(self, Self::SmpUnetTimm | Self::SmpPspnetTimm)
    }

    /// Our name for theirs, if the parameter has one here.
    pub fn ours(self, theirs: &str) -> Option<String> {
        self.rules().find_map(|(from, to)| rewrite(theirs, from, to))
    }

    /// Their name for ours, if the parameter has one there.
    pub fn theirs(self, ours: &str) -> Option<String> {
        self.rules().find_map(|(to, from)| rewrite(ours, from, to))
    }
}

/// `name` as `to` says, if it looks like `from`.
fn rewrite(name: &str, from: &str, to: &str) -> Option<String> {
    let mut captures = captures(name, from)?.into_iter();
    let mut result = String::new();
    let mut rest = to;
    while let Some((literal, hole, after)) = next_hole(rest) {
        debug_assert!(hole.len() >= 2);
        result.push_str(literal);
        result.push_str(captures.next()?);
        rest = after;
    }
    result.push_str(rest);
    Some(result)
}

/// What stands in `name` for the holes of `pattern`, if it fits.
fn captures<'a>(name: &'a str, pattern: &str) -> Option<Vec<&'a str>> {
    let Some((literal, hole, after)) = next_hole(pattern) else {
        return (name == pattern).then(Vec::new);
    };
    let name = name.strip_prefix(literal)?;
    if hole == "{*}" {
        return (after.is_empty() && !name.is_empty()).then(|| vec![name]);
    }
    let (capture, rest) = name.split_at(name.find('.').unwrap_or(name.len()));
    let mut found = vec![capture];
    found.extend(captures(rest, after)?);
    (!capture.is_empty()).then_some(found)
}

/// What comes before the first hole of a pattern, the hole, and what comes after it.
fn next_hole(pattern: &str) -> Option<(&str, &str, &str)> {
    let start = pattern.find('{')?;
    let end = start + pattern[start..].find('}')? + 1;
    Some((&pattern[..start], &pattern[start..end], &pattern[end..]))
}

/// Some of many names.
pub(super) fn some(names: &[&str]) -> String {
    let mut text = names.iter().take(MAX_NAMES).copied().collect::<Vec<_>>().join(", ");
    if names.len() > MAX_NAMES {
        text.push_str(&format!(" and {} more", names.len() - MAX_NAMES));
    }
    text
}

/// Most names in a line.
const MAX_NAMES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Names; 8] = [
        Names::Csail,
        Names::Torchvision,
        Names::Semseg,
        Names::Mmseg,
        Names::SmpUnet,
        Names::SmpPspnet,
        Names::SmpUnetTimm,
        Names::SmpPspnetTimm,
    ];

    #[test]
    fn names_turn_into_ours_and_back() {
        for (names, theirs, ours) in [
            (Names::Torchvision, "layer4.2.bn3.running_var", "encoder.layer4.2.bn3.running_var"),
            (Names::Csail, "layer1.0.downsample.0.weight", "encoder.layer1.0.downsample.0.weight"),
            (Names::Csail, "ppm.3.2.bias", "decoder.ppm.3.2.bias"),
            (Names::Csail, "ppm_last_conv.0.weight", "decoder.ppm_last_conv.0.weight"),
            (Names::Csail, "conv_last_deepsup.bias", "decoder.conv_last_deepsup.bias"),
            (Names::Semseg, "layer0.6.weight", "encoder.conv3.weight"),
            (Names::Semseg, "ppm.features.0.1.weight", "decoder.ppm.0.1.weight"),
            (Names::Semseg, "aux.4.bias", "decoder.conv_last_deepsup.bias"),
            (Names::Semseg, "aux.1.running_mean", "decoder.cbr_deepsup.1.running_mean"),
            (Names::Mmseg, "backbone.stem.7.weight", "encoder.bn3.weight"),
            (Names::Mmseg, "decode_head.psp_modules.2.1.bn.bias", "decoder.ppm.2.2.bias"),
            (Names::SmpPspnet, "decoder.psp.blocks.0.pool.1.0.bias", "decoder.ppm.0.1.bias"),
            (Names::SmpUnet, "segmentation_head.0.weight", "segmentation_head.0.weight"),
            (Names::SmpUnetTimm, "encoder.model.layer1.0.bn1.bias", "encoder.layer1.0.bn1.bias"),
        ] {
            assert_eq!(names.ours(theirs).as_deref(), Some(ours), "{names:?}");
            assert_eq!(names.theirs(ours).as_deref(), Some(theirs), "{names:?}");
        }
        assert_eq!(Names::Torchvision.ours("fc.weight"), None);
        assert_eq!(Names::Csail.ours("conv4.weight"), None);
    }

    #[test]
    fn both_sides_of_every_rule_have_the_same_holes() {
        let holes = |mut pattern: &'static str| {
            let mut found = Vec::new();
            while let Some((_, hole, after)) = next_hole(pattern) {
                found.push(hole);
                pattern = after;
            }
            found
        };
        for (theirs, ours) in ALL.into_iter().flat_map(|names| names.rules()).chain(TWICE) {
            assert_eq!(holes(theirs), holes(ours), "{theirs}");
        }
    }
}
