//! Old results beside new ones: nothing that is read is written over, and predictions of two networks are never taken for
//! those of one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use image::{GrayImage, Luma, Rgb, RgbImage};
use segtool::predict::{JOURNAL, RECORD, Record};

use crate::common::{assert_says, output_of, small_data, small_recipe, stderr_of, stdout_of, text};

/// A folder with data and two runs of one recipe that differ in their seeds.
struct Bench {
    folder: tempfile::TempDir,
    runs: [String; 2],
}

impl Bench {
    /// With runs that are trained once for all tests, which only read them.
    fn new() -> Self {
        static TRAINED: LazyLock<Bench> = LazyLock::new(Bench::trained);
        let folder = tempfile::tempdir().unwrap();
        small_data(folder.path());
        Self { folder, runs: TRAINED.runs.clone() }
    }

    /// With runs of its own, and their recipe.
    fn trained() -> Self {
        let folder = tempfile::tempdir().unwrap();
        small_data(folder.path());
        let recipe = small_recipe(folder.path(), 1);
        let run = |name: &str, seed: &str| {
            let at = |name: &str| text(&folder.path().join(name));
            let (images, labels, run) = (at("data/train_images.txt"), at("data/train_labels.txt"), at(name));
            let arguments = ["train", "--recipe", &recipe, "--train-list", &images, "--label-list", &labels];
            stdout_of(&[&arguments[..], &["--seed", seed, "--output-path", &run, "--device", "flex"]].concat());
            run
        };
        let runs = [run("a", "0"), run("b", "9")];
        Self { folder, runs }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        text(&self.path(name))
    }

    fn image(&self, number: usize) -> String {
        self.text(&format!("data/images/{number:03}.png"))
    }

    /// Arguments that predict images with one of the runs into `out`.
    fn predict<'a>(&'a self, run: usize, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["predict", "--run", &self.runs[run], "--output-path", out, "--device", "flex"], more].concat()
    }
}

/// The files of a folder by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn maker_of(folder: &Path, file: &str) -> String {
    Record::read(folder).unwrap().unwrap().maker_of(file).map_or_else(String::new, ToString::to_string)
}

