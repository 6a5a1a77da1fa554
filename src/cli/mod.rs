//! The command line: definitions only.

mod dataset;
mod forest;
mod given;
mod info;
mod scripts;
mod training;
mod values;
mod without_network;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Id, Parser, Subcommand};
use segtool::base::Size;
use segtool::image::OrientationPolicy;
use segtool::nn::device::DeviceChoice;
use segtool::nn::ops::Interpolation;
use segtool::nn::precision::Precision;
use segtool::predict::{NpyType, Scales};
use segtool::weights::{Choice, Target};

use crate::exit::Exit;
use crate::{flags, ui};

pub(crate) use dataset::InspectDataset;
pub(crate) use forest::{Core, ForestTraining};
pub(crate) use given::Given;
pub(crate) use info::{Bench, Info};
pub(crate) use training::{NetworkTraining, Optimizer, Procedure};
pub(crate) use values::most_threads;
use values::{bytes, positive, side, size, threads, threshold};
pub(crate) use without_network::{Column, Concat, Metrics, Rgb2Gray};

/// Semantic segmentation: train, predict and score, in one program.
#[derive(Debug, Parser)]
#[command(
    name = "segtool",
    version,
    about,
    after_help = "Exit codes: 0 done; 1 failed; 2 wrong usage (options that cannot work, contradict each other or would do nothing); \
                  3 done, but some inputs were skipped; 129, 130, 143 stopped by a signal (SIGHUP, SIGINT, SIGTERM), saved or, at \
                  a second one, at once."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Orientation that images and label images declare (EXIF, TIFF): apply or ignore [default: apply; a run's own]
    #[arg(long, global = true, value_name = "WHAT")]
    pub(crate) orientation: Option<OrientationPolicy>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a small seismic data set, train on it, predict, score and draw: about a minute, nothing to download
    Demo(Demo),
    /// Inspect label images and write a matching data set file
    Dataset(InspectDataset),
    /// Train a recipe on labelled images, or resume a run
    Train(Box<Train>),
    /// Predict images with a run or with weights; writes a .npy of label values for each
    Predict(Box<Predict>),
    /// Score predictions against label images: pixel accuracy and IoU
    Metrics(Box<Metrics>),
    /// Turn colour images grey: luminance, gleam and nine more formulas
    #[command(name = "rgb2gray")]
    Rgb2Gray(Rgb2Gray),
    /// Draw images, labels and predictions side by side, with names, colours and errors on request
    Concat(Concat),
    /// Bring in weights that other projects trained: recognised, checked, written as one safetensors file
    Import(Import),
    /// Write weights for another project, under its names
    Export(Export),
    /// List what there is, or the layers, parameters and memory of a recipe
    Info(Info),
    /// Measure how long a recipe's forward pass or training step takes, on random images
    Bench(Bench),
}

/// Where and how wide to compute.
#[derive(Debug, Args)]
pub(crate) struct Compute {
    /// auto, cpu, gpu, flex, libtorch or libtorch-cuda:N [default: auto, the best there is; a resumed run's own]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<DeviceChoice>,
    /// Threads that read and prepare images
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = threads)]
    pub(crate) workers: usize,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  segtool demo --output-path segtool-demo")]
