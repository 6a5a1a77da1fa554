//! A training that takes a moment, with all that a save has to keep.

#![cfg_attr(not(target_os = "linux"), allow(dead_code))] // as the tests that kill it

use std::fs;
use std::path::{Path, PathBuf};

use segtool::base::Size;
use segtool::data::synthetic::write_set;
use tempfile::{TempDir, tempdir};

use super::{Segtool, segtool};

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
    train: Segtool,
}

impl Tiny {
    pub(crate) fn new() -> Self {
        let folder = tempdir().unwrap();
        let data = folder.path().join("data");
        let size = Size { width: 16, height: 16 };
        write_set(&data, "train", 3, 0..4, size).unwrap();
        write_set(&data, "val", 3, 4..5, size).unwrap();
        fs::write(folder.path().join("tiny.toml"), RECIPE).unwrap();
        let train = segtool("train")
            .arg("--recipe", folder.path().join("tiny.toml"))
            .arg("--train-list", data.join("train_images.txt"))
            .arg("--label-list", data.join("train_labels.txt"))
            .arg("--val-list", data.join("val_images.txt"))
            .arg("--val-label-list", data.join("val_labels.txt"))
            .args(&["--device", "flex", "--workers", "1"]);
        Self { folder, train }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command that trains a run.
    pub(crate) fn train(&self, run: &Path, more: &[&str]) -> Segtool {
        self.train.clone().arg("--output-path", run).args(more)
    }
}

/// The command that goes on with a run.
pub(crate) fn resume(run: &Path) -> Segtool {
    segtool("train").arg("--resume", run)
}
