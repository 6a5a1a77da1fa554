//! Files of every kind, and what is said of those that cannot be scored.

use image::{GrayImage, ImageBuffer, Luma};
use serde_json::Value;

use super::{npy, scored, write_list, write_npy};
use crate::common::{stderr_of, stdout_of, text};

#[test]
fn bad_pairs_are_named_and_the_rest_is_scored() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let size = [4, 5];
    let good = [1i64; 20];
    let mut wild = good;
    wild[7] = 70_000;
    let mut fraction = [1.0f32; 20];
    fraction[11] = 1.5;
    write_npy(&at("good.npy"), size, &good);
    write_npy(&at("small.npy"), [2, 5], &good[..10]);
    write_npy(&at("wild.npy"), size, &wild);
    let floats: Vec<u8> = fraction.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(at("fraction.npy"), npy(1, "'<f4'", false, "(4, 5)", &floats)).unwrap();
    std::fs::write(at("cut.npy"), npy(1, "'<i8'", false, "(4, 5)", &[0; 150])).unwrap();
    std::fs::write(at("long.npy"), npy(1, "'<u1'", false, "(4, 5)", &[1; 21])).unwrap();
    std::fs::write(at("huge.npy"), npy(1, "'<i8'", false, "(1099511627776, 1099511627776)", &[])).unwrap();
    std::fs::write(at("complex.npy"), npy(1, "'<c8'", false, "(4, 5)", &[0; 160])).unwrap();
    std::fs::write(at("text.npy"), "not an array").unwrap();
    std::fs::write(at("empty.npy"), "").unwrap();
    std::fs::create_dir(at("folder.npy")).unwrap();
    GrayImage::from_pixel(5, 4, Luma([1])).save(at("label.png")).unwrap();
    let names = [
        ("small", "sizes differ"),
        ("wild", "predicted value 70000 at pixel (2, 1) is not in data set"),
        ("fraction", "predicted value 1.5 at pixel (1, 2)"),
        ("cut", "cut short: its header promises 5x4 values of type '<i8', 160 bytes, but it holds 150"),
        ("long", "longer than its header says: 5x4 values"),
        ("huge", "sizes differ"),
        ("complex", "has type '<c8'"),
        ("text", "not a .npy file"),
        ("empty", "not a .npy file"),
        ("folder", "is a folder"),
        ("missing", "cannot read"),
    ];
    let mut predictions = vec![at("good.npy")];
    predictions.extend(names.map(|(name, _)| at(&format!("{name}.npy"))));
    let labels = vec![at("label.png"); predictions.len()];
    let (p, l) = (write_list(folder.path(), "p.txt", &predictions), write_list(folder.path(), "l.txt", &labels));
    let arguments = ["metrics", "--list-predict", &p, "--list-true", &l, "--num-class", "3"];
    let message = stderr_of(&arguments, 3);
    for (name, reason) in names {
        let line = message.lines().find(|line| line.contains(&format!("{name}.npy")) && line.contains("skipped"));
        assert!(line.is_some_and(|line| line.contains(reason)), "{name}: {message}");
    }
    // The names of the pairs differ, which is said once.
    assert_eq!(message.matches("in 12 of 12 pairs the names do not match").count(), 1, "{message}");
    let strict = stderr_of(&[&arguments[..], &["--strict", "--partial", &text(&at("none.json"))]].concat(), 1);
    assert!(strict.contains("error: ") && !at("none.json").exists(), "{strict}");

    let only_bad = write_list(folder.path(), "bad.txt", &predictions[1..2]);
    let one = write_list(folder.path(), "one.txt", &labels[..1]);
    let message = stderr_of(&["metrics", "--list-predict", &only_bad, "--list-true", &one, "--num-class", "3"], 1);
    assert!(message.contains("none of the 1 pairs could be scored"), "{message}");
    let message = stderr_of(&["metrics", "--list-predict", &p, "--list-true", &one, "--num-class", "3"], 1);
    assert!(message.contains("p.txt has entries without a partner"), "{message}");
}

#[test]
fn values_of_no_class_are_let_through_with_a_note_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_npy(&at("p.npy"), [1, 4], &[1, 2, 9, 1]);
    write_npy(&at("l.npy"), [1, 4], &[1, 2, 2, 8]);
    let (p, l) =
        (write_list(folder.path(), "p.txt", &[at("p.npy")]), write_list(folder.path(), "l.txt", &[at("l.npy")]));
    // As the Capstone's script: the label 8 is dropped, the prediction 9 is wrong.
    let arguments = ["metrics", "--list-predict", &p, "--list-true", &l, "--num-class", "2"];
    assert_eq!(scored(&p, &l, &["--num-class", "2"])["pixel_accuracy"].as_f64(), Some(2.0 / 3.0));
    let note = stderr_of(&arguments, 0);
    assert!(note.contains("2 files hold values outside 2 numbered classes (for example 8 in "), "{note}");
    // As CSAIL's code: under the label 8 every prediction is wrong.
    assert_eq!(scored(&p, &l, &["--num-class", "2", "--convention", "csail"])["pixel_accuracy"].as_f64(), Some(0.5));
    let strict = stderr_of(&[&arguments[..], &["--strict"]].concat(), 1);
    assert!(strict.contains("l.npy: holds 8, which is not a class of 2 numbered classes"), "{strict}");
    assert_eq!(scored(&p, &l, &["--num-class", "1"])["pixel_accuracy"].as_f64(), Some(1.0));
    let refused = stderr_of(&[&arguments[..], &["--convention", "MMSeg"]].concat(), 1);
    assert!(refused.contains("predicted value 2 at pixel (1, 0) is not in"), "{refused}");
    let class = stderr_of(&[&arguments[..], &["--ignore-label", "2"]].concat(), 2);
    assert!(class.contains("--ignore-label 2 is the label value of class 'class 2'"), "{class}");
}

#[test]
fn folders_are_paired_and_labels_may_be_of_any_depth() {
    let folder = tempfile::tempdir().unwrap();
    let (predictions, labels) = (folder.path().join("p"), folder.path().join("l"));
    std::fs::create_dir_all(&predictions).unwrap();
    std::fs::create_dir_all(&labels).unwrap();
    for name in ["a", "b"] {
        write_npy(&predictions.join(format!("{name}.npy")), [2, 2], &[1, 2, 300, 1]);
        write_npy(&predictions.join(format!("{name}_prob.npy")), [2, 2], &[0; 4]);
    }
    let deep = ImageBuffer::from_fn(2, 2, |x, y| Luma([[[1u16, 2], [300, 2]][y as usize][x as usize]]));
    deep.save(labels.join("a.png")).unwrap();
    deep.save(labels.join("b.tif")).unwrap();
    let (p, l) = (text(&predictions), text(&labels));
    let arguments = ["metrics", "--predictions", &p, "--labels", &l, "--num-class", "300", "--json"];
    let scores: Value = serde_json::from_str(&stdout_of(&arguments)).unwrap();
    assert_eq!((&scores["images"], scores["pixel_accuracy"].as_f64()), (&2.into(), Some(0.75)));
    deep.save(labels.join("c.png")).unwrap();
    assert!(stderr_of(&arguments, 1).contains("c.png"));
}
