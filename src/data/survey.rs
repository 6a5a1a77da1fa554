//! A data set looked over before anything is written.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::sample::fit_bands;
use super::{Descriptor, Normalisation, Pair, Statistics};
use crate::error::{Error, Result, Size};
use crate::event::{Event, Sink, Task};
use crate::image::{read_image, read_labels};
use crate::label::IGNORE;

/// Most faults that are listed.
const MAX_FAULTS: usize = 20;

/// What a data set holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// Labelled pixels of each class.
    pub class_pixels: Vec<u64>,
    /// Pixels without a label.
    pub ignored: u64,
    /// The picture sizes that occur.
    pub sizes: Vec<Size>,
    /// Sums for a per-data-set normalisation.
    pub statistics: Statistics,
}

/// What one pair holds, or what is wrong with it.
struct PairReport {
    faults: Vec<String>,
    class_pixels: Vec<u64>,
    ignored: u64,
    size: Option<Size>,
    statistics: Statistics,
}

/// Decodes every pair, compares sizes and checks label values, on all cores. If anything is wrong, the error lists the
/// first faults, each with file, value and pixel, and their total.
pub fn survey(pairs: &[Pair], descriptor: &Descriptor, sink: &dyn Sink) -> Result<Survey> {
    sink.event(Event::Started { task: Task::Check, total: pairs.len(), done: 0 });
    let done = AtomicUsize::new(0);
    // Reports keep the order of the pairs, so that sums of floats do not depend on the threads.
    let reports: Vec<PairReport> = pairs
        .par_iter()
        .map(|pair| {
            let report = examine(pair, descriptor);
            sink.event(Event::Advanced { done: done.fetch_add(1, Ordering::Relaxed) + 1, loss: None });
            report
        })
        .collect();
    sink.event(Event::Finished);
    let total: usize = reports.iter().map(|r| r.faults.len()).sum();
    if total > 0 {
        let faults = reports.into_iter().flat_map(|r| r.faults).take(MAX_FAULTS).collect();
        return Err(Error::Faults { faults, total });
    }
    let mut survey = Survey {
        class_pixels: vec![0; descriptor.class_count()],
        ignored: 0,
        sizes: Vec::new(),
        statistics: Statistics::new(descriptor.bands),
    };
    let mut sizes = BTreeSet::new();
    for report in &reports {
        for (sum, pixels) in survey.class_pixels.iter_mut().zip(&report.class_pixels) {
            *sum += pixels;
        }
        survey.ignored += report.ignored;
        survey.statistics.merge(&report.statistics);
        sizes.extend(report.size.map(|s| (s.width, s.height)));
    }
    survey.sizes = sizes.into_iter().map(|(width, height)| Size { width, height }).collect();
    Ok(survey)
}

fn examine(pair: &Pair, descriptor: &Descriptor) -> PairReport {
    let mut report = PairReport {
        faults: Vec::new(),
        class_pixels: vec![0; descriptor.class_count()],
        ignored: 0,
        size: None,
        statistics: Statistics::new(descriptor.bands),
    };
    let image = read_image(&pair.image)
        .and_then(|raster| fit_bands(&pair.image, &raster, descriptor).map(|planes| (raster.size, planes)));
    match image {
        Ok((size, planes)) => {
            report.size = Some(size);
            if matches!(descriptor.normalisation, Normalisation::PerDataset { .. }) {
                report.statistics.add(&planes, descriptor.normalisation.valid());
            }
        }
        Err(e) => report.faults.push(e.to_string()),
    }
    match read_labels(&pair.label) {
        Ok(labels) => {
            let label_size = labels.size();
            if let Some(size) = report.size.filter(|s| *s != label_size) {
                let mismatch = Error::SizeMismatch {
                    first: pair.image.clone(),
                    first_size: size,
                    second: pair.label.clone(),
                    second_size: label_size,
                };
                report.faults.push(mismatch.to_string());
            }
            for fault in descriptor.label_faults(&labels) {
                report.faults.push(format!(
                    "{}: label {} at pixel ({}, {}), {} pixels in all; data set '{}' defines {}",
                    pair.label.display(),
                    fault.value,
                    fault.x,
                    fault.y,
                    fault.pixels,
                    descriptor.name,
                    descriptor.expected(&labels)
                ));
            }
            if let Ok(map) = descriptor.class_map(&pair.label, &labels) {
                for class in map.classes {
                    if class == IGNORE {
                        report.ignored += 1;
                    } else {
                        report.class_pixels[usize::from(class)] += 1;
                    }
                }
            }
        }
        Err(e) => report.faults.push(e.to_string()),
    }
    report
}
