//! A data set looked over before anything is written.

use std::collections::BTreeSet;
use std::path::Path;

use rayon::prelude::*;

use super::dataset::Dataset;
use super::label_maps::{background, check_size, load_pair_labels, merge_masks};
use super::normalise::{Normalisation, Statistics};
use super::pair::{Labels, Pair};
use super::prepare::{check_normalisation, load_raster, range};
use super::presence::ClassPresence;
use super::repeats::{Fingerprint, KnownImage, repeat_notes};
use super::sample::fit_bands;
use super::suggestion;
use super::trained_samples::TrainedSamples;
use crate::base::event::{Sink, Stretch, Task};
use crate::base::label_map::{IGNORE, LabelMap};
use crate::base::{Error, Result, Size};
use crate::image::{RawLabels, SampleType, read_image, read_labels, report_notes};

/// Most undefined values of one label image that are listed.
const MAX_VALUES: usize = 3;

/// What a data set holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// Labelled pixels of each class in the training set.
    pub class_pixels: Vec<u64>,
    /// Those in the validation set.
    pub validation_pixels: Vec<u64>,
    /// The sizes of the training images that occur.
    pub sizes: Vec<Size>,
    /// Those of the validation images.
    pub validation_sizes: Vec<Size>,
    /// Sums over the training images, for a per-data-set normalisation.
    pub statistics: Statistics,
    /// What each training pair shows, in their order.
    pub presence: ClassPresence,
    /// The samples of the training images; those that the data set names already, if it does.
    pub samples: Option<TrainedSamples>,
}

/// What one pair holds, or what is wrong with it.
struct PairReport {
    faults: Vec<String>,
    /// Whether label values that the data set does not define are among the faults.
    undefined_labels: bool,
    class_pixels: Vec<u64>,
    size: Option<Size>,
    statistics: Statistics,
    /// Type of the image's samples, and the range of those with data.
    samples: Option<(SampleType, (f64, f64))>,
    content: Fingerprint,
}

/// Decodes every pair, compares sizes and checks label values, on all cores. If anything is wrong, the error lists the
/// first faults, each with file, value and pixel, and their total. Images that are there more than once are noted.
pub fn survey(train: &[Pair], validation: &[Pair], dataset: &Dataset, sink: &dyn Sink) -> Result<Survey> {
    if dataset.samples.is_none()
        && let Some(raster) = train.first().and_then(|pair| read_image(&pair.image).ok())
    {
        let (sample_type, scale) = (raster.sample_type, raster.sample_type.full_scale());
        check_normalisation(&dataset.normalisation, sample_type, scale)?;
    }
    let pairs: Vec<&Pair> = train.iter().chain(validation).collect();
    let mut reports = examine_all(&pairs, dataset, sink);
    let samples = {
        let seen = reports[..train.len()].iter().filter_map(|report| report.samples);
        dataset.samples.clone().or_else(|| TrainedSamples::most_frequent(seen))
    };
    if let Some(trained) = &samples {
        // Those of another type mean something else beside the others than alone.
        let dataset = Dataset { samples: samples.clone(), ..dataset.clone() };
        let scale = trained.sample_type.full_scale();
        let differs = |report: &PairReport| report.samples.is_some_and(|(own, _)| own.full_scale() != scale);
        reports.par_iter_mut().zip(&pairs).filter(|(report, _)| differs(report)).for_each(|(report, pair)| {
            *report = examine(pair, &dataset);
        });
    }
    report_notes(sink);
    refuse_faults(&reports, &pairs, dataset)?;
    let known: Vec<KnownImage<'_>> =
        pairs.iter().zip(&reports).map(|(pair, report)| (pair.image.as_path(), report.content)).collect();
    let (first, others) = known.split_at(train.len());
    repeat_notes(first, others).into_iter().for_each(|note| sink.note(note));
    Ok(Survey::of(reports.split_at(train.len()), dataset, samples))
}

/// Reports keep the order of the pairs, so that sums of floats do not depend on the threads.
fn examine_all(pairs: &[&Pair], dataset: &Dataset, sink: &dyn Sink) -> Vec<PairReport> {
    let stretch = Stretch::begin(sink, Task::Check, pairs.len());
    let examined = |pair: &&Pair| {
        let report = examine(pair, dataset);
        stretch.advance();
        report
    };
    pairs.par_iter().map(examined).collect()
}

fn refuse_faults(reports: &[PairReport], pairs: &[&Pair], dataset: &Dataset) -> Result<()> {
    let faults: Vec<String> = reports.iter().flat_map(|r| r.faults.iter().cloned()).collect();
    if faults.is_empty() {
        return Ok(());
    }
    // Those that hold the undefined values first: not all of many are read again.
    let (undefined, others): (Vec<usize>, Vec<usize>) = (0..pairs.len()).partition(|&i| reports[i].undefined_labels);
    let any = !undefined.is_empty();
    let ordered: Vec<&Pair> = undefined.into_iter().chain(others).map(|i| pairs[i]).collect();
    Err(Error::faults(faults, if any { suggestion(&ordered, dataset) } else { None }))
}

