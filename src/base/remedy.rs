//! Ways out of an error, which a caller can act on.

use std::fmt;
use std::path::PathBuf;

use super::words::bytes_in_words;

/// A way out of an error. As text it speaks of fields and settings, between backticks, by their names in the library.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// Fewer images a batch; the number where it is known.
    SmallerBatch(Option<usize>),
    /// Images cropped or resized to less.
    SmallerImages,
    /// Activation checkpointing; the bytes that it then takes, about.
    Checkpointing(Option<u64>),
    /// The precision bf16.
    Bf16,
    /// Windows of that side.
    Tile(usize),
    /// Predicting the image at that size.
    Resize(usize),
    /// Images cut into pieces.
    Pieces,
    /// A smaller value of a field.
    Smaller(&'static str),
    /// A larger value of a field.
    Larger(&'static str),
    /// Another value of a field.
    Another(&'static str),
    /// A field that is not set.
    Give(&'static str),
    /// Saying in the data set what a label value means.
    DefineLabel,
    /// A data set that fits the label images, all in that folder if there is one.
    ProposeDataset(Option<PathBuf>),
    /// Starting although the memory seems not to suffice.
    IgnoreMemory,
    /// More room, on the disk or in memory.
    FreeSpace,
    /// Label maps as arrays alone.
    NoGeotiff,
    /// Replacing what is there.
    Overwrite,
    /// Going on with the run in that folder.
    Resume(PathBuf),
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SAME_STEPS: &str = "(with `accumulate` to keep as many images in a step)";
        match self {
            Self::SmallerBatch(None) => write!(f, "use a smaller `batch_size` {SAME_STEPS}"),
            Self::SmallerBatch(Some(size)) => write!(f, "use `batch_size` {size} {SAME_STEPS}"),
            Self::SmallerImages => f.write_str("train on smaller images, for example with `augment` crop=256"),
            Self::Checkpointing(None) => f.write_str("turn on `checkpointing`"),
            Self::Checkpointing(Some(bytes)) => {
                write!(f, "turn on `checkpointing` (which needs about {})", bytes_in_words(*bytes))
            }
            Self::Bf16 => f.write_str("use `precision` bf16 if the device supports it"),
            Self::Tile(side) => write!(f, "predict it in windows with `tile` {side}"),
            Self::Resize(side) => write!(f, "predict it at a smaller size with `resize` {side}"),
            Self::Pieces => f.write_str("cut the images into pieces"),
            Self::Smaller(field) => write!(f, "use a smaller `{field}`"),
            Self::Larger(field) => write!(f, "allow more with `{field}`"),
            Self::Another(field) => write!(f, "choose another `{field}`"),
            Self::Give(field) => write!(f, "give `{field}`"),
            Self::DefineLabel => f.write_str("define the value in the data set"),
            Self::ProposeDataset(_) => f.write_str("propose a data set that fits them, and use it"),
            Self::IgnoreMemory => f.write_str("start anyway with `ignore_memory`"),
            Self::FreeSpace => f.write_str("free some space"),
            Self::NoGeotiff => f.write_str("write no GeoTIFF, with `format` npy"),
            Self::Overwrite => f.write_str("replace it with `overwrite`"),
            Self::Resume(run) => write!(f, "continue it with `resume` {}", run.display()),
        }
    }
}

/// The remedies as the end of a sentence; nothing without any.
pub(super) fn end_of_sentence(remedies: &[Remedy]) -> String {
    let texts: Vec<String> = remedies.iter().map(Remedy::to_string).collect();
    match texts.as_slice() {
        [] => String::new(),
        [only] => format!("; {only}"),
        [before @ .., last] => format!("; {}, or {last}", before.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_end_a_sentence() {
        let all = [Remedy::Resume("r".into()), Remedy::Overwrite, Remedy::Another("output")];
        assert_eq!(end_of_sentence(&all[1..2]), "; replace it with `overwrite`");
        let whole = "; continue it with `resume` r, replace it with `overwrite`, or choose another `output`";
        assert_eq!(end_of_sentence(&all), whole);
    }
}
