//! `segtool concat`: what it draws, pixel by pixel, and what it says about input that cannot be drawn.

mod drawing;
mod inputs;
mod refusals;

use std::fs;
use std::path::PathBuf;

use image::{GrayImage, Luma, RgbImage};
use ndarray::Array2;
use segtool::data::Dataset;

use crate::common::{Segtool, segtool, stderr_of, text};

const WIDTH: u32 = 120;

const HEIGHT: u32 = 90;

/// CamVid's "not labelled".
const VOID: u8 = 11;

/// Edges of the vertical stripes of one class each.
const STRIPE: u32 = 40;

/// Images, labels and predictions in folders of their own, and lists of them, in a temporary folder.
struct Bench(tempfile::TempDir);

impl Bench {
    /// Three triples: the label has stripes of classes 0, 1 and void, the prediction of 0, 2 and 3.
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        for folder in ["images", "labels", "predictions"] {
            fs::create_dir_all(bench.path(folder)).unwrap();
        }
        for stem in ["a", "b", "c"] {
            RgbImage::from_fn(WIDTH, HEIGHT, photo).save(bench.path(&format!("images/{stem}.png"))).unwrap();
            stripes([0, 1, VOID]).save(bench.path(&format!("labels/{stem}.png"))).unwrap();
            bench.predict(stem, [0, 2, 3]);
        }
        for folder in ["images", "labels", "predictions"] {
            let extension = if folder == "predictions" { "npy" } else { "png" };
            let lines: String = ["a", "b", "c"].map(|stem| format!("{folder}/{stem}.{extension}\n")).concat();
            fs::write(bench.path(&format!("{folder}.txt")), lines).unwrap();
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        text(&self.path(name))
    }

    /// Writes a prediction, int64 as the original's.
    fn predict(&self, stem: &str, classes: [i64; 3]) {
        let value = |(_, x): (usize, usize)| classes[x / STRIPE as usize];
        let map = Array2::from_shape_fn((HEIGHT as usize, WIDTH as usize), value);
        ndarray_npy::write_npy(self.path(&format!("predictions/{stem}.npy")), &map).unwrap();
    }

    fn write_probability(&self, probability: f32) {
        let map = Array2::from_elem((HEIGHT as usize, WIDTH as usize), probability);
        ndarray_npy::write_npy(self.path("predictions/a_prob.npy"), &map).unwrap();
    }

    /// The command that draws the first triple with CamVid's classes, and more; `labels` is the folder of that name.
    fn command(&self, more: &[&str]) -> Segtool {
        let labels = self.text("labels");
        let more: Vec<&str> = more.iter().map(|&word| if word == "labels" { labels.as_str() } else { word }).collect();
        segtool("concat")
            .arg("--image-predict", self.path("predictions/a.npy"))
            .arg("--images", self.path("images"))
            .arg("--output-path", self.path("out"))
            .args(&["--dataset", "camvid"])
            .args(&more)
    }

    /// Draws the first triple.
    fn draw(&self, more: &[&str]) -> RgbImage {
        self.command(more).run();
        image::open(self.path("out/a_concat.png")).unwrap().to_rgb8()
    }

    /// Standard error of drawing the first triple, which must fail.
    fn refused(&self, more: &[&str], code: i32) -> String {
        let message = self.command(more).fails_with(code);
        assert!(!self.path("out/a_concat.png").exists());
        message
    }

    /// Standard error of drawing the lists.
    fn draw_lists(&self, code: i32) -> String {
        let lists = ["predictions.txt", "images.txt", "labels.txt"].map(|name| self.text(name));
        let [predictions, images, labels] = lists.each_ref().map(String::as_str);
        let out = self.text("out");
        let arguments = ["concat", "--list-predict", predictions, "--image-list", images, "--label-list", labels];
        stderr_of(&[arguments.as_slice(), &["--dataset", "camvid", "--output-path", &out]].concat(), code)
    }
}

fn photo(x: u32, y: u32) -> image::Rgb<u8> {
    image::Rgb([(x * 2) as u8, (y * 2) as u8, 77])
}

fn stripes(values: [u8; 3]) -> GrayImage {
    GrayImage::from_fn(WIDTH, HEIGHT, |x, _| Luma([values[(x / STRIPE) as usize]]))
}

fn camvid(class: usize) -> [u8; 3] {
    Dataset::find("camvid").unwrap().classes[class].color
}

/// Colours in the middle of the three stripes of a panel.
fn stripe_colors(image: &RgbImage, panel: u32) -> [[u8; 3]; 3] {
    [0, 1, 2].map(|stripe| image.get_pixel(panel * WIDTH + stripe * STRIPE + STRIPE / 2, 50).0)
}
