//! Label mode without HTTP: labels on disk, trainings, and runs that predict what was shown.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use image::{GrayImage, Rgb, RgbImage};
use segtool::Recipe;
use segtool::data::{Dataset, load_sparse_labels, read_label_csv};
use segtool::nn::device::DeviceChoice;
use segtool::serve::labelling::{
    Change, Color, KEEP, LabelClass, LabelEvent, LabelOptions, Labelling, Patch, Patched, Reclassed, Rect,
    TrainingState,
};
use tempfile::{TempDir, tempdir};
use tokio::sync::broadcast::error::TryRecvError;

use crate::common::made_core::{NAMES, RECTANGLES, core, truth};
use crate::common::{read_json, stdout_of, text, wait_for};

const WAIT: Duration = Duration::from_secs(120);

fn options(images: &Path) -> LabelOptions {
    let Recipe::Forest(mut recipe) = Recipe::find("hypercolumn-core").unwrap() else { panic!("no forest") };
    recipe.forest.trees = 20;
    LabelOptions { device: DeviceChoice::Flex, ..LabelOptions::new(images, *recipe) }
}

fn open(options: &LabelOptions) -> Labelling {
    Labelling::with(options, &|_| ()).unwrap()
}

fn refusal(options: &LabelOptions) -> String {
    Labelling::with(options, &|_| ()).unwrap_err().to_string()
}

/// A folder of made cores.
fn folder(names: &[&str]) -> TempDir {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("cores")).unwrap();
    for name in names {
        core().save(folder.path().join("cores").join(name)).unwrap();
    }
    folder
}

fn classes() -> Vec<LabelClass> {
    let class = |value: usize| LabelClass {
        value: value as u8,
        name: NAMES[value].into(),
        color: Color([40 * value as u8; 3]),
    };
    (1..5).map(class).collect()
}

/// With the four classes of the made core.
fn with_classes(labelling: &Labelling) {
    let revision = labelling.overview().classes_revision;
    assert!(matches!(labelling.reclass(revision, classes(), false).unwrap(), Reclassed::Done(_)));
}

fn filled(x: usize, y: usize, width: usize, height: usize, value: u8) -> Patch {
    Patch { rect: Rect { x, y, width, height }, values: vec![value; width * height] }
}

fn change(revision: u64, tab: &str, patches: Vec<Patch>) -> Change {
    Change { revision, tab: tab.into(), patches }
}

/// Paints the labels of the made core; every class in two places.
fn paint(labelling: &Labelling, image: usize) {
    for ([left, top, right, bottom], value) in RECTANGLES {
        let [x, y, right, bottom] = [left, top, right, bottom].map(|number| number as usize);
        let revision = labelling.labels(image).unwrap().1;
        let patch = filled(x, y, right - x + 1, bottom - y + 1, value);
        let done = labelling.change(image, &change(revision, "test", vec![patch])).unwrap();
        assert_eq!(done, Patched::Done(revision + 1));
    }
}

/// Labels a folder of made cores, and leaves labels and a run beside it, for the guide.
#[cfg(unix)]
pub(crate) fn label_and_save(images: &Path) {
    let labelling = open(&options(images));
    with_classes(&labelling);
    paint(&labelling, 0);
    train(&labelling).unwrap();
    labelling.save(None).unwrap();
}

/// Trains, and waits for the model; what went wrong if it fails.
fn train(labelling: &Labelling) -> Result<u64, String> {
    let mut events = labelling.events();
    let number = labelling.train(Some((0, Rect { x: 0, y: 0, width: 100, height: 40 }))).unwrap();
    let until = Instant::now() + WAIT;
    loop {
        match events.try_recv() {
            Ok(LabelEvent::Training(progress)) if progress.number == number => match progress.state {
                TrainingState::Ready => return Ok(number),
                TrainingState::Failed => return Err(progress.error.unwrap()),
                TrainingState::Features | TrainingState::Fitting => {}
            },
            Ok(_) | Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty) => std::thread::sleep(Duration::from_millis(5)),
            Err(TryRecvError::Closed) => panic!("no more events"),
        }
        assert!(Instant::now() < until, "no model within {WAIT:?}");
    }
}

