//! Commands that need no network: metrics, rgb2gray, concat.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use segtool::data::StoredNumber;
use segtool::draw::{FigureFormat, Layout};
use segtool::image::GrayMethod;
use segtool::metric::{BoundaryWidth, Convention};
use segtool::nn::device::DeviceChoice;
use segtool::predict::Shard;
use segtool::tools::rgb2gray::Alpha;

use super::headings::{CONVERSION, DATA, FIGURE, HARDWARE, IMAGES, OUTPUT, SCORING};
use super::positive;
use super::values::within;

/// The columns of the table of classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Column {
    Index,
    Name,
    Iou,
    Dice,
    Accuracy,
    Precision,
    Pixels,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["list_predict", "predictions", "run", "merge"])))]
#[command(group(clap::ArgGroup::new("truth").multiple(true).args(["labels", "mask_folders", "images"])))]
#[command(
    override_usage = "\
segtool metrics --predictions DIR --labels DIR [OPTIONS]
       segtool metrics --predictions DIR --images ROOT [OPTIONS]
       segtool metrics --list-predict FILE [--list-true FILE] [OPTIONS]
       segtool metrics --run RUN [--images DIR --labels DIR] [OPTIONS]
       segtool metrics --merge FILE...",
    after_help = "`segtool metrics --help` lists all options, with examples.",
    after_long_help = "\
Examples:
  segtool metrics --predictions predictions --labels masks --dataset camvid
  segtool metrics --list-predict P.txt --list-true L.txt --num-class 150
  segtool metrics --predictions predictions --images cityscapes
  segtool metrics --run runs/seeps --per-image images.csv --sort iou \\
      --confusion confusion.png
  segtool metrics --list-predict P.txt --list-true L.txt --dataset seeps \\
      --shard 3/8 --partial part3.json
  segtool metrics --merge part*.json --json

With --dataset or --run, label values mean what the data set says. Without
either, they follow --convention. Its default, capstone, scores as the script of
an earlier PSPNet project did:
  capstone  classes have the values 1 to K, all others are not labelled; a
            class without a pixel scores 0, and means are over all K classes
  csail     the same, but where the label is above K, any prediction is wrong
  semseg    values 0 to K-1, 255 is not labelled; absent classes score 0
  mmseg     values 0 to K-1, 255 is not labelled; means leave out absent classes
  paddle    values 0 to K-1, 255 is not labelled; absent classes score 0;
            accuracy is over the pixels predicted as some class
  nnunet    values 0 to K-1; IoU and Dice of each image, averaged over images;
            means leave out value 0, and are not a number if a class is in no
            image
