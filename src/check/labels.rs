//! Findings about labels: undefined values with a suggested mapping; empty, copied and shifted labels.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Kind, Place, Severity};
use super::report::Data;
use super::shift::{Peak, ProfileSum};
use crate::base::words::counted;
use crate::base::{Error, Result};
use crate::data::{
    Dataset, FoundLabel, Known, LabelFiles, LabelSurvey, Labels, Proposal, RawLabel, propose, survey_labels,
};

/// Maximum number of label files that are read again to suggest a mapping.
const MAX_MAPPED: usize = 100;
/// Maximum number of values and colours listed in a mapping.
const MAX_LISTED: usize = 12;

/// Minimum shift reported, in pixels; smaller ones are within the accuracy of manual labelling.
const MIN_SHIFT: i32 = 3;
/// Thresholds for a shift common to all labels: by how many standard errors the contrast at the peak exceeds that
/// without a shift, ratio of the contrast at the peak to the noise beyond it, and share of the contrast that is lost
/// without the shift.
const SIGNIFICANCE: f64 = 6.0;
const CLEAR: f32 = 6.0;
const COMMON_LOSS: f32 = 0.3;
/// Minimum number of label images for a common shift: fewer have no standard error worth the name. They are judged one by
/// one, by the stricter thresholds for one image.
const MIN_COMMON: usize = 3;
/// Minimum share of images whose own peak is near zero shift; with fewer, shifts of single images are not reported.
const AT_PEAK: f64 = 0.7;
/// Thresholds for a shift of one image: the contrast lost without it and the margin over the highest contrast beyond
/// the peak, both in multiples of the noise; the contrast as a share of the mean over all images; and the share of the
/// contrast that is lost. Of 337 label images of street scenes and oil seeps, none is reported; of 338 shifted by 9 and
/// 6 pixels, about 150 are.
const OWN_SIGNIFICANCE: f32 = 4.0;
const OWN_PROMINENCE: f32 = 1.5;
const OWN_CONTRAST: f32 = 0.5;
const OWN_LOSS: f32 = 0.5;
/// Minimum mean contrast along label edges, in standard deviations, for shifts to be detectable.
const MIN_CONTRAST: f32 = 0.3;

pub(super) fn findings(data: &Data, profiles: &ProfileSum) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(undefined(data));
    found.extend(empty(data));
    found.extend(copied(data));
    found.extend(shifted(data, profiles));
    found
}

/// A data set that fits the labels.
pub(super) fn proposal(survey: &LabelSurvey) -> Result<Proposal> {
    propose(survey, &Known { name: "proposed", labels: "given", images: None, names: None })
}

/// How labels are interpreted if no data set is given.
pub(super) fn described(proposal: Result<&Proposal, &Error>) -> Option<Finding> {
    let remedy = "`write_dataset` my.toml writes a data set file that fits the labels";
    Some(match proposal {
        Ok(proposal) => {
            let meanings = proposal.meanings.iter().map(|(label, meaning)| format!("{label} = {meaning}"));
            let message = format!("no data set is given, so the labels are taken as {}", listed(meanings.collect()));
            Finding::new(Kind::LabelCoding, Severity::Note, message, Vec::new()).remedy(remedy)
        }
        Err(error) => {
            let message = format!("no data set is given, and none can be derived from the labels: {error}");
            Finding::new(Kind::LabelCoding, Severity::Warning, message, Vec::new())
                .remedy("give `dataset`, or check the label images")
        }
    })
}

