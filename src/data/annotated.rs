//! Images paired with the labels of annotation tools, which name their images in many ways.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::folder::{IMAGES, LABELS, files_below, find_images, flat_or_below, has_ending, stem};
use super::pair::{Labels, Pair};
use crate::annotation::{self, Annotations, Format, Unit};
use crate::base::event::Sink;
use crate::base::files::open_input;
use crate::base::{Error, Result};

/// Endings of files that hold annotations.
const ANNOTATIONS: [&str; 5] = ["json", "xml", "csv", "geojson", "shp"];
/// Of YOLO's, which are taken for annotations where an image has the same stem; other texts are lists.
const TEXTS: [&str; 1] = ["txt"];
/// Bytes in which a header of VIA's tables, of about a hundred letters, is looked for.
const HEADER: u64 = 4096;
/// Hexadecimal digits that Label Studio sets before the names of uploaded files, with a hyphen.
const UPLOAD_DIGITS: usize = 8;

/// Whether a file holds annotations by its ending.
pub(super) fn ends_as_annotations(path: &Path) -> bool {
    has_ending(path, &ANNOTATIONS) && (!has_ending(path, &["csv"]) || is_via_table(path))
}

/// Whether a file describes another one, as a.tif.aux.xml and a.shp.xml do.
fn is_description(path: &Path) -> bool {
    has_ending(path, &["xml"])
        && has_ending(Path::new(&stem(path)), &["aux", "shp", "tif", "tiff", "jpg", "png", "jp2"])
}

/// The images that a folder and the folders below it hold, or the one image.
pub(super) fn images_to_label(images: &Path, sink: &dyn Sink) -> Result<Vec<PathBuf>> {
    if images.is_file() {
        return Ok(vec![images.into()]);
    }
    let found = files_below(images, &IMAGES, Some(sink))?;
    if found.is_empty() { find_images(images, sink) } else { Ok(found) }
}

/// The files with annotations that `labels` stands for: itself, or those of the folder or, if there are none, of the folders
/// below it. None of a folder that holds label images; images that each have annotations beside them are no such. Texts count as
/// YOLO's where there is an image of their stem, and where no images are given.
pub fn annotation_files(labels: &Path, images: Option<&Path>) -> Result<Vec<PathBuf>> {
    if labels.is_file() {
        let is_text = || images.is_some_and(Path::is_file) && has_ending(labels, &TEXTS);
        return Ok(if ends_as_annotations(labels) || is_text() { vec![labels.into()] } else { Vec::new() });
    }
    let mut found = flat_or_below(labels, &ANNOTATIONS)?;
    // Other tables are no annotations, nor are the descriptions of files that GDAL and ArcGIS write.
    found.retain(|path| !is_description(path) && (!has_ending(path, &["csv"]) || is_via_table(path)));
    let is_text = found.is_empty();
    if is_text {
        found = flat_or_below(labels, &TEXTS)?;
    }
    let whole = |path: &Path| path.canonicalize().ok();
    if found.is_empty() || (whole(labels) != images.and_then(whole) && holds_label_images(labels, &found)?) {
        return Ok(Vec::new());
    }
    if let Some(images) = images.filter(|_| is_text) {
        let stems = stems_of(&images_to_label(images, &|_| ())?);
        found.retain(|path| stems.contains(&stem(path)));
    }
    Ok(found)
}

/// Whether a folder holds label images, rather than images that have annotations beside them.
fn holds_label_images(folder: &Path, annotations: &[PathBuf]) -> Result<bool> {
    let found = flat_or_below(folder, &LABELS)?;
    Ok(!found.is_empty() && !stems_of(&found).is_subset(&stems_of(annotations)))
}

fn stems_of(files: &[PathBuf]) -> BTreeSet<String> {
    files.iter().map(|path| stem(path)).collect()
}

fn is_via_table(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = open_input(path).map(|(file, _)| file.take(HEADER).read_to_end(&mut head));
    // In UTF-16 there are zeros between the letters.
    head.retain(|byte| *byte != 0);
    let text = String::from_utf8_lossy(&head);
    matches!(read, Ok(Ok(_))) && text.lines().next().is_some_and(|line| line.contains("region_shape_attributes"))
}

