//! Which image goes with which label image, and which of them are in which set: what is refused, and what is said.

use std::fs;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::{GrayImage, Luma};
use tempfile::TempDir;

use crate::common::{segtool, small_data, small_recipe, stderr_of, text, write_list};

/// Nine training and three validation pairs of data set `demo`, of 32x32, and a recipe.
struct Bench {
    folder: TempDir,
    recipe: String,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        small_data(folder.path());
        let recipe = small_recipe(folder.path(), 1);
        Self { folder, recipe }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        text(&self.path(name))
    }

    /// An image or label image of a pair, by number.
    fn file(&self, kind: &str, number: usize) -> PathBuf {
        self.path(&format!("data/{kind}/{number:03}.png"))
    }

    fn files(&self, kind: &str, numbers: impl IntoIterator<Item = usize>) -> Vec<PathBuf> {
        numbers.into_iter().map(|number| self.file(kind, number)).collect()
    }

    /// A list file.
    fn list(&self, name: &str, entries: &[PathBuf]) -> String {
        write_list(self.folder.path(), name, entries)
    }

    /// What a training says, after checking how it ended.
    fn train(&self, images: &str, labels: &str, more: &[&str], code: i32) -> String {
        let run = self.text("run");
        let first = ["train", "--recipe", &self.recipe, "--train-list", images, "--label-list", labels];
        stderr_of(&[&first, more, &["--output-path", &run, "--overwrite"]].concat(), code)
    }

    /// The same on pairs by number, with others for validation.
    fn train_on(&self, train: &[usize], validation: &[usize], code: i32) -> String {
        let list = |name: &str, kind: &str, numbers: &[usize]| {
            self.list(&format!("{name}_{kind}.txt"), &self.files(kind, numbers.iter().copied()))
        };
        let [images, labels] = ["images", "labels"].map(|kind| list("t", kind, train));
        let [val_images, val_labels] = ["images", "labels"].map(|kind| list("v", kind, validation));
        self.train(&images, &labels, &["--val-list", &val_images, "--val-label-list", &val_labels], code)
    }

    /// Replaces a label image.
    fn label(&self, number: usize, value: impl Fn(u32, u32) -> u8) {
        GrayImage::from_fn(32, 32, |x, y| Luma([value(x, y)])).save(self.file("labels", number)).unwrap();
    }
}

fn notes(message: &str) -> Vec<&str> {
    message.lines().filter(|line| line.starts_with("note: ")).collect()
}

/// The notes about images that are there more than once, or in another order.
fn pair_notes(message: &str) -> Vec<&str> {
    notes(message)
        .into_iter()
        .filter(|line| [" repeat ", " are also ", " do not match "].iter().any(|w| line.contains(w)))
        .collect()
}

const REVERSED: &str = "pairs the names do not match (the first is";