Pairs with any other value cannot be scored and are skipped; capstone and csail
accept such values with a note, unless --strict is given."
)]
pub(crate) struct Metrics {
    /// Folder of predictions (.npy or label images), matched to --labels by file stem
    #[arg(long, value_name = "DIR", requires = "truth", help_heading = DATA)]
    pub(crate) predictions: Option<PathBuf>,
    /// Folder of label images; or a file of an annotation tool, or a folder of such files
    #[arg(long, value_name = "DIR|FILE", conflicts_with_all = ["list_true", "list_predict", "merge"], help_heading = DATA)]
    pub(crate) labels: Option<PathBuf>,
    /// Suffix of label images: with _mask, a_mask.png belongs to a.npy or a.jpg
    #[arg(long, value_name = "SUFFIX", requires = "labels", help_heading = DATA, hide_short_help = true)]
    pub(crate) label_suffix: Option<String>,
    /// List of predictions; each line may also name the label image (also --List_predict)
    #[arg(long, value_name = "FILE", help_heading = DATA)]
    pub(crate) list_predict: Option<PathBuf>,
    /// List of label images, in the same order
    #[arg(long, value_name = "FILE", conflicts_with_all = ["predictions", "merge"], help_heading = DATA)]
    pub(crate) list_true: Option<PathBuf>,
    /// Instead of --labels: folder with one subfolder per image, where images/ holds the image and masks/ its masks; with
    /// --run, these images are predicted
    #[arg(long, value_name = "DIR", conflicts_with_all = ["labels", "list_true", "list_predict", "merge", "images", "image_list"])]
    #[arg(help_heading = DATA)]
    pub(crate) mask_folders: Option<PathBuf>,
    /// Predict with this run and score, without writing predictions [default images: the run's validation images]
    #[arg(long, value_name = "RUN", conflicts_with_all = ["dataset", "num_class", "merge_classes"], help_heading = DATA)]
    pub(crate) run: Option<PathBuf>,
    /// With --run: folder of images, matched to --labels by file stem. Without --labels, with --run or --predictions: the root
    /// of a data set in a layout that `segtool train --images` takes; its validation images are scored,
    /// or its training images if those were predicted; each needs a prediction
    #[arg(long, value_name = "DIR", help_heading = DATA)]
    #[arg(conflicts_with_all = ["list_predict", "list_true", "merge", "image_list"])]
    pub(crate) images: Option<PathBuf>,
    /// With --run: list of images, in the order of --list-true; or each line also names the label image
    #[arg(long, value_name = "FILE", requires = "run", help_heading = DATA, hide_short_help = true)]
    #[arg(conflicts_with_all = ["list_predict", "predictions", "merge"])]
    pub(crate) image_list: Option<PathBuf>,
    /// Score only part I of N of the pairs, with I from 1 to N, as in 3/8, or auto as for `segtool predict`; --merge
    /// adds the parts up
    #[arg(long, value_name = "I/N|auto", value_parser = super::values::shard, requires = "partial", help_heading = DATA)]
    #[arg(conflicts_with = "merge", hide_short_help = true)]
    pub(crate) shard: Option<Shard>,
    /// Add up the counts in these files, written by --partial, and print the scores of all
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = DATA, hide_short_help = true)]
    #[arg(conflicts_with_all = ["dataset", "num_class", "merge_classes", "boundary", "per_image", "strict"])]
    pub(crate) merge: Vec<PathBuf>,
    /// Data set with class names and label values: a built-in name, a .toml file or a run folder
    #[arg(long, value_name = "NAME|FILE|RUN", help_heading = SCORING)]
    pub(crate) dataset: Option<String>,
    /// Number of classes, with label values as in --convention [default: 150, as in the Capstone's script]
    #[arg(long, value_name = "K", value_parser = positive, conflicts_with = "dataset", help_heading = SCORING)]
    pub(crate) num_class: Option<usize>,
    /// Project whose way of scoring to follow: capstone, csail, semseg, mmseg, paddle or nnunet [default: capstone]
    #[arg(long, value_name = "PROJECT", help_heading = SCORING)]
    pub(crate) convention: Option<Convention>,
    /// Label value of the first class [default: the convention's]
    #[arg(long, value_name = "V", requires = "num_class", conflicts_with_all = ["dataset", "run", "merge"])]
    #[arg(help_heading = SCORING, hide_short_help = true)]
    pub(crate) first_label: Option<u16>,
    /// Label values that mean "not labelled", such as 255, -1, -9999 or nan; in place of the convention's, or in addition
    /// to the data set's
    #[arg(long, value_name = "V", value_delimiter = ',', allow_negative_numbers = true, conflicts_with = "merge")]
    #[arg(help_heading = SCORING)]
    pub(crate) ignore_label: Vec<StoredNumber>,
    /// Score all classes but the first as one class
    #[arg(long, requires = "dataset", conflicts_with_all = ["num_class", "run", "merge"])]
    #[arg(help_heading = SCORING, hide_short_help = true)]
    pub(crate) merge_classes: bool,
    /// Also score boundaries of this width: pixels, or a share of the image diagonal such as 2%
    #[arg(long, value_name = "WIDTH", help_heading = SCORING)]
    pub(crate) boundary: Option<BoundaryWidth>,
    /// Stop at the first pair that cannot be scored, instead of skipping it
    #[arg(long, help_heading = SCORING)]
    pub(crate) strict: bool,
    /// With --run, sigmoid networks: minimum probability of a class [default: the run's]
    #[arg(long, value_name = "P", value_parser = super::threshold, requires = "run", help_heading = SCORING)]
    #[arg(conflicts_with_all = ["list_predict", "predictions", "merge"], hide_short_help = true)]
    pub(crate) threshold: Option<f64>,
    /// Sort the classes by index, name, iou, dice, accuracy, precision or pixels, best first [default: index]
    #[arg(long, value_name = "COLUMN", ignore_case = true, help_heading = OUTPUT, hide_possible_values = true)]
    pub(crate) sort: Option<Column>,
    /// Sort the worst classes first, by IoU unless --sort is given
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) worst_first: bool,
    /// Print one JSON object instead of a table
    #[arg(long, conflicts_with = "csv", help_heading = OUTPUT)]
    pub(crate) json: bool,
    /// Print the classes as CSV instead of a table
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) csv: bool,
    /// Write accuracy and IoU of each image
    #[arg(long, value_name = "FILE.csv", help_heading = OUTPUT)]
    pub(crate) per_image: Option<PathBuf>,
    /// Write the confusion matrix: as a figure (.png, row-normalised), or as counts (.csv, .npy) with one row per label
    /// and one column per predicted class; the last column counts predictions that are no class
    #[arg(long, value_name = "FILE.png|csv|npy", help_heading = OUTPUT)]
    pub(crate) confusion: Option<PathBuf>,
    /// Write the counts, to be added up with --merge
    #[arg(long, value_name = "FILE", help_heading = OUTPUT, hide_short_help = true)]
    pub(crate) partial: Option<PathBuf>,
    /// Threads [default: all cores; with --run, 2 that read images]
    #[arg(long, value_name = "N", value_parser = super::threads, conflicts_with = "merge", help_heading = HARDWARE)]
    pub(crate) workers: Option<usize>,
    /// With --run: auto, cpu, gpu, flex, libtorch, libtorch-cuda:N, vulkan:N or metal:N [default: auto, the fastest
    /// available]
    #[arg(long, value_name = "DEVICE", requires = "run", help_heading = HARDWARE)]
    #[arg(conflicts_with_all = ["list_predict", "predictions", "merge"])]
    pub(crate) device: Option<DeviceChoice>,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("input").required(true).multiple(true).args(["input_folder", "input_list", "images"])))]
