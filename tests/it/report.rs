//! The report of a training, from made results.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use image::RgbImage;
use segtool::base::Size;
use segtool::base::label_map::{IGNORE, LabelMap};
use segtool::data::{Class, Dataset, Pair, synthetic};
use segtool::metric::ConfusionMatrix;
use segtool::recipe::NetworkRecipe;
use segtool::report::{Gallery, Report, SamplePrediction, Status};
use segtool::run::{NetworkRunConfig, Row};

/// A name that would break a page that trusts it.
const ODD: &str = "<b>\"sand\" & 'gravel'</b></script>{{facts}}";

fn config(classes: usize) -> NetworkRunConfig {
    let mut recipe = NetworkRecipe::find("unet-demo").unwrap();
    let mut dataset = Dataset::find("demo").unwrap();
    dataset.title = "Made <sections> from https://example.org".into();
    dataset.classes = (0..classes as u16)
        .map(|i| Class {
            name: if i == 1 { ODD.into() } else { format!("class {i}") },
            values: vec![i],
            color: [i as u8, 200 - i as u8, 90],
            other_colors: Vec::new(),
            other_names: Vec::new(),
        })
        .collect();
    let dataset = recipe.fit(&dataset).unwrap();
    NetworkRunConfig {
        class_weights: None,
        version: "0.1.0".into(),
        seed: 7,
        device: "flex".into(),
        weights: vec!["/data/<weights>.pth".into()],
        started: Some("2026-01-02T03:04:05Z".into()),
        recipe,
        dataset,
    }
}

fn rows(classes: usize, validated: bool) -> Vec<Row> {
    let row = |epoch: usize| {
        let iou = 0.9 - 0.2 / (1.0 + 0.7 * epoch as f64) - if epoch == 9 { 0.3 } else { 0.0 };
        let absent = |class: usize| (class % 7 != 6).then_some(iou);
        let scores = [Some(iou + 0.05), Some(iou)].into_iter().chain((0..classes).map(absent));
        Row {
            epoch,
            phase: 1 + usize::from(epoch > 7),
            learning_rate: 0.01 * (1.0 - epoch as f64 / 12.0).powf(0.9),
            train_loss: 1.7 / epoch as f64,
            validation_loss: (validated && epoch > 1).then(|| 1.9 / epoch as f64 + 0.02 * epoch as f64),
            scores: scores.map(|score| score.filter(|_| validated)).collect(),
            seconds: 31.25,
            images_per_second: 12.5,
            data_wait: 0.01,
        }
    };
    (1..=12).map(row).collect()
}

/// Bands of classes; every ninth pixel is predicted as the next class, and a corner has no label.
fn maps(size: Size, classes: usize) -> (LabelMap, LabelMap) {
    let label = |i: usize| ((i % size.width + i / size.width) / 9 % classes) as u16;
    let pixels = 0..size.width * size.height;
    let prediction = pixels.clone().map(|i| if i % 9 == 0 { (label(i) + 1) % classes as u16 } else { label(i) });
    let prediction = LabelMap { size, classes: prediction.collect() };
    let labels = pixels.map(|i| if i % size.width < 9 && i < 9 * size.width { IGNORE } else { label(i) });
    (LabelMap { size, classes: labels.collect() }, prediction)
}

fn sample(name: &str, size: Size, classes: usize) -> SamplePrediction {
    let (labels, prediction) = maps(size, classes);
    let grey = |x: u32, y: u32| image::Rgb([(x * y % 251) as u8; 3]);
    let image = RgbImage::from_fn(size.width as u32, size.height as u32, grey);
    SamplePrediction { name: name.into(), image, labels, prediction, mean_iou: Some(0.75) }
}

fn matrix(classes: usize) -> ConfusionMatrix {
    let (labels, prediction) = maps(Size { width: 640, height: 400 }, classes);
    let mut matrix = ConfusionMatrix::new(classes);
    matrix.add(&labels.classes, &prediction.classes);
    matrix
}

