//! Points and rectangles of a table, which a random forest learns from.

use std::fs;

use serde_json::{Value, json};

use crate::common::made_core::Made;
use crate::common::{Segtool, assert_says, segtool};

fn check(made: &Made, rows: &str) -> Segtool {
    let table = made.path("points.csv");
    fs::write(&table, format!("file,x,y,class\n{rows}")).unwrap();
    segtool("check").args(&["--label-csv", &table])
}

#[test]
fn a_table_is_checked_as_the_forest_would_read_it() {
    let made = Made::new();
    let output = check(&made, "core.png,10,10,1\ncore.png,140,12,rubble\n").flag("--json").output();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["dataset"]), (Some(0), &json!("core")), "{report}");
    assert_eq!(report["pairs"], json!({ "training": 1, "validation": 0, "excluded": 0 }));
    assert_eq!(report["classes"][0]["training"], json!({ "pixels": 1, "images": 1 }));
    // A share of the pixels is held out, not of the images.
    let said = check(&made, "core.png,10,10,1\n").args(&["--val-fraction", "0.2"]).run();
    assert!(said.contains("1 pair: 0 errors, ") && !said.contains("--batch-size"), "{said}");
}

#[test]
fn what_the_forest_would_refuse_is_an_error() {
    let made = Made::new();
    let output = check(&made, "core.png,10,10,1\ncore.png,240,12,2\n").output();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_says(
        &said,
        &["error: 1 file with annotations", "line 3: pixel (240, 12) lies outside", "training would fail"],
    );
    let said = check(&made, "core.png,10,10,granite\n").fails_with(1);
    assert_says(&said, &["points.csv: line 2", "there is no class 'granite'"]);
    let said = check(&made, "core.png,10,10,1\n").args(&["--report", &made.path("qc.html")]).fails_with(2);
    assert_says(&said, &["--report", "--label-csv"]);
}

#[test]
fn what_a_forest_is_not_trained_with_is_refused_as_in_training() {
    let made = Made::new();
    let on_table = |flags: &[&str]| check(&made, "core.png,10,10,1\n").args(flags).fails_with(2);
    assert_says(&on_table(&["--group-by", "georeference"]), &["--group-by has no effect with a recipe of a"]);
    assert_says(&on_table(&["--exclude", &made.path("ratings.csv")]), &["--exclude has no effect"]);
    assert_says(&on_table(&["--recipe", "pspnet50-capstone"]), &["--label-csv has no effect with a recipe of a"]);
    assert_says(&on_table(&["--write-groups", &made.path("groups.csv")]), &["--write-groups", "--label-csv"]);
    let said =
        segtool("check").args(&["--recipe", "hypercolumn-core", "--mask-folders", &made.path(".")]).fails_with(2);
    assert_says(&said, &["--mask-folders has no effect with a recipe of a"]);
    for share in ["0", "1", "1.5"] {
        assert_says(&on_table(&["--val-fraction", share]), &["--val-fraction", "between 0 and 1"]);
    }
}
