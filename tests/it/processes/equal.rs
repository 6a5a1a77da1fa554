//! What several processes train equals what one trains with the same batches.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use segtool::base::Size;
use segtool::base::event::{Event, Sink};
use segtool::data::synthetic::write_set;
use segtool::data::{Augmentation, Dataset};
use segtool::nn::device::DeviceChoice;
use segtool::nn::group::Group;
use segtool::nn::loss::parse_terms;
use segtool::nn::model::{
    DecoderConfig, DeepSupervisionConfig, EncoderDecoderConfig, NetworkConfig, PyramidConfig, ResNetConfig, Variant,
};
use segtool::recipe::{NetworkRecipe, OptimizerConfig, Phase, Recipe};
use segtool::train::{Job, Outcome, Plan, Session, Source, Validation, resume_for};

use super::as_members;
use crate::common::{floats, read_tensors, segtool, small_recipe, text};

const SILENT: &dyn Sink = &|_: Event| ();
/// Builds without libtorch have no processes, so that flex is tried here, too.
const DEVICES: [DeviceChoice; 2] = [DeviceChoice::Flex, DeviceChoice::Libtorch];
/// Of float32 sums in another order, over some steps.
const TOLERANCE: f32 = 1e-5;

/// 41 images for training: with batches of 8, the last has one. And the recipe, which all members read.
fn data(folder: &Path) {
    small_recipe(folder, 4);
    let size = Size { width: 32, height: 32 };
    write_set(&folder.join("data"), "train", 3, 0..41, size).unwrap();
    write_set(&folder.join("data"), "val", 3, 41..50, size).unwrap();
}

/// A network with batch norms and dropout.
fn residual() -> NetworkConfig {
    let encoder = ResNetConfig { width: 2, ..ResNetConfig::new(Variant::Resnet18) };
    let deep_supervision = Some(DeepSupervisionConfig { dropout: 0.5, ..DeepSupervisionConfig::default() });
    let decoder = PyramidConfig { bins: vec![1, 2], dropout: 0.5, deep_supervision, ..PyramidConfig::default() };
    NetworkConfig::EncoderDecoder(EncoderDecoderConfig::new(encoder, DecoderConfig::Pyramid(decoder), 1, 4))
}

/// Which phases there are is changed in a recipe that was checked with the data.
fn plan(folder: &Path, change: impl Fn(&mut NetworkRecipe), phases: &[Phase]) -> Plan {
    let lists = |name: &str| Source::Lists {
        images: folder.join(format!("data/{name}_images.txt")),
        labels: folder.join(format!("data/{name}_labels.txt")),
    };
    let Recipe::Network(mut recipe) = Recipe::find(&text(&folder.join("small.toml"))).unwrap() else { unreachable!() };
    recipe.training.batch_size = 8;
    // Adam divides by the size of gradients, which makes much of roundings where they are small.
    recipe.training.optimizer = OptimizerConfig::sgd();
    change(&mut recipe);
    let job = Job {
        dataset: Some(Dataset::find("demo").unwrap()),
        validation: Validation::Source(lists("val")),
        seed: 1,
        ..Job::new(Recipe::Network(recipe), lists("train"))
    };
    let mut plan = Plan::new(job, SILENT).unwrap();
    if let Plan::Network(plan) = &mut plan {
        plan.recipe.training.phases = phases.to_vec();
    }
    plan
}

fn session<'a>(device: DeviceChoice, stop: &'a AtomicBool, group: Option<&'a Group>) -> Session<'a> {
    Session { group, synchronised: Some(true), validation_images: 2, ..Session::new(device, stop, SILENT) }
}

/// Weights and scores of two runs. In the validation loss, losses of overlap and weighted means depend on which images a
/// process predicts at once.
fn assert_equal(what: &str, found: &Path, expected: &Path, with_validation_loss: bool) {
    for file in ["model.safetensors", "last/model.safetensors"] {
        let (found, expected) = (read_tensors(&found.join(file)), read_tensors(&expected.join(file)));
        assert_eq!(found.len(), expected.len());
        // Relative to the largest weight: of single small ones, the roundings of large sums are all there is.
        let all = |tensors: &std::collections::HashMap<String, _>| {
            let mut names: Vec<_> = tensors.keys().cloned().collect();
            names.sort();
            names.iter().flat_map(|name| floats(&tensors[name])).collect::<Vec<f32>>()
        };
        let (found, expected) = (all(&found), all(&expected));
        let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let off = norm(&mut found.iter().zip(&expected).map(|(f, e)| f - e)) / norm(&mut expected.iter().copied());
        assert!(off < f64::from(TOLERANCE), "{what}: {file} is {off:e} off");
    }
    let rows = |run: &Path| -> Vec<Vec<String>> {
        let log = fs::read_to_string(run.join("log.csv")).unwrap();
        log.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
    };
    let (found, expected) = (rows(found), rows(expected));
    assert_eq!(found.len(), expected.len(), "{what}");
    // Epoch, phase, learning rate, losses and scores; what follows are times.
    for (found, expected) in found.iter().zip(&expected).skip(1) {
        for (i, (f, e)) in found.iter().zip(expected).enumerate().take(7) {
            if i == 4 && !with_validation_loss {
                continue;
            }
            let (f, e): (f64, f64) = (f.parse().unwrap(), e.parse().unwrap());
            assert!((f - e).abs() <= 1e-4 * e.abs().max(1e-3), "{what}: column {i} is {f}, not {e}");
        }
    }
}