/// Images with their labels in the annotation files that `labels` stands for, if it does; `place` is what errors call the images.
pub fn pair_with_annotations(
    found: &[PathBuf],
    [place, labels]: [&Path; 2],
    sink: &dyn Sink,
) -> Result<Option<Vec<Pair>>> {
    let files = annotation_files(labels, Some(place))?;
    if files.is_empty() {
        return Ok(None);
    }
    let found: BTreeSet<PathBuf> = found.iter().cloned().collect();
    pair_annotated([place, labels], found.into_iter().collect(), &files, sink).map(Some)
}

/// Pairs images with what annotation files say of them; `images` and `labels` are what errors call the two. Images that no
/// file names are left out with a note. Shapes on a map go with every image, or, of several files, with that of their stem.
pub(super) fn pair_annotated(
    [images, labels]: [&Path; 2],
    found: Vec<PathBuf>,
    files: &[PathBuf],
    sink: &dyn Sink,
) -> Result<Vec<Pair>> {
    let names: Vec<Vec<Named>> = files.par_iter().map(|file| Named::all_of(file)).collect::<Result<_>>()?;
    let names: Vec<Named> = names.into_iter().flatten().collect();
    if let [named] = &names[..]
        && (named.on_map || (images.is_file() && found.len() == 1))
    {
        return Ok(found.into_iter().map(|image| named.pair(image)).collect());
    }
    let index = Index::new(&found);
    let mut labelled: BTreeMap<usize, &Named> = BTreeMap::new();
    let mut absent = Vec::new();
    for named in &names {
        let Some(place) = index.find(named)? else {
            absent.push(named);
            continue;
        };
        if let Some(other) = labelled.insert(place, named) {
            return Err(twice(&found[place], [other, named]));
        }
    }
    if labelled.is_empty() {
        return Err(none_match([images, labels], &found, &names));
    }
    if let Some(first) = absent.first() {
        let (count, all, name) = (absent.len(), names.len(), &first.name);
        let (labels, images) = (labels.display(), images.display());
        let text = format!("{count} of the {all} images that {labels} names are not in {images} (the first is {name})");
        sink.note(text);
    }
    let left_out: Vec<&PathBuf> = (0..found.len()).filter(|i| !labelled.contains_key(i)).map(|i| &found[i]).collect();
    if let Some(first) = left_out.first() {
        let (count, all, labels) = (left_out.len(), found.len(), labels.display());
        let first = first.display();
        let text = format!("{count} of {all} images are left out: {labels} does not name them (the first is {first})");
        sink.note(text);
    }
    Ok(labelled.into_iter().map(|(place, named)| named.pair(found[place].clone())).collect())
}

fn twice(image: &Path, [one, other]: [&Named; 2]) -> Error {
    if one.file != other.file {
        let reason = format!("both label {}; delete one of the two, or give one of the files", image.display());
        return Error::pair(&one.file, &other.file, reason);
    }
    let (image, one, name) = (image.display(), &one.name, &other.name);
    Error::content(&other.file, format!("labels {image} twice, as '{one}' and as '{name}'; delete one of them"))
}

fn none_match([images, labels]: [&Path; 2], found: &[PathBuf], names: &[Named]) -> Error {
    let named = names.first().map_or_else(|| "none".into(), |named| format!("'{}'", named.name));
    let first = found.first().map(|path| path.file_name().unwrap_or_default().display().to_string());
    let reason = format!(
        "do not match: the second names {} images, such as {named}, and none of them is among the {} images of the first, \
         such as '{}'; is it the right folder?",
        names.len(),
        found.len(),
        first.unwrap_or_default()
    );
    Error::pair(images, labels, reason)
}

/// What a file of a list says of the image beside it in the other list: a label image, or annotations.
pub(super) fn labels_of(image: &Path, file: PathBuf) -> Result<Labels> {
    if !ends_as_annotations(&file) && !has_ending(&file, &TEXTS) {
        return Ok(Labels::File(file));
    }
    let annotations = annotation::open(&file)?;
    if let [only] = &annotations.images[..] {
        return Ok(Labels::Annotated { annotations: file, image: only.name.clone() });
    }
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    if annotations.image(&name).is_ok() {
        return Ok(Labels::Annotated { annotations: file, image: name.into() });
    }
    let images = [image.to_path_buf()];
    let index = Index::new(&images);
    for named in Named::all_in(&annotations) {
        if index.find(&named)?.is_some() {
            return Ok(named.pair(image.into()).label);
        }
    }
    Err(Error::pair(image, &file, "do not go together: the second names no such image; correct the lists"))
}

/// An image as an annotation file names it.
struct Named {
    file: PathBuf,
    name: String,
    /// Of a file for one image: its own stem.
    own_stem: Option<String>,
    on_map: bool,
}