pub(crate) struct Demo {
    /// Folder for data, run, predictions and image; an earlier demo in it is replaced
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
  segtool train --recipe unet-earthquake --mask-folders stage1_train --val-fraction 0.1 --output-path runs/quake
  segtool train --recipe hypercolumn-core --images core.png --labels strokes.png --weights vgg16-imagenet \\
      --output-path runs/core
  segtool train --recipe hypercolumn-core --label-csv points.csv --cache-features features --output-path runs/core
  segtool train --resume runs/seeps
  segtool train -train train_images.txt -lab train_masks.txt --weights runs/seeps --num_epoch 5 --optimizer SGD

The last line is one of the Capstone's script. Weights may be of CSAIL, torchvision, hszhao/semseg, mmsegmentation,
segmentation_models_pytorch, milesial or segtool; see segtool import. Lists hold one path a line, relative to the list or to the
working directory.

Ctrl-C (SIGINT), SIGTERM and --max-time finish the step and save; --resume goes on exactly. Exit code 130 after SIGINT, 143
after SIGTERM, 0 after --max-time. A second signal, a second later or more, ends at once.

hypercolumn-core trains no network: it learns from labelled pixels, which may be few (see README). Labels are label images
that leave most pixels unlabelled, strokes in the classes' colours on a transparent PNG, or a table of points or rectangles:
file,x,y,class or file,x0,y0,x1,y1,class, pixels from 0 at the top left, both corners inside.")]
pub(crate) struct Train {
    /// A built-in recipe, a .toml file or a run folder [default: that of the run in --weights; unet-earthquake with --mask-folders,
    /// hypercolumn-core with --label-csv, else pspnet50-capstone]
    #[arg(long, short = 'm', alias = "model", value_name = "NAME|FILE|RUN")]
    pub(crate) recipe: Option<String>,
    /// A built-in data set, a .toml file or a run folder; the recipe's by default
    #[arg(long, value_name = "NAME|FILE|RUN")]
    pub(crate) dataset: Option<String>,
    /// List of training images, one a line, each optionally followed by its label image (also -train)
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    #[arg(required_unless_present_any = ["images", "mask_folders", "label_csv", "resume"])]
    pub(crate) train_list: Option<PathBuf>,
    /// List of their label images (also -lab)
    #[arg(long, value_name = "FILE", requires = "train_list")]
    pub(crate) label_list: Option<PathBuf>,
    /// Folder of training images, paired with --labels by file stem; or one image
    #[arg(long, value_name = "DIR|FILE")]
    pub(crate) images: Option<PathBuf>,
    /// Folder of their label images; or one label image
    #[arg(long, value_name = "DIR|FILE", requires = "images")]
    pub(crate) labels: Option<PathBuf>,
    /// List of validation images, or of images and their label images in each line
    #[arg(long, value_name = "FILE", conflicts_with = "val_fraction")]
    pub(crate) val_list: Option<PathBuf>,
    /// List of their label images
    #[arg(long, value_name = "FILE", requires = "val_list")]
    pub(crate) val_label_list: Option<PathBuf>,
    /// Share of the training pairs to set aside for validation, between 0 and 1; for a forest of the labelled pixels [0.05]
    #[arg(long, value_name = "SHARE")]
    pub(crate) val_fraction: Option<f64>,
    /// Initialise from these weights (repeat for checkpoints split into several files)
    #[arg(long, value_name = "FILE|RUN|NAME|URL", conflicts_with = "width")]
    pub(crate) weights: Vec<String>,
    /// Seed of weights, order and augmentation
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Run folder to write [default: a new one, named after the recipe, in --ckpt]
    #[arg(long, value_name = "RUN")]
    pub(crate) output_path: Option<PathBuf>,
    /// Where run folders go that have no --output-path
    #[arg(long, value_name = "DIR", default_value = "runs", conflicts_with = "output_path")]
    pub(crate) ckpt: PathBuf,
    /// Name of the run folder there; the recipe's by default
    #[arg(long, value_name = "NAME", conflicts_with = "output_path")]
    pub(crate) modelname: Option<String>,
    /// Replace a run that is already there
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Continue this run where it was saved last, with its own settings; with --num-epoch for longer, where its learning
    /// rate does not depend on the number of epochs
    #[arg(long, value_name = "RUN")]
    pub(crate) resume: Option<PathBuf>,
    /// Set any value of the recipe, as in training.schedule.power=0.5 (before all flags); once more for another
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// auto, cpu, gpu, flex, libtorch or libtorch-cuda:N [default: auto, the best there is; a resumed run's own]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<DeviceChoice>,
    #[command(flatten)]
    pub(crate) network: NetworkTraining,
    #[command(flatten)]
    pub(crate) forest: ForestTraining,
    /// What was given on the command line.
    #[arg(skip)]
    pub(crate) given: Given,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtool predict --run runs/seeps --input-list val_images.txt --output-path predictions
  segtool predict --run runs/ade20k --resize 473 --flip --prob --overlay --output-path predictions photos/
  segtool predict --run runs/quake --tile 256 --threshold 0.9 --output-path predictions scene.tif
  segtool predict --run runs/core --color --proportions --depth-top 120 --depth-bottom 124.5 --output-path out core.png
  segtool predict --weights encoder_epoch_20.pth --weights decoder_epoch_20.pth --scales csail --output-path out photos/

Writes <stem>.npy (2-d, the data set's own label values) for each image, predictions.txt, the list of them, and
predictions.json, which says what made each: segtool metrics tells predictions of two networks apart by it. The same command
may be run again; --overwrite replaces results of another network. Ctrl-C stops early; predictions.txt lists the finished images.
A network's probabilities are averaged over mirrored images, windows and scales, enlarged to the image, and then decided
on. A forest (recipe hypercolumn-core) classifies every pixel, in windows whose size changes nothing beyond rounding.

--scales takes factors of the image's size, as in 0.5,1,1.5, or the test procedure of another project:
  csail    five short sides (or csail:300,450), the long one at most 1000, to multiples of 8
  semseg   hszhao/semseg: long sides of 0.5 to 1.75 times 512 (or semseg:1), mirrored windows of 473
  mmseg    mmsegmentation on ADE20K: within 2048x512; with --tile and --stride its slide mode; mmseg:0.5,1,1.5 with
           --flip its test-time augmentation")]
pub(crate) struct Predict {
    /// Run folder that `segtool train` wrote
    #[arg(long, value_name = "RUN", required_unless_present_any = ["weights", "recipe"])]
    pub(crate) run: Option<PathBuf>,
    /// Take dilation, alignment of corners, activation and the like of the weights from this recipe
    #[arg(long, short = 'm', alias = "model", value_name = "NAME|FILE")]
    pub(crate) recipe: Option<String>,
    /// Weights instead of a run; once more for a second file that completes the first. A run folder is that run
    #[arg(long, short = 'w', value_name = "FILE|RUN|NAME|URL", conflicts_with = "run")]
    pub(crate) weights: Vec<String>,
    /// What the classes of the weights are [default: what the file says; else ade20k for 150 classes, else label values
    /// 0 to K-1]
    #[arg(long, value_name = "NAME|FILE", requires = "weights")]
    pub(crate) dataset: Option<String>,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// Images, folders of images, or folders as --mask-folders takes them
    #[arg(value_name = "IMAGE", required_unless_present = "input_list")]
    pub(crate) images: Vec<PathBuf>,
    /// List of images
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    pub(crate) input_list: Option<PathBuf>,
    /// Folder to write to
    #[arg(long, short = 'o', value_name = "DIR", default_value = "results")]
    pub(crate) output_path: PathBuf,
    /// Replace results that another network, other options or other images gave, and files of unknown origin
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Go over larger images in sliding windows of this side
    #[arg(long, value_name = "N", value_parser = side)]
    pub(crate) tile: Option<usize>,
    /// Most main memory to use, such as 8GiB or 500MiB [default: on Linux what is free, elsewhere any amount]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) memory: Option<u64>,
    /// auto, cpu, gpu, flex, libtorch or libtorch-cuda:N [default: auto, the best there is]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<DeviceChoice>,
    #[command(flatten)]
    pub(crate) network: NetworkPrediction,
    #[command(flatten)]
    pub(crate) forest: ForestPrediction,
    #[command(flatten)]
    pub(crate) written: Written,
    #[command(flatten)]
    pub(crate) core: Core,
    /// What was given on the command line.
    #[arg(skip)]
    pub(crate) given: Given,
}

/// How a network predicts: options without effect on a random forest.
#[derive(Debug, Args)]
#[command(next_help_heading = "Inference with a network")]
pub(crate) struct NetworkPrediction {
    /// Sizes at which each image is predicted: factors, or csail, semseg or mmseg (see below)
    #[arg(long, value_name = "LIST|PRESET", conflicts_with = "resize")]
    pub(crate) scales: Option<Scales>,
    /// Horizontal-flip test-time augmentation; part of the preset semseg
    #[arg(long, short = 'f')]
    pub(crate) flip: bool,
    /// Resize every image to this size, a side or HxW, whatever its shape
    #[arg(long, value_name = "N|HxW", value_parser = size)]
    pub(crate) resize: Option<Size>,
    /// Interpolation of probabilities computed at another size to the image's: bilinear, bicubic or nearest [default: bilinear]
    #[arg(long, value_name = "HOW")]
    pub(crate) upsample: Option<Interpolation>,
    /// Step between windows [default: two thirds of their side]
    #[arg(long, value_name = "N", value_parser = side)]
    pub(crate) stride: Option<usize>,
    /// Probability above which a class counts as present, from 0 to below 1 (sigmoid networks) [default: the run's or the weights' own]
    #[arg(long, value_name = "P", value_parser = threshold)]
    pub(crate) threshold: Option<f64>,
    /// Most images, mirrored images or windows of one size to compute together
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = positive)]
    pub(crate) batch_size: usize,
    /// float32, tf32 (NVIDIA GPUs) or bf16 (libtorch)
    #[arg(long, value_name = "PRECISION", default_value_t = Precision::Float32)]
    pub(crate) precision: Precision,
    /// Threads that read and prepare images
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = threads)]
    pub(crate) workers: usize,
}

