//! Commands that need no network: metrics, rgb2gray, concat.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use segtool::data::StoredNumber;
use segtool::draw::{FigureFormat, Layout};
use segtool::image::GrayMethod;
use segtool::metric::{BoundaryWidth, Convention};
use segtool::nn::device::DeviceChoice;
use segtool::tools::rgb2gray::Alpha;

use super::positive;

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
#[command(group(clap::ArgGroup::new("truth").args(["labels", "mask_folders"])))]
#[command(after_help = "\
Examples:
  segtool metrics --list-predict P.txt --list-true L.txt --num-class 150
  segtool metrics --predictions predictions/ --labels masks/ --dataset camvid --sort iou --confusion confusion.png
  segtool metrics --run runs/seeps --per-image images.csv
  segtool metrics --list-predict share7.txt --list-true labels7.txt --dataset seeps --partial share7.json
  segtool metrics --merge share*.json --json

Without --dataset, label values are 1..K and all others mean not labelled, as in the
Capstone's script. A class that neither occurs nor was predicted scores 0, and means are over
all K classes. --convention scores as another project does:
  capstone  values 1..K, others not labelled; absent classes score 0
  csail     the same, but under labels above K every prediction is wrong
  semseg    values 0..K-1, 255 not labelled; absent classes score 0
  mmseg     values 0..K-1, 255 not labelled; absent classes are left out of the means
  paddle    values 0..K-1, 255 not labelled; absent classes score 0; accuracy over the
            pixels predicted as some class
  nnunet    values 0..K-1; IoU and Dice of each image, averaged over images; means
            without value 0, not a number if a class is in no image
Values that are none of these are an error of that pair; with capstone and csail they are let
through with a note, unless there is --strict. A value that occurs and counts as not labelled by
convention alone is noted, with the way to count it.
With --dataset or --run, the label values are the data set's.")]
pub(crate) struct Metrics {
    /// List of predictions (.npy, or label images), or of predictions and label images in each line; also --List_predict
    #[arg(long, value_name = "FILE")]
    pub(crate) list_predict: Option<PathBuf>,
    /// List of label images, in the same order
    #[arg(long, value_name = "FILE", conflicts_with_all = ["predictions", "merge"])]
    pub(crate) list_true: Option<PathBuf>,
    /// Folder of predictions, paired with --labels by file stem
    #[arg(long, value_name = "DIR", requires = "truth")]
    pub(crate) predictions: Option<PathBuf>,
    /// Folder of label images
    #[arg(long, value_name = "DIR", conflicts_with_all = ["list_true", "list_predict", "merge"])]
    pub(crate) labels: Option<PathBuf>,
    /// Instead of --labels: folder with a folder for each image, which holds images/ with the image and masks/ with its
    /// masks; with --run, these images are predicted
    #[arg(long, value_name = "DIR", conflicts_with_all = ["labels", "list_true", "list_predict", "merge", "images", "image_list"])]
    pub(crate) mask_folders: Option<PathBuf>,
    /// Score a run's own predictions, without files in between; of its validation images, if no others are given
    #[arg(long, value_name = "RUN", conflicts_with_all = ["dataset", "num_class", "merge_classes"])]
    pub(crate) run: Option<PathBuf>,
    /// With --run: folder of images, paired with --labels by file stem
    #[arg(long, value_name = "DIR", requires_all = ["run", "labels"])]
    #[arg(conflicts_with_all = ["list_predict", "predictions", "merge", "image_list"])]
    pub(crate) images: Option<PathBuf>,
    /// With --run: list of images, in the order of --list-true, or of images and label images in each line
    #[arg(long, value_name = "FILE", requires = "run")]
    #[arg(conflicts_with_all = ["list_predict", "predictions", "merge"])]
    pub(crate) image_list: Option<PathBuf>,
    /// Add up counts that --partial wrote
    #[arg(long, value_name = "FILE", num_args = 1..)]
    #[arg(conflicts_with_all = ["dataset", "num_class", "merge_classes", "boundary", "per_image", "strict"])]
    pub(crate) merge: Vec<PathBuf>,
    /// Number of classes, for label values as the convention has them [default: 150, ADE20K's, as in the Capstone's script]
    #[arg(long, value_name = "K", value_parser = positive, conflicts_with = "dataset")]
    pub(crate) num_class: Option<usize>,
    /// A built-in data set, a .toml file or a run folder: class names and label values
    #[arg(long, value_name = "NAME|FILE|RUN")]
    pub(crate) dataset: Option<String>,
    /// Score all classes but the first as one
    #[arg(long, requires = "dataset", conflicts_with_all = ["num_class", "run", "merge"])]
    pub(crate) merge_classes: bool,
    /// Whose way of scoring: capstone, csail, semseg, mmseg, paddle or nnunet [default: capstone]
    #[arg(long, value_name = "PROJECT")]
    pub(crate) convention: Option<Convention>,
    /// Label value of the first class; the convention's by default
    #[arg(long, value_name = "V", requires = "num_class", conflicts_with_all = ["dataset", "run", "merge"])]
    pub(crate) first_label: Option<u16>,
    /// Label values that mean "not labelled", such as 255, -1, -9999 or nan, instead of the convention's or besides the data
    /// set's
    #[arg(long, value_name = "V", value_delimiter = ',', allow_negative_numbers = true, conflicts_with = "merge")]
    pub(crate) ignore_label: Vec<StoredNumber>,
    /// Score boundaries too: so many pixels wide, or a share of the diagonal such as 2%
    #[arg(long, value_name = "WIDTH")]
    pub(crate) boundary: Option<BoundaryWidth>,
    /// Order of the classes in the table, best first
    #[arg(long, value_name = "COLUMN", ignore_case = true)]
    pub(crate) sort: Option<Column>,
    /// Worst classes first; by IoU, unless --sort says otherwise
    #[arg(long)]
    pub(crate) worst_first: bool,
    /// Print one JSON object instead of a table
    #[arg(long, conflicts_with = "csv")]
    pub(crate) json: bool,
    /// Print the classes as CSV instead of a table
    #[arg(long)]
    pub(crate) csv: bool,
    /// Write accuracy and IoU of every image
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) per_image: Option<PathBuf>,
    /// Write the confusion matrix: as an image (shares of each label), or as counts, K rows (labels) of K + 1 columns
    /// (predictions, the last of no class)
    #[arg(long, value_name = "FILE.png|csv|npy")]
    pub(crate) confusion: Option<PathBuf>,
    /// Write the counts for --merge
    #[arg(long, value_name = "FILE")]
    pub(crate) partial: Option<PathBuf>,
    /// Fail at the first pair that cannot be used, instead of leaving it out
    #[arg(long)]
    pub(crate) strict: bool,
    /// Threads [default: all cores; with --run, 2 that read images]
    #[arg(long, value_name = "N", value_parser = super::threads, conflicts_with = "merge")]
    pub(crate) workers: Option<usize>,
    /// With --run, of a network with a sigmoid: a class is there above this probability; the run's own by default
    #[arg(long, value_name = "P", value_parser = super::threshold, requires = "run")]
    #[arg(conflicts_with_all = ["list_predict", "predictions", "merge"])]
    pub(crate) threshold: Option<f64>,
    /// With --run: auto, cpu, gpu, flex, libtorch or libtorch-cuda:N [default: auto, the best there is]
    #[arg(long, value_name = "DEVICE", requires = "run")]
    #[arg(conflicts_with_all = ["list_predict", "predictions", "merge"])]
    pub(crate) device: Option<DeviceChoice>,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("input").required(true).multiple(true).args(["input_folder", "input_list", "images"])))]
