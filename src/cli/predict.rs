//! `segtool predict`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use segtool::base::Size;
use segtool::image::ProbabilityType;
use segtool::nn::device::DeviceChoice;
use segtool::nn::ops::Interpolation;
use segtool::nn::precision::Precision;
use segtool::predict::{Blend, Formats, GeojsonCrs, NpyType, Scales, Shard};

use super::headings::{HARDWARE, IMAGES, INFERENCE, MODEL, OUTPUT};
use super::training::{Devices, devices};
use super::values::{Tile, bytes, positive, rate, shard, side, size, span, threads, threshold, tile};
use super::{Chosen, Core, Given, scripts, without_network};

#[derive(Debug, Args)]
#[command(
    override_usage = "\
segtool predict --run RUN [OPTIONS] IMAGE|FOLDER...
       segtool predict --run RUN [OPTIONS] --input-list FILE
       segtool predict --run RUN [OPTIONS] --output-path DIR --watch DIR
       segtool predict --weights FILE [--recipe NAME] [OPTIONS] IMAGE|FOLDER...",
    after_help = "`segtool predict --help` lists all options, with examples.",
    after_long_help = "\
Examples:
  segtool predict --run runs/seeps --input-list val_images.txt
  segtool predict --run runs/ade20k --resize 473 --flip --prob --overlay \\
      --output-path predictions photos/
  segtool predict --run runs/quake --tile 512 --overlap 64 --threshold 0.9 \\
      --memory 4GiB scene.tif
  segtool predict --run runs/quake --format tiff,geojson --min-area 500 \\
      --simplify 1 scene.tif
  segtool predict --run runs/core --color --proportions --depth-top 120 \\
      --depth-bottom 124.5 core.png
  segtool predict --weights encoder_epoch_20.pth \\
      --weights decoder_epoch_20.pth --scales csail photos/
  segtool predict --run runs/seeps --output-path maps --skip-existing \\
      --recursive --shard 3/8 scenes/
  segtool predict --run runs/seeps --output-path maps --watch incoming/
  segtool predict --run runs/seeps --output-path s3://bucket/maps \\
      --recursive s3://bucket/scenes/

Each image gets a <stem>.npy: a two-dimensional array of the data set's label
values. A GeoTIFF also gets a <stem>.tif, the label map with the coordinates of
the image; --format chooses other formats, polygons (GeoJSON) among them. The
folder also gets predictions.txt, the list of the label maps, predictions.json,
a record of the weights and options that made each of them, and
predictions.jsonl, to which each image adds a line when it is done or skipped.
Polygons alone are not listed, as they cannot be scored. The same command can be
run again and starts over, or with --skip-existing goes on where it was stopped
or killed; --overwrite is needed to replace results of other weights or options.
After Ctrl-C, predictions.txt lists the images that are finished. Ctrl-C is also
the normal way to end --watch: exit code 0, or 3 if images were skipped.

Images and the output folder may be URLs: s3://, gs://, az:// and, for images,
http(s)://, in a build with the feature cloud. Of a TIFF that is read some rows
at a time, only the parts that hold these rows are fetched. Credentials are
taken from environment variables, such as AWS_ACCESS_KEY_ID,
GOOGLE_APPLICATION_CREDENTIALS or AZURE_STORAGE_ACCOUNT_KEY.

With --tile, a TIFF larger than a window is read, predicted and written some
rows at a time, whatever its size, unless a PNG file, --scales or --resize is
asked for. --tile N alone averages windows that lie two thirds of N apart;
--overlap mirrors the image at its border and blends the windows. --blend
gaussian (as in nnU-Net) and linear give most weight to the middle of each
window; crop keeps only the middle (as in the U-Net paper).

A network's probabilities are averaged over flips, windows and scales and
upsampled to the size of the image. Each pixel gets its most probable class;
sigmoid networks give it the background where no class exceeds --threshold. A
random forest classifies each pixel by itself; its windows do not affect the
result, apart from rounding.

