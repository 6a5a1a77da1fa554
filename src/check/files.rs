//! Findings about single files: those that training would fail on, and orientation tags.

use super::finding::{Finding, Kind, Place, Severity};
use super::report::Data;
use crate::base::words::counted;

pub(super) fn findings(data: &Data) -> Vec<Finding> {
    let mut found = Vec::new();
    let of_kind = |kind: Kind| -> Vec<Place> {
        let faults = data.summaries.iter().flat_map(|summary| &summary.faults);
        faults.filter(|fault| fault.kind == kind).map(|fault| fault.place.clone()).collect()
    };
    let mut add = |kind, what: &str, remedy: &str| {
        let places = of_kind(kind);
        if !places.is_empty() {
            let message = format!("{} {what}", counted(places.len(), "file"));
            found.push(Finding::new(kind, Severity::Error, message, places).remedy(remedy));
        }
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
    found.extend(orientation(data));
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
    if places.is_empty() {
        return None;
    }
    let message = format!("{} whose size differs from the image's", counted(places.len(), "label file"));
    Some(Finding::new(Kind::SizeMismatch, Severity::Error, message, places).remedy(remedy))
}

fn orientation(data: &Data) -> Vec<Finding> {
    let turned: Vec<usize> = data.images().filter(|(_, image)| image.turned).map(|(i, _)| i).collect();
    let mut found = Vec::new();
    let places: Vec<Place> = turned.iter().map(|i| Place::new(data.image_path(*i), "")).collect();
    if !places.is_empty() {
        let message = format!("{} with an orientation tag, rotated upright when read", counted(places.len(), "image"));
        found.push(
            Finding::new(Kind::Orientation, Severity::Note, message, places)
                .remedy("if the labels were drawn on the stored pixels, use `orientation` ignore"),
        );
    }
    let only_labels = data.labels().filter(|(i, labels)| labels.turned && !turned.contains(i));
    let places: Vec<Place> = only_labels.map(|(i, _)| Place::new(data.pairs[i].label.name(), "")).collect();
    if !places.is_empty() {
        let message =
            format!("{} with an orientation tag that the image does not have", counted(places.len(), "label file"));
        found.push(
            Finding::new(Kind::Orientation, Severity::Warning, message, places)
                .remedy("compare a few pairs; remove the tags if the labels do not fit"),
        );
    }
    found
}
