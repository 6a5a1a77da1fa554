//! Weights of other projects: recognised, equal in effect to what they were there, written back, or refused in words.

mod projects;
mod refusals;
mod training;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, View};
use segtool::weights::Checkpoint;

use crate::common::references::{Case, weight};
use crate::common::tensors::{Raw, raw, write};

/// Files as a case's project writes them: weights and counters under its names, `state_dict.module.` before them.
fn foreign(case: &Case, name: &str, folder: &Path) -> Vec<PathBuf> {
    let csail = name.starts_with("csail");
    let mut parts: BTreeMap<&str, Vec<(String, Raw)>> = BTreeMap::new();
    for (theirs, shape) in &case.shapes {
        let (file, inside) = match theirs.split_once('.') {
            Some((part, rest)) if csail => (part, rest),
            _ => ("weights", theirs.as_str()),
        };
        let tensors = parts.entry(file).or_default();
        tensors.push((format!("state_dict.module.{inside}"), raw(&weight(theirs, shape.clone()))));
        if let Some(layer) = inside.strip_suffix("running_mean") {
            let counter = Raw(Vec::new(), Dtype::I64, 5i64.to_le_bytes().to_vec());
            tensors.push((format!("state_dict.module.{layer}num_batches_tracked"), counter));
        }
    }
    let momentum = Raw(vec![2], Dtype::F32, vec![0; 8]);
    parts.values_mut().next().unwrap().push(("optimizer.state.0.momentum_buffer".into(), momentum));
    parts.into_iter().map(|(file, tensors)| write(&folder.join(format!("{file}.safetensors")), tensors)).collect()
}

fn tensors_of(paths: &[PathBuf]) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let checkpoint = Checkpoint::open(paths).unwrap();
    let content = |name: &str| {
        let tensor = &checkpoint.tensors[name];
        (tensor.shape().to_vec(), tensor.data().to_vec())
    };
    checkpoint.tensors.keys().map(|name| (name.clone(), content(name))).collect()
}
