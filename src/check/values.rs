//! Findings about pixel values: images that differ from most others.

use std::collections::BTreeMap;

use super::finding::{Finding, Kind, Place, Severity};
use super::report::{Data, short};
use super::summary::ImageSummary;
use crate::base::words::{counted, per_cent};
use crate::image::SampleType;

/// Ratio of extreme percentiles above which two images are on different scales: day and night differ by less.
const RATIO: f64 = 50.0;
/// Value up to which the range of an 8-bit image counts as small, such as that of a mask of 0 and 1.
const SMALL_BYTES: f64 = 3.0;
/// Share of pixels without data at or above which an image counts as almost empty.
const EMPTY_SHARE: f64 = 0.99;
/// Minimum number of images for outliers to be told from the majority.
const MIN_IMAGES: usize = 3;

pub(super) fn findings(data: &Data) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(mixed(data, Kind::SampleType, |image| image.sample_type.to_string()));
    if !data.summaries.iter().any(|summary| summary.faults.iter().any(|fault| fault.kind == Kind::Bands)) {
        found.extend(mixed(data, Kind::Bands, |image| counted(image.bands, "band")));
    }
    found.extend(ranges(data));
    found.extend(constant(data));
    found.extend(nodata(data).into_iter().flatten());
    found
}

/// Images that differ from the majority in some property.
fn mixed(data: &Data, kind: Kind, what: impl Fn(&ImageSummary) -> String) -> Option<Finding> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    data.images().for_each(|(_, image)| *counts.entry(what(image)).or_insert(0) += 1);
    if counts.len() < 2 {
        return None;
    }
    let (usual, _) = counts.iter().max_by_key(|(_, count)| **count)?;
    let others = data.images().filter(|(_, image)| what(image) != *usual);
    let places: Vec<Place> = others.map(|(i, image)| Place::new(data.image_path(i), what(image))).collect();
    let listed: Vec<String> =
        counts.iter().map(|(what, count)| format!("{what} ({})", counted(*count, "image"))).collect();
    let message = format!("the images differ: {}", listed.join(", "));
    let remedy = "convert the images to one kind, or make sure that their values are comparable";
    Some(Finding::new(kind, Severity::Warning, message, places).remedy(remedy))
}

/// Images whose values are on a different scale from those of most images of their type.
fn ranges(data: &Data) -> Option<Finding> {
    let mut types: BTreeMap<SampleType, Vec<(usize, [f64; 3])>> = BTreeMap::new();
    for (i, image) in data.images().filter(|(_, image)| !image.is_constant()) {
        // The band with the largest values represents the image.
        let bands = image.statistics.iter().filter(|band| band.count > 0).map(|band| band.percentiles);
        let largest = bands.max_by(|a, b| a[2].abs().max(a[0].abs()).total_cmp(&b[2].abs().max(b[0].abs())));
        largest.into_iter().for_each(|band| types.entry(image.sample_type).or_default().push((i, band)));
    }
    let mut places = Vec::new();
    for (sample_type, images) in types.into_iter().filter(|(_, images)| images.len() >= MIN_IMAGES) {
        let median = |of: fn(&[f64; 3]) -> f64| {
            let mut values: Vec<f64> = images.iter().map(|(_, band)| of(band)).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let usual = [median(|band| band[0]), median(|band| band[1]), median(|band| band[2])];
        let odd = images.iter().filter(|(_, band)| differs(sample_type, *band, usual));
        places.extend(odd.map(|(i, band)| {
            let [low, _, high] = band.map(short);
            let [usual_low, _, usual_high] = usual.map(short);
            Place::new(data.image_path(*i), format!("{low} to {high}, but most images {usual_low} to {usual_high}"))
        }));
    }
    let what =
        "with values on a different scale from most (1st to 99th percentile), as if mixing decibels and intensities";
    let remedy = "convert all images to one scale";
    Finding::about(Kind::ValueRange, Severity::Warning, places, ("image", what), remedy)
}

/// Whether percentiles cannot be of the same quantity: most values are negative where they usually are not, or the
/// other way round, or all are far larger or smaller than usual.
fn differs(sample_type: SampleType, own: [f64; 3], usual: [f64; 3]) -> bool {
    let signs = (own[1] < 0.0 && usual[0] >= 0.0) || (usual[1] < 0.0 && own[0] >= 0.0);
    let size = |band: [f64; 3]| band[0].abs().max(band[2].abs());
    let (mine, theirs) = (size(own), size(usual));
    let far = mine * RATIO < theirs || mine > theirs * RATIO;
    let is_small = sample_type != SampleType::Uint8 || mine.min(theirs) <= SMALL_BYTES;
    signs || (far && is_small && mine.min(theirs) > 0.0)
}

fn constant(data: &Data) -> Option<Finding> {
    let constant = data.images().filter(|(_, image)| image.is_constant());
    let places: Vec<Place> = constant
        .map(|(i, image)| {
            let values: Vec<String> = image.statistics.iter().map(|band| short(band.least)).collect();
            Place::new(data.image_path(i), format!("all {}", values.join(" ")))
        })
        .collect();
    let what = ("image", "with the same value in all pixels");
    let remedy = format!("{}, or export them again", data.how_to_leave_out());
    Finding::about(Kind::ConstantImage, Severity::Warning, places, what, remedy)
}

fn nodata(data: &Data) -> [Option<Finding>; 2] {
    let share = |image: &ImageSummary| image.nodata as f64 / image.pixels().max(1) as f64;
    let some: Vec<(usize, &ImageSummary)> = data.images().filter(|(_, image)| image.nodata > 0).collect();
    let place = |(i, image): &(usize, &ImageSummary)| {
        Place::new(data.image_path(*i), format!("{} without data", per_cent(image.nodata, image.pixels())))
    };
    let (all, none): (u64, u64) =
        data.images().fold((0, 0), |(all, none), (_, image)| (all + image.pixels(), none + image.nodata));
    let what = format!("partly without data ({} of all pixels)", per_cent(none, all));
    let partly = Finding::about(Kind::Nodata, Severity::Note, some.iter().map(place).collect(), ("image", &what), "");
    let empty = some.iter().filter(|(_, image)| share(image) >= EMPTY_SHARE).map(place).collect();
    let (what, remedy) = (("image", "with almost no data"), data.how_to_leave_out());
    [partly, Finding::about(Kind::Nodata, Severity::Warning, empty, what, remedy)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decibels_differ_from_intensities_and_shares_from_bytes() {
        let float = SampleType::Float32;
        assert!(differs(float, [-25.0, -14.0, -3.0], [0.001, 0.04, 0.6]));
        assert!(differs(float, [0.001, 0.04, 0.6], [-25.0, -14.0, -3.0]));
        assert!(differs(float, [0.0, 0.5, 1.0], [3.0, 120.0, 250.0]));
        assert!(!differs(float, [-22.0, -9.0, 1.0], [-25.0, -14.0, -3.0]));
        assert!(!differs(float, [-0.5, 0.1, 1.0], [-0.1, 0.3, 2.0]));
        // A night, and labels of 0 and 1 among photographs.
        assert!(!differs(SampleType::Uint8, [0.0, 1.0, 9.0], [5.0, 90.0, 250.0]));
        assert!(differs(SampleType::Uint8, [0.0, 0.0, 1.0], [5.0, 90.0, 250.0]));
    }
}