--scales takes factors of the image size, as in 0.5,1,1.5, or the test procedure
of another project:
  csail    short sides of 300, 375, 450, 525 and 600 pixels (or csail:300,450),
           the long side at most 1000, to multiples of 8 (UPerNet: 32)
  semseg   hszhao/semseg: long sides of 0.5 to 1.75 times 512 (or semseg:1),
           flipped, in windows of 473
  mmseg    mmsegmentation on ADE20K: within 2048x512; with --tile and --stride
           its slide mode; mmseg:0.5,1,1.5 with --flip its test-time
           augmentation"
)]
pub(crate) struct Predict {
    /// Run folder written by `segtool train`
    #[arg(long, value_name = "RUN", help_heading = MODEL)]
    pub(crate) run: Option<PathBuf>,
    /// Weights instead of a run (repeat for checkpoints split into several files); a run folder counts as --run
    #[arg(long, short = 'w', value_name = "FILE|RUN|NAME|URL", conflicts_with = "run", help_heading = MODEL)]
    pub(crate) weights: Vec<String>,
    /// With --weights: recipe with the settings that weights do not show, such as dilation and activation
    #[arg(long, short = 'm', alias = "model", value_name = "NAME|FILE", help_heading = MODEL)]
    pub(crate) recipe: Option<String>,
    /// With --weights: data set with the classes [default: the one named in the file, otherwise ade20k for 150 classes,
    /// otherwise label values 0 to K-1]
    #[arg(long, value_name = "NAME|FILE", requires = "weights", help_heading = MODEL)]
    pub(crate) dataset: Option<String>,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// Images, folders of images, folders as --mask-folders of `segtool train` takes them, patterns in quotes, such as
    /// 'scenes/**/*.tif', or URLs (see below)
    #[arg(value_name = "IMAGE", help_heading = IMAGES)]
    pub(crate) images: Vec<PathBuf>,
    /// Search folders with all their subfolders; results are written to the same subfolders of the output folder
    #[arg(long, conflicts_with = "input_list", help_heading = IMAGES)]
    pub(crate) recursive: bool,
    /// List of images, one per line
    #[arg(long, value_name = "FILE", conflicts_with = "images", help_heading = IMAGES)]
    pub(crate) input_list: Option<PathBuf>,
    /// Predict only part I of N of the images, with I from 1 to N, as in 3/8; in a job array of Slurm, AWS Batch or
    /// Kubernetes: auto, or auto/N where the scheduler does not set the number of tasks
    #[arg(long, value_name = "I/N|auto", value_parser = shard, requires = "output_path", help_heading = IMAGES)]
    pub(crate) shard: Option<Shard>,
    /// Predict the images of this folder, and those that arrive there later, until stopped
    #[arg(long, value_name = "DIR", requires = "output_path", help_heading = IMAGES)]
    #[arg(conflicts_with_all = ["images", "input_list", "shard"])]
    pub(crate) watch: Option<PathBuf>,
    /// Skip an image that cannot be opened within this time, for example on a network disk that does not respond
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = span, help_heading = IMAGES)]
    #[arg(hide_short_help = true)]
    pub(crate) read_timeout: Duration,
    /// Folder to write to, or its URL [default: predictions, or predictions-2, -3, ... where that holds results of
    /// other weights, options or images]
    #[arg(long, short = 'o', value_name = "DIR", help_heading = OUTPUT)]
    pub(crate) output_path: Option<PathBuf>,
    /// Replace results of other weights, options or images, and files of unknown origin
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) overwrite: bool,
    /// Keep complete results of the same weights and options, and predict only the other images: those without a result
    /// and those that have changed since
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) skip_existing: bool,
    #[command(flatten)]
    pub(crate) written: Written,
    /// Predict images larger than this in sliding windows with this side length, in pixels; on a CPU, auto
    /// chooses the largest that fits in memory [default: no windows, except for random forests and --scales semseg]
    #[arg(long, value_name = "N|auto", value_parser = tile, help_heading = INFERENCE)]
    pub(crate) tile: Option<Tile>,
    /// Bands of the images to use, by number from 1, in the model's order, such as 4,3,2 [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = positive, help_heading = IMAGES)]
    pub(crate) bands: Vec<usize>,
    #[command(flatten)]
    pub(crate) network: NetworkPrediction,
    #[command(flatten)]
    pub(crate) forest: ForestPrediction,
    #[command(flatten)]
    pub(crate) core: Core,
    /// Limit on main memory, such as 8GiB or 500MiB [default: the free memory on Linux, otherwise none]
    #[arg(long, value_name = "SIZE", value_parser = bytes, help_heading = HARDWARE)]
    pub(crate) memory: Option<u64>,
    /// auto, cpu, gpu, flex, libtorch, libtorch-cuda:N, vulkan:N or metal:N [default: auto, the fastest available]
    #[arg(long, value_name = "DEVICE", help_heading = HARDWARE)]
    pub(crate) device: Option<DeviceChoice>,
    /// GPUs to predict on, such as 0,1,2,3, or all: one process for each, with its share of the images
    #[arg(long, visible_alias = "gpus", value_name = "LIST", value_parser = devices, requires = "output_path")]
    #[arg(conflicts_with_all = ["device", "shard", "watch"], help_heading = HARDWARE)]
    pub(crate) devices: Option<Devices>,
    /// What was given on the command line.
    #[arg(skip)]
    pub(crate) given: Given,
}

