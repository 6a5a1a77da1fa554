//! The command line: definitions only.

mod bench;
mod check;
mod convert;
mod data;
mod dataset;
mod forest;
mod given;
mod headings;
mod info;
mod predict;
mod scripts;
#[cfg(feature = "serve")]
mod serve;
mod suggest;
mod training;
mod values;
mod without_network;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Id, Parser, Subcommand};
use segtool::image::OrientationPolicy;
use segtool::nn::device::DeviceChoice;
use segtool::weights::{Choice, Target};

use crate::program::exit::Exit;
use crate::program::{flags, ui};

pub(crate) use bench::Bench;
pub(crate) use check::Check;
pub(crate) use convert::Convert;
pub(crate) use data::{LabelTable, LabelledImages, WholeImages};
pub(crate) use dataset::InspectDataset;
pub(crate) use forest::{Core, ForestTraining};
pub(crate) use given::Given;
use headings::{DATA, GENERAL, HARDWARE, MODEL, OUTPUT, TRAINING};
pub(crate) use info::Info;
pub(crate) use predict::{ForestPrediction, NetworkPrediction, Polygons, Predict};
#[cfg(feature = "serve")]
pub(crate) use serve::Serve;
pub(crate) use training::{Devices, NetworkTraining, Optimizer, Procedure, Synchronised, Together};
pub(crate) use values::{Tile, most_threads};
use values::{positive, threads, threshold};
pub(crate) use without_network::{Column, Concat, Metrics, Rgb2Gray};

/// Semantic segmentation for geoscience and everyday images: train, predict, score.
#[derive(Debug, Parser)]
#[command(
    name = "segtool",
    version,
    about,
    after_help = "\
Start with `segtool demo`; `segtool COMMAND --help` has examples.

Exit codes:
  0    done
  1    failed
  2    wrong usage: options that are unknown, contradict each other or would
       have no effect
  3    done, but some inputs were skipped
  129, 130, 143
       stopped by SIGHUP, SIGINT (Ctrl-C) or SIGTERM"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Orientation tag of images and label images (EXIF, TIFF): apply or ignore
    /// [default: apply; for a run, as in training]
    #[arg(long, global = true, value_name = "WHAT", help_heading = GENERAL, hide_short_help = true)]
    pub(crate) orientation: Option<OrientationPolicy>,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

/// How much is printed on standard error.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Verbosity {
    /// Print results, warnings and errors only: no progress, no notes
    #[arg(long, short = 'q', global = true, help_heading = GENERAL, hide_short_help = true)]
    #[arg(conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Also print how long the command took and what it ran on
    #[arg(long, short = 'v', global = true, help_heading = GENERAL, hide_short_help = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole pipeline on synthetic seismic sections, in about a minute
    Demo(Demo),
    /// Inspect label images and write a data set file that describes them
    Dataset(InspectDataset),
    /// Check images and labels before training: faults, leaks between training and validation, statistics
    Check(Box<Check>),
    /// Train a model on labelled images, or resume a run
    Train(Box<Train>),
    /// Predict label maps of images with a trained run or with weights
    Predict(Box<Predict>),
    /// Serve models in the browser and to programs over HTTP, and label images with a forest that learns from strokes
    #[cfg(feature = "serve")]
    Serve(Box<Serve>),
    /// Score predictions against label images: accuracy, IoU, Dice, boundaries
    Metrics(Box<Metrics>),
    /// Convert colour images to greyscale: luminance, gleam and nine other methods
    #[command(name = "rgb2gray")]
    Rgb2Gray(Rgb2Gray),
    /// Draw images, labels and predictions side by side
    Concat(Concat),
    /// Convert labels: annotations to label maps, label maps and predictions to annotations
    Convert(Convert),
    /// Write the HTML report of a run, also of one that is still training or was stopped
    Report(Report),
    /// Convert weights from other projects to safetensors
    Import(Import),
    /// Convert weights to the format of another project
    Export(Export),
    /// List recipes, data sets and weights, or summarise a recipe (layers, parameters, memory)
    Info(Info),
    /// Time a recipe's inference or training step on random images
    Bench(Bench),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  segtool demo --output-path segtool-demo")]
