//! Labels from one form to another: annotations drawn as label maps, label maps and predictions outlined as annotations.

mod coco;
mod cvat;
mod geojson;
mod label_studio;
mod labelme;
mod region;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use super::Summary;
use crate::base::event::{Event, Sink, Stretch, Task};
use crate::base::files::{
    check_writable, create_folder, folder_of, refuse_equal_outputs, write_bytes, write_bytes_unsynced,
};
use crate::base::inputs::ReadFiles;
use crate::base::label_map::LabelMap;
use crate::base::named_enum::named_enum;
use crate::base::{Error, Remedy, Result};
use crate::data::{Dataset, Labels, Pair, check_size, load_pair_labels, load_prediction};
use crate::image::{encode_label_npy, encode_label_png, read_image, read_size, report_notes};
use region::Region;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Label maps: greyscale PNGs of label values.
    Png,
    /// Label maps: arrays of label values.
    Npy,
    /// A labelme file for each image.
    Labelme,
    /// One COCO file.
    Coco,
    /// One file of CVAT for images 1.1.
    Cvat,
    /// One file of Label Studio tasks with predictions, to be corrected there.
    LabelStudio,
    /// A GeoJSON file for each GeoTIFF.
    Geojson,
}

named_enum!(Format, "format",
    "png" => Png, "npy" => Npy, "labelme" => Labelme, "coco" => Coco, "cvat" => Cvat, "label-studio" => LabelStudio,
    "geojson" => Geojson);

impl Format {
    /// Whether all images go into one file.
    pub fn is_single(self) -> bool {
        matches!(self, Self::Coco | Self::Cvat | Self::LabelStudio)
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Npy => "npy",
            Self::Labelme | Self::Coco | Self::LabelStudio => "json",
            Self::Cvat => "xml",
            Self::Geojson => "geojson",
        }
    }
}

/// What to write where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The form of the results.
    pub format: Format,
    /// Their folder, or the one file.
    pub output: PathBuf,
    /// The folder of the images, below which they are named; or the one image.
    pub images: PathBuf,
    /// How far outlines may be from those of the pixels, in pixels; if left out, they are exactly these.
    pub simplify: Option<f64>,
    /// Whether files that are there are replaced.
    pub overwrite: bool,
}

/// An image with its labels, ready to be written.
struct Labelled<'a> {
    pair: &'a Pair,
    /// Its path below the folder of the images, with `/`.
    name: String,
    map: LabelMap,
}

/// What an image becomes.
enum Content {
    /// A file of its own.
    File(Vec<u8>),
    /// A part of the one file.
    Json(Vec<Value>),
    Xml(String),
}

/// Converts the labels of all pairs, on all cores. A pair that cannot be read is reported and left out.
///
/// # Errors
///
/// If a file cannot be written, or would be in the place of one that is read.
pub fn convert_files(pairs: &[Pair], dataset: &Dataset, options: &Options, sink: &dyn Sink) -> Result<Summary> {
    let output = |pair: &Pair| {
        options.output.join(name_below(&pair.image, &options.images)).with_extension(options.format.ending())
    };
    let read = ReadFiles::new(pairs.iter().flat_map(|pair| std::iter::once(&pair.image).chain(pair.label.files())));
    let outputs: Vec<PathBuf> =
        if options.format.is_single() { vec![options.output.clone()] } else { pairs.iter().map(output).collect() };
    if !options.format.is_single() {
        refuse_equal_outputs(outputs.iter().cloned().zip(pairs.iter().map(|pair| pair.image.as_path())))?;
    }
    for path in &outputs {
        read.refuse(path, "output")?;
        if !options.overwrite && path.exists() {
            return Err(Error::occupied(path, "exists", [Remedy::Overwrite, Remedy::Another("output")]));
        }
    }
    if options.format.is_single() {
        create_folder(folder_of(&options.output))?;
        check_writable(&options.output)?;
    }
    let stretch = Stretch::begin(sink, Task::Convert, pairs.len());
    let convert = |pair: &Pair| -> Result<Option<Content>> {
        let path = output(pair);
        let content = load(pair, dataset, options).and_then(|labelled| content(&labelled, dataset, options, &path));
        let converted = match content {
            Ok(Content::File(bytes)) => {
                create_folder(folder_of(&path))?;
                write_bytes_unsynced(&path, &bytes)?;
                // Written, it is only counted from here on.
                Some(Content::File(Vec::new()))
            }
            Ok(part) => Some(part),
            Err(e) => {
                sink.event(Event::Skipped { path: pair.image.clone(), reason: e.to_string() });
                None
            }
        };
        stretch.advance();
        Ok(converted)
    };
    let converted: Vec<Option<Content>> = pairs.par_iter().map(convert).collect::<Result<_>>()?;
    drop(stretch);
    report_notes(sink);
    let count = converted.iter().flatten().count();
    if options.format.is_single() && count > 0 {
        write_bytes(&options.output, &whole(converted, dataset, options.format)?)?;
    }
    Ok(Summary { written: count, skipped: pairs.len() - count })
}

