//! Checks of a data set before training: every image and its labels are read once, on all cores, and summarised. The
//! summaries are then searched for duplicates, crops of one scene on both sides of the split, shifted labels and
//! outliers.

mod advice;
mod classes;
mod content;
mod files;
mod finding;
mod fine;
mod gray;
mod inspect;
mod kept;
mod labels;
mod landmarks;
mod marked;
mod measure;
mod pairing;
mod pixel_hashes;
mod recoded;
mod repeated;
mod report;
mod scenes;
mod shift;
mod sketch;
mod split;
mod summary;
mod thumbnail;
mod values;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::base::error::require;
use crate::base::event::{Event, Sink, Stretch, Task};
use crate::base::{Error, Result, locked};
use crate::data::{
    Dataset, GroupBy, LabelFiles, Labels, Pair, Proposal, Ratings, dataset_of_annotations, refuse_exchanged,
    split_groups, split_validation, survey_and_keep,
};
use crate::train::{Source, Validation};
use kept::KeptLabels;
use pairing::{Paired, Tables};
use shift::ProfileSum;
use summary::PairSummary;

pub use finding::{Finding, Kind, Place, Severity};
pub use report::{ClassCount, ClassShare, ImageStatistics, Pairs, Report, Side};

/// What to check: the same data as for training.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Images to learn from, with their labels.
    pub images: Source,
    /// The validation set.
    pub validation: Validation,
    /// The data set that defines the labels. Without it, labels are described, but not checked.
    pub dataset: Option<Dataset>,
    /// How to group images that must stay on one side of the split.
    pub group_by: Option<GroupBy>,
    /// Pairs to leave out.
    pub exclude: Option<Ratings>,
    /// Seed of the split.
    pub seed: u64,
}

/// The usable pairs of both sides, training first, and what was found while pairing.
struct Sides {
    pairs: Vec<Pair>,
    training: usize,
    tables: Tables,
    excluded: Vec<PathBuf>,
    findings: Vec<Finding>,
}

impl Check {
    /// Checks images with their labels alone.
    pub fn new(images: Source) -> Self {
        Self { images, validation: Validation::None, dataset: None, group_by: None, exclude: None, seed: 0 }
    }

    /// Reads everything and reports what was found.
    ///
    /// # Errors
    ///
    /// If there is nothing to check: a list or a folder cannot be read, or there is no pair. Problems with single files
    /// are in the report.
    pub fn run(&self, sink: &dyn Sink) -> Result<Report> {
        let mut sides = self.sides(sink)?;
        if let Some(swapped) = self.swapped(&sides) {
            sides.findings.push(swapped);
            return Ok(Report::without_content(sides.pairs, sides.training, sides.findings));
        }
        let points = !sides.tables.is_empty();
        let annotated = if self.dataset.is_none() { dataset_of_annotations(&sides.pairs, sink)? } else { None };
        let known = self.dataset.clone().or(annotated);
        let kept = KeptLabels::default();
        let proposal = if known.is_none() { Some(propose(&sides.pairs, &kept, sink)) } else { None };
        let dataset = known.or_else(|| Some(proposal.as_ref()?.as_ref().ok()?.dataset.clone()));
        let (summaries, profiles) = read_all(&sides, (dataset.as_ref(), &kept), sink);
        let data = report::Data {
            pairs: sides.pairs,
            training: sides.training,
            summaries,
            dataset,
            is_proposed: self.dataset.is_none(),
            points,
        };
        let mut findings = sides.findings;
        if let Some(proposal) = &proposal {
            findings.extend(labels::described(proposal.as_ref()));
        }
        findings.extend(files::findings(&data));
        findings.extend(labels::findings(&data, &profiles));
        findings.extend(values::findings(&data));
        findings.extend(classes::findings(&data));
        let (together, groups) = split::findings(&data, self.group_by.as_ref(), sink);
        findings.extend(together);
        // Suggestions are for networks only.
        let proposal = proposal.and_then(std::result::Result::ok);
        let advice = if points { Vec::new() } else { advice::advice(&data, proposal.as_ref()) };
        Ok(Report::new(data, sides.excluded, (findings, groups), advice))
    }

