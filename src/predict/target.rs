//! The folder that predictions go to: what is there already, whose it is, and what may take its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::formats::Formats;
use super::journal::{JOURNAL, Journal, Line, Lock, State, signature};
use super::listing::{LIST, names_in, write_list};
use super::output::Outputs;
use super::planned::{Planned, hanging, plan};
use super::record::{Entry, Maker, RECORD, Record};
use super::remote::Remote;
use super::shard::Shard;
use crate::base::event::Sink;
use crate::base::files::{create_folder, folder_of, refuse_equal_outputs, remove_file, sync_folder};
use crate::base::inputs::ReadFiles;
use crate::base::words::counted;
use crate::base::{Error, Remedy, Result};

/// Longest name of a file on usual file systems, in bytes.
const LONGEST_NAME: usize = 255;

/// Where predictions go, and what may be replaced there.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The folder, or its URL in a store.
    pub folder: &'a Path,
    /// Whether results of another network, with other options or of other images, and files of unknown origin may be
    /// replaced. Results of the same images by the same network with the same options always may, inputs never.
    pub overwrite: bool,
    /// Files that are read besides the images, such as a list of them.
    pub read: &'a [PathBuf],
    /// Once it is set, no further image is predicted.
    pub stop: Option<&'a AtomicBool>,
    /// Whether complete results are kept: those by the same weights with the same options, of images that have not changed
    /// since, all of whose files are there with the sizes that the journal has.
    pub skip_existing: bool,
    /// Which part of the inputs to predict; all if left out. The list of results is of all inputs.
    pub shard: Option<Shard>,
    /// Folders whose structure is kept: an image `<root>/a/b.png` has its results in `a`. Those of other images lie in the
    /// folder itself.
    pub roots: &'a [PathBuf],
    /// An image that cannot be opened within this time, as on a network disk that does not respond, is skipped.
    pub read_timeout: Duration,
}

/// How long opening an image may take.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

impl<'a> Target<'a> {
    /// A folder where nothing foreign is replaced.
    pub fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            overwrite: false,
            read: &[],
            stop: None,
            skip_existing: false,
            shard: None,
            roots: &[],
            read_timeout: READ_TIMEOUT,
        }
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

/// Which complete results the list of results is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    /// Those of the inputs, in their order.
    Inputs,
    /// All by the same weights and options in the folder, in the order of their names.
    Folder,
}

/// What is to be written into a folder: checked, but not begun. Results go by the numbers of their inputs.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    target: &'a Target<'a>,
    /// The folder in a store that the folder stands for.
    remote: Option<&'a Remote>,
    maker: &'a Maker,
    /// What stands for maker and outputs in the journal.
    by: String,
    results: Vec<Planned>,
    /// Whether the formats of the label maps were chosen.
    is_chosen: bool,
    /// What is there and would be replaced.
    found: Found,
    /// Results that are kept as they are.
    kept: BTreeSet<usize>,
}

/// Files in the way, by whose they are.
#[derive(Debug, Default)]
struct Found {
    /// Results of the same images, network and options.
    own: BTreeSet<usize>,
    /// Other results that are in the record, by what tells them apart.
    others: Vec<(String, String)>,
    /// The rest.
    unknown: Vec<String>,
}

