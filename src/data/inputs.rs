//! Images as a command line names them: files, folders and patterns.

use std::fs;
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, glob_with};

use super::folder::{ARRAYS, IMAGES, files_below, find_images_below, has_ending, images_of};
use super::masks::find_images_or_ids;
use crate::base::event::Sink;
use crate::base::store;
use crate::base::{Error, Result};

/// What `*` and its like match: capitals count, and hidden files are named as such.
const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Images, and the folders that they were looked for in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundImages {
    /// The images.
    pub images: Vec<PathBuf>,
    /// The folders that were gone through, whose structure results may keep.
    pub roots: Vec<PathBuf>,
}

/// The images that are named: files, folders, and patterns such as `scenes/**/*.tif`, in that order, those of a folder or
/// pattern in the order of their names. What is below `except`, such as results of before, is left out of folders and
/// patterns.
#[derive(Debug, Clone, Copy)]
pub struct ImageSearch<'a> {
    /// Whether folders are gone through with all folders below them.
    pub recursive: bool,
    /// A folder that is left out.
    pub except: Option<&'a Path>,
}

impl ImageSearch<'_> {
    /// Finds the images.
    ///
    /// # Errors
    ///
    /// If a folder or a pattern has no images.
    pub fn find(&self, named: &[PathBuf], sink: &dyn Sink) -> Result<FoundImages> {
        let mut found = FoundImages::default();
        for path in named {
            if store::is_url(path) {
                self.add_url(path, &mut found)?;
                continue;
            }
            match path.to_str().filter(|text| is_pattern(text) && fs::symlink_metadata(path).is_err()) {
                Some(pattern) => self.add_matches(pattern, &mut found, sink)?,
                None => self.add(path, &mut found, sink)?,
            }
        }
        Ok(found)
    }

    /// The images of a folder as it is now, in the order of their names; there may be none.
    pub fn in_folder(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let found = if self.recursive { files_below(folder, &IMAGES, None)? } else { images_of(folder)? };
        Ok(self.without_excepted(folder, found))
    }

    fn add(&self, path: &Path, found: &mut FoundImages, sink: &dyn Sink) -> Result<()> {
        if !path.is_dir() {
            found.images.push(path.into());
        } else if self.recursive {
            let images = self.without_excepted(path, find_images_below(path, sink)?);
            if images.is_empty() {
                return Err(Error::content(path, "holds no images other than earlier results"));
            }
            found.images.extend(images);
            found.roots.push(path.into());
        } else {
            found.images.extend(find_images_or_ids(path, sink)?);
        }
        Ok(())
    }

    /// An object, or the images of a folder in a store: what ends with `/`, or has no ending of an image and holds something.
    fn add_url(&self, url: &Path, found: &mut FoundImages) -> Result<()> {
        store::check(url)?;
        let is_folder = url.as_os_str().as_encoded_bytes().ends_with(b"/");
        if !is_folder && (store::is_web(url) || has_ending(url, &[&IMAGES[..], &ARRAYS].concat())) {
            found.images.push(url.into());
            return Ok(());
        }
        let listed = store::list(url, self.recursive)?;
        if listed.is_empty() && !is_folder {
            found.images.push(url.into());
            return Ok(());
        }
        let is_shown = |name: &str| !name.split('/').any(|part| part.starts_with('.'));
        let shown = listed.into_iter().filter(|object| is_shown(&object.name)).map(|object| object.url);
        let is_result = |image: &PathBuf| {
            self.except.is_some_and(|except| except != url && except.starts_with(url) && image.starts_with(except))
        };
        let shown: Vec<PathBuf> = shown.filter(|image| !is_result(image)).collect();
        let of = |endings: &[&str]| shown.iter().filter(|image| has_ending(image, endings)).cloned().collect();
        let images: Vec<PathBuf> = of(&IMAGES);
        let images = if images.is_empty() { of(&ARRAYS) } else { images };
        if images.is_empty() {
            let deeper = if self.recursive { "" } else { "; give `recursive` to search its subfolders, too" };
            let kinds = IMAGES.join(", ");
            return Err(Error::content(url, format!("the folder holds no file of a known kind ({kinds}){deeper}")));
        }
        found.images.extend(images);
        found.roots.extend(self.recursive.then(|| url.to_path_buf()));
        Ok(())
    }

    /// Files with the ending of an image, or any files where there are none of these, or folders where there are no files.
    fn add_matches(&self, pattern: &str, found: &mut FoundImages, sink: &dyn Sink) -> Result<()> {
        let fault = |reason: &dyn std::fmt::Display| Error::content(pattern, format!("{reason}"));
        let matches = glob_with(pattern, MATCHING).map_err(|e| fault(&format!("is not a pattern: {}", e.msg)))?;
        let mut paths = matches
            .collect::<Result<Vec<PathBuf>, _>>()
            .map_err(|e| Error::read(e.path(), std::io::Error::other(e.to_string())))?;
        paths.sort();
        let root = fixed_folder(pattern);
        let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = paths.into_iter().partition(|path| path.is_dir());
        let files = self.without_excepted(&root, files);
        if files.is_empty() {
            if folders.is_empty() {
                return Err(fault(&"no file matches this pattern"));
            }
            return folders.iter().try_for_each(|folder| self.add(folder, found, sink));
        }
        let images: Vec<PathBuf> = files.iter().filter(|path| has_ending(path, &IMAGES)).cloned().collect();
        found.images.extend(if images.is_empty() { files } else { images });
        found.roots.push(root);
        Ok(())
    }

    fn without_excepted(&self, root: &Path, images: Vec<PathBuf>) -> Vec<PathBuf> {
        let whole = |path: &Path| fs::canonicalize(if path.as_os_str().is_empty() { Path::new(".") } else { path });
        let Some((except, whole_root)) = self.except.and_then(|except| Some((whole(except).ok()?, whole(root).ok()?)))
        else {
            return images;
        };
        if !except.starts_with(&whole_root) || except == whole_root {
            return images;
        }
        let is_excepted =
            |image: &PathBuf| image.strip_prefix(root).is_ok_and(|below| whole_root.join(below).starts_with(&except));
        images.into_iter().filter(|image| !is_excepted(image)).collect()
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The folders of a pattern before the first that has a wildcard.
fn fixed_folder(pattern: &str) -> PathBuf {
    let path = Path::new(pattern);
    let folder = path.parent().unwrap_or(Path::new(""));
    let is_fixed = |part: &Component<'_>| !part.as_os_str().to_str().is_some_and(is_pattern);
    folder.components().take_while(is_fixed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", "x/b.tif", "x/y/c.TIF", "x/y/.hidden.tif", "x/notes.txt", "out/b.png", "s[1].png"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn found(folder: &Path, named: &[&str], recursive: bool) -> Result<(Vec<String>, Vec<String>)> {
        let named: Vec<PathBuf> = named.iter().map(|name| folder.join(name)).collect();
        let except = folder.join("out");
        let search = ImageSearch { recursive, except: Some(&except) };
        let below = |paths: Vec<PathBuf>| -> Vec<String> {
            paths.iter().map(|path| path.strip_prefix(folder).unwrap().to_string_lossy().into_owned()).collect()
        };
        search.find(&named, &|_| ()).map(|found| (below(found.images), below(found.roots)))
    }

    #[test]
    fn folders_and_patterns_are_gone_through() {
        let folder = tree();
        for (named, recursive, images, roots) in [
            (&["a.png", "x"][..], false, &["a.png", "x/b.tif"][..], &[][..]),
            (&["."], true, &["a.png", "s[1].png", "x/b.tif", "x/y/c.TIF"], &[""]),
            (&["**/*.tif"], false, &["x/b.tif"], &[""]),
            (&["x/**/*"], false, &["x/b.tif", "x/y/c.TIF"], &["x"]),
            (&["x/*.txt"], false, &["x/notes.txt"], &["x"]),
            (&["?"], false, &["x/b.tif"], &[]),
            (&["?"], true, &["x/b.tif", "x/y/c.TIF"], &["x"]),
            (&["s[1].png"], false, &["s[1].png"], &[]),
            (&["**/[ab].*"], false, &["a.png", "x/b.tif"], &[""]),
        ] {
            let (found_images, found_roots) = found(folder.path(), named, recursive).unwrap();
            assert_eq!(found_images, images, "{named:?}");
            assert_eq!(found_roots, roots, "{named:?}");
        }
        assert_refused!(found(folder.path(), &["x/*.jpg"], false), "no file matches this pattern");
        assert_refused!(found(folder.path(), &["x/***"], false), "is not a pattern: ");
    }
}