    fn sides(&self, sink: &dyn Sink) -> Result<Sides> {
        if matches!(self.images, Source::Table { .. }) {
            for (field, given) in [("group_by", self.group_by.is_some()), ("exclude", self.exclude.is_some())] {
                if given {
                    return Err(Error::conflict(field, "has no effect on a random forest; leave it out"));
                }
            }
        }
        let (mut training, mut excluded) = self.paired(&self.images, sink)?;
        let (pairs, validation) = match &self.validation {
            Validation::None => (training.pairs, Vec::new()),
            Validation::Fraction(_) if training.pairs.is_empty() => (Vec::new(), Vec::new()),
            // A random forest is validated with some of the labelled pixels of each image.
            Validation::Fraction(share) if !training.tables.is_empty() => {
                require(*share > 0.0 && *share < 1.0, "val_fraction", share, "between 0 and 1, as in 0.05")?;
                (training.pairs, Vec::new())
            }
            Validation::Fraction(share) => match &self.group_by {
                Some(by) => split_groups(training.pairs, *share, self.seed, by)?,
                None => split_validation(training.pairs, *share, self.seed)?,
            },
            Validation::Source(source) => {
                let (validation, out) = self.paired(source, sink)?;
                excluded.extend(out);
                training.findings.extend(validation.findings);
                training.tables.extend(validation.tables);
                (training.pairs, validation.pairs)
            }
        };
        let count = pairs.len();
        let Paired { tables, findings, .. } = training;
        Ok(Sides { training: count, pairs: [pairs, validation].concat(), tables, excluded, findings })
    }

    /// The pairs of a source whose files exist and that are not excluded, and the images of those excluded.
    fn paired(&self, source: &Source, sink: &dyn Sink) -> Result<(Paired, Vec<PathBuf>)> {
        let mut found = pairing::pair(source, self.dataset.as_ref(), sink)?;
        found.take_missing();
        let mut excluded = Vec::new();
        if let Some(ratings) = &self.exclude {
            (found.pairs, excluded) = ratings.keep(found.pairs)?;
        }
        if found.pairs.is_empty() && !found.findings.iter().any(|finding| finding.severity == Severity::Error) {
            let missing = "there is no pair of an image and its labels to check";
            return Err(Error::no_data(missing, "give images with their label images"));
        }
        Ok((found, excluded))
    }

    /// A finding if images and label images are swapped.
    fn swapped(&self, sides: &Sides) -> Option<Finding> {
        let dataset = self.dataset.as_ref()?;
        let (training, validation) = sides.pairs.split_at(sides.training);
        let fault = refuse_exchanged(training, dataset, "`images` and `labels`, or `train_list` and `label_list`")
            .and_then(|()| refuse_exchanged(validation, dataset, "`val_list` and `val_label_list`"));
        Some(Finding::new(Kind::Swapped, Severity::Error, fault.err()?.to_string(), Vec::new()))
    }
}

/// Surveys the label images and proposes a data set that fits them.
fn propose(pairs: &[Pair], kept: &KeptLabels, sink: &dyn Sink) -> Result<Proposal> {
    let with_files = pairs.iter().filter(|pair| !matches!(pair.label, Labels::Annotated { .. }));
    let files: Vec<PathBuf> = with_files.flat_map(|pair| pair.label.files()).cloned().collect();
    let masks = pairs.iter().any(|pair| matches!(pair.label, Labels::Masks(_)));
    let quiet = |event: Event| match event {
        // Damaged files are reported later, with the other findings.
        Event::Skipped { .. } => (),
        event => sink.event(event),
    };
    let source = LabelFiles { files, masks, images: Vec::new() };
    let survey = survey_and_keep(&source, &quiet, &|place, labels| kept.keep(&source.files[place], &labels))?;
    labels::proposal(&survey)
}

/// Reads all pairs, on all cores. Summaries keep the order of the pairs.
fn read_all(
    sides: &Sides,
    (dataset, kept): (Option<&Dataset>, &KeptLabels),
    sink: &dyn Sink,
) -> (Vec<PairSummary>, ProfileSum) {
    let stretch = Stretch::begin(sink, Task::Check, sides.pairs.len());
    let profiles = Mutex::new(ProfileSum::default());
    let inspection =
        inspect::Inspection { dataset, kept, landmarks: sides.pairs.iter().any(|pair| recoded::is_lossy(&pair.image)) };
    let summaries = sides
        .pairs
        .par_iter()
        .map(|pair| {
            let (summary, profile) = inspection.inspect(pair, sides.tables.get(&pair.image));
            profile.iter().for_each(|profile| locked(&profiles).add(profile));
            stretch.advance();
            summary
        })
        .collect();
    (summaries, profiles.into_inner().unwrap_or_else(PoisonError::into_inner))
}