/// How a random forest predicts: options without effect on a network.
#[derive(Debug, Args)]
#[command(next_help_heading = "Inference with a random forest")]
pub(crate) struct ForestPrediction {
    /// Keep features of images in this folder, and take them from there
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_features: Option<PathBuf>,
}

/// What is written besides label values.
#[derive(Debug, Args)]
#[command(next_help_heading = "Files")]
pub(crate) struct Written {
    /// Also write <stem>_prob.npy, float32 [height, width], the probability of the predicted class
    #[arg(long)]
    pub(crate) prob: bool,
    /// Also write <stem>_probs.npy, float32 [classes, height, width]
    #[arg(long)]
    pub(crate) prob_all: bool,
    /// Also write <stem>.png, the label values in grey
    #[arg(long)]
    pub(crate) png: bool,
    /// Also write <stem>_color.png, the classes in their colours
    #[arg(long)]
    pub(crate) color: bool,
    /// Also write <stem>_overlay.png, the colours over the image, this opaque
    #[arg(long, value_name = "OPACITY", num_args = 0..=1, require_equals = true, default_missing_value = "0.5")]
    #[arg(value_parser = without_network::opacity)]
    pub(crate) overlay: Option<f32>,
    /// Type of the label values in .npy files: smallest or int64
    #[arg(long, value_name = "TYPE", default_value = "smallest")]
    pub(crate) npy_dtype: NpyType,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtool import encoder_epoch_20.pth decoder_epoch_20.pth --output pspnet.safetensors
  segtool import resnet50-imagenet --output resnet50.safetensors
  segtool import last.ckpt --ema --output unet.safetensors

Recognised by their names: CSAIL's semantic-segmentation-pytorch (encoder and decoder), torchvision's ResNet and VGG-16,
hszhao/semseg, mmsegmentation's PSPNet, segmentation_models_pytorch's Unet and PSPNet, milesial/Pytorch-UNet, the U-Nets of
Oil_Seep_Detection, segtool's own. In .pth (nothing in it is executed) or .safetensors. What names and shapes do not show
(dilation, enlargement, activation, normalisation) is taken from a config.json of save_pretrained or mmsegmentation's
configuration in the file, else as that project has it by default.")]
pub(crate) struct Import {
    /// Weight files that belong together, or a name or URL
    #[arg(value_name = "FILE|NAME|URL", required = true)]
    pub(crate) files: Vec<String>,
    /// File to write
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) output: PathBuf,
    /// Take dilation, alignment of corners, activation and the like from this recipe
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) recipe: Option<String>,
    /// Take the normalisation from this data set, and what the classes are where it has as many
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) dataset: Option<String>,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
}

