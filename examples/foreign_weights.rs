//! Predicts an image with weights that another project trained: CSAIL, torchvision, hszhao/semseg, mmsegmentation,
//! segmentation_models_pytorch, milesial. What network they are of is told from the names of the tensors.
//!
//!     cargo run --release --example foreign_weights -- photo.jpg photo.npy encoder_epoch_20.pth decoder_epoch_20.pth

#![allow(clippy::print_stdout, clippy::print_stderr)] // a program, not the library

use std::path::{Path, PathBuf};

use segtool::nn::precision::Precision;
use segtool::weights::Weights;
use segtool::{Device, Image, Prediction, Predictor, Result};

/// Predicts an image with the weights in `files`, which belong together.
pub fn predict(files: &[PathBuf], image: &Path) -> Result<Prediction> {
    let weights = Weights::open(files, None)?;
    println!("{}", weights.summary());
    let (model, report) = Predictor::from_weights(&weights, None, Device::Auto, Precision::Float32)?;
    println!("{report}");
    model.predict(&Image::read(image)?)
}

#[allow(dead_code)] // a test calls the function above
fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    let [image, output, files @ ..] = &arguments[..] else {
        eprintln!("usage: foreign_weights IMAGE OUTPUT.npy WEIGHTS...");
        std::process::exit(2)
    };
    predict(files, image)?.write_npy(output)
}
