//! The command line: definitions only.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use segtool::bench::Mode;
use segtool::device::DeviceChoice;
use segtool::gray::Alpha;
use segtool::image::{GrayMethod, PictureFormat};
use segtool::metric::{BoundaryWidth, Convention};
use segtool::precision::Precision;
use segtool::weights::Target;

/// Semantic segmentation: train, predict and score, in one program.
#[derive(Debug, Parser)]
#[command(
    name = "segtool",
    version,
    about,
    after_help = "Exit codes: 0 done; 1 failed; 2 wrong command line; 3 done, but some inputs were skipped."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a small seismic data set, train on it, predict, score and draw: about a minute, nothing to download
    Demo(Demo),
    /// Train a recipe on labelled pictures, or resume a run
    Train(Box<Train>),
    /// Predict pictures with a trained run; writes a .npy of label values for each
    Predict(Predict),
    /// Score predictions against label images: pixel accuracy and IoU
    Metrics(Box<Metrics>),
    /// Turn colour pictures grey: luminance, gleam and nine more formulas
    #[command(name = "rgb2gray")]
    Rgb2Gray(Rgb2Gray),
    /// Draw pictures, labels and predictions side by side, with names, colours and errors on request
    Concat(Concat),
    /// Bring in weights that other projects trained: recognised, checked, written as one safetensors file
    Import(Import),
    /// Write weights for another project, under its names
    Export(Export),
    /// List what there is: weights to download, recipes, data sets
    Info(Info),
    /// Measure how long a recipe's forward pass or training step takes, on random pictures
    Bench(Bench),
}

/// Where and how wide to compute.
#[derive(Debug, Args)]
pub(crate) struct Compute {
    /// auto, cpu, gpu, flex, libtorch or libtorch-cuda:N [default: auto, the best there is; a resumed run's own]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<DeviceChoice>,
    /// Threads that read and prepare pictures
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = positive)]
    pub(crate) workers: usize,
}

/// The optimisers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Optimizer {
    Adam,
    Sgd,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  segtool demo --output-path segtool-demo")]
pub(crate) struct Demo {
    /// Folder for data, run, predictions and picture; an earlier demo in it is replaced
    #[arg(long, default_value = "segtool-demo", value_name = "DIR")]
    pub(crate) output_path: PathBuf,
    /// Seed of data, weights and order
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,
    /// Epochs; the recipe's by default
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) num_epoch: Option<usize>,
    #[command(flatten)]
    pub(crate) compute: Compute,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtool train --recipe unet-seeps-binary --train-list train_images.txt --label-list train_masks.txt \\
      --val-list val_images.txt --val-label-list val_masks.txt --output-path runs/seeps
  segtool train --recipe unet-seeps --dataset camvid --images train --labels trainannot --val-fraction 0.1 \\
      --output-path runs/camvid
  segtool train --recipe pspnet50-ade20k --dataset camvid --weights train_epoch_100.pth --new-head \\
      --images train --labels trainannot --output-path runs/camvid
  segtool train --resume runs/seeps

