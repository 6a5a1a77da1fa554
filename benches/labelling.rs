//! Label mode on a photograph of a drill core: how long it takes from a stroke to the classes of the visible part, and what
//! the forest has learnt after some strokes.
//!
//! `cargo bench --bench labelling -- IMAGE LABELS [STROKES] [WEIGHTS]`: strokes are drawn at random places of a full label image of
//! data set `core`, class after class, one training each. Without weights the encoder's are random.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segtool::base::label_map::IGNORE;
use segtool::data::{Dataset, load_sparse_labels};
use segtool::metric::Evaluation;
use segtool::serve::labelling::{
    Change, Color, KEEP, LabelClass, LabelEvent, LabelOptions, Labelling, Patch, Reclassed, Rect, TrainingState,
};
use segtool::weights::locate;
use segtool::{ConfusionMatrix, LabelMap};
use tokio::sync::broadcast::Receiver;

/// Width of a brush and length of a stroke, in pixels.
const BRUSH: [usize; 2] = [60, 8];
/// Columns that are seen at a time.
const VIEW: usize = 1440;

fn main() {
    let given: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [image, labels, rest @ ..] = &given[..] else {
        println!("labelling: give an image and its full label image, as in -- section.png section_labels.png 30");
        return;
    };
    let strokes = rest.first().map_or(30, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let options = LabelOptions {
        labels: Some(folder.path().join("labels")),
        weights: locate(rest.get(1..).unwrap_or_default(), &|_| ()).unwrap(),
        ..LabelOptions::find(image, None).unwrap()
    };
    let core = Dataset::find("core").unwrap();
    let truth = load_sparse_labels(Path::new(labels), &core).unwrap();
    let labelling = Labelling::with(&options, &|_| ()).unwrap();
    with_classes(&labelling, &core);
    draw_all(&labelling, &truth, strokes);
    wait_for_score(&labelling);
    report(&labelling, &truth, &core);
}

fn with_classes(labelling: &Labelling, core: &Dataset) {
    let class = |class: &segtool::data::Class| LabelClass {
        value: class.values[0] as u8,
        name: class.name.clone(),
        color: Color(class.color),
    };
    let revision = labelling.overview().classes_revision;
    let classes = core.classes.iter().map(class).collect();
    assert!(matches!(labelling.reclass(revision, classes, false).unwrap(), Reclassed::Done(_)));
}

/// Draws strokes, trains after each, and asks for the part around it.
fn draw_all(labelling: &Labelling, truth: &LabelMap, strokes: usize) {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let (mut seconds, mut trainings) = (Vec::new(), Vec::new());
    let mut events = labelling.events();
    for number in 0..strokes {
        let patch = stroke(truth, (number % 4) as u16, &mut random);
        let view = view_around(truth, &patch.rect);
        let began = Instant::now();
        let revision = labelling.labels(0).unwrap().1;
        let change = Change { revision, tab: "bench".into(), patches: vec![patch] };
        labelling.change(0, &change).unwrap();
        let model = labelling.train(Some((0, view))).unwrap();
        if !is_ready(&mut events, model) {
            continue;
        }
        trainings.push(began.elapsed().as_secs_f64());
        labelling.prediction(0, Some(model), Some(view)).unwrap();
        seconds.push(began.elapsed().as_secs_f64());
    }
    let [first, first_training] = [seconds[0], trainings[0]];
    let labelled = labelling.overview().images[0].labelled;
    println!("{strokes} strokes, {labelled} labelled pixels; {} threads", rayon::current_num_threads());
    println!("stroke to classes of the visible part: median {:.3} s, worst {:.3} s", median(&seconds), worst(&seconds));
    println!("  of it until the model is ready: median {:.3} s, worst {:.3} s", median(&trainings), worst(&trainings));
    println!("  the first, which computes features: {first:.3} s, {first_training:.3} s until the model is ready");
    println!("  without the first: worst {:.3} s; the last: {:.3} s", worst(&seconds[1..]), seconds[seconds.len() - 1]);
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn worst(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// A stroke along the core at a random pixel of a class: its pixels within the brush.
fn stroke(truth: &LabelMap, class: u16, random: &mut ChaCha8Rng) -> Patch {
    let width = truth.size.width;
    let own: Vec<usize> = (0..truth.classes.len()).filter(|place| truth.classes[*place] == class).collect();
    let place = own[random.random_range(0..own.len())];
    let left = (place % width).saturating_sub(BRUSH[0] / 2).min(width - BRUSH[0]);
    let top = (place / width).saturating_sub(BRUSH[1] / 2).min(truth.size.height - BRUSH[1]);
    let rect = Rect { x: left, y: top, width: BRUSH[0], height: BRUSH[1] };
    let value = |(x, y): (usize, usize)| if truth.classes[y * width + x] == class { class as u8 + 1 } else { KEEP };
    Patch { rect, values: rect.places().map(value).collect() }
}

fn view_around(truth: &LabelMap, stroke: &Rect) -> Rect {
    let width = VIEW.min(truth.size.width);
    let x = stroke.x.saturating_sub(width / 2).min(truth.size.width - width);
    Rect { x, y: 0, width, height: truth.size.height }
}

/// Waits for a model; whether there is one.
fn is_ready(events: &mut Receiver<LabelEvent>, number: u64) -> bool {
    loop {
        match events.blocking_recv().unwrap() {
            LabelEvent::Training(progress) if progress.number == number => match progress.state {
                TrainingState::Ready => return true,
                TrainingState::Failed => return false,
                TrainingState::Features | TrainingState::Fitting => {}
            },
            _ => {}
        }
    }
}

fn wait_for_score(labelling: &Labelling) {
    let began = Instant::now();
    while labelling.score(None).unwrap().state != "done" {
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("held-out score: {:.1} s later", began.elapsed().as_secs_f64());
}

/// What the page says of the forest, and how it does on all labels but the strokes.
fn report(labelling: &Labelling, truth: &LabelMap, core: &Dataset) {
    let score = labelling.score(None).unwrap();
    let mean = |found: Option<segtool::serve::labelling::ShownEvaluation>| found.and_then(|found| found.mean_f1);
    println!(
        "mean F1 by region {:.4?}, by pixel {:.4?}",
        mean(score.by_region).unwrap(),
        mean(score.by_pixel).unwrap()
    );
    let began = Instant::now();
    let (found, _) = labelling.prediction(0, None, None).unwrap();
    println!("classes of the whole image: {:.3} s", began.elapsed().as_secs_f64());
    let (painted, _) = labelling.labels(0).unwrap();
    let unseen = |(class, painted): (&u16, &u8)| if *painted == 0 { *class } else { IGNORE };
    let labels: Vec<u16> = truth.classes.iter().zip(painted.iter()).map(unseen).collect();
    let predicted: Vec<u16> = found.values.iter().map(|value| u16::from(*value) - 1).collect();
    let mut matrix = ConfusionMatrix::new(core.class_count());
    matrix.add(&labels, &predicted);
    let evaluation = Evaluation::new(matrix);
    println!("against the full labels without the strokes ({} pixels):", evaluation.pixels);
    println!("  mean F1 {:.4}, accuracy {:.4}", evaluation.mean_f1.unwrap(), evaluation.accuracy);
    for (class, f1) in core.classes.iter().zip(&evaluation.f1) {
        println!("  {:20} {:.4}", class.name, f1.unwrap_or(f64::NAN));
    }
    let began = Instant::now();
    let count = labelling.suggestions(0, None, 10).unwrap().len();
    println!("{count} suggestions: {:.3} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    let saved: PathBuf = labelling.save(None).unwrap().run.expect("a model");
    println!("saved in {:.3} s: {}", began.elapsed().as_secs_f64(), saved.display());
}
