//! Reading and writing `.safetensors`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::TensorData;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};

use crate::error::{Error, Result};
use crate::files::{read_bytes, write_bytes};
use crate::model::{Network, collect, replace};

/// Most lines of a report on weights that do not fit.
const MAX_LINES: usize = 20;

/// Writes all parameters as float32.
pub fn save(network: &Network, path: &Path) -> Result<()> {
    write_bytes(path, &to_bytes(network)?)
}

/// The content of a safetensors file with all parameters as float32. Equal weights give equal bytes.
pub fn to_bytes(network: &Network) -> Result<Vec<u8>> {
    let tensors: Vec<(String, Float32)> = collect(network)
        .into_iter()
        .map(|p| (p.name, Float32 { shape: p.data.shape().to_vec(), bytes: p.data.as_bytes().to_vec() }))
        .collect();
    // Python loaders look for this entry.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(tensors, Some(metadata))
        .map_err(|e| Error::Config(format!("cannot encode the weights: {e}")))
}

struct Float32 {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Float32 {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Gives `network` the weights of a file. Every parameter must be there in its shape, and nothing else; otherwise the
/// error lists what misses, is left over or differs.
pub fn load(network: Network, path: &Path) -> Result<Network> {
    let bytes = read_bytes(path)?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|e| Error::content(path, format!("not a readable safetensors file ({e}); it may be cut short")))?;
    let mut found: BTreeMap<&str, TensorView<'_>> = file.iter().collect();
    let mut faults = Vec::new();
    let mut values = HashMap::new();
    for parameter in collect(&network) {
        let wanted = parameter.data.shape().to_vec();
        match found.remove(parameter.name.as_str()) {
            None => faults.push(format!("missing: {} {wanted:?}", parameter.name)),
            Some(view) if view.shape() != wanted => {
                faults.push(format!("{}: the file has {:?}, the network {wanted:?}", parameter.name, view.shape()));
            }
            Some(view) => {
                let floats = floats(path, &parameter.name, &view)?;
                values.insert(parameter.name, TensorData::new(floats, wanted));
            }
        }
    }
    faults.extend(found.iter().map(|(name, view)| format!("left over: {name} {:?}", view.shape())));
    if faults.is_empty() {
        return Ok(replace(network, |name| values.remove(name)));
    }
    Err(Error::Weights { path: path.into(), details: report(&faults) })
}

fn report(faults: &[String]) -> String {
    let mut lines: Vec<String> = faults.iter().take(MAX_LINES).map(|fault| format!("  {fault}")).collect();
    if faults.len() > MAX_LINES {
        lines.push(format!("  ... and {} more", faults.len() - MAX_LINES));
    }
    lines.push("is it of another architecture, width, number of bands or number of classes?".into());
    lines.join("\n")
}

fn floats(path: &Path, name: &str, view: &TensorView<'_>) -> Result<Vec<f32>> {
    let bytes = view.data();
    Ok(match view.dtype() {
        Dtype::F32 => values::<4>(bytes, f32::from_le_bytes),
        Dtype::F64 => values::<8>(bytes, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => values::<2>(bytes, |b| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => values::<2>(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        other => {
            return Err(Error::content(path, format!("tensor {name} has type {other:?}; weights are floating point")));
        }
    })
}

fn values<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
}
