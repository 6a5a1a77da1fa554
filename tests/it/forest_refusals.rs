//! Labels, settings and runs of forests that are refused, and what is left as it was.

use std::fs;
use std::path::Path;

use image::{GrayImage, Luma};

use crate::common::made_core::{Made, bytes};
use crate::common::{segtool, stderr_of, stdout_of};

#[test]
fn labels_that_cannot_be_learnt_from_are_refused_in_words() {
    let made = Made::new();
    let run = made.path("run");
    let with = |name: &str, labels: GrayImage| {
        let path = made.path(name);
        labels.save(&path).unwrap();
        let train = segtool("train").arg("--recipe", "hypercolumn-core").arg("--images", &made.core);
        let said = train.arg("--labels", &path).arg("--output-path", &run).fails_with(1);
        assert!(!Path::new(&run).exists(), "{name}");
        said
    };
    let said = with("none.png", GrayImage::new(240, 40));
    assert!(said.contains("has a labelled pixel") && said.contains("0 means not labelled"), "{said}");
    let said = with("one.png", GrayImage::from_pixel(240, 40, Luma([2])));
    assert!(said.contains("all 9600 labelled pixels are of class 'rubble'"), "{said}");
    let said = with("small.png", GrayImage::from_pixel(239, 40, Luma([2])));
    assert!(said.contains("core.png is 240x40") && said.contains("small.png is 239x40"), "{said}");
    let said = with("value.png", GrayImage::from_pixel(240, 40, Luma([9])));
    assert!(said.contains("label 9 at pixel (0, 0)"), "{said}");
    let missing = ["train", "--recipe", "hypercolumn-core", "--images", "no.png", "--labels", &made.labels];
    let said = stderr_of(&[&missing[..], &["--output-path", &run]].concat(), 1);
    assert!(said.contains("cannot read no.png"), "{said}");
    // A table with a pixel that is not in the image.
    let table = made.path("table.csv");
    fs::write(&table, "file,x,y,class\ncore.png,5,5,rubble\ncore.png,240,5,rubble\n").unwrap();
    let said = stderr_of(&["train", "--recipe", "hypercolumn-core", "--label-csv", &table, "--output-path", &run], 1);
    assert!(said.contains("table.csv") && said.contains("240x40") && said.contains("line 3"), "{said}");
    let first = ["train", "--recipe", "hypercolumn-core", "--label-csv", &table, "--output-path", &run];
    let said = stderr_of(&[&first[..], &["--images", &made.core]].concat(), 2);
    assert!(said.contains("is not a folder; with --label-csv"), "{said}");
}

#[test]
fn what_would_do_nothing_is_refused() {
    let made = Made::new();
    let run = made.path("run");
    for (more, expected) in [
        (vec!["--learning-rate", "0.1"], "--learning-rate has no effect with a recipe of a random forest"),
        (vec!["--num-epoch", "3", "--workers", "4"], "have no effect with a recipe of a random forest"),
        (vec!["--split", "none", "--val-fraction", "0.1"], "--split is none"),
        (vec!["--taps", "pool1,layer2"], "`tap` is layer2; it must be one of the taps of VGG-16: colors, conv1_1"),
        (vec!["--taps", "pool1,pool1"], "`features.taps` lists pool1 twice"),
        (vec!["--scales", "1,100"], "`features.scales` is 100; it must be whole numbers from 1 to 64"),
        (vec!["--set", "forest.seed=3"], "unknown field 'seed'"),
        (vec!["--set", "forest.trees=0"], "`forest.trees` is 0"),
        (
            vec!["--set", "forest.class_weights=[1, 2]"],
            "`forest.class_weights` is a list of 2 numbers; it must be a list of 4",
        ),
        (vec!["--val-fraction", "NaN"], "--val-fraction is NaN; it must be between 0 and 1"),
        (vec!["--set", "features.encoder.stages=1"], "unknown field 'stages'"),
    ] {
        let said = stderr_of(&made.training(&run, &more), 2);
        assert!(said.contains(expected), "{more:?}: {said}");
        assert!(!Path::new(&run).exists());
    }
    stdout_of(&made.training(&run, &["--split", "none"]));
    let predict = ["predict", "--run", &run, "--output-path", &made.path("out"), &made.core];
    for (more, expected) in [
        (["--flip"].as_slice(), "--flip has no effect with a run of a random forest"),
        (&["--threshold", "0.5"], "--threshold has no effect"),
        (&["--precision", "float32"], "--precision has no effect"),
    ] {
        assert!(stderr_of(&[&predict[..], more].concat(), 2).contains(expected), "{more:?}");
    }
    let said = stderr_of(&["metrics", "--run", &run], 1);
    assert!(said.contains("has no validation images; name some with --images and --labels"), "{said}");
    let said = stderr_of(&["train", "--resume", &run], 1);
    assert!(said.contains("is a run of a random forest"), "{said}");
    let said = stderr_of(&["bench", "--recipe", "hypercolumn-core"], 2);
    assert!(said.contains("--recipe is 'hypercolumn-core'; it must be a recipe of a network"), "{said}");
}