impl Named {
    fn all_of(file: &Path) -> Result<Vec<Self>> {
        Ok(Self::all_in(&*annotation::open(file)?))
    }

    fn all_in(annotations: &Annotations) -> Vec<Self> {
        let file = &annotations.path;
        let on_map = matches!(annotations.unit, Unit::Map(_));
        let is_single = on_map || matches!(annotations.format, Format::Labelme | Format::Yolo);
        let named = |name: &String| Self {
            file: file.clone(),
            name: name.clone(),
            own_stem: is_single.then(|| stem(file)),
            on_map,
        };
        annotations.images.iter().map(|image| named(&image.name)).collect()
    }

    fn pair(&self, image: PathBuf) -> Pair {
        Pair { image, label: Labels::Annotated { annotations: self.file.clone(), image: self.name.clone() } }
    }
}

/// Images by their names and stems.
struct Index<'a> {
    images: &'a [PathBuf],
    by_name: BTreeMap<String, Vec<usize>>,
    by_stem: BTreeMap<String, Vec<usize>>,
}

impl<'a> Index<'a> {
    fn new(images: &'a [PathBuf]) -> Self {
        let (mut by_name, mut by_stem) = (BTreeMap::new(), BTreeMap::new());
        for (place, image) in images.iter().enumerate() {
            let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
            by_name.entry(name).or_insert_with(Vec::new).push(place);
            by_stem.entry(stem(image)).or_insert_with(Vec::new).push(place);
        }
        Self { images, by_name, by_stem }
    }

    /// The image that a name means: one of that file name, of several the one in the folders that the name has; without
    /// the digits of an upload; of that stem.
    fn find(&self, named: &Named) -> Result<Option<usize>> {
        let path = named.name.replace('\\', "/");
        let is_there = path.rsplit('/').next().is_some_and(|name| self.by_name.contains_key(name));
        let path = if is_there { &path[..] } else { path.split(['?', '#']).next().unwrap_or_default() };
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let own = named.own_stem.as_deref();
        let Some((name, folders)) = parts.split_last() else {
            return own.map_or(Ok(None), |own| self.choose(self.by_stem.get(own), &[], named));
        };
        let names = || [Some(*name), without_upload(name)].into_iter().flatten();
        let by_name = names().find_map(|name| self.by_name.get(name));
        let by_stem =
            || names().flat_map(|name| [name, stem_of_name(name)]).chain(own).find_map(|s| self.by_stem.get(s));
        self.choose(by_name.or_else(by_stem), folders, named)
    }

    /// The one whose folders are those that are named; of several, the one in the fewest folders.
    fn choose(&self, candidates: Option<&Vec<usize>>, folders: &[&str], named: &Named) -> Result<Option<usize>> {
        let candidates = candidates.map_or(&[][..], Vec::as_slice);
        let shared = |place: usize| {
            let above = self.images[place].iter().rev().skip(1);
            above.zip(folders.iter().rev()).take_while(|(own, named)| own.to_str() == Some(**named)).count()
        };
        // Of a file for one image, the folders of the file tell, too.
        let own = named.own_stem.as_ref().and_then(|_| named.file.parent()).unwrap_or(Path::new(""));
        let beside = |place: usize| {
            let above = self.images[place].iter().rev().skip(1);
            above.zip(own.iter().rev()).take_while(|(one, other)| one == other).count()
        };
        let rank = |place: &usize| (shared(*place), beside(*place), Reverse(self.images[*place].components().count()));
        let most = candidates.iter().map(rank).max();
        let mut best = candidates.iter().filter(|place| Some(rank(place)) == most);
        match (best.next(), best.next()) {
            (Some(first), Some(second)) => {
                let (file, name) = (named.file.display(), &named.name);
                let reason = format!("have the same name, and {file} names '{name}'; give the folder of one of them");
                Err(Error::pair(&self.images[*first], &self.images[*second], reason))
            }
            (first, _) => Ok(first.copied()),
        }
    }
}

fn stem_of_name(name: &str) -> &str {
    Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or(name)
}

/// A name without what Label Studio sets before it, as in `0a1b2c3d-scene.png`.
fn without_upload(name: &str) -> Option<&str> {
    let (digits, rest) = name.split_once('-')?;
    let is_upload = digits.len() == UPLOAD_DIGITS && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (is_upload && !rest.is_empty()).then_some(rest)
}