#[test]
fn lists_in_another_order_are_noted_wherever_lists_are_taken() {
    let bench = Bench::new();
    let images = bench.list("images.txt", &bench.files("images", 0..6));
    let ordered = bench.list("labels.txt", &bench.files("labels", 0..6));
    let reversed = bench.list("reversed.txt", &bench.files("labels", (0..6).rev()));
    let expected = format!("note: in 6 of 6 {REVERSED}");
    let count = |message: &str| message.matches(&expected).count();

    assert_eq!(pair_notes(&bench.train(&images, &ordered, &["--val-fraction", "0.3"], 0)), Vec::<&str>::new());
    let message = bench.train(&images, &reversed, &[], 0);
    assert!(
        count(&message) == 1 && message.contains("images/000.png with ") && message.contains("labels/005.png"),
        "{message}"
    );
    // In the validation set, too.
    let val_images = bench.list("vi.txt", &bench.files("images", 9..12));
    let val_labels = bench.list("vl.txt", &bench.files("labels", [10, 9, 11]));
    let message = bench.train(&images, &ordered, &["--val-list", &val_images, "--val-label-list", &val_labels], 0);
    assert!(message.contains(&format!("note: in 2 of 3 {REVERSED}")), "{message}");
    // A list of pairs.
    let lines: String = (0..4)
        .map(|i| format!("{} {}\n", bench.file("images", i).display(), bench.file("labels", 3 - i).display()))
        .collect();
    fs::write(bench.path("pairs.txt"), lines).unwrap();
    let run = bench.text("run");
    let train = segtool("train").arg("--recipe", &bench.recipe).arg("--train-list", bench.text("pairs.txt"));
    let message = train.arg("--output-path", &run).flag("--overwrite").says();
    assert!(message.contains(&format!("note: in 4 of 4 {REVERSED}")), "{message}");

    let concat = ["concat", "--list-predict", &ordered, "--dataset", "demo", "--output-path", &bench.text("f")];
    let message = stderr_of(&[&concat[..], &["--image-list", &images, "--label-list", &reversed]].concat(), 0);
    assert!(count(&message) == 1 && message.contains("labels/005.png with "), "{message}");
    let reversed_images = bench.list("ri.txt", &bench.files("images", (0..6).rev()));
    let message = stderr_of(&[&concat[..], &["--image-list", &reversed_images]].concat(), 0);
    assert_eq!(count(&message), 1, "{message}");
    assert_eq!(pair_notes(&stderr_of(&[&concat[..], &["--image-list", &images]].concat(), 0)), Vec::<&str>::new());

    let metrics = ["metrics", "--list-predict", &reversed, "--list-true", &ordered, "--dataset", "demo"];
    assert_eq!(count(&stderr_of(&metrics, 0)), 1);
    let lines = fs::read_to_string(&reversed).unwrap();
    let both: String =
        lines.lines().zip(fs::read_to_string(&ordered).unwrap().lines()).map(|(a, b)| format!("{a} {b}\n")).collect();
    fs::write(bench.path("both.txt"), both).unwrap();
    assert_eq!(count(&stderr_of(&["metrics", "--list-predict", &bench.text("both.txt"), "--dataset", "demo"], 0)), 1);
    let twice = bench.list("twice.txt", &bench.files("labels", [0, 1, 0]));
    let message = stderr_of(&["metrics", "--list-predict", &twice, "--list-true", &twice, "--dataset", "demo"], 0);
    assert!(message.contains("note: 1 of 3 pairs repeat an earlier one and are counted again"), "{message}");
}

#[test]
fn a_naming_scheme_is_no_other_order() {
    let bench = Bench::new();
    let copied = |kind: &str, name: fn(usize) -> String| -> Vec<PathBuf> {
        (0..4)
            .map(|i| {
                let path = bench.path(&name(i));
                fs::copy(bench.file(kind, i), &path).unwrap();
                path
            })
            .collect()
    };
    let images = bench.list("images.txt", &copied("images", |i| format!("img_{i}.png")));
    let mut labels = copied("labels", |i| format!("mask_{i}_L.png"));
    let ordered = bench.list("labels.txt", &labels);
    assert_eq!(pair_notes(&bench.train(&images, &ordered, &[], 0)), Vec::<&str>::new());
    labels.swap(0, 1);
    let message = bench.train(&images, &bench.list("swapped.txt", &labels), &[], 0);
    assert!(message.contains(&format!("note: in 2 of 4 {REVERSED}")), "{message}");
}