Weights may be of CSAIL, torchvision, hszhao/semseg, mmsegmentation, segmentation_models_pytorch, milesial or segtool; see
segtool import. Lists hold one path a line, relative to the list or to the working directory. Ctrl-C finishes the step and saves.")]
pub(crate) struct Train {
    /// A built-in recipe or a .toml file
    #[arg(long, value_name = "NAME|FILE", required_unless_present = "resume", conflicts_with = "resume")]
    pub(crate) recipe: Option<String>,
    /// A built-in data set or a .toml file; the recipe's by default
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "resume")]
    pub(crate) dataset: Option<String>,
    /// List of training pictures (also -train)
    #[arg(long, value_name = "FILE", requires = "label_list", conflicts_with_all = ["images", "resume"])]
    #[arg(required_unless_present_any = ["images", "resume"])]
    pub(crate) train_list: Option<PathBuf>,
    /// List of their label images (also -lab)
    #[arg(long, value_name = "FILE", requires = "train_list")]
    pub(crate) label_list: Option<PathBuf>,
    /// Folder of training pictures, paired with --labels by file stem
    #[arg(long, value_name = "DIR", requires = "labels", conflicts_with = "resume")]
    pub(crate) images: Option<PathBuf>,
    /// Folder of their label images
    #[arg(long, value_name = "DIR", requires = "images")]
    pub(crate) labels: Option<PathBuf>,
    /// List of validation pictures
    #[arg(long, value_name = "FILE", requires = "val_label_list", conflicts_with_all = ["val_fraction", "resume"])]
    pub(crate) val_list: Option<PathBuf>,
    /// List of their label images
    #[arg(long, value_name = "FILE", requires = "val_list")]
    pub(crate) val_label_list: Option<PathBuf>,
    /// Share of the training pairs to set aside for validation, between 0 and 1
    #[arg(long, value_name = "SHARE", conflicts_with = "resume")]
    pub(crate) val_fraction: Option<f64>,
    /// Train all classes but the first as one
    #[arg(long, conflicts_with = "resume")]
    pub(crate) merge_classes: bool,
    /// Begin with these weights; once more for a second file that completes the first
    #[arg(long, value_name = "FILE|RUN|NAME|URL", conflicts_with_all = ["resume", "width"])]
    pub(crate) weights: Vec<String>,
    /// Begin the layers that give the classes anew
    #[arg(long, requires = "weights")]
    pub(crate) new_head: bool,
    /// Passes over the training set
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with = "resume")]
    pub(crate) num_epoch: Option<usize>,
    /// Pictures a step
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with = "resume")]
    pub(crate) batch_size: Option<usize>,
    /// Learning rate at the start
    #[arg(long, value_name = "RATE", value_parser = rate, conflicts_with = "resume")]
    pub(crate) learning_rate: Option<f64>,
    /// With the recipe's settings if it names the same one, else adam as in PyTorch, sgd with momentum 0.9
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    pub(crate) optimizer: Option<Optimizer>,
    /// Channels of the network's first block
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with = "resume")]
    pub(crate) width: Option<usize>,
    /// float32, tf32 (NVIDIA GPUs) or bf16 (libtorch); the recipe's by default
    #[arg(long, value_name = "PRECISION", conflicts_with = "resume")]
    pub(crate) precision: Option<Precision>,
    /// Seed of weights, order and augmentation
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "resume")]
    pub(crate) seed: u64,
    /// Run folder to write
    #[arg(long, value_name = "RUN", required_unless_present = "resume", conflicts_with = "resume")]
    pub(crate) output_path: Option<PathBuf>,
    /// Replace a run that is already there
    #[arg(long, conflicts_with = "resume")]
    pub(crate) overwrite: bool,
    /// Continue this run where it was saved last, with its own settings
    #[arg(long, value_name = "RUN")]
    pub(crate) resume: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) compute: Compute,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtool predict --run runs/seeps --input-list val_images.txt --output-path predictions
  segtool predict --run runs/seeps --output-path predictions --prob scene1.tif scenes/
  segtool predict --weights encoder_epoch_20.pth --weights decoder_epoch_20.pth --output-path predictions photos/

Writes <stem>.npy (2-d, the data set's own label values) for each picture and predictions.txt, the list of them.")]
pub(crate) struct Predict {
    /// Run folder that `segtool train` wrote
    #[arg(long, value_name = "RUN", required_unless_present = "weights")]
    pub(crate) run: Option<PathBuf>,
    /// Weights instead of a run; once more for a second file that completes the first
    #[arg(long, value_name = "FILE|NAME|URL", conflicts_with = "run")]
    pub(crate) weights: Vec<String>,
    /// What the classes of the weights are [default: ade20k for 150 classes, else label values 0 to K-1]
    #[arg(long, value_name = "NAME|FILE", requires = "weights")]
    pub(crate) dataset: Option<String>,
    /// Pictures, or folders of pictures
    #[arg(value_name = "IMAGE", required_unless_present = "input_list")]
    pub(crate) images: Vec<PathBuf>,
    /// List of pictures
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    pub(crate) input_list: Option<PathBuf>,
    /// Folder to write to
    #[arg(long, value_name = "DIR")]
    pub(crate) output_path: PathBuf,
    /// Also write <stem>_prob.npy, float32, the probability of the predicted class
    #[arg(long)]
    pub(crate) prob: bool,
    /// Pictures computed together where they have one size
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = positive)]
    pub(crate) batch_size: usize,
    #[command(flatten)]
    pub(crate) compute: Compute,
}

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
#[command(after_help = "\
Examples:
  segtool metrics --list-predict P.txt --list-true L.txt --num-class 150
  segtool metrics --predictions predictions/ --labels masks/ --dataset camvid --sort iou --confusion confusion.png
  segtool metrics --run runs/seeps --per-image pictures.csv
  segtool metrics --predictions job7/ --labels masks/ --dataset seeps --partial job7.json
  segtool metrics --merge job*.json --json

