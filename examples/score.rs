//! Scores a folder of predictions against a folder of label images.
//!
//!     cargo run --release --example score -- predictions labels ade20k

#![allow(clippy::print_stdout, clippy::print_stderr)] // a program, not the library

use std::path::Path;

use segtool::data::pair_predictions;
use segtool::metric::AbsentClass;
use segtool::tools::score::{OnFault, Settings, score_files};
use segtool::{Dataset, Result, Scores};

/// Pixel accuracy, mean IoU and the scores of every class.
pub fn score(predictions: &Path, labels: &Path, dataset: &str) -> Result<Scores> {
    let pairs = pair_predictions(predictions, labels, &|_| ())?;
    let dataset = Dataset::find(dataset)?;
    let settings = Settings { on_fault: OnFault::Stop, ..Settings::new(dataset) };
    let tally = score_files(&pairs, &settings, None, &|_| ())?;
    Ok(Scores::new(&tally.matrix, AbsentClass::LeftOut))
}

#[allow(dead_code)] // a test calls the function above
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [predictions, labels, dataset] = &arguments[..] else {
        eprintln!("usage: score PREDICTIONS LABELS DATASET");
        std::process::exit(2)
    };
    let scores = score(predictions.as_ref(), labels.as_ref(), dataset)?;
    println!("pixel accuracy {:.4}, mean IoU {:.4}", scores.pixel_accuracy, scores.mean_iou);
    Ok(())
}
