//! Whole predictions equal those of other projects' own code, and images are resized as their libraries do it.

#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::TensorData;
use safetensors::tensor::{Dtype, SafeTensors};
use segtool::base::Size;
use segtool::data::{Dataset, Normalisation, ValidPixels};
use segtool::image::{Image, Samples, Scaling};
use segtool::nn::activation::Rule;
use segtool::nn::model::replace;
use segtool::nn::ops::{Interpolation, Resampling};
use segtool::predict::merge::Wanted;
use segtool::predict::{Options, Predictor, Procedure, Sizes, Tiles};
use serde::Deserialize;

use crate::common::references::{Case, cases};
use crate::common::{devices, fixture_path, floats};

/// Two classes that are as close as this may change places.
const TIE: f32 = 1e-4;

#[derive(Debug, Deserialize)]
struct Golden {
    network: String,
    image: String,
    procedure: String,
    mean: Vec<f64>,
    std: Vec<f64>,
    head: String,
    slow: bool,
    #[serde(default)]
    sizes: Vec<f64>,
    #[serde(default)]
    limit: f64,
    #[serde(default)]
    base: f64,
    #[serde(default)]
    scales: Vec<f64>,
    #[serde(default)]
    crop: Option<usize>,
    #[serde(default)]
    stride: usize,
    #[serde(default)]
    scale: Option<[f64; 2]>,
    #[serde(default)]
    factors: Vec<f64>,
    #[serde(default)]
    flip: bool,
    #[serde(default)]
    size: usize,
    #[serde(default)]
    enlarge: String,
}

impl Golden {
    fn procedure(&self) -> Procedure {
        match self.procedure.as_str() {
            "csail" => Procedure::csail(&self.sizes, self.limit),
            "semseg" => Procedure::semseg(&self.scales, self.base, self.crop.unwrap()),
            "mmseg" => {
                let sizes = match self.scale {
                    Some([long, short]) => Sizes::Within { long, short },
                    None => Sizes::WithinFactors(self.factors.clone()),
                };
                let tiles = self.crop.map(|side| Tiles::apart(side, self.stride));
                Procedure { tiles, flip: self.flip, ..Procedure::mmseg(sizes) }
            }
            "capstone" => {
                let interpolation =
                    if self.enlarge == "bicubic" { Interpolation::Bicubic } else { Interpolation::Bilinear };
                Procedure {
                    sizes: Sizes::Fixed(Size { width: self.size, height: self.size }),
                    flip: self.flip,
                    upsample: Resampling { interpolation, align_corners: false },
                    ..Procedure::default()
                }
            }
            other => panic!("{other}"),
        }
    }

    fn predictor(&self, name: &str, tensors: &HashMap<String, TensorData>, case: &Case) -> Vec<Predictor> {
        let classes = case.config.bands_and_outputs().1.unwrap();
        let normalisation =
            Normalisation::Fixed { mean: self.mean.clone(), std: self.std.clone(), valid: ValidPixels::All };
        let dataset = Dataset::unnamed(classes, None, (3, normalisation)).unwrap();
        let head = |leaf: &str| {
            (case.ours(&format!("{}.{leaf}", self.head)).unwrap(), &tensors[&format!("{name}.head.{leaf}")])
        };
        let heads = [head("weight"), head("bias")];
        let predictor = |(choice, device)| {
            let find = |name: &str| heads.iter().find(|(head, _)| head == name).map(|(_, data)| (*data).clone());
            let mut replaced = 0;
            let network = replace(case.network(&device), |name| find(name).inspect(|_| replaced += 1));
            assert_eq!(replaced, 2, "{}", self.head);
            Predictor::from_network(case.config.clone(), network, dataset.clone(), Rule::MostProbable, choice).unwrap()
        };
        devices().into_iter().map(predictor).collect()
    }
}

/// Bytes of an unsigned 8-bit tensor, with its shape.
fn bytes(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<u8>) {
    let view = file.tensor(name).unwrap();
    (view.shape().to_vec(), view.data().to_vec())
}

fn words(data: &[u8]) -> Vec<f32> {
    data.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

/// The largest difference.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert!(a.len() == b.len() && a.iter().chain(b).all(|value| value.is_finite()));
    a.iter().zip(b).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
}