/// The path of an image below a folder, or its file name.
fn name_below(image: &Path, folder: &Path) -> PathBuf {
    image
        .strip_prefix(folder)
        .ok()
        .filter(|below| below.file_name().is_some())
        .map_or_else(|| PathBuf::from(image.file_name().unwrap_or_default()), Path::to_path_buf)
}

fn load<'a>(pair: &'a Pair, dataset: &Dataset, options: &Options) -> Result<Labelled<'a>> {
    let size = match read_size(&pair.image) {
        Some(size) => size,
        None => read_image(&pair.image)?.size,
    };
    let map = match &pair.label {
        Labels::File(file) => {
            let map = load_prediction(file, dataset)?;
            check_size((&pair.image, size), (file, map.size))?;
            map
        }
        Labels::Masks(_) | Labels::Annotated { .. } => load_pair_labels(pair, size, dataset)?,
    };
    let below = name_below(&pair.image, &options.images);
    let parts: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    Ok(Labelled { pair, name: parts.join("/"), map })
}

/// What the labels of an image become, which go to `output` if they are a file of their own.
fn content(labelled: &Labelled<'_>, dataset: &Dataset, options: &Options, output: &Path) -> Result<Content> {
    let Labelled { pair, name, map } = labelled;
    let size = map.size;
    let regions = || Region::all_of(map, dataset, options.simplify);
    let values = || -> Vec<u16> { map.classes.iter().map(|class| dataset.value_of(*class)).collect() };
    Ok(match options.format {
        Format::Png => Content::File(encode_label_png(size, &values(), largest(dataset))?),
        Format::Npy => Content::File(encode_label_npy(size, &values(), largest(dataset))?),
        Format::Labelme => Content::File(labelme::file(&regions(), size, &labelme::path_from(output, &pair.image)?)?),
        Format::Geojson => Content::File(geojson::file(&pair.image, map, dataset, options.simplify)?),
        Format::Coco => Content::Json(coco::image(&regions(), name, size)),
        Format::LabelStudio => Content::Json(vec![label_studio::task(&regions(), name, size)]),
        Format::Cvat => Content::Xml(cvat::image(&regions(), name, size)),
    })
}

/// The largest value that is written, "not labelled" among them.
fn largest(dataset: &Dataset) -> u16 {
    dataset.largest_value().max(dataset.unlabelled_value())
}

/// The one file of all images.
fn whole(parts: Vec<Option<Content>>, dataset: &Dataset, format: Format) -> Result<Vec<u8>> {
    let (mut json, mut xml) = (Vec::new(), Vec::new());
    for part in parts.into_iter().flatten() {
        match part {
            Content::Json(values) => json.push(values),
            Content::Xml(text) => xml.push(text),
            Content::File(_) => {}
        }
    }
    let names = region::names(dataset);
    let encode = |value: &Value| serde_json::to_vec(value).map_err(|e| Error::failed("write the annotations", e));
    match format {
        Format::Coco => encode(&coco::file(json, &names)),
        Format::LabelStudio => encode(&Value::Array(json.into_iter().flatten().collect())),
        _ => Ok(cvat::file(&xml, &names, dataset).into_bytes()),
    }
}
