//! What label images hold, before anybody has said what it means.

mod count;
mod files;
mod palette;
mod sentence;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::base::event::{Event, Sink, Stretch, Task};
use crate::base::{Error, Result};
use crate::image::{LabelImage, RawLabels, read_labels_and_alpha};

pub use count::{Count, MAX_LABELS, RawLabel};
pub use files::{LabelFiles, find_images_of};
pub use sentence::{shell_word, suggestion};

/// A number or colour of the label images.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundLabel {
    /// The number or colour.
    pub label: RawLabel,
    /// Where it occurs.
    pub count: Count,
    /// Label images that hold it.
    pub files: usize,
    /// Its colour in the palette of a label image.
    pub palette: Option<[u8; 3]>,
}

/// Label images of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilesOfKind {
    /// How many there are.
    pub count: usize,
    /// The first of them.
    pub first: Option<PathBuf>,
}

/// What a set of label images holds.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelSurvey {
    /// The numbers and colours, numbers first, in ascending order.
    pub labels: Vec<FoundLabel>,
    /// Whether these are all: [`MAX_LABELS`] are told apart.
    pub complete: bool,
    /// Label images that hold numbers.
    pub with_numbers: FilesOfKind,
    /// Label images that hold colours.
    pub with_colors: FilesOfKind,
    /// Pixels of all of them.
    pub pixels: u64,
    /// Files that could not be read.
    pub skipped: usize,
    /// Whether they are masks, several of which may belong to one image.
    pub masks: bool,
}

impl LabelSurvey {
    /// Label images that were read.
    pub fn files(&self) -> usize {
        self.with_numbers.count + self.with_colors.count
    }

    /// Share of all pixels, 0 to 1.
    pub fn share(&self, pixels: u64) -> f64 {
        pixels as f64 / self.pixels.max(1) as f64
    }
}

/// What label images hold together, each label with the number of files and the place of the first.
#[derive(Default)]
struct Sum {
    labels: BTreeMap<RawLabel, (Count, usize, usize)>,
    incomplete: bool,
    /// Files that hold numbers and colours, each with the place of the first.
    kinds: [(usize, usize); 2],
    skipped: usize,
}

impl Sum {
    fn add(&mut self, label: RawLabel, (count, files, first): (Count, usize, usize)) {
        if self.labels.len() >= MAX_LABELS && !self.labels.contains_key(&label) {
            self.incomplete = true;
            return;
        }
        let entry = self.labels.entry(label).or_insert((Count::default(), 0, first));
        *entry = (entry.0, entry.1 + files, entry.2.min(first));
        entry.0 += count;
    }

    fn merge(mut self, other: Self) -> Self {
        other.labels.into_iter().for_each(|(label, found)| self.add(label, found));
        for (mine, theirs) in self.kinds.iter_mut().zip(other.kinds).filter(|(_, theirs)| theirs.0 > 0) {
            let first = if mine.0 == 0 { theirs.1 } else { mine.1.min(theirs.1) };
            *mine = (mine.0 + theirs.0, first);
        }
        self.incomplete |= other.incomplete;
        self.skipped += other.skipped;
        self
    }
}

/// Reads all label images, on all cores. One that cannot be read is reported and left out; that all cannot is an error.
pub fn survey_labels(source: &LabelFiles, sink: &dyn Sink) -> Result<LabelSurvey> {
    survey_and_keep(source, sink, &|_, _| ())
}

/// As [`survey_labels`], and hands on what was read of each file, with its place in the source.
pub fn survey_and_keep(
    source: &LabelFiles,
    sink: &dyn Sink,
    keep: &(dyn Fn(usize, RawLabels) + Sync),
) -> Result<LabelSurvey> {
    let files = &source.files;
    let stretch = Stretch::begin(sink, Task::Check, files.len());
    let sum = files
        .par_iter()
        .enumerate()
        .map(|(place, path)| {
            let found = examine(place, path, keep).unwrap_or_else(|error| {
                sink.event(Event::Skipped { path: path.clone(), reason: error.to_string() });
                Sum { skipped: 1, ..Sum::default() }
            });
            stretch.advance();
            found
        })
        .reduce(Sum::default, Sum::merge);
    drop(stretch);
    if sum.skipped == files.len() {
        let missing = format!("none of the {} label images could be read", files.len());
        return Err(Error::no_data(missing, "see the message for each file"));
    }
    let firsts = sum.labels.iter().filter(|(label, _)| label.number().is_some());
    let palette = palette::colors(files, firsts.map(|(_, (_, _, first))| *first));
    let [with_numbers, with_colors] =
        sum.kinds.map(|(count, first)| FilesOfKind { count, first: files.get(first).filter(|_| count > 0).cloned() });
    let found = |(label, (count, files, _)): (RawLabel, (Count, usize, usize))| FoundLabel {
        label,
        count,
        files,
        palette: palette.get(&label).copied(),
    };
    let labels: Vec<FoundLabel> = sum.labels.into_iter().map(found).collect();
    let pixels = labels.iter().map(|found| found.count.pixels).sum();
    let complete = !sum.incomplete;
    Ok(LabelSurvey { labels, complete, with_numbers, with_colors, pixels, skipped: sum.skipped, masks: source.masks })
}

fn examine(place: usize, path: &Path, keep: &(dyn Fn(usize, RawLabels) + Sync)) -> Result<Sum> {
    let LabelImage { raw: labels, alpha } = read_labels_and_alpha(path)?;
    let (found, complete) = count::count(&labels, alpha.as_ref());
    let mut sum = Sum { incomplete: !complete, ..Sum::default() };
    sum.kinds[usize::from(matches!(labels, RawLabels::Colors(..)))] = (1, place);
    sum.labels.extend(found.into_iter().map(|(label, count)| (label, (count, 1, place))));
    keep(place, labels);
    Ok(sum)
}
