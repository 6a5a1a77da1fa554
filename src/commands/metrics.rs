//! `segtool metrics`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use segtool::data::{Descriptor, pair_lists};
use segtool::metric::{AbsentClass, Scores};
use segtool::run::Run;
use segtool::score::{Tally, score_files};
use serde_json::json;

use crate::Exit;
use crate::cli::Metrics;
use crate::ui::{self, Progress};

pub(crate) fn run(arguments: Metrics) -> Result<Exit> {
    let (descriptor, absent) = match &arguments.dataset {
        Some(name) if Path::new(name).is_dir() => (Run::open(Path::new(name))?.config.dataset, AbsentClass::LeftOut),
        Some(name) => (Descriptor::find(name)?, AbsentClass::LeftOut),
        None => (Descriptor::numbered(arguments.num_class.context("--num-class is missing")?)?, AbsentClass::Zero),
    };
    let descriptor = if arguments.merge_classes { descriptor.merged() } else { descriptor };
    let pairs = pair_lists(&arguments.list_predict, &arguments.list_true)?;
    let tally = score_files(&pairs, &descriptor, &Progress::new());
    if tally.images == 0 {
        bail!("none of the {} pairs could be scored", pairs.len());
    }
    let scores = Scores::new(&tally.matrix, absent);
    ui::result(&if arguments.json { json(&tally, &scores, &descriptor)? } else { table(&tally, &scores, &descriptor) });
    Ok(if tally.skipped > 0 { Exit::SomeSkipped } else { Exit::Done })
}

pub(crate) fn table(tally: &Tally, scores: &Scores, descriptor: &Descriptor) -> String {
    let wide = descriptor.classes.iter().map(|c| c.name.chars().count()).max().unwrap_or(0).max(5);
    let number = |value: Option<f64>| value.map_or_else(|| "     -".into(), |v| format!("{v:.4}"));
    let mut lines = vec![format!("{:wide$}     IoU    Dice  accuracy  precision        pixels", "class")];
    for (class, s) in descriptor.classes.iter().zip(&scores.classes) {
        lines.push(format!(
            "{:wide$}  {}  {}    {}     {}  {:>12}",
            class.name,
            number(s.iou),
            number(s.dice),
            number(s.accuracy),
            number(s.precision),
            s.pixels
        ));
    }
    lines.push(format!("{} images, {} skipped, {} labelled pixels", tally.images, tally.skipped, scores.pixels));
    lines.push(format!("Mean Accuracy is {:.6}", scores.pixel_accuracy));
    lines.push(format!("Mean IOU is {:.6}", scores.mean_iou));
    lines.join("\n")
}

fn json(tally: &Tally, scores: &Scores, descriptor: &Descriptor) -> Result<String> {
    let mut document = serde_json::to_value(scores)?;
    document["images"] = json!(tally.images);
    document["skipped"] = json!(tally.skipped);
    if let Some(classes) = document["classes"].as_array_mut() {
        for (index, (entry, class)) in classes.iter_mut().zip(&descriptor.classes).enumerate() {
            entry["index"] = json!(index);
            entry["label"] = json!(class.values[0]);
            entry["name"] = json!(class.name);
        }
    }
    Ok(serde_json::to_string_pretty(&document)?)
}
