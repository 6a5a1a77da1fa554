//! Scores of the classes, and what was taken for what.

use std::cmp::Reverse;
use std::fmt::Write;

use super::text::{data_uri, score};
use crate::base::Result;
use crate::base::markup::{escaped, hex};
use crate::base::words::{count, per_cent};
use crate::draw::{Classes, heatmap};
use crate::image::{Pixels, encode_small_png};
use crate::metric::{AbsentClass, ConfusionMatrix, Scores};

/// With more classes, the confusion matrix is an image.
const MOST_CELLS: usize = 40;
/// With more classes, it is not drawn: it would be wider than 3,000 pixels.
const MOST_DRAWN: usize = 256;
/// With more classes, cells have room for whole numbers only.
const MOST_DECIMALS: usize = 12;
/// Confusions that are listed.
const MOST_CONFUSIONS: usize = 12;

/// One row a class; the script sorts them.
pub(crate) fn class_table(matrix: &ConfusionMatrix, classes: &Classes) -> String {
    let scores = Scores::new(matrix, AbsentClass::LeftOut);
    let mut rows = String::new();
    for (index, class) in scores.classes.iter().enumerate() {
        let name = escaped(&classes.names[index]);
        let _ = write!(
            rows,
            r#"<tr><td data-value="{index}" class="number">{index}</td><td data-value="{name}">{}</td>"#,
            swatch(classes, index)
        );
        let bar = class.iou.map_or_else(String::new, |iou| format!(r#" style="--share:{iou:.4}""#));
        let _ = write!(rows, r#"<td class="number bar"{bar}{}</td>"#, cell(class.iou));
        for value in [class.accuracy, class.precision, class.dice] {
            let _ = write!(rows, r#"<td class="number"{}</td>"#, cell(value));
        }
        let pixels = class.pixels;
        let _ = writeln!(
            rows,
            r#"<td class="number" data-value="{pixels}">{}</td><td class="number" data-value="{pixels}">{}</td></tr>"#,
            count(pixels),
            escaped(&per_cent(pixels, scores.pixels))
        );
    }
    let heads: String = ["#", "class", "IoU", "accuracy", "precision", "F1", "pixels", "share"]
        .iter()
        .map(|head| format!(r#"<th scope="col"><button type="button">{head}</button></th>"#))
        .collect();
    format!(r#"<table class="sortable"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"#)
}

/// The rest of a cell's tag, and its content.
fn cell(value: Option<f64>) -> String {
    let sorted = value.filter(|v| v.is_finite()).map_or_else(String::new, |v| format!("{v}"));
    format!(r#" data-value="{sorted}">{}"#, score(value))
}

/// The matrix as a table, or as an image of many classes, or not at all of very many.
pub(crate) fn confusion(matrix: &ConfusionMatrix, classes: &Classes) -> Result<String> {
    if classes.names.len() <= MOST_CELLS {
        return Ok(confusion_table(matrix, classes));
    }
    if classes.names.len() > MOST_DRAWN {
        return Ok(String::new());
    }
    let image = heatmap(&classes.names, &shares(matrix), "");
    let image = data_uri("image/png", &encode_small_png(image.dimensions().into(), Pixels::Rgb8(image.as_raw()))?);
    Ok(format!(r#"<img class="matrix" alt="confusion matrix" src="{image}">"#))
}

/// Each row shared out over its columns; NaN, which the image leaves empty, where a class has no label.
fn shares(matrix: &ConfusionMatrix) -> Vec<f64> {
    let classes = matrix.classes();
    let row = |label: usize| {
        let whole = matrix.labelled(label);
        let share = move |prediction: usize| match whole {
            0 => f64::NAN,
            whole => matrix.at(label, prediction) as f64 / whole as f64,
        };
        (0..classes).map(share)
    };
    (0..classes).flat_map(row).collect()
}

fn confusion_table(matrix: &ConfusionMatrix, classes: &Classes) -> String {
    let names: Vec<String> = classes.names.iter().map(|name| escaped(name)).collect();
    let decimals = usize::from(names.len() <= MOST_DECIMALS);
    let heads: String = names.iter().map(|name| format!(r#"<th scope="col"><span>{name}</span></th>"#)).collect();
    let mut rows = String::new();
    for (label, name) in names.iter().enumerate() {
        let whole = matrix.labelled(label);
        let _ = write!(rows, r#"<tr><th scope="row">{name}</th>"#);
        for (prediction, predicted) in names.iter().enumerate() {
            let pixels = matrix.at(label, prediction);
            if pixels == 0 {
                rows.push_str("<td></td>");
                continue;
            }
            let share = pixels as f64 / whole as f64;
            let dark = if share > 0.5 { r#" class="dark""# } else { "" };
            let _ = write!(
                rows,
                r#"<td{dark} style="--share:{share:.4}" title="{name} → {predicted}: {} of {} pixels">"#,
                count(pixels),
                count(whole)
            );
            let _ = write!(rows, "{:.decimals$}</td>", 100.0 * share);
        }
        rows.push_str("</tr>\n");
    }
    format!(
        r#"<table class="confusion"><thead><tr><td class="corner">label ↓ prediction →</td>{heads}</tr></thead>
<tbody>{rows}</tbody></table>"#
    )
}

/// A class's colour and name.
fn swatch(classes: &Classes, class: usize) -> String {
    let (color, name) = (hex(classes.colors[class]), escaped(&classes.names[class]));
    format!(r#"<i class="swatch" style="background:{color}"></i>{name}"#)
}

/// The pairs of classes that most pixels are mistaken between.
pub(crate) fn confusions(matrix: &ConfusionMatrix, classes: &Classes) -> String {
    let range = 0..matrix.classes();
    let wrong = |label: usize| range.clone().filter(move |p| *p != label).map(move |p| (matrix.at(label, p), label, p));
    let mut all: Vec<(u64, usize, usize)> = range.clone().flat_map(wrong).filter(|(pixels, ..)| *pixels > 0).collect();
    all.sort_by_key(|&(pixels, label, prediction)| (Reverse(pixels), label, prediction));
    if all.is_empty() {
        return "<p>No pixel was predicted as a wrong class.</p>".into();
    }
    let total = matrix.total();
    let row = |&(pixels, label, prediction): &(u64, usize, usize)| {
        let names = [label, prediction].map(|class| format!("<td>{}</td>", swatch(classes, class)));
        let numbers = [count(pixels), per_cent(pixels, matrix.labelled(label)), per_cent(pixels, total)];
        let numbers = numbers.map(|number| format!(r#"<td class="number">{}</td>"#, escaped(&number)));
        format!("<tr>{}{}</tr>\n", names.concat(), numbers.concat())
    };
    let rows: String = all.iter().take(MOST_CONFUSIONS).map(row).collect();
    let head = |(name, class): (&str, &str)| format!(r#"<th scope="col" class="{class}">{name}</th>"#);
    let text = [("label", "text"), ("predicted as", "text")].map(head).concat();
    let numbers = ["pixels", "share of the label", "share of all"].map(|name| head((name, "number"))).concat();
    format!("<table><thead><tr>{text}{numbers}</tr></thead>\n<tbody>{rows}</tbody></table>")
}
