//! `segtool dataset`.

use std::path::PathBuf;

use clap::Args;

use super::headings::{DATA, HARDWARE, OUTPUT};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtool dataset masks --images photos --output my.toml
  segtool dataset train_masks.txt val_masks.txt --names classes.txt > my.toml
  segtool dataset stage1_train --json
  segtool dataset annotations.json --images photos --output my.toml

Reads all label images and writes a data set file that describes them: one class
for each value or colour, with its share of the pixels, a name and a display
colour; the values that mean \"not labelled\"; the number of bands; and how
images are normalised. Edit the names, then train with --dataset my.toml. An
example of such a file: segtool info --print seeps.

Names and colours come from --names, or from a file beside the label images or
in the folder above: classes.txt, labels.txt or obj.names (one name per line),
labelmap.txt (CVAT), _classes.csv (Roboflow), class_dict.csv, info.csv (ADE20K);
or from the palettes of the label images.

Of annotation files (labelme, COCO, CVAT, Label Studio, VIA, YOLO, GeoJSON,
shapefile), the classes are those that they name, with background first.

The table of values goes to standard output if --output is given, otherwise to
standard error.")]
pub(crate) struct InspectDataset {
    /// Folders of label images, lists of them, folders as --mask-folders of `segtool train` takes them, or label images;
    /// or files of annotation tools and folders of these
    #[arg(value_name = "LABELS", required = true)]
    pub(crate) labels: Vec<PathBuf>,
    /// The images, to find the number of bands and the kind of normalisation [default: those in mask folders; otherwise
    /// 3 bands are assumed]
    #[arg(long, value_name = "DIR|FILE|LIST", help_heading = DATA)]
    pub(crate) images: Option<PathBuf>,
    /// File with the class names [default: one of the files listed below, if it exists]
    #[arg(long, value_name = "FILE", help_heading = DATA)]
    pub(crate) names: Option<PathBuf>,
    /// Name of the data set [default: that of the output file, otherwise of the label folder]
    #[arg(long, value_name = "NAME", help_heading = OUTPUT)]
    pub(crate) name: Option<String>,
    /// Data set file to write [default: standard output]
    #[arg(long, value_name = "FILE.toml", help_heading = OUTPUT)]
    pub(crate) output: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long, requires = "output", help_heading = OUTPUT)]
    pub(crate) overwrite: bool,
    /// Print one JSON object instead: the values found, and the data set file as text
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = super::threads, help_heading = HARDWARE)]
    pub(crate) workers: Option<usize>,
}
