//! Reads each pair once and summarises it.

use std::path::Path;

use super::finding::{Kind, Place};
use super::gray::Gray;
use super::kept::KeptLabels;
use super::landmarks::landmarks;
use super::measure::{is_gray, statistics, zeros};
use super::shift::Profile;
use super::sketch::Sketch;
use super::summary::{Fault, ImageSummary, LabelSummary, PairSummary};
use super::thumbnail::Thumbnail;
use crate::base::vectorised;
use crate::base::{Error, LabelMap, Result, Size};
use crate::data::{
    CsvLabels, Dataset, Fingerprint, Footprint, Labels, Pair, background, load_pair_labels, merge_masks, prepared,
};
use crate::image::{Image, RawLabels, read_image, read_image_turned};
use crate::metric::OtherValues;

/// Maximum number of undefined values listed per label image.
const MAX_VALUES: usize = 3;

/// What the comparison with the labels needs of an image.
struct Seen {
    size: Size,
    gray: Gray,
    nodata: Option<Vec<bool>>,
}

/// How pairs are read.
#[derive(Clone, Copy)]
pub(super) struct Inspection<'a> {
    pub(super) dataset: Option<&'a Dataset>,
    /// Label images that have already been read.
    pub(super) kept: &'a KeptLabels,
    /// Whether to compute landmarks: the set has lossy images, in which crops of one scene differ in their pixels.
    pub(super) landmarks: bool,
}

impl Inspection<'_> {
    /// Reads a pair. Returns its summary, and the contrast profile of its label edges. `points` are its labels if they
    /// come from a table.
    pub(super) fn inspect(&self, pair: &Pair, points: Option<&CsvLabels>) -> (PairSummary, Option<Profile>) {
        let mut found = PairSummary::default();
        let seen = found.add_image(&pair.image, self);
        let profile = found.add_labels((pair, points), seen.as_ref(), self);
        (found, profile)
    }
}

fn fault(kind: Kind, file: &Path, error: &Error) -> Fault {
    // The file is reported separately.
    let text = error.to_string();
    let plain = text.strip_prefix(&format!("{}: ", file.display())).map_or_else(|| text.clone(), str::to_owned);
    Fault { kind, place: Place::new(file, plain) }
}

impl PairSummary {
    fn add_image(&mut self, path: &Path, by: &Inspection<'_>) -> Option<Seen> {
        let dataset = by.dataset;
        let (image, turned) = match read_image_turned(path) {
            Ok(read) => read,
            Err(error) => {
                self.faults.push(fault(Kind::Unreadable, path, &error));
                return None;
            }
        };
        let (bands, sample_type, size) = (image.bands, image.sample_type, image.size);
        let image = match dataset {
            None => Image { nodata: image.pixels_without_data(&[]), alpha: None, ..image },
            Some(dataset) => match prepared(path, image, dataset) {
                Ok(image) => image,
                Err(error) => {
                    self.faults.push(fault(Kind::Normalisation, path, &error));
                    read_image(path).ok()?
                }
            },
        };
        if let Some(dataset) = dataset {
            self.check_bands(path, &image, dataset);
        }
        let (gray, statistics) = (Gray::of(&image), statistics(&image));
        let without = image.nodata.iter().flatten().filter(|nodata| **nodata).count() as u64;
        let zeros = zeros(&image, &statistics);
        // Images that are mostly empty would match others merely by the outline of their content.
        let shown = 2 * (zeros + without) <= (size.width * size.height) as u64;
        self.image = Some(ImageSummary {
            size,
            bands,
            sample_type,
            statistics,
            nodata: without,
            zeros,
            turned,
            content: Fingerprint::image(&image),
            thumbnail: if shown { Thumbnail::of(&gray) } else { Thumbnail::default() },
            sketch: Sketch::of(&image),
            landmarks: if by.landmarks && shown { landmarks(&gray) } else { Vec::new() },
            place: Footprint::of(path),
        });
        Some(Seen { size, gray, nodata: image.nodata })
    }

    fn check_bands(&mut self, path: &Path, image: &Image, dataset: &Dataset) {
        let fits = image.bands == dataset.bands || image.bands == 1 || (dataset.bands == 1 && is_gray(image));
        if !fits {
            let detail = format!("{} bands, but data set '{}' expects {}", image.bands, dataset.name, dataset.bands);
            self.faults.push(Fault { kind: Kind::Bands, place: Place::new(path, detail) });
        }
    }

    fn add_labels(
        &mut self,
        (pair, points): (&Pair, Option<&CsvLabels>),
        seen: Option<&Seen>,
        by: &Inspection<'_>,
    ) -> Option<Profile> {
        let Inspection { dataset, kept, .. } = *by;
        let mut summary = LabelSummary::default();
        let merged = match (points, &pair.label) {
            (Some(points), _) => self.drawn(pair, points.paint(pair.label.name(), seen?.size))?,
            (None, Labels::Annotated { .. }) => self.drawn(pair, load_pair_labels(pair, seen?.size, dataset?))?,
            (None, Labels::File(_) | Labels::Masks(_)) => {
                self.merge_labels((pair, kept), seen, (dataset, &mut summary))?
            }
        };
        summary.content = Fingerprint::labels(&merged);
        let profile = seen.filter(|seen| seen.size == merged.size).and_then(|seen| Profile::of(&seen.gray, &merged));
        summary.peak = profile.as_ref().map(Profile::peak);
        summary.count(&merged, seen.and_then(|seen| seen.nodata.as_deref()));
        self.labels = Some(summary);
        profile
    }

