//! The command as a user types it.

use std::collections::BTreeMap;

use segtool::base::Remedy;
use segtool::data::{Labels, Pair, suggestion};
use segtool::recipe::Recipe;
use serde_json::Value;

use super::*;
use crate::common::{output_of, read_json, small_data, small_recipe, stderr_of, stdout_of};

#[test]
fn from_label_images_to_a_trained_run() {
    let folder = tempfile::tempdir().unwrap();
    small_data(folder.path());
    let recipe = small_recipe(folder.path(), 1);
    let data = folder.path().join("data");
    let (images, labels) = (text(&data.join("images")), text(&data.join("labels")));
    let output = text(&folder.path().join("my.toml"));
    let written = output_of(&["dataset", &labels, "--images", &images, "--output", &output]);
    let (table, said) = (String::from_utf8_lossy(&written.stdout), String::from_utf8_lossy(&written.stderr));
    assert!(written.status.success(), "{said}");
    assert!(table.starts_with("12 label images: values 0, 1, 2 and 3 (12 files)\n"), "{table}");
    assert!(line_of(&table, "taken as").trim_start().starts_with("value"), "{table}");
    assert!(line_of(&table, "  background").trim_start().starts_with("0  "), "{table}");
    let next =
        format!("--dataset {output} --images {images} --labels {labels} --val-fraction 0.1 --output-path runs/my");
    assert!(said.contains(&next), "{said}");
    let run = text(&folder.path().join("run"));
    let train = ["train", "--recipe", &recipe, "--dataset", &output, "--images", &images, "--labels", &labels];
    stdout_of(&[&train[..], &["--num-epoch", "1", "--output-path", &run, "--device", "flex"]].concat());
    let config = read_json(Path::new(&run).join("config.json"));
    assert_eq!(config["dataset"]["name"], "my");
    // What is there stays, unless it is to be replaced.
    let before = fs::read(&output).unwrap();
    let refused = stderr_of(&["dataset", &labels, "--output", &output], 1);
    assert!(refused.contains("my.toml already exists") && refused.contains("--overwrite"), "{refused}");
    assert_eq!(fs::read(&output).unwrap(), before);
    stdout_of(&["dataset", &labels, "--output", &output, "--overwrite", "--name", "other"]);
    assert_eq!(Dataset::find(&output).unwrap().name, "other");
}

#[test]
fn standard_output_is_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (labels, redirected) = (folder.path().join("masks"), folder.path().join("my.toml"));
    fs::create_dir(&labels).unwrap();
    write_values(&labels.join("a.png"), &[0, 1, 2, 255]);
    fs::write(&redirected, stdout_of(&["dataset", &text(&labels)])).unwrap();
    let dataset = Dataset::find(&text(&redirected)).unwrap();
    assert_eq!((dataset.name.as_str(), dataset.class_count()), ("masks", 3));
    let missing = stderr_of(&["dataset", &text(&labels), "--images", &text(&folder.path().join("none"))], 1);
    assert!(missing.contains("cannot read") && missing.contains("none"), "{missing}");
    stderr_of(&["dataset"], 2);
}

#[test]
fn json_is_one_object_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    write_values(&folder.path().join("a.png"), &[0, 1, 2, 255]);
    let report: Value = serde_json::from_str(&stdout_of(&["dataset", &text(folder.path()), "--json"])).unwrap();
    assert_eq!(report["files"], 1);
    let labels = report["labels"].as_array().unwrap();
    let meanings: BTreeMap<u64, &str> =
        labels.iter().map(|l| (l["label"].as_u64().unwrap(), l["taken_as"].as_str().unwrap())).collect();
    assert_eq!(meanings, [(0, "background"), (1, "class 1"), (2, "class 2"), (255, "not labelled")].into());
    assert_eq!(labels[1]["share"], 0.25);
    assert_eq!(report["dataset"]["classes"][1]["name"], "class 1");
    assert!(report["toml"].as_str().unwrap().contains("classes = ["));
    assert!(report["error"].is_null());
}

#[test]
fn values_and_colours_that_nothing_brings_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_values(&folder.path().join("a.png"), &[0, 1, 2]);
    write_colors(&folder.path().join("b.png"), &[[0; 3], [9, 0, 200]]);
    write_colors(&folder.path().join("c.png"), &[[0; 3], [9, 200, 0]]);
    let said = stderr_of(&["dataset", &text(folder.path())], 1);
    assert!(said.contains("3 label images: values 0, 1 and 2 (1 file) and colours "), "{said}");
    assert!(said.contains("1 label images hold values (the first is "), "{said}");
    assert!(said.contains("a.png) and 2 hold colours (the first is ") && said.contains("b.png)"), "{said}");
}