#[test]
fn images_that_are_there_twice_are_found_by_their_content() {
    let bench = Bench::new();
    // Another name and another format; and two label images that equal each other, which is nothing to tell.
    let copy = bench.path("copy.bmp");
    image::open(bench.file("images", 0)).unwrap().save(&copy).unwrap();
    fs::copy(bench.file("labels", 1), bench.file("labels", 2)).unwrap();
    let mut images = bench.files("images", 0..4);
    let labels = bench.list("labels.txt", &bench.files("labels", [0, 1, 2, 3, 0]));
    images.push(copy);
    let message = bench.train(&bench.list("images.txt", &images), &labels, &[], 0);
    let found = pair_notes(&message);
    assert_eq!(found.len(), 2, "{message}");
    assert!(found[0].contains("in 1 of 5 pairs the names do not match"), "{message}");
    assert!(
        found[1].contains("note: 1 of 5 training images repeat an earlier one (")
            && found[1].contains("copy.bmp is the same image as "),
        "{message}"
    );
    assert!(found[1].contains("images/000.png)") && !found[1].contains("different labels"), "{message}");
    // With other labels.
    let labels = bench.list("labels.txt", &bench.files("labels", [0, 1, 2, 3, 3]));
    let message = bench.train(&bench.text("images.txt"), &labels, &[], 0);
    assert!(message.contains("images/000.png); 1 of them with different labels"), "{message}");
}

#[test]
fn images_of_both_sets_are_noted() {
    let bench = Bench::new();
    assert_eq!(pair_notes(&bench.train_on(&[0, 1, 2, 3], &[9, 10], 0)), Vec::<&str>::new());
    let message = bench.train_on(&[0, 1, 2, 3], &[0, 1, 2, 3], 0);
    let expected = "note: 4 of 4 validation images are also in the training set (";
    assert!(pair_notes(&message).len() == 1 && message.contains(expected), "{message}");
    assert!(message.contains("images/000.png is in both): validation scores will be too optimistic"), "{message}");
    // A copy under another name.
    fs::copy(bench.file("images", 2), bench.file("images", 10)).unwrap();
    let message = bench.train_on(&[0, 1, 2, 3], &[9, 10], 0);
    assert!(message.contains("note: 1 of 2 validation images are also in the training set ("), "{message}");
    assert!(
        message.contains("images/010.png is the same image as ") && message.contains("images/002.png)"),
        "{message}"
    );
    // Every pair twice in one list, part of which is set aside.
    let twice = |kind: &str| bench.list(&format!("twice_{kind}.txt"), &bench.files(kind, (0..4).chain(0..4)));
    let message = bench.train(&twice("images"), &twice("labels"), &["--val-fraction", "0.25"], 0);
    assert!(message.contains(" validation images are also in the training set ("), "{message}");
}

#[test]
fn classes_of_one_set_alone_are_named() {
    let bench = Bench::new();
    for number in [0, 1] {
        bench.label(number, |x, _| (x / 16) as u8);
    }
    bench.label(9, |x, _| if x < 16 { 0 } else { 3 });
    let message = bench.train_on(&[0, 1], &[9], 0);
    let names: Vec<String> =
        segtool::data::Dataset::find("demo").unwrap().classes.into_iter().map(|class| class.name).collect();
    for expected in [
        format!("note: class '{}' does not occur in any label image\n", names[2]),
        format!(
            "note: class '{}' does not occur in the training labels, only in the validation labels: \
             not learnt, and scored 0\n",
            names[3]
        ),
        format!(
            "note: class '{}' does not occur in the validation labels, only in the training labels: not scored\n",
            names[1]
        ),
    ] {
        assert!(message.contains(&expected), "{expected}{message}");
    }
    // Without a validation set, nothing is said of it; several classes are one line.
    let [images, labels] = ["images", "labels"].map(|kind| bench.text(&format!("t_{kind}.txt")));
    let message = bench.train(&images, &labels, &[], 0);
    let expected = format!("note: classes '{}' and '{}' do not occur in any label image\n", names[2], names[3]);
    assert!(message.contains(&expected) && !message.contains("only of the"), "{message}");
}

/// A data set file like `demo`, in which 255 is not labelled.
fn with_void(bench: &Bench) -> String {
    let demo = segtool::data::Dataset::built_in_text("demo").unwrap();
    let ignoring: String =
        demo.lines().filter(|line| !line.starts_with("ignore")).map(|line| format!("{line}\n")).collect();
    fs::write(bench.path("void.toml"), format!("ignore = [255]\n{ignoring}")).unwrap();
    bench.text("void.toml")
}

