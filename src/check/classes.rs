//! Findings about classes that are missing from one or both sides of the split.

use super::finding::{Finding, Kind, Severity};
use super::report::{Data, Side};
use crate::base::words::counted;

pub(super) fn findings(data: &Data) -> Vec<Finding> {
    let Some(dataset) = data.dataset.as_ref().filter(|_| data.labels().next().is_some()) else { return Vec::new() };
    let pixels =
        |side| -> Vec<u64> { (0..dataset.class_count() as u16).map(|class| data.count(class, side).pixels).collect() };
    let (learnt, scored) = (pixels(Side::Training), pixels(Side::Validation));
    let mut found = Vec::new();
    for (pixels, side, wanted) in [(&learnt, "training", true), (&scored, "validation", data.has_validation())] {
        if wanted && pixels.iter().all(|pixels| *pixels == 0) {
            let message = format!("no pixel of the {side} set has a label");
            let remedy = "check the label images, and the values that the data set ignores";
            found.push(Finding::new(Kind::NoLabels, Severity::Error, message, Vec::new()).remedy(remedy));
        }
    }
    if !found.is_empty() {
        return found;
    }
    let mut add = |severity, wanted: &dyn Fn(u64, u64) -> bool, what: &str, remedy: &str| {
        let pixels = learnt.iter().zip(&scored).zip(&dataset.classes);
        let names: Vec<&str> =
            pixels.filter(|((a, b), _)| wanted(**a, **b)).map(|(_, class)| class.name.as_str()).collect();
        if !names.is_empty() {
            let message =
                format!("{} {what}: {}", counted(names.len(), "class").replace("classs", "classes"), names.join(", "));
            found.push(Finding::new(Kind::MissingClass, severity, message, Vec::new()).remedy(remedy));
        }
    };
    let split = "choose the split so that both sides show every class, for example with another `seed`";
    add(Severity::Note, &|a, b| a + b == 0, "in no label image", "");
    add(Severity::Warning, &|a, b| a == 0 && b > 0, "only in the validation labels (not learnt, scores 0)", split);
    if data.has_validation() {
        add(Severity::Warning, &|a, b| a > 0 && b == 0, "only in the training labels (not scored)", split);
    }
    found
}
