//! The command as a user types it, and what training makes of the same options.

use std::collections::BTreeSet;
use std::fs;

use segtool::data::Dataset;
use serde_json::Value;

use super::{SIDE, Set, section_part};
use crate::common::{Segtool, read_json, segtool};

fn command(set: &Set) -> Segtool {
    segtool("check").args(&["--dataset", "demo", "--images", &set.text("images"), "--labels", &set.text("labels")])
}

fn json(command: &Segtool) -> Value {
    let output = command.clone().flag("--json").output();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn exit_codes_tell_whether_training_would_start() {
    let set = Set::new();
    let said = command(&set).run();
    assert!(said.ends_with("12 pairs: 0 errors, 0 warnings, 0 notes; training would start\n"), "{said}");
    assert!(said.contains("suggestions for training:") && said.contains("images: 96x96, 1 band, uint8"), "{said}");
    // A warning is no failure.
    set.change("images/003.png", |_, _, _| 80);
    assert!(command(&set).run().contains("warning: 1 image with the same value in all pixels"));
    fs::remove_file(set.path("labels/003.png")).unwrap();
    let output = command(&set).output();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("error: 1 file without a label image") && said.contains("images/003.png"), "{said}");
    assert!(segtool("check").fails_with(2).contains("--images"));
    let by = command(&set).args(&["--group-by", "scene"]).fails_with(2);
    assert!(by.contains("without parentheses"), "{by}");
}

#[test]
fn two_outputs_are_not_one_file() {
    let set = Set::new();
    let output = set.text("my.toml");
    let said = command(&set).args(&["--write-dataset", &output, "--write-groups", &output]).fails_with(2);
    assert!(said.contains("--write-dataset and --write-groups name the same file"), "{said}");
    assert!(!set.path("my.toml").exists());
}

#[test]
fn json_has_findings_classes_and_suggestions() {
    let set = Set::new();
    set.change("labels/003.png", |x, y, value| if (x, y) == (7, 5) { 9 } else { value });
    let report = json(&command(&set).args(&["--val-fraction", "0.25"]));
    assert_eq!(report["pairs"], serde_json::json!({ "training": 9, "validation": 3, "excluded": 0 }));
    assert_eq!(report["dataset"], "demo");
    let finding = &report["findings"][0];
    assert_eq!([&finding["kind"], &finding["severity"]], ["undefined-label", "error"]);
    assert!(finding["places"][0]["file"].as_str().unwrap().ends_with("labels/003.png"), "{finding}");
    assert_eq!(report["classes"][1]["name"], "sand");
    assert!(report["classes"][1]["training"]["pixels"].as_u64().unwrap() > 0);
    assert_eq!(report["images"]["sizes"]["96x96"], 12);
    assert!(report["suggestions"]["normalisation"].as_str().unwrap().contains("mean"));
}

#[test]
fn a_data_set_file_that_fits_is_written() {
    let set = Set::new();
    let output = set.text("my.toml");
    let without = segtool("check").args(&["--images", &set.text("images"), "--labels", &set.text("labels")]);
    let said = without.clone().args(&["--write-dataset", &output]).run();
    assert!(said.contains("note: no data set is given, so the labels are taken as 0 = background"), "{said}");
    let dataset = Dataset::find(&output).unwrap();
    assert_eq!((dataset.bands, dataset.classes.len()), (1, 4));
    assert!(without.args(&["--write-dataset", &output]).fails_with(1).contains("--overwrite"));
}

/// Two scenes cut into crops, which a random split parts.
fn crops() -> Set {
    let set = Set::new();
    fs::remove_dir_all(set.path("images")).unwrap();
    fs::remove_dir_all(set.path("labels")).unwrap();
    fs::create_dir(set.path("images")).unwrap();
    fs::create_dir(set.path("labels")).unwrap();
    for (scene, name) in (20..24).flat_map(|scene| (0..4).map(move |crop| (scene, crop))) {
        // Names that tell nothing.
        let file = format!("{}.png", (scene * 7919 + name * 104_729) % 9973);
        set.write("", &file, section_part(scene, name as usize * 24, SIDE as usize));
    }
    set
}

#[test]
fn crops_of_one_scene_are_found_by_content_and_kept_together() {
    let set = crops();
    let split = command(&set).args(&["--val-fraction", "0.25"]);
    let groups = set.text("groups.csv");
    let said = split.clone().args(&["--write-groups", &groups]).run();
    assert!(
        said.contains("overlapping crops of one scene, by their content") && said.contains("--write-groups"),
        "{said}"
    );
    let table = fs::read_to_string(&groups).unwrap();
    let found: BTreeSet<&str> = table.lines().skip(1).map(|line| line.rsplit(',').next().unwrap()).collect();
    assert_eq!(found.len(), 4, "{table}");
    let kept = split.args(&["--group-by", &groups]).run();
    assert!(kept.contains("12 pairs for training, 4 for validation: 0 errors, 0 warnings"), "{kept}");
    // Training splits in the same way, and says that it leaves pairs out.
    let bad = set.path("qc.csv");
    let first = table.lines().nth(1).unwrap().split(',').next().unwrap().to_owned();
    fs::write(&bad, format!("file,rating,notes\n{first},bad,torn\n")).unwrap();
    let recipe = crate::common::small_recipe(set.folder.path(), 1);
    let train = segtool("train")
        .args(&["--recipe", &recipe, "--dataset", "demo", "--device", "flex", "--num-epoch", "1"])
        .args(&["--images", &set.text("images"), "--labels", &set.text("labels"), "--val-fraction", "0.25"])
        .args(&["--group-by", &groups, "--output-path", &set.text("run")])
        .arg("--exclude", &bad);
    let said = train.says();
    assert!(said.contains("1 of 16 pairs left out: rated bad in"), "{said}");
    let samples = read_json(set.path("run/samples.json"));
    let group_of = |image: &str| table.lines().find(|line| line.contains(image)).unwrap().rsplit(',').next().unwrap();
    let groups_of = |side: &str| -> BTreeSet<&str> {
        samples[side].as_array().unwrap().iter().map(|pair| group_of(pair["image"].as_str().unwrap())).collect()
    };
    assert!(groups_of("train").is_disjoint(&groups_of("validation")), "{samples}");
}

#[test]
fn training_says_what_overlaps_by_its_coordinates() {
    let set = Set::new();
    fs::write(set.path("images/003.pgw"), "10\n0\n0\n-10\n500005\n4000005\n").unwrap();
    fs::write(set.path("images/004.pgw"), "10\n0\n0\n-10\n500105\n4000105\n").unwrap();
    let recipe = crate::common::small_recipe(set.folder.path(), 1);
    let lists = ["train", "val"].map(|side| {
        let names: Vec<u64> = if side == "train" { (0..4).collect() } else { (4..6).collect() };
        let line = |i: &u64| format!("images/{i:03}.png labels/{i:03}.png\n");
        let path = set.path(&format!("{side}.txt"));
        fs::write(&path, names.iter().map(line).collect::<String>()).unwrap();
        path
    });
    let said = segtool("train")
        .args(&["--recipe", &recipe, "--dataset", "demo", "--device", "flex", "--num-epoch", "1"])
        .arg("--train-list", &lists[0])
        .arg("--val-list", &lists[1])
        .args(&["--output-path", &set.text("run")])
        .says();
    assert!(said.contains("1 of 2 validation images overlap training images by their georeference"), "{said}");
}
