//! Images with several masks, sigmoids over several classes, and thresholds.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use image::{GrayImage, Luma, Rgb, RgbImage};
use ndarray::{Array2, Array3};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segtool::base::Size;
use segtool::base::label_map::IGNORE;
use segtool::data::{Dataset, Labels, Normalisation, Sample, ValidPixels, pair_mask_folders, survey};
use segtool::nn::activation::{Activation, Rule};
use segtool::nn::model::{NetworkConfig, UnetConfig};
use segtool::nn::ops::{Arriving, Resampling};
use segtool::predict::merge::{ScoreMap, Wanted, WeightedScores, decide, decided};
use segtool::weights::{Description, Weights, save};
use serde_json::Value;

use crate::common::{devices, noise, output_of, read_json, segtool, stderr_of, stdout_of, text};

/// A block of houses from above, and left, top, width and height of the damaged ones: intact roofs are even, those of
/// damaged buildings a rubble of light and dark.
fn aerial(seed: u64, size: Size) -> (RgbImage, Vec<[u32; 4]>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut image = RgbImage::from_fn(size.width as u32, size.height as u32, |x, y| {
        let street = x % 40 < 5 || y % 36 < 5;
        let ground = if street { [120u8, 120, 118] } else { [96, 108, 72] };
        Rgb(ground.map(|value| value + rng.random_range(0..20)))
    });
    let mut damaged = Vec::new();
    for house in 0..6 {
        let [width, height] = [rng.random_range(10..18), rng.random_range(10..18)];
        let left = rng.random_range(0..size.width as u32 - width);
        let top = rng.random_range(0..size.height as u32 - height);
        let roof = [rng.random_range(130..170u8), rng.random_range(60..90), 60];
        let rubble = house % 2 == 0;
        if rubble {
            damaged.push([left, top, width, height]);
        } else if damaged
            .iter()
            .any(|[l, t, w, h]| left < l + w && *l < left + width && top < t + h && *t < top + height)
        {
            continue;
        }
        for (x, y) in (left..left + width).flat_map(|x| (top..top + height).map(move |y| (x, y))) {
            let grey = if rng.random_bool(0.5) { rng.random_range(200..250) } else { rng.random_range(5..60) };
            image.put_pixel(x, y, Rgb(if rubble { [grey; 3] } else { roof }));
        }
    }
    (image, damaged)
}

fn mask_of(size: Size, [left, top, width, height]: [u32; 4]) -> GrayImage {
    let inside = |x: u32, y: u32| (left..left + width).contains(&x) && (top..top + height).contains(&y);
    GrayImage::from_fn(size.width as u32, size.height as u32, |x, y| Luma([if inside(x, y) { 255 } else { 0 }]))
}

/// Writes `<root>/<id>/images/<id>.png` and `<root>/<id>/masks/<n>.png`, one mask a damaged building.
fn write_id(root: &Path, id: &str, seed: u64, size: Size) -> PathBuf {
    let folder = root.join(id);
    fs::create_dir_all(folder.join("images")).unwrap();
    fs::create_dir_all(folder.join("masks")).unwrap();
    let (image, damaged) = aerial(seed, size);
    image.save(folder.join(format!("images/{id}.png"))).unwrap();
    for (i, house) in damaged.into_iter().enumerate() {
        mask_of(size, house).save(folder.join(format!("masks/{i}.png"))).unwrap();
    }
    folder
}

/// A root of so many ids, of two sizes.
fn write_root(root: &Path, ids: u64) {
    for id in 0..ids {
        // Neither side of the second is a multiple of what the network needs.
        let size = if id % 4 == 3 { Size { width: 70, height: 50 } } else { Size { width: 64, height: 64 } };
        write_id(root, &format!("id{id:02}"), id, size);
    }
}

