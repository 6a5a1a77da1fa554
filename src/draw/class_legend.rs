//! What legends say: the classes of an image by area, and what the colours of the errors mean.

use super::legend::{LegendRow, LegendTable};
use super::panels::Judgement;
use super::shown::{Classes, Shown};
use crate::base::label_map::IGNORE;
use crate::base::words::per_cent;

/// With more classes than this many, the rest that is hardly seen is put together.
const MANY: usize = 24;
/// Share of the labelled pixels below which a class is hardly seen.
const HARDLY: f64 = 0.001;

/// Pixels of a class.
#[derive(Debug, Clone, Copy, Default)]
struct Area {
    predicted: u64,
    labelled: u64,
}

impl Area {
    fn larger(self) -> u64 {
        self.predicted.max(self.labelled)
    }
}

/// The classes that occur, the largest predicted first, with their per cent of the labelled pixels by the prediction and by
/// the label, where there are both. Without a label, all predicted pixels count.
pub(super) fn class_table(shown: &Shown, classes: &Classes) -> LegendTable {
    let (areas, pixels) = areas(shown, classes.names.len());
    let mut present: Vec<usize> = (0..areas.len()).filter(|&class| areas[class].larger() > 0).collect();
    present.sort_by_key(|&class| std::cmp::Reverse((areas[class].predicted, areas[class].labelled)));
    let hardly_seen = |&class: &usize| (areas[class].larger() as f64) < HARDLY * pixels as f64;
    let tail: Vec<usize> = present.iter().skip(MANY).copied().filter(hardly_seen).collect();
    if tail.len() > 1 {
        present.retain(|class| !tail.contains(class));
    }
    let values = |area: Area| {
        let predicted = shown.prediction.as_ref().map(|_| per_cent(area.predicted, pixels));
        let labelled = shown.label.as_ref().map(|_| per_cent(area.labelled, pixels));
        predicted.into_iter().chain(labelled).collect()
    };
    let row = |&class: &usize| LegendRow {
        color: classes.colors.get(class).copied(),
        name: classes.names[class].clone(),
        values: values(areas[class]),
    };
    let mut rows: Vec<LegendRow> = present.iter().map(row).collect();
    if tail.len() > 1 {
        let sum = |of: fn(&Area) -> u64| tail.iter().map(|&class| of(&areas[class])).sum();
        let rest = Area { predicted: sum(|a| a.predicted), labelled: sum(|a| a.labelled) };
        rows.push(LegendRow { color: None, name: format!("{} others", tail.len()), values: values(rest) });
    }
    let columns = [("prediction", shown.prediction.is_some()), ("label", shown.label.is_some())];
    LegendTable {
        columns: columns.iter().filter(|(_, there)| *there).map(|(name, _)| (*name).to_owned()).collect(),
        rows,
    }
}

/// Pixels of each class, and all that count.
fn areas(shown: &Shown, classes: usize) -> (Vec<Area>, u64) {
    let mut areas = vec![Area::default(); classes];
    let mut pixels = 0;
    let (label, prediction) = (shown.label.as_deref(), shown.prediction.as_deref());
    let counted = label.or(prediction).unwrap_or_default();
    for i in (0..counted.len()).filter(|&i| counted[i] != IGNORE) {
        pixels += 1;
        if let Some(area) = prediction.and_then(|prediction| areas.get_mut(usize::from(prediction[i]))) {
            area.predicted += 1;
        }
        if let Some(area) = label.and_then(|label| areas.get_mut(usize::from(label[i]))) {
            area.labelled += 1;
        }
    }
    (areas, pixels)
}

/// What the colours of the errors mean, with per cents of the labelled pixels and, for those without a label, of all.
pub(super) fn judgement_table(label: &[u16], predicted: &[u16]) -> LegendTable {
    let labelled = label.iter().filter(|&&label| label != IGNORE).count() as u64;
    let right = label.iter().zip(predicted).filter(|(l, p)| **l != IGNORE && l == p).count() as u64;
    let row =
        |judgement: Judgement, name: String| LegendRow { color: Some(judgement.color()), name, values: Vec::new() };
    let mut rows = vec![
        row(Judgement::Right, format!("right {}", per_cent(right, labelled))),
        row(Judgement::Wrong, format!("wrong {}", per_cent(labelled - right, labelled))),
    ];
    if labelled < label.len() as u64 {
        rows.push(row(Judgement::NotLabelled, "not labelled".to_owned()));
    }
    LegendTable { columns: Vec::new(), rows }
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;

    fn shown(label: Option<Vec<u16>>, prediction: Vec<u16>) -> Shown {
        let image = RgbImage::new(prediction.len() as u32, 1);
        Shown { image, label, prediction: Some(prediction), probability: None, mean_iou: None }
    }

    fn classes(count: usize) -> Classes {
        Classes {
            names: (0..count).map(|i| format!("class {i}")).collect(),
            colors: vec![[9; 3]; count],
            nodata: Vec::new(),
            bands: 3,
        }
    }

    fn lines(table: &LegendTable) -> Vec<String> {
        table.rows.iter().map(|row| format!("{}: {}", row.name, row.values.join(" "))).collect()
    }

    #[test]
    fn classes_are_sorted_by_their_part_of_the_labelled_pixels() {
        let table = class_table(&shown(Some(vec![1, 1, 0, 3, IGNORE]), vec![0, 1, 1, 1, 2]), &classes(4));
        assert_eq!(table.columns, ["prediction", "label"]);
        assert_eq!(lines(&table), ["class 1: 75.0 % 50.0 %", "class 0: 25.0 % 25.0 %", "class 3: 0 % 25.0 %"]);
    }

    #[test]
    fn without_a_label_all_predicted_pixels_count() {
        let table = class_table(&shown(None, vec![2, 2, 0, IGNORE]), &classes(3));
        assert_eq!(lines(&table), ["class 2: 66.7 %", "class 0: 33.3 %"]);
    }

    #[test]
    fn without_a_prediction_all_labelled_pixels_count() {
        let shown = Shown { prediction: None, ..shown(Some(vec![2, 2, 0, IGNORE]), vec![0; 4]) };
        let table = class_table(&shown, &classes(3));
        assert_eq!(table.columns, ["label"]);
        assert_eq!(lines(&table), ["class 2: 66.7 %", "class 0: 33.3 %"]);
    }

    #[test]
    fn many_classes_that_are_hardly_seen_share_a_line() {
        let mut prediction: Vec<u16> = (0..40).collect();
        prediction.extend((0..30).flat_map(|class| vec![class; 10_000]));
        let rows = lines(&class_table(&shown(None, prediction), &classes(40)));
        assert_eq!(rows.len(), 31);
        assert_eq!(rows[30], "10 others: <0.1 %");
    }

    #[test]
    fn errors_are_counted_over_labelled_pixels() {
        let table = judgement_table(&[1, 1, 0, IGNORE], &[1, IGNORE, 1, 1]);
        assert_eq!(lines(&table), ["right 33.3 %: ", "wrong 66.7 %: ", "not labelled: "]);
    }
}