/// Which weights of a file are meant, where it holds several.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// Where a file holds several networks: what the names of the wanted tensors begin with, such as student.backbone
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Take the averaged weights (EMA, SWA) that a file holds beside the last ones
    #[arg(long, conflicts_with = "prefix")]
    ema: bool,
}

impl Chosen {
    pub(crate) fn choice(&self) -> Choice {
        Choice { prefix: self.prefix.clone(), averaged: self.ema }
    }
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
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// File to write, .pth or .safetensors; for csail a folder
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) output: PathBuf,
}

/// Reads the command line; one that is wrong ends the program.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Cli {
    let mut command = Cli::command();
    let mut arguments = scripts::modernise(arguments, &command);
    scripts::drop_flags(&mut arguments).iter().for_each(|note| crate::ui::say(&format!("note: {note}")));
    if let Some(tip) = scripts::tip(&arguments, &command) {
        end(&command.error(ErrorKind::InvalidSubcommand, tip));
    }
    let matches = command.clone().try_get_matches_from(arguments).unwrap_or_else(|error| end(&error));
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| end(&error));
    if let Some((name, matches)) = matches.subcommand() {
        command.find_subcommand(name).into_iter().for_each(|running| flags::keep(running, &command));
        if let Err(reason) = settle(&mut cli.command, matches) {
            end(&command.error(ErrorKind::ArgumentConflict, reason));
        }
    }
    cli
}

/// Prints help, version or what is wrong, and ends the program.
fn end(error: &clap::Error) -> ! {
    let printed = error.print();
    if !error.use_stderr() {
        ui::keep_failure(printed);
        if let Some(cause) = ui::unprinted() {
            ui::say(&format!("error: cannot write to standard output: {cause}"));
            std::process::exit(Exit::Failed as i32);
        }
    }
    std::process::exit(error.exit_code())
}

/// Keeps what was given, and says what does not go together for reasons that clap does not know.
fn settle(command: &mut Command, matches: &ArgMatches) -> Result<(), String> {
    let typed = |id: &&Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    let given = Given(matches.ids().filter(typed).cloned().collect());
    match command {
        Command::Train(train) => {
            train.given = given;
            scripts::recipe_of_model(&mut train.recipe);
            training::check_resume(train)
        }
        Command::Predict(predict) => {
            predict.given = given;
            scripts::recipe_of_model(&mut predict.recipe);
            take_model_for_run(predict)
        }
        _ => Ok(()),
    }
}

/// A recipe without weights must be a run folder: the scripts' `--model` names either.
fn take_model_for_run(predict: &mut Predict) -> Result<(), String> {
    let Some(name) = predict.recipe.as_ref().filter(|_| predict.weights.is_empty()) else { return Ok(()) };
    if predict.run.is_some() || !scripts::is_run(name) {
        return Err(format!(
            "--recipe {name} goes with --weights: it says how their network is built; a run folder, --run RUN, needs none"
        ));
    }
    predict.run = predict.recipe.take().map(PathBuf::from);
    predict.given.rename("recipe", "run");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }
}