#[test]
fn masks_are_merged_into_one_label() {
    let root = tempfile::tempdir().unwrap();
    let size = Size { width: 64, height: 64 };
    let first = write_id(root.path(), "a", 1, size);
    fs::create_dir_all(root.path().join("b/masks")).unwrap();
    fs::create_dir_all(root.path().join("b/images")).unwrap();
    aerial(2, size).0.save(root.path().join("b/images/other name.jpg")).unwrap();
    // What systems and spreadsheets leave behind is no mask and no id.
    fs::write(first.join("masks/.DS_Store"), "x").unwrap();
    fs::write(first.join("masks/Thumbs.db"), "x").unwrap();
    fs::write(root.path().join("labels.csv"), "x").unwrap();
    fs::create_dir(root.path().join(".cache")).unwrap();
    let pairs = pair_mask_folders(root.path()).unwrap();
    assert_eq!(pairs.len(), 2);
    assert_eq!(pairs[0].label.files().len(), 3);
    assert_eq!(pairs[1].label, Labels::Masks(Vec::new()));
    let dataset = Dataset::find("earthquake").unwrap();
    let labels = Sample::load(&pairs[0], &dataset).unwrap().labels;
    let masks: Vec<GrayImage> = aerial(1, size).1.into_iter().map(|house| mask_of(size, house)).collect();
    let merged = (0..64 * 64).map(|i| masks.iter().map(|mask| mask.as_raw()[i]).max().unwrap() / 255);
    assert!(labels.classes.iter().copied().eq(merged.map(u16::from)));
    assert!(Sample::load(&pairs[1], &dataset).unwrap().labels.classes.iter().all(|class| *class == 0));
    let found = survey(&pairs, &[], &dataset, &|_| ()).unwrap();
    let there = labels.classes.iter().filter(|class| **class == 1).count() as u64;
    assert_eq!(found.class_pixels, [2 * 64 * 64 - there, there]);
}

#[test]
fn pixels_without_label_stay_so_only_where_no_mask_has_one() {
    let root = tempfile::tempdir().unwrap();
    let id = write_id(root.path(), "a", 1, Size { width: 64, height: 64 });
    fs::remove_dir_all(id.join("masks")).unwrap();
    fs::create_dir(id.join("masks")).unwrap();
    // CamVid: 11 is no label.
    for (name, values) in [("0", [3, 11, 11]), ("1", [5, 11, 2]), ("2", [4, 11, 11])] {
        let mask = GrayImage::from_fn(64, 64, |x, _| Luma([values[(x % 3) as usize]]));
        mask.save(id.join(format!("masks/{name}.png"))).unwrap();
    }
    let pairs = pair_mask_folders(root.path()).unwrap();
    let labels = Sample::load(&pairs[0], &Dataset::find("camvid").unwrap()).unwrap().labels;
    assert_eq!(labels.classes[..4], [5, IGNORE, 2, 5]);
}

