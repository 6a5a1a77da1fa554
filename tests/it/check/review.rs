//! The page on which annotations are rated.

use std::fs;

use serde_json::{Value, json};

use super::{Set, section_part};
use crate::common::{Segtool, segtool};

fn command(set: &Set) -> Segtool {
    let command = segtool("check").args(&["--dataset", "demo", "--images", &set.text("images")]);
    command.args(&["--labels", &set.text("labels"), "--report", &set.text("review.html")])
}

/// The samples of a page: what the script reads of each.
fn samples(page: &str) -> Vec<Value> {
    let begin = r#"<script type="application/json" class="sample" data-file=""#;
    let texts = page.split(begin).skip(1).map(|rest| rest.split_once('>').unwrap().1);
    texts.map(|text| serde_json::from_str(text.split_once("</script>").unwrap().0).unwrap()).collect()
}

fn files(page: &str) -> Vec<String> {
    let name = |sample: &Value| sample["file"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    samples(page).iter().map(name).collect()
}

#[test]
fn a_page_holds_images_with_their_annotations() {
    let set = Set::new();
    let said = command(&set).says();
    assert!(said.contains("review.html, 12 samples; open it in a browser"), "{said}");
    let page = fs::read_to_string(set.path("review.html")).unwrap();
    assert_eq!(files(&page).len(), 12);
    for sample in samples(&page) {
        assert_eq!([&sample["width"], &sample["height"]], [96, 96]);
        assert!(sample["image"].as_str().unwrap().starts_with("data:image/jpeg;base64,"));
        assert!(sample["label"].as_str().unwrap().starts_with("data:image/png;base64,"));
        assert_eq!([&sample["prediction"], &sample["score"]], [&Value::Null, &Value::Null]);
        assert!(!sample["legend"].as_array().unwrap().is_empty());
    }
    // Nothing is fetched.
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("{{"));
    assert!(command(&set).fails_with(1).contains("--report, or replace it with --overwrite"));
}

#[test]
fn samples_are_drawn_by_the_seed() {
    let set = Set::new();
    let drawn = |seed: &str| {
        let command = command(&set).args(&["--samples", "4", "--seed", seed, "--overwrite"]);
        assert!(command.says().contains("4 samples"));
        files(&fs::read_to_string(set.path("review.html")).unwrap())
    };
    let first = drawn("1");
    assert!(first.len() == 4 && first.is_sorted(), "{first:?}");
    assert_eq!(drawn("1"), first);
    assert_ne!(drawn("2"), first);
    let alone = segtool("check").args(&["--images", &set.text("images"), "--labels", &set.text("labels")]);
    assert!(alone.args(&["--samples", "4"]).fails_with(2).contains("--report"));
}

#[test]
fn the_worst_predictions_come_first() {
    let set = Set::new();
    fs::create_dir(set.path("predictions")).unwrap();
    // Of three images only: one right, one of another image, one of a single class.
    let label = |name: &str| image::open(set.path("labels").join(name)).unwrap().to_luma8();
    for (name, map) in [("000.png", label("000.png")), ("001.png", label("004.png"))] {
        map.save(set.path("predictions").join(name)).unwrap();
    }
    let (_, mut map) = section_part(2, 0, 96);
    map.pixels_mut().for_each(|pixel| pixel.0 = [3]);
    map.save(set.path("predictions/002.png")).unwrap();
    let said = command(&set).args(&["--predictions", &set.text("predictions")]).says();
    assert!(said.contains("9 images without a prediction left out"), "{said}");
    let page = fs::read_to_string(set.path("review.html")).unwrap();
    assert_eq!(files(&page), ["002.png", "001.png", "000.png"]);
    let last = &samples(&page)[2];
    assert_eq!(last["score"], json!("1.0000"));
    assert!(last["errors"].as_str().unwrap().starts_with("data:image/png;base64,"));
}

#[test]
fn what_cannot_be_read_is_left_out() {
    let set = Set::new();
    let path = set.path("images/005.png");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let said = command(&set).fails_with(1);
    assert!(said.contains("skipped: ") && said.contains("11 samples"), "{said}");
    let page = fs::read_to_string(set.path("review.html")).unwrap();
    assert!(!files(&page).contains(&"005.png".to_owned()));
    // A rating that is saved leaves a pair out.
    fs::write(set.path("ratings.csv"), "file,rating,notes\n004.png,bad,\"shifted, \"\"left\"\"\"\n").unwrap();
    command(&set).args(&["--overwrite", "--exclude", &set.text("ratings.csv")]).fails_with(1);
    let page = fs::read_to_string(set.path("review.html")).unwrap();
    assert_eq!(files(&page).len(), 10);
}

#[test]
fn labels_may_be_annotations() {
    let set = Set::new();
    let square = |x: u32| json!([[x, 10, x + 40, 10, x + 40, 50, x, 50]]);
    let names: Vec<String> = (0..12).map(|i| format!("{i:03}.png")).collect();
    let images: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(i, name)| json!({ "id": i, "file_name": name, "width": 96, "height": 96 }))
        .collect();
    let annotations: Vec<Value> = (0..12_u32)
        .map(|i| json!({ "id": i, "image_id": i, "category_id": 1 + i % 2, "segmentation": square(i) }))
        .collect();
    let categories = json!([{ "id": 1, "name": "salt" }, { "id": 2, "name": "fault <b>" }]);
    let coco = json!({ "images": images, "annotations": annotations, "categories": categories });
    fs::write(set.path("coco.json"), coco.to_string()).unwrap();
    let command = segtool("check").args(&["--images", &set.text("images"), "--labels", &set.text("coco.json")]);
    let output = set.text("proposed.toml");
    let said = command.clone().args(&["--report", &set.text("review.html"), "--write-dataset", &output]).run();
    assert!(said.contains("12 pairs: 0 errors") && said.contains("fault <b>"), "{said}");
    let page = fs::read_to_string(set.path("review.html")).unwrap();
    assert_eq!(files(&page), names);
    assert!(page.contains("fault \\u003cb>") && !page.contains("fault <b>"));
    let dataset = segtool::data::Dataset::find(&output).unwrap();
    assert_eq!(
        dataset.classes.iter().map(|class| class.name.as_str()).collect::<Vec<_>>(),
        ["background", "salt", "fault <b>"]
    );
    // A data set without one of the classes.
    let said = command.args(&["--dataset", "demo"]).output();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("with annotations that cannot be drawn") && said.contains("'fault <b>'"), "{said}");
}