#[test]
fn damaged_runs_are_refused_and_old_ones_replaced_whole() {
    let made = Made::new();
    let (run, out) = (made.path("run"), made.path("out"));
    stdout_of(&made.training(&run, &["--split", "none"]));
    let said = stderr_of(&made.training(&run, &[]), 1);
    assert!(said.contains("already holds a run; replace it with --overwrite"), "{said}");
    let predict = ["predict", "--run", &run, "--output-path", &out, &made.core];
    let forest = bytes(&run, "forest.bin");
    let put = |file: &str, content: &[u8]| fs::write(Path::new(&run).join(file), content).unwrap();
    for damaged in [&forest[..forest.len() / 2], &[], b"more data after its end", &[&forest[..], b"more"].concat()] {
        put("forest.bin", damaged);
        assert!(stderr_of(&predict, 1).contains("forest.bin"));
    }
    let mut newer = forest.clone();
    newer[8] = 200;
    put("forest.bin", &newer);
    assert!(stderr_of(&predict, 1).contains("version"), "{}", stderr_of(&predict, 1));
    put("forest.bin", &forest);
    let other = made.path("other");
    stdout_of(&made.training(&other, &["--split", "none", "--taps", "pool1"]));
    put("forest.bin", &bytes(&other, "forest.bin"));
    assert!(stderr_of(&predict, 1).contains("has 64 features and 4 classes"), "{}", stderr_of(&predict, 1));
    let said = stderr_of(&made.training(&other, &["--weights", &run, "--overwrite"]), 1);
    assert!(said.contains("is a run of a random forest, whose encoder is kept only as far"), "{said}");
    fs::remove_file(Path::new(&run).join("forest.bin")).unwrap();
    assert!(stderr_of(&predict, 1).contains("its training did not finish"));
    assert!(!Path::new(&out).exists());
    // A forest in the place of a forest, then a network in its place, then a forest again.
    let of_network = ["train", "--recipe", "unet-demo", "--set", "training.epochs=1", "--set", "network.width=2"];
    let data = ["--images", &made.core, "--labels", &made.labels, "--dataset", "core", "--output-path", &run];
    for network in [false, true, false] {
        if network {
            stdout_of(&[&of_network[..], &data, &["--overwrite", "--ignore-memory", "--augment", "none"]].concat());
        } else {
            stdout_of(&made.training(&run, &["--split", "none", "--overwrite"]));
        }
        let here = |file: &str| Path::new(&run).join(file).exists();
        assert!(
            here("forest.bin") != network && here("scores.json") != network && here("model.safetensors") == network
        );
        stdout_of(&[&predict[..], &["--overwrite"]].concat());
    }
}

#[test]
fn nothing_of_the_users_is_touched() {
    let made = Made::new();
    let run = made.path("run");
    // Neighbours, and what lies in the run folder without being of a run.
    for name in ["run.new", "run.old", "run.tmp"] {
        fs::create_dir(made.path(name)).unwrap();
        fs::write(made.path(name) + "/mine.txt", "mine").unwrap();
    }
    let cache = made.path("run/features");
    stdout_of(&made.training(&run, &["--split", "none"]));
    stdout_of(&made.training(&run, &["--split", "none", "--overwrite", "--cache-features", &cache]));
    fs::write(made.path("run/mine.txt"), "mine").unwrap();
    stdout_of(&made.training(&run, &["--split", "none", "--overwrite", "--cache-features", &cache]));
    for name in ["run.new/mine.txt", "run.old/mine.txt", "run.tmp/mine.txt", "run/mine.txt"] {
        assert_eq!(fs::read_to_string(made.path(name)).unwrap(), "mine", "{name}");
    }
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
    // A run that cannot be written is told of before anything is computed, and leaves nothing.
    let file = made.path("file");
    fs::write(&file, "mine").unwrap();
    let said = stderr_of(&made.training(&(file.clone() + "/run"), &[]), 1);
    assert!(said.contains("/file/run") && !said.contains("features"), "{said}");
    let said = stderr_of(&made.training(&made.path("other"), &["--cache-features", &(file.clone() + "/cache")]), 1);
    assert!(said.contains("/file/cache") && said.contains("name another folder with --cache-features"), "{said}");
    // An image is not drawn over.
    let first = ["info", "--features", &made.core, "--tap", "pool1", "--channel", "3", "--output"];
    let before = fs::read(&made.core).unwrap();
    let said = stderr_of(&[&first[..], &[&made.core]].concat(), 1);
    assert!(said.contains("would overwrite it"), "{said}");
    let said = stderr_of(&[&first[..], &["x.jpg"]].concat(), 2);
    assert!(said.contains("a name that ends in .png"), "{said}");
    assert_eq!(fs::read(&made.core).unwrap(), before);
    let said = stderr_of(&[&first[..], &["x.png", "--recipe", "hypercolumn-core", "--width", "3"]].concat(), 2);
    assert!(said.contains("--width"), "{said}");
}