#[test]
fn results_of_another_network_go_only_on_request() {
    let bench = Bench::new();
    let (out, list) = (bench.text("out"), bench.text("data/val_images.txt"));
    let with = |run, more: &[&'static str]| [&bench.predict(run, &out, &["--input-list", &list])[..], more].concat();
    assert!(!stderr_of(&with(0, &["--prob"]), 0).contains("replacing"));
    let first = files(Path::new(&out));
    assert!(maker_of(Path::new(&out), "009.npy").contains("/a (weights "));
    assert_eq!(maker_of(Path::new(&out), "010_prob.npy"), maker_of(Path::new(&out), "009.npy"));
    // The same once more, also with weights that lie elsewhere, or with less.
    assert_says(&stderr_of(&with(0, &[]), 0), &["note: replacing 3 results of the same network and options"]);
    assert_eq!(files(Path::new(&out)).get("011_prob.npy"), first.get("011_prob.npy"));
    fs::create_dir(bench.path("copy")).unwrap();
    for (name, content) in files(Path::new(&bench.runs[0])) {
        fs::write(bench.path("copy").join(name), content).unwrap();
    }
    let copy = bench.text("copy");
    stdout_of(&["predict", "--run", &copy, "--input-list", &list, "--output-path", &out, "--device", "flex"]);
    // Another network, other options, other images of the same names.
    let before = files(Path::new(&out));
    assert_says(
        &stderr_of(&with(1, &[]), 1),
        &["009.npy was made by run ", "(and 5 others)", "--overwrite", "--output-path"],
    );
    assert_says(&stderr_of(&with(0, &["--flip"]), 1), &["009.npy was made by run ", "own size; ", "--overwrite"]);
    fs::create_dir(bench.path("other")).unwrap();
    fs::copy(bench.image(0), bench.path("other/009.png")).unwrap();
    let other = bench.text("other/009.png");
    let refused = stderr_of(&bench.predict(0, &out, &[&other]), 1);
    assert_says(&refused, &["009.npy was made ", "images/009.png", "--overwrite"]);
    assert_eq!(files(Path::new(&out)), before);
    // Replaced with all that belongs to it.
    assert_says(
        &stderr_of(&with(1, &["--overwrite"]), 0),
        &["note: replacing 6 results in ", "009.npy was made by run "],
    );
    let after = files(Path::new(&out));
    assert_eq!(after.keys().collect::<Vec<_>>(), ["009.npy", "010.npy", "011.npy", RECORD, JOURNAL, "predictions.txt"]);
    assert!(after["009.npy"] != before["009.npy"]);
    assert!(maker_of(Path::new(&out), "009.npy").contains("/b (weights "));
    assert_eq!(Record::read(Path::new(&out)).unwrap().unwrap().makers.len(), 1);
}

#[test]
fn metrics_tells_predictions_of_two_networks() {
    let bench = Bench::new();
    let out = bench.text("out");
    let [first, second, third] = [9, 10, 11].map(|number| bench.image(number));
    stdout_of(&bench.predict(0, &out, &[&first, &second]));
    let labels = bench.path("labels");
    fs::create_dir(&labels).unwrap();
    let label = |number: usize| {
        fs::copy(bench.path(&format!("data/labels/{number:03}.png")), labels.join(format!("{number:03}.png"))).unwrap()
    };
    label(9);
    label(10);
    let labels = text(&labels);
    let metrics = ["metrics", "--predictions", &out, "--labels", &labels, "--dataset", "demo"];
    assert!(!stderr_of(&metrics, 0).contains("network"));
    stdout_of(&bench.predict(1, &out, &[&third]));
    label(11);
    let said = stderr_of(&metrics, 0);
    assert_says(&said, &["note: these are predictions of different networks: 2 by run ", "1 by run ", "/b (weights "]);
    let concat = ["concat", "--predictions", &out, "--images", &labels, "--dataset", "demo", "--output-path"];
    assert_says(
        &stderr_of(&[&concat[..], &[&bench.text("figures")]].concat(), 0),
        &["predictions of different networks"],
    );
    // A file from elsewhere.
    fs::copy(bench.path("out/011.npy"), bench.path("elsewhere.npy")).unwrap();
    stdout_of(&bench.predict(0, &out, &["--overwrite", &third]));
    assert!(!stderr_of(&metrics, 0).contains("network"));
    fs::remove_file(bench.path("out").join(RECORD)).unwrap();
    assert!(!stderr_of(&metrics, 0).contains("network"));
    // What is not recorded is not replaced just so.
    let refused = stderr_of(&bench.predict(0, &out, &[&third]), 1);
    assert_says(&refused, &["011.npy already exists", "does not record what made it", "--overwrite"]);
    stdout_of(&bench.predict(0, &out, &["--overwrite", &third]));
    assert_says(
        &stderr_of(&metrics, 0),
        &["2 of the predictions (for example ", "009.npy) are not recorded in their folder's predictions.json"],
    );
}

/// Kills a prediction over older results after ever longer times. Whatever is left is of the network that the record
/// names, and there is no list, or one of one network.
#[test]
fn a_killed_prediction_leaves_nothing_mixed() {
    let bench = Bench::new();
    let (out, images) = (bench.text("out"), bench.text("images"));
    fs::create_dir(&images).unwrap();
    for number in 0..40u32 {
        let image = GrayImage::from_fn(96, 64, |x, y| Luma([((x * 7 + y * 13 + number * 29) % 251) as u8]));
        image.save(bench.path("images").join(format!("{number:02}.png"))).unwrap();
    }
    let whole = [0, 1].map(|run| {
        let alone = bench.text(&format!("alone{run}"));
        let began = Instant::now();
        stdout_of(&bench.predict(run, &alone, &[&images]));
        (files(Path::new(&alone)), began.elapsed())
    });
    // How many files of each network a kill leaves that comes after `wait`.
    let left_of = |wait: &dyn Fn()| {
        stdout_of(&bench.predict(0, &out, &["--overwrite", &images]));
        let mut program = Command::new(env!("CARGO_BIN_EXE_segtool"));
        let arguments = bench.predict(1, &out, &["--overwrite", &images]);
        let mut child = program.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait();
        child.kill().unwrap();
        child.wait().unwrap();
        let left = files(Path::new(&out));
        let record = Record::read(Path::new(&out)).unwrap().unwrap();
        let mut of = [0, 0];
        for (name, content) in left.iter().filter(|(name, _)| name.ends_with(".npy")) {
            let run = whole.iter().position(|(files, _)| files[name] == *content);
            let run = run.unwrap_or_else(|| panic!("{name} is of neither network"));
            let maker = record.maker_of(name).unwrap().to_string();
            assert!(maker.starts_with(&format!("run {} ", bench.runs[run])), "{name} of run {run}: {maker}");
            of[run] += 1;
        }
        if let Some(list) = left.get("predictions.txt") {
            assert_eq!(list.iter().filter(|byte| **byte == b'\n').count(), 40);
            assert!(of == [0, 40] || of == [40, 0], "{of:?}");
        }
        of
    };
    let mut seen_both = false;
    for step in 1..=10u32 {
        let of = left_of(&|| sleep(whole[1].1 * step / 10));
        seen_both |= of[1] > 0 && of[1] < 40;
    }
    // On a busy machine the times above say little: a kill at the first file of the second network.
    let first_is_there = || {
        let first = Path::new(&out).join("00.npy");
        let began = Instant::now();
        while fs::read(&first).ok().as_ref() != whole[1].0.get("00.npy") && began.elapsed() < Duration::from_secs(60) {
            sleep(Duration::from_millis(1));
        }
    };
    for _ in 0..5 {
        if !seen_both {
            let of = left_of(&first_is_there);
            seen_both = of[1] > 0 && of[1] < 40;
        }
    }
    assert!(seen_both, "no kill met the prediction at work");
    // What a kill leaves is made whole by the same command.
    stdout_of(&bench.predict(1, &out, &["--overwrite", &images]));
    let names = |files: &BTreeMap<String, Vec<u8>>| {
        files.keys().filter(|name| !name.starts_with('.')).cloned().collect::<Vec<_>>()
    };
    let found = files(Path::new(&out));
    assert_eq!(names(&found), names(&whole[1].0));
    assert!(
        found.iter().filter(|(name, _)| name.ends_with(".npy")).all(|(name, content)| whole[1].0[name] == *content)
    );
}

#[cfg(unix)]
#[test]
fn a_stopped_prediction_writes_its_list() {
    use crate::common::{signal, wait_for};
    let bench = Bench::new();
    let big = bench.text("big.png");
    GrayImage::from_fn(1500, 1500, |x, y| Luma([((x * y) % 251) as u8])).save(&big).unwrap();
    let inputs = [bench.image(9), big, bench.image(10)];
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    for (name, code) in [("-TERM", 143), ("-INT", 130)] {
        let out = bench.text(name);
        let mut program = Command::new(env!("CARGO_BIN_EXE_segtool"));
        let windows = ["--tile", "16", "--stride", "2", "--batch-size", "1"];
        program.args(bench.predict(0, &out, &[&windows[..], &inputs].concat()));
        let child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(|| Path::new(&out).join("009.npy").exists());
        // As `timeout` does it: to the process and to its group.
        signal(&child, name);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_says(&said, &["to quit at once", "stopped: 1 of 3 images predicted"]);
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("1 prediction in "));
        assert_eq!(fs::read_to_string(Path::new(&out).join("predictions.txt")).unwrap(), "009.npy\n");
        let names: Vec<_> = files(Path::new(&out)).into_keys().collect();
        assert_eq!(names, ["009.npy", RECORD, JOURNAL, "predictions.txt"]);
        let (list, label) = (text(&Path::new(&out).join("predictions.txt")), bench.text("label.txt"));
        fs::write(&label, "data/labels/009.png\n").unwrap();
        let metrics = ["metrics", "--list-predict", &list, "--list-true", &label, "--dataset", "demo"];
        assert_says(&stderr_of(&metrics, 0), &["2 of the 3 images planned for ", "have no prediction"]);
    }
}