#[command(
    after_help = "`segtool rgb2gray --help` has examples and the formulas of the methods.",
    after_long_help = "\
Examples:
  segtool rgb2gray --input-folder photos --output-folder gray --method gleam
  segtool rgb2gray --input-list photos.txt --output-folder gray --stretch
  segtool rgb2gray --recursive --output-folder gray survey1 survey2 single.tif

Methods, from Kanan and Cottrell, \"Color-to-Grayscale: Does the Method Matter in
Image Recognition?\" (PLoS ONE 7(1): e29740), for channels R, G, B from 0 to 1
and R' = R^(1/2.2); a method with a prime is x^(1/2.2) of the one without:
  luminance, luminance'  0.3 R + 0.59 G + 0.11 B
  intensity, intensity'  (R + G + B) / 3
  gleam                  (R' + G' + B') / 3
  luma, luma'            0.2126 R' + 0.7152 G' + 0.0722 B'
  lightness              CIELAB's L / 100 of 0.2126 R + 0.7152 G + 0.0722 B
  value, value'          max(R, G, B)
  luster                 (max(R, G, B) + min(R, G, B)) / 2
Greyscale images keep their samples. The output is <name>.png with 8 bits per
pixel, or 16 where the image has more."
)]
pub(crate) struct Rgb2Gray {
    /// Images, or folders of images
    #[arg(value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    /// Folder of images
    #[arg(long, value_name = "DIR", help_heading = IMAGES)]
    pub(crate) input_folder: Option<PathBuf>,
    /// List of images, one per line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input_folder", "images"], help_heading = IMAGES)]
    pub(crate) input_list: Option<PathBuf>,
    /// Also convert the images in subfolders, and keep the folder structure
    #[arg(long, help_heading = IMAGES)]
    pub(crate) recursive: bool,
    /// Method (see --help); luma' can be written luma-prime
    #[arg(long, value_name = "METHOD", default_value_t = GrayMethod::Luminance, help_heading = CONVERSION)]
    pub(crate) method: GrayMethod,
    /// Stretch the contrast of each image from its darkest to its lightest pixel
    #[arg(long, help_heading = CONVERSION)]
    pub(crate) stretch: bool,
    /// Transparent pixels: composite over black or white, or ignore transparency
    #[arg(long, value_name = "black|white|ignore", default_value_t = Alpha::Black, help_heading = CONVERSION)]
    pub(crate) alpha: Alpha,
    /// Folder to write to; may be the input folder
    #[arg(long, value_name = "DIR", help_heading = OUTPUT)]
    pub(crate) output_folder: PathBuf,
    /// Replace images that already exist
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) overwrite: bool,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = super::threads, help_heading = HARDWARE)]
    pub(crate) workers: Option<usize>,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("predicted")))]
