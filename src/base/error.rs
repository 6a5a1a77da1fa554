//! What can go wrong, in words that name the file, the value and the way out.

use super::remedy::{Remedy, end_of_sentence};
use super::size::Size;
use super::words::bytes_in_words;
use std::borrow::Cow;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A parser's message with the types of the program in plain words.
pub(crate) fn plain_types(message: &str) -> String {
    const WORDS: [(&str, &str); 13] = [
        ("expected usize", "expected a whole number from 0 up"),
        ("expected u64", "expected a whole number from 0 up"),
        ("expected u32", "expected a whole number from 0 up"),
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected u8", "expected a whole number from 0 to 255"),
        ("expected i64", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected f32", "expected a number"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected a table"),
        ("expected struct ", "expected a table for "),
        ("expected internally tagged enum ", "expected a table with a `kind` for "),
        ("expected enum ", "expected a name for "),
    ];
    // Names in a parser's message are keys of a file, no options: they are not to become flags.
    let message = message.replace('`', "'");
    WORDS.iter().fold(message, |message, (from, to)| message.replace(from, to))
}

/// Any failure of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read {}: {cause}", shown(path))]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}: {cause}{}", shown(path), end_of_sentence(self.remedies()))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The content of a file is damaged or of a kind that is not understood.
    #[error("{}: {reason}", shown(path))]
    Content {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// An image and its label, or a label and its prediction, differ in size.
    #[error(
        "sizes differ: {} is {first_size}, {} is {second_size}; a pair must have the same width and height",
        shown(first),
        shown(second)
    )]
    SizeMismatch {
        /// One file of the pair.
        first: PathBuf,
        /// Its size.
        first_size: Size,
        /// The other file of the pair.
        second: PathBuf,
        /// Its size.
        second_size: Size,
    },
    /// A label image holds a value that the data set does not define.
    #[error(
        "{}: label {value} at pixel ({x}, {y}) is not in data set '{dataset}' (it defines {expected}); \
         correct the label image, or {}",
        shown(path),
        Remedy::DefineLabel
    )]
    LabelValue {
        /// The label image.
        path: PathBuf,
        /// The value or colour, as text.
        value: String,
        /// Column of the first such pixel.
        x: usize,
        /// Row of the first such pixel.
        y: usize,
        /// Name of the data set.
        dataset: String,
        /// The values it defines, as text.
        expected: String,
    },
    /// Several faults of a data set, found before training.
    #[error("{}", fault_list(faults, *total, advice.as_ref()))]
    Faults {
        /// The first faults, one line each.
        faults: Vec<String>,
        /// How many there are in all.
        total: usize,
        /// What mends them, where it is the same for many: what was found, and the remedy.
        advice: Option<(String, Remedy)>,
    },
    /// A setting, an option or an argument has a value that cannot work.
    #[error("`{field}` is {value}; it must be {expected}")]
    Invalid {
        /// Its name, with the table that it stands in.
        field: Cow<'static, str>,
        /// The value.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// A setting, an option or an argument contradicts another one, or would do nothing beside it.
    #[error("`{field}` {reason}")]
    Conflict {
        /// Its name, with the table that it stands in.
        field: Cow<'static, str>,
        /// What it does not go with, and what to do; a sentence about the field.
        reason: String,
    },
    /// A name that stands for nothing.
    #[error("unknown {kind} '{name}'; choose {known}{}", if *or_file { ", or give the path of a file" } else { "" })]
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// The name.
        name: String,
        /// The names there are.
        known: String,
        /// Whether the path of a file would do, too.
        or_file: bool,
    },
    /// There is nothing to work on.
    #[error("{missing}; {advice}")]
    NoData {
        /// What there is not.
        missing: String,
        /// What to do about it.
        advice: String,
    },
    /// Two files or folders do not go together.
    #[error("{} and {} {reason}", shown(first), shown(second))]
    Pair {
        /// A file or folder.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
        /// Why not, and what to do; a sentence about the two.
        reason: String,
    },
    /// The place of a result is taken.
    #[error("{} {reason}{}", shown(path), end_of_sentence(remedies))]
    Occupied {
        /// The place.
        path: PathBuf,
        /// By what; a sentence about the place.
        reason: String,
        /// What to do.
        remedies: Vec<Remedy>,
    },
    /// There is less memory than the work needs, as was found before it began.
    #[error(
        "{work} needs about {} of memory, but only {} may be used{}",
        bytes_in_words(*needed),
        bytes_in_words(*free),
        end_of_sentence(remedies)
    )]
    Memory {
        /// What was to be done.
        work: String,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that it may have.
        free: u64,
        /// What to do.
        remedies: Vec<Remedy>,
    },
    /// Something that should always work did not: encoding, or reading from a device.
    #[error("cannot {work}: {cause}")]
    Failed {
        /// What was to be done.
        work: Cow<'static, str>,
        /// Why it failed.
        cause: String,
    },
    /// Weights do not fit the network.
    #[error("{}: the weights do not fit the network\n{details}", shown(path))]
    Weights {
        /// The weight file.
        path: PathBuf,
        /// Missing, left-over and misshapen tensors, one line each.
        details: String,
    },
    /// A file could not be downloaded.
    #[error("cannot download {url}: {reason}")]
    Download {
        /// Its URL.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The device does not exist or was not built in.
    #[error("device '{device}' {reason}")]
    Device {
        /// Its name.
        device: String,
        /// Why it cannot be used, and what to do; a sentence about the device.
        reason: String,
    },
    /// Processes that train together cannot go on: one ended, does not answer, or differs from the others.
    #[error("{0}")]
    Process(String),
    /// Work was given up because somebody asked for that.
    #[error("stopped")]
    Stopped,
    /// The device's memory does not suffice, as was found in the midst of the work.
    #[error("the device ran out of memory{}. What was saved before is kept", end_of_sentence(self.remedies()))]
    OutOfMemory,
    /// Weights became infinite or not a number.
    #[error(
        "the weights became infinite or not a number at epoch {epoch}, batch {batch}. Those saved before are kept{}",
        end_of_sentence(self.remedies())
    )]
    NonFiniteWeights {
        /// Epoch, from 1.
        epoch: usize,
        /// Batch of the epoch, from 1.
        batch: usize,
    },
    /// The loss became infinite or not a number.
    #[error(
        "the loss became {loss} at epoch {epoch}, batch {batch}; files of this batch: {files}. The weights saved before are \
         kept{}",
        end_of_sentence(self.remedies())
    )]
    NonFiniteLoss {
        /// The loss.
        loss: f64,
        /// Epoch, from 1.
        epoch: usize,
        /// Step of the epoch, from 1.
        batch: usize,
        /// Names of the images of the batch.
        files: String,
    },
}

