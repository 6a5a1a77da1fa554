//! Predicts images as they arrive in a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::journal::Version;
use super::target::Listed;
use super::{Options, Outputs, Predictor, Summary, Target};
use crate::base::event::{Event, Sink};
use crate::base::inputs::ReadFiles;
use crate::base::store;
use crate::base::words::counted;
use crate::base::{Error, Result};
use crate::data::ImageSearch;

/// How often the folder is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// A file is complete when as many looks in a row have found it as the one before did.
const UNCHANGED: usize = 2;
/// How soon a stop is noticed.
const STEP: Duration = Duration::from_millis(50);

/// A folder in which images arrive.
#[derive(Debug, Clone, Copy)]
pub struct Watch<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// Whether images arrive in folders below it, too.
    pub recursive: bool,
    /// How often it is looked at. A file is predicted when it has kept its size and time for two intervals.
    pub interval: Duration,
}

impl<'a> Watch<'a> {
    /// A folder without those below it, looked at every second.
    pub fn new(folder: &'a Path) -> Self {
        Self { folder, recursive: false, interval: INTERVAL }
    }
}

impl Predictor {
    /// Predicts the images of a folder, and those that arrive there, until `target` is told to stop. Complete results are
    /// kept, those of images that changed are replaced, and an image that cannot be predicted is reported once, and tried
    /// again when it has changed. The list of results is of all in the folder of `target`. See [`Self::predict_files`].
    ///
    /// # Errors
    ///
    /// For example, if the folder is missing at the beginning or is also that of the results, or if a result cannot be
    /// written.
    pub fn watch(
        &self,
        watch: &Watch<'_>,
        target: &Target<'_>,
        outputs: &Outputs,
        options: &Options,
        sink: &dyn Sink,
    ) -> Result<Summary> {
        for folder in [watch.folder, target.folder] {
            store::refuse(folder, "watching needs folders on this machine, for images and for results")?;
        }
        if ReadFiles::new([watch.folder]).replaced_by(target.folder).is_some() {
            let reason =
                "is the folder that is watched, where results would be taken for images; choose another folder";
            return Err(Error::conflict("output", reason));
        }
        let root = [watch.folder.to_path_buf()];
        let roots = if watch.recursive { &root[..] } else { &[] };
        let target = Target { skip_existing: true, roots, ..*target };
        let search = ImageSearch { recursive: watch.recursive, except: Some(target.folder) };
        search.in_folder(watch.folder)?;
        let mut arrivals = Arrivals::default();
        let mut summary = Summary::default();
        let mut is_away = false;
        while !target.is_stopped() {
            let looked = Instant::now();
            match search.in_folder(watch.folder) {
                Ok(images) => {
                    if std::mem::take(&mut is_away) {
                        sink.note(format!("{} is there again", watch.folder.display()));
                    }
                    let complete = arrivals.complete(images);
                    let batch = Batch { predictor: self, target: &target, outputs, options, sink };
                    batch.predict_all(&complete, &mut summary)?;
                }
                // A network disk may come back.
                Err(fault) if !is_away => {
                    is_away = true;
                    sink.note(format!("{fault}; waiting until it is there again"));
                }
                Err(_) => {}
            }
            while looked.elapsed() < watch.interval && !target.is_stopped() {
                sleep(STEP.min(watch.interval));
            }
        }
        Ok(summary)
    }
}

/// The files of the folder as the last looks found them.
#[derive(Debug, Default)]
struct Arrivals {
    /// Which version of a file, how many looks found the same one, and whether it was handed out.
    seen: BTreeMap<PathBuf, (Version, usize, bool)>,
}

impl Arrivals {
    /// The files that have become complete, each version of a file once.
    fn complete(&mut self, found: Vec<PathBuf>) -> Vec<PathBuf> {
        let mut before = std::mem::take(&mut self.seen);
        let mut complete = Vec::new();
        for path in found {
            // Gone again.
            let Some(version) = Version::of(&path) else { continue };
            let (unchanged, mut is_handed_out) = match before.remove(&path) {
                Some((known, unchanged, is_handed_out)) if known == version => (unchanged + 1, is_handed_out),
                _ => (0, false),
            };
            if unchanged >= UNCHANGED && !is_handed_out {
                is_handed_out = true;
                complete.push(path.clone());
            }
            self.seen.insert(path, (version, unchanged, is_handed_out));
        }
        complete
    }
}

/// Images that are predicted together.
struct Batch<'a> {
    predictor: &'a Predictor,
    target: &'a Target<'a>,
    outputs: &'a Outputs,
    options: &'a Options,
    sink: &'a dyn Sink,
}

impl Batch<'_> {
    /// Predicts images, at once if possible. Where that is refused, as for two images of one stem, each goes by itself, and
    /// those that are refused are reported.
    fn predict_all(&self, images: &[PathBuf], summary: &mut Summary) -> Result<()> {
        match self.predict(images, summary) {
            Err(fault) if !is_of_one_image(&fault) => return Err(fault),
            Err(_) if images.len() > 1 => {
                for image in images {
                    self.predict_all(std::slice::from_ref(image), summary)?;
                }
            }
            Err(fault) => {
                let (path, mut reason) = (images[0].clone(), fault.to_string());
                let name = path.display().to_string();
                if !reason.contains(&name) {
                    reason = format!("{name}: {reason}");
                }
                self.sink.event(Event::Skipped { path, reason });
                summary.inputs += 1;
                summary.skipped += 1;
            }
            Ok(()) => {}
        }
        Ok(())
    }

    fn predict(&self, images: &[PathBuf], summary: &mut Summary) -> Result<()> {
        if images.is_empty() {
            return Ok(());
        }
        let Self { predictor, target, outputs, options, sink } = *self;
        let new = predictor.predict_set((images, Listed::Folder), (target, None), outputs, options, sink)?;
        if !new.written.is_empty() {
            let name = new.written[0].file_name().unwrap_or_default().to_string_lossy();
            let more = if new.written.len() > 1 { ", ..." } else { "" };
            let count = counted(new.written.len(), "prediction");
            sink.note(format!("{count} written: {name}{more}"));
        }
        summary.inputs += new.inputs;
        summary.kept += new.kept;
        summary.skipped += new.skipped;
        summary.written.extend(new.written);
        Ok(())
    }
}

/// Whether an error is about what is predicted, and not about the place of the results or the device.
fn is_of_one_image(fault: &Error) -> bool {
    matches!(fault, Error::Pair { .. } | Error::Occupied { .. } | Error::Content { .. } | Error::Read { .. })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_complete_when_it_no_longer_grows_and_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let mut arrivals = Arrivals::default();
        let mut look = || arrivals.complete(vec![path.clone(), folder.path().join("gone.png")]);
        for content in ["1", "12", "123"] {
            fs::write(&path, content).unwrap();
            assert!(look().is_empty());
        }
        assert!(look().is_empty());
        assert!(look().contains(&path));
        assert!(look().is_empty());
        fs::write(&path, "other").unwrap();
        assert!(look().is_empty() && look().is_empty());
        assert!(look().contains(&path));
        fs::remove_file(&path).unwrap();
        assert!(look().is_empty());
    }
}