fn listed(texts: Vec<String>) -> String {
    let more = texts.len().saturating_sub(MAX_LISTED);
    let shown = texts.into_iter().take(MAX_LISTED).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// Values that the data set does not define, and what they seem to mean.
fn undefined(data: &Data) -> Vec<Finding> {
    let Some(dataset) = &data.dataset else { return Vec::new() };
    let faults = data.summaries.iter().flat_map(|summary| &summary.faults);
    let places: Vec<Place> =
        faults.filter(|fault| fault.kind == Kind::UndefinedLabel).map(|fault| fault.place.clone()).collect();
    if places.is_empty() {
        return Vec::new();
    }
    let message =
        format!("{} with values that data set '{}' does not define", counted(places.len(), "label file"), dataset.name);
    let files: Vec<PathBuf> = places.iter().take(MAX_MAPPED).map(|place| place.file.clone()).collect();
    let finding = Finding::new(Kind::UndefinedLabel, Severity::Error, message, places)
        .remedy("correct the label images, or define the values in the data set file");
    let masks = data.pairs.iter().any(|pair| matches!(pair.label, Labels::Masks(_)));
    let survey = survey_labels(&LabelFiles { files, masks, images: Vec::new() }, &|_| ());
    let mapping = survey.ok().and_then(|survey| mapping(&survey, dataset));
    [finding].into_iter().chain(mapping).collect()
}

/// Label files coded differently from the data set, with the probable meaning of each value or colour.
fn mapping(survey: &LabelSurvey, dataset: &Dataset) -> Option<Finding> {
    let coding = coding(survey)?;
    let by_color: HashMap<[u8; 3], &str> =
        dataset.classes.iter().map(|class| (class.color, class.name.as_str())).collect();
    let known = |found: &FoundLabel| -> Option<String> {
        let color = match found.label {
            RawLabel::Color(color) => Some(color),
            RawLabel::Number(_) => found.palette,
        };
        let value = || {
            let value = found.label.number()?.as_value()?;
            let class = dataset.classes.iter().find(|class| class.values.contains(&value))?;
            Some(class.name.clone())
        };
        color.and_then(|color| by_color.get(&color).map(|name| (*name).to_owned())).or_else(value)
    };
    let mut meanings: Vec<(RawLabel, Option<String>)> = survey
        .labels
        .iter()
        .take(dataset.classes.len().max(MAX_LISTED) + 1)
        .map(|found| (found.label, known(found)))
        .collect();
    let used: Vec<String> = meanings.iter().filter_map(|(_, name)| name.clone()).collect();
    let left: Vec<&str> = dataset
        .classes
        .iter()
        .map(|class| class.name.as_str())
        .filter(|name| !used.iter().any(|u| u == name))
        .collect();
    let open: Vec<usize> = (0..meanings.len()).filter(|i| meanings[*i].1.is_none()).collect();
    if let ([open], Some(first)) = (open.as_slice(), left.first()) {
        // Only one value and one class are left, or binary masks show the first class other than the background.
        if left.len() == 1 || coding == "masks of two values" {
            meanings[*open].1 = Some((*first).to_owned());
        }
    }
    let text = |(label, name): &(RawLabel, Option<String>)| {
        format!("{label} = {}", name.as_deref().unwrap_or("no class of the data set"))
    };
    let message = format!("these label files are {coding}: {}", listed(meanings.iter().map(text).collect()));
    let remedy = "if that is right, give the classes these `values` or colours in the data set file; `write_dataset` my.toml \
                  writes one that fits";
    Some(Finding::new(Kind::LabelCoding, Severity::Note, message, Vec::new()).remedy(remedy))
}

/// How labels are coded, if not by class values.
fn coding(survey: &LabelSurvey) -> Option<&'static str> {
    let numbers: Vec<f64> = survey.labels.iter().filter_map(|found| found.label.number()).map(|n| n.0).collect();
    if survey.with_colors.count > 0 && survey.complete {
        return Some("coded as colours");
    }
    if survey.labels.iter().any(|found| found.palette.is_some()) {
        return Some("palette images");
    }
    (numbers.len() == 2 && numbers[0] == 0.0 && numbers[1] > 1.0).then_some("masks of two values")
}

/// Labels without a labelled pixel, and those with the first class only.
fn empty(data: &Data) -> Vec<Finding> {
    let Some(dataset) = &data.dataset else { return Vec::new() };
    let mut found = Vec::new();
    let places = |wanted: &dyn Fn(&super::summary::LabelSummary) -> bool| -> Vec<Place> {
        let labels = data.labels().filter(|(_, labels)| wanted(labels));
        labels.map(|(i, _)| Place::two(data.image_path(i), data.pairs[i].label.name(), "")).collect()
    };
    let unlabelled = places(&|labels| labels.labelled() == 0);
    // If there is no labelled pixel at all, the set is reported as a whole.
    if unlabelled.len() < data.labels().count() {
        let (what, remedy) = ("without a labelled pixel", format!("label them, or {}", data.how_to_leave_out()));
        found.extend(Finding::about(Kind::NoLabels, Severity::Warning, unlabelled, ("image", what), remedy));
    }
    let first = places(&|labels| matches!(labels.class_pixels.as_slice(), [(0, _)]));
    if let (false, Some(class)) = (first.is_empty(), dataset.classes.first()) {
        let (count, all) = (first.len(), data.pairs.len());
        let message = format!("{count} of {} labelled only as {}", counted(all, "image"), class.name);
        let finding = Finding::new(Kind::EmptyLabels, Severity::Note, message, first);
        found.push(
            finding.remedy("make sure that nothing else should be labelled: unlabelled objects mislead training"),
        );
    }
    found
}

