//! A data set of the classes that annotation files name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::write::{BACKGROUND, bands, comment, normalisation, quoted};
use super::{Known, Proposal};
use crate::annotation;
use crate::base::event::Sink;
use crate::base::words::counted;
use crate::base::{Error, Result};
use crate::data::class_lookup::{means_background, means_unlabelled};
use crate::data::dataset::Dataset;
use crate::data::image_probe::probe_images;
use crate::data::pair::{Labels, Pair};
use crate::image::distinct_colors;

/// Most classes whose label values leave 255 free.
const FEW: usize = 255;

/// A class of annotation files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnnotatedClass {
    /// Its name.
    pub name: String,
    /// Its shapes.
    pub shapes: usize,
    /// Images that it is in.
    pub images: usize,
}

/// What annotation files hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnnotatedClasses {
    /// The classes, in the order of the files.
    pub classes: Vec<AnnotatedClass>,
    /// Images that the files name.
    pub images: usize,
    /// Shapes of all classes.
    pub shapes: usize,
}

impl AnnotatedClasses {
    /// Reads the files, on all cores.
    pub fn read(files: &[PathBuf]) -> Result<Self> {
        let found: Vec<Self> = files.par_iter().map(|file| Self::of(file)).collect::<Result<_>>()?;
        let (mut all, mut places) = (Self::default(), BTreeMap::new());
        for file in found {
            all.images += file.images;
            all.shapes += file.shapes;
            for class in file.classes {
                let next = all.classes.len();
                let place = *places.entry(class.name.clone()).or_insert(next);
                match all.classes.get_mut(place) {
                    Some(known) => {
                        known.shapes += class.shapes;
                        known.images += class.images;
                    }
                    None => all.classes.push(class),
                }
            }
        }
        Ok(all)
    }

    fn of(file: &Path) -> Result<Self> {
        let annotations = annotation::open(file)?;
        let name = |name: &String| AnnotatedClass { name: name.clone(), ..AnnotatedClass::default() };
        let mut classes: Vec<AnnotatedClass> = annotations.classes.iter().map(name).collect();
        let places: BTreeMap<&str, usize> =
            annotations.classes.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        for image in &annotations.images {
            let mut seen = BTreeSet::new();
            for place in image.shapes.iter().filter_map(|shape| places.get(shape.class.as_str())) {
                classes[*place].shapes += 1;
                classes[*place].images += usize::from(seen.insert(*place));
            }
        }
        let shapes = classes.iter().map(|class| class.shapes).sum();
        Ok(Self { classes, images: annotations.images.len(), shapes })
    }

    /// A data set file of the classes: the background first, then the others in their order. `known` has its name, what the
    /// annotations are called, and what the images are like.
    pub fn propose(&self, known: &Known<'_>) -> Result<Proposal> {
        let is_object = |class: &&AnnotatedClass| !means_background(&class.name) && !means_unlabelled(&class.name);
        let objects: Vec<&AnnotatedClass> = self.classes.iter().filter(is_object).collect();
        if objects.is_empty() {
            let missing = format!("the annotations {} name no class", known.labels);
            return Err(Error::no_data(missing, "draw some shapes with a class, or give the right files"));
        }
        let classes = if objects.len() == 1 { "1 class".to_owned() } else { format!("{} classes", objects.len()) };
        let what = format!("{} of {classes}", counted(self.shapes, "shape"));
        let mut text = comment(&format!(
            "Proposed by `segtool dataset` for the annotations {}: {what} in {}.",
            known.labels,
            counted(self.images, "image")
        ));
        text +=
            &format!("name = {}\ntitle = {}\n", quoted(known.name), quoted(&format!("Annotations {}", known.labels)));
        text += &bands(known.images);
        text += &comment("Not labelled, in label maps: what is drawn as `void`, `ignore` or `unlabeled`.");
        text += &format!("ignore = [{}]\n", if objects.len() < FEW { u16::from(u8::MAX) } else { u16::MAX });
        text += &normalisation(known.images);
        text += &comment(
            "Classes, the background first: what no shape covers. Where shapes overlap, the later one in the file lies above. \
             Further names of a class go into `other_names = [...]`.",
        );
        text += &format!("classes = [\n  {{ name = \"background\", values = 0, color = {BACKGROUND:?} }},\n");
        let colors = distinct_colors(objects.len() + 1).into_iter().filter(|color| *color != BACKGROUND);
        for (value, (class, color)) in (1..).zip(objects.into_iter().zip(colors)) {
            let (name, shapes) = (quoted(&class.name), counted(class.shapes, "shape"));
            let images = counted(class.images, "image");
            text += &format!("  {{ name = {name}, values = {value}, color = {color:?} }},  # {shapes} in {images}\n");
        }
        text += "]\n";
        let dataset = Dataset::parse(&text, Path::new(known.name))?;
        Ok(Proposal { text, dataset, meanings: BTreeMap::new() })
    }
}

/// The classes of a data set file, by label value, in colours that can be told apart.
pub(in crate::data) fn class_lines(classes: &BTreeMap<u16, String>) -> String {
    let colors = distinct_colors(classes.len()).into_iter().filter(|color| *color != BACKGROUND);
    let mut colors = colors.chain([[u8::MAX; 3]]);
    let mut line = |(value, name): (&u16, &String)| {
        let color = if means_background(name) { Some(BACKGROUND) } else { colors.next() };
        let color = color.unwrap_or_default();
        format!("  {{ name = {}, values = {value}, color = {color:?} }},\n", quoted(name))
    };
    format!("classes = [\n{}]\n", classes.iter().map(&mut line).collect::<String>())
}

/// The data set of pairs all of which are labelled in annotation files: the classes that these name, and the bands that some of
/// the images have. `None` if there are other pairs.
pub fn dataset_of_annotations(pairs: &[Pair], sink: &dyn Sink) -> Result<Option<Dataset>> {
    let file = |pair: &Pair| match &pair.label {
        Labels::Annotated { annotations, .. } => Some(annotations.clone()),
        Labels::File(_) | Labels::Masks(_) => None,
    };
    let Some(files) = pairs.iter().map(file).collect::<Option<BTreeSet<PathBuf>>>() else { return Ok(None) };
    let files: Vec<PathBuf> = files.into_iter().collect();
    let Some(first) = files.first() else { return Ok(None) };
    let images: Vec<PathBuf> = pairs.iter().map(|pair| pair.image.clone()).collect();
    let images = probe_images(&images, sink)?;
    let more = if files.len() > 1 { format!(" and {} more", files.len() - 1) } else { String::new() };
    let labels = format!("{}{more}", first.display());
    let stem = first.file_stem().unwrap_or_default().to_string_lossy();
    let name = if files.len() > 1 { "annotations" } else { &*stem };
    let classes = AnnotatedClasses::read(&files)?;
    let dataset = classes.propose(&Known { name, labels: &labels, images: Some(&images), names: None })?.dataset;
    let names: Vec<&str> = dataset.classes.iter().map(|class| class.name.as_str()).collect();
    sink.note(format!("classes of the annotations: {}", names.join(", ")));
    Ok(Some(dataset))
}