#[command(group(clap::ArgGroup::new("truth")))]
#[command(group(clap::ArgGroup::new("shown").required(true).multiple(true)
    .args(["image_predict", "list_predict", "predictions", "label_list", "labels", "mask_folders"])))]
#[command(
    override_usage = "\
segtool concat --predictions DIR --images DIR [--labels DIR] [OPTIONS]
       segtool concat --list-predict FILE --image-list FILE [OPTIONS]
       segtool concat --images DIR --labels DIR [OPTIONS]
       segtool concat --image-predict FILE... [OPTIONS]",
    after_help = "`segtool concat --help` lists all options, with examples.",
    after_long_help = "\
Examples:
  segtool concat --predictions predictions --images photos --labels masks \\
      --dataset camvid --titles --legend --errors --output-path figures
  segtool concat --list-predict predictions/predictions.txt \\
      --image-list val_images.txt --label-list val_masks.txt \\
      --dataset runs/seeps --output-path figures
  segtool concat --predictions predictions --images VOCdevkit/VOC2012
  segtool concat --predictions predictions --mask-folders stage1_train \\
      --dataset earthquake --output-path figures
  segtool concat --images cores --labels strokes --dataset core \\
      --layout vertical --titles --output-path figures
  segtool concat --image-predict ADE_val_00001772.npy --dataset ade20k

