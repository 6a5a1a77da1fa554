//! Findings about single files: those that training would fail on, and orientation tags.

use super::finding::{Finding, Kind, Place, Severity};
use super::report::Data;

pub(super) fn findings(data: &Data) -> Vec<Finding> {
    let mut found = Vec::new();
    let of_kind = |kind: Kind| -> Vec<Place> {
        let faults = data.summaries.iter().flat_map(|summary| &summary.faults);
        faults.filter(|fault| fault.kind == kind).map(|fault| fault.place.clone()).collect()
    };
    let mut add = |kind, what: &str, remedy: &str| {
        found.extend(Finding::about(kind, Severity::Error, of_kind(kind), ("file", what), remedy));
    };
    let replace = format!("replace them with intact copies, or {}", data.how_to_leave_out());
    add(Kind::Unreadable, "that cannot be read", &replace);
    add(
        Kind::Annotation,
        "with annotations that cannot be drawn",
        "correct them, or give a data set file with their classes, or no data set",
    );
    add(Kind::Normalisation, "whose values do not fit the data set's normalisation", "correct it in the data set file");
    add(
        Kind::Bands,
        "whose number of bands differs from the data set's",
        "convert them, or correct `bands` in the data set file",
    );
    found.extend(sizes(of_kind(Kind::SizeMismatch), data));
    found.extend(orientation(data).into_iter().flatten());
    found
}

fn sizes(places: Vec<Place>, data: &Data) -> Option<Finding> {
    let turned = data
        .images()
        .any(|(i, image)| image.turned && places.iter().any(|p| p.with.as_deref() == Some(data.image_path(i))));
    let remedy = if turned {
        "some of these images have an orientation tag that their label images do not follow: label the upright images, or use \
         `orientation` ignore"
    } else {
        "export them again at the size of their images, without interpolation"
    };
    let what = ("label file", "whose size differs from the image's");
    Finding::about(Kind::SizeMismatch, Severity::Error, places, what, remedy)
}

fn orientation(data: &Data) -> [Option<Finding>; 2] {
    let turned: Vec<usize> = data.images().filter(|(_, image)| image.turned).map(|(i, _)| i).collect();
    let places = turned.iter().map(|i| Place::new(data.image_path(*i), "")).collect();
    let what = ("image", "with an orientation tag, rotated upright when read");
    let remedy = "if the labels were drawn on the stored pixels, use `orientation` ignore";
    let images = Finding::about(Kind::Orientation, Severity::Note, places, what, remedy);
    let only_labels = data.labels().filter(|(i, labels)| labels.turned && !turned.contains(i));
    let places = only_labels.map(|(i, _)| Place::new(data.pairs[i].label.name(), "")).collect();
    let what = ("label file", "with an orientation tag that the image does not have");
    let remedy = "compare a few pairs; remove the tags if the labels do not fit";
    [images, Finding::about(Kind::Orientation, Severity::Warning, places, what, remedy)]
}
