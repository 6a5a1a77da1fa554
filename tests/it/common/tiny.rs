//! A training that takes a moment, with all that a save has to keep.

#![cfg_attr(not(target_os = "linux"), allow(dead_code))] // as the tests that kill it

use std::fs;
use std::path::{Path, PathBuf};

use segtool::base::Size;
use segtool::data::synthetic::write_set;
use tempfile::{TempDir, tempdir};

use super::text;

/// Two phases with a moving average and accumulated batches, the second from the best weights.
const RECIPE: &str = r#"
name = "tiny"
dataset = "demo"
[network]
architecture = "unet-seeps"
width = 2
depth = 2
[training]
batch_size = 1
accumulate = 2
learning_rate = 0.05
ema = 0.5
optimizer = { kind = "adam" }
schedule = { kind = "poly", power = 0.9 }
loss = [{ kind = "cross-entropy" }]
augment = ["flip-horizontal", { kind = "rotate", degrees = 20 }]
best_by = "loss"
[[training.phases]]
epochs = 2
[[training.phases]]
epochs = 2
from_best = true
optimizer = { kind = "sgd" }
"#;

/// Data and recipe of a training that takes a moment.
pub(crate) struct Tiny {
    folder: TempDir,
    arguments: Vec<String>,
}

impl Tiny {
    pub(crate) fn new() -> Self {
        let folder = tempdir().unwrap();
        let data = folder.path().join("data");
        let size = Size { width: 16, height: 16 };
        write_set(&data, "train", 3, 0..4, size).unwrap();
        write_set(&data, "val", 3, 4..5, size).unwrap();
        fs::write(folder.path().join("tiny.toml"), RECIPE).unwrap();
        let path = |name: &str| text(&folder.path().join(name));
        let arguments = [
            ("--recipe", path("tiny.toml")),
            ("--train-list", path("data/train_images.txt")),
            ("--label-list", path("data/train_labels.txt")),
            ("--val-list", path("data/val_images.txt")),
            ("--val-label-list", path("data/val_labels.txt")),
            ("--device", "flex".into()),
            ("--workers", "1".into()),
        ];
        let arguments = arguments.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
        Self { folder, arguments }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Arguments that train a run.
    pub(crate) fn train(&self, run: &Path, more: &[&str]) -> Vec<String> {
        let own = ["--output-path", &text(run)].map(String::from);
        let more = more.iter().map(|argument| (*argument).to_owned());
        ["train".to_owned()].into_iter().chain(self.arguments.clone()).chain(own).chain(more).collect()
    }
}

pub(crate) fn strings(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}