/// How a network predicts: options without effect on a random forest.
#[derive(Debug, Args)]
pub(crate) struct NetworkPrediction {
    /// Step between sliding windows, in pixels [default: two thirds of --tile]
    #[arg(long, value_name = "N", value_parser = side, help_heading = INFERENCE)]
    pub(crate) stride: Option<usize>,
    /// Overlap of sliding windows, in pixels, over an image mirrored at its border; at most half of --tile
    #[arg(long, value_name = "N", conflicts_with = "stride", help_heading = INFERENCE)]
    pub(crate) overlap: Option<usize>,
    /// Blending of windows that overlap: gaussian, linear or average (weighted means), or crop (only the middle of each
    /// window counts) [default: gaussian with --overlap, otherwise average]
    #[arg(long, value_name = "METHOD", help_heading = INFERENCE)]
    pub(crate) blend: Option<Blend>,
    /// Resize every image to this size in pixels for inference, ignoring its aspect ratio; label maps still have the
    /// size of the image [default: its own size]
    #[arg(long, value_name = "N|HxW", value_parser = size, help_heading = INFERENCE)]
    pub(crate) resize: Option<Size>,
    /// Multi-scale inference: factors of the image size, or csail, semseg or mmseg (see below) [default: 1]
    #[arg(long, value_name = "LIST|PRESET", conflicts_with = "resize", help_heading = INFERENCE)]
    pub(crate) scales: Option<Scales>,
    /// Average over the horizontally flipped image (test-time augmentation)
    #[arg(long, short = 'f', help_heading = INFERENCE)]
    pub(crate) flip: bool,
    /// Interpolation for upsampling probabilities to the image size: bilinear, bicubic or nearest [default: bilinear]
    #[arg(long, value_name = "METHOD", help_heading = INFERENCE, hide_short_help = true)]
    pub(crate) upsample: Option<Interpolation>,
    /// Sigmoid networks: minimum probability of a class, from 0 to below 1 [default: the run's, otherwise 0.5]
    #[arg(long, value_name = "P", value_parser = threshold, help_heading = INFERENCE)]
    pub(crate) threshold: Option<f64>,
    /// Batch size: images, flips or windows computed at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = positive, help_heading = HARDWARE)]
    pub(crate) batch_size: usize,
    /// float32, tf32 (NVIDIA GPUs), bf16 (libtorch) or auto: bf16 on NVIDIA GPUs from Ampere on, else
    /// float32
    #[arg(long, value_name = "PRECISION", default_value_t = Precision::Float32, help_heading = HARDWARE)]
    pub(crate) precision: Precision,
    /// Threads that read and prepare images
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = threads, help_heading = HARDWARE)]
    pub(crate) workers: usize,
}

/// How a random forest predicts: options without effect on a network.
#[derive(Debug, Args)]
pub(crate) struct ForestPrediction {
    /// Random forests: keep the features of images in this folder and reuse them
    #[arg(long, value_name = "DIR", help_heading = INFERENCE, hide_short_help = true)]
    pub(crate) cache_features: Option<PathBuf>,
}

