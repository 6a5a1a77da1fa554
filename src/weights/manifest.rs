//! Weights that can be asked for by name, and where what the user gives for weights lies.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::download::{self, Remote};
use super::foreign_files;
use crate::base::event::Sink;
use crate::base::{Error, Result};

/// The compiled-in list.
const MANIFEST: &str = include_str!("../../models/weights.toml");

/// Public weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What `--weights` takes.
    pub name: String,
    /// Whose names its tensors have.
    pub format: String,
    /// What it is.
    pub summary: String,
    /// Where it lies.
    pub url: String,
    /// Its SHA-256, or the beginning of it that is published.
    pub sha256: String,
    /// MiB.
    pub size: usize,
    /// Its licence, an SPDX identifier.
    pub license: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    weights: Vec<Entry>,
}

/// All weights that are known by name.
pub fn entries() -> Vec<Entry> {
    // It is compiled in, and a test reads it: it cannot fail here.
    toml::from_str::<Manifest>(MANIFEST).map(|manifest| manifest.weights).unwrap_or_default()
}

impl Entry {
    fn remote(&self) -> Result<Remote> {
        Remote::new(&self.url, &self.sha256)
    }

    /// Whether it lies in the cache.
    pub fn is_cached(&self) -> bool {
        self.remote().and_then(|remote| remote.path()).is_ok_and(|path| path.exists())
    }
}

/// The files that users mean by `sources`: paths, run folders (their best weights), names of the list, or URLs with their
/// SHA-256. What is not here is downloaded into the cache.
pub fn locate(sources: &[String], sink: &dyn Sink) -> Result<Vec<PathBuf>> {
    sources.iter().map(|source| locate_one(source, sink)).collect()
}

fn locate_one(source: &str, sink: &dyn Sink) -> Result<PathBuf> {
    let path = Path::new(source);
    let entries = entries();
    let entry = entries.iter().find(|entry| entry.name == source);
    // A folder that holds no weights does not stand in the way of those of its name.
    if path.is_dir() && (entry.is_none() || path.join("model.safetensors").exists()) {
        return in_folder(path);
    }
    if path.is_file() {
        return Ok(path.into());
    }
    if source.starts_with("https://") || source.starts_with("http://") {
        return download::fetch(&Remote::parse(source)?, sink);
    }
    if let Some(entry) = entry {
        return download::fetch(&entry.remote()?, sink);
    }
    if path.extension().is_some() || path.components().count() > 1 {
        return Err(Error::read(path, std::io::ErrorKind::NotFound.into()));
    }
    let known = entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    Err(Error::Unknown { kind: "weights", name: source.into(), known, or_file: true })
}

/// The weights in the folder of a run, or in one as Hugging Face's hub has them.
fn in_folder(folder: &Path) -> Result<PathBuf> {
    let files = ["model.safetensors", "pytorch_model.bin"].map(|name| folder.join(name));
    if let Some(found) = files.into_iter().find(|file| file.exists()) {
        return Ok(found);
    }
    let forest = folder.join("forest.bin").exists().then(|| {
        "is a run of a random forest, whose encoder is kept only as far as its taps; give the weights that it was trained with"
            .to_owned()
    });
    let what = forest.or_else(|| foreign_files::folder(folder)).unwrap_or_else(|| {
        "is a folder without model.safetensors; give a run folder that has finished an epoch, or a file of weights"
            .into()
    });
    Err(Error::content(folder, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sound() {
        let manifest: Manifest = toml::from_str(MANIFEST).unwrap();
        let mut names: Vec<_> = manifest.weights.iter().map(|entry| &entry.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), manifest.weights.len());
        for entry in &manifest.weights {
            entry.remote().unwrap();
            // Published checksums are in the names of these files.
            assert!(entry.url.ends_with(&format!("-{}.pth", entry.sha256)), "{}", entry.url);
            assert!(["torchvision", "mmseg"].contains(&entry.format.as_str()));
        }
    }
}