pub(crate) struct Demo {
    /// Folder for the data, the run, predictions and figures; an earlier demo there is replaced
    #[arg(long, default_value = "segtool-demo", value_name = "DIR")]
    pub(crate) output_path: PathBuf,
    /// Random seed of data, weights and sampling
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,
    /// Number of epochs [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) num_epoch: Option<usize>,
    /// auto, cpu, gpu, flex, libtorch, libtorch-cuda:N, vulkan:N or metal:N [default: auto, the fastest available]
    #[arg(long, value_name = "DEVICE", help_heading = HARDWARE)]
    pub(crate) device: Option<DeviceChoice>,
    /// Threads that read and prepare images
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = threads, help_heading = HARDWARE)]
    pub(crate) workers: usize,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "\
segtool train [--recipe NAME] --images DIR --labels DIR [OPTIONS]
       segtool train [--recipe NAME] --train-list FILE [--label-list FILE] [OPTIONS]
       segtool train [--recipe NAME] --mask-folders DIR [OPTIONS]
       segtool train [--recipe NAME] --label-csv FILE.csv [OPTIONS]
       segtool train --resume RUN",
    after_help = "`segtool train --help` lists all options, with examples.",
    after_long_help = "\
Examples:
  segtool train --recipe unet-milesial --dataset my.toml --images photos \\
      --labels masks --val-fraction 0.1 --output-path runs/my
  segtool train --recipe unet-seeps-binary --train-list train_images.txt \\
      --label-list train_masks.txt --val-list val_images.txt \\
      --val-label-list val_masks.txt --output-path runs/seeps
  segtool train --recipe pspnet50-ade20k --dataset camvid --new-head \\
      --weights train_epoch_100.pth --images train --labels trainannot
  segtool train --recipe unet-earthquake --mask-folders stage1_train \\
      --val-fraction 0.1
  segtool train --recipe unet-seeps --images tiles --labels masks \\
      --val-fraction 0.1 --group-by '^(scene[0-9]+)_' --exclude qc.csv
  segtool train --recipe hypercolumn-core --images core.png \\
      --labels strokes.png --weights vgg16-imagenet
  segtool train --recipe hypercolumn-core --label-csv points.csv
  segtool train --resume runs/seeps
  segtool train -train train_images.txt -lab train_masks.txt \\
      --weights runs/seeps --num_epoch 5 --optimizer SGD

The last example is a command line of the training script of the Capstone, an
earlier PSPNet project; such lines work unchanged. `segtool dataset` writes the
data set file of your own labels, `segtool info --recipes` lists the recipes.

Lists hold one path per line, relative to the list or to the working directory;
CSAIL's .odgt lists are read, too.

Annotation files can be given instead of label images; the format is recognised
by content: labelme, COCO, CVAT for images 1.1, Label Studio, VIA, YOLO
segmentation (.txt below a data.yaml), GeoJSON and shapefiles over GeoTIFFs.
Without --dataset, the classes are those named in the annotations. Shapes are
drawn in the order of the file, later ones on top; pixels outside all shapes are
background.

--images alone takes a data set in the folders of Pascal VOC, Cityscapes,
ADE20K, mmsegmentation (img_dir, ann_dir) or nnU-Net, with its validation part.

Without validation images, the weights of the last epoch are kept.

Ctrl-C (SIGINT), SIGTERM and --max-time finish the current step and save;
--resume continues exactly from there. The exit code is 130 after SIGINT, 143
after SIGTERM and 0 after --max-time. A second signal, at least one second
later, quits immediately.

