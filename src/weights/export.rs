//! Weights under the names of other projects, in files that these read.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::beside::CLASSES;
use super::checkpoint::{Checkpoint, ENTRY, MASK_VALUES, Stored};
use super::content::Content;
use super::describe;
use super::names::{Names, second_name, some};
use super::recognise::{KEPT, Weights};
use super::safetensors::encode;
use super::torch_file::{self, Around};
use crate::base::files::{create_folder, write_bytes};
use crate::base::named_enum::named_enum;
use crate::base::{Error, Result};
use crate::nn::activation::Activation;
use crate::nn::model::{DecoderConfig, Dilation, EncoderDecoderConfig, NetworkConfig, Stem, Style};
use crate::nn::ops::{Interpolation, NormSettings};

/// The project in whose format weights are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// CSAIL's semantic-segmentation-pytorch: a folder with `encoder.pth` and `decoder.pth`.
    Csail,
    /// torchvision: the encoder alone.
    Torchvision,
    /// mmsegmentation.
    Mmseg,
    /// segmentation_models_pytorch: its Unet or PSPNet.
    Smp,
    /// hszhao/semseg.
    Semseg,
    /// milesial/Pytorch-UNet.
    Milesial,
    /// Oil_Seep_Detection: its UNet or ResNetUNet.
    Seeps,
}

named_enum!(
    Target, "project",
    "csail" => Csail,
    "torchvision" => Torchvision,
    "mmseg" => Mmseg,
    "smp" => Smp,
    "semseg" => Semseg,
    "milesial" => Milesial,
    "seeps" => Seeps,
);

impl Target {
    /// Whose names, for a network.
    fn names(self, network: Option<&NetworkConfig>) -> Names {
        match (self, network) {
            (Self::Csail, _) => Names::Csail,
            (Self::Torchvision, _) => Names::Torchvision,
            (Self::Mmseg, _) => Names::Mmseg,
            (Self::Semseg, _) => Names::Semseg,
            (Self::Milesial, _) => Names::Milesial,
            (Self::Smp, Some(NetworkConfig::EncoderDecoder(config)))
                if matches!(config.decoder, DecoderConfig::Pyramid(_)) =>
            {
                Names::SmpPspnet
            }
            (Self::Smp, _) => Names::SmpUnet,
            (Self::Seeps, Some(NetworkConfig::UnetResnet(_))) => Names::SeepsResnet,
            (Self::Seeps, _) => Names::Seeps,
        }
    }
}

