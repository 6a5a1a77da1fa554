//! Who made the predictions in a folder: one small file beside them, so that those of two networks are never taken for one
//! network's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::files::{folder_of, read_text, write_bytes};
use crate::base::{Error, Result};
use crate::data::Dataset;
use crate::nn::model::checksum_of_text;

/// The file's name.
pub const RECORD: &str = "predictions.json";
const FORMAT: &str = "segtool-predictions-1";
/// Digits of a checksum that people are shown, and that tell data sets apart.
const SHORT: usize = 8;
/// Most makers that a note names.
const MAX_NAMED: usize = 4;

/// What made predictions: a network or a forest, and how it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maker {
    /// Where its weights were, as they were named.
    pub source: String,
    /// SHA-256 of its weights.
    pub weights: String,
    /// Name of the data set whose label values the predictions have, and the beginning of a checksum of all it says.
    pub dataset: String,
    /// What else decides, in words.
    pub options: String,
    /// Version of segtool.
    pub version: String,
}

impl Maker {
    /// A maker with this version of segtool; `weights` is the SHA-256 of the weights, `source` their path or name.
    pub fn new(source: String, weights: String, dataset: &Dataset, options: String) -> Self {
        let text = serde_json::to_string(dataset).unwrap_or_default();
        let dataset = format!("{} ({})", dataset.name, short(&checksum_of_text(&text)));
        Self { source, weights, dataset, options, version: env!("CARGO_PKG_VERSION").into() }
    }

    /// Whether both give the same predictions, wherever the weights lie.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.weights, &self.dataset, &self.options) == (&other.weights, &other.dataset, &other.options)
    }
}

/// `run A (weights 01234567, data set demo (89abcdef); own size)`.
impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, weights, dataset, options, .. } = self;
        write!(f, "{source} (weights {}, data set {dataset}; {options})", short(weights))
    }
}

fn short(checksum: &str) -> &str {
    checksum.get(..SHORT).unwrap_or(checksum)
}

/// The results of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Index of the maker.
    pub maker: usize,
    /// The image.
    pub input: String,
    /// Names of its files in the folder, the label map first.
    pub files: Vec<String>,
}

/// What a folder's record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format: String,
    /// Who made the results.
    pub makers: Vec<Maker>,
    /// By the images' file stems, behind the folders below this one that their results are in.
    pub results: BTreeMap<String, Entry>,
}

impl Default for Record {
    fn default() -> Self {
        Self { format: FORMAT.into(), makers: Vec::new(), results: BTreeMap::new() }
    }
}

impl Record {
    /// The record of a folder, if it has one.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(RECORD);
        let text = match read_text(&path) {
            Err(Error::Read { cause, .. }) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let fault = |reason: &dyn fmt::Display| {
            Error::content(&path, format!("not a file that `segtool predict` wrote: {reason}"))
        };
        let record: Self = serde_json::from_str(&text).map_err(|e| fault(&e))?;
        if record.format != FORMAT {
            return Err(fault(&format!("its format is {}, not {FORMAT}", record.format)));
        }
        match record.results.values().find(|entry| entry.maker >= record.makers.len()) {
            Some(entry) => {
                Err(fault(&format!("it refers to maker {}, but lists only {}", entry.maker, record.makers.len())))
            }
            None => Ok(Some(record)),
        }
    }

    /// Writes it into the folder, atomically.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(RECORD);
        // Without makers of whom nothing is left.
        let mut used = Self::default();
        used.add(self);
        write_bytes(&path, &serde_json::to_vec_pretty(&used).map_err(|e| Error::content(&path, e))?)
    }

    /// Adds the results of another record, with who made them.
    pub(super) fn add(&mut self, other: &Self) {
        for (key, entry) in &other.results {
            let maker = self.index_of(&other.makers[entry.maker]);
            self.results.insert(key.clone(), Entry { maker, ..entry.clone() });
        }
    }

    /// The place of a maker, which is added if it is not there.
    pub fn index_of(&mut self, maker: &Maker) -> usize {
        self.makers.iter().position(|known| known == maker).unwrap_or_else(|| {
            self.makers.push(maker.clone());
            self.makers.len() - 1
        })
    }

    /// Who made a file of the folder.
    pub fn maker_of(&self, file: &str) -> Option<&Maker> {
        // The stem of the image is that of the file, or the beginning of it: x_prob.npy is of x.
        let stems = file.match_indices(['.', '_']).map(|(end, _)| &file[..end]);
        let mut entries = stems.filter_map(|stem| self.results.get(stem));
        entries.find(|entry| entry.files.iter().any(|name| name == file)).map(|entry| &self.makers[entry.maker])
    }

    /// Images that were to be predicted and have no label values.
    fn missing(&self, folder: &Path) -> usize {
        let is_there = |entry: &&Entry| entry.files.first().is_some_and(|name| folder.join(name).exists());
        self.results.values().filter(|entry| !is_there(entry)).count()
    }
}

/// What a reader of scores of these predictions should know: whether they are of several networks, or were predicted with
/// several options, or by something that was ended before it was done. Nothing is said of folders without a record.
pub fn origins<'a>(predictions: impl IntoIterator<Item = &'a Path>) -> Vec<String> {
    let mut records = Records::default();
    let (mut makers, mut unknown): (Vec<(Maker, usize)>, Vec<&Path>) = (Vec::new(), Vec::new());
    for path in predictions {
        match records.maker_of(path) {
            None => {}
            Some(None) => unknown.push(path),
            Some(Some(maker)) => match makers.iter_mut().find(|(known, _)| known.is_same(&maker)) {
                Some((_, count)) => *count += 1,
                None => makers.push((maker, 1)),
            },
        }
    }
    let Records { read, used, mut notes } = records;
    notes.extend(several(&makers));
    if let (Some(first), [(maker, _), ..]) = (unknown.first(), &makers[..]) {
        notes.push(format!(
            "{} of the predictions (for example {}) are not recorded in their folder's {RECORD}, and may not be by {maker}",
            unknown.len(),
            first.display()
        ));
    }
    for (folder, record) in used.iter().filter_map(|folder| Some((folder, read.get(folder)?.as_ref()?))) {
        if let missing @ 1.. = record.missing(folder) {
            notes.push(format!(
                "{missing} of the {} images planned for {} have no prediction there: `segtool predict` was stopped, or results \
                 were removed; predict them again",
                record.results.len(),
                folder.display()
            ));
        }
    }
    notes
}