The recipe hypercolumn-core trains a random forest on a few labelled pixels:
label images that leave most pixels unlabelled, strokes in the classes' colours
on a transparent PNG, or a table of points or rectangles with the columns
file,x,y,class or file,x0,y0,x1,y1,class. Pixels count from 0 at the top left,
and both corners belong to the rectangle."
)]
pub(crate) struct Train {
    /// Recipe: the model and how it is trained; a built-in name, a .toml file or a run folder [default: the recipe of the
    /// run in --weights; unet-earthquake with --mask-folders, hypercolumn-core with --label-csv, otherwise
    /// pspnet50-capstone]
    #[arg(long, short = 'm', alias = "model", value_name = "NAME|FILE|RUN", help_heading = DATA)]
    pub(crate) recipe: Option<String>,
    /// Data set: classes, label values and normalisation; a built-in name, a .toml file or a run folder [default: the
    /// recipe's]
    #[arg(long, value_name = "NAME|FILE|RUN", help_heading = DATA)]
    pub(crate) dataset: Option<String>,
    #[command(flatten)]
    pub(crate) data: LabelledImages,
    /// Initialise from these weights; repeat for checkpoints split into several files; a URL ends in #sha256=DIGITS
    /// [default: random weights]
    #[arg(long, value_name = "FILE|RUN|NAME|URL", conflicts_with = "width", help_heading = DATA)]
    pub(crate) weights: Vec<String>,
    /// Run folder to write [default: a new folder below --ckpt, named after the recipe]
    #[arg(long, value_name = "RUN", help_heading = OUTPUT)]
    pub(crate) output_path: Option<PathBuf>,
    /// Parent folder of runs without --output-path
    #[arg(long, value_name = "DIR", default_value = "runs", conflicts_with = "output_path", help_heading = OUTPUT)]
    #[arg(hide_short_help = true)]
    pub(crate) ckpt: PathBuf,
    /// Name of the run folder below --ckpt [default: the recipe's name, numbered]
    #[arg(long, value_name = "NAME", conflicts_with = "output_path", help_heading = OUTPUT, hide_short_help = true)]
    pub(crate) modelname: Option<String>,
    /// Replace the run in the output folder
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) overwrite: bool,
    /// Continue this run where it was last saved, with its own settings; with --num-epoch, train longer if the learning
    /// rate schedule allows it
    #[arg(long, value_name = "RUN", help_heading = OUTPUT)]
    pub(crate) resume: Option<PathBuf>,
    /// auto, cpu, gpu, flex, libtorch, libtorch-cuda:N, vulkan:N or metal:N [default: auto, the fastest available; when
    /// resuming, the run's]
    #[arg(long, value_name = "DEVICE", help_heading = HARDWARE)]
    pub(crate) device: Option<DeviceChoice>,
    #[command(flatten)]
    pub(crate) network: NetworkTraining,
    /// Override any field of the recipe, such as training.schedule.power=0.5 (repeatable; applied before other options)
    #[arg(long, value_name = "KEY=VALUE", help_heading = TRAINING)]
    pub(crate) set: Vec<String>,
    /// Random seed of weights, sampling and augmentation
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = TRAINING)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) forest: ForestTraining,
    /// What was given on the command line.
    #[arg(skip)]
    pub(crate) given: Given,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtool report runs/seeps
  segtool report runs/seeps --output seeps.html

The report is a single HTML file: settings, learning curves, and, for the best
weights so far, scores by class, the confusion matrix and predictions of
validation images. Training writes it at the end; this command writes it at any
time, also while another process is training the run; if that trains on a GPU,
--device cpu leaves it its memory.")]
pub(crate) struct Report {
    /// Run folder
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// File to write [default: report.html in the run folder]
    #[arg(long, value_name = "FILE.html", help_heading = OUTPUT)]
    pub(crate) output: Option<PathBuf>,
    /// auto, cpu, gpu, flex, libtorch, libtorch-cuda:N, vulkan:N or metal:N [default: auto, the fastest available]
    #[arg(long, value_name = "DEVICE", help_heading = HARDWARE)]
    pub(crate) device: Option<DeviceChoice>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtool import encoder_epoch_20.pth decoder_epoch_20.pth \\
      --output pspnet.safetensors
  segtool import resnet50-imagenet --output resnet50.safetensors
  segtool import last.ckpt --ema --output unet.safetensors

Reads .pth, .pt, .ckpt (without executing anything in them) and .safetensors
files of these projects, recognised by the names of their tensors: CSAIL's
semantic-segmentation-pytorch (encoder and decoder), torchvision's ResNet and
VGG-16, hszhao/semseg, mmsegmentation's PSPNet, segmentation_models_pytorch's
Unet and PSPNet, milesial/Pytorch-UNet, the U-Nets of Oil_Seep_Detection, and
segtool's own. Settings that names and shapes do not show (dilation, upsampling,
activation, normalisation) come from the config.json of save_pretrained or the
mmsegmentation configuration in the file; otherwise the project's defaults are
used.")]
pub(crate) struct Import {
    /// Weight files of one network, or a name (segtool info --weights) or a URL ending in #sha256=DIGITS
    #[arg(value_name = "FILE|NAME|URL", required = true)]
    pub(crate) files: Vec<String>,
    /// File to write; an existing file is replaced
    #[arg(long, value_name = "FILE.safetensors", help_heading = OUTPUT)]
    pub(crate) output: PathBuf,
    /// Recipe with the settings that weights do not show, such as dilation and activation
    #[arg(long, value_name = "NAME|FILE", help_heading = MODEL)]
    pub(crate) recipe: Option<String>,
    /// Data set whose normalisation to use, and whose classes if the network has as many outputs [default: the
    /// project's normalisation, unnamed classes]
    #[arg(long, value_name = "NAME|FILE", help_heading = MODEL)]
    pub(crate) dataset: Option<String>,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
}