impl Weights {
    /// Writes the weights as segtool's own safetensors file, which says what it holds.
    pub fn write(&self, path: &Path) -> Result<()> {
        let kept = self.kept.iter().map(|(name, (tensor, _))| (format!("{KEPT}{name}"), tensor.clone()));
        let tensors: BTreeMap<String, Stored> =
            self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).chain(kept).collect();
        let text = serde_json::to_string(&self.description).map_err(|e| Error::failed("describe the weights", e))?;
        let values = self.checkpoint.metadata.get(MASK_VALUES).map(|values| (MASK_VALUES, values.as_str()));
        let entries: Vec<_> = [Some((ENTRY, text.as_str())), values].into_iter().flatten().collect();
        write_safetensors(path, &tensors, &entries)
    }

    /// Writes the weights for another project and returns the files. Refused where that project would read another network
    /// out of them. The second value says what the user should know of the result, a line each.
    pub fn export(&self, target: Target, output: &Path) -> Result<(Vec<PathBuf>, Vec<String>)> {
        let network = match &self.description.content {
            Content::Network(network) => Some(network),
            _ => None,
        };
        let names = target.names(network);
        let refuse = |reason: String| {
            self.checkpoint.error(format!(
                "holds {}, which cannot be written for {}: {reason}",
                self.summary(),
                names.owner()
            ))
        };
        let (mut tensors, left_out) = self.translated(names).map_err(refuse)?;
        self.check_meaning(names, &tensors).map_err(refuse)?;
        let mut notes = Vec::new();
        if !left_out.is_empty() {
            notes.push(format!("left out {} tensors that have no place there: {}", left_out.len(), some(&left_out)));
        }
        if matches!(names, Names::Torchvision | Names::Csail) {
            notes.extend(network.and_then(|network| dilation_note(names, network)));
        }
        if self.description.names == names {
            tensors.extend(self.kept.iter().map(|(name, (tensor, _))| (name.clone(), tensor.clone())));
        } else {
            notes.extend(complete(names, &mut tensors));
        }
        let outputs = network.and_then(|network| network.bands_and_outputs().1).unwrap_or(0);
        let classes = self.class_count().unwrap_or(0) as u16;
        let dataset = self.description.dataset.as_ref();
        let told = dataset.map(|dataset| dataset.classes.iter().map(|class| class.values[0]).collect());
        let values = || self.checkpoint.label_values().or(told).unwrap_or_else(|| (0..classes).collect());
        let around = match names {
            Names::Semseg => Around::Epoch,
            Names::Mmseg => Around::Meta,
            Names::Milesial => Around::MaskValues(values()),
            _ => Around::Nothing,
        };
        notes.extend(network.filter(|_| names.is_smp()).and_then(enlargement_note));
        if self.description.names.has_timm_encoder() {
            notes.push(
                "the encoder is written as that project's own encoder of the same depth, whose name has no 'tu-'"
                    .into(),
            );
        }
        notes.extend(network.and_then(|_| activation_note(names, self.description.activation, outputs)));
        let classes = dataset.map(serde_json::to_string).transpose();
        let classes = classes.map_err(|e| Error::failed("describe the classes", e))?;
        let entries: Vec<(&str, &str)> = classes.iter().map(|classes| (CLASSES, classes.as_str())).collect();
        Ok((write_files(names, tensors, &around, &entries, output)?, notes))
    }

    /// The tensors under the names of another project, and the names of those that have no place there; an error for one
    /// that it needs another network for.
    fn translated(&self, names: Names) -> Result<(BTreeMap<String, Stored>, Vec<&str>), String> {
        // mmsegmentation gives a stem of three convolutions other names than one of one.
        let deep = self.tensors.contains_key("encoder.conv3.weight");
        let (mut tensors, mut left_out) = (BTreeMap::new(), Vec::new());
        for (name, tensor) in &self.tensors {
            let theirs = match (names, name.strip_prefix("base_model."), name.strip_prefix("encoder.")) {
                // ResNetUNet's encoder is torchvision's as any other.
                (Names::Torchvision, Some(rest), _) => names.theirs(&format!("encoder.{rest}")),
                (Names::Mmseg, _, Some(rest)) if !deep => Some(format!("backbone.{rest}")),
                _ => names.theirs(name),
            };
            match theirs {
                Some(theirs) => _ = tensors.insert(theirs, tensor.clone()),
                None if names == Names::Torchvision => left_out.push(name.as_str()),
                None => return Err(format!("tensor {name} has no counterpart there")),
            }
        }
        Ok((tensors, left_out))
    }

    /// Says how the network differs from what the other project would take the weights for.
    fn check_meaning(&self, names: Names, tensors: &BTreeMap<String, Stored>) -> Result<(), String> {
        let (tensors, metadata, odd) = (tensors.clone(), HashMap::new(), BTreeMap::new());
        let checkpoint = Checkpoint { tensors, metadata, odd, ..self.checkpoint.clone() };
        // Files beside the source, such as its config.json, are written in the names of the source, not of the target.
        let read = Self::as_they_are(&checkpoint, None, false).map_err(|e| e.to_string())?;
        if read.description.names != names {
            return Err(format!("it would be taken for {}", read.summary()));
        }
        match (&self.description.content, &read.description.content) {
            (Content::Network(ours), Content::Network(theirs)) => {
                // CSAIL is told by name whether its encoder is dilated, smp how its decoder enlarges; see the notes.
                let told = |path: &str| match path {
                    "encoder.dilation" => names == Names::Csail && csail_encoder(ours).is_some(),
                    "decoder.interpolation" => names.is_smp(),
                    _ => false,
                };
                let differences = describe::differences(ours, theirs);
                let lines: Vec<String> = differences
                    .iter()
                    .filter(|(path, ..)| !told(path))
                    .map(|(path, ours, theirs)| format!("{path} is {ours} here, but {theirs} there"))
                    .collect();
                if lines.is_empty() { Ok(()) } else { Err(lines.join("; ")) }
            }
            (_, Content::Encoder { encoder, .. }) if names == Names::Torchvision && encoder.stem != Stem::Conv7 => {
                Err("its stem is not one 7x7 convolution".into())
            }
            (Content::Network(ours), _) => check_encoder(ours),
            _ => Ok(()),
        }
    }
}

