//! The report of a check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::finding::{Finding, Kind, Severity};
use super::summary::{ImageSummary, LabelSummary, PairSummary};
use crate::base::event::Event;
use crate::base::files::absolute;
use crate::base::words::{counted, per_cent};
use crate::base::{Result, Size};
use crate::data::{
    AnnotatedClasses, ClassNames, Dataset, Known, LabelFiles, Labels, NamedClass, Pair, probe_images, propose,
    survey_labels,
};

/// A side of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Images to learn from.
    Training,
    /// Images to score.
    Validation,
}

/// Pairs with their summaries.
#[derive(Debug)]
pub(super) struct Data {
    /// Training first.
    pub(super) pairs: Vec<Pair>,
    /// How many of them are for training.
    pub(super) training: usize,
    pub(super) summaries: Vec<PairSummary>,
    /// What the labels mean.
    pub(super) dataset: Option<Dataset>,
    /// Whether that was proposed from the labels.
    pub(super) is_proposed: bool,
    /// Whether labels are points or rectangles of a table.
    pub(super) points: bool,
}

impl Data {
    /// How to leave out some of the images.
    pub(super) fn how_to_leave_out(&self) -> &'static str {
        if self.points { "remove their rows from the table" } else { "leave them out with `exclude`" }
    }

    pub(super) fn side(&self, pair: usize) -> Side {
        if pair < self.training { Side::Training } else { Side::Validation }
    }

    pub(super) fn has_validation(&self) -> bool {
        self.training < self.pairs.len()
    }

    pub(super) fn image_path(&self, pair: usize) -> &Path {
        &self.pairs[pair].image
    }

    /// Images that could be read, with their place among the pairs.
    pub(super) fn images(&self) -> impl Iterator<Item = (usize, &ImageSummary)> {
        self.summaries.iter().enumerate().filter_map(|(i, summary)| Some((i, summary.image.as_ref()?)))
    }

    /// Labels that could be read, with their place among the pairs.
    pub(super) fn labels(&self) -> impl Iterator<Item = (usize, &LabelSummary)> {
        self.summaries.iter().enumerate().filter_map(|(i, summary)| Some((i, summary.labels.as_ref()?)))
    }

    /// How often a class occurs on one side.
    pub(super) fn count(&self, class: u16, side: Side) -> ClassCount {
        let mut count = ClassCount::default();
        for (_, labels) in self.labels().filter(|(i, _)| self.side(*i) == side) {
            let pixels = labels.class_pixels.iter().filter(|(found, _)| *found == class).map(|(_, pixels)| pixels);
            let pixels: u64 = pixels.sum();
            count.pixels += pixels;
            count.images += usize::from(pixels > 0);
        }
        count
    }
}

/// How many pairs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pairs {
    /// For training.
    pub training: usize,
    /// For validation.
    pub validation: usize,
    /// Excluded on request.
    pub excluded: usize,
}

/// How often a class occurs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// Its pixels.
    pub pixels: u64,
    /// Images that show it.
    pub images: usize,
}

/// A class on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassShare {
    /// Its name.
    pub name: String,
    /// In the training set.
    pub training: ClassCount,
    /// In the validation set.
    pub validation: ClassCount,
}

impl ClassShare {
    /// Its count on one side.
    pub fn on(&self, side: Side) -> ClassCount {
        match side {
            Side::Training => self.training,
            Side::Validation => self.validation,
        }
    }
}

/// What the images are like.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ImageStatistics {
    /// Sizes, as `WIDTHxHEIGHT`, with the number of images.
    pub sizes: BTreeMap<String, usize>,
    /// Numbers of bands, with the number of images that have them.
    pub bands: BTreeMap<usize, usize>,
    /// Types of samples, with the number of images.
    pub sample_types: BTreeMap<String, usize>,
    /// Smallest value of each band, as stored.
    pub least: Vec<f64>,
    /// Largest value of each band, as stored.
    pub largest: Vec<f64>,
    /// Mean of each band, as stored.
    pub mean: Vec<f64>,
    /// Standard deviation of each band, as stored.
    pub std: Vec<f64>,
    /// Share of pixels without data, 0 to 1.
    pub nodata_share: f64,
}