Without --dataset, label values are 1..K, and all others mean not labelled, as the Capstone's script has it. A class that
neither occurs nor was predicted scores 0, and means are over all K classes. --convention scores as another project does:
  capstone, csail  values 1..K, others not labelled; absent classes score 0
  semseg           values 0..K-1, 255 not labelled; absent classes score 0
  mmseg            values 0..K-1, 255 not labelled; absent classes are left out of the means
  paddle           values 0..K-1, 255 not labelled; absent classes score 0; accuracy over predicted pixels
  nnunet           values 0..K-1; IoU and Dice a picture, averaged over pictures; means without value 0
With --dataset or --run, the label values are the data set's.")]
pub(crate) struct Metrics {
    /// List of predictions (.npy, or label images); also --List_predict
    #[arg(long, value_name = "FILE", requires = "list_true")]
    pub(crate) list_predict: Option<PathBuf>,
    /// List of label images, in the same order
    #[arg(long, value_name = "FILE", conflicts_with_all = ["predictions", "merge"])]
    pub(crate) list_true: Option<PathBuf>,
    /// Folder of predictions, paired with --labels by file stem
    #[arg(long, value_name = "DIR", requires = "labels")]
    pub(crate) predictions: Option<PathBuf>,
    /// Folder of label images
    #[arg(long, value_name = "DIR", conflicts_with_all = ["list_true", "list_predict", "merge"])]
    pub(crate) labels: Option<PathBuf>,
    /// Score a run's own predictions, without files in between; of its validation pictures, if no others are given
    #[arg(long, value_name = "RUN", conflicts_with_all = ["dataset", "num_class", "merge_classes"])]
    pub(crate) run: Option<PathBuf>,
    /// With --run: folder of pictures, paired with --labels by file stem
    #[arg(long, value_name = "DIR", requires_all = ["run", "labels"])]
    pub(crate) images: Option<PathBuf>,
    /// With --run: list of pictures, in the order of --list-true
    #[arg(long, value_name = "FILE", requires_all = ["run", "list_true"])]
    pub(crate) image_list: Option<PathBuf>,
    /// Add up counts that --partial wrote
    #[arg(long, value_name = "FILE", num_args = 1..)]
    #[arg(conflicts_with_all = ["dataset", "num_class", "merge_classes", "boundary", "per_image", "strict"])]
    pub(crate) merge: Vec<PathBuf>,
    /// Number of classes
    #[arg(long, value_name = "K", value_parser = positive, conflicts_with = "dataset")]
    #[arg(required_unless_present_any = ["dataset", "run", "merge"])]
    pub(crate) num_class: Option<usize>,
    /// A built-in data set, a .toml file or a run folder: class names and label values
    #[arg(long, value_name = "NAME|FILE|RUN")]
    pub(crate) dataset: Option<String>,
    /// Score all classes but the first as one
    #[arg(long, requires = "dataset")]
    pub(crate) merge_classes: bool,
    /// Whose way of scoring: capstone, csail, semseg, mmseg, paddle or nnunet [default: capstone]
    #[arg(long, value_name = "PROJECT")]
    pub(crate) convention: Option<Convention>,
    /// Label value of the first class; the convention's by default
    #[arg(long, value_name = "V", requires = "num_class")]
    pub(crate) first_label: Option<u16>,
    /// Label values that mean "not labelled" (-1 too), instead of the convention's or besides the data set's
    #[arg(long, value_name = "V", value_delimiter = ',', allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1..=65535))]
    #[arg(conflicts_with = "merge")]
    pub(crate) ignore_label: Vec<i32>,
    /// Score boundaries too: so many pixels wide, or a share of the diagonal such as 2%
    #[arg(long, value_name = "WIDTH")]
    pub(crate) boundary: Option<BoundaryWidth>,
    /// Order of the classes in the table, best first
    #[arg(long, value_name = "COLUMN")]
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
    /// Write accuracy and IoU of every picture
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) per_image: Option<PathBuf>,
    /// Write the confusion matrix: as a picture (shares of each label), or as counts
    #[arg(long, value_name = "FILE.png|csv|npy")]
    pub(crate) confusion: Option<PathBuf>,
    /// Write the counts for --merge
    #[arg(long, value_name = "FILE")]
    pub(crate) partial: Option<PathBuf>,
    /// Fail at the first pair that cannot be used, instead of leaving it out
    #[arg(long)]
    pub(crate) strict: bool,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) workers: Option<usize>,
    /// With --run: auto, cpu, gpu, flex, libtorch or libtorch-cuda:N [default: auto, the best there is]
    #[arg(long, value_name = "DEVICE", requires = "run")]
    pub(crate) device: Option<DeviceChoice>,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("input").required(true).multiple(true).args(["input_folder", "input_list", "images"])))]