/// Identical labels of different images.
fn copied(data: &Data) -> Option<Finding> {
    let mut firsts: HashMap<u64, usize> = HashMap::new();
    let mut places = Vec::new();
    // Labels with few edges can be identical by chance.
    for (i, labels) in data.labels().filter(|(_, labels)| labels.peak.is_some()) {
        let content = |i: usize| data.summaries[i].image.as_ref().map(|image| image.content);
        match firsts.get(&labels.content) {
            None => {
                firsts.insert(labels.content, i);
            }
            Some(first) if content(*first) != content(i) => {
                let file = |i: usize| match data.pairs[i].label {
                    Labels::Annotated { .. } => data.image_path(i),
                    Labels::File(_) | Labels::Masks(_) => data.pairs[i].label.name(),
                };
                places.push(Place::two(file(i), file(*first), ""));
            }
            Some(_) => (),
        }
    }
    let what = ("image", "with the labels of another image");
    Finding::about(Kind::CopiedLabels, Severity::Warning, places, what, "export the labels of these images again")
}

fn shifted(data: &Data, profiles: &ProfileSum) -> Option<Finding> {
    let common = profiles.peak()?;
    let usual = common.peak;
    let is_clear = usual.contrast >= MIN_CONTRAST && usual.contrast > usual.noise * CLEAR;
    let lost = usual.contrast - usual.unshifted > COMMON_LOSS * usual.contrast;
    let peaks = || data.labels().filter_map(|(i, labels)| Some((i, labels.peak?)));
    let count = peaks().count();
    let has_common = count >= MIN_COMMON;
    if has_common && is_clear && lost && is_far(usual.shift) && common.significance >= SIGNIFICANCE {
        let message = format!("all labels are shifted relative to the edges in the images: {}", move_by(usual.shift));
        let finding = Finding::new(Kind::ShiftedLabels, Severity::Warning, message, Vec::new());
        return Some(finding.remedy("compare a few pairs; move the labels, or export them again"));
    }
    let at_peak = peaks().filter(|(_, peak)| !is_far(peak.shift)).count() as f64;
    if !is_clear || (has_common && at_peak < AT_PEAK * count as f64) {
        return None;
    }
    let is_shifted = |peak: &Peak| {
        is_far(peak.shift)
            && peak.contrast - peak.unshifted > OWN_SIGNIFICANCE * peak.noise
            && peak.contrast - peak.beyond >= OWN_PROMINENCE * peak.noise
            && peak.contrast >= OWN_CONTRAST * usual.contrast
            && peak.contrast - peak.unshifted >= OWN_LOSS * peak.contrast
    };
    let shifted = peaks().filter(|(_, peak)| is_shifted(peak));
    let place = |(i, peak): (usize, Peak)| {
        let pair: (&Path, &Path) = (data.pairs[i].label.name(), data.image_path(i));
        Place::two(pair.0, pair.1, move_by(peak.shift))
    };
    let places: Vec<Place> = shifted.map(place).collect();
    let what = ("label file", "shifted relative to the edges in the image");
    let remedy = "compare these pairs; move the labels, or export them again";
    Finding::about(Kind::ShiftedLabels, Severity::Warning, places, what, remedy)
}

fn is_far((x, y): (i32, i32)) -> bool {
    x.abs().max(y.abs()) >= MIN_SHIFT
}

/// Such as "they fit if moved 5 pixels to the right and 7 pixels up".
fn move_by((x, y): (i32, i32)) -> String {
    let along = |by: i32, positive: &str, negative: &str| {
        (by != 0).then(|| {
            format!("{} {}", counted(by.unsigned_abs() as usize, "pixel"), if by > 0 { positive } else { negative })
        })
    };
    let parts = [along(x, "to the right", "to the left"), along(y, "down", "up")];
    format!("they fit if moved {}", parts.into_iter().flatten().collect::<Vec<_>>().join(" and "))
}
