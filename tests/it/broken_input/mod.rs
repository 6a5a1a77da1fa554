//! Broken input: each fault is named with its file, value and next step, and nothing is left half-written.

mod prediction;
mod training;

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::common::{Segtool, assert_says, segtool, small_data, small_recipe, stderr_of, text};

/// A folder with data and a recipe.
struct Bench {
    folder: tempfile::TempDir,
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

    fn data(&self, name: &str) -> String {
        text(&self.path("data").join(name))
    }

    /// A training into `run`.
    fn train(&self, run: impl AsRef<OsStr>) -> Segtool {
        self.train_on(&self.data("train_images.txt"), &self.data("train_labels.txt"), run)
    }

    /// A training into `run`, with the given lists of images and label images.
    fn train_on(&self, list: &str, labels: &str, run: impl AsRef<OsStr>) -> Segtool {
        let train = segtool("train").arg("--recipe", &self.recipe).arg("--train-list", list);
        train.arg("--label-list", labels).arg("--output-path", run).arg("--device", "flex")
    }

    /// Trains, expecting failure before the run folder is made.
    fn refused(&self, list: &str, labels: &str) -> String {
        let run = self.path("refused");
        let message = self.train_on(list, labels, &run).fails_with(1);
        assert!(!run.exists(), "the run folder was made");
        message
    }

    /// A finished run.
    fn trained(&self) -> String {
        let run = text(&self.path("run"));
        self.train(&run).run();
        run
    }
}

#[test]
fn wrong_command_lines_end_with_2() {
    for arguments in [
        vec!["train"],
        vec!["train", "--recipe", "unet-seeps", "--output-path", "x", "--label-list", "a.txt"],
        vec!["train", "--resume", "x", "--batch-size", "3"],
        vec!["metrics", "--list-true", "b", "--num-class", "3"],
        vec!["predict", "--run", "x", "--output-path", "y"],
        vec!["train", "--recipe", "x", "--output-path", "y", "--batch-size", "0"],
        vec!["demo", "--device", "tpu"],
        vec!["train", "--recipe", "unet-seeps", "--output-path", "y"],
        vec!["nonsense"],
    ] {
        stderr_of(&arguments, 2);
    }
    let train = segtool("train").args(&["--images", "a", "--labels", "b", "--output-path", "y"]);
    let of_unet = train.clone().arg("--recipe", "unet-seeps");
    of_unet.clone().flag("--learning-rate=-1").fails_with(2);
    of_unet.arg("--optimizer", "lamb").fails_with(2);
    let message = train.arg("--recipe", "no-such").fails_with(2);
    assert_says(&message, &["unknown recipe 'no-such'", "unet-seeps-binary"]);
}

#[test]
fn the_demo_leaves_other_files_alone() {
    let bench = Bench::new();
    let folder = text(bench.folder.path());
    assert_says(&stderr_of(&["demo", "--output-path", &folder], 1), &["holds files that segtool demo did not write"]);
}