#[test]
fn labels_and_lists_are_never_predicted_over() {
    let bench = Bench::new();
    let folder = bench.path("d");
    fs::create_dir(&folder).unwrap();
    let image = image::open(bench.image(9)).unwrap();
    image.save(folder.join("x.tif")).unwrap();
    fs::copy(bench.path("data/labels/009.png"), folder.join("x.png")).unwrap();
    fs::write(folder.join("x.npy"), "labels").unwrap();
    fs::write(bench.path("l.txt"), "d/x.tif\n").unwrap();
    let (list, out, input) = (bench.text("l.txt"), text(&folder), bench.text("d/x.tif"));
    let before = files(&folder);
    for more in [&["--png"][..], &["--png", "--overwrite"], &["--overwrite"]] {
        let said = stderr_of(&[&bench.predict(0, &out, &["--input-list", &list])[..], more].concat(), 1);
        assert_says(&said, &["would overwrite what may be a label image", "d/x.npy", "--output-path"]);
    }
    assert_eq!(files(&folder), before);
    // A folder of labels alone: they go only on request.
    fs::create_dir(bench.path("labels")).unwrap();
    fs::copy(bench.path("data/labels/009.png"), bench.path("labels/x.png")).unwrap();
    let labels = bench.text("labels");
    let said = stderr_of(&bench.predict(0, &labels, &["--png", &input]), 1);
    assert_says(&said, &["labels/x.png already exists", "--overwrite"]);
    // The list of the images.
    let listed = bench.text("listed");
    fs::create_dir(&listed).unwrap();
    let list = bench.text("listed/predictions.txt");
    fs::write(&list, format!("{input}\n")).unwrap();
    let said = stderr_of(&bench.predict(0, &listed, &["--input-list", &list, "--overwrite"]), 1);
    assert_says(&said, &["would overwrite it", "predictions.txt"]);
    // An image behind another name.
    #[cfg(unix)]
    for (name, link) in [("soft", true), ("hard", false)] {
        let out = bench.text(name);
        fs::create_dir(&out).unwrap();
        let (target, place) = (PathBuf::from(bench.image(9)), Path::new(&out).join("009.png"));
        if link {
            std::os::unix::fs::symlink(&target, &place).unwrap()
        } else {
            fs::hard_link(&target, &place).unwrap()
        }
        let bytes = fs::read(&target).unwrap();
        let image = bench.image(9);
        let said = stderr_of(&bench.predict(0, &out, &["--png", "--overwrite", &image]), 1);
        assert_says(&said, &["would overwrite it", "009.png is also an input", "it is the same file as "]);
        assert_eq!(fs::read(&target).unwrap(), bytes);
    }
}