impl Survey {
    /// The sums of the reports on training and on validation pairs.
    fn of(
        (train, validation): (&[PairReport], &[PairReport]),
        dataset: &Dataset,
        samples: Option<TrainedSamples>,
    ) -> Self {
        let pixels = |reports: &[PairReport]| {
            let sum = |class: usize| reports.iter().map(|report| report.class_pixels[class]).sum();
            (0..dataset.class_count()).map(sum).collect()
        };
        let sizes = |reports: &[PairReport]| {
            let found: BTreeSet<_> = reports.iter().filter_map(|r| r.size).map(|s| (s.width, s.height)).collect();
            found.into_iter().map(|(width, height)| Size { width, height }).collect()
        };
        let (mut statistics, mut presence) = (Statistics::new(dataset.bands), ClassPresence::default());
        // The validation images must not leak into what the network sees of the training set.
        for report in train {
            statistics.merge(&report.statistics);
            presence.push(report.size.unwrap_or(Size { width: 0, height: 0 }), &report.class_pixels);
        }
        Self {
            class_pixels: pixels(train),
            validation_pixels: pixels(validation),
            sizes: sizes(train),
            validation_sizes: sizes(validation),
            statistics,
            presence,
            samples,
        }
    }
}

fn examine(pair: &Pair, dataset: &Dataset) -> PairReport {
    let mut report = PairReport {
        faults: Vec::new(),
        undefined_labels: false,
        class_pixels: vec![0; dataset.class_count()],
        size: None,
        statistics: Statistics::new(dataset.bands),
        samples: None,
        content: Fingerprint::default(),
    };
    let image = load_raster(&pair.image, dataset)
        .and_then(|raster| fit_bands(&pair.image, &raster, dataset).map(|planes| (raster, planes)));
    let mut nodata = None;
    match image {
        Ok((raster, planes)) => {
            report.size = Some(raster.size);
            report.content.image = Fingerprint::image(&raster);
            report.samples = Some((raster.sample_type, range(&raster)));
            if matches!(dataset.normalisation, Normalisation::PerDataset { .. }) {
                report.statistics.add(&planes, dataset.normalisation.valid());
            }
            nodata = raster.nodata;
        }
        Err(e) => report.faults.push(e.to_string()),
    }
    let merged = match (&pair.label, report.size) {
        (Labels::Annotated { .. }, Some(size)) => {
            load_pair_labels(pair, size, dataset).map_err(|e| report.faults.push(e.to_string())).ok()
        }
        (Labels::Annotated { .. }, None) => None,
        (Labels::File(_) | Labels::Masks(_), _) => report.examine_files(pair, dataset),
    };
    report.content.labels = merged.as_ref().map_or(0, Fingerprint::labels);
    let nodata = |i: usize| nodata.as_ref().is_some_and(|nodata| nodata[i]);
    let classes = merged.into_iter().flat_map(|map| map.classes).enumerate();
    for (_, class) in classes.filter(|(i, class)| *class != IGNORE && !nodata(*i)) {
        report.class_pixels[usize::from(class)] += 1;
    }
    report
}

impl PairReport {
    /// Examines the label image or the masks of a pair, and returns what they say together.
    fn examine_files(&mut self, pair: &Pair, dataset: &Dataset) -> Option<LabelMap> {
        let mut merged = None;
        for file in pair.label.files() {
            match read_labels(file) {
                Ok(labels) => self.examine_labels(&pair.image, file, &labels, dataset, &mut merged),
                Err(e) => self.faults.push(e.to_string()),
            }
        }
        merged.or_else(|| self.size.map(background))
    }

    /// Examines a label image or a mask, and merges it with those before it if it is of the image's size.
    fn examine_labels(
        &mut self,
        image: &Path,
        label: &Path,
        labels: &RawLabels,
        dataset: &Dataset,
        merged: &mut Option<LabelMap>,
    ) {
        let label_size = labels.size();
        let mismatch = self.size.and_then(|size| check_size((image, size), (label, label_size)).err());
        self.faults.extend(mismatch.map(|mismatch| mismatch.to_string()));
        let (faults, values) = dataset.label_faults(labels, MAX_VALUES);
        let shown = label.display();
        self.undefined_labels |= values > 0;
        for fault in &faults {
            self.faults.push(format!(
                "{shown}: label {} at pixel ({}, {}), in {} of its pixels; data set '{}' defines {}",
                fault.value,
                fault.x,
                fault.y,
                fault.pixels,
                dataset.name,
                dataset.expected(labels)
            ));
        }
        if values > faults.len() {
            let more = values - faults.len();
            self.faults.push(format!("{shown}: {more} more undefined values; are images and labels swapped?"));
        }
        if let (true, Ok(map)) = (self.size == Some(label_size), dataset.class_map(label, labels)) {
            merge_masks(merged, map);
        }
    }
}
