//! `segtool dataset`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtool dataset masks --images photos --output my.toml
  segtool dataset train_masks.txt val_masks.txt --names classes.txt > my.toml
  segtool dataset stage1_train --json

Reads all label images and proposes the data set file that fits them: a class for each value or colour, with its share of
the pixels, a name and a colour to draw it in; what is not labelled; bands and normalisation. Edit the names, then train with
--dataset my.toml. Built-in data sets, as examples: segtool info --print seeps.

Names and colours are taken from --names, or from a file that lies beside the label images or in the folder above:
classes.txt, labels.txt or obj.names (a name a line), labelmap.txt (CVAT), _classes.csv (Roboflow), class_dict.csv, info.csv
(ADE20K), and from palettes.

The table of what was found goes to standard output if --output is given, else to standard error.")]
pub(crate) struct InspectDataset {
    /// Folders of label images, lists of them, folders as --mask-folders takes them, or label images
    #[arg(value_name = "LABELS", required = true)]
    pub(crate) labels: Vec<PathBuf>,
    /// The images, to measure their bands and samples
    #[arg(long, value_name = "DIR|FILE|LIST")]
    pub(crate) images: Option<PathBuf>,
    /// File with the names of the classes
    #[arg(long, value_name = "FILE")]
    pub(crate) names: Option<PathBuf>,
    /// Name of the data set [default: that of the file to write, else that of the label folder]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Data set file to write; without it, it is printed
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) output: Option<PathBuf>,
    /// Replace a file that is already there
    #[arg(long, requires = "output")]
    pub(crate) overwrite: bool,
    /// Print one JSON object instead: what was found, and the data set file as text
    #[arg(long)]
    pub(crate) json: bool,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = super::threads)]
    pub(crate) workers: Option<usize>,
}