#[test]
fn sets_without_a_labelled_pixel_are_refused() {
    let bench = Bench::new();
    let dataset = with_void(&bench);
    bench.label(9, |_, _| 255);
    let lists = |name: &str, number: usize| {
        ["images", "labels"].map(|kind| bench.list(&format!("{name}_{kind}.txt"), &bench.files(kind, [number])))
    };
    let ([full, full_labels], [void, void_labels]) = (lists("full", 0), lists("void", 9));
    let message = bench.train(
        &full,
        &full_labels,
        &["--dataset", &dataset, "--val-list", &void, "--val-label-list", &void_labels, "--best-by", "loss"],
        1,
    );
    assert!(message.contains("no pixel of the validation set has a label, so there is nothing to score"), "{message}");
    let more = ["--dataset", &dataset, "--val-list", &full, "--val-label-list", &full_labels];
    let message = bench.train(&void, &void_labels, &more, 1);
    assert!(message.contains("no pixel of the training set has a label, so there is nothing to learn"), "{message}");
    let message =
        stderr_of(&["metrics", "--list-predict", &full_labels, "--list-true", &void_labels, "--dataset", &dataset], 0);
    assert!(
        message.contains("note: no pixel of the label images counts as labelled, so every score is 0"),
        "{message}"
    );
}

/// What is said where images and label images are in each other's place: one line, before anything else is read.
fn assert_exchanged(message: &str, flags: &str) {
    let errors: Vec<&str> = message.lines().filter(|line| !line.starts_with("note: ")).collect();
    assert_eq!(errors.len(), 1, "{message}");
    assert!(errors[0].contains(" seem to be swapped: "), "{message}");
    assert!(errors[0].contains(flags), "{message}");
}

#[test]
fn exchanged_images_and_labels_are_one_line() {
    let bench = Bench::new();
    let (images, labels) = (bench.text("data/images"), bench.text("data/labels"));
    let folders = |images: &str, labels: &str| {
        let arguments =
            ["train", "--recipe", &bench.recipe, "--images", images, "--labels", labels, "--output-path", "x"];
        stderr_of(&arguments, 1)
    };
    assert_exchanged(&folders(&labels, &images), "swap --images and --labels");
    let [images_list, labels_list] = ["images", "labels"].map(|kind| bench.text(&format!("data/train_{kind}.txt")));
    let message = bench.train(&labels_list, &images_list, &[], 1);
    assert_exchanged(&message, "--train-list and --label-list");
    let [val_images, val_labels] = ["images", "labels"].map(|kind| bench.text(&format!("data/val_{kind}.txt")));
    let message =
        bench.train(&images_list, &labels_list, &["--val-list", &val_labels, "--val-label-list", &val_images], 1);
    assert_exchanged(&message, "swap --val-list and --val-label-list");
    // Photographs that are JPEGs cannot be label images at all.
    fs::create_dir(bench.path("photos")).unwrap();
    for number in 0..3 {
        let image = image::open(bench.file("images", number)).unwrap();
        let mut bytes = Vec::new();
        image.write_with_encoder(JpegEncoder::new(&mut bytes)).unwrap();
        fs::write(bench.path(&format!("photos/{number:03}.jpg")), bytes).unwrap();
    }
    assert_exchanged(&folders(&labels, &bench.text("photos")), "holds only JPEG or WebP files");
    let photos: Vec<PathBuf> = (0..3).map(|i| bench.path(&format!("photos/{i:03}.jpg"))).collect();
    let photos = bench.list("photos.txt", &photos);
    let three = bench.list("three.txt", &bench.files("labels", 0..3));
    assert_exchanged(&bench.train(&three, &photos, &[], 1), "swap --images and --labels");
    let said = stderr_of(
        &[
            &["concat", "--list-predict", &labels_list, "--image-list", &labels_list, "--label-list", &images_list][..],
            &["--dataset", "demo", "--output-path", &bench.text("drawn")],
        ]
        .concat(),
        1,
    );
    assert_exchanged(&said, "--image-list and --label-list");
    // A label image of another data set is none of this: all its faults are told.
    for number in 0..3 {
        bench.label(number, |x, y| (x / 2 + y) as u8);
    }
    let images = bench.list("three_images.txt", &bench.files("images", 0..3));
    let message = bench.train(&images, &three, &[], 1);
    assert!(message.contains("the data set has") && !message.contains("seem to be swapped"), "{message}");
}

