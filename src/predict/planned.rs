//! The results of inputs before they are there: their names, and what is known of each input without decoding it.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::formats::Formats;
use super::journal::Version;
use super::output::Outputs;
use crate::base::files::{absolute, open_input};

/// Threads that look at files.
const LOOKERS: usize = 8;

/// What is to be written of an input.
#[derive(Debug)]
pub(super) struct Planned {
    /// The image's file stem, behind its folders below the root that it was found in.
    pub(super) key: String,
    /// The image, as an absolute path.
    pub(super) input: String,
    /// Names of the files below the output folder, the label map first.
    pub(super) names: Vec<String>,
    /// Formats of the label map.
    pub(super) formats: Formats,
    /// The folder of the files below the output folder.
    pub(super) below: PathBuf,
    /// Which version of the image it will be of: that of before it is read.
    pub(super) version: Option<Version>,
    /// Whether the system did not tell in time.
    pub(super) hangs: bool,
}

/// Plans the results of inputs. An image below one of `roots` has its results in the same folders below the output folder.
pub(super) fn plan(inputs: &[PathBuf], roots: &[PathBuf], outputs: &Outputs, patience: Duration) -> Vec<Planned> {
    let outputs = *outputs;
    let seen = look_at(inputs, patience, move |input| Seen::of(input, &outputs));
    let planned = |(input, seen): (&PathBuf, Option<Seen>)| {
        let hangs = seen.is_none();
        let Seen { whole, formats, version } = seen.unwrap_or_else(|| Seen::unopened(input, &outputs));
        let below = folders_below(input, roots);
        let prefix: String = below.iter().map(|folder| folder.to_string_lossy().into_owned() + "/").collect();
        let stem = input.file_stem().unwrap_or_default().to_string_lossy();
        let names = outputs.names(input, formats).into_iter().map(|name| prefix.clone() + &name).collect();
        let input = whole.to_string_lossy().into_owned();
        Planned { key: prefix + &stem, input, names, formats, below, version, hangs }
    };
    inputs.iter().zip(seen).map(planned).collect()
}

/// What is known of an image before it is decoded.
struct Seen {
    whole: PathBuf,
    formats: Formats,
    version: Option<Version>,
}

impl Seen {
    fn of(input: &Path, outputs: &Outputs) -> Self {
        let version = Version::of(input);
        let whole = fs::canonicalize(input).unwrap_or_else(|_| absolute(input));
        Self { whole, formats: outputs.formats_or(|| Formats::usual(input)), version }
    }

    fn unopened(input: &Path, outputs: &Outputs) -> Self {
        let formats = outputs.formats_or(|| Formats { npy: true, ..Formats::default() });
        Self { whole: absolute(input), formats, version: None }
    }
}

/// The folders between an image and the nearest root above it.
fn folders_below(input: &Path, roots: &[PathBuf]) -> PathBuf {
    let folders = roots.iter().filter_map(|root| input.strip_prefix(root).ok()?.parent());
    let plain = folders.filter(|below| below.components().all(|part| matches!(part, Component::Normal(_))));
    plain.min_by_key(|below| below.components().count()).map(Path::to_path_buf).unwrap_or_default()
}

/// Which of these files cannot be opened in time.
pub(super) fn hanging(inputs: &[PathBuf], patience: Duration) -> Vec<bool> {
    // Whoever reads a file later says what is wrong with it; here it matters that the system answers at all.
    let open = |input: &Path| drop(open_input(input).map(|(mut file, _)| file.read(&mut [0])));
    look_at(inputs, patience, open).iter().map(Option::is_none).collect()
}

/// Looks at files on several threads, for on network disks most of the time is waiting. See [`look_in_turn`].
fn look_at<T: Send + 'static>(
    paths: &[PathBuf],
    patience: Duration,
    look: impl Fn(&Path) -> T + Send + Sync + 'static,
) -> Vec<Option<T>> {
    let (look, share) = (Arc::new(look), paths.len().div_ceil(LOOKERS).max(1));
    thread::scope(|scope| {
        let lookers: Vec<_> = paths
            .chunks(share)
            .map(|paths| {
                let look = Arc::clone(&look);
                scope.spawn(move || look_in_turn(paths, patience, look))
            })
            .collect();
        lookers.into_iter().flat_map(|looker| looker.join().expect("a looking thread panicked")).collect()
    })
}

/// Looks at files one after another; `None` for those that take longer than `patience`, as on a network disk that does not
/// answer. Nothing can end a system call that hangs: its thread is left behind, and another one goes on with the rest.
fn look_in_turn<T: Send + 'static>(
    paths: &[PathBuf],
    patience: Duration,
    look: Arc<impl Fn(&Path) -> T + Send + Sync + 'static>,
) -> Vec<Option<T>> {
    let shared: Arc<[PathBuf]> = paths.into();
    let mut found = Vec::with_capacity(paths.len());
    while found.len() < paths.len() {
        let (sender, receiver) = channel();
        let (first, shared, look) = (found.len(), Arc::clone(&shared), Arc::clone(&look));
        thread::spawn(move || shared[first..].iter().try_for_each(|path| sender.send(look(path))));
        while found.len() < paths.len() {
            match receiver.recv_timeout(patience) {
                Ok(seen) => found.push(Some(seen)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    found.push(None);
                    break;
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_passed_over_and_the_rest_is_seen() {
        let look = |path: &Path| {
            if path.to_string_lossy().contains("hangs") {
                thread::sleep(Duration::from_secs(3600));
            }
            path.to_path_buf()
        };
        let paths: Vec<PathBuf> = ["a", "hangs", "b", "c", "hangs too"].map(PathBuf::from).to_vec();
        let found = look_at(&paths, Duration::from_millis(200), look);
        let seen = |name: &str| Some(PathBuf::from(name));
        assert_eq!(found, [seen("a"), None, seen("b"), seen("c"), None]);
        let many: Vec<PathBuf> =
            (0..100).map(|number| if number % 40 == 7 { "hangs".into() } else { number.to_string().into() }).collect();
        let found = look_at(&many, Duration::from_millis(200), look);
        assert!(
            found
                .iter()
                .zip(&many)
                .all(|(found, path)| found.as_ref() == Some(path) || (found.is_none() && path.ends_with("hangs")))
        );
        assert_eq!(found.iter().filter(|found| found.is_none()).count(), 3);
    }

    #[test]
    fn folders_are_kept_below_the_nearest_root() {
        let roots = ["in", "in/deep", "../up"].map(PathBuf::from);
        for (input, below) in [
            ("in/a.png", ""),
            ("in/x/y/a.png", "x/y"),
            ("in/deep/a.png", ""),
            ("in/deep/z/a.png", "z"),
            ("elsewhere/x/a.png", ""),
            ("in/../../a.png", ""),
            ("../up/b/a.png", "b"),
        ] {
            assert_eq!(folders_below(Path::new(input), &roots), PathBuf::from(below), "{input}");
        }
        assert_eq!(folders_below(Path::new("in/x/a.png"), &[]), PathBuf::new());
    }
}
