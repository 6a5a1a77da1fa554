//! Suggested training settings, derived from the contents of a data set.

use super::report::{Data, ImageStatistics, Side};
use crate::data::Proposal;
use crate::image::SampleType;
use crate::nn::loss::ClassWeights;

/// Share of the labelled pixels below which a class is rare.
const RARE: f64 = 0.01;
/// Share of zero pixels at or above which images count as padded with 0 outside the measured area.
const FILLED: f64 = 0.01;
/// Largest crop, the multiple that crop sides are rounded down to, and pixels per batch that suit a GPU with 16 GiB.
const MAX_CROP: usize = 512;
const MULTIPLE: usize = 32;
const BATCH_PIXELS: usize = 1 << 20;
/// Largest batch that is advised.
const MAX_BATCH: usize = 32;

/// Pairs of a setting and the suggestion for it.
pub(super) fn advice(data: &Data, proposal: Option<&Proposal>) -> Vec<(&'static str, String)> {
    let statistics = ImageStatistics::of(data);
    let found = [
        ("ignore", proposal.and_then(ignore)),
        ("class_weights", class_weights(data)),
        ("normalisation", normalisation(data, &statistics)),
        ("crop", crop(data)),
        ("batch_size", batch_size(data)),
    ];
    found.into_iter().filter_map(|(what, text)| Some((what, text?))).collect()
}

/// Label values that mean "not labelled".
fn ignore(proposal: &Proposal) -> Option<String> {
    let values: Vec<String> = proposal.dataset.ignore.iter().map(ToString::to_string).collect();
    let colors = proposal.dataset.ignore_colors.iter().map(|color| format!("{color:?}"));
    let all: Vec<String> = values.into_iter().chain(colors).collect();
    (!all.is_empty()).then(|| format!("{} in the data set file", all.join(", ")))
}

/// Median-frequency class weights, if any class is rare.
fn class_weights(data: &Data) -> Option<String> {
    let dataset = data.dataset.as_ref()?;
    let classes = dataset.class_count();
    let (mut own, mut present) = (vec![0u64; classes], vec![0u64; classes]);
    for (_, labels) in data.labels().filter(|(i, _)| data.side(*i) == Side::Training) {
        let labelled = labels.labelled();
        for (class, pixels) in &labels.class_pixels {
            own[usize::from(*class)] += pixels;
            present[usize::from(*class)] += labelled;
        }
    }
    let all: u64 = own.iter().sum();
    let rare = own.iter().any(|pixels| *pixels > 0 && (*pixels as f64) < RARE * all as f64);
    let weights = ClassWeights::Auto.resolve(&own, &present).ok()??;
    let listed: Vec<String> = weights.iter().map(|weight| format!("{weight:.3}")).collect();
    rare.then(|| format!("`class_weights` auto, which is {}; or `foreground` 0.5", listed.join(",")))
}

/// Mean and standard deviation, as a data set file has them.
fn normalisation(data: &Data, statistics: &ImageStatistics) -> Option<String> {
    let (usual, _) = statistics.sample_types.iter().max_by_key(|(_, count)| **count)?;
    let image = data.images().map(|(_, image)| image).find(|image| image.sample_type.to_string() == *usual)?;
    let scale = f64::from(image.sample_type.full_scale());
    let listed = |values: &[f64]| values.iter().map(|v| format!("{:.4}", v / scale)).collect::<Vec<_>>().join(", ");
    let (zeros, pixels): (u64, u64) =
        data.images().fold((0, 0), |(zeros, pixels), (_, image)| (zeros + image.zeros, pixels + image.pixels()));
    let filled = image.sample_type != SampleType::Uint8 && zeros as f64 >= FILLED * pixels as f64;
    if filled {
        // Mean and deviation would include the padding.
        return Some("{ kind = \"per-dataset\", valid = \"nonzero\" }: pixels that are 0 hold no data".into());
    }
    // A constant band has a deviation of 0, which cannot be divided by.
    if statistics.std.contains(&0.0) {
        return None;
    }
    Some(format!(
        "{{ kind = \"fixed\", mean = [{}], std = [{}] }}, or that of the pretrained weights",
        listed(&statistics.mean),
        listed(&statistics.std)
    ))
}

/// The side of the network's inputs, and whether images must be cropped to it: not if all have the same small size.
/// `None` without images.
fn side(data: &Data) -> Option<(usize, bool)> {
    let sides = || data.images().map(|(_, image)| (image.size.width, image.size.height));
    let (first, smallest) = (sides().next()?, sides().map(|(w, h)| w.min(h)).min()?);
    let is_same = sides().all(|size| size == first);
    if is_same && first.0.max(first.1) <= MAX_CROP {
        return Some((first.0.max(first.1), false));
    }
    let side = smallest.min(MAX_CROP);
    Some((if side > MULTIPLE { side / MULTIPLE * MULTIPLE } else { side }, true))
}

fn crop(data: &Data) -> Option<String> {
    let (side, needed) = side(data)?;
    needed.then(|| format!("`augment` crop={side}"))
}

fn batch_size(data: &Data) -> Option<String> {
    let (side, _) = side(data)?;
    let training = data.training.max(1);
    let most = (BATCH_PIXELS / (side * side).max(1)).clamp(1, MAX_BATCH).min(training);
    let power = 1usize << (usize::BITS - 1 - most.leading_zeros());
    Some(format!("`batch_size` {power} to start with; reduce it if memory runs out"))
}
