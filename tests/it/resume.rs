//! A run that was stopped or killed and resumed ends with the very weights of one that was not.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use segtool::base::event::{Event, Sink};
use segtool::data::{Augmentation, Dataset};
use segtool::nn::device::DeviceChoice;
use segtool::nn::loss::{ClassWeights, parse_terms};
use segtool::nn::model::{
    DecoderConfig, DeepSupervisionConfig, EncoderDecoderConfig, NetworkConfig, PyramidConfig, ResNetConfig, Variant,
};
use segtool::recipe::{
    Criterion, Curve, Decayed, NetworkRecipe, OptimizerConfig, OptimizerKind, Phase, Recipe, Schedule, Warmup,
};
use segtool::train::network::Plan;
use segtool::train::{self, Job, Need, Outcome, Session, Source, Validation, resume_for};

use crate::common::{signal, small_data, small_recipe, stderr_of, stdout_of, text, wait_for};

const SILENT: &(dyn Fn(Event) + Sync) = &|_| {};

/// Asks to stop after a number of training steps.
struct StopAfter<'a> {
    steps: usize,
    seen: AtomicUsize,
    stop: &'a AtomicBool,
}

impl Sink for StopAfter<'_> {
    fn event(&self, event: Event) {
        if matches!(event, Event::Advanced { loss: Some(_), .. })
            && self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.steps
        {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

fn plan(folder: &Path, epochs: usize) -> Plan {
    let lists = |name: &str| Source::Lists {
        images: folder.join(format!("data/{name}_images.txt")),
        labels: folder.join(format!("data/{name}_labels.txt")),
    };
    let job = Job {
        dataset: Some(Dataset::find("demo").unwrap()),
        validation: Validation::Source(lists("val")),
        seed: 1,
        ..Job::new(Recipe::find(&small_recipe(folder, epochs)).unwrap(), lists("train"))
    };
    match train::Plan::new(job, &SILENT).unwrap() {
        train::Plan::Network(plan) => *plan,
        train::Plan::Forest(_) => unreachable!("the recipe is a network's"),
    }
}

fn start(plan: Plan, folder: &Path, session: &Session<'_>) -> segtool::base::Result<Outcome> {
    train::Plan::Network(Box::new(plan)).start(folder, session)
}

fn session<'a>(stop: &'a AtomicBool, sink: &'a dyn Sink, workers: usize) -> Session<'a> {
    Session { workers, ..Session::new(DeviceChoice::Flex, stop, sink) }
}

/// The files that say what was learned. Seconds differ from run to run.
fn learned(run: &Path) -> [Vec<u8>; 4] {
    let log = fs::read_to_string(run.join("log.csv")).unwrap();
    let timeless: String = log.lines().map(|line| line.rsplitn(4, ',').last().unwrap().to_owned() + "\n").collect();
    [
        fs::read(run.join("model.safetensors")).unwrap(),
        fs::read(run.join("last/model.safetensors")).unwrap(),
        // Where there is a moving average.
        fs::read(run.join("last/average.safetensors")).unwrap_or_default(),
        timeless.into_bytes(),
    ]
}

#[test]
fn stopping_anywhere_and_resuming_changes_nothing() {
    stop_and_resume(|_| ());
}

#[test]
fn the_momentum_of_sgd_survives_too() {
    let optimizer = OptimizerConfig {
        kind: OptimizerKind::Sgd { momentum: 0.9, nesterov: true },
        weight_decay: 1e-3,
        decay: Decayed::All,
    };
    stop_and_resume(|recipe| recipe.training.optimizer = optimizer.clone());
}

#[test]
fn running_statistics_and_dropout_survive_too() {
    let encoder = ResNetConfig { width: 2, ..ResNetConfig::new(Variant::Resnet18) };
    let deep_supervision = Some(DeepSupervisionConfig { dropout: 0.5, ..DeepSupervisionConfig::default() });
    let decoder = PyramidConfig { bins: vec![1, 2], dropout: 0.5, deep_supervision, ..PyramidConfig::default() };
    let network = EncoderDecoderConfig::new(encoder, DecoderConfig::Pyramid(decoder), 1, 4);
    stop_and_resume(|recipe| {
        recipe.network = NetworkConfig::EncoderDecoder(network.clone());
        recipe.training.ema = Some(0.9);
    });
}

#[test]
fn phases_averages_and_everything_random_survive_too() {
    let kernels = OptimizerConfig { weight_decay: 1e-3, decay: Decayed::Kernels, ..OptimizerConfig::sgd() };
    let augment = "flip-horizontal,rotate=20,scale=0.7:1.3,crop=40:0.9,color-jitter,blur,noise";
    let optimizers = [OptimizerConfig::adam(), OptimizerConfig::adam_w(), kernels];
    for (i, optimizer) in optimizers.into_iter().enumerate() {
        stop_and_resume(|recipe| {
            let training = &mut recipe.training;
            training.optimizer = optimizer.clone();
            training.augment = Augmentation::parse_list(augment).unwrap();
            training.sampling.foreground = 0.5;
            training.ema = Some(0.9);
            training.clip_norm = Some(1.0);
            training.class_weights = ClassWeights::Auto;
            training.checkpointing = i == 1;
            let warmup = Some(Warmup { steps: 3, start: 0.1 });
            training.schedule = Schedule { curve: Curve::Cosine { floor: 0.1 }, warmup };
            let loss = parse_terms("cross-entropy+focal-tversky+lovasz").unwrap();
            let second =
                Phase { epochs: 2, loss: Some(loss), from_best: true, learning_rate: Some(0.02), ..Phase::default() };
            training.phases = vec![Phase { epochs: 1, ..Phase::default() }, second];
        });
    }
}

#[test]
fn accumulated_gradients_and_patience_survive_too() {
    // 3 steps an epoch; the first phase ends early or not, but always at the same place.
    stop_and_resume_at(&[vec![1], vec![3], vec![2, 2]], |recipe| {
        let training = &mut recipe.training;
        training.accumulate = 2;
        training.patience = Some(1);
        training.best_by = Criterion::Loss;
        training.learning_rate = 0.05;
        let phase = |epochs| Phase { epochs, ..Phase::default() };
        training.phases = vec![phase(4), phase(3)];
    });
}

#[test]
fn weights_that_are_no_numbers_are_not_saved() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let mut plan = plan(folder.path(), 2);
    // One step, whose loss is a number: only the weights after it are not.
    (plan.recipe.training.batch_size, plan.recipe.training.learning_rate) = (100, 1e39);
    let (never, run) = (AtomicBool::new(false), folder.path().join("run"));
    let message = start(plan, &run, &session(&never, &SILENT, 2)).unwrap_err().to_string();
    assert!(message.contains("became infinite or not a number at epoch 1, batch 1"), "{message}");
    assert!(!run.join("model.safetensors").exists());
    // Only what it began with.
    let position = fs::read_to_string(run.join("last/position.json")).unwrap();
    assert!(position.contains("\"steps\": 0"), "{position}");
}

fn stop_and_resume(change: impl Fn(&mut NetworkRecipe)) {
    // 9 images in batches of 2 are 5 steps an epoch: within an epoch, at its end, in the last one; several times.
    stop_and_resume_at(&[vec![1], vec![5], vec![3, 4, 1], vec![14]], change);
}

fn stop_and_resume_at(places: &[Vec<usize>], change: impl Fn(&mut NetworkRecipe)) {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let mut plan = plan(folder.path(), 3);
    change(&mut plan.recipe);
    let (own, all) = plan.presence.frequencies(plan.dataset.class_count());
    plan.class_weights = plan.recipe.training.class_weights.resolve(&own, &all).unwrap();
    let never = AtomicBool::new(false);
    let whole = folder.path().join("whole");
    start(plan.clone(), &whole, &session(&never, &SILENT, 2)).unwrap();
    for stops in places {
        let run = folder.path().join(format!("stopped{stops:?}"));
        for (i, &steps) in stops.iter().enumerate() {
            let stop = AtomicBool::new(false);
            let sink = StopAfter { steps, seen: AtomicUsize::new(0), stop: &stop };
            let session = session(&stop, &sink, 1);
            let outcome = if i == 0 { start(plan.clone(), &run, &session) } else { resume_for(&run, &[], &session) };
            assert!(matches!(outcome.unwrap(), Outcome::Stopped(_)));
        }
        assert!(matches!(resume_for(&run, &[], &session(&never, &SILENT, 3)).unwrap(), Outcome::Finished { .. }));
        assert_eq!(learned(&run), learned(&whole), "{stops:?}");
    }
}

#[test]
fn the_most_demanding_phase_counts_for_the_memory_wherever_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let of = |optimizers: [OptimizerConfig; 2]| {
        let mut plan = plan(folder.path(), 2);
        let phase = |optimizer| Phase { epochs: 1, optimizer: Some(optimizer), ..Phase::default() };
        plan.recipe.training.phases = optimizers.map(phase).to_vec();
        Need::of(&plan, DeviceChoice::Flex, None).unwrap().bytes()
    };
    let (adam, sgd) = (OptimizerConfig::adam(), OptimizerConfig::sgd());
    let most = of([adam.clone(), sgd.clone()]);
    assert_eq!(most, of([sgd.clone(), adam]));
    assert!(most > of([sgd.clone(), sgd]));
}