#[test]
fn grey_images_and_figures_do_not_take_the_place_of_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let colors = RgbImage::from_fn(8, 8, |x, y| Rgb([x as u8 * 9, y as u8 * 9, 200]));
    colors.save(at("a.png")).unwrap();
    let before = fs::read(at("a.png")).unwrap();
    let (image, here, out) = (text(&at("a.png")), text(folder.path()), text(&at("out")));
    let gray = |image: &str, folder: &str| stderr_of(&["rgb2gray", image, "--output-folder", folder, "--overwrite"], 1);
    assert_says(&gray(&image, &here), &["would overwrite it", "a.png", "--output-folder"]);
    #[cfg(unix)]
    {
        fs::create_dir(&out).unwrap();
        std::os::unix::fs::symlink(at("a.png"), at("out/a.png")).unwrap();
        assert_says(&gray(&image, &out), &["it is the same file as"]);
        fs::remove_file(at("out/a.png")).unwrap();
        fs::hard_link(at("a.png"), at("out/a.png")).unwrap();
        assert_says(&gray(&image, &out), &["it is the same file as"]);
    }
    // A label image beside an image of another type, which alone is named.
    colors.save(at("b.bmp")).unwrap();
    GrayImage::new(8, 8).save(at("b.png")).unwrap();
    assert_says(&gray(&text(&at("b.bmp")), &here), &["would overwrite", "b.png lies beside", "label image"]);
    assert_eq!(fs::read(at("a.png")).unwrap(), before);

    // A figure that would be drawn over its own image.
    ndarray_npy::write_npy(at("p.npy"), &ndarray::Array2::<u8>::zeros((8, 8))).unwrap();
    colors.save(at("p_concat.png")).unwrap();
    let (prediction, image) = (text(&at("p.npy")), text(&at("p_concat.png")));
    let concat = ["concat", "--image-predict", &prediction, "--images", &image, "--output-path", &here];
    assert_says(&stderr_of(&concat, 1), &["would overwrite it", "p_concat.png"]);

    // Scores over what is scored, and sums over what is added.
    GrayImage::from_pixel(8, 8, Luma([1])).save(at("l.png")).unwrap();
    GrayImage::from_pixel(8, 8, Luma([1])).save(at("q.png")).unwrap();
    fs::write(at("p.txt"), "q.png\n").unwrap();
    fs::write(at("l.txt"), "l.png\n").unwrap();
    let (list, labels) = (text(&at("p.txt")), text(&at("l.txt")));
    let metrics = ["metrics", "--list-predict", &list, "--list-true", &labels, "--num-class", "2"];
    for (flag, path) in
        [("--confusion", text(&at("l.png"))), ("--per-image", list.clone()), ("--partial", labels.clone())]
    {
        let said = stderr_of(&[&metrics[..], &[flag, &path]].concat(), 1);
        assert_says(&said, &["would overwrite it", &format!("choose another {flag}")]);
    }
    let partial = text(&at("part.json"));
    stdout_of(&[&metrics[..], &["--partial", &partial]].concat());
    stdout_of(&[&metrics[..], &["--partial", &partial]].concat());
    let said = stderr_of(&["metrics", "--merge", &partial, "--partial", &partial], 1);
    assert_says(&said, &["would overwrite it", "part.json"]);
}

