//! Wrong usage ends with 2, whoever finds it, and failures that another command line need not mend with 1.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Segtool, copy_folder, segtool, small_data, small_recipe, small_run, text};

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
        copy_folder(small_run(), Path::new(&run));
        Self { folder, recipe, run }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A training of `recipe` into `run`.
    fn train(&self, recipe: &str, run: &Path) -> Segtool {
        let train = segtool("train").args(&["--recipe", recipe, "--device", "flex"]).arg("--output-path", run);
        train.arg("--images", self.path("data/images")).arg("--labels", self.path("data/labels"))
    }

    /// A prediction of two images with the run.
    fn predict(&self, more: &[&str]) -> Segtool {
        let predict = segtool("predict").arg("--run", &self.run).arg("--output-path", self.path("predictions"));
        let [first, second] = ["data/images/000.png", "data/images/001.png"].map(|name| self.path(name));
        predict.args(&["--device", "flex"]).file(first).file(second).args(more)
    }

    /// What the program says, after checking how it ended and that it left no run and no predictions; after wrong usage
    /// there is no folder for them either.
    fn said(&self, command: &Segtool, code: i32) -> String {
        let said = command.fails_with(code);
        let (run, predictions) = (self.path("never"), self.path("predictions"));
        assert!(!run.exists() && (code == 1 || !predictions.exists()), "{command:?}");
        let mut left = fs::read_dir(predictions).into_iter().flatten().map(|entry| entry.unwrap().path());
        assert!(!left.any(|path| path.extension().is_some_and(|ending| ending == "npy")), "{command:?}");
        said
    }

    fn train_with(&self, more: &[&str]) -> Segtool {
        self.train(&self.recipe, &self.path("never")).args(more)
    }

    fn train_forest(&self, more: &[&str]) -> Segtool {
        self.train("hypercolumn-core", &self.path("never")).args(more)
    }
}

#[test]
fn wrong_usage_ends_with_2_whoever_finds_it() {
    let bench = Bench::new();
    let never = text(&bench.path("never.pth"));
    let labels = text(&bench.path("data/labels"));
    let metrics = segtool("metrics").args(&["--predictions", &labels, "--labels", &labels, "--dataset", "demo"]);
    let cases = [
        // clap.
        (segtool("bench").args(&["--recipe", "unet-demo", "--device", "tpu"]), "unknown device 'tpu'"),
        (bench.predict(&["--scales", "pspnet"]), "choose csail, semseg or mmseg"),
        (bench.predict(&["--scales", "1", "--resize", "64"]), "cannot be used with"),
        (bench.predict(&["--depth-top", "1"]), "--depth-bottom"),
        // Commands.
        (bench.train_with(&["--split", "pixel"]), "--split has no effect with a recipe of a network"),
        (bench.train_with(&["--num-epoch", "1,2"]), "numbers given to --num-epoch: 2"),
        (bench.train_forest(&["--optimizer", "sgd"]), "--optimizer has no effect with a recipe of a random forest"),
        (bench.train_forest(&["--val-fraction", "2"]), "--val-fraction is 2; it must be between 0 and 1"),
        (bench.predict(&["--cache-features", "cache"]), "--cache-features has no effect with a run of a network"),
        (
            bench.predict(&["--depth-top", "1", "--depth-bottom", "2", "--proportions"]),
            "describe one core, but 2 images are given; predict one image at a time",
        ),
        (
            segtool("predict").args(&["--run", &bench.run, "--output-path", "s3://", "a.png"]),
            "--output-path s3:// names no bucket or server",
        ),
        (segtool("import").args(&[&bench.run, "--output", &never]), "imported weights are written as .safetensors"),
        (metrics.arg("--confusion", bench.path("confusion.txt")), "the name must end in .png, .csv or .npy"),
        // The library.
        (bench.train_with(&["--val-fraction", "2"]), "--val-fraction is 2; it must be between 0 and 1"),
        (bench.train_with(&["--set", "training.batch_size=0"]), "`training.batch_size` is 0; it must be at least 1"),
        (bench.train_with(&["--set", "training.epoch=3"]), "unknown field 'epoch'"),
        (bench.train_with(&["--set", "training"]), "it must be KEY=VALUE"),
        (bench.train_with(&["--dataset", "nowhere"]), "unknown data set 'nowhere'"),
        (bench.train("pspnet", &bench.path("never")), "unknown recipe 'pspnet'"),
        (bench.train_with(&["--precision", "tf32"]), "--precision tf32 does not work on device 'flex'"),
        (bench.predict(&["--scales", "csail", "--tile", "64"]), "--tile has no effect with the preset csail"),
        (bench.predict(&["--tile", "32", "--stride", "64"]), "--stride is 64; it must be from 1 to 32"),
        (bench.predict(&["--upsample", "bicubic"]), "--upsample applies only to images predicted at another size"),
        (bench.predict(&["--threshold", "0.7"]), "--threshold applies only to networks with a sigmoid"),
        (
            bench.predict(&["--depth-top", "2", "--depth-bottom", "1", "--proportions"]),
            "--depth-bottom is 1; it must be deeper than --depth-top, 2",
        ),
        (segtool("info").args(&["--print", "nowhere"]), "unknown recipe or data set 'nowhere'"),
        (segtool("export").args(&[&bench.run, "--to", "seeps", "--output", "x.onnx"]), "a name that ends in .pth"),
    ];
    for (command, words) in cases {
        let said = bench.said(&command, 2);
        assert!(said.contains(words), "{command:?}\n{said}");
    }
}

#[test]
fn what_fails_for_other_reasons_ends_with_1() {
    let bench = Bench::new();
    let broken = bench.path("broken.toml");
    fs::write(&broken, "name = 3").unwrap();
    let out = text(&bench.path("predictions"));
    let predict = segtool("predict").args(&["--run", &bench.run, "--output-path", &out, "--device", "flex"]);
    let cases = [
        (bench.train(&text(&broken), &bench.path("never")), "broken.toml"),
        (bench.train(&bench.recipe, Path::new(&bench.run)), "already holds a run; continue it with --resume"),
        (predict.file("nowhere.png"), "nowhere.png"),
        (segtool("predict").arg("--run", bench.path("data")).file("nowhere.png"), "is not a run folder"),
        (segtool("metrics").args(&["--list-predict", "nowhere.txt", "--dataset", "demo"]), "cannot read nowhere.txt"),
    ];
    for (command, words) in cases {
        let said = bench.said(&command, 1);
        assert!(said.contains(words), "{command:?}\n{said}");
    }
}
