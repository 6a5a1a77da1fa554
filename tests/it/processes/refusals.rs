//! Options and variables of several processes that cannot work.

use std::process::Command;

use crate::common::{assert_says, segtool, small_data, small_recipe, text};

#[test]
fn devices_are_a_list_of_numbers_or_all() {
    let train = || segtool("train").arg("--images", "a").arg("--labels", "b");
    assert_says(&train().arg("--devices", "0,0").fails_with(2), &["names GPU 0 twice"]);
    assert_says(&train().arg("--devices", "0,x").fails_with(2), &["0,1, nor all"]);
    assert_says(&train().arg("--devices", "0").arg("--processes", "2").fails_with(2), &["--processes"]);
    assert_says(&train().arg("--gpus", "all").fails_with(2), &["no CUDA GPU", "leave it out"]);
}

#[test]
fn what_cannot_be_measured_in_several_processes_is_refused() {
    let bench = || segtool("bench").args(&["--recipe", "unet-seeps", "--width", "2", "--size", "16"]);
    let refused = |arguments: &[&str], words: &[&str]| assert_says(&bench().args(arguments).fails_with(2), words);
    refused(&["--processes", "0"], &["at least 1"]);
    refused(&["--processes", "2", "--devices", "0,1"], &["--devices"]);
    refused(&["--devices", "0", "--device", "flex"], &["--device"]);
    refused(&["--processes", "2", "--profile"], &["--profile"]);
    refused(&["--processes", "2", "--check"], &["--check"]);
    refused(&["--mode", "train", "--sync-batch-norm", "on"], &["add --devices or --processes"]);
    refused(&["--processes", "2", "--sync-batch-norm", "on"], &["add --mode train"]);
    refused(&["--gpus", "all"], &["no CUDA GPU"]);
    let forest = segtool("bench").args(&["--recipe", "hypercolumn-core", "--processes", "2"]);
    assert_says(&forest.fails_with(2), &["must be a recipe of a network"]);
    if !cfg!(feature = "libtorch") {
        refused(&["--processes", "2"], &["2 processes need libtorch's collectives", "build segtool", "libtorch"]);
    }
}

#[test]
fn variables_of_a_launcher_must_be_whole() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let recipe = small_recipe(folder.path(), 1);
    let list = |name: &str| text(&folder.path().join(format!("data/{name}.txt")));
    let with = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segtool"));
        command.args(["train", "--recipe", &recipe, "--output-path", &text(&folder.path().join("run"))]);
        command.args(["--train-list", &list("train_images"), "--label-list", &list("train_labels")]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = with(&[("RANK", "0"), ("WORLD_SIZE", "2")]);
    assert_eq!(code, Some(2));
    assert_says(&said, &["MASTER_ADDR", "where the processes meet"]);
    if !cfg!(feature = "libtorch") {
        let all = [("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "29511")];
        let (code, said) = with(&all);
        assert_eq!(code, Some(1));
        assert_says(&said, &["process 0 of 2 cannot join", "feature libtorch"]);
    }
    assert!(!folder.path().join("run").exists());
}