impl Error {
    /// [`Error::Read`] for `path`.
    pub fn read(path: impl AsRef<Path>, cause: std::io::Error) -> Self {
        Self::Read { path: path.as_ref().into(), cause }
    }

    /// [`Error::Write`] for `path`.
    pub fn write(path: impl AsRef<Path>, cause: std::io::Error) -> Self {
        Self::Write { path: path.as_ref().into(), cause }
    }

    /// [`Error::Content`] for `path`.
    pub fn content(path: impl AsRef<Path>, reason: impl fmt::Display) -> Self {
        Self::Content { path: path.as_ref().into(), reason: reason.to_string() }
    }

    /// [`Error::Invalid`]: `field` is `value`, and must be `expected`.
    pub fn invalid(field: impl Into<Cow<'static, str>>, value: impl fmt::Display, expected: impl fmt::Display) -> Self {
        Self::Invalid { field: field.into(), value: value.to_string(), expected: expected.to_string() }
    }

    /// [`Error::Conflict`] of `field`; `reason` goes on after its name.
    pub fn conflict(field: impl Into<Cow<'static, str>>, reason: impl fmt::Display) -> Self {
        Self::Conflict { field: field.into(), reason: reason.to_string() }
    }

    /// [`Error::Unknown`] for a name of a closed list.
    pub fn unknown(kind: &'static str, name: impl Into<String>, known: &[&str]) -> Self {
        let known = match known {
            [before @ .., last] if !before.is_empty() => format!("{} or {last}", before.join(", ")),
            _ => known.concat(),
        };
        Self::Unknown { kind, name: name.into(), known, or_file: false }
    }

    /// [`Error::NoData`].
    pub fn no_data(missing: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::NoData { missing: missing.into(), advice: advice.into() }
    }

    /// [`Error::Pair`]; `reason` goes on after the two paths.
    pub fn pair(first: &Path, second: &Path, reason: impl fmt::Display) -> Self {
        Self::Pair { first: first.into(), second: second.into(), reason: reason.to_string() }
    }

    /// [`Error::Pair`] of lists that differ in length.
    pub fn lengths(first: &Path, [one, other]: [usize; 2], second: &Path) -> Self {
        let longer = shown(if one > other { first } else { second });
        let reason =
            format!("differ in length: they name {one} and {other} files; {longer} has entries without a partner");
        Self::pair(first, second, reason)
    }