#[test]
fn a_network_is_told_of_exchanged_images_when_it_is_scored() {
    let bench = Bench::new();
    let [images, labels] = ["images", "labels"].map(|kind| bench.text(&format!("data/train_{kind}.txt")));
    let [val_images, val_labels] = ["images", "labels"].map(|kind| bench.text(&format!("data/val_{kind}.txt")));
    bench.train(&images, &labels, &["--val-list", &val_images, "--val-label-list", &val_labels], 0);
    let (run, images, labels) = (bench.text("run"), bench.text("data/images"), bench.text("data/labels"));
    let score = |images: &str, labels: &str, code: i32| {
        stderr_of(&["metrics", "--run", &run, "--images", images, "--labels", labels], code)
    };
    // The validation images are among them.
    let said = score(&images, &labels, 0);
    assert!(said.contains("run was trained on 9 of these 12 images, so the scores will be too optimistic"), "{said}");
    assert!(!stderr_of(&["metrics", "--run", &run], 0).contains("trained on"));
    assert_exchanged(&score(&labels, &images, 1), "swap --images and --labels");
}

#[test]
fn forests_are_told_the_same() {
    let bench = Bench::new();
    let recipe = |images: &Path, labels: &Path, more: &[&str], code: i32| {
        let (images, labels, run) = (text(images), text(labels), bench.text("forest"));
        let first = ["train", "--recipe", "hypercolumn-core", "--dataset", "core", "--set", "forest.trees=3"];
        let pairs = ["--taps", "pool1", "--split", "none", "--output-path", &run, "--overwrite"];
        let lists = ["--train-list", &images, "--label-list", &labels];
        stderr_of(&[&first[..], &pairs, &lists, more].concat(), code)
    };
    // Data set `core` has values 1 to 4, and 0 is not labelled.
    for number in 0..3 {
        bench.label(number, |x, y| if y < 16 { 1 + (x / 16) as u8 } else { 0 });
    }
    bench.label(3, |x, _| if x < 16 { 1 } else { 3 });
    let list = |name: &str, kind: &str, numbers: &[usize]| {
        PathBuf::from(bench.list(name, &bench.files(kind, numbers.iter().copied())))
    };
    let (images, labels) = (list("i.txt", "images", &[0, 1, 2]), list("l.txt", "labels", &[0, 1, 2]));
    let reversed = list("r.txt", "labels", &[2, 1, 0]);
    assert!(recipe(&images, &reversed, &[], 0).contains(&format!("note: in 2 of 3 {REVERSED}")));
    assert_exchanged(&recipe(&labels, &images, &[], 1), "swap --images and --labels");
    fs::copy(bench.file("images", 1), bench.file("images", 3)).unwrap();
    let (val_images, val_labels) = (list("vi.txt", "images", &[3]), list("vl.txt", "labels", &[3]));
    let message =
        recipe(&images, &labels, &["--val-list", &text(&val_images), "--val-label-list", &text(&val_labels)], 0);
    assert!(message.contains("note: 1 of 1 validation images are also in the training set ("), "{message}");
    assert!(message.contains("note: class 'grey granodiorite' is labelled only in the validation set"), "{message}");
    assert!(message.contains("note: class 'rubble' is not labelled in the validation set"), "{message}");
}