fn compare(folder: &Path, what: &str, sizes: &[usize], phases: &[Phase], change: impl Fn(&mut NetworkRecipe) + Sync) {
    for device in DEVICES {
        let run = |name: &str| -> PathBuf { folder.join(format!("{name}-{device}")) };
        let alone = run("alone");
        plan(folder, &change, phases).start(&alone, &session(device, &AtomicBool::new(false), None)).unwrap();
        for &size in sizes {
            let together = run(&format!("together-{size}"));
            as_members(size, |group| {
                let outcome = plan(folder, &change, phases)
                    .start(&together, &session(device, &AtomicBool::new(false), Some(group)))
                    .unwrap();
                assert!(matches!(outcome, Outcome::Finished { .. }));
            });
            assert_equal(&format!("{what}, {size} processes, {device}"), &together, &alone, false);
            let drawn = |run: &Path| {
                let mut names: Vec<_> =
                    fs::read_dir(run.join("validation/epoch_0001")).unwrap().map(|e| e.unwrap().file_name()).collect();
                names.sort();
                names
            };
            assert_eq!(drawn(&together), drawn(&alone));
        }
    }
}

/// By the program: burn's graphs share locks, so that threads cannot wait for one another in the backward pass.
#[test]
fn batch_norms_dropout_and_means_are_of_the_whole_batch() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let list = |name: &str| folder.path().join(format!("data/{name}.txt"));
    for device in DEVICES {
        let run = |name: &str, processes: &[&str]| -> PathBuf {
            let run = folder.path().join(format!("{name}-{device}"));
            // In more or larger steps roundings grow, to a thousandth in 24 of them, as they do between two devices.
            segtool("train")
                .args(&["--recipe", "pspnet18", "--width", "4", "--dataset", "demo", "--seed", "3"])
                .args(&["--batch-size", "8", "--num-epoch", "1", "--class-weights", "auto"])
                .args(&["--optimizer", "sgd", "--learning-rate", "0.001"])
                .args(&["--augment", "flip-horizontal", "--validation-images", "2", "--sync-batch-norm", "on"])
                .arg("--train-list", list("train_images"))
                .arg("--label-list", list("train_labels"))
                .arg("--val-list", list("val_images"))
                .arg("--val-label-list", list("val_labels"))
                .arg("--device", device.to_string())
                .arg("--output-path", &run)
                .args(processes)
                .run();
            run
        };
        let alone = run("alone", &[]);
        let together = run("together", &["--processes", "2"]);
        assert_equal(&format!("pspnet18, 2 processes, {device}"), &together, &alone, false);
    }
}

#[test]
fn losses_of_overlap_and_phases_are_of_the_whole_batch() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let loss = parse_terms("cross-entropy+focal+focal-tversky").unwrap();
    let second = Phase { epochs: 2, loss: Some(loss), from_best: true, ..Phase::default() };
    compare(folder.path(), "losses", &[2], &[Phase { epochs: 2, ..Phase::default() }, second], |recipe| {
        let training = &mut recipe.training;
        training.augment = Augmentation::parse_list("flip-horizontal,crop=40:0.9,noise").unwrap();
        training.sampling.foreground = 0.5;
        training.ema = Some(0.9);
        training.clip_norm = Some(1.0);
        training.checkpointing = true;
    });
}

#[test]
fn binary_losses_are_of_the_whole_batch() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    compare(folder.path(), "binary", &[2], &[], |recipe| {
        recipe.activation = segtool::nn::activation::Activation::Sigmoid;
        recipe.training.loss = parse_terms("bce+focal+dice+jaccard").unwrap();
        recipe.training.accumulate = 2;
    });
}

/// Without common statistics, each process normalises by its own samples; running statistics are the mean.
#[test]
fn all_processes_score_the_same_network_without_common_statistics() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let run = folder.path().join("run");
    as_members(2, |group| {
        let stop = AtomicBool::new(false);
        let session = Session { synchronised: Some(false), ..session(DeviceChoice::Flex, &stop, Some(group)) };
        plan(folder.path(), |recipe| recipe.network = residual(), &[]).start(&run, &session).unwrap();
    });
    assert!(run.join("model.safetensors").is_file() && run.join("report.html").is_file());
}

#[test]
fn a_run_goes_on_with_another_number_of_processes() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let device = DeviceChoice::Flex;
    // The mean over pixels that all have labels does not depend on which images are predicted at once.
    let change = |recipe: &mut NetworkRecipe| recipe.training.loss = parse_terms("cross-entropy").unwrap();
    plan(folder.path(), change, &[]).start(&whole, &session(device, &AtomicBool::new(false), None)).unwrap();
    // Two epochs by three processes, one by one, one by two.
    as_members(3, |group| {
        let stop = AtomicBool::new(false);
        // Told to one of them, followed by all.
        let sink = |event: Event| {
            if matches!(event, Event::Epoch(report) if report.epoch == 2) {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        };
        let limited =
            Session { sink: if group.rank() == 1 { &sink } else { SILENT }, ..session(device, &stop, Some(group)) };
        let outcome = plan(folder.path(), change, &[]).start(&parts, &limited).unwrap();
        assert!(matches!(outcome, Outcome::Stopped(Some(position)) if position.epoch == 2 && position.batch == 1));
    });
    let stop = AtomicBool::new(false);
    let sink = |event: Event| {
        if matches!(event, Event::Epoch(report) if report.epoch == 3) {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    resume_for(&parts, &[], &Session { sink: &sink, ..session(device, &stop, None) }).unwrap();
    as_members(2, |group| {
        resume_for(&parts, &[], &session(device, &AtomicBool::new(false), Some(group))).unwrap();
    });
    assert_equal("resumed", &parts, &whole, true);
}
