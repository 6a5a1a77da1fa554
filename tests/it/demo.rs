//! The demo learns, and leaves what it says.

use crate::common::{stdout_of, text};

/// A constant answer scores about 0.14, a network that knows sand and salt but no fault about 0.65.
const LEARNED: f64 = 0.5;

fn number_after(text: &str, words: &str) -> f64 {
    let rest = text.split(words).nth(1).unwrap_or_else(|| panic!("'{words}' is not in:\n{text}"));
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn the_demo_learns_and_shows_where_everything_is() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("demo");
    // That it learns is shown by the default build.
    let is_short = cfg!(feature = "libtorch");
    let epochs = if is_short { &["--num-epoch", "1"][..] } else { &[] };
    let said = stdout_of(&[&["demo", "--output-path", &text(&output)], epochs].concat());
    let (score, constant) = (number_after(&said, "Mean IOU is"), number_after(&said, "mean IoU"));
    assert!(is_short || (score > LEARNED && score > 3.0 * constant), "{said}");
    for path in [
        "data/train_images.txt",
        "run/model.safetensors",
        "run/curves.png",
        "run/report.html",
        "predictions/predictions.txt",
        "side-by-side.png",
    ] {
        assert!(output.join(path).exists(), "{path}");
    }
    // The same numbers by the commands that a user would type.
    let predictions = text(&output.join("predictions/predictions.txt"));
    let labels = text(&output.join("data/test_labels.txt"));
    let again = stdout_of(&["metrics", "--list-predict", &predictions, "--list-true", &labels, "--dataset", "demo"]);
    assert_eq!(number_after(&again, "Mean IOU is"), score);
}
