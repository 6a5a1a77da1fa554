//! What label images hold, in a sentence.

use std::borrow::Borrow;
use std::path::{Path, PathBuf};

use super::count::RawLabel;
use super::files::LabelFiles;
use super::{FilesOfKind, FoundLabel, LabelSurvey, survey_labels};
use crate::base::{Remedy, Size};
use crate::data::{Dataset, Labels, Pair, StoredNumber};
use crate::image::{NumberLabels, RawLabels};

/// Most colours, and fewer than these ranges of numbers, that are listed.
const MAX_LISTED: usize = 8;
/// Most label images that are read for an error message.
const MAX_READ: usize = 100;
/// Most numbers that are listed one by one.
const MAX_SINGLE: usize = 5;

impl LabelSurvey {
    /// Such as "values 0, 1, 2 and 255 (12 files)".
    pub fn sentence(&self) -> String {
        let of_kind = |files: &FilesOfKind, text: String| {
            let noun = if files.count == 1 { "file" } else { "files" };
            (files.count > 0).then(|| format!("{text} ({} {noun})", files.count))
        };
        let parts = [of_kind(&self.with_numbers, self.numbers_text()), of_kind(&self.with_colors, self.colors_text())];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }

    fn numbers_text(&self) -> String {
        let numbers: Vec<StoredNumber> = self.labels.iter().filter_map(|found| found.label.number()).collect();
        let mut runs: Vec<(StoredNumber, StoredNumber)> = Vec::new();
        for &number in &numbers {
            match runs.last_mut() {
                Some((_, end)) if numbers.len() > MAX_SINGLE && end.0 + 1.0 == number.0 => *end = number,
                _ => runs.push((number, number)),
            }
        }
        let text = |(first, last): &(StoredNumber, StoredNumber)| {
            if first == last { first.to_string() } else { format!("{first} to {last}") }
        };
        match (runs.len(), numbers.first(), numbers.last()) {
            (MAX_LISTED.., Some(least), Some(largest)) => format!("{} values from {least} to {largest}", numbers.len()),
            _ => {
                let texts: Vec<String> = runs.iter().map(text).collect();
                format!("{} {}", if numbers.len() == 1 { "value" } else { "values" }, joined(&texts))
            }
        }
    }

    fn colors_text(&self) -> String {
        let mut colors: Vec<&FoundLabel> =
            self.labels.iter().filter(|found| matches!(found.label, RawLabel::Color(_))).collect();
        colors.sort_by_key(|found| std::cmp::Reverse(found.count.pixels));
        let (count, more) = (colors.len(), if self.complete { "" } else { "more than " });
        let texts: Vec<String> = colors.iter().take(MAX_LISTED).map(|found| found.label.to_string()).collect();
        let noun = if count == 1 { "colour" } else { "colours" };
        if count > MAX_LISTED {
            return format!("{more}{count} {noun}, such as {}", joined(&texts[..2]));
        }
        format!("{noun} {}", joined(&texts))
    }

    /// How many of its numbers and colours a data set does not define.
    pub fn undefined_in(&self, dataset: &Dataset) -> usize {
        let row = |width| Size { width, height: 1 };
        let (mut values, mut colors, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for found in &self.labels {
            match found.label {
                RawLabel::Number(number) => match number.as_value() {
                    Some(value) => values.push(value),
                    None => others.push(number.0),
                },
                RawLabel::Color(color) => colors.push(color),
            }
        }
        let values = RawLabels::Values(row(values.len()), values);
        let colors = RawLabels::Colors(row(colors.len()), colors);
        let others = NumberLabels { size: row(others.len()), values: others, nodata: None };
        [values, colors, RawLabels::Numbers(others)]
            .iter()
            .map(|labels| dataset.label_faults(labels, 0).1)
            .sum::<usize>()
    }
}

/// `a, b and c`.
fn joined(texts: &[String]) -> String {
    match texts {
        [] => String::new(),
        [one] => one.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

/// A path as it is to be typed in a shell.
pub fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:,@%=\\".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// What the label images of the first pairs hold and how to get a data set file that fits them, where the given one does not
/// define all of it.
pub fn suggestion<P: Borrow<Pair>>(pairs: &[P], dataset: &Dataset) -> Option<(String, Remedy)> {
    let drawn = |pair: &&Pair| matches!(pair.label, Labels::Annotated { .. });
    let pairs: Vec<&Pair> = pairs.iter().map(Borrow::borrow).filter(|pair| !drawn(pair)).collect();
    let all = || pairs.iter().flat_map(|pair| pair.label.files());
    let files: Vec<PathBuf> = all().take(MAX_READ).cloned().collect();
    let total = all().count();
    let masks = pairs.iter().any(|pair| matches!(pair.label, Labels::Masks(_)));
    let folder = labels_folder(&pairs);
    let survey = survey_labels(&LabelFiles { files, masks, images: Vec::new() }, &|_| ()).ok()?;
    if survey.undefined_in(dataset) == 0 {
        return None;
    }
    let read =
        if total > MAX_READ { format!("{MAX_READ} of the {total} label images") } else { "the label images".into() };
    Some((format!("{read} hold {}", survey.sentence()), Remedy::ProposeDataset(folder)))
}

/// The one folder that holds all label images, or the folders of all masks.
fn labels_folder(pairs: &[&Pair]) -> Option<PathBuf> {
    let folder_of = |pair: &Pair| -> Option<PathBuf> {
        match &pair.label {
            Labels::File(file) | Labels::Annotated { annotations: file, .. } => file.parent().map(Path::to_path_buf),
            // <root>/<id>/images/<name>
            Labels::Masks(_) => pair.image.ancestors().nth(3).map(Path::to_path_buf),
        }
    };
    let first = folder_of(pairs.first()?).filter(|folder| !folder.as_os_str().is_empty())?;
    pairs.iter().all(|pair| folder_of(pair).as_ref() == Some(&first)).then_some(first)
}