/// What is written besides label values.
#[derive(Debug, Args)]
#[command(next_help_heading = OUTPUT)]
pub(crate) struct Written {
    /// Formats of the label maps, comma-separated: npy (<stem>.npy), tiff (<stem>.tif, a GeoTIFF with the coordinates of
    /// the image), png (<stem>.png, greyscale) and geojson (<stem>.geojson, the regions of each class as polygons)
    /// [default: npy; for a GeoTIFF: npy,tiff]
    #[arg(long, value_name = "LIST")]
    pub(crate) format: Option<Formats>,
    /// Also write <stem>_color.png, the classes in their colours
    #[arg(long)]
    pub(crate) color: bool,
    /// Also write <stem>_overlay.png, the colours over the image, with this opacity [default: 0.5]
    #[arg(long, value_name = "OPACITY", num_args = 0..=1, require_equals = true, default_missing_value = "0.5")]
    #[arg(value_parser = without_network::opacity)]
    pub(crate) overlay: Option<f32>,
    /// Also write <stem>.png, the label values as a greyscale image, as --format png does
    #[arg(long)]
    pub(crate) png: bool,
    /// Also write <stem>_prob.npy, float32 [height, width]: the probability of the predicted class; with a GeoTIFF
    /// also <stem>_prob.tif
    #[arg(long)]
    pub(crate) prob: bool,
    /// Also write <stem>_probs.npy, float32 [classes, height, width]: all probabilities; with a GeoTIFF also
    /// <stem>_probs.tif, a band for each class
    #[arg(long)]
    pub(crate) prob_all: bool,
    /// Type of the probabilities in GeoTIFFs: float32, or uint8 in steps of 0.004
    #[arg(long, value_name = "TYPE", default_value = "float32", hide_short_help = true)]
    pub(crate) prob_dtype: ProbabilityType,
    /// Integer type of the label values in .npy files: smallest or int64
    #[arg(long, value_name = "TYPE", default_value = "smallest", hide_short_help = true)]
    pub(crate) npy_dtype: NpyType,
    #[command(flatten)]
    pub(crate) polygons: Polygons,
}

/// How polygons are written: options without effect unless --format names geojson.
#[derive(Debug, Args)]
#[command(next_help_heading = OUTPUT)]
pub(crate) struct Polygons {
    /// GeoJSON: leave out regions whose area is below this, in square map units of the image, such as square metres; in
    /// pixels if the image has no coordinates [default: all regions]
    #[arg(long, value_name = "AREA", value_parser = rate)]
    pub(crate) min_area: Option<f64>,
    /// GeoJSON: simplify outlines (Douglas-Peucker) with this tolerance in pixels; neighbouring regions keep a common
    /// outline [default: the exact edges of the pixels]
    #[arg(long, value_name = "PIXELS", value_parser = rate)]
    pub(crate) simplify: Option<f64>,
    /// GeoJSON: coordinates of the image (scene) or longitude and latitude (wgs84; of images in UTM on WGS 84, Web
    /// Mercator or EPSG:4326) [default: scene]
    #[arg(long, value_name = "CRS")]
    pub(crate) geojson_crs: Option<GeojsonCrs>,
}

/// Names every way to give what is missing.
pub(super) fn check_inputs(predict: &Predict) -> Result<(), String> {
    let mut missing = Vec::new();
    if predict.run.is_none() && predict.weights.is_empty() {
        missing.push("no model: give --run RUN, a folder written by `segtool train`, or --weights FILE");
    }
    if predict.images.is_empty() && predict.input_list.is_none() && predict.watch.is_none() {
        missing.push("no images: name images or folders of images, or give --input-list FILE or --watch DIR");
    }
    if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
}

/// A recipe without weights must be a run folder: the scripts' `--model` names either.
pub(super) fn take_model_for_run(predict: &mut Predict) -> Result<(), String> {
    let Some(name) = predict.recipe.as_ref().filter(|_| predict.weights.is_empty()) else { return Ok(()) };
    if predict.run.is_some() || !scripts::is_run(name) {
        return Err(format!("--recipe {name} needs --weights, whose network it describes; with --run, leave it out"));
    }
    predict.run = predict.recipe.take().map(PathBuf::from);
    predict.given.rename("recipe", "run");
    Ok(())
}