/// What torchvision's ResNet cannot be told.
fn check_encoder(network: &NetworkConfig) -> Result<(), String> {
    if let NetworkConfig::EncoderDecoder(config) = network
        && config.norm.epsilon != NormSettings::default().epsilon
    {
        return Err(format!("its batch norms have an epsilon of {}", config.norm.epsilon));
    }
    match network.clone().encoder_mut() {
        Some((encoder, _)) if encoder.style == Style::Caffe => {
            Err("its strides are in the first convolution of a block".into())
        }
        Some((encoder, _)) if encoder.variant.is_basic() && encoder.dilation != Dilation::None => Err(format!(
            "its encoder is dilated, which torchvision refuses for the basic blocks of {}",
            encoder.variant
        )),
        Some((encoder, _)) if encoder.dilation == Dilation::Throughout => {
            Err("all its convolutions of a stage are dilated, including the first".into())
        }
        _ => Ok(()),
    }
}

/// What the other project would make of outputs that it cannot be told about.
fn activation_note(names: Names, activation: Activation, outputs: usize) -> Option<String> {
    let by_sigmoid = matches!(names, Names::Seeps | Names::SeepsResnet);
    match activation {
        Activation::Softmax if by_sigmoid => Some(format!(
            "{} treats every output as a seep class, with a sigmoid; these {outputs} include the background and are meant for a \
             softmax",
            names.owner()
        )),
        Activation::Sigmoid if !by_sigmoid && outputs > 1 && names != Names::Torchvision => Some(format!(
            "these {outputs} outputs are the classes without the background, each for a sigmoid; {} may treat them as a \
             softmax's",
            names.owner()
        )),
        _ => None,
    }
}

/// How smp's Unet has to be told of its enlargement.
fn enlargement_note(network: &NetworkConfig) -> Option<String> {
    let NetworkConfig::EncoderDecoder(EncoderDecoderConfig { decoder: DecoderConfig::Unet(config), .. }) = network
    else {
        return None;
    };
    let mode = Some(config.interpolation).filter(|mode| *mode != Interpolation::Nearest)?;
    Some(format!("the decoder does not enlarge in the default way: give smp.Unet decoder_interpolation='{mode}'"))
}

/// How CSAIL names an encoder of this dilation, if it has it.
fn csail_encoder(network: &NetworkConfig) -> Option<&'static str> {
    match network.clone().encoder_mut()?.0.dilation {
        Dilation::None => Some("the one without 'dilated' in its name"),
        Dilation::Stage4 => Some("ResnetDilated(..., dilate_scale=16)"),
        Dilation::AfterStride => Some("the one with 'dilated' in its name"),
        Dilation::AfterStrideConv1 | Dilation::Throughout => None,
    }
}