#[test]
fn faults_name_the_file_and_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let size = Size { width: 64, height: 64 };
    let train = |root: &Path| {
        let run = root.join("../never");
        let train = segtool("train").arg("--recipe", "unet-earthquake").arg("--mask-folders", root);
        train.arg("--output-path", run).arg("--device", "flex").fails_with(1)
    };
    let layout = root.path().join("layout");
    fs::create_dir_all(&layout).unwrap();
    assert!(train(&layout).contains("it needs one for each image"));
    fs::create_dir_all(layout.join("a")).unwrap();
    fs::create_dir_all(layout.join("b/images")).unwrap();
    let c = write_id(&layout, "c", 1, size);
    aerial(2, size).0.save(c.join("images/second.png")).unwrap();
    let d = write_id(&layout, "d", 1, size);
    fs::remove_dir_all(d.join("masks")).unwrap();
    let said = train(&layout);
    for expected in [
        "the data set has 4 faults",
        &format!("{}: has no subfolder images/", text(&layout.join("a"))),
        &format!("{}: holds no image", text(&layout.join("b/images"))),
        "holds c.png and second.png; exactly one image is expected",
        "has no subfolder masks/; add it with the image's masks, or empty",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }

    let content = root.path().join("content");
    let a = write_id(&content, "a", 1, size);
    mask_of(Size { width: 64, height: 60 }, [1, 1, 5, 5]).save(a.join("masks/short.png")).unwrap();
    GrayImage::from_pixel(64, 64, Luma([7])).save(a.join("masks/seven.png")).unwrap();
    fs::write(a.join("masks/torn.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    fs::write(a.join("masks/notes.txt"), "not a mask").unwrap();
    mask_of(size, [1, 1, 5, 5]).save(a.join("masks/lossy.jpg")).unwrap();
    let said = train(&content);
    for expected in [
        "the data set has 5 faults",
        "short.png",
        "64x60",
        "seven.png: label 7 at pixel (0, 0), in 4096 of its pixels; data set 'earthquake' defines values 0..=1, 255",
        "torn.png",
        "notes.txt",
        "a JPEG cannot hold labels",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!root.path().join("never").exists());
}

/// Values of `<stem>.npy` and probabilities of `<stem>_probs.npy` below a folder.
fn read(folder: &Path, stem: &str) -> (Array2<u8>, Array3<f32>) {
    let path = |end: &str| folder.join(format!("{stem}{end}.npy"));
    (ndarray_npy::read_npy(path("")).unwrap(), ndarray_npy::read_npy(path("_probs")).unwrap())
}

fn iou(arguments: &[&str]) -> f64 {
    let report: Value = serde_json::from_str(&stdout_of(arguments)).unwrap();
    assert_eq!(report["classes"][1]["name"], "damage");
    report["classes"][1]["iou"].as_f64().unwrap()
}

#[test]
fn the_earthquake_recipe_learns_from_masks() {
    let folder = tempfile::tempdir().unwrap();
    let (root, test, run) = (folder.path().join("train"), folder.path().join("test"), folder.path().join("run"));
    write_root(&root, 30);
    for id in 0..4 {
        write_id(&test, &format!("t{id}"), 100 + id, Size { width: 90, height: 75 });
    }
    let (root, test, run_text) = (text(&root), text(&test), text(&run));
    let source = ["train", "--recipe", "unet-earthquake", "--mask-folders", &root, "--val-fraction", "0.1"];
    // So few steps at such a rate leave one seed in four on a plateau, and roundings decide which.
    let rate = ["--learning-rate", "0.004", "--seed", "1"];
    let settings = [&["--width", "4", "--num-epoch", "14", "--batch-size", "2"][..], &rate].concat();
    stdout_of(&[&source[..], &settings, &["--output-path", &run_text, "--device", "flex"]].concat());
    let samples = read_json(run.join("samples.json"));
    assert_eq!(samples["train"].as_array().unwrap().len(), 27);
    assert_eq!(samples["validation"].as_array().unwrap().len(), 3);
    assert_eq!(samples["validation"][0]["label"].as_array().unwrap().len(), 3);
    let config = read_json(run.join("config.json"));
    assert_eq!((&config["recipe"]["activation"], &config["recipe"]["threshold"]), (&"sigmoid".into(), &0.7.into()));

    let own = iou(&["metrics", "--run", &run_text, "--device", "flex", "--json"]);
    assert!(own > 0.5, "{own}");
    let new = iou(&["metrics", "--run", &run_text, "--mask-folders", &test, "--device", "flex", "--json"]);
    assert!(new > 0.5, "{new}");

    let predict = |name: &str, source: &[&str], threshold: &[&str]| {
        let out = folder.path().join(name);
        let base = ["--output-path", &text(&out), "--prob", "--prob-all", "--device", "flex", &test];
        stdout_of(&[&["predict"], source, threshold, &base].concat());
        out
    };
    let from_run = ["--run", &run_text];
    let mut areas = Vec::new();
    // The run's own is the recipe's 0.7.
    for (threshold, limit, more) in
        [("low", 0.5, &["--threshold", "0.5"][..]), ("own", 0.7, &[]), ("high", 0.9, &["--threshold", "0.9"])]
    {
        let out = predict(threshold, &from_run, more);
        let (values, probabilities) = read(&out, "t1");
        assert_eq!(probabilities.dim(), (2, 75, 90));
        let best: Array2<f32> = ndarray_npy::read_npy(out.join("t1_prob.npy")).unwrap();
        for ((y, x), value) in values.indexed_iter() {
            let there = probabilities[[1, y, x]] > limit;
            assert!(*value == if there { 255 } else { 0 }, "{threshold}: {value} {}", probabilities[[1, y, x]]);
            assert_eq!(best[[y, x]], probabilities[[usize::from(there), y, x]]);
        }
        areas.push(values.iter().filter(|value| **value == 255).count());
    }
    assert!(areas[0] > areas[1] && areas[1] > areas[2] && areas[2] > 0, "{areas:?}");
    // The weights know it, too.
    let weights = text(&run.join("model.safetensors"));
    let alone = predict("alone", &["--weights", &weights, "--dataset", "earthquake"], &[]);
    let own = folder.path().join("own");
    for stem in ["t0", "t1", "t2", "t3"] {
        assert!(read(&alone, stem) == read(&own, stem), "{stem}");
    }
    let predictions = text(&own);
    let files = ["--predictions", &predictions, "--mask-folders", &test, "--dataset", "earthquake", "--json"];
    assert_eq!(iou(&[&["metrics"], &files[..]].concat()), new);
    let strict = ["metrics", "--run", &run_text, "--mask-folders", &test, "--threshold", "0.999999", "--json"];
    assert!(iou(&strict) < new);
}

#[test]
fn a_second_root_validates() {
    let folder = tempfile::tempdir().unwrap();
    let (train, validation) = (folder.path().join("train"), folder.path().join("val"));
    write_root(&train, 4);
    write_root(&validation, 2);
    let (run, train, validation) = (text(&folder.path().join("run")), text(&train), text(&validation));
    let base = ["train", "--recipe", "unet-earthquake", "--mask-folders", &train, "--val-mask-folders", &validation];
    let settings = ["--width", "2", "--num-epoch", "1", "--batch-size", "2", "--output-path", &run, "--device", "flex"];
    stdout_of(&[&base[..], &settings].concat());
    let samples = read_json(Path::new(&run).join("samples.json"));
    assert_eq!((samples["train"].as_array().unwrap().len(), samples["validation"].as_array().unwrap().len()), (4, 2));
    for more in [["--images", "x"], ["--train-list", "x"], ["--val-fraction", "0.1"], ["--val-list", "x"]] {
        stderr_of(&[&base[..], &more, &["--output-path", "y"]].concat(), 2);
    }
}

fn part(planes: &[f32], size: Size, rule: Rule, share: f32) -> WeightedScores {
    WeightedScores { map: ScoreMap::from_planes(planes, size, rule, false), enlargement: Resampling::default(), share }
}

#[test]
fn looks_of_sigmoids_are_averaged_as_probabilities() {
    let size = Size { width: 2, height: 1 };
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    // Of each output, two pixels.
    let (first, second) = ([2.0, -3.0, 1.0, -1.0, -4.0, 0.5], [-1.0, -2.0, 3.0, -2.0, -5.0, 0.2]);
    let mean = |i: usize| (sigmoid(first[i]) + sigmoid(second[i])) / 2.0;
    for (threshold, expected) in [(0.5, [2, 3]), (0.6, [2, 0]), (0.9, [0, 0])] {
        let rule = Rule::Above(threshold);
        let parts = [part(&first, size, rule, 1.0), part(&second, size, rule, 1.0)];
        let decision = decide(&parts, size, 0..1, Wanted { highest: true, all: true });
        assert_eq!(decision.classes, expected, "{threshold}");
        let (all, highest) = (decision.all.unwrap(), decision.highest.unwrap());
        for pixel in 0..2 {
            let class = |class: usize| all[class * 2 + pixel];
            (1..4).for_each(|i| assert!((class(i) - mean((i - 1) * 2 + pixel)).abs() < 1e-6));
            assert_eq!(class(0), 1.0 - class(1).max(class(2)).max(class(3)));
            assert_eq!(highest[pixel], class(usize::from(decision.classes[pixel])));
        }
    }
}

#[test]
fn validation_decides_as_prediction_does() {
    let size = Size { width: 9, height: 7 };
    for (choice, device) in devices() {
        for outputs in [1, 2, 7] {
            let data = noise(outputs as u64, &[1, outputs, size.height, size.width]);
            let planes: Vec<f32> = data.iter::<f32>().map(|x| 3.0 * x).collect();
            for rule in [Rule::MostProbable, Rule::Above(0.5), Rule::Above(0.0), Rule::Above(0.8)] {
                let logits = Tensor::<4>::from_data(TensorData::new(planes.clone(), data.shape().to_vec()), &device);
                let expected = decide(&[part(&planes, size, rule, 1.0)], size, 0..size.height, Wanted::default());
                let found = Arriving::of_classes(decided(logits, rule)).read_classes().unwrap();
                assert_eq!(found, expected.classes, "{choice}, {outputs}, {rule:?}");
                let foreground = expected.classes.iter().any(|class| *class > 0);
                assert!(foreground || (outputs, rule) == (1, Rule::MostProbable));
            }
        }
    }
}

/// Weights of the oil-seep system's U-Net for its seven classes, as that system writes them.
fn seeps_weights(folder: &Path) -> PathBuf {
    let device = Device::flex();
    let config = NetworkConfig::UnetSeeps(UnetConfig::new(4, 4, 1, 7));
    let network = config.init(5, &device).unwrap();
    let normalisation = Normalisation::PerImage { valid: ValidPixels::All };
    let own = folder.join("own.safetensors");
    save(&network, &Description::own(config, normalisation).deciding_by(Activation::Sigmoid, 0.5), &own).unwrap();
    let theirs = folder.join("seeps.pth");
    let (_, notes) = Weights::open(&[own], None).unwrap().export("seeps".parse().unwrap(), &theirs).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    theirs
}

#[test]
fn seven_seep_classes_are_predicted_with_a_background() {
    let folder = tempfile::tempdir().unwrap();
    let weights = text(&seeps_weights(folder.path()));
    let image = folder.path().join("tile.png");
    GrayImage::from_fn(40, 24, |x, y| Luma([(x * 37 + y * 91) as u8])).save(&image).unwrap();
    let image = text(&image);
    let predict = |name: &str, more: &[&str]| {
        let out = folder.path().join(name);
        let base = ["predict", "--weights", &weights, "--output-path", &text(&out), "--prob-all", "--device", "flex"];
        let said = output_of(&[&base[..], more, &[&image]].concat());
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        (read(&out, "tile"), String::from_utf8_lossy(&said.stderr).into_owned())
    };
    let ((_, probabilities), said) = predict("plain", &[]);
    assert!(said.contains("classes: seeps, label values 0 to 7"), "{said}");
    assert!(said.contains("sigmoid, the largest of classes 1 to 7 above 0.5"), "{said}");
    assert_eq!(probabilities.dim().0, 8);
    // Where the median of the best probabilities lies, both answers occur.
    let best = |y: usize, x: usize| (1..8).map(|class| probabilities[[class, y, x]]).fold(0.0, f32::max);
    let mut sorted: Vec<f32> = (0..24).flat_map(|y| (0..40).map(move |x| best(y, x))).collect();
    sorted.sort_by(f32::total_cmp);
    let threshold = sorted[sorted.len() / 2];
    let ((values, again), _) = predict("median", &["--threshold", &threshold.to_string()]);
    assert_eq!(again, probabilities);
    for ((y, x), value) in values.indexed_iter() {
        assert_eq!(probabilities[[0, y, x]], 1.0 - best(y, x));
        let expected = match best(y, x) > threshold {
            true => (1..8).find(|class| probabilities[[*class, y, x]] == best(y, x)).unwrap(),
            false => 0,
        };
        assert_eq!(usize::from(*value), expected);
    }
    // Imported, they stay what they are; a threshold of a softmax is refused.
    let own = text(&folder.path().join("imported.safetensors"));
    stdout_of(&["import", &weights, "--output", &own]);
    let imported = Weights::open(&[own.into()], None).unwrap();
    assert_eq!((imported.description.activation, imported.class_count()), (Activation::Sigmoid, Some(8)));
    let recipe = ["--recipe", "unet-seeps", "--threshold", "0.5", "--output-path", "never", &image];
    let said = stderr_of(&[&["predict", "--weights", &weights], &recipe[..]].concat(), 2);
    assert!(said.contains("softmax") && said.contains("--threshold"), "{said}");
    stderr_of(&["predict", "--weights", &weights, "--threshold", "1", "--output-path", "never", &image], 2);
}

#[test]
fn older_files_of_one_output_are_sigmoids() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::flex();
    for (outputs, expected) in [(1, Activation::Sigmoid), (4, Activation::Softmax)] {
        let config = NetworkConfig::UnetSeeps(UnetConfig::new(2, 2, 1, outputs));
        let path = folder.path().join("own.safetensors");
        let normalisation = Normalisation::PerImage { valid: ValidPixels::All };
        let description = Description::own(config.clone(), normalisation);
        save(&config.init(0, &device).unwrap(), &description, &path).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        // The older description has neither activation nor threshold.
        let activation = serde_json::to_string(&description.activation).unwrap().replace('"', "\\\"");
        let added = format!(r#",\"activation\":{activation},\"threshold\":0.5"#);
        let at = bytes.windows(added.len()).position(|part| part == added.as_bytes()).unwrap();
        // Blanks may stand between the fields of JSON.
        bytes[at..at + added.len()].fill(b' ');
        fs::write(&path, bytes).unwrap();
        assert_eq!(Weights::open(&[path], None).unwrap().description.activation, expected);
    }
}