    /// [`Error::Occupied`]; `reason` goes on after the path.
    pub fn occupied(path: &Path, reason: impl fmt::Display, remedies: impl Into<Vec<Remedy>>) -> Self {
        Self::Occupied { path: path.into(), reason: reason.to_string(), remedies: remedies.into() }
    }

    /// [`Error::Failed`]: it was not possible to do `work`.
    pub fn failed(work: impl Into<Cow<'static, str>>, cause: impl fmt::Display) -> Self {
        Self::Failed { work: work.into(), cause: cause.to_string() }
    }

    /// [`Error::Faults`], of which the first are listed.
    pub(crate) fn faults(mut faults: Vec<String>, advice: Option<(String, Remedy)>) -> Self {
        let total = faults.len();
        faults.truncate(MAX_FAULTS);
        Self::Faults { faults, total, advice }
    }

    /// [`Error::Device`]; `reason` goes on after the device.
    pub fn device(device: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self::Device { device: device.to_string(), reason: reason.to_string() }
    }

    /// The ways out that are known, the best first.
    pub fn remedies(&self) -> &[Remedy] {
        match self {
            Self::Occupied { remedies, .. } | Self::Memory { remedies, .. } => remedies,
            Self::Faults { advice: Some((_, remedy)), .. } => std::slice::from_ref(remedy),
            Self::LabelValue { .. } => &[Remedy::DefineLabel],
            Self::OutOfMemory => {
                &[Remedy::SmallerBatch(None), Remedy::Checkpointing(None), Remedy::Bf16, Remedy::SmallerImages]
            }
            Self::NonFiniteWeights { .. } => &[Remedy::Smaller("learning_rate"), Remedy::Give("clip_norm")],
            Self::NonFiniteLoss { .. } => &[Remedy::Smaller("learning_rate")],
            Self::Write { cause, .. } => match cause.kind() {
                ErrorKind::StorageFull => &[Remedy::FreeSpace, Remedy::Another("output")],
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => &[Remedy::Another("output")],
                _ => &[],
            },
            _ => &[],
        }
    }

    /// Whether what was asked for cannot work on any machine and with any files: a wrong value, options that contradict each
    /// other, a name that there is not.
    pub fn is_wrong_usage(&self) -> bool {
        matches!(self, Self::Invalid { .. } | Self::Conflict { .. } | Self::Unknown { .. })
    }
}

/// Most faults that are listed.
const MAX_FAULTS: usize = 20;

/// [`Error::Invalid`] unless `holds`.
pub(crate) fn require(
    holds: bool,
    field: impl Into<Cow<'static, str>>,
    value: impl fmt::Display,
    expected: impl fmt::Display,
) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::invalid(field, value, expected)) }
}

/// Most characters of a path that are shown; systems take up to 4096 bytes, but lists may hold any line.
const LONGEST_PATH: usize = 4096;

/// A path as text in one line: control characters, which names may hold, are written out, and what no system takes for a path
/// is cut.
fn shown(path: &Path) -> Cow<'_, str> {
    let text = path.to_string_lossy();
    let cut = text.char_indices().nth(LONGEST_PATH).map(|(at, _)| at);
    if cut.is_none() && !text.contains(char::is_control) {
        return text;
    }
    let (text, rest) = (&text[..cut.unwrap_or(text.len())], if cut.is_some() { "..." } else { "" });
    let shown = text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() });
    shown.chain([rest.to_owned()]).collect()
}

fn fault_list(faults: &[String], total: usize, advice: Option<&(String, Remedy)>) -> String {
    let noun = if total == 1 { "fault" } else { "faults" };
    let mut text = format!("the data set has {total} {noun}:");
    for fault in faults {
        text.push_str("\n  ");
        text.push_str(fault);
    }
    if total > faults.len() {
        text.push_str(&format!("\n  ... and {} more", total - faults.len()));
    }
    if let Some((found, remedy)) = advice {
        text.push_str(&format!("\n{found}; {remedy}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_control_characters_stay_in_their_line() {
        let error = Error::content("a\nb\u{1b}[31m é.png", "is damaged");
        assert_eq!(error.to_string(), "a\\nb\\u{1b}[31m é.png: is damaged");
        let long = Error::content("é".repeat(1 << 16), "is damaged").to_string();
        assert!(long.ends_with("é...: is damaged") && long.chars().count() < 5000);
    }
}
