//! `segtool info`.

use std::path::PathBuf;

use clap::Args;
use segtool::base::Size;
use segtool::nn::device::DeviceChoice;
use segtool::nn::model::Tap;

use super::headings::HARDWARE;
use super::values::{positive, size};

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)))]
#[command(after_help = "\
Examples:
  segtool info --recipes
  segtool info --print unet-seeps > my-recipe.toml
  segtool info --recipe pspnet50-ade20k --size 473 --batch 2
  segtool info --recipe unet-seeps --classes 8 --size 360x480 --json
  segtool info --features core.png --tap pool1 --channel 28 \\
      --encoder-weights vgg16-imagenet

For a recipe, prints its layers under PyTorch's names: output shape for one
image, trainable parameters, and multiply-adds of convolutions for one image.
Layers used only in training count as parameters, but not as multiply-adds. Then
follows an estimate of the peak memory of inference and of training in float32,
for the step that `segtool bench` times: cross-entropy and SGD with momentum.
The network is not run, so any size works. For a hypercolumn recipe, prints its
taps (encoder layers) and the memory of one window's features.

--features draws one channel of an encoder layer as a greyscale image: dark for
low values, light for high ones.")]
pub(crate) struct Info {
    /// List the weights that can be downloaded by name
    #[arg(long, group = "what")]
    pub(crate) weights: bool,
    /// List the built-in recipes
    #[arg(long, group = "what")]
    pub(crate) recipes: bool,
    /// List the built-in data sets
    #[arg(long, group = "what")]
    pub(crate) datasets: bool,
    /// List the devices that can compute on this machine: names for --device, and which hardware each is
    #[arg(long, group = "what")]
    pub(crate) devices: bool,
    /// Print the file of a built-in recipe or data set, to copy and edit
    #[arg(long, value_name = "NAME", group = "what", conflicts_with_all = ["weights", "recipes", "datasets", "devices", "recipe", "features"])]
    pub(crate) print: Option<String>,
    /// Layers, parameters, multiply-adds and memory of a built-in recipe or a .toml file
    #[arg(long, value_name = "NAME|FILE", group = "what")]
    pub(crate) recipe: Option<String>,
    /// Draw one channel of an encoder layer for this image, with the encoder of --run or --recipe [default: that of
    /// hypercolumn-core]
    #[arg(long, value_name = "IMAGE", group = "what", requires_all = ["tap", "channel"], conflicts_with = "json")]
    pub(crate) features: Option<PathBuf>,
    /// Height and width of the images, in pixels
    #[arg(long, value_name = "N|HxW", default_value = "473", value_parser = size)]
    #[arg(requires = "recipe", conflicts_with = "features", help_heading = WITH_RECIPE)]
    pub(crate) size: Size,
    /// Images per batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    #[arg(requires = "recipe", conflicts_with = "features", help_heading = WITH_RECIPE)]
    pub(crate) batch: usize,
    /// Number of classes [default: that of the recipe's data set]
    #[arg(long, value_name = "K", value_parser = positive, requires = "recipe", conflicts_with = "features")]
    #[arg(help_heading = WITH_RECIPE)]
    pub(crate) classes: Option<usize>,
    /// Channels of the network's first block [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = positive, requires = "recipe", conflicts_with = "features")]
    #[arg(help_heading = WITH_RECIPE)]
    pub(crate) width: Option<usize>,
    /// Print one JSON object instead of text
    #[arg(long, requires = "recipe", conflicts_with_all = ["weights", "recipes", "datasets", "devices"], help_heading = WITH_RECIPE)]
    pub(crate) json: bool,
    /// Layer, such as colors, conv1_1, relu3_2 or pool2; of a ResNet, stem or layer1
    #[arg(long, value_name = "TAP", requires = "features", help_heading = WITH_FEATURES)]
    pub(crate) tap: Option<Tap>,
    /// Channel of the layer, from 0
    #[arg(long, value_name = "N", requires = "features", help_heading = WITH_FEATURES)]
    pub(crate) channel: Option<usize>,
    /// Use the encoder of this random-forest run
    #[arg(long, value_name = "RUN", requires = "features", conflicts_with_all = ["recipe", "encoder_weights"])]
    #[arg(help_heading = WITH_FEATURES)]
    pub(crate) run: Option<PathBuf>,
    /// Weights of the encoder [default: random]
    #[arg(long, value_name = "FILE|RUN|NAME|URL", requires = "features", help_heading = WITH_FEATURES)]
    pub(crate) encoder_weights: Vec<String>,
    /// Image to write [default: <stem>_<tap>_<channel>.png in the working directory]
    #[arg(long, value_name = "FILE.png", requires = "features", help_heading = WITH_FEATURES)]
    pub(crate) output: Option<PathBuf>,
    /// Device that computes features, or whose memory is estimated: auto, cpu, gpu, flex, libtorch, libtorch-cuda:N,
    /// vulkan:N or metal:N [default: auto]
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["weights", "recipes", "datasets", "devices", "print"])]
    #[arg(help_heading = HARDWARE)]
    pub(crate) device: Option<DeviceChoice>,
}

/// Headings of options that belong to one of those at the top.
const WITH_RECIPE: &str = "With --recipe";
const WITH_FEATURES: &str = "With --features";
