//! Images with several masks each: a folder with one folder an image, as the earthquake system and the Data Science
//! Bowl of 2018 have them.
//!
//! | file | content |
//! | --- | --- |
//! | `<root>/<id>/images/<name>` | the image, the only one there |
//! | `<root>/<id>/masks/*` | its masks, one an object; none where it shows nothing |
//!
//! Masks are merged by maximum of their class indices: of values 0 and 255, by maximum of the values. What one mask
//! leaves without a label, the others say; where none says anything, there is no label. Without any mask, all is
//! background.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use super::folder::{find_images, images_of, name};
use super::pair::{Labels, Pair};
use crate::base::event::Sink;
use crate::base::files::entries;
use crate::base::{Error, Result};

/// Files that systems leave in folders, beside those whose names begin with a dot.
const LEFT_BY_SYSTEMS: [&str; 2] = ["thumbs.db", "desktop.ini"];

/// The images of the id folders below `root` with their masks, in the order of the ids. The error lists the id folders
/// that do not hold what they should.
pub fn pair_mask_folders(root: &Path) -> Result<Vec<Pair>> {
    let (mut pairs, mut faults) = (Vec::new(), Vec::new());
    for (_, pair) in mask_folders(root)? {
        match pair {
            Ok(pair) => pairs.push(pair),
            Err(fault) => faults.push(fault.to_string()),
        }
    }
    if faults.is_empty() { Ok(pairs) } else { Err(Error::faults(faults, None)) }
}

/// Each id folder below `root` with its pair, or with what it lacks.
pub fn mask_folders(root: &Path) -> Result<Vec<(PathBuf, Result<Pair>)>> {
    let ids = id_folders(root)?;
    if ids.is_empty() {
        let reason = "the folder has no subfolders; it needs one for each image, with the image in images/ and its masks in masks/";
        return Err(Error::content(root, reason));
    }
    Ok(ids.into_iter().map(|id| (id.clone(), pair_of(&id))).collect())
}

/// The images of a folder, or, if it holds none itself, those of its id folders (`<id>/images/*`).
pub fn find_images_or_ids(folder: &Path, sink: &dyn Sink) -> Result<Vec<PathBuf>> {
    let mut found = images_of(folder)?;
    if !found.is_empty() {
        return find_images(folder, sink);
    }
    for id in id_folders(folder)? {
        let images = id.join("images");
        if images.is_dir() {
            found.extend(images_of(&images)?);
        }
    }
    if found.is_empty() { find_images(folder, sink) } else { Ok(found) }
}

/// The folders in a folder but hidden ones, in the order of their names.
pub(super) fn id_folders(root: &Path) -> Result<Vec<PathBuf>> {
    Ok(paths_in(root)?.into_iter().filter(|path| path.is_dir()).collect())
}

fn pair_of(id: &Path) -> Result<Pair> {
    let (images, masks) = (id.join("images"), id.join("masks"));
    if !images.is_dir() {
        let reason =
            "has no subfolder images/ with an image; add it, or move the folder elsewhere if it belongs to no image";
        return Err(Error::content(id, reason));
    }
    let image = match images_of(&images)?.as_slice() {
        [image] => image.clone(),
        [] => return Err(Error::content(images, "holds no image of a known kind; exactly one is expected")),
        [first, second, ..] => {
            let reason = format!(
                "holds {} and {}; exactly one image is expected, so give each its own folder",
                name(first),
                name(second)
            );
            return Err(Error::content(images, reason));
        }
    };
    if !masks.is_dir() {
        let reason = "has no subfolder masks/; add it with the image's masks, or empty if the image is all background";
        return Err(Error::content(id, reason));
    }
    // Whatever lies there is meant as a mask: one that cannot be read must not pass for background.
    let masks = paths_in(&masks)?.into_iter().filter(|path| !path.is_dir()).collect();
    Ok(Pair { image, label: Labels::Masks(masks) })
}

fn paths_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = entries(folder)?.iter().map(DirEntry::path).collect();
    found.retain(|path| {
        let name = name(path).to_lowercase();
        !name.starts_with('.') && !LEFT_BY_SYSTEMS.contains(&name.as_str())
    });
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_label_image_is_written_as_its_path() {
        let pair = |label| Pair { image: "a.jpg".into(), label };
        for (labels, text) in [
            (Labels::File("a.png".into()), r#"{"image":"a.jpg","label":"a.png"}"#),
            (Labels::Masks(vec!["b.png".into(), "c.png".into()]), r#"{"image":"a.jpg","label":["b.png","c.png"]}"#),
            (Labels::Masks(Vec::new()), r#"{"image":"a.jpg","label":[]}"#),
            (
                Labels::Annotated { annotations: "all.json".into(), image: "x/a.jpg".into() },
                r#"{"image":"a.jpg","label":{"annotations":"all.json","image":"x/a.jpg"}}"#,
            ),
        ] {
            let pair = pair(labels);
            assert_eq!(serde_json::to_string(&pair).unwrap(), text);
            assert_eq!(serde_json::from_str::<Pair>(text).unwrap(), pair);
        }
    }
}