    fn drawn(&mut self, pair: &Pair, drawn: Result<LabelMap>) -> Option<LabelMap> {
        drawn
            .map_err(|error| {
                let mut found = fault(Kind::Annotation, pair.label.name(), &error);
                found.place.with = Some(pair.image.clone());
                self.faults.push(found);
            })
            .ok()
    }

    /// Merges the label files of an image.
    fn merge_labels(
        &mut self,
        (pair, kept): (&Pair, &KeptLabels),
        seen: Option<&Seen>,
        (dataset, summary): (Option<&Dataset>, &mut LabelSummary),
    ) -> Option<LabelMap> {
        let (mut merged, mut complete) = (None, true);
        for file in pair.label.files() {
            match self.read_labels((pair, kept.read(file)), file, seen, (dataset, summary)) {
                Some(map) => merge_masks(&mut merged, map),
                None => complete = false,
            }
        }
        merged.or_else(|| seen.map(|seen| background(seen.size))).filter(|_| complete)
    }

    /// The classes of one label file. Undefined values are reported, and treated as unlabelled.
    fn read_labels(
        &mut self,
        (pair, read): (&Pair, Result<(RawLabels, bool)>),
        file: &Path,
        seen: Option<&Seen>,
        (dataset, summary): (Option<&Dataset>, &mut LabelSummary),
    ) -> Option<LabelMap> {
        let (raw, turned) = match read {
            Ok(read) => read,
            Err(error) => {
                self.faults.push(fault(Kind::Unreadable, file, &error));
                return None;
            }
        };
        summary.turned |= turned;
        if let Some(seen) = seen.filter(|seen| seen.size != raw.size()) {
            let detail = format!("{}, but its image is {}", raw.size(), seen.size);
            self.faults.push(Fault { kind: Kind::SizeMismatch, place: Place::two(file, &pair.image, detail) });
            return None;
        }
        let dataset = dataset?;
        match dataset.class_map(file, &raw) {
            Ok(map) => Some(map),
            Err(_) => {
                self.add_undefined(file, &raw, dataset);
                summary.undefined.push(file.into());
                Dataset { other_values: OtherValues::Unlabelled, ..dataset.clone() }.class_map(file, &raw).ok()
            }
        }
    }

    fn add_undefined(&mut self, file: &Path, raw: &RawLabels, dataset: &Dataset) {
        let (faults, values) = dataset.label_faults(raw, MAX_VALUES);
        let text = |fault: &crate::data::LabelFault| {
            format!("{} in {} of its pixels, first at ({}, {})", fault.value, fault.pixels, fault.x, fault.y)
        };
        let mut texts: Vec<String> = faults.iter().map(text).collect();
        if values > faults.len() {
            texts.push(format!("and {} more values", values - faults.len()));
        }
        self.faults.push(Fault { kind: Kind::UndefinedLabel, place: Place::new(file, texts.join("; ")) });
    }
}

impl LabelSummary {
    fn count(&mut self, labels: &LabelMap, nodata: Option<&[bool]>) {
        let pixels = match nodata {
            None => counts(&labels.classes),
            Some(nodata) => {
                let with_data = labels.classes.iter().zip(nodata).filter(|(_, nodata)| !**nodata);
                counts(&with_data.map(|(class, _)| *class).collect::<Vec<u16>>())
            }
        };
        self.ignored = labels.classes.len() as u64 - pixels.iter().sum::<u64>();
        let found = (0..).zip(pixels).filter(|(_, pixels)| *pixels > 0);
        self.class_pixels = found.collect();
    }
}

/// The number of pixels of each class, up to the largest that occurs.
fn counts(classes: &[u16]) -> Vec<u64> {
    // Several interleaved histograms: in a single one, incrementing the same class again would have to wait for the
    // previous increment.
    const LANES: usize = 4;
    let largest = largest(classes);
    let mut counts = vec![[0u64; LANES]; largest.map_or(0, |class| usize::from(class) + 1) + 1];
    let other = counts.len() - 1;
    let (chunks, rest) = classes.as_chunks::<LANES>();
    for chunk in chunks {
        for (i, class) in chunk.iter().enumerate() {
            counts[usize::from(*class).min(other)][i] += 1;
        }
    }
    rest.iter().for_each(|class| counts[usize::from(*class).min(other)][0] += 1);
    counts.truncate(other);
    counts.into_iter().map(|count| count.iter().sum()).collect()
}

vectorised! {
    /// The largest class; `None` where nothing is labelled.
    fn largest(classes: &[u16]) -> Option<u16> {
        // Plus one, so that `IGNORE` wraps around to 0.
        let next = classes.iter().fold(0, |most: u16, class| most.max(class.wrapping_add(1)));
        next.checked_sub(1)
    }
}
