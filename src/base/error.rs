//! What can go wrong, in words that name the file, the value and the way out.

use super::size::Size;
use std::borrow::Cow;
use std::fmt;
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
    WORDS.iter().fold(message.to_owned(), |message, (from, to)| message.replace(from, to))
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
    #[error("cannot write {}: {cause}{}", shown(path), write_advice(cause))]
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
         correct the label image, or say what the value means (in the data set file; of metrics also with --num-class, \
         --first-label and --ignore-label)",
        shown(path)
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
        /// Name of the data set dataset.
        dataset: String,
        /// The values it defines, as text.
        expected: String,
    },
    /// Several faults of a data set, found before training.
    #[error("{}", fault_list(faults, *total, advice.as_deref()))]
    Faults {
        /// The first faults, one line each.
        faults: Vec<String>,
        /// How many there are in all.
        total: usize,
        /// What mends them, where it is the same for many.
        advice: Option<String>,
    },
    /// A setting has a value that cannot work.
    #[error("{0}")]
    Config(String),
    /// A built-in recipe, data set or the like was asked for by a name that there is not.
    #[error("unknown {kind} '{name}'; there are {known}, or give the path of a file")]
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// The name.
        name: String,
        /// The names there are.
        known: String,
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
    #[error("{0}")]
    Device(String),
    /// Work was given up because somebody asked for that.
    #[error("stopped")]
    Stopped,
    /// The device's memory does not suffice.
    #[error(
        "the device's memory does not suffice; try a smaller --batch-size (with --accumulate for the same steps), \
         --checkpointing, --precision bf16 where the device has it, or smaller images, such as --augment crop=256. What was \
         saved before is kept"
    )]
    OutOfMemory,
    /// Weights became infinite or not a number.
    #[error(
        "the weights are no longer numbers after epoch {epoch}, batch {batch}. Those saved before are kept; start again with \
         a smaller --learning-rate or with --clip-norm"
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
         kept; start again with a smaller --learning-rate"
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

/// The usual next step for the two write failures that users meet.
fn write_advice(cause: &std::io::Error) -> &'static str {
    match cause.kind() {
        std::io::ErrorKind::StorageFull => "; free some space or choose another --output-path",
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            "; choose a folder that you may write to with --output-path"
        }
        _ => "",
    }
}

fn fault_list(faults: &[String], total: usize, advice: Option<&str>) -> String {
    let noun = if total == 1 { "fault" } else { "faults" };
    let mut text = format!("the data set has {total} {noun}:");
    for fault in faults {
        text.push_str("\n  ");
        text.push_str(fault);
    }
    if total > faults.len() {
        text.push_str(&format!("\n  ... and {} more", total - faults.len()));
    }
    if let Some(advice) = advice {
        text.push('\n');
        text.push_str(advice);
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