#[command(after_help = "\
Examples:
  segtool rgb2gray --input-folder photos --output-folder gray --method gleam
  segtool rgb2gray --input-list photos.txt --output-folder gray --method \"luma'\" --stretch
  segtool rgb2gray --recursive --output-folder gray survey1/ survey2/ single.tif

Methods, of Kanan and Cottrell, \"Color-to-Grayscale: Does the Method Matter in Image Recognition?\" (PLoS ONE 7(1): e29740),
with channels R, G, B from 0 to 1 and R' = R^(1/2.2); a method with a prime is x^(1/2.2) of the one without:
  luminance, luminance'  0.3 R + 0.59 G + 0.11 B
  intensity, intensity'  (R + G + B) / 3
  gleam                  (R' + G' + B') / 3
  luma, luma'            0.2126 R' + 0.7152 G' + 0.0722 B'
  lightness              CIELAB's L / 100 of 0.2126 R + 0.7152 G + 0.0722 B
  value, value'          max(R, G, B)
  luster                 (max(R, G, B) + min(R, G, B)) / 2
Grey pictures keep their samples. Output is <name>.png, 8 bits a pixel, or 16 where the picture has more.")]
pub(crate) struct Rgb2Gray {
    /// Folder of pictures
    #[arg(long, value_name = "DIR")]
    pub(crate) input_folder: Option<PathBuf>,
    /// List of pictures
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input_folder", "images"])]
    pub(crate) input_list: Option<PathBuf>,
    /// Pictures, or folders of pictures
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
    /// Stretch each picture from its darkest to its lightest grey
    #[arg(long)]
    pub(crate) stretch: bool,
    /// Lay transparent pixels over black or white, or ignore transparency
    #[arg(long, value_name = "black|white|ignore", default_value_t = Alpha::Black)]
    pub(crate) alpha: Alpha,
    /// Make pictures again that are there already
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) workers: Option<usize>,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("predicted").required(true)))]
#[command(group(clap::ArgGroup::new("truth")))]
#[command(after_help = "\
Examples:
  segtool concat --image-predict ADE_val_00001772.npy --dataset ade20k --output-path figures
  segtool concat --list-predict predictions/predictions.txt --image-list val_images.txt --label-list val_masks.txt \\
      --dataset runs/seeps --titles --legend --errors --output-path figures
  segtool concat --predictions predictions --images photos --num-class 150 --overlay 0.5 --prob --output-path figures

