//! The folder that predictions go to: what is there already, whose it is, and what may take its place.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::formats::{Formats, GEOJSON};
use super::output::Outputs;
use super::record::{Entry, Maker, RECORD, Record};
use crate::base::event::{Event, Sink};
use crate::base::files::{create_folder, entries, folder_of, refuse_equal_outputs, remove_file, write_bytes};
use crate::base::inputs::ReadFiles;
use crate::base::{Error, Remedy, Result};

/// The list of the results.
const LIST: &str = "predictions.txt";
/// Longest name of a file on usual file systems, in bytes.
const LONGEST_NAME: usize = 255;

/// Where predictions go, and what may be replaced there.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// Whether results of another network, with other options or of other images, and files of unknown origin may be
    /// replaced. Results of the same images by the same network with the same options always may, inputs never.
    pub overwrite: bool,
    /// Files that are read besides the images, such as a list of them.
    pub read: &'a [PathBuf],
    /// Once it is set, no further image is predicted.
    pub stop: Option<&'a AtomicBool>,
}

impl<'a> Target<'a> {
    /// A folder where nothing foreign is replaced.
    pub fn new(folder: &'a Path) -> Self {
        Self { folder, overwrite: false, read: &[], stop: None }
    }

    /// What the folder's record says. One that is damaged is replaced with the results that it is of.
    fn record(&self) -> Result<Option<Record>> {
        match Record::read(self.folder) {
            Err(Error::Content { .. }) if self.overwrite => Ok(None),
            Err(Error::Content { path, reason }) => {
                let reason = format!("does not say what made the results beside it: {reason}");
                Err(Error::occupied(&path, reason, [Remedy::Overwrite]))
            }
            record => record,
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }
}

/// The first of `base`, `base-2`, `base-3`, ... that may take these results: it holds none of other makers or images.
pub(crate) fn free_folder(base: &Path, inputs: &[PathBuf], outputs: &Outputs, maker: &Maker) -> Result<PathBuf> {
    let numbered = (2..).map(|number| {
        let mut name = base.as_os_str().to_owned();
        name.push(format!("-{number}"));
        PathBuf::from(name)
    });
    for folder in std::iter::once(base.to_path_buf()).chain(numbered) {
        match Claim::new(&Target::new(&folder), inputs, outputs, maker) {
            Ok(claim) if claim.takes_all_of(Record::read(&folder).ok().flatten().as_ref()) => return Ok(folder),
            Ok(_) | Err(Error::Occupied { .. }) => {}
            Err(fault) => return Err(fault),
        }
    }
    unreachable!("there are more numbers than folders")
}

/// What is to be written into a folder: checked, but not begun.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    target: &'a Target<'a>,
    maker: &'a Maker,
    /// File stem, image and names of the files of each result.
    results: Vec<(String, String, Vec<String>)>,
    /// Formats of the label map of each, decided here, once.
    formats: Vec<Formats>,
    /// Whether they were chosen.
    is_chosen: bool,
    /// What is there and would be replaced.
    found: Found,
}

/// Files in the way, by whose they are.
#[derive(Debug, Default)]
struct Found {
    /// Results of the same images, network and options.
    own: usize,
    /// Other results that are in the record, by what tells them apart.
    others: Vec<(String, String)>,
    /// The rest.
    unknown: Vec<String>,
}

impl<'a> Claim<'a> {
    /// Says what stands against writing these results. Touches nothing.
    pub(crate) fn new(target: &'a Target<'a>, inputs: &[PathBuf], outputs: &Outputs, maker: &'a Maker) -> Result<Self> {
        let formats: Vec<Formats> = inputs.iter().map(|input| outputs.formats_of(input)).collect();
        let result = |(input, &formats): (&PathBuf, &Formats)| {
            let whole =
                fs::canonicalize(input).or_else(|_| std::path::absolute(input)).unwrap_or_else(|_| input.clone());
            (stem_of(input), whole.to_string_lossy().into_owned(), outputs.names(input, formats))
        };
        let results: Vec<_> = inputs.iter().zip(&formats).map(result).collect();
        let named = results.iter().zip(inputs).flat_map(|((_, _, names), input)| {
            names.iter().map(move |name| (target.folder.join(name), input.as_path()))
        });
        refuse_equal_outputs(named)?;
        let is_chosen = outputs.formats.is_some();
        let mut claim = Self { target, maker, results, formats, is_chosen, found: Found::default() };
        claim.refuse_inputs(inputs, &names_in(target.folder)?)?;
        claim.refuse_long_names()?;
        claim.check_folder()?;
        Ok(claim)
    }

