//! A folder that is watched: what arrives is predicted, once it is whole.

#![cfg(unix)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use image::{GrayImage, Luma};
use segtool::predict::{State, read_journal};

use crate::common::{assert_says, segtool, signal, small_run, wait_for};

/// A folder in which images arrive.
struct Arriving {
    folder: tempfile::TempDir,
}

impl Arriving {
    fn new() -> Self {
        let arriving = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(arriving.path("in")).unwrap();
        arriving
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The bytes of an image.
    fn image(&self, seed: u32) -> Vec<u8> {
        let path = self.path("drawn.png");
        GrayImage::from_fn(40, 30, |x, y| Luma([((x * 7 + y * 13 + seed * 29) % 251) as u8])).save(&path).unwrap();
        fs::read(path).unwrap()
    }

    fn watch(&self, more: &[&str]) -> Child {
        let predict = segtool("predict").args(&["--device", "flex"]).arg("--run", small_run());
        let predict = predict.arg("--output-path", self.path("out")).arg("--watch", self.path("in")).args(more);
        predict.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// Standard output and error of a watch that is told to stop, and its exit code.
fn stop(child: Child, name: &str) -> (String, String, Option<i32>) {
    signal(&child, name);
    let output = child.wait_with_output().unwrap();
    let [said, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    (said, errors, output.status.code())
}

fn list(folder: &Path) -> String {
    fs::read_to_string(folder.join("predictions.txt")).unwrap_or_default()
}

#[test]
fn images_are_predicted_as_they_arrive() {
    let arriving = Arriving::new();
    let out = arriving.path("out");
    fs::write(arriving.path("in/first.png"), arriving.image(1)).unwrap();
    let child = arriving.watch(&[]);
    wait_for(|| list(&out) == "first.npy\n");
    // One that is copied slowly, names of copies, and one that is moved in.
    let bytes = arriving.image(2);
    let mut slow = fs::File::create(arriving.path("in/slow.png")).unwrap();
    for part in bytes.chunks(bytes.len() / 4 + 1) {
        slow.write_all(part).unwrap();
        sleep(Duration::from_millis(700));
        assert!(!out.join("slow.npy").exists());
    }
    for name in ["in/copy.png.part", "in/copy.png.crdownload", "in/.copy.png", "in/copy.tmp"] {
        fs::write(arriving.path(name), &bytes).unwrap();
    }
    fs::write(arriving.path("damaged"), &bytes[..bytes.len() / 2]).unwrap();
    fs::rename(arriving.path("damaged"), arriving.path("in/damaged.png")).unwrap();
    wait_for(|| list(&out) == "first.npy\nslow.npy\n");
    wait_for(|| read_journal(&out).is_ok_and(|lines| lines.values().any(|line| line.state == State::Skipped)));
    // Two of one stem: the first is predicted, the other is reported.
    fs::write(arriving.path("in/same.png"), &bytes).unwrap();
    fs::copy(arriving.path("in/same.png"), arriving.path("in/same.tif")).unwrap();
    wait_for(|| list(&out) == "first.npy\nsame.npy\nslow.npy\n");
    // It goes on when the folder is away for a while.
    fs::rename(arriving.path("in"), arriving.path("away")).unwrap();
    sleep(Duration::from_millis(1500));
    fs::rename(arriving.path("away"), arriving.path("in")).unwrap();
    fs::write(arriving.path("in/damaged.png"), &bytes).unwrap();
    wait_for(|| out.join("damaged.npy").exists() && list(&out).contains("damaged"));
    let (said, errors, code) = stop(child, "-TERM");
    assert_eq!(code, Some(3), "{errors}");
    assert_says(&said, &["4 predictions written to "]);
    assert_says(
        &errors,
        &["note: 1 prediction written: first.npy", "waiting until it is there again", "same.npy was made from "],
    );
    assert_eq!(errors.matches("damaged.png").count(), 1, "{errors}");
    assert_eq!(errors.matches("same.tif: ").count(), 1, "{errors}");
    let names = ["damaged.npy", "first.npy", "same.npy", "slow.npy"];
    assert_eq!(fs::read_dir(&out).unwrap().count(), names.len() + 3);
}

#[test]
fn a_watch_goes_on_where_it_was_stopped() {
    let arriving = Arriving::new();
    let out = arriving.path("out");
    let draw = |name: &str, seed| {
        fs::create_dir_all(arriving.path(name).parent().unwrap()).unwrap();
        fs::write(arriving.path(name), arriving.image(seed)).unwrap();
    };
    draw("in/a.png", 1);
    draw("in/x/a.png", 2);
    let child = arriving.watch(&["--recursive"]);
    wait_for(|| list(&out) == "a.npy\nx/a.npy\n");
    let mut child = child;
    child.kill().unwrap();
    child.wait().unwrap();
    // Moved away when they are done.
    fs::remove_file(arriving.path("in/a.png")).unwrap();
    draw("in/x/b.png", 3);
    let child = arriving.watch(&["--recursive"]);
    wait_for(|| list(&out) == "a.npy\nx/a.npy\nx/b.npy\n");
    let (said, errors, code) = stop(child, "-INT");
    assert_eq!((code, said.as_str()), (Some(0), &*format!("1 prediction written to {}\n", out.display())), "{errors}");
    assert_says(&errors, &["1 of 2 images have complete results"]);
}

#[test]
fn what_a_watch_cannot_do_is_refused() {
    let arriving = Arriving::new();
    let inside = arriving.path("in");
    let watch = |out: &Path, more: &[&str]| {
        let predict = segtool("predict").arg("--run", small_run()).arg("--device", "flex").arg("--watch", &inside);
        predict.arg("--output-path", out).args(more)
    };
    assert_says(&watch(&inside, &[]).fails_with(2), &["--output-path is the folder that is watched"]);
    assert_says(&watch(&arriving.path("out"), &["--shard", "1/2"]).fails_with(2), &["cannot be used with"]);
    let depths = ["--proportions", "--depth-top", "1", "--depth-bottom", "2"];
    assert_says(&watch(&arriving.path("out"), &depths).fails_with(2), &["--watch is given"]);
    fs::remove_dir(&inside).unwrap();
    assert_says(&watch(&arriving.path("out"), &[]).fails_with(1), &["cannot read ", "No such file"]);
}
