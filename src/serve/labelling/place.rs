//! Which images are labelled, and where their labels go.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::base::event::Sink;
use crate::base::files::{absolute, folder_of};
use crate::base::{Error, Remedy, Result, Size};
use crate::data::{FileKind, files_by_stem, find_images};
use crate::image::{read_image, read_size};

/// Added to the name of the folder or of the image.
const BESIDE: &str = "-labels";
/// Most pixels of a side, of JPEGs and of what browsers draw on.
const LONGEST: usize = 65_535;

/// An image that is labelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageFile {
    pub(super) path: PathBuf,
    pub(super) size: Size,
    /// Where its labels are.
    pub(super) labels: PathBuf,
}

impl ImageFile {
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The images and the folder of their labels.
#[derive(Debug)]
pub(super) struct Place {
    /// The folder of the images, or the one image.
    pub(super) root: PathBuf,
    pub(super) labels: PathBuf,
    pub(super) images: Vec<ImageFile>,
}

impl Place {
    /// Finds the images of a folder, or the one image, in the order of their names. `labels` is where their labels go; a
    /// folder beside them if left out.
    pub(super) fn find(root: &Path, labels: Option<&Path>, sink: &dyn Sink) -> Result<Self> {
        let is_folder = root.is_dir();
        let paths = if is_folder { find_images(root, sink)? } else { vec![root.to_path_buf()] };
        let labels = labels.map_or_else(|| beside(root), Path::to_path_buf);
        let folder = if is_folder { root } else { folder_of(root) };
        if same(&labels, folder) {
            let reason = "is the folder of the images, which label images of the same names would overwrite";
            return Err(Error::occupied(&labels, reason, [Remedy::Another("labels")]));
        }
        refuse_equal_stems(&paths)?;
        let images = paths.into_iter().map(|path| image(path, &labels)).collect::<Result<Vec<_>>>()?;
        refuse_other_labels(&images, &labels)?;
        Ok(Self { root: root.into(), labels, images })
    }

    /// What it is called.
    pub(super) fn name(&self) -> String {
        let whole = absolute(&self.root);
        let name = if self.root.is_dir() { whole.file_name() } else { whole.file_stem() };
        name.map_or_else(|| "images".into(), |name| name.to_string_lossy().into_owned())
    }

    /// The file that says what the labels mean.
    pub(super) fn dataset(&self) -> PathBuf {
        self.labels.join("dataset.toml")
    }

    /// The labels as a table of rectangles.
    pub(super) fn table(&self) -> PathBuf {
        self.labels.join("labels.csv")
    }

    /// The run of the forest.
    pub(super) fn run(&self) -> PathBuf {
        self.labels.join("run")
    }
}

/// `cores-labels` beside `cores`, and `a-labels` beside `a.png`.
fn beside(root: &Path) -> PathBuf {
    let whole = absolute(root);
    let stem = if root.is_dir() { whole.file_name() } else { whole.file_stem() };
    let mut name: OsString = stem.unwrap_or_default().into();
    name.push(BESIDE);
    whole.with_file_name(name)
}

fn same(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().ok();
    one == other || (whole(one).is_some() && whole(one) == whole(other))
}

fn image(path: PathBuf, labels: &Path) -> Result<ImageFile> {
    let size = match read_size(&path) {
        Some(size) => size,
        // Says what is wrong, if anything is.
        None => read_image(&path)?.size,
    };
    if size.width.max(size.height) > LONGEST {
        let reason = format!("is {size}, but label mode shows up to {LONGEST} pixels a side; crop it into parts");
        return Err(Error::content(path, reason));
    }
    let mut name: OsString = path.file_stem().unwrap_or_default().into();
    name.push(".png");
    Ok(ImageFile { labels: labels.join(name), path, size })
}

fn refuse_equal_stems(paths: &[PathBuf]) -> Result<()> {
    let mut stems: BTreeMap<String, &Path> = BTreeMap::new();
    for path in paths {
        // Not every file system tells capitals apart.
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        if let Some(other) = stems.insert(stem, path) {
            let reason = "have the same stem, so their labels would have one name; rename one of them";
            return Err(Error::pair(other, path, reason));
        }
    }
    Ok(())
}

/// Label images of another format would stand beside those that are written here.
fn refuse_other_labels(images: &[ImageFile], labels: &Path) -> Result<()> {
    if !labels.is_dir() {
        return Ok(());
    }
    let there = files_by_stem(labels, FileKind::Label)?;
    for image in images {
        let stem = image.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let others = there.get(&stem).into_iter().flatten();
        if let Some(other) = others.into_iter().find(|file| **file != image.labels) {
            let reason = format!(
                "would be a second label image of {} beside {}, which label mode keeps; convert it to that, or move it away",
                image.path.display(),
                image.labels.display()
            );
            return Err(Error::content(other, reason));
        }
    }
    Ok(())
}
