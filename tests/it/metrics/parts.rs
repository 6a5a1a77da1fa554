//! Parts that are scored one by one and added.

use serde_json::Value;

use super::{Golden, close, scored, write_list};
use crate::common::{Segtool, segtool, stderr_of, stdout_of, text};

#[test]
fn threads_order_and_parts_do_not_matter() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    let (predictions, labels) = golden.write(folder.path(), 0, 255);
    let entries = |what: &str| (0..5).map(|i| folder.path().join(format!("{what}{i}.npy"))).collect::<Vec<_>>();
    let turned = |what: &str, order: &[usize]| {
        let all = entries(what);
        let name = format!("{what}{}.txt", order.iter().map(usize::to_string).collect::<String>());
        write_list(folder.path(), &name, &order.iter().map(|&i| all[i].clone()).collect::<Vec<_>>())
    };
    for convention in ["mmseg", "nnunet"] {
        let common = ["--convention", convention, "--num-class", "5", "--ignore-label", "255"];
        let more = [&common[..], &["--boundary", "2"]].concat();
        let whole = scored(&predictions, &labels, &more);
        assert!(whole["mean_boundary_iou"].as_f64().unwrap() > 0.0 && whole["classes"][0]["boundary_f_score"].is_f64());
        let order = [3, 0, 4, 2, 1];
        let shuffled = (turned("p", &order), turned("l", &order));
        assert_eq!(scored(&shuffled.0, &shuffled.1, &[&more[..], &["--workers", "1"]].concat()), whole);
        let part = |order: &[usize], name: &str| {
            let path = text(&folder.path().join(name));
            scored(&turned("p", order), &turned("l", order), &[&more[..], &["--partial", &path]].concat());
            path
        };
        let (a, b) = (part(&[0, 3], "a.json"), part(&[4, 1, 2], "b.json"));
        let merged: Value = serde_json::from_str(&stdout_of(&["metrics", "--merge", &b, &a, "--json"])).unwrap();
        assert_eq!(merged, whole);
        // Counted for another boundary, or not a partial file at all.
        let c = text(&folder.path().join("c.json"));
        scored(&predictions, &labels, &[&common[..], &["--partial", &c]].concat());
        assert!(stderr_of(&["metrics", "--merge", &a, &c], 1).contains("c.json: was counted with another --boundary"));
    }
}

#[test]
fn parts_that_cannot_be_added_are_refused() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    let (predictions, labels) = golden.write(folder.path(), 1, 0);
    let at = |name: &str| text(&folder.path().join(name));
    let merged = |files: &[&str]| stderr_of(&[&["metrics", "--merge"], files].concat(), 1);
    let part = at("part.json");
    scored(&predictions, &labels, &["--num-class", "6", "--partial", &part]);
    let dotted = part.replace("/part.json", "/./part.json");
    assert!(merged(&[&part, &dotted]).contains("is named twice, and its images would count twice"));
    assert!(merged(&[&labels]).contains("not a file of partial scores, as metrics writes them with --partial"));

    let whole = std::fs::read_to_string(&part).unwrap();
    let damaged = at("damaged.json");
    let faults = [
        ("\"values\":[1]", "\"values\":[]", "is empty for class"),
        ("\"counts\":[", "\"counts\":[9223372036854775808,", "its counts are damaged"),
        ("\"images\":5", "\"images\":9223372036854775808", "its counts are damaged"),
        ("\"matrix\":{\"classes\":6", "\"matrix\":{\"classes\":5", "its counts are damaged"),
        ("segtool-partial-1", "segtool-partial-9", "its format is segtool-partial-9"),
        ("\"tally\"", "\"tal", "not a file of partial scores, as metrics writes them with --partial"),
    ];
    for (from, to, reason) in faults {
        assert!(whole.contains(from), "{from}");
        std::fs::write(&damaged, whole.replacen(from, to, 1)).unwrap();
        let message = merged(&[&damaged]);
        assert!(message.contains("damaged.json") && message.contains(reason), "{to}: {message}");
    }
    // A count that is too large for the sum, in its own place.
    let (before, counts) = whole.split_once("\"counts\":[").unwrap();
    let (_, rest) = counts.split_once(',').unwrap();
    std::fs::write(&damaged, format!("{before}\"counts\":[9223372036854775808,{rest}")).unwrap();
    assert!(merged(&[&damaged]).contains("its counts are damaged"));
}

#[test]
fn options_that_would_be_ignored_are_refused() {
    let lists = ["--list-predict", "p", "--list-true", "l", "--num-class", "3"];
    let wrong: [&[&str]; 6] = [
        &["--device", "flex"],
        &["--images", "m"],
        &["--image-list", "m"],
        &["--merge-classes"],
        &["--labels", "l"],
        &["--merge", "a.json"],
    ];
    for more in wrong {
        stderr_of(&[&["metrics"], &lists[..], more].concat(), 2);
    }
    stderr_of(&["metrics", "--list-predict", "p", "--list-true", "l", "--dataset", "seeps", "--first-label", "9"], 2);
    for more in [["--device", "flex"], ["--first-label", "1"], ["--workers", "1"], ["--num-class", "3"]] {
        stderr_of(&[&["metrics", "--merge", "a.json"], &more[..]].concat(), 2);
    }
}

#[test]
fn totals_beyond_32_bits_are_right() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    let (predictions, labels) = golden.write(folder.path(), 1, 0);
    let part = |i: usize| text(&folder.path().join(format!("{i}.json")));
    let once = scored(&predictions, &labels, &["--num-class", "6", "--partial", &part(0)]);
    // Sixteen times as many, six times; a file may be named once.
    for i in 0..6 {
        let copies: Vec<String> = (100..116).map(part).collect();
        for copy in &copies {
            std::fs::copy(part(i), copy).unwrap();
        }
        let merge = copies.iter().fold(segtool("metrics").flag("--merge"), Segtool::file);
        merge.arg("--partial", part(i + 1)).run();
    }
    let many: Value = serde_json::from_str(&stdout_of(&["metrics", "--merge", &part(6), "--json"])).unwrap();
    let pixels = many["pixels"].as_u64().unwrap();
    assert!(pixels > 1 << 34);
    assert_eq!((pixels, many["images"].as_u64()), (once["pixels"].as_u64().unwrap() << 24, Some(5 << 24)));
    assert_eq!(many["classes"][0]["pixels"].as_u64(), once["classes"][0]["pixels"].as_u64().map(|p| p << 24));
    for key in ["mean_iou", "pixel_accuracy", "kappa", "mean_dice"] {
        close(&many[key], &once[key], key);
    }
}