/// Which weights of a file to use, where it holds several sets.
#[derive(Debug, Args)]
#[command(next_help_heading = MODEL)]
pub(crate) struct Chosen {
    /// For files with several networks: prefix of the wanted tensors, such as student.backbone
    #[arg(long, value_name = "PREFIX", hide_short_help = true)]
    prefix: Option<String>,
    /// Use the averaged weights (EMA or SWA) in the file instead of the last ones
    #[arg(long, conflicts_with = "prefix", hide_short_help = true)]
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

Fails where the other project would build a different network from the weights,
for example one with another dilation.")]
pub(crate) struct Export {
    /// A run, or weight files that belong together
    #[arg(value_name = "RUN|FILE", required = true)]
    pub(crate) files: Vec<String>,
    /// Target project: csail (a folder with two files), torchvision (the encoder alone), mmseg, smp, semseg, milesial or
    /// seeps
    #[arg(long, value_name = "PROJECT", help_heading = OUTPUT)]
    pub(crate) to: Target,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// File to write, .pth or .safetensors; for csail a folder
    #[arg(long, value_name = "FILE|DIR", help_heading = OUTPUT)]
    pub(crate) output: PathBuf,
}

/// Reads the command line; one that is wrong ends the program.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Cli {
    let mut command = Cli::command();
    let mut arguments = scripts::modernise(arguments, &command);
    let notes = scripts::drop_flags(&mut arguments);
    if let Some(tip) = scripts::tip(&arguments, &command) {
        end(&command.error(ErrorKind::InvalidSubcommand, tip));
    }
    let running = arguments.get(1).and_then(|name| command.find_subcommand(name)).cloned();
    let matches = command.clone().try_get_matches_from(arguments).unwrap_or_else(|mut error| {
        running.iter().for_each(|running| suggest::complete(&mut error, running));
        end(&error)
    });
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| end(&error));
    if cli.verbosity.quiet {
        ui::be_quiet();
    }
    notes.iter().for_each(|note| ui::say(&format!("note: {note}")));
    if let Some((name, matches)) = matches.subcommand() {
        command.find_subcommand(name).into_iter().for_each(|running| flags::keep(running, &command));
        if let Err(reason) = settle(&mut cli.command, matches) {
            let running = command.find_subcommand_mut(name).expect("clap found it");
            end(&running.error(ErrorKind::ArgumentConflict, reason));
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
            ui::warn(&format!("error: cannot write to standard output: {cause}"));
            std::process::exit(Exit::Failed as i32);
        }
    }
    std::process::exit(error.exit_code())
}

/// Keeps what was given, and refuses combinations for reasons that clap does not know.
fn settle(command: &mut Command, matches: &ArgMatches) -> Result<(), String> {
    let typed = |id: &&Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    let given = Given(matches.ids().filter(typed).cloned().collect());
    match command {
        Command::Train(train) => {
            train.given = given;
            scripts::recipe_of_model(&mut train.recipe);
            training::check_data(train)?;
            training::check_resume(train)
        }
        Command::Check(check) => {
            check.given = given;
            check.check_data()
        }
        Command::Predict(predict) => {
            predict.given = given;
            scripts::recipe_of_model(&mut predict.recipe);
            predict::take_model_for_run(predict)?;
            predict::check_inputs(predict)
        }
        #[cfg(feature = "serve")]
        Command::Serve(serve) => {
            serve.given = given;
            serve::check(serve)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }
}