#[test]
fn a_finished_run_and_one_that_never_saved_say_so() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let run = folder.path().join("run");
    let never = AtomicBool::new(false);
    start(plan(folder.path(), 1), &run, &session(&never, &SILENT, 1)).unwrap();
    let message = stderr_of(&["train", "--resume", &text(&run), "--device", "flex"], 0);
    assert!(message.contains("all 1 epochs of this run are done"), "{message}");
    fs::remove_dir_all(run.join("last")).unwrap();
    let message = stderr_of(&["train", "--resume", &text(&run), "--device", "flex"], 1);
    assert!(message.contains("nothing to resume"), "{message}");
}

#[test]
fn a_run_whose_rate_does_not_depend_on_its_length_goes_on_as_if_it_had_been_longer() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let never = AtomicBool::new(false);
    let warmup = Some(Warmup { steps: 3, start: 0.1 });
    let phase = |epochs| Phase { epochs, ..Phase::default() };
    for (i, (schedule, phases)) in [
        (Schedule { curve: Curve::Constant {}, warmup }, vec![]),
        (Curve::Step { every: 2, factor: 0.5 }.into(), vec![]),
        (Curve::Constant {}.into(), vec![1]),
    ]
    .into_iter()
    .enumerate()
    {
        let of = |epochs: usize| {
            let mut plan = plan(folder.path(), epochs);
            let training = &mut plan.recipe.training;
            training.schedule = schedule.clone();
            training.ema = Some(0.9);
            if !phases.is_empty() {
                training.epochs = 0;
                training.phases = phases.iter().copied().chain([epochs]).map(phase).collect();
            }
            plan
        };
        let numbers = |epochs| phases.iter().copied().chain([epochs]).collect::<Vec<usize>>();
        let whole = folder.path().join(format!("whole{i}"));
        start(of(4), &whole, &session(&never, &SILENT, 2)).unwrap();
        // After its end, and in the middle of its second epoch.
        let ended = folder.path().join(format!("ended{i}"));
        start(of(2), &ended, &session(&never, &SILENT, 2)).unwrap();
        let midway = folder.path().join(format!("midway{i}"));
        let stop = AtomicBool::new(false);
        let sink = StopAfter { steps: 7, seen: AtomicUsize::new(0), stop: &stop };
        start(of(3), &midway, &session(&stop, &sink, 2)).unwrap();
        for run in [&ended, &midway] {
            resume_for(run, &numbers(4), &session(&never, &SILENT, 1)).unwrap();
            assert_eq!(learned(run), learned(&whole), "{} {i}", run.display());
        }
        // The run has the new number: another kill goes on to that.
        let longer = folder.path().join(format!("longer{i}"));
        start(of(2), &longer, &session(&never, &SILENT, 2)).unwrap();
        let stop = AtomicBool::new(false);
        let sink = StopAfter { steps: 2, seen: AtomicUsize::new(0), stop: &stop };
        let outcome = resume_for(&longer, &numbers(4), &session(&stop, &sink, 1)).unwrap();
        assert!(matches!(outcome, Outcome::Stopped(_)));
        resume_for(&longer, &[], &session(&never, &SILENT, 1)).unwrap();
        assert_eq!(learned(&longer), learned(&whole), "{i}");
    }
}