Writes <stem>_concat.png for each prediction: picture, label, prediction, errors and probability from left to right, edge to
edge unless there are titles or a legend. Without --image-list and --images, the picture is the one of the same stem beside
the prediction. Samples of 16 bits and floats are stretched between their 2nd and 98th percentile.")]
pub(crate) struct Concat {
    /// One prediction (.npy, or a label image)
    #[arg(long, value_name = "FILE", group = "predicted")]
    pub(crate) image_predict: Option<PathBuf>,
    /// List of predictions
    #[arg(long, value_name = "FILE", group = "predicted")]
    pub(crate) list_predict: Option<PathBuf>,
    /// Folder of predictions (.npy)
    #[arg(long, value_name = "DIR", group = "predicted")]
    pub(crate) predictions: Option<PathBuf>,
    /// List of pictures, in the order of the predictions
    #[arg(long, value_name = "FILE", conflicts_with_all = ["images", "predictions"])]
    pub(crate) image_list: Option<PathBuf>,
    /// Folder of pictures, matched by file stem; a single file for a single prediction
    #[arg(long, value_name = "DIR|FILE")]
    pub(crate) images: Option<PathBuf>,
    /// List of label images, in the order of the predictions
    #[arg(long, value_name = "FILE", group = "truth", conflicts_with = "predictions")]
    pub(crate) label_list: Option<PathBuf>,
    /// Folder of label images, matched by file stem; a single file for a single prediction
    #[arg(long, value_name = "DIR|FILE", group = "truth")]
    pub(crate) labels: Option<PathBuf>,
    /// A built-in data set, a .toml file or a run folder: names, colours and label values
    #[arg(long, value_name = "NAME|FILE|RUN", conflicts_with = "num_class")]
    pub(crate) dataset: Option<String>,
    /// Number of classes, for label values 1..K; without this and --dataset, values are class numbers from 0
    #[arg(long, value_name = "K", value_parser = positive)]
    pub(crate) num_class: Option<usize>,
    /// Folder to write to
    #[arg(long, value_name = "DIR")]
    pub(crate) output_path: PathBuf,
    /// Lay label and prediction over the picture with this opacity, 0 to 1
    #[arg(long, value_name = "OPACITY", value_parser = opacity)]
    pub(crate) overlay: Option<f32>,
    /// Also show where the prediction is right, wrong and not judged
    #[arg(long, requires = "truth")]
    pub(crate) errors: bool,
    /// Also show the probability, from <stem>_prob.npy beside the prediction
    #[arg(long)]
    pub(crate) prob: bool,
    /// Name the panels
    #[arg(long)]
    pub(crate) titles: bool,
    /// List the classes that occur below the panels, with colours and per cents of the labelled pixels
    #[arg(long)]
    pub(crate) legend: bool,
    /// Enlarge or reduce the panels by this factor
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = rate)]
    pub(crate) scale: f64,
    /// Reduce the panels until everything is at most so wide, in pixels
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_width: Option<u32>,
    /// png or jpeg
    #[arg(long, value_name = "FORMAT", default_value_t = PictureFormat::Png)]
    pub(crate) format: PictureFormat,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) workers: Option<usize>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtool import encoder_epoch_20.pth decoder_epoch_20.pth --output pspnet.safetensors
  segtool import resnet50-imagenet --output resnet50.safetensors

Recognised by their names: CSAIL's semantic-segmentation-pytorch (encoder and decoder), torchvision's ResNet and VGG-16,
hszhao/semseg, mmsegmentation's PSPNet, segmentation_models_pytorch's Unet and PSPNet, milesial/Pytorch-UNet, the U-Nets of
Oil_Seep_Detection, segtool's own. In .pth (nothing in it is executed) or .safetensors. What names and shapes do not show
(dilation, alignment of corners, normalisation) is taken as that project has it.")]
pub(crate) struct Import {
    /// Weight files that belong together, or a name or URL
    #[arg(value_name = "FILE|NAME|URL", required = true)]
    pub(crate) files: Vec<String>,
    /// File to write
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) output: PathBuf,
    /// Take dilation, alignment of corners and the like from this recipe
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) recipe: Option<String>,
    /// Take the normalisation from this data set
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) dataset: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtool export runs/camvid --to semseg --output train_epoch_1.pth
  segtool export pspnet.safetensors --to csail --output csail_weights

