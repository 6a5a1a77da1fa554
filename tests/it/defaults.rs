//! What happens where no folder is named, what `-q` and `-v` print, and reports that are written again.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::made_core::{Made, RECTANGLES};
use crate::common::{assert_says, read_json, segtool, small_data, small_recipe, stdout_of, text};

fn run_in(folder: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_segtool")).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A trained run of [`small_data`] below `folder`, named after its recipe and numbered.
fn train(folder: &Path, more: &[&str]) -> Output {
    let line = ["train", "--recipe", "small.toml", "--train-list", "data/train_images.txt", "--label-list"];
    let rest =
        ["data/train_labels.txt", "--val-list", "data/val_images.txt", "--val-label-list", "data/val_labels.txt"];
    run_in(folder, &[&line[..], &rest, more].concat())
}

#[test]
fn folders_that_are_not_named_are_numbered_and_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_data(folder);
    small_recipe(folder, 1);
    assert_says(&said(&train(folder, &[])), &["next: segtool predict --run runs/small --overlay IMAGES"]);
    train(folder, &["--seed", "1"]);
    assert!(folder.join("runs/small/model.safetensors").exists() && folder.join("runs/small-2/config.json").exists());

    let predict = |run: &str, list: &str| run_in(folder, &["predict", "--run", run, "--input-list", list]);
    let first = predict("runs/small", "data/val_images.txt");
    assert_says(
        &said(&first),
        &["next: segtool metrics --predictions predictions --labels LABELS --dataset runs/small"],
    );
    let before = fs::read(folder.join("predictions/predictions.txt")).unwrap();
    // Again, by another run, of other images.
    predict("runs/small", "data/val_images.txt");
    assert!(!folder.join("predictions-2").exists());
    predict("runs/small-2", "data/val_images.txt");
    predict("runs/small", "data/train_images.txt");
    assert_eq!(fs::read(folder.join("predictions/predictions.txt")).unwrap(), before);
    for number in [2, 3] {
        assert!(folder.join(format!("predictions-{number}/predictions.txt")).exists(), "{number}");
    }
    assert!(!folder.join("predictions-4").exists());
}

#[test]
fn quiet_and_verbose_change_what_is_said_and_no_result() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_data(folder);
    small_recipe(folder, 1);
    let quiet = train(folder, &["-q"]);
    assert_eq!(said(&quiet), "");
    assert!(String::from_utf8_lossy(&quiet.stdout).starts_with("trained: runs/small"));
    // Before the command as well; errors are never hidden.
    let verbose = run_in(folder, &["-v", "info", "--recipes"]);
    assert_says(&said(&verbose), &[&format!("segtool {}", env!("CARGO_PKG_VERSION")), " s on ", "peak memory"]);
    assert_eq!(verbose.stdout, run_in(folder, &["info", "--recipes"]).stdout);
    assert_says(&segtool("-q").args(&["predict", "--run", "nowhere", "a.png"]).fails_with(1), &["error: nowhere"]);
    assert_says(&segtool("-q").args(&["train", "--lr", "1"]).fails_with(2), &["--learning-rate"]);
}

#[test]
fn reports_are_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_data(folder);
    small_recipe(folder, 2);
    train(folder, &[]);
    let report = || {
        run_in(folder, &["report", "runs/small", "--output", "again.html"]);
        fs::read_to_string(folder.join("again.html")).unwrap()
    };
    let finished = report();
    assert_says(&finished, &["finished", "Confusion matrix", "sample-data", "everywhere would give a pixel accuracy"]);
    // As of a run that was stopped.
    let position = folder.join("runs/small/last/position.json");
    let mut stopped = read_json(&position);
    stopped["phase"] = 0.into();
    stopped["phase_epoch"] = 1.into();
    stopped["epoch"] = 1.into();
    fs::write(&position, stopped.to_string()).unwrap();
    assert_says(&report(), &["stopped in epoch 2 of 2"]);
    fs::remove_dir_all(folder.join("runs/small/last")).unwrap();
    assert_says(&segtool("report").file(folder.join("runs/small")).fails_with(1), &["no saved state"]);
}

/// Of a table whose images lie in folders below another one.
#[test]
fn reports_of_forests_show_labels_beside_the_classification() {
    let made = Made::new();
    fs::create_dir_all(made.path("photos/sub")).unwrap();
    for name in ["photos/sub/a.png", "photos/b.png"] {
        fs::copy(&made.core, made.path(name)).unwrap();
    }
    let row = |file: &str| -> String {
        let line = |([x0, y0, x1, y1], value): &([u32; 4], u8)| format!("{file},{x0},{y0},{x1},{y1},{value}\n");
        RECTANGLES.iter().map(line).collect()
    };
    let table = made.path("POINTS.CSV");
    fs::write(&table, format!("file,x0,y0,x1,y1,class\n{}{}", row("sub/a.png"), row("b.png"))).unwrap();
    let run = made.path("run");
    let line = ["train", "--recipe", "hypercolumn-core", "--label-csv", &table, "--images", &made.path("photos")];
    stdout_of(&[&line[..], &["--split", "none", "--set", "forest.trees=10", "--output-path", &run]].concat());
    let report = Path::new(&run).join("report.html");
    let samples = |path: &Path| fs::read_to_string(path).unwrap().matches("\"name\":\"").count();
    assert_eq!(samples(&report), 2);
    let again = made.folder.path().join("again.html");
    stdout_of(&["report", &run, "--output", &text(&again)]);
    assert_eq!(samples(&again), 2);
}
