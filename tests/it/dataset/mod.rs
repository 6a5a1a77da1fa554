//! `segtool dataset`: label images of all kinds and the data set files that fit them (`proposals`), what comes from other
//! files (`sources`), and the command as a user types it (`command`).

mod command;
mod proposals;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, Rgb, RgbImage};
use segtool::base::Error;
use segtool::data::{ClassNames, Dataset, Known, LabelFiles, Proposal, load_labels, propose, survey_labels};
use segtool::image::read_labels;
use segtool::recipe::NetworkRecipe;

use crate::common::text;

const SIDE: u32 = 40;

/// The quarter of an image that a pixel lies in, of the first few.
fn quarter(x: u32, y: u32, count: usize) -> usize {
    (usize::from(x >= SIDE / 2) + 2 * usize::from(y >= SIDE / 2)).min(count - 1)
}

fn write_values(path: &Path, values: &[u8]) {
    GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([values[quarter(x, y, values.len())]])).save(path).unwrap();
}

fn write_colors(path: &Path, colors: &[[u8; 3]]) {
    RgbImage::from_fn(SIDE, SIDE, |x, y| Rgb(colors[quarter(x, y, colors.len())])).save(path).unwrap();
}

/// Writes a PNG with a palette.
fn write_indices(path: &Path, palette: &[u8], index: impl Fn(u32, u32) -> u8) {
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), SIDE, SIDE);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette.to_vec());
    let indices: Vec<u8> = (0..SIDE * SIDE).map(|i| index(i % SIDE, i / SIDE)).collect();
    encoder.write_header().unwrap().write_image_data(&indices).unwrap();
}

fn proposed(paths: &[PathBuf], names: Option<&ClassNames>) -> Result<Proposal, Error> {
    let survey = survey_labels(&LabelFiles::find(paths, &|_| ())?, &|_| ())?;
    propose(&survey, &Known { name: "mine", labels: "masks", images: None, names })
}

/// Why there is no proposal for a folder.
fn refused(folder: &Path) -> String {
    proposed(&[folder.into()], None).unwrap_err().to_string()
}

/// The proposal for a folder, after checking that it fits every file.
fn fitting(folder: &Path) -> Proposal {
    let proposal = proposed(&[folder.into()], None).unwrap();
    fits(&proposal, &LabelFiles::find(&[folder.into()], &|_| ()).unwrap().files);
    proposal
}

/// Checks that the text, read back, says the same, and defines every pixel of the files.
fn fits(proposal: &Proposal, files: &[PathBuf]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    fs::write(&path, &proposal.text).unwrap();
    let dataset = Dataset::find(&text(&path)).unwrap();
    assert_eq!(dataset, proposal.dataset);
    for file in files {
        let map = load_labels(file, &dataset).unwrap_or_else(|e| panic!("{e}\n{}", proposal.text));
        assert_eq!(map.size, read_labels(file).unwrap().size());
    }
    NetworkRecipe::find("unet-milesial").unwrap().fit(&dataset).unwrap();
}

/// Names and label values of the classes.
fn classes(proposal: &Proposal) -> Vec<(&str, u16)> {
    proposal.dataset.classes.iter().map(|class| (class.name.as_str(), class.values[0])).collect()
}

/// The class, or `IGNORE`, of the first pixel of a file.
fn first_class(path: &Path, proposal: &Proposal) -> u16 {
    load_labels(path, &proposal.dataset).unwrap().classes[0]
}

fn line_of<'a>(text: &'a str, part: &str) -> &'a str {
    text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("no '{part}' in\n{text}"))
}