#[command(after_help = "\
Examples:
  segtool rgb2gray --input-folder photos --output-folder gray --method gleam
  segtool rgb2gray --input-list photos.txt --output-folder gray --method \"luma'\" --stretch
  segtool rgb2gray --recursive --output-folder gray survey1/ survey2/ single.tif

Methods of Kanan and Cottrell, \"Color-to-Grayscale: Does the Method Matter in Image
Recognition?\" (PLoS ONE 7(1): e29740), with channels R, G, B from 0 to 1 and R' = R^(1/2.2); a
method with a prime is x^(1/2.2) of the one without:
  luminance, luminance'  0.3 R + 0.59 G + 0.11 B
  intensity, intensity'  (R + G + B) / 3
  gleam                  (R' + G' + B') / 3
  luma, luma'            0.2126 R' + 0.7152 G' + 0.0722 B'
  lightness              CIELAB's L / 100 of 0.2126 R + 0.7152 G + 0.0722 B
  value, value'          max(R, G, B)
  luster                 (max(R, G, B) + min(R, G, B)) / 2
Grey images keep their samples. Output is <name>.png, 8 bits a pixel, or 16 where the
image has more.")]
pub(crate) struct Rgb2Gray {
    /// Folder of images
    #[arg(long, value_name = "DIR")]
    pub(crate) input_folder: Option<PathBuf>,
    /// List of images
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input_folder", "images"])]
    pub(crate) input_list: Option<PathBuf>,
    /// Images, or folders of images
    #[arg(value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    /// Folder to write to; may be the input folder
    #[arg(long, value_name = "DIR")]
    pub(crate) output_folder: PathBuf,
    /// The formula; luma' may be written luma-prime
    #[arg(long, value_name = "METHOD", default_value_t = GrayMethod::Luminance)]
    pub(crate) method: GrayMethod,
    /// Go into sub-folders, and keep them
    #[arg(long)]
    pub(crate) recursive: bool,
    /// Stretch each image from its darkest to its lightest grey
    #[arg(long)]
    pub(crate) stretch: bool,
    /// Lay transparent pixels over black or white, or ignore transparency
    #[arg(long, value_name = "black|white|ignore", default_value_t = Alpha::Black)]
    pub(crate) alpha: Alpha,
    /// Make images again that are there already
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = super::threads)]
    pub(crate) workers: Option<usize>,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("predicted")))]