/// Records of folders, each read once.
#[derive(Default)]
struct Records {
    read: BTreeMap<PathBuf, Option<Record>>,
    /// Folders whose records are about the predictions.
    used: BTreeSet<PathBuf>,
    notes: Vec<String>,
}

impl Records {
    /// Who made a prediction, by the record beside it or by one further up that knows it; `None` where there is no record,
    /// and no maker where the one beside it does not know.
    fn maker_of(&mut self, path: &Path) -> Option<Option<Maker>> {
        let beside = folder_of(path);
        for folder in beside.ancestors() {
            let name = path.strip_prefix(folder).unwrap_or(path);
            let name: Vec<_> = name.components().map(|part| part.as_os_str().to_string_lossy()).collect();
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let Some(record) = self.of(folder) else { continue };
            let maker = record.maker_of(&name.join("/")).cloned();
            if maker.is_some() || folder == beside {
                self.used.insert(folder.into());
                return Some(maker);
            }
        }
        None
    }

    fn of(&mut self, folder: &Path) -> Option<&Record> {
        if !self.read.contains_key(folder) {
            let record = Record::read(folder).unwrap_or_else(|fault| {
                let folder = folder.display();
                self.notes.push(format!("cannot tell which network made the predictions in {folder}: {fault}"));
                None
            });
            self.read.insert(folder.into(), record);
        }
        self.read[folder].as_ref()
    }
}

/// A note on predictions by more than one maker.
fn several(makers: &[(Maker, usize)]) -> Option<String> {
    let (first, _) = makers.first().filter(|_| makers.len() > 1)?;
    let same_weights = makers.iter().all(|(maker, _)| maker.weights == first.weights);
    let what = if same_weights { "predictions with different options" } else { "predictions of different networks" };
    let named: Vec<String> =
        makers.iter().take(MAX_NAMED).map(|(maker, count)| format!("{count} by {maker}")).collect();
    let more = if makers.len() > MAX_NAMED { ", ..." } else { "" };
    Some(format!(
        "these are {what}: {}{more}; predict all images again with one network before comparing scores",
        named.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn maker(source: &str, weights: &str, options: &str) -> Maker {
        Maker::new(source.into(), checksum_of_text(weights), &Dataset::find("demo").unwrap(), options.into())
    }

    fn record(folder: &Path, entries: &[(&str, &Maker)]) {
        let mut record = Record::default();
        for (stem, maker) in entries {
            let (maker, files) = (record.index_of(maker), vec![format!("{stem}.npy"), format!("{stem}_prob.npy")]);
            record.results.insert((*stem).into(), Entry { maker, input: format!("{stem}.png"), files });
            fs::write(folder.join(format!("{stem}.npy")), "").unwrap();
        }
        record.write(folder).unwrap();
    }

    #[test]
    fn predictions_of_two_networks_or_options_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (a, b, c) =
            (maker("run A", "a", "own size"), maker("run B", "b", "own size"), maker("run A", "a", "mirrored"));
        let notes = |names: &[&str]| {
            let paths: Vec<PathBuf> = names.iter().map(|name| path(name)).collect();
            origins(paths.iter().map(PathBuf::as_path))
        };
        assert!(notes(&["1.npy"]).is_empty());
        record(folder.path(), &[("1", &a), ("2", &a), ("3", &b), ("4.x", &c)]);
        assert!(notes(&["1.npy", "2.npy"]).is_empty());
        for (names, words) in [
            (&["1.npy", "2.npy", "3.npy"][..], ["different networks: 2 by run A", "1 by run B (weights"]),
            (&["1.npy", "4.x.npy"], ["different options", "; mirrored)"]),
            (&["1.npy", "5.npy"], ["1 of the predictions (for example ", "5.npy) are not recorded in"]),
        ] {
            let said = notes(names).join("\n");
            assert!(words.iter().all(|words| said.contains(words)), "{said}");
        }
        // Weights that lie elsewhere are the same weights.
        record(folder.path(), &[("1", &a), ("2", &maker("copy", "a", "own size"))]);
        assert!(notes(&["1.npy", "2.npy"]).is_empty());
        fs::remove_file(path("2.npy")).unwrap();
        assert!(notes(&["1.npy"])[0].contains("1 of the 2 images planned for"));
        fs::write(path(RECORD), "{}").unwrap();
        assert!(notes(&["1.npy"])[0].contains("not a file that `segtool predict` wrote"));
    }

    #[test]
    fn files_are_found_by_their_image() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (maker("A", "a", ""), maker("B", "b", ""));
        record(folder.path(), &[("x", &a), ("x_y", &b)]);
        let record = Record::read(folder.path()).unwrap().unwrap();
        for (file, wanted) in
            [("x.npy", Some(&a)), ("x_prob.npy", Some(&a)), ("x_y.npy", Some(&b)), ("x_y_prob.npy", Some(&b))]
        {
            assert_eq!(record.maker_of(file), wanted, "{file}");
        }
        assert_eq!(record.maker_of("x_color.png"), None);
        assert_eq!(record.maker_of("z.npy"), None);
    }
}