    /// Whether everything that is on record was made by this maker, of these images.
    fn takes_all_of(&self, record: Option<&Record>) -> bool {
        let inputs: BTreeSet<&String> = self.results.iter().map(|(_, input, ..)| input).collect();
        record.is_none_or(|record| {
            let by_it = record.makers.iter().all(|maker| maker.is_same(self.maker));
            by_it && record.results.values().all(|entry| inputs.contains(&entry.input))
        })
    }

    /// Finds what is in the folder now, and refuses to replace what may not be.
    fn check_folder(&mut self) -> Result<()> {
        let record = self.target.record()?;
        self.found = self.find(&names_in(self.target.folder)?, record.as_ref());
        self.refuse_foreign()
    }

    /// Formats of the label map of each image.
    pub(crate) fn formats(&self) -> Vec<Formats> {
        self.formats.clone()
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.results.iter().flat_map(|(_, _, names)| names)
    }

    fn refuse_inputs(&self, inputs: &[PathBuf], there: &BTreeSet<String>) -> Result<()> {
        let mut read = ReadFiles::new(inputs);
        read.add(self.target.read);
        let (list, record) = (LIST.to_owned(), RECORD.to_owned());
        let mut written = self.names().chain([&list, &record]).filter(|name| there.contains(*name));
        written.try_for_each(|name| {
            read.refuse(&self.target.folder.join(name), "output").map_err(|refusal| match refusal {
                // A GeoTIFF in its own folder, of which nobody asked for a GeoTIFF.
                Error::Occupied { path, reason, mut remedies } if name.ends_with(".tif") && !self.is_chosen => {
                    remedies.push(Remedy::NoGeotiff);
                    Error::Occupied { path, reason, remedies }
                }
                other => other,
            })
        })
    }

    fn refuse_long_names(&self) -> Result<()> {
        let Some(name) = self.names().find(|name| name.len() > LONGEST_NAME) else { return Ok(()) };
        let reason = format!(
            "would have a name of {} bytes, but at most {LONGEST_NAME} are allowed; rename the image",
            name.len()
        );
        Err(Error::content(self.target.folder.join(name), reason))
    }

    fn find(&self, there: &BTreeSet<String>, record: Option<&Record>) -> Found {
        let mut found = Found::default();
        let mut recorded = BTreeSet::new();
        for (stem, input, names) in &self.results {
            let entry = record.and_then(|record| Some((record, record.results.get(stem)?)));
            if let Some((record, entry)) = entry {
                let left: Vec<&String> = entry.files.iter().filter(|name| there.contains(*name)).collect();
                recorded.extend(left.iter().map(|name| (*name).clone()));
                let maker = &record.makers[entry.maker];
                if maker.is_same(self.maker) && entry.input == *input {
                    found.own += usize::from(!left.is_empty());
                } else {
                    let whose =
                        if maker.is_same(self.maker) { format!("from {}", entry.input) } else { format!("by {maker}") };
                    found.others.extend(left.into_iter().map(|name| (name.clone(), whose.clone())));
                }
            }
            let is_unknown = |name: &&String| there.contains(*name) && !recorded.contains(*name);
            let before = found.unknown.len();
            found.unknown.extend(names.iter().filter(is_unknown).cloned());
            if found.unknown.len() > before {
                // What an earlier version wrote beside the label values would be taken for that of the new ones.
                let beside = Outputs::all_beside(stem).filter(|name| !names.contains(name));
                found.unknown.extend(beside.filter(|name| is_unknown(&name)));
            }
        }
        if record.is_none() && there.contains(LIST) {
            found.unknown.push(LIST.into());
        }
        found
    }

    /// Refuses to replace what this network did not write, unless it may. Label images beside images never go.
    fn refuse_foreign(&self) -> Result<()> {
        let Found { others, unknown, .. } = &self.found;
        let folder = self.target.folder;
        if let Some(name) = unknown.iter().find(|name| *name != LIST) {
            let folders: BTreeSet<&Path> =
                self.results.iter().map(|(_, input, _)| folder_of(Path::new(input))).collect();
            if ReadFiles::new(folders).replaced_by(folder).is_some() {
                let reason = format!(
                    "is in the folder of the images and is not recorded in {RECORD}: the result would overwrite what may be a \
                     label image"
                );
                return Err(Error::occupied(&folder.join(name), reason, [Remedy::Another("output")]));
            }
        }
        let Some((name, whose)) =
            others.first().map(|(name, whose)| (name, format!("was made {whose}"))).or_else(|| {
                unknown.first().map(|name| (name, format!("already exists, and {RECORD} does not record what made it")))
            })
        else {
            return Ok(());
        };
        if self.target.overwrite {
            return Ok(());
        }
        let more = match others.len() + unknown.len() - 1 {
            0 => String::new(),
            1 => " (and one other)".to_owned(),
            more => format!(" (and {more} others)"),
        };
        let remedies = [Remedy::Overwrite, Remedy::Another("output")];
        Err(Error::occupied(&folder.join(name), format!("{whose}{more}"), remedies))
    }