#[test]
fn a_run_that_cannot_go_on_for_longer_says_why_and_how_to_train_on() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let never = AtomicBool::new(false);
    let run = folder.path().join("run");
    start(plan(folder.path(), 2), &run, &session(&never, &SILENT, 1)).unwrap();
    let way_out = format!("--weights {} with another --output-path", run.display());
    let resumed = ["train", "--resume", &text(&run)].map(String::from);
    let said = |more: &[&str], code| {
        let base: Vec<&str> = resumed.iter().map(String::as_str).collect();
        stderr_of(&[&base[..], more].concat(), code)
    };
    let before = learned(&run);
    let message = said(&[], 0);
    assert!(message.contains("all 2 epochs of this run are done") && message.contains(&way_out), "{message}");
    let message = said(&["--num-epoch", "10"], 2);
    assert!(message.contains("falls over 2 epochs") && message.contains(&way_out), "{message}");
    let message = said(&["--batch-size", "3", "--set", "training.ema=0.9"], 2);
    assert!(message.contains("--batch-size and --set cannot be used with --resume"), "{message}");
    assert!(message.contains("segtool train ... --weights") && !message.contains("--accumulate"), "{message}");
    assert_eq!(learned(&run), before);

    // Patience came to its end: more epochs would change nothing.
    let patient = folder.path().join("patient");
    let mut short = plan(folder.path(), 20);
    short.recipe.training.patience = Some(2);
    short.recipe.training.learning_rate = 1e-12;
    short.recipe.training.schedule = Curve::Constant {}.into();
    start(short, &patient, &session(&never, &SILENT, 1)).unwrap();
    let message = stderr_of(&["train", "--resume", &text(&patient)], 0);
    assert!(message.contains("ended after epoch 3 of 20, as validation had not improved for 2 epochs"), "{message}");
    let message = stderr_of(&["train", "--resume", &text(&patient), "--num-epoch", "30"], 2);
    assert!(
        message.contains("as validation had not improved for 2 epochs") && message.contains("--weights"),
        "{message}"
    );

    // The words can be followed: from the weights, with the recipe and the data set of the run.
    let (images, labels) = (text(&folder.path().join("data/images")), text(&folder.path().join("data/labels")));
    let (weights, next) = (text(&run), text(&folder.path().join("next")));
    let arguments = ["train", "--images", &images, "--labels", &labels, "--weights", &weights, "--output-path", &next];
    let message = stderr_of(&[&arguments[..], &["--num-epoch", "1"]].concat(), 0);
    assert!(message.contains("recipe small"), "{message}");
}