#[test]
fn one_label_alone_is_no_data_set() {
    let folder = tempfile::tempdir().unwrap();
    write_values(&folder.path().join("a.png"), &[7]);
    let said = stderr_of(&["dataset", &text(folder.path())], 1);
    assert!(said.contains("hold value 7 (1 file); a data set needs at least two classes"), "{said}");
    assert!(said.contains("100.00 %"), "the table comes in any case: {said}");
}

#[test]
fn a_file_that_cannot_be_read_is_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let labels = folder.path().join("masks");
    fs::create_dir(&labels).unwrap();
    write_values(&labels.join("a.png"), &[0, 1]);
    fs::write(labels.join("torn.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    let output = output_of(&["dataset", &text(&labels)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(line_of(&said, "skipped: ").contains("torn.png"), "{said}");
    assert!(said.contains("1 of 2 label images were skipped"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("name = \"masks\""));
    fs::remove_file(labels.join("a.png")).unwrap();
    assert!(stderr_of(&["dataset", &text(&labels)], 1).contains("none of the 1 label images could be read"));
    fs::remove_file(labels.join("torn.png")).unwrap();
    write_values(&labels.join("a.jpg"), &[0, 1]);
    let said = stderr_of(&["dataset", &text(&labels)], 1);
    assert!(said.contains("holds 1 images, but none in a lossless format"), "{said}");
}

#[test]
fn a_names_file_beside_the_label_images_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (labels, names) = (folder.path().join("masks"), folder.path().join("classes.txt"));
    fs::create_dir(&labels).unwrap();
    write_values(&labels.join("a.png"), &[0, 1, 2]);
    let labels = text(&labels);
    fs::write(&names, "sand\nshale\nsalt\n").unwrap();
    let output = output_of(&["dataset", &labels]);
    let (toml, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(toml.contains("name = \"salt\", values = 2,"), "{toml}");
    assert!(line_of(&said, "note: class names taken from").ends_with("classes.txt"), "{said}");
    // One that does not fit is no reason to fail, unless it was asked for.
    fs::write(&names, "sand\n").unwrap();
    let output = output_of(&["dataset", &labels]);
    assert!(output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("note: a file of class names in the label folder was not used: ")
    );
    let said = stderr_of(&["dataset", &labels, "--names", &text(&names)], 1);
    assert!(said.contains("names 1 classes, but the label images hold 3 values up to 2"), "{said}");
    // A list of label images is no list of names.
    fs::remove_file(&names).unwrap();
    let list = folder.path().join("labels.txt");
    fs::write(&list, "masks/a.png\n").unwrap();
    assert!(stdout_of(&["dataset", &text(&list)]).contains("name = \"class 2\", values = 2,"));
}

#[test]
fn values_that_no_data_set_defines_come_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let pair = |i: u8| {
        let label = folder.path().join(format!("{i}.png"));
        write_values(&label, &[0, 1, 2 + i]);
        Pair { image: format!("{i}.jpg").into(), label: label.into() }
    };
    let pairs: Vec<Pair> = (0..3).map(pair).collect();
    let binary = Dataset::find("earthquake").unwrap();
    let found = "the label images hold values 0, 1, 2, 3 and 4 (3 files)".to_owned();
    let remedy = Remedy::ProposeDataset(Some(folder.path().into()));
    assert_eq!(suggestion(&pairs, &binary), Some((found, remedy)));
    assert_eq!(suggestion(&pairs, &Dataset::find("seeps").unwrap()), None, "it defines them all");
    let masks = Pair { image: "root/id/images/a.png".into(), label: Labels::Masks(vec![folder.path().join("1.png")]) };
    assert_eq!(suggestion(&[masks], &binary).unwrap().1, Remedy::ProposeDataset(Some("root".into())));
}

#[test]
fn built_in_files_are_printed_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, file) in [
        ("seeps", "datasets/seeps.toml"),
        ("unet-seeps", "models/unet-seeps.toml"),
        ("hypercolumn-core", "models/hypercolumn-core.toml"),
    ] {
        assert_eq!(stdout_of(&["info", "--print", name]), fs::read_to_string(root.join(file)).unwrap(), "{name}");
    }
    let said = stderr_of(&["info", "--print", "sheep"], 2);
    assert!(said.contains("unknown recipe or data set 'sheep'") && said.contains("seeps"), "{said}");
    let both: Vec<&str> = Dataset::names().filter(|name| Recipe::names().any(|other| other == *name)).collect();
    assert!(both.is_empty(), "one name for a recipe and a data set: {both:?}");
}
