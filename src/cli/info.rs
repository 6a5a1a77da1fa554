//! `segtool info` and `segtool bench`.

use std::path::PathBuf;

use clap::Args;
use segtool::base::Size;
use segtool::bench::Mode;
use segtool::nn::device::DeviceChoice;
use segtool::nn::model::Tap;
use segtool::nn::precision::Precision;

use super::values::{positive, side, size};

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)))]
#[command(after_help = "\
Examples:
  segtool info --recipes
  segtool info --print unet-seeps > my-recipe.toml
  segtool info --recipe pspnet50-ade20k --size 473 --batch 2
  segtool info --recipe unet-seeps --classes 8 --size 360x480 --json
  segtool info --features core.png --tap pool1 --channel 28 --encoder-weights vgg16-imagenet

Of a recipe, its layers under PyTorch's names: output for one image, trained parameters (running statistics do not
count), multiply-adds for one image (of convolutions, transposed ones too; other layers count as 0). Layers of training
alone are in the sum of the parameters, not in that of the multiply-adds. Then an estimate of the memory of inference and of
training: weights, activations, gradients, the program; in float32, with the cross-entropy and SGD with momentum, as bench
measures them. Nothing is computed, so that any size can be asked for. Of a recipe of hypercolumns, its taps and the memory
that features of one window take.

--features draws what one channel of an encoder's layer shows of an image, dark for low values, light for high ones.")]
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
    /// Print the file of a built-in recipe or data set, to copy and edit
    #[arg(long, value_name = "NAME", group = "what", conflicts_with_all = ["weights", "recipes", "datasets", "recipe", "features"])]
    pub(crate) print: Option<String>,
    /// Layers, parameters, multiply-adds and memory of a built-in recipe or a .toml file
    #[arg(long, value_name = "NAME|FILE", group = "what")]
    pub(crate) recipe: Option<String>,
    /// Draw what a layer of a recipe's encoder [default: hypercolumn-core] or of a run's shows of this image
    #[arg(long, value_name = "IMAGE", group = "what", requires_all = ["tap", "channel"], conflicts_with = "json")]
    pub(crate) features: Option<PathBuf>,
    /// Which layer, such as colors, conv1_1, relu3_2 or pool2, or stem and layer1 of a ResNet
    #[arg(long, value_name = "TAP", requires = "features")]
    pub(crate) tap: Option<Tap>,
    /// Which of its channels, from 0
    #[arg(long, value_name = "N", requires = "features")]
    pub(crate) channel: Option<usize>,
    /// The encoder of this run of a forest
    #[arg(long, value_name = "RUN", requires = "features", conflicts_with_all = ["recipe", "encoder_weights"])]
    pub(crate) run: Option<PathBuf>,
    /// Weights of the encoder; random ones by default
    #[arg(long, value_name = "FILE|RUN|NAME|URL", requires = "features")]
    pub(crate) encoder_weights: Vec<String>,
    /// Image to write [default: <stem>_<tap>_<channel>.png in the working directory]
    #[arg(long, value_name = "FILE.png", requires = "features")]
    pub(crate) output: Option<PathBuf>,
    /// Sides of the images, or height and width
    #[arg(long, value_name = "N|HxW", default_value = "473", value_parser = size)]
    #[arg(requires = "recipe", conflicts_with = "features")]
    pub(crate) size: Size,
    /// Images at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    #[arg(requires = "recipe", conflicts_with = "features")]
    pub(crate) batch: usize,
    /// Output classes; those of the recipe's data set by default
    #[arg(long, value_name = "K", value_parser = positive, requires = "recipe", conflicts_with = "features")]
    pub(crate) classes: Option<usize>,
    /// Channels of the network's first block
    #[arg(long, value_name = "N", value_parser = positive, requires = "recipe", conflicts_with = "features")]
    pub(crate) width: Option<usize>,
    /// Whose memory, or where to compute features: auto, cpu, gpu, flex, libtorch or libtorch-cuda:N [default: auto]
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["weights", "recipes", "datasets", "print"])]
    pub(crate) device: Option<DeviceChoice>,
    /// Print one JSON object instead
    #[arg(long, requires = "recipe", conflicts_with_all = ["weights", "recipes", "datasets"])]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtool bench --recipe unet-seeps --mode train --batch 4 --size 256
  segtool bench --recipe pspnet50-torchvision --mode infer --size 473 --device gpu --precision bf16 --steps 20 --profile

Prints one line: what, batch, size, the median time of a step after two that do not count, images a second, and the
most memory that was held (of the process on a CPU, of tensors on a GPU). A training step is the forward pass, the
cross-entropy against random labels (with a sigmoid, the recipe's own loss), the backward pass and SGD with momentum.

--check takes the recipe's own step, of each of its phases. Results that are not finite numbers fail, whatever the precision.")]
pub(crate) struct Bench {
    /// A built-in recipe or a .toml file
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) recipe: String,
    /// train or infer
    #[arg(long, value_name = "MODE", default_value = "infer")]
    pub(crate) mode: Mode,
    /// Images a step
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(crate) batch: usize,
    /// Width and height of the images
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = side)]
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
    /// Train with the recipe's own loss, optimiser and further settings instead of cross-entropy and SGD
    #[arg(long)]
    pub(crate) own_step: bool,
    /// Set a value of the recipe, as in training.ema=0.999; once more for another
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Compare output, loss and gradients of the recipe's own step with flex in float32 instead; more than 1e-3 apart in
    /// float32 is a failure
    #[arg(long, conflicts_with = "profile")]
    pub(crate) check: bool,
    /// Run the steps once more and print the time by kind of operation
    #[arg(long)]
    pub(crate) profile: bool,
    /// Print one JSON object instead
    #[arg(long)]
    pub(crate) json: bool,
}
