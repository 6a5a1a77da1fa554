//! Trains a recipe on a folder of images and a folder of label images, and prints the progress.
//!
//!     cargo run --release --example train -- unet-seeps camvid train trainannot runs/camvid

#![allow(clippy::print_stdout, clippy::print_stderr)] // a program, not the library

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use segtool::train::Outcome;
use segtool::{Dataset, Device, Event, Job, Recipe, Result, Session, Source, Validation};

/// Trains into the folder `run`, with a tenth of the images for validation.
pub fn train(recipe: &str, dataset: &str, images: PathBuf, labels: PathBuf, run: &Path) -> Result<Outcome> {
    let job = Job {
        dataset: Some(Dataset::find(dataset)?),
        validation: Validation::Fraction(0.1),
        ..Job::new(Recipe::find(recipe)?, Source::Folders { images, labels })
    };
    let progress = |event: Event| match event {
        Event::Epoch(epoch) => {
            let mean_iou = epoch.validation.map_or(f64::NAN, |validation| validation.mean_iou);
            println!("epoch {}: loss {:.4}, validation mean IoU {mean_iou:.4}", epoch.epoch, epoch.train_loss);
        }
        Event::Note(note) => println!("note: {note}"),
        _ => {}
    };
    // Set it from another thread to stop after the current step; `segtool::train::resume_for` goes on from there.
    let stop = AtomicBool::new(false);
    segtool::train(job, run, &Session::new(Device::Auto, &stop, &progress))
}

#[allow(dead_code)] // a test calls the function above
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [recipe, dataset, images, labels, run] = &arguments[..] else {
        eprintln!("usage: train RECIPE DATASET IMAGES LABELS RUN");
        std::process::exit(2)
    };
    train(recipe, dataset, images.into(), labels.into(), run.as_ref())?;
    println!("trained: {run}");
    Ok(())
}