Refused where that project would read another network out of the weights, such as one with another dilation.")]
pub(crate) struct Export {
    /// A run, or weight files that belong together
    #[arg(value_name = "RUN|FILE", required = true)]
    pub(crate) files: Vec<String>,
    /// For whom: csail (a folder with two files), torchvision (the encoder), mmseg, smp, semseg, milesial or seeps
    #[arg(long, value_name = "PROJECT")]
    pub(crate) to: Target,
    /// File to write, .pth or .safetensors; for csail a folder
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)))]
#[command(after_help = "Example:\n  segtool info --weights")]
pub(crate) struct Info {
    /// Weights that can be downloaded by name
    #[arg(long, group = "what")]
    pub(crate) weights: bool,
    /// Built-in recipes
    #[arg(long, group = "what")]
    pub(crate) recipes: bool,
    /// Built-in data sets
    #[arg(long, group = "what")]
    pub(crate) datasets: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtool bench --recipe unet-seeps --mode train --batch 4 --size 256
  segtool bench --recipe pspnet50-torchvision --mode infer --size 473 --device gpu --precision bf16 --steps 20 --profile

Prints one line: what, batch, size, the median time of a step after two that do not count, pictures a second, and the
most memory that was held (of the process on a CPU, of tensors on a GPU). A training step is the forward pass, the
cross-entropy against random labels, the backward pass and SGD with momentum.")]
pub(crate) struct Bench {
    /// A built-in recipe or a .toml file
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) recipe: String,
    /// train or infer
    #[arg(long, value_name = "MODE", default_value = "infer")]
    pub(crate) mode: Mode,
    /// Pictures a step
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(crate) batch: usize,
    /// Width and height of the pictures
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = positive)]
    pub(crate) size: usize,
    /// auto, cpu, gpu, flex, libtorch or libtorch-cuda:N [default: auto, the best there is]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<DeviceChoice>,
    /// float32, tf32 (NVIDIA GPUs) or bf16 (libtorch)
    #[arg(long, value_name = "PRECISION", default_value_t = Precision::Float32)]
    pub(crate) precision: Precision,
    /// Steps to take the time of
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = positive)]
    pub(crate) steps: usize,
    /// Output classes; those of the recipe's data set by default
    #[arg(long, value_name = "K", value_parser = positive)]
    pub(crate) classes: Option<usize>,
    /// Channels of the network's first block
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) width: Option<usize>,
    /// Compare output, loss and gradients with flex in float32 instead; more than 1e-3 apart in float32 is a failure
    #[arg(long, conflicts_with = "profile")]
    pub(crate) check: bool,
    /// Run the steps once more and print the time by kind of operation
    #[arg(long)]
    pub(crate) profile: bool,
    /// Print one JSON object instead
    #[arg(long)]
    pub(crate) json: bool,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("is not a whole number".into()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("must be a number above 0".into()),
    }
}

fn opacity(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(opacity) if (0.0..=1.0).contains(&opacity) => Ok(opacity),
        _ => Err("must be a number from 0 to 1".into()),
    }
}

/// Rewrites the flags of the original scripts: `-train` and `-lab`, and underscores or capitals in long flags
/// (`--List_predict`), so that an old command line works with the script's name exchanged.
pub(crate) fn modernise(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut literal = false;
    let rewrite = |argument: OsString| {
        let Some(text) = argument.to_str().filter(|_| !literal) else { return argument };
        literal = text == "--";
        match text {
            "-train" => "--train-list".into(),
            "-lab" => "--label-list".into(),
            _ => match text.strip_prefix("--") {
                Some(flag) => {
                    let (name, value) = flag.split_at(flag.find('=').unwrap_or(flag.len()));
                    format!("--{}{value}", name.replace('_', "-").to_lowercase()).into()
                }
                None => argument,
            },
        }
    };
    arguments.map(rewrite).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn old_flags_are_understood() {
        let old = ["segtool", "-train", "a_b.txt", "-lab", "c.txt", "--List_predict=P_1.txt", "--", "--Keep_me"];
        let new = modernise(old.iter().map(OsString::from));
        let expected = [
            "segtool",
            "--train-list",
            "a_b.txt",
            "--label-list",
            "c.txt",
            "--list-predict=P_1.txt",
            "--",
            "--Keep_me",
        ];
        assert_eq!(new, expected);
    }
}
