//! Tensors that an encoder of its kind has not: squeeze and excitation, attention, biases, further stages.

use std::collections::{BTreeMap, BTreeSet};

use super::content::{Content, bands, residual};
use crate::base::Result;
use crate::nn::device::DeviceChoice;
use crate::nn::model::{FeatureEncoderConfig, Tap, VggConfig, shapes};

/// Names, by segtool's, of tensors among an encoder's that its kind has not.
pub(super) fn of_encoder<T>(content: &Content, tensors: &BTreeMap<String, T>) -> Result<Vec<String>> {
    let (prefix, tap, config) = match content {
        Content::Vgg16 { batch_norm, .. } => {
            ("", Tap::Pool(5), FeatureEncoderConfig::Vgg16(VggConfig { batch_norm: *batch_norm }))
        }
        content => {
            let Some((encoder, prefix)) = residual(content) else { return Ok(Vec::new()) };
            (prefix, Tap::Layer(encoder.stages), FeatureEncoderConfig::Resnet(encoder.into()))
        }
    };
    let encoder = config.hollow(bands(content).unwrap_or(1), &[tap], &DeviceChoice::Flex.open()?)?;
    let known: BTreeSet<String> = shapes(&encoder).into_iter().map(|parameter| parameter.name).collect();
    let strange = |name: &&String| name.strip_prefix(prefix).is_some_and(|name| !known.contains(name));
    Ok(tensors.keys().filter(strange).cloned().collect())
}

/// What a network is called that has a tensor of that name.
pub(super) fn kind(name: &str) -> Option<&'static str> {
    let has = |parts: &[&str]| name.split('.').any(|word| parts.contains(&word));
    Some(if has(&["se", "se_module"]) {
        "it is an SE-ResNet, whose blocks have squeeze and excitation"
    } else if has(&["ca", "sa", "cbam", "attn", "attn_layer", "eca", "nonlocal", "gc_module", "context_block"]) {
        "its blocks have attention"
    } else if name.contains(".downsample.2.") {
        "its shortcuts begin with an average pooling, as in a ResNet-D"
    } else if name.ends_with("conv1.bias") || name.ends_with("conv2.bias") || name.ends_with("conv3.bias") {
        "its convolutions have biases: their batch norms were folded into them"
    } else {
        return None;
    })
}