impl ImageStatistics {
    /// Counts cover all images; statistics of bands cover the training images with the most frequent number of bands
    /// and sample type.
    pub(super) fn of(data: &Data) -> Self {
        let mut found = Self::default();
        let (mut pixels, mut nodata) = (0, 0);
        for (_, image) in data.images() {
            let Size { width, height } = image.size;
            *found.sizes.entry(format!("{width}x{height}")).or_insert(0) += 1;
            *found.bands.entry(image.bands).or_insert(0) += 1;
            *found.sample_types.entry(image.sample_type.to_string()).or_insert(0) += 1;
            pixels += image.pixels();
            nodata += image.nodata;
        }
        found.nodata_share = nodata as f64 / pixels.max(1) as f64;
        let bands = found.bands.iter().max_by_key(|(_, count)| **count).map_or(0, |(bands, _)| *bands);
        let usual = found.sample_types.iter().max_by_key(|(_, count)| **count).map(|(kind, _)| kind.clone());
        let like_most =
            |image: &&ImageSummary| image.statistics.len() == bands && Some(image.sample_type.to_string()) == usual;
        let training = || data.images().filter(|(i, _)| *i < data.training).map(|(_, image)| image).filter(like_most);
        for band in 0..bands {
            let of = || training().map(|image| image.statistics[band]).filter(|band| band.count > 0);
            let count = of().map(|band| band.count).sum::<u64>().max(1) as f64;
            let mean = of().map(|band| band.sum).sum::<f64>() / count;
            let variance = of().map(|band| band.squares).sum::<f64>() / count - mean * mean;
            found.least.push(of().map(|band| band.least).reduce(f64::min).unwrap_or_default());
            found.largest.push(of().map(|band| band.largest).reduce(f64::max).unwrap_or_default());
            found.mean.push(mean);
            found.std.push(variance.max(0.0).sqrt());
        }
        found
    }
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// How many pairs there are.
    pub pairs: Pairs,
    /// Name of the data set that labels were compared with; none where it was proposed from them.
    pub dataset: Option<String>,
    /// Errors, warnings, notes.
    pub findings: Vec<Finding>,
    /// The classes; empty if no data set is known.
    pub classes: Vec<ClassShare>,
    /// What the images are like.
    pub images: ImageStatistics,
    /// Suggestions for training: the setting, and what is suggested.
    #[serde(rename = "suggestions", serialize_with = "as_map")]
    pub advice: Vec<(&'static str, String)>,
    /// The training pairs, then the validation pairs.
    #[serde(skip)]
    pub checked: Vec<Pair>,
    /// The group of each pair: images that have to stay on one side of the split.
    #[serde(skip)]
    pub groups: Vec<usize>,
    /// The data set that the labels were compared with, or the one proposed from them, if any.
    #[serde(skip)]
    pub meaning: Option<Dataset>,
}

fn as_map<S: Serializer>(advice: &[(&'static str, String)], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(advice.len()))?;
    for (what, text) in advice {
        map.serialize_entry(what, text)?;
    }
    map.end()
}

impl Report {
    pub(super) fn new(
        data: Data,
        excluded: Vec<PathBuf>,
        (mut findings, groups): (Vec<Finding>, Vec<usize>),
        advice: Vec<(&'static str, String)>,
    ) -> Self {
        findings.sort_by_key(|finding| (finding.severity, finding.kind));
        let share = |(class, name): (u16, &String)| ClassShare {
            name: name.clone(),
            training: data.count(class, Side::Training),
            validation: data.count(class, Side::Validation),
        };
        let names: Vec<String> = data.dataset.iter().flat_map(|d| d.classes.iter().map(|c| c.name.clone())).collect();
        Self {
            pairs: Pairs {
                training: data.training,
                validation: data.pairs.len() - data.training,
                excluded: excluded.len(),
            },
            dataset: data.dataset.as_ref().filter(|_| !data.is_proposed).map(|dataset| dataset.name.clone()),
            findings,
            classes: (0..).zip(&names).map(share).collect(),
            images: ImageStatistics::of(&data),
            advice,
            meaning: data.dataset,
            checked: data.pairs,
            groups,
        }
    }

    /// A report on pairs that were not read.
    pub(super) fn without_content(pairs: Vec<Pair>, training: usize, findings: Vec<Finding>) -> Self {
        let groups = (0..pairs.len()).collect();
        let data = Data { pairs, training, summaries: Vec::new(), dataset: None, is_proposed: true, points: false };
        Self::new(data, Vec::new(), (findings, groups), Vec::new())
    }

    /// Whether training on this data would fail.
    pub fn would_fail(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The findings of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.kind == kind)
    }

    /// Labelled pixels of one side.
    pub fn labelled(&self, side: Side) -> u64 {
        self.classes.iter().map(|class| class.on(side).pixels).sum()
    }

    /// All files that were read.
    pub fn files(&self) -> Vec<PathBuf> {
        self.checked.iter().flat_map(|pair| std::iter::once(&pair.image).chain(pair.label.files())).cloned().collect()
    }

    /// The statistics of the images as text.
    pub fn image_sentences(&self) -> Vec<String> {
        let of = &self.images;
        if of.sizes.is_empty() {
            return Vec::new();
        }
        let listed = |counts: Vec<(String, usize)>| -> String {
            match counts.as_slice() {
                [(only, _)] => only.clone(),
                many => {
                    let shown = many.iter().take(4).map(|(what, count)| format!("{what} ({count})"));
                    shown.collect::<Vec<_>>().join(", ") + if many.len() > 4 { ", ..." } else { "" }
                }
            }
        };
        let mut sizes: Vec<(String, usize)> = of.sizes.clone().into_iter().collect();
        sizes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let bands: Vec<(String, usize)> = of.bands.iter().map(|(bands, n)| (counted(*bands, "band"), *n)).collect();
        let types: Vec<(String, usize)> = of.sample_types.clone().into_iter().collect();
        let numbers = |values: &[f64]| values.iter().map(|v| short(*v)).collect::<Vec<_>>().join(" ");
        let nodata = per_cent((of.nodata_share * 1e6) as u64, 1_000_000);
        vec![
            format!("images: {}, {}, {}; {nodata} without data", listed(sizes), listed(bands), listed(types)),
            format!(
                "values by band: smallest {}, largest {}, mean {}, standard deviation {}",
                numbers(&of.least),
                numbers(&of.largest),
                numbers(&of.mean),
                numbers(&of.std)
            ),
        ]
    }

    /// The text of a data set file that fits the labels, with the class names of the data set where that has them.
    ///
    /// # Errors
    ///
    /// If no data set fits the labels.
    pub fn proposed_dataset(&self) -> Result<String> {
        let quiet = |_: Event| ();
        let mut files: Vec<PathBuf> = self.checked.iter().flat_map(|pair| pair.label.files()).cloned().collect();
        let masks = self.checked.iter().any(|pair| matches!(pair.label, Labels::Masks(_)));
        let annotated = self.checked.iter().all(|pair| matches!(pair.label, Labels::Annotated { .. }));
        let images: Vec<PathBuf> = self.checked.iter().map(|pair| pair.image.clone()).collect();
        let images = probe_images(&images, &quiet).ok();
        let first = self.checked.first().map(|pair| pair.label.name().parent().unwrap_or(Path::new("")));
        let labels = first.map(|folder| folder.display().to_string()).unwrap_or_default();
        let given = self.meaning.as_ref().filter(|_| self.dataset.is_some());
        let name = given.map_or("my data set", |dataset| dataset.name.as_str());
        let names = given.map(class_names);
        let known = Known { name, labels: &labels, images: images.as_ref(), names: names.as_ref() };
        if annotated {
            files.sort();
            files.dedup();
            return Ok(AnnotatedClasses::read(&files)?.propose(&known)?.text);
        }
        let survey = survey_labels(&LabelFiles { files, masks, images: Vec::new() }, &quiet)?;
        // The names do not fit if labels have values that the data set lacks.
        let proposal = propose(&survey, &known).or_else(|_| propose(&survey, &Known { names: None, ..known }))?;
        Ok(proposal.text)
    }

    /// A table with the columns `file` and `group` that keeps what belongs together on one side of a split.
    pub fn group_table(&self) -> String {
        let row = |(pair, group): (&Pair, &usize)| {
            let text = absolute(&pair.image).to_string_lossy().replace('"', "\"\"");
            format!("\"{text}\",{group}\n")
        };
        let rows: String = self.checked.iter().zip(&self.groups).map(row).collect();
        format!("file,group\n{rows}")
    }
}

/// The names that a data set gives to label values.
fn class_names(dataset: &Dataset) -> ClassNames {
    let named = |class: &crate::data::Class| NamedClass {
        name: class.name.clone(),
        value: class.values.first().copied(),
        color: Some(class.color),
    };
    ClassNames { path: dataset.name.clone().into(), classes: dataset.classes.iter().map(named).collect() }
}

/// A number with about four digits.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        1000.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.01.. => format!("{value:.3}"),
        _ => format!("{value:.2e}"),
    }
}