Writes one <stem>_concat.png per prediction: image, label, prediction, errors
and probability from left to right, or from top to bottom with --layout
vertical. Without predictions, images and labels are drawn. If no images are
given, the one with the same stem beside the prediction is used; for ADE_val_
and ADE_train_ predictions, image and label below data/ADEChallengeData2016,
as in the Capstone's script. Samples of 16 bits and floats are stretched from
their 2nd to their 98th percentile."
)]
pub(crate) struct Concat {
    /// Folder of predictions (.npy)
    #[arg(long, value_name = "DIR", group = "predicted", help_heading = DATA)]
    pub(crate) predictions: Option<PathBuf>,
    /// List of predictions
    #[arg(long, value_name = "FILE", group = "predicted", help_heading = DATA)]
    pub(crate) list_predict: Option<PathBuf>,
    /// Predictions (.npy or label images), or a list of them
    #[arg(long, value_name = "FILE|LIST", group = "predicted", num_args = 1.., help_heading = DATA)]
    pub(crate) image_predict: Vec<PathBuf>,
    /// Folder of images, matched by file stem, or of folders as --mask-folders takes them; one file for one prediction; without
    /// --labels, the root of a data set as it is published, with its labels (Pascal VOC, Cityscapes, ADE20K, mmsegmentation,
    /// nnU-Net)
    #[arg(long, value_name = "DIR|FILE", help_heading = DATA)]
    pub(crate) images: Option<PathBuf>,
    /// List of images, in the order of the predictions
    #[arg(long, value_name = "FILE", conflicts_with_all = ["images", "predictions"], help_heading = DATA)]
    pub(crate) image_list: Option<PathBuf>,
    /// Folder of label images, matched by file stem, or one label image; or annotation files
    #[arg(long, value_name = "DIR|FILE", group = "truth", help_heading = DATA)]
    pub(crate) labels: Option<PathBuf>,
    /// Suffix of label images: with _mask, a_mask.png belongs to a.npy or a.jpg
    #[arg(long, value_name = "SUFFIX", requires = "labels", help_heading = DATA, hide_short_help = true)]
    pub(crate) label_suffix: Option<String>,
    /// List of label images, in the order of the predictions
    #[arg(long, value_name = "FILE", group = "truth", conflicts_with = "predictions", help_heading = DATA)]
    pub(crate) label_list: Option<PathBuf>,
    /// Folder with one subfolder per image: images/ holds the image, masks/ its masks
    #[arg(long, value_name = "DIR", group = "truth", help_heading = DATA)]
    pub(crate) mask_folders: Option<PathBuf>,
    /// Data set with names, colours and label values: a built-in name, a .toml file or a run folder
    #[arg(long, value_name = "NAME|FILE|RUN", conflicts_with = "num_class", help_heading = DATA)]
    pub(crate) dataset: Option<String>,
    /// Number of classes, with label values 1 to K [default: values are class indices from 0]
    #[arg(long, value_name = "K", value_parser = positive, help_heading = DATA)]
    pub(crate) num_class: Option<usize>,
    /// Draw label and prediction over the image with this opacity, 0 to 1 [default: their colours alone]
    #[arg(long, value_name = "OPACITY", value_parser = opacity, help_heading = FIGURE)]
    pub(crate) overlay: Option<f32>,
    /// Add a panel of correct, wrong and unscored pixels
    #[arg(long, requires = "predicted", help_heading = FIGURE)]
    pub(crate) errors: bool,
    /// Add a panel of the probability, from <stem>_prob.npy beside the prediction
    #[arg(long, requires = "predicted", help_heading = FIGURE)]
    pub(crate) prob: bool,
    /// Write a title above each panel
    #[arg(long, help_heading = FIGURE)]
    pub(crate) titles: bool,
    /// Add a legend of the classes that occur, with their share of the labelled pixels
    #[arg(long, help_heading = FIGURE)]
    pub(crate) legend: bool,
    /// Arrange panels horizontally or, as for cores, vertically
    #[arg(long, value_name = "LAYOUT", default_value_t = Layout::Horizontal, help_heading = FIGURE)]
    pub(crate) layout: Layout,
    /// Scale the panels by this factor, 0.001 to 100
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = scale, help_heading = FIGURE)]
    pub(crate) scale: f64,
    /// Maximum width of the figure in pixels; the panels are scaled down to fit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = FIGURE)]
    pub(crate) max_width: Option<u32>,
    /// Folder to write to; existing figures are replaced
    #[arg(long, value_name = "DIR", default_value = ".", help_heading = OUTPUT)]
    pub(crate) output_path: PathBuf,
    /// File format: png or jpeg
    #[arg(long, value_name = "FORMAT", default_value_t = FigureFormat::Png, help_heading = OUTPUT)]
    pub(crate) format: FigureFormat,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = super::threads, help_heading = HARDWARE)]
    pub(crate) workers: Option<usize>,
}

pub(super) fn opacity(text: &str) -> Result<f32, String> {
    within(text, 0.0..=1.0_f32, "a number from 0 to 1")
}

fn scale(text: &str) -> Result<f64, String> {
    within(text, 0.001..=100.0, "a number from 0.001 to 100")
}