impl<'a> Claim<'a> {
    /// Says what stands against writing these results. Touches nothing.
    pub(super) fn new(
        (target, remote): (&'a Target<'a>, Option<&'a Remote>),
        inputs: &[PathBuf],
        outputs: &Outputs,
        maker: &'a Maker,
    ) -> Result<Self> {
        let results = plan(inputs, target.roots, outputs, target.read_timeout);
        let named = results.iter().zip(inputs).flat_map(|(planned, input)| {
            planned.names.iter().map(move |name| (target.folder.join(name), input.as_path()))
        });
        refuse_equal_outputs(named)?;
        let (by, is_chosen) = (signature(maker, outputs), outputs.formats.is_some());
        let (found, kept) = (Found::default(), BTreeSet::new());
        let mut claim = Self { target, remote, maker, by, results, is_chosen, found, kept };
        claim.refuse_inputs(inputs, &claim.names_there()?)?;
        remote.map_or(Ok(()), |remote| remote.refuse_inputs(inputs, claim.names()))?;
        claim.refuse_long_names()?;
        claim.check_folder()?;
        Ok(claim)
    }

    /// The results of the shard, all if there is none.
    fn own(&self) -> impl Iterator<Item = (usize, &Planned)> {
        self.results.iter().enumerate().filter(|(number, _)| self.target.shard.is_none_or(|shard| shard.has(*number)))
    }

    /// How many inputs are to have a result in the end.
    pub(crate) fn count(&self) -> usize {
        self.own().count()
    }

    /// How many results are kept as they are.
    pub(crate) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// The inputs to predict, once it has begun.
    pub(crate) fn to_do(&self) -> Vec<usize> {
        let open = self.own().filter(|(number, planned)| !self.kept.contains(number) && !planned.hangs);
        open.map(|(number, _)| number).collect()
    }

    /// Opens the inputs to predict, and leaves those out that do not open in time.
    pub(crate) fn try_out(&mut self, inputs: &[PathBuf]) {
        let to_do = self.to_do();
        let paths: Vec<PathBuf> = to_do.iter().map(|&number| inputs[number].clone()).collect();
        for (number, hangs) in to_do.into_iter().zip(hanging(&paths, self.target.read_timeout)) {
            self.results[number].hangs = hangs;
        }
    }

    /// The inputs that could not be opened in time, and what that time was, in words.
    pub(crate) fn hanging(&self) -> (Vec<usize>, String) {
        let hanging = self.own().filter(|(number, planned)| !self.kept.contains(number) && planned.hangs);
        (hanging.map(|(number, _)| number).collect(), humantime::format_duration(self.target.read_timeout).to_string())
    }

    /// Format of the label map of an input, and the folder of its files.
    pub(crate) fn place(&self, number: usize) -> (Formats, PathBuf) {
        let Planned { formats, below, .. } = &self.results[number];
        (*formats, self.target.folder.join(below))
    }

    /// The label map of an input.
    pub(crate) fn label_map(&self, number: usize) -> PathBuf {
        let name = &self.results[number].names[0];
        self.remote.map_or_else(|| self.target.folder.join(name), |remote| remote.url(name))
    }

    /// Has the files of an input where they belong, if that is a store.
    pub(super) fn send(&self, number: usize) -> Result<()> {
        self.remote.map_or(Ok(()), |remote| remote.send(&self.results[number].names))
    }

    /// The same for the journal, now and then.
    pub(super) fn send_journal(&self) -> Result<()> {
        self.remote.map_or(Ok(()), |remote| remote.send_journal(false))
    }

    fn own_keys(&self) -> impl Iterator<Item = &String> {
        self.own().map(|(_, planned)| &planned.key)
    }

    /// A journal of what becomes of the inputs.
    pub(super) fn journal(&self) -> Journal {
        Journal::new(self.target.folder)
    }

    /// What the journal is to say of an input.
    pub(super) fn line(&self, number: usize, state: State, reason: Option<String>) -> Result<Line> {
        let planned = &self.results[number];
        let size = |name: &String| {
            let path = self.target.folder.join(name);
            let found = fs::metadata(&path).map_err(|cause| Error::write(&path, cause))?;
            Ok((name.clone(), found.len()))
        };
        let names = if state == State::Done { &planned.names[..] } else { &[] };
        let files = names.iter().map(size).collect::<Result<_>>()?;
        let (input, by, version) = (planned.input.clone(), self.by.clone(), planned.version.clone());
        Ok(Line { input, state, files, seconds: 0.0, reason, by, version })
    }

    /// Whether a result is complete: on record as by this maker and of this image, and in the journal as done with these
    /// outputs, of this version of the image, with files that are there in these sizes.
    fn is_complete(&self, planned: &Planned, record: &Record, journal: &BTreeMap<String, Line>) -> bool {
        let by_it = |entry: &Entry| record.makers[entry.maker].is_same(self.maker) && entry.input == planned.input;
        let is_there = |line: &Line, name: &String| {
            let found = fs::metadata(self.target.folder.join(name));
            found.is_ok_and(|found| found.is_file() && line.files.get(name) == Some(&found.len()))
        };
        let is_done = |line: &Line| {
            let of_it = line.by == self.by && line.version.is_some() && line.version == planned.version;
            line.state == State::Done && of_it && planned.names.iter().all(|name| is_there(line, name))
        };
        record.results.get(&planned.key).is_some_and(by_it) && journal.get(&planned.input).is_some_and(is_done)
    }

    /// Whether everything that is on record was made by this maker, of these images.
    pub(super) fn takes_all_of(&self, record: Option<&Record>) -> bool {
        let inputs: BTreeSet<&String> = self.results.iter().map(|planned| &planned.input).collect();
        record.is_none_or(|record| {
            let by_it = record.makers.iter().all(|maker| maker.is_same(self.maker));
            by_it && record.results.values().all(|entry| inputs.contains(&entry.input))
        })
    }

    /// Finds what is in the folder now, and refuses to replace what may not be.
    fn check_folder(&mut self) -> Result<()> {
        let record = self.target.record()?;
        self.found = self.find(&self.names_there()?, record.as_ref());
        self.refuse_foreign()
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.results.iter().flat_map(|planned| &planned.names)
    }

    /// Names of files in the folder, and in those below it that results go to.
    fn names_there(&self) -> Result<BTreeSet<String>> {
        let root = PathBuf::new();
        let folders: BTreeSet<&PathBuf> = self.results.iter().map(|planned| &planned.below).chain([&root]).collect();
        let mut there = BTreeSet::new();
        for below in folders {
            let prefix: String = below.iter().map(|folder| folder.to_string_lossy().into_owned() + "/").collect();
            there.extend(names_in(&self.target.folder.join(below))?.into_iter().map(|name| prefix.clone() + &name));
        }
        Ok(there)
    }

    fn refuse_inputs(&self, inputs: &[PathBuf], there: &BTreeSet<String>) -> Result<()> {
        let answering = inputs.iter().zip(&self.results).filter(|(_, planned)| !planned.hangs);
        let mut read = ReadFiles::new(answering.map(|(input, _)| input));
        read.add(self.target.read);
        let own = [LIST, RECORD, JOURNAL].map(str::to_owned);
        let mut written = self.names().chain(&own).filter(|name| there.contains(*name));
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
        let length = |name: &str| name.rsplit('/').next().map_or(0, str::len);
        let Some(name) = self.names().find(|name| length(name) > LONGEST_NAME) else { return Ok(()) };
        let reason = format!(
            "would have a name of {} bytes, but at most {LONGEST_NAME} are allowed; rename the image",
            length(name)
        );
        Err(Error::content(self.target.folder.join(name), reason))
    }

    fn find(&self, there: &BTreeSet<String>, record: Option<&Record>) -> Found {
        let mut found = Found::default();
        let mut recorded = BTreeSet::new();
        let all: BTreeSet<&String> =
            record.iter().flat_map(|of| of.results.values()).flat_map(|of| &of.files).collect();
        for (number, Planned { key, input, names, .. }) in self.own() {
            let entry = record.and_then(|record| Some((record, record.results.get(key)?)));
            if let Some((record, entry)) = entry {
                let left: Vec<&String> = entry.files.iter().filter(|name| there.contains(*name)).collect();
                recorded.extend(left.iter().map(|name| (*name).clone()));
                let maker = &record.makers[entry.maker];
                if maker.is_same(self.maker) && entry.input == *input {
                    found.own.extend((!left.is_empty()).then_some(number));
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
                // What an earlier version wrote beside the label values would be taken for that of the new ones; but not
                // the recorded result of another image, which may have such a name.
                let beside = Outputs::all_beside(key).filter(|name| !names.contains(name));
                found.unknown.extend(beside.filter(|name| there.contains(name) && !all.contains(name)));
            }
        }
        if record.is_none() {
            // An empty journal is what was locked a moment ago.
            let is_empty = |name| fs::metadata(self.target.folder.join(name)).is_ok_and(|found| found.len() == 0);
            let own = [LIST, JOURNAL].into_iter().filter(|name| there.contains(*name));
            found.unknown.extend(own.filter(|&name| name != JOURNAL || !is_empty(name)).map(str::to_owned));
        }
        found
    }

    /// Refuses to replace what this network did not write, unless it may. Label images beside images never go.
    fn refuse_foreign(&self) -> Result<()> {
        let Found { others, unknown, .. } = &self.found;
        let folder = self.target.folder;
        if let Some(name) = unknown.iter().find(|name| ![LIST, JOURNAL].contains(&name.as_str())) {
            let folders: BTreeSet<&Path> =
                self.results.iter().map(|planned| folder_of(Path::new(&planned.input))).collect();
            let is_beside = self.remote.is_some_and(|remote| remote.is_beside(name, &folders));
            if is_beside || ReadFiles::new(folders).replaced_by(folder_of(&folder.join(name))).is_some() {
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
        let lock = Lock::hold(folder)?;
        // Another prediction may have begun meanwhile.
        self.check_folder()?;
        let mut record = self.target.record()?.unwrap_or_default();
        if self.target.skip_existing {
            let journal = lock.journal(folder)?;
            let complete = self.own().filter(|(_, planned)| self.is_complete(planned, &record, &journal));
            self.kept = complete.map(|(number, _)| number).collect();
        }
        self.say_what_is_there(sink);
        remove_file(&folder.join(LIST))?;
        let Found { others, unknown, .. } = &self.found;
        let removed = || others.iter().map(|(name, _)| name).chain(unknown);
        for name in removed() {
            // What is locked is emptied, for others may be waiting for it.
            if name == JOURNAL { lock.clear(folder)? } else { remove_file(&folder.join(name))? }
        }
        sync_folder(folder);
        let below: BTreeSet<&PathBuf> = self.own().map(|(_, planned)| &planned.below).collect();
        below.into_iter().try_for_each(|below| create_folder(&folder.join(below)))?;
        let maker = record.index_of(self.maker);
        for (_, Planned { key, input, names, .. }) in self.own().filter(|(number, _)| !self.kept.contains(number)) {
            let mut files = names.clone();
            if let Some(old) = record.results.remove(key).filter(|old| record.makers[old.maker].is_same(self.maker)) {
                files.extend(old.files.into_iter().filter(|name| !names.contains(name) && folder.join(name).exists()));
            }
            record.results.insert(key.clone(), Entry { maker, input: input.clone(), files });
        }
        record.write(folder)?;
        self.remote.map_or(Ok(()), |remote| remote.begin(removed(), self.own_keys()))
    }

    fn say_what_is_there(&self, sink: &dyn Sink) {
        let folder = self.remote.map_or(self.target.folder.into(), |remote| remote.shown(self.target.folder));
        let (Found { own, others, unknown }, folder) = (&self.found, folder.display());
        if others.len() + unknown.len() > 0 {
            let (name, whose) =
                others.first().cloned().unwrap_or_else(|| (unknown[0].clone(), "by an unknown program".into()));
            let count = results(others.len() + unknown.len());
            sink.note(format!("replacing {count} in {folder}: {name} was made {whose}"));
        }
        let replaced = own.difference(&self.kept).count();
        if replaced > 0 {
            let count = results(replaced);
            sink.note(format!("replacing {count} of the same network and options in {folder}"));
        }
        if !self.kept.is_empty() {
            let (kept, all) = (self.kept.len(), counted(self.count(), "image"));
            sink.note(format!("{kept} of {all} have complete results in {folder} already"));
        }
    }

    /// Lists what is complete where the work fails, as far as that is possible still, and says how to go on.
    pub(crate) fn give_up(&self, done: &[usize], listed: Listed, sink: &dyn Sink) {
        let _ = self.finish(done, false, listed, sink);
        let (complete, all) = (done.len() + self.kept.len(), counted(self.count(), "image"));
        sink.note(format!("{complete} of {all} have complete results, which `skip_existing` keeps"));
    }

    /// Says in the record what was written, `done`, and writes the list of all complete results. An earlier result by
    /// the same network of an image that was skipped stays recorded.
    pub(crate) fn finish(&self, done: &[usize], is_whole: bool, listed: Listed, sink: &dyn Sink) -> Result<()> {
        let folder = self.target.folder;
        let lock = Lock::hold(folder)?;
        let mut record = Record::read(folder)?.unwrap_or_default();
        if is_whole {
            for (_, Planned { key, .. }) in self.own() {
                let is_gone = |name: &String| matches!(folder.join(name).try_exists(), Ok(false));
                if record.results.get(key).is_some_and(|entry: &Entry| entry.files.iter().all(is_gone)) {
                    record.results.remove(key);
                }
            }
            record.write(folder)?;
        }
        let names = match listed {
            Listed::Inputs => self.complete(done, &record, &lock)?,
            Listed::Folder => self.recorded(&record),
        };
        write_list(folder, &names, sink)?;
        self.remote.map_or(Ok(()), |remote| remote.finish(self.own_keys()))
    }

    /// The label maps of all inputs that are complete: `done` now, kept, or of other shards.
    fn complete<'r>(&'r self, done: &[usize], record: &Record, lock: &Lock) -> Result<Vec<&'r str>> {
        let is_shard = self.target.shard.is_some();
        let journal = if is_shard { lock.journal(self.target.folder)? } else { BTreeMap::new() };
        let done: BTreeSet<usize> = done.iter().copied().collect();
        let is_listed = |(number, planned): &(usize, &Planned)| {
            done.contains(number) || self.kept.contains(number) || self.is_complete(planned, record, &journal)
        };
        let listed = self.results.iter().enumerate().filter(is_listed);
        Ok(listed.map(|(_, planned)| planned.names[0].as_str()).collect())
    }

    /// The label maps that are there and on record as by the same weights and options.
    fn recorded<'r>(&self, record: &'r Record) -> Vec<&'r str> {
        let by_it = record.results.values().filter(|entry| record.makers[entry.maker].is_same(self.maker));
        let label_maps = by_it.filter_map(|entry| entry.files.first());
        label_maps.filter(|name| self.target.folder.join(name).exists()).map(String::as_str).collect()
    }
}

/// `one result`, `2 results`.
fn results(count: usize) -> String {
    if count == 1 { "one result".into() } else { format!("{count} results") }
}
