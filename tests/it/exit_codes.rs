//! Wrong usage ends with 2, whoever finds it, and failures that another command line need not mend with 1.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{small_data, small_recipe, stderr_of, stdout_of, text};

/// A folder with data, a recipe and a run of it.
struct Bench {
    folder: tempfile::TempDir,
    recipe: String,
    run: String,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        small_data(folder.path());
        let (recipe, run) = (small_recipe(folder.path(), 1), text(&folder.path().join("run")));
        let bench = Self { folder, recipe, run };
        stdout_of(&bench.train(&bench.recipe, &bench.run, &[]).iter().map(String::as_str).collect::<Vec<_>>());
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A training of `recipe` into `run`.
    fn train(&self, recipe: &str, run: &str, more: &[&str]) -> Vec<String> {
        let [images, labels] = ["data/images", "data/labels"].map(|name| text(&self.path(name)));
        let base = ["train", "--images", &images, "--labels", &labels, "--output-path", run, "--device", "flex"];
        base.iter().chain(&["--recipe", recipe]).chain(more).map(|part| (*part).to_owned()).collect()
    }

    /// A prediction of two images with the run.
    fn predict(&self, more: &[&str]) -> Vec<String> {
        let [first, second] = ["000", "001"].map(|name| text(&self.path(&format!("data/images/{name}.png"))));
        let out = text(&self.path("predictions"));
        let base = ["predict", "--run", &self.run, "--output-path", &out, "--device", "flex", &first, &second];
        base.iter().chain(more).map(|part| (*part).to_owned()).collect()
    }

    /// What the program says, after checking how it ended and that it left no run and no predictions.
    fn said(&self, arguments: &[String], code: i32) -> String {
        let said = stderr_of(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), code);
        for name in ["never", "predictions"] {
            assert!(!self.path(name).join("config.json").exists(), "{arguments:?}");
        }
        said
    }

    fn train_with(&self, more: &[&str]) -> Vec<String> {
        self.train(&self.recipe, &text(&self.path("never")), more)
    }

    fn train_forest(&self, more: &[&str]) -> Vec<String> {
        self.train("hypercolumn-core", &text(&self.path("never")), more)
    }
}

fn line(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn wrong_usage_ends_with_2_whoever_finds_it() {
    let bench = Bench::new();
    let (never, confusion) = (text(&bench.path("never.pth")), text(&bench.path("confusion.txt")));
    let labels = text(&bench.path("data/labels"));
    let cases = [
        // clap.
        (line(&["bench", "--recipe", "unet-demo", "--device", "tpu"]), "unknown device 'tpu'"),
        (bench.predict(&["--scales", "pspnet"]), "choose csail, semseg or mmseg"),
        (bench.predict(&["--scales", "1", "--resize", "64"]), "cannot be used with"),
        (bench.predict(&["--depth-top", "1"]), "--depth-bottom"),
        // Commands.
        (bench.train_with(&["--split", "pixel"]), "--split has no effect with a recipe of a network"),
        (bench.train_with(&["--num-epoch", "1,2"]), "numbers given to --num-epoch: 2"),
        (bench.train_forest(&["--optimizer", "sgd"]), "--optimizer has no effect with a recipe of a random forest"),
        (bench.train_forest(&["--val-fraction", "2"]), "--val-fraction is 2; it must be between 0 and 1"),
        (bench.predict(&["--cache-features", "cache"]), "--cache-features has no effect with a run of a network"),
        (bench.predict(&["--depth-top", "1", "--depth-bottom", "2", "--proportions"]), "predict one image at a time"),
        (line(&["import", &bench.run, "--output", &never]), "imported weights are written as .safetensors"),
        (
            line(&[
                "metrics",
                "--predictions",
                &labels,
                "--labels",
                &labels,
                "--dataset",
                "demo",
                "--confusion",
                &confusion,
            ]),
            "the name must end in .png, .csv or .npy",
        ),
        // The library.
        (bench.train_with(&["--val-fraction", "2"]), "--val-fraction is 2; it must be between 0 and 1"),
        (bench.train_with(&["--set", "training.batch_size=0"]), "`training.batch_size` is 0; it must be at least 1"),
        (bench.train_with(&["--set", "training.epoch=3"]), "unknown field 'epoch'"),
        (bench.train_with(&["--set", "training"]), "it must be KEY=VALUE"),
        (bench.train_with(&["--dataset", "nowhere"]), "unknown data set 'nowhere'"),
        (bench.train("pspnet", &text(&bench.path("never")), &[]), "unknown recipe 'pspnet'"),
        (bench.train_with(&["--precision", "tf32"]), "--precision tf32 does not work on device 'flex'"),
        (bench.predict(&["--scales", "csail", "--tile", "64"]), "--tile has no effect with the preset csail"),
        (bench.predict(&["--tile", "32", "--stride", "64"]), "--stride is 64; it must be from 1 to 32"),
        (bench.predict(&["--upsample", "bicubic"]), "--upsample applies only to images predicted at another size"),
        (bench.predict(&["--threshold", "0.7"]), "--threshold applies only to networks with a sigmoid"),
        (
            bench.predict(&["--depth-top", "2", "--depth-bottom", "1", "--proportions"]),
            "--depth-bottom is 1; it must be deeper than --depth-top, 2",
        ),
        (line(&["info", "--print", "nowhere"]), "unknown recipe or data set 'nowhere'"),
        (line(&["export", &bench.run, "--to", "seeps", "--output", "x.onnx"]), "a name that ends in .pth"),
    ];
    for (arguments, words) in cases {
        let said = bench.said(&arguments, 2);
        assert!(said.contains(words), "{arguments:?}\n{said}");
    }
}

#[test]
fn what_fails_for_other_reasons_ends_with_1() {
    let bench = Bench::new();
    let broken = bench.path("broken.toml");
    fs::write(&broken, "name = 3").unwrap();
    let (broken, run) = (text(&broken), bench.run.clone());
    let nowhere = text(Path::new("nowhere.png"));
    let out = text(&bench.path("predictions"));
    let cases = [
        (bench.train(&broken, &text(&bench.path("never")), &[]), "broken.toml"),
        (bench.train(&bench.recipe, &run, &[]), "already holds a run; continue it with --resume"),
        (line(&["predict", "--run", &run, "--output-path", &out, "--device", "flex", &nowhere]), "nowhere.png"),
        (line(&["predict", "--run", &text(&bench.path("data")), &nowhere]), "is not a run folder"),
        (line(&["metrics", "--list-predict", "nowhere.txt", "--dataset", "demo"]), "cannot read nowhere.txt"),
    ];
    for (arguments, words) in cases {
        let said = bench.said(&arguments, 1);
        assert!(said.contains(words), "{arguments:?}\n{said}");
    }
}