fn score(labelling: &Labelling, number: u64) -> segtool::serve::labelling::ShownScore {
    let until = Instant::now() + WAIT;
    loop {
        let score = labelling.score(Some(number)).unwrap();
        if score.state == "done" {
            return score;
        }
        assert!(Instant::now() < until, "no score within {WAIT:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Label values of a file by its data set.
fn on_disk(labels: &Path, name: &str) -> Vec<u8> {
    let dataset = Dataset::find(&text(&labels.join("dataset.toml"))).unwrap();
    let map = load_sparse_labels(&labels.join(name), &dataset).unwrap();
    map.classes.iter().map(|class| dataset.value_of(*class) as u8).collect()
}

#[test]
fn every_change_is_on_disk_and_is_there_again_after_a_start() {
    let folder = folder(&["a.png", "b.jpg"]);
    let (images, labels) = (folder.path().join("cores"), folder.path().join("cores-labels"));
    let labelling = open(&options(&images));
    let overview = labelling.overview();
    assert_eq!((overview.folder.as_str(), overview.images.len(), overview.classes.len()), ("cores", 2, 2));
    with_classes(&labelling);
    paint(&labelling, 0);
    let (values, revision) = labelling.labels(0).unwrap();
    assert_eq!(on_disk(&labels, "a.png"), *values);
    wait_for(|| labels.join("b.png").exists());
    assert!(on_disk(&labels, "b.png").iter().all(|value| *value == 0));
    let labelled = values.iter().filter(|value| **value != 0).count();
    assert_eq!(labelling.overview().images[0].labelled, labelled);
    // Nothing but whole files, and the lock.
    let mut names: Vec<String> =
        fs::read_dir(&labels).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".segtool.lock", "a.png", "b.png", "dataset.toml"]);
    let said = refusal(&options(&images));
    assert!(said.contains("is being labelled by process"), "{said}");
    drop(labelling);
    let labelling = open(&options(&images));
    let (again, later) = labelling.labels(0).unwrap();
    assert_eq!(again, values);
    assert!(later > revision, "{later} {revision}");
    assert_eq!(labelling.overview().classes, classes());
}

#[test]
fn two_tabs_merge_pixel_by_pixel_and_do_not_overwrite_each_other() {
    let folder = folder(&["a.png"]);
    let labelling = open(&options(&folder.path().join("cores")));
    let revision = labelling.labels(0).unwrap().1;
    let done = |change: &Change| labelling.change(0, change).unwrap();
    assert_eq!(done(&change(revision, "one", vec![filled(0, 0, 10, 2, 1)])), Patched::Done(revision + 1));
    assert_eq!(done(&change(revision, "two", vec![filled(10, 0, 10, 2, 2)])), Patched::Done(revision + 2));
    let mut across = change(revision, "two", vec![filled(8, 0, 4, 1, 2), filled(30, 5, 2, 2, 2)]);
    let conflicts = vec![Rect { x: 8, y: 0, width: 2, height: 1 }];
    assert_eq!(done(&across), Patched::Conflict { revision: revision + 2, conflicts });
    assert_eq!(labelling.labels(0).unwrap().0[5 * 240 + 30], 0, "nothing of it is done");
    across.revision = revision + 2;
    assert_eq!(done(&across), Patched::Done(revision + 3));
    assert_eq!(labelling.labels(0).unwrap().0[6..14], [1, 1, 2, 2, 2, 2, 2, 2]);
    // What changes nothing makes no revision.
    assert_eq!(done(&change(revision, "one", vec![filled(0, 1, 5, 1, KEEP)])), Patched::Done(revision + 3));
}

#[test]
fn hostile_patches_are_refused_and_change_nothing() {
    let folder = folder(&["a.png"]);
    let labels = folder.path().join("cores-labels");
    let labelling = open(&options(&folder.path().join("cores")));
    let rect = |x, y, width, height| Patch { rect: Rect { x, y, width, height }, values: vec![1; 4] };
    for patch in [
        rect(239, 0, 2, 2),
        rect(0, 39, 2, 2),
        rect(usize::MAX, 0, 2, 2),
        rect(1, 1, usize::MAX, 2),
        rect(0, 0, 0, 4),
        rect(0, 0, 3, 1),
        rect(0, 0, usize::MAX / 2 + 1, 2),
        filled(0, 0, 2, 2, 3),
        filled(0, 0, 2, 2, 254),
    ] {
        assert!(labelling.change(0, &change(0, "x", vec![filled(5, 5, 1, 1, 1), patch.clone()])).is_err(), "{patch:?}");
    }
    assert!(labelling.change(1, &change(0, "x", vec![filled(0, 0, 1, 1, 1)])).is_err());
    assert!(labelling.labels(usize::MAX).is_err());
    assert!(labelling.train(Some((0, Rect { x: 0, y: 0, width: 241, height: 1 }))).is_err());
    assert!(labelling.labels(0).unwrap().0.iter().all(|value| *value == 0) && !labels.join("a.png").exists());
}

#[test]
fn a_class_goes_with_its_pixels_only_when_that_is_said() {
    let folder = folder(&["a.png"]);
    let labels = folder.path().join("cores-labels");
    let labelling = open(&options(&folder.path().join("cores")));
    with_classes(&labelling);
    paint(&labelling, 0);
    let revision = labelling.overview().classes_revision;
    let fewer: Vec<LabelClass> = classes().into_iter().filter(|class| class.value != 3).collect();
    let Reclassed::Conflict(now, reason) = labelling.reclass(revision, fewer.clone(), false).unwrap() else {
        panic!("dropped in silence")
    };
    assert!(now.classes == classes() && reason.contains("322 labelled pixels"), "{reason}");
    assert!(on_disk(&labels, "a.png").contains(&3));
    assert!(matches!(labelling.reclass(revision, fewer.clone(), true).unwrap(), Reclassed::Done(_)));
    assert!(!on_disk(&labels, "a.png").contains(&3) && on_disk(&labels, "a.png").contains(&4));
    let Reclassed::Conflict(_, reason) = labelling.reclass(revision, classes(), true).unwrap() else {
        panic!("an older tab overwrote the classes")
    };
    assert!(reason.contains("changed in another tab"), "{reason}");
    assert!(labelling.reclass(revision + 1, fewer[..1].to_vec(), true).is_err());
    // What is painted from now on has no such class.
    assert!(labelling.change(0, &change(0, "x", vec![filled(0, 0, 1, 1, 3)])).is_err());
    drop(labelling);
    assert_eq!(open(&options(&folder.path().join("cores"))).overview().classes, fewer);
}

#[test]
fn a_saved_run_predicts_what_was_shown() {
    let folder = folder(&["a.png", "z.png"]);
    let (images, labels) = (folder.path().join("cores"), folder.path().join("cores-labels"));
    // Another size, grey, 16 bits: one of each.
    let crop = image::imageops::crop_imm(&core(), 10, 3, 170, 31).to_image();
    crop.save(images.join("m.png")).unwrap();
    image::DynamicImage::ImageRgb8(core()).into_luma16().save(images.join("deep.png")).unwrap();
    let labelling = open(&options(&images));
    assert!(train(&labelling).unwrap_err().contains("nothing is labelled yet"));
    with_classes(&labelling);
    let first = labelling.labels(0).unwrap().1;
    labelling.change(0, &change(first, "x", vec![filled(8, 8, 5, 5, 1)])).unwrap();
    assert!(train(&labelling).unwrap_err().contains("all labelled pixels are of class 'intact sandstone'"));
    paint(&labelling, 0);
    paint(&labelling, 3);
    let number = train(&labelling).unwrap();
    let shown: Vec<Vec<u8>> = (0..4).map(|i| labelling.prediction(i, Some(number), None).unwrap().0.values).collect();
    let right = (0..9600).filter(|i| shown[0][*i] == truth(*i as u32 % 240, *i as u32 / 240)).count();
    assert!(right > 8000, "{right} of 9600 right");
    // A part of it is the same.
    let part = Rect { x: 31, y: 7, width: 50, height: 20 };
    let (found, _) = labelling.prediction(0, None, Some(part)).unwrap();
    assert!(part.places().zip(&found.values).all(|((x, y), value)| shown[0][y * 240 + x] == *value));
    assert!(found.uncertainty.iter().any(|value| *value > 100) && found.uncertainty.contains(&0));
    let saved = labelling.save(Some(number)).unwrap();
    let run = saved.run.unwrap();
    assert_eq!((&run, &saved.labels), (&labels.join("run"), &labels));
    let predict = |run: &Path, out: &str| -> Vec<Vec<u8>> {
        let out = folder.path().join(out);
        stdout_of(&["predict", "--run", &text(run), "--output-path", &text(&out), "--device", "flex", &text(&images)]);
        let read = |name: &str| ndarray_npy::read_npy::<_, ndarray::Array2<u8>>(out.join(name)).unwrap();
        ["a.npy", "deep.npy", "m.npy", "z.npy"].map(|name| read(name).into_iter().collect()).into()
    };
    assert!(predict(&run, "out") == shown, "predict gives other classes than were shown");
    // The run is replaced by the next one, whole.
    let revision = labelling.labels(2).unwrap().1;
    labelling.change(2, &change(revision, "x", vec![filled(0, 0, 30, 4, 2)])).unwrap();
    let second = train(&labelling).unwrap();
    labelling.save(None).unwrap();
    let shown: Vec<Vec<u8>> = (0..4).map(|i| labelling.prediction(i, Some(second), None).unwrap().0.values).collect();
    assert!(predict(&run, "second") == shown);
    assert!(labelling.prediction(0, Some(99), None).is_err());
    // The labels as a table are those of the images.
    let dataset = Dataset::find(&text(&saved.dataset)).unwrap();
    let rows = read_label_csv(&saved.csv, &dataset, None).unwrap();
    for (image, name) in rows.iter().zip(["a.png", "m.png", "z.png"]) {
        let size = segtool::Size {
            width: image::open(&image.image).unwrap().width() as usize,
            height: image::open(&image.image).unwrap().height() as usize,
        };
        assert_eq!(image.image.file_name().unwrap(), name);
        assert!(image.paint(&saved.csv, size).unwrap() == load_sparse_labels(&labels.join(name), &dataset).unwrap());
    }
    assert_eq!(rows.len(), 3);
}

#[test]
fn training_on_the_saved_labels_gives_the_same_forest() {
    let folder = folder(&["a.png", "b.png"]);
    let (images, labels) = (folder.path().join("cores"), folder.path().join("cores-labels"));
    let labelling = open(&options(&images));
    with_classes(&labelling);
    paint(&labelling, 0);
    paint(&labelling, 1);
    let number = train(&labelling).unwrap();
    let score = score(&labelling, number);
    let saved = labelling.save(None).unwrap();
    let (run, made) = (text(&folder.path().join("trained")), saved.run.unwrap());
    let dataset = text(&saved.dataset);
    let common =
        ["--recipe", "hypercolumn-core", "--dataset", &dataset, "--set", "forest.trees=20", "--device", "flex"];
    let own = ["train", "--images", &text(&images), "--labels", &text(&labels), "--output-path", &run];
    stdout_of(&[&own[..], &common].concat());
    let forest = |run: &Path| fs::read(run.join("forest.bin")).unwrap();
    assert!(forest(Path::new(&run)) == forest(&made));
    let scores = read_json(Path::new(&run).join("scores.json"));
    let close = |a: f64, b: &serde_json::Value| (a - b.as_f64().unwrap()).abs() < 1e-9;
    assert!(close(score.by_region.unwrap().mean_f1.unwrap(), &scores["by_region"]["mean_f1"]));
    assert!(close(score.by_pixel.unwrap().mean_f1.unwrap(), &scores["by_pixel"]["mean_f1"]));
    let table = text(&folder.path().join("of-table"));
    let own = ["train", "--label-csv", &text(&saved.csv), "--output-path", &table];
    stdout_of(&[&own[..], &common].concat());
    assert!(forest(Path::new(&table)) == forest(&made));
    // The report can be made again, with the images.
    stdout_of(&["report", &text(&made)]);
}

#[test]
fn the_score_says_what_was_labelled_in_one_place_and_a_newer_training_ends_it() {
    let folder = folder(&["a.png"]);
    let labelling = open(&options(&folder.path().join("cores")));
    with_classes(&labelling);
    let revision = labelling.labels(0).unwrap().1;
    let places = vec![filled(8, 8, 20, 6, 1), filled(128, 8, 20, 6, 1), filled(48, 8, 20, 6, 2)];
    labelling.change(0, &change(revision, "x", places)).unwrap();
    let first = train(&labelling).unwrap();
    let second = train(&labelling).unwrap();
    let found = score(&labelling, second);
    assert!(found.note.contains("'rubble' is labelled in one region only"), "{}", found.note);
    assert!(found.note.contains("'grey granodiorite' and 'dark gap' are not labelled"), "{}", found.note);
    let region = found.by_region.unwrap();
    assert!(region.classes[0].f1.is_some() && region.classes[1].f1.is_none() && region.classes[1].iou.is_none());
    assert_eq!((region.classes[0].regions, region.classes[0].value), (2, 1));
    assert_eq!(labelling.score(Some(first)).unwrap().state, "running", "given up");
}

#[test]
fn suggestions_lie_where_nothing_is_labelled() {
    let folder = folder(&["a.png"]);
    let labelling = open(&options(&folder.path().join("cores")));
    with_classes(&labelling);
    paint(&labelling, 0);
    train(&labelling).unwrap();
    let found = labelling.suggestions(0, None, 6).unwrap();
    assert_eq!(found.len(), 6);
    let labels = labelling.labels(0).unwrap().0;
    for (i, place) in found.iter().enumerate() {
        assert_eq!(labels[place.y * 240 + place.x], 0);
        let near = |other: &segtool::serve::labelling::Suggestion| {
            place.x.abs_diff(other.x) < 10 && place.y.abs_diff(other.y) < 10
        };
        assert!(!found[..i].iter().any(near), "{found:?}");
        assert!(i == 0 || place.uncertainty <= found[i - 1].uncertainty);
    }
}

#[test]
fn pixels_without_data_are_neither_learnt_from_nor_predicted() {
    let folder = tempdir().unwrap();
    let images = folder.path().join("cores");
    fs::create_dir(&images).unwrap();
    let color = core();
    let cut = image::RgbaImage::from_fn(240, 40, |x, y| {
        let Rgb([r, g, b]) = *color.get_pixel(x, y);
        image::Rgba([r, g, b, if x < 30 { 0 } else { 255 }])
    });
    cut.save(images.join("a.png")).unwrap();
    let labelling = open(&options(&images));
    with_classes(&labelling);
    paint(&labelling, 0);
    let number = train(&labelling).unwrap();
    let overview = labelling.overview();
    assert_eq!(overview.images[0].labelled - overview.model.unwrap().labelled, 22 * 7 + 10 * 3);
    let (found, _) = labelling.prediction(0, Some(number), None).unwrap();
    assert!((0..9600).all(|i| (found.values[i] == 0) == (i % 240 < 30)));
    assert!((0..9600).filter(|i| i % 240 < 30).all(|i| found.uncertainty[i] == 0));
    assert!(labelling.suggestions(0, None, 20).unwrap().iter().all(|place| place.x >= 30));
}

#[test]
fn little_memory_changes_no_class_and_features_are_kept_on_disk() {
    let folder = tempdir().unwrap();
    let images = folder.path().join("cores");
    fs::create_dir(&images).unwrap();
    let core = core();
    let wide = RgbImage::from_fn(700, 600, |x, y| *core.get_pixel(x % 240, y % 40));
    wide.save(images.join("a.png")).unwrap();
    let cache = folder.path().join("features");
    let shown = |options: &LabelOptions| {
        let labelling = open(options);
        with_classes(&labelling);
        paint(&labelling, 0);
        let revision = labelling.labels(0).unwrap().1;
        labelling.change(0, &change(revision, "x", vec![filled(600, 500, 20, 20, 1)])).unwrap();
        train(&labelling).unwrap();
        labelling.prediction(0, None, None).unwrap().0
    };
    let usual = shown(&options(&images));
    fs::remove_dir_all(folder.path().join("cores-labels")).unwrap();
    let tight = LabelOptions { memory: Some(1), cache_features: Some(cache.clone()), ..options(&images) };
    assert!(shown(&tight) == usual);
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
}

#[test]
fn strokes_of_other_programs_keep_their_classes_when_colours_change() {
    let folder = folder(&["a.png"]);
    let (images, labels) = (folder.path().join("cores"), folder.path().join("cores-labels"));
    with_classes(&open(&options(&images)));
    let [red, green, blue] = classes()[0].color.0;
    let color = |x: u32| image::Rgba(if x < 9 { [red, green, blue, 255] } else { [0; 4] });
    image::RgbaImage::from_fn(240, 40, |x, _| color(x)).save(labels.join("a.png")).unwrap();
    let labelling = open(&options(&images));
    let values = labelling.labels(0).unwrap().0;
    assert!((0..9600).all(|i| values[i] == u8::from(i % 240 < 9)));
    // The second class gets the colour that the first one had.
    let mut recolored = classes();
    recolored[1].color = recolored[0].color;
    recolored[0].color = Color([200, 10, 10]);
    let revision = labelling.overview().classes_revision;
    assert!(matches!(labelling.reclass(revision, recolored.clone(), false).unwrap(), Reclassed::Done(_)));
    assert_eq!(on_disk(&labels, "a.png"), *values);
    drop(labelling);
    let labelling = open(&options(&images));
    assert_eq!((labelling.labels(0).unwrap().0, labelling.overview().classes), (values, recolored));
}

/// Other systems refuse such names.
#[cfg(target_os = "linux")]
#[test]
fn folders_whose_names_are_not_utf_8_are_labelled() {
    use std::os::unix::ffi::OsStrExt;

    let folder = folder(&["a.png"]);
    let labels = folder.path().join(std::ffi::OsStr::from_bytes(b"mine\xff"));
    let with = LabelOptions { labels: Some(labels), ..options(&folder.path().join("cores")) };
    with_classes(&open(&with));
    let labelling = open(&with);
    assert_eq!(labelling.overview().classes, classes());
    let overview = serde_json::to_value(labelling.overview()).unwrap();
    assert!(overview["labels_folder"].as_str().unwrap().ends_with("/mine\u{fffd}"), "{overview}");
    let saved = serde_json::to_value(labelling.save(None).unwrap()).unwrap();
    assert!(saved["csv"].as_str().unwrap().ends_with("/mine\u{fffd}/labels.csv") && saved["run"].is_null(), "{saved}");
}

#[test]
fn labels_that_are_there_are_taken_over_with_what_they_mean() {
    let folder = folder(&["a.png"]);
    let (images, labels) = (folder.path().join("cores"), folder.path().join("mine"));
    fs::create_dir(&labels).unwrap();
    let grey = |value: u8| GrayImage::from_fn(240, 40, |x, _| image::Luma([if x < 9 { value } else { 0 }]));
    let with = || LabelOptions { labels: Some(labels.clone()), ..options(&images) };
    for (value, first) in [(4, "intact sandstone"), (200, "class 200")] {
        let _ = fs::remove_file(labels.join("dataset.toml"));
        grey(value).save(labels.join("a.png")).unwrap();
        let overview = open(&with()).overview();
        assert_eq!((overview.classes[0].name.as_str(), overview.images[0].labelled), (first, 360), "{value}");
    }
    fs::remove_file(labels.join("dataset.toml")).unwrap();
    grey(255).save(labels.join("a.png")).unwrap();
    assert!(refusal(&with()).contains("label value 255"));
    fs::copy(labels.join("a.png"), labels.join("a.bmp")).unwrap();
    assert!(refusal(&with()).contains("second label image of"));
    let same = LabelOptions { labels: Some(images.clone()), ..options(&images) };
    assert!(refusal(&same).contains("is the folder of the images"));
    core().save(images.join("a.bmp")).unwrap();
    assert!(refusal(&options(&images)).contains("have the same stem"));
    // A single image has its own folder.
    let single = open(&options(&images.join("a.png"))).overview();
    assert_eq!((single.labels_folder, single.images.len()), (images.join("a-labels"), 1));
}