fn report<'a>(
    config: &'a NetworkRunConfig,
    rows: &'a [Row],
    matrix: Option<&'a ConfusionMatrix>,
    samples: &'a [SamplePrediction],
) -> Report<'a> {
    let images = (1234, if matrix.is_some() { 56 } else { 0 });
    let written = UNIX_EPOCH + Duration::from_secs(1_767_323_045);
    let best_epoch = matrix.map(|_| 12);
    Report { config, rows, best_epoch, matrix, samples, images, status: Status::Finished, written }
}

/// Elements that are opened and closed in turn, and no requests.
fn assert_sound(html: &str) {
    let outside = strip(&strip(html, "<script>", "</script>"), "<style>", "</style>");
    let outside = strip(&outside, "<script type=\"application/json\" id=\"sample-data\">", "</script>");
    let mut open = Vec::new();
    for part in outside.split('<').skip(1).filter(|part| !part.starts_with('!')) {
        let (tag, _) = part.split_once('>').unwrap();
        let name = tag.trim_start_matches('/').split_whitespace().next().unwrap();
        match tag.starts_with('/') {
            true => assert_eq!(open.pop(), Some(name), "</{name}>"),
            false if ["meta", "img", "input"].contains(&name) => {}
            false => open.push(name),
        }
        for attribute in ["src=\"", "href=\"", "url("] {
            for (_, rest) in tag.match_indices(attribute).map(|(i, a)| tag.split_at(i + a.len())) {
                assert!(rest.starts_with("data:"), "{tag}");
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
    // Not in what is encoded: there they are letters like others.
    let text = strip(&outside, "base64,", "\"");
    for wrong in ["NaN", "inf<", "inf\"", "{{", "Infinity"] {
        let found = text.replace("{{facts}}", "");
        assert!(
            !found.contains(wrong),
            "{wrong} in {:?}",
            found.find(wrong).map(|i| &found[i.saturating_sub(80)..i + 20])
        );
    }
}

/// The text without what lies between `from` and `to`.
fn strip(text: &str, from: &str, to: &str) -> String {
    let mut parts = text.split(from);
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |out, part| out + from + &part[part.find(to).unwrap()..])
}

#[test]
fn three_classes_with_everything() {
    let config = config(3);
    let (rows, matrix) = (rows(3, true), matrix(3));
    let samples = [
        sample("a.png", Size { width: 64, height: 40 }, 3),
        sample("<i>b</i>.png", Size { width: 300, height: 200 }, 3),
    ];
    let html = report(&config, &rows, Some(&matrix), &samples).html().unwrap();
    assert_sound(&html);
    let escaped = "&lt;b&gt;&quot;sand&quot; &amp; &#39;gravel&#39;&lt;/b&gt;&lt;/script&gt;{{facts}}";
    assert!(html.contains(escaped) && !html.contains("<b>\"sand") && !html.contains("<i>b"));
    assert!(html.contains("Made &lt;sections&gt;") && html.contains("/data/&lt;weights&gt;.pth"));
    // Twelve epochs; the best by mean IoU is the last.
    for text in ["12 of 12", "0.8787", "0.9287", "6 min 15 s", "1,234 to train on, 56 for validation", "finished"] {
        assert!(html.contains(text), "{text}");
    }
    assert!(html.contains("started</dt><dd>2026-01-02 03:04:05 UTC</dd>"));
    assert!(html.contains("report made</dt><dd>2026-01-02 03:04:05 UTC</dd>"));
    assert_eq!(html.matches("<figure class=\"chart\"").count(), 3);
    assert_eq!(html.matches("class=\"phase\"").count(), 3);
    assert_eq!(html.matches("<td class=\"number bar\"").count(), 3);
    // 8 of 9 pixels are right.
    assert!(html.contains("class=\"confusion\"") && html.contains(">88.9</td>"));
    assert!(html.contains("[unet-demo]") || html.contains("name = &quot;unet-demo&quot;"));
    let data = html.split("id=\"sample-data\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!((&data["samples"][1]["name"], &data["classes"][1][0]), (&"<i>b</i>.png".into(), &ODD.into()));
    assert_eq!(data["samples"][0]["legend"].as_array().unwrap().len(), 3);
}

#[test]
fn a_hundred_and_fifty_classes_stay_small() {
    let config = config(150);
    let (rows, matrix) = (rows(150, true), matrix(150));
    let samples: Vec<_> = (0..30).map(|i| sample(&format!("{i}.jpg"), Size { width: 640, height: 480 }, 150)).collect();
    let html = report(&config, &rows, Some(&matrix), &samples).html().unwrap();
    assert_sound(&html);
    assert!(html.contains("class=\"matrix\"") && !html.contains("class=\"confusion\""));
    assert_eq!(html.matches("<td class=\"number bar\"").count(), 150);
    assert!(html.len() < 5 << 20, "{} bytes", html.len());
}

#[test]
fn without_validation_the_last_epoch_counts() {
    let config = config(3);
    let html = report(&config, &rows(3, false), None, &[]).html().unwrap();
    assert_sound(&html);
    assert!(html.contains("There is no validation set") && html.contains("last epoch"));
    assert!(!html.contains("mean IoU</span>") && !html.contains("id=\"samples\""));
    assert_eq!(html.matches("<figure class=\"chart\"").count(), 2);
}

#[test]
fn a_stop_in_the_first_epoch_is_a_report_too() {
    let config = config(3);
    let matrix = ConfusionMatrix::new(3);
    let stopped = Report { status: Status::Stopped(1), images: (5, 2), ..report(&config, &[], None, &[]) };
    let html = stopped.html().unwrap();
    assert_sound(&html);
    let epochs = config.recipe.training.epochs;
    assert!(
        epochs > 0
            && html.contains(&format!("stopped in epoch 1 of {epochs}"))
            && html.contains("No epoch is complete yet")
    );
    assert!(html.contains("No epoch has been validated yet"));
    let mut phases = config.clone();
    phases.recipe.training = NetworkRecipe::find("unet-seeps-phases").unwrap().training;
    let stopped = Report { status: Status::Stopped(11), ..report(&phases, &[], None, &[]) };
    assert!(stopped.html().unwrap().contains("stopped in epoch 11 of 70"));
    // Not a labelled pixel in the validation set: no score is a number.
    assert_sound(&report(&config, &rows(3, true)[..1], Some(&matrix), &[]).html().unwrap());
}

#[test]
fn values_that_are_no_numbers_are_left_out() {
    let config = config(3);
    let mut rows = rows(3, true);
    (rows[3].validation_loss, rows[4].train_loss, rows[5].images_per_second) =
        (Some(f64::NAN), f64::INFINITY, f64::NAN);
    (rows[11].seconds, rows[11].images_per_second) = (f64::NAN, f64::INFINITY);
    rows[2].scores.fill(Some(f64::NAN));
    assert_sound(&report(&config, &rows, Some(&matrix(3)), &[]).html().unwrap());
}

#[test]
fn the_best_epoch_is_that_of_the_weights() {
    let (config, rows, matrix) = (config(3), rows(3, true), matrix(3));
    let html = Report { best_epoch: Some(4), ..report(&config, &rows, Some(&matrix), &[]) }.html().unwrap();
    assert!(html.contains("<b>4 of 12</b>") && html.contains("best epoch"), "{html}");
}

#[test]
fn the_gallery_reads_its_images_again() {
    let folder = tempfile::tempdir().unwrap();
    let size = Size { width: 800, height: 400 };
    let pairs: Vec<Pair> = synthetic::write_set(folder.path(), "val", 1, 0..2, size).unwrap();
    let dataset = segtool::data::Dataset::find("demo").unwrap();
    let mut gallery = Gallery::new(2, 3);
    let (labels, prediction) = maps(size, 3);
    gallery.add(1, &labels, &prediction);
    let samples = gallery.samples(&pairs, &dataset).unwrap();
    assert_eq!((samples.len(), samples[0].image.dimensions()), (1, (640, 320)));
    assert_eq!(samples[0].name, pairs[1].image.file_name().unwrap().to_string_lossy());
    assert!((0.7..0.9).contains(&samples[0].mean_iou.unwrap()));
    std::fs::remove_file(&pairs[1].image).unwrap();
    assert!(gallery.samples(&pairs, &dataset).is_err());
}

#[test]
fn the_scripts_are_javascript() {
    for script in ["src/report/script.js", "src/report/review/script.js"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
        let Ok(output) = Command::new("node").arg("--check").arg(path).output() else {
            println!("skipped: node, which knows JavaScript, is not there");
            return;
        };
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