    /// Makes the folder ready. The old list goes first, then the results that are not of this network, and only then does
    /// the record say that what comes is: killed in between, it still names the network of every file that is left.
    pub(crate) fn begin(&mut self, sink: &dyn Sink) -> Result<()> {
        let folder = self.target.folder;
        create_folder(folder)?;
        let lock = Lock::hold(folder);
        // Another prediction may have begun meanwhile.
        self.check_folder()?;
        let Found { own, others, unknown } = &self.found;
        if others.len() + unknown.len() > 0 {
            let (name, whose) =
                others.first().cloned().unwrap_or_else(|| (unknown[0].clone(), "by something unknown".into()));
            sink.event(Event::Note(format!(
                "replacing {} in {}: {name} was made {whose}",
                results(others.len() + unknown.len()),
                folder.display()
            )));
        }
        if *own > 0 {
            sink.event(Event::Note(format!(
                "replacing {} of the same network and options in {}",
                results(*own),
                folder.display()
            )));
        }
        remove_file(&folder.join(LIST))?;
        others.iter().map(|(name, _)| name).chain(unknown).try_for_each(|name| remove_file(&folder.join(name)))?;
        lock.sync();
        let mut record = self.target.record()?.unwrap_or_default();
        let maker = record.index_of(self.maker);
        for (stem, input, names) in &self.results {
            let mut files = names.clone();
            if let Some(old) = record.results.remove(stem).filter(|old| record.makers[old.maker].is_same(self.maker)) {
                files.extend(old.files.into_iter().filter(|name| !names.contains(name) && folder.join(name).exists()));
            }
            record.results.insert(stem.clone(), Entry { maker, input: input.clone(), files });
        }
        record.write(folder)
    }

    /// Says in the record what was written, and writes the list of it. Of an image that was skipped, an earlier result by the
    /// same network stays recorded.
    pub(crate) fn finish(&self, written: &[PathBuf], is_whole: bool, sink: &dyn Sink) -> Result<()> {
        let folder = self.target.folder;
        if is_whole {
            let _lock = Lock::hold(folder);
            let mut record = Record::read(folder)?.unwrap_or_default();
            for (stem, ..) in &self.results {
                let is_gone = |name: &String| matches!(folder.join(name).try_exists(), Ok(false));
                if record.results.get(stem).is_some_and(|entry: &Entry| entry.files.iter().all(is_gone)) {
                    record.results.remove(stem);
                }
            }
            record.write(folder)?;
        }
        write_list(folder, written, sink)
    }
}

/// Holds other predictions into the same folder back while its record changes; nothing where the system cannot.
struct Lock(Option<File>);

impl Lock {
    fn hold(folder: &Path) -> Self {
        Self(File::open(folder).ok().filter(|folder| folder.lock().is_ok()))
    }

    /// Waits until what was removed is gone from the disk, too.
    fn sync(&self) {
        let _ = self.0.as_ref().map(File::sync_all);
    }
}

pub(super) fn stem_of(input: &Path) -> String {
    input.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Names in a folder; none if it is not there.
fn names_in(folder: &Path) -> Result<BTreeSet<String>> {
    let found = match entries(folder) {
        Err(Error::Read { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        found => found?,
    };
    Ok(found.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// Writes the list of the label maps that were written, if any were. Names that a list would take for something else are written as
/// paths from the folder.
fn write_list(folder: &Path, written: &[PathBuf], sink: &dyn Sink) -> Result<()> {
    let mut list = String::new();
    // Polygons cannot be scored.
    let maps = written.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy());
    for name in maps.filter(|name| !name.ends_with(GEOJSON)) {
        if name.contains(['\n', '\r']) {
            sink.event(Event::Note(format!(
                "{name:?} contains a line break, so it is left out of {LIST}; rename the image"
            )));
            continue;
        }
        let plain = !name.starts_with(['#', '"', '\'']) && name.trim() == name;
        list.extend([if plain { "" } else { "./" }, &name, "\n"]);
    }
    if list.is_empty() { Ok(()) } else { write_bytes(&folder.join(LIST), list.as_bytes()) }
}
/// `one result`, `2 results`.
fn results(count: usize) -> String {
    if count == 1 { "one result".into() } else { format!("{count} results") }
}