#[test]
fn weights_and_data_set_files_do_not_take_the_place_of_what_is_read() {
    let bench = Bench::trained();
    let model = format!("{}/model.safetensors", bench.runs[0]);
    let before = fs::read(&model).unwrap();
    assert_says(&stderr_of(&["import", &model, "--output", &model], 1), &["would overwrite it"]);
    assert_says(
        &stderr_of(&["export", &bench.runs[0], "--to", "seeps", "--output", &model], 1),
        &["would overwrite it"],
    );
    assert_eq!(fs::read(&model).unwrap(), before);
    let label = bench.text("data/labels/009.png");
    let said = stderr_of(&["dataset", &label, "--output", &label, "--overwrite"], 1);
    assert_says(&said, &["would overwrite it"]);
    let (images, labels) = (bench.text("data/images"), bench.text("data/labels"));
    let recipe = bench.text("small.toml");
    let train = ["train", "--recipe", &recipe, "--images", &images, "--labels", &labels];
    let said = stderr_of(&[&train[..], &["--show-augmented", &bench.image(3)]].concat(), 1);
    assert_says(&said, &["would overwrite it", "003.png", "--show-augmented"]);
    let again = [&train[..], &["--weights", &bench.runs[0], "--overwrite", "--output-path", &bench.runs[0]]].concat();
    assert_says(
        &stderr_of(&again, 1),
        &["model.safetensors holds the initial weights of this training", "choose another"],
    );
    assert_eq!(fs::read(&model).unwrap(), before);
}

#[test]
fn lists_name_results_that_begin_like_comments() {
    let bench = Bench::new();
    let folder = bench.path("odd");
    fs::create_dir(&folder).unwrap();
    for name in ["#1.png", " 2.png", "'3.png", "4 5.png"] {
        fs::copy(bench.image(9), folder.join(name)).unwrap();
    }
    let (out, images) = (bench.text("out"), text(&folder));
    stdout_of(&bench.predict(0, &out, &[&images]));
    let list = fs::read_to_string(bench.path("out/predictions.txt")).unwrap();
    assert_eq!(list, "./ 2.npy\n./#1.npy\n./'3.npy\n4 5.npy\n");
    let (list, labels) = (bench.text("out/predictions.txt"), bench.text("labels.txt"));
    fs::write(&labels, "data/labels/009.png\n".repeat(4)).unwrap();
    let metrics = ["metrics", "--list-predict", &list, "--list-true", &labels, "--dataset", "demo"];
    assert!(String::from_utf8_lossy(&output_of(&metrics).stdout).contains("4 images, 0 skipped"));
    // A name that no list can hold, and one that no terminal should print.
    #[cfg(unix)]
    {
        fs::copy(bench.image(9), folder.join("a\nb.png")).unwrap();
        fs::write(folder.join("c\u{1b}[2Jd\n.png"), "no image").unwrap();
        let said = stderr_of(&bench.predict(0, &out, &[&images]), 3);
        assert_says(&said, &["\"a\\nb.npy\" contains a line break", "c\\u{1b}[2Jd\\n.png"]);
        assert!(!said.contains('\u{1b}'));
        assert_eq!(fs::read_to_string(bench.path("out/predictions.txt")).unwrap().lines().count(), 4);
    }
}

#[test]
fn many_results_are_found_quickly_in_a_second_call() {
    let bench = Bench::new();
    let images = bench.path("many");
    fs::create_dir(&images).unwrap();
    let tiny = GrayImage::from_pixel(4, 4, Luma([9]));
    tiny.save(images.join("0000.png")).unwrap();
    for number in 1..1000 {
        fs::copy(images.join("0000.png"), images.join(format!("{number:04}.png"))).unwrap();
    }
    let (out, images) = (bench.text("out"), text(&images));
    // Of the processor: other programs may make the clock's time longer.
    let seconds = || {
        let arguments = bench.predict(0, &out, &["--color", "--png", "--prob", &images]).join("' '");
        let line = format!("TIMEFORMAT='%U %S'; time '{}' '{arguments}' 2>/dev/null", env!("CARGO_BIN_EXE_segtool"));
        let output = Command::new("bash").args(["-c", &line]).stdout(Stdio::null()).output().unwrap();
        let spent = String::from_utf8(output.stderr).unwrap();
        let spent: Vec<f64> = spent.split_whitespace().map(|number| number.parse().unwrap()).collect();
        assert!(output.status.success() && spent.len() == 2, "{spent:?}");
        spent[0] + spent[1]
    };
    let (first, second) = (seconds(), seconds());
    assert!(second < 2.0 * first + 0.3, "{first} s, then {second} s");
}