#[test]
fn a_kill_while_the_save_is_replaced_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let run = folder.path().join("run");
    let stop = AtomicBool::new(false);
    let sink = StopAfter { steps: 7, seen: AtomicUsize::new(0), stop: &stop };
    start(plan(folder.path(), 2), &run, &session(&stop, &sink, 1)).unwrap();
    // As a version that saved no log there left it.
    fs::remove_file(run.join("last/log.csv")).unwrap();
    fs::rename(run.join("last"), run.join("last.old")).unwrap();
    let never = AtomicBool::new(false);
    resume_for(&run, &[], &session(&never, &SILENT, 1)).unwrap();
    assert!(run.join("last/position.json").exists() && !run.join("last.old").exists());
}

/// Starts a training that takes a while and waits until it has saved.
fn long_training(folder: &Path, run: &Path) -> Child {
    let recipe = small_recipe(folder, 20);
    let data = folder.join("data");
    let child = Command::new(env!("CARGO_BIN_EXE_segtool"))
        .args(["train", "--recipe", &recipe, "--device", "flex", "--seed", "1", "--output-path", &text(run)])
        .args(["--train-list", &text(&data.join("train_images.txt"))])
        .args(["--label-list", &text(&data.join("train_labels.txt"))])
        .args(["--val-list", &text(&data.join("val_images.txt"))])
        .args(["--val-label-list", &text(&data.join("val_labels.txt"))])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| run.join("last/position.json").exists());
    child
}

#[test]
fn ctrl_c_and_kill_leave_a_run_that_resumes_exactly() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let whole = folder.path().join("whole");
    let child = long_training(folder.path(), &whole);
    assert!(child.wait_with_output().unwrap().status.success());

    let run = folder.path().join("interrupted");
    let child = long_training(folder.path(), &run);
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(130) && said.contains("continue with: segtool train --resume"), "{said}");

    let saved = || fs::read(run.join("last/position.json")).ok();
    for _ in 0..3 {
        let before = saved();
        let mut child = Command::new(env!("CARGO_BIN_EXE_segtool"))
            .args(["train", "--resume", &text(&run), "--device", "flex"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for(|| saved().is_some_and(|now| before.as_ref() != Some(&now)) || child.try_wait().unwrap().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    stdout_of(&["train", "--resume", &text(&run), "--device", "flex"]);
    assert_eq!(learned(&run), learned(&whole));
}

#[test]
fn a_run_resumes_from_any_folder_on_its_own_device() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    small_recipe(folder.path(), 40);
    let mut child = Command::new(env!("CARGO_BIN_EXE_segtool"))
        .current_dir(folder.path())
        .args(["train", "--recipe", "small.toml", "--device", "flex", "--output-path", "run"])
        .args(["--images", "data/images", "--labels", "data/labels"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let run = folder.path().join("run");
    wait_for(|| run.join("last/position.json").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    // No --device: the run's own, whatever else this build has.
    let message = stderr_of(&["train", "--resume", &text(&run)], 0);
    assert!(message.contains("on flex") && !message.contains("weights will differ"), "{message}");
}