/// How the other project has to be told of dilation.
fn dilation_note(names: Names, network: &NetworkConfig) -> Option<String> {
    if names == Names::Csail {
        return csail_encoder(network).map(|encoder| format!("as encoder choose {encoder}"));
    }
    let stages = match network.clone().encoder_mut()?.0.dilation {
        Dilation::AfterStride => "[False, True, True]",
        Dilation::Stage4 => "[False, False, True]",
        Dilation::None | Dilation::AfterStrideConv1 | Dilation::Throughout => return None,
    };
    Some(format!("the encoder is dilated: give torchvision's ResNet replace_stride_with_dilation={stages}"))
}

/// Adds what the project's own files have beside the weights: counters of batch norms, and ResNetUNet's second names. Says
/// what cannot be added.
fn complete(names: Names, tensors: &mut BTreeMap<String, Stored>) -> Option<String> {
    if names == Names::SeepsResnet {
        let more: Vec<_> = tensors.iter().filter_map(|(name, t)| Some((second_name(name)?, t.clone()))).collect();
        tensors.extend(more);
    }
    let counters: Vec<String> = tensors
        .keys()
        .filter_map(|name| name.strip_suffix("running_mean"))
        .map(|layer| format!("{layer}num_batches_tracked"))
        .collect();
    tensors.extend(counters.into_iter().map(|name| (name, Stored::zero_counter())));
    let absent = match names {
        Names::Torchvision => "fc",
        Names::SeepsResnet => "base_model.fc",
        _ if names.is_smp() => ["encoder.layer2", "encoder.layer3", "encoder.layer4"]
            .into_iter()
            .find(|stage| !tensors.contains_key(&format!("{stage}.0.conv1.weight")))?,
        _ => return None,
    };
    Some(format!("{absent} is missing, which the original has but does not use: load with strict=False"))
}

/// CSAIL's are two files in a folder, the others' one.
fn write_files(
    names: Names,
    tensors: BTreeMap<String, Stored>,
    around: &Around,
    entries: &[(&str, &str)],
    output: &Path,
) -> Result<Vec<PathBuf>> {
    if names != Names::Csail {
        write_one(output, tensors, around, entries)?;
        return Ok(vec![output.into()]);
    }
    if output.extension().is_some_and(|ending| ["pth", "pt", "safetensors"].iter().any(|file| ending == *file)) {
        return Err(Error::invalid("output", output.display(), "a folder: CSAIL's weights are two files"));
    }
    let decoders = |name: &str| names.ours(name).is_some_and(|ours| ours.starts_with("decoder."));
    let (decoder, encoder): (BTreeMap<_, _>, BTreeMap<_, _>) =
        tensors.into_iter().partition(|(name, _)| decoders(name));
    create_folder(output)?;
    let mut written = Vec::new();
    for (file, part) in [("encoder.pth", encoder), ("decoder.pth", decoder)] {
        if !part.is_empty() {
            write_one(&output.join(file), part, around, entries)?;
            written.push(output.join(file));
        }
    }
    Ok(written)
}

/// Writes a file; a safetensors file also has text entries.
fn write_one(path: &Path, tensors: BTreeMap<String, Stored>, around: &Around, entries: &[(&str, &str)]) -> Result<()> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("pth" | "pt") => {
            // hszhao/semseg loads into a DataParallel.
            let prefix = if *around == Around::Epoch { "module." } else { "" };
            let tensors = tensors.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect();
            torch_file::write(path, &tensors, around)
        }
        Some("safetensors") => write_safetensors(path, &tensors, entries),
        _ => Err(Error::invalid("output", path.display(), "a name that ends in .pth (for torch.load) or .safetensors")),
    }
}

fn write_safetensors(path: &Path, tensors: &BTreeMap<String, Stored>, entries: &[(&str, &str)]) -> Result<()> {
    // So that a damaged tensor is an error, and no hole in the new file.
    for tensor in tensors.values() {
        tensor.bytes()?;
    }
    write_bytes(path, &encode(tensors, entries)?)
}
