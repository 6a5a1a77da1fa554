//! Which files are meant: folders, lists, folders of masks, or the files themselves.

use std::fs;
use std::path::{Path, PathBuf};

use crate::base::event::Sink;
use crate::base::{Error, Result};
use crate::data::folder::has_ending;
use crate::data::{
    FileKind, files_by_stem, find_images, find_images_or_ids, pair_mask_folders, read_label_list, read_list,
};

/// Endings of files that are lists of others.
const LISTS: [&str; 3] = ["txt", "lst", "list"];

/// Label images to look at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelFiles {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Whether they are masks, several of which may belong to one image.
    pub masks: bool,
    /// The images of the masks.
    pub images: Vec<PathBuf>,
}

impl LabelFiles {
    /// The label images of folders, of lists and of folders of masks (see [`pair_mask_folders`]), and single ones.
    pub fn find(paths: &[PathBuf], sink: &dyn Sink) -> Result<Self> {
        let mut found = Self::default();
        for path in paths {
            let metadata = fs::metadata(path).map_err(|e| Error::read(path, e))?;
            match (metadata.is_dir(), has_ending(path, &LISTS)) {
                (true, _) => found.add_folder(path, sink)?,
                (false, true) => found.files.extend(read_label_list(path, sink)?),
                (false, false) => found.files.push(path.clone()),
            }
        }
        Ok(found)
    }

    fn add_folder(&mut self, folder: &Path, sink: &dyn Sink) -> Result<()> {
        let files: Vec<PathBuf> = files_by_stem(folder, FileKind::Label)?.into_values().flatten().collect();
        if !files.is_empty() {
            self.files.extend(files);
            return Ok(());
        }
        if let Ok(images) = find_images(folder, sink) {
            let reason = format!(
                "holds {} images, but none in a lossless format (png, tif, bmp, npy and others); compression \
                     such as JPEG's changes label values, so export the label images as PNG or TIFF from the program they were drawn in",
                images.len()
            );
            return Err(Error::content(folder, reason));
        }
        let pairs = pair_mask_folders(folder)?;
        self.masks = true;
        for pair in pairs {
            self.files.extend_from_slice(pair.label.files());
            self.images.push(pair.image);
        }
        if self.files.is_empty() {
            let reason = "none of its subfolders holds a mask, so there is nothing to survey";
            return Err(Error::content(folder, reason));
        }
        Ok(())
    }
}

/// The images of a folder or of a list, or the one image.
pub fn find_images_of(path: &Path, sink: &dyn Sink) -> Result<Vec<PathBuf>> {
    let metadata = fs::metadata(path).map_err(|e| Error::read(path, e))?;
    match (metadata.is_dir(), has_ending(path, &LISTS)) {
        (true, _) => find_images_or_ids(path, sink),
        (false, true) => read_list(path, sink),
        (false, false) => Ok(vec![path.into()]),
    }
}
