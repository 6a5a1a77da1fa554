//! Whose weights a checkpoint holds, by the names of its tensors.

use super::checkpoint::Checkpoint;
use super::names::{Names, first_name, some};
use super::signs::{HALVES, SIGNS, has};
use crate::base::Result;
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
        "not recognised; its tensors are {}{notes}. Supported are the weights of CSAIL's semantic-segmentation-pytorch, \
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
    let classifier = || Some("the classifier from pretraining");
    match names {
        Names::Csail | Names::CsailModule if leaf.starts_with("_tmp_running_") || leaf == "_running_iter" => {
            Some("a buffer of CSAIL's batch norm")
        }
        Names::CsailModule if name.starts_with("encoder.fc.") => classifier(),
        // timm's VGGs.
        Names::Torchvision if name.starts_with("pre_logits.") || name.starts_with("head.fc.") => classifier(),
        Names::Csail | Names::Torchvision if name.starts_with("fc.") || name.starts_with("classifier.") => classifier(),
        Names::SeepsResnet if name.starts_with("base_model.fc.") => classifier(),
        Names::SeepsResnet => first_name(name).map(|_| "the same as base_model"),
        _ if names.is_smp() && name.starts_with("classification_head.") => Some("a head that classifies whole images"),
        _ => None,
    }
}

/// Two names of one tensor must hold the same.
pub(super) fn same_twice(checkpoint: &Checkpoint, names: Names) -> Result<()> {
    if names != Names::SeepsResnet {
        return Ok(());
    }
    for (name, tensor) in &checkpoint.tensors {
        let Some(first) = first_name(name) else { continue };
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