#[command(group(clap::ArgGroup::new("truth")))]
#[command(group(clap::ArgGroup::new("shown").required(true).multiple(true)
    .args(["image_predict", "list_predict", "predictions", "label_list", "labels", "mask_folders"])))]
#[command(after_help = "\
Examples:
  segtool concat --image-predict ADE_val_00001772.npy --dataset ade20k --output-path figures
  segtool concat --list-predict predictions/predictions.txt --image-list val_images.txt --label-list val_masks.txt \\
      --dataset runs/seeps --titles --legend --errors --output-path figures
  segtool concat --predictions predictions --images photos --num-class 150 --overlay 0.5 --prob --output-path figures
  segtool concat --predictions predictions --mask-folders stage1_train --dataset earthquake --output-path figures
  segtool concat --images cores --labels strokes --dataset core --layout vertical --titles --output-path figures

Writes <stem>_concat.png for each prediction: image, label, prediction, errors and probability from left to right or, with
--layout vertical, from top to bottom; edge to edge unless there are titles or a legend. Without predictions, images and
labels are drawn. Without --image-list, --images and --mask-folders, the image is the one of the same stem beside the
prediction; of ADE_val_ and ADE_train_ predictions, image and label below data/ADEChallengeData2016, as in the Capstone's
script. Samples of 16 bits and floats are stretched between their 2nd and 98th percentile.")]
pub(crate) struct Concat {
    /// Predictions (.npy, or label images), or a list of them
    #[arg(long, value_name = "FILE|LIST", group = "predicted", num_args = 1..)]
    pub(crate) image_predict: Vec<PathBuf>,
    /// List of predictions
    #[arg(long, value_name = "FILE", group = "predicted")]
    pub(crate) list_predict: Option<PathBuf>,
    /// Folder of predictions (.npy)
    #[arg(long, value_name = "DIR", group = "predicted")]
    pub(crate) predictions: Option<PathBuf>,
    /// List of images, in the order of the predictions
    #[arg(long, value_name = "FILE", conflicts_with_all = ["images", "predictions"])]
    pub(crate) image_list: Option<PathBuf>,
    /// Folder of images, matched by file stem, or of folders as --mask-folders takes them; a single file for a single
    /// prediction
    #[arg(long, value_name = "DIR|FILE")]
    pub(crate) images: Option<PathBuf>,
    /// List of label images, in the order of the predictions
    #[arg(long, value_name = "FILE", group = "truth", conflicts_with = "predictions")]
    pub(crate) label_list: Option<PathBuf>,
    /// Folder of label images, matched by file stem; a single file for a single prediction
    #[arg(long, value_name = "DIR|FILE", group = "truth")]
    pub(crate) labels: Option<PathBuf>,
    /// Folder with a folder for each image, which holds images/ with the image and masks/ with its masks
    #[arg(long, value_name = "DIR", group = "truth")]
    pub(crate) mask_folders: Option<PathBuf>,
    /// A built-in data set, a .toml file or a run folder: names, colours and label values
    #[arg(long, value_name = "NAME|FILE|RUN", conflicts_with = "num_class")]
    pub(crate) dataset: Option<String>,
    /// Number of classes, for label values 1..K; without this and --dataset, values are class numbers from 0
    #[arg(long, value_name = "K", value_parser = positive)]
    pub(crate) num_class: Option<usize>,
    /// Folder to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) output_path: PathBuf,
    /// How panels are arranged: horizontal, or vertical, as for cores
    #[arg(long, value_name = "LAYOUT", default_value_t = Layout::Horizontal)]
    pub(crate) layout: Layout,
    /// Lay label and prediction over the image with this opacity, 0 to 1
    #[arg(long, value_name = "OPACITY", value_parser = opacity)]
    pub(crate) overlay: Option<f32>,
    /// Also show where the prediction is right, wrong and not judged
    #[arg(long, requires_all = ["truth", "predicted"])]
    pub(crate) errors: bool,
    /// Also show the probability, from <stem>_prob.npy beside the prediction
    #[arg(long, requires = "predicted")]
    pub(crate) prob: bool,
    /// Name the panels
    #[arg(long)]
    pub(crate) titles: bool,
    /// List the classes that occur below the panels, with colours and per cents of the labelled pixels
    #[arg(long)]
    pub(crate) legend: bool,
    /// Enlarge or reduce the panels by this factor, 0.001 to 100
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = scale)]
    pub(crate) scale: f64,
    /// Reduce the panels until everything is at most so wide, in pixels
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_width: Option<u32>,
    /// png or jpeg
    #[arg(long, value_name = "FORMAT", default_value_t = FigureFormat::Png)]
    pub(crate) format: FigureFormat,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = super::threads)]
    pub(crate) workers: Option<usize>,
}

pub(super) fn opacity(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(opacity) if (0.0..=1.0).contains(&opacity) => Ok(opacity),
        _ => Err("must be a number from 0 to 1".into()),
    }
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.001..=100.0).contains(&factor) => Ok(factor),
        _ => Err("must be a number from 0.001 to 100".into()),
    }
}
