//! Predicts the images of a folder with a trained run: label maps as .npy files and class colours as PNGs.
//!
//!     cargo run --release --example predict_folder -- runs/seeps photos predictions

#![allow(clippy::print_stdout, clippy::print_stderr)] // a program, not the library

use std::path::{Path, PathBuf};

use segtool::data::find_images_or_ids;
use segtool::predict::{Options, Outputs, Target};
use segtool::{Event, Predictor, Result};

/// Predicts every image of `folder`; returns the .npy files.
pub fn predict_folder(run: &Path, folder: &Path, output: &Path) -> Result<Vec<PathBuf>> {
    let progress = |event: Event| match event {
        Event::Skipped { path, reason } => eprintln!("skipped {}: {reason}", path.display()),
        Event::Note(note) => eprintln!("note: {note}"),
        _ => {}
    };
    let model = Predictor::open(run)?;
    let images = find_images_or_ids(folder, &progress)?;
    let outputs = Outputs { color: true, ..Outputs::default() };
    let summary = model.predict_files(&images, &Target::new(output), &outputs, &Options::default(), &progress)?;
    Ok(summary.written)
}

#[allow(dead_code)] // a test calls the function above
fn main() -> Result<()> {
    let [run, folder, output] =
        std::env::args().skip(1).map(PathBuf::from).collect::<Vec<_>>().try_into().unwrap_or_else(|_| {
            eprintln!("usage: predict_folder RUN IMAGES OUTPUT");
            std::process::exit(2)
        });
    let written = predict_folder(&run, &folder, &output)?;
    println!("{} predictions in {}", written.len(), output.display());
    Ok(())
}
