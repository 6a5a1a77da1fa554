//! Reading and writing segtool's own `.safetensors`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::TensorData;
use safetensors::tensor::Dtype;

use super::checkpoint::{Checkpoint, ENTRY, Stored};
use super::content::Description;
use crate::base::files::write_bytes;
use crate::base::{Error, Result};
use crate::nn::model::{FeatureEncoder, Named, Network, Parameter, collect, replace, shapes};

/// Most lines of a report on weights that do not fit.
const MAX_LINES: usize = 20;

/// Writes all parameters as float32, and what they are of. Equal weights give equal bytes.
pub fn save(network: &Network, description: &Description, path: &Path) -> Result<()> {
    let text = serde_json::to_string(description).map_err(encoding)?;
    write_bytes(path, &encode(&tensors(network), &[(ENTRY, &text)])?)
}

/// Writes the parameters of an encoder that gives features, under torchvision's names.
pub fn save_encoder(encoder: &FeatureEncoder, path: &Path) -> Result<()> {
    write_bytes(path, &encode(&tensors(encoder), &[])?)
}

fn tensors(network: &impl Named) -> BTreeMap<String, Stored> {
    let stored = |Parameter { name, data }: Parameter| {
        (name, Stored::of_bytes(data.shape().to_vec(), Dtype::F32, data.as_bytes().to_vec()))
    };
    collect(network).into_iter().map(stored).collect()
}

fn encoding(e: impl std::fmt::Display) -> Error {
    Error::failed("encode the weights", e)
}

/// The content of a file with these tensors and text entries. Equal ones give equal bytes.
pub(super) fn encode(tensors: &BTreeMap<String, Stored>, entries: &[(&str, &str)]) -> Result<Vec<u8>> {
    // Python loaders look for `format`.
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let metadata: BTreeMap<String, String> = [("format", "pt")].iter().chain(entries).map(own).collect();
    let tensors = tensors.iter().map(|(name, tensor)| (name, tensor.clone()));
    let mut bytes = safetensors::serialize(tensors, Some(metadata.clone().into_iter().collect())).map_err(encoding)?;
    // The entries come first in the header, in an order that changes from call to call: put them in that of their names.
    let sorted = serde_json::to_string(&metadata).map_err(encoding)?;
    let start = size_of::<u64>() + br#"{"__metadata__":"#.len();
    let place = &mut bytes[start..start + sorted.len()];
    if place.first() != Some(&b'{') || place.last() != Some(&b'}') {
        return Err(encoding("its header is not as expected"));
    }
    place.copy_from_slice(sorted.as_bytes());
    Ok(bytes)
}

/// Gives `network` the weights of a file. Every parameter must be there in its shape, and nothing else; otherwise the
/// error lists what misses, is left over or differs.
pub fn load<M: Named>(network: M, path: &Path) -> Result<M> {
    if shapes(&network).is_empty() {
        // As an encoder of which only the colours are taken: its file holds nothing.
        return Ok(network);
    }
    let mut found = Checkpoint::open(&[path.into()])?.tensors;
    let mut faults = Vec::new();
    let mut values = HashMap::<String, TensorData>::new();
    for parameter in shapes(&network) {
        let wanted = parameter.shape;
        match found.remove(parameter.name.as_str()) {
            None => faults.push(format!("missing: {} {wanted:?}", parameter.name)),
            Some(tensor) if tensor.shape() != wanted => {
                faults.push(format!("{}: the file has {:?}, the network {wanted:?}", parameter.name, tensor.shape()));
            }
            Some(tensor) => {
                let floats = tensor.floats(&parameter.name)?;
                values.insert(parameter.name, floats);
            }
        }
    }
    faults.extend(found.iter().map(|(name, tensor)| format!("left over: {name} {:?}", tensor.shape())));
    if faults.is_empty() {
        return Ok(replace(network, |name| values.remove(name)));
    }
    Err(Error::Weights { path: path.into(), details: report(&faults) })
}

pub(super) fn report(faults: &[String]) -> String {
    let mut lines: Vec<String> = faults.iter().take(MAX_LINES).map(|fault| format!("  {fault}")).collect();
    if faults.len() > MAX_LINES {
        lines.push(format!("  ... and {} more", faults.len() - MAX_LINES));
    }
    lines.push("is it of another architecture, width, number of bands or number of classes?".into());
    lines.join("\n")
}