fn compare(slow: bool) {
    let content = std::fs::read(fixture_path("procedures.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&content).unwrap();
    let (_, header) = SafeTensors::read_metadata(&content).unwrap();
    let tensors: HashMap<String, TensorData> = file
        .iter()
        .filter(|(_, view)| view.dtype() == Dtype::F32)
        .map(|(name, view)| (name.to_owned(), TensorData::new(words(view.data()), view.shape().to_vec())))
        .collect();
    let networks = cases();
    let mut compared = 0;
    for (name, text) in header.metadata().as_ref().unwrap().iter().filter(|(key, _)| *key != "format") {
        let golden: Golden = serde_json::from_str(text).unwrap();
        if golden.slow != slow {
            continue;
        }
        let (shape, samples) = bytes(&file, &format!("image.{}", golden.image));
        let size = Size { width: shape[1], height: shape[0] };
        let (_, labels) = bytes(&file, &format!("{name}.labels"));
        let (best, all) =
            (floats(&tensors[&format!("{name}.best")]), floats(&tensors[&format!("{name}.probabilities")]));
        for predictor in golden.predictor(name, &tensors, &networks[&golden.network]) {
            let wanted = Wanted { highest: true, all: true };
            let options = Options { procedure: golden.procedure(), wanted, workers: 1, ..Options::default() };
            let image = Image::new(size, 3, Samples::U8(samples.clone()));
            let found = predictor.predict_with(Path::new(name), image.clone(), &options).unwrap();
            let found_all = found.probabilities.clone().unwrap();
            let (worst, worst_best) =
                (difference(&found_all, &all), difference(found.probability.as_ref().unwrap(), &best));
            let area = size.width * size.height;
            let margin = |i: usize| {
                let mut here: Vec<f32> = all.iter().skip(i).step_by(area).copied().collect();
                here.sort_by(|a, b| b.total_cmp(a));
                here[0] - here[1]
            };
            let other: Vec<usize> = (0..area).filter(|&i| found.labels.classes[i] != u16::from(labels[i])).collect();
            println!("{name}: probabilities within {worst:.1e}, {} of {area} labels differ", other.len());
            // Cubic enlargement may overshoot; what is written is cut off at 0 and 1.
            let limit = TIE + all.iter().fold(0.0f32, |most, p| most.max(-p).max(p - 1.0));
            assert!(worst < limit && worst_best < limit, "{name}: {worst:e} {worst_best:e}");
            assert!(other.iter().all(|&i| margin(i) < TIE), "{name}: {other:?}");
            // Without probabilities, another way leads to the same classes.
            let plain = Options { wanted: Wanted::default(), ..options };
            let again = predictor.predict_with(Path::new(name), image, &plain).unwrap();
            let changed = |i: &usize| again.labels.classes[*i] != found.labels.classes[*i];
            assert!((0..area).filter(changed).all(|i| margin(i) < TIE), "{name}");
            compared += 1;
        }
    }
    assert!(compared > 0);
}

#[test]
fn predictions_equal_the_projects() {
    compare(false);
}

#[test]
fn predictions_at_full_size_equal_the_projects() {
    compare(true);
}

#[test]
fn images_are_resized_like_pillow_and_opencv() {
    let content = std::fs::read(fixture_path("resize.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&content).unwrap();
    let mut compared = 0;
    for (name, view) in file.iter() {
        let (library, case) = name.split_once('.').unwrap();
        let how = match library {
            "pillow" => Scaling::Pillow,
            "opencv" => Scaling::OpenCv,
            _ => continue,
        };
        let input = file.tensor(&format!("input.{case}")).unwrap();
        let sides = |shape: &[usize]| Size { width: shape[1], height: shape[0] };
        let bands = input.shape().get(2).copied().unwrap_or(1);
        let is_float = case.starts_with("float");
        let samples = if is_float { Samples::F32(words(input.data())) } else { Samples::U8(input.data().to_vec()) };
        let raster = Image::new(sides(input.shape()), bands, samples);
        let resized = raster.resized(sides(view.shape()), how);
        match resized.samples {
            Samples::U8(found) => assert_eq!(found, view.data(), "{name}"),
            Samples::F32(found) => {
                let expected = words(view.data());
                let largest = expected.iter().fold(0.0f32, |most, v| most.max(v.abs()));
                let worst = difference(&found, &expected);
                assert!(worst <= 1e-6 * largest, "{name}: {worst:e}");
            }
            Samples::U16(_) => unreachable!("no such input"),
        }
        compared += 1;
    }
    assert!(compared > 60, "{compared}");
}
