//! How a training goes, where not as the recipe says.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use segtool::data::Augmentation;
use segtool::nn::loss::{ClassWeights, LossTerm, parse_terms};
use segtool::nn::precision::Precision;
use segtool::recipe::{Criterion, Freeze};

use super::Train;
use super::values::{Interval, bytes_or_none, interval, positive, rate, share, span, threads};

/// The optimisers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Optimizer {
    Adam,
    #[value(name = "adamw", aliases = ["adam-w", "adam_w"])]
    AdamW,
    Sgd,
}

/// The summands of a loss, from one text.
#[derive(Debug, Clone)]
pub(crate) struct Terms(pub(crate) Vec<LossTerm>);

/// Changes of the training images, from one text.
#[derive(Debug, Clone)]
pub(crate) struct Changes(pub(crate) Vec<Augmentation>);

fn terms(text: &str) -> segtool::base::Result<Terms> {
    parse_terms(text).map(Terms)
}

fn changes(text: &str) -> segtool::base::Result<Changes> {
    Augmentation::parse_list(text).map(Changes)
}

/// What a recipe says, said otherwise.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training options (override the recipe)")]
pub(crate) struct Procedure {
    /// Passes over the training set; with phases one number for each, as in 10,20
    #[arg(long, value_name = "N", value_parser = positive, value_delimiter = ',')]
    pub(crate) num_epoch: Vec<usize>,
    /// Images a batch
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) batch_size: Option<usize>,
    /// Batches whose gradients are averaged to make one step
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) accumulate: Option<usize>,
    /// Learning rate at the start, of all phases
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) learning_rate: Option<f64>,
    /// Factor on the learning rate of everything but the encoder
    #[arg(long, value_name = "FACTOR", value_parser = rate)]
    pub(crate) head_rate: Option<f64>,
    /// With the recipe's settings if it names the same one, else as in PyTorch, sgd with momentum 0.9
    #[arg(long, value_name = "NAME", ignore_case = true)]
    pub(crate) optimizer: Option<Optimizer>,
    /// Loss of all phases: a weighted sum, as in cross-entropy+0.5*dice
    #[arg(long, value_name = "SUM", value_parser = terms)]
    pub(crate) loss: Option<Terms>,
    /// Per-class loss weights: equal, auto (median frequency) or numbers, as in 1,2.5,2.5
    #[arg(long, value_name = "HOW")]
    pub(crate) class_weights: Option<ClassWeights>,
    /// Clip gradients to this Euclidean norm over all parameters
    #[arg(long, value_name = "NORM", value_parser = rate)]
    pub(crate) clip_norm: Option<f64>,
    /// Exponential moving average of the weights with this decay, used for validation and prediction
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) ema: Option<f64>,
    /// Parts to freeze: encoder, norm (all batch norms), or both
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub(crate) freeze: Vec<Freeze>,
    /// Random changes of the images in all phases, such as flip-horizontal,rotate=10,scale=0.5:2,crop=473; or none
    #[arg(long, value_name = "LIST", value_parser = changes)]
    pub(crate) augment: Option<Changes>,
    /// Share of samples chosen to show a class other than the first; rare classes are chosen as often as common ones
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) foreground: Option<f64>,
    /// Choose the best weights by mean-iou, pixel-accuracy or loss
    #[arg(long, value_name = "SCORE")]
    pub(crate) best_by: Option<Criterion>,
    /// End a phase after so many epochs without a better validation
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) patience: Option<usize>,
    /// Channels of the network's first block
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) width: Option<usize>,
    /// float32, tf32 (NVIDIA GPUs) or bf16 (libtorch)
    #[arg(long, value_name = "PRECISION")]
    pub(crate) precision: Option<Precision>,
    /// Activation checkpointing: recompute activations in the backward pass (less memory, more time)
    #[arg(long)]
    pub(crate) checkpointing: bool,
}

/// How a network is trained: options without effect on a random forest.
#[derive(Debug, Args)]
pub(crate) struct NetworkTraining {
    /// Folder with a folder for each image, which holds images/ with the image and masks/ with its masks
    #[arg(long, value_name = "DIR", conflicts_with_all = ["train_list", "images"])]
    pub(crate) mask_folders: Option<PathBuf>,
    /// Folder of validation images with their masks, as --mask-folders
    #[arg(long, value_name = "DIR", conflicts_with_all = ["val_list", "val_fraction"])]
    pub(crate) val_mask_folders: Option<PathBuf>,
    /// Train all classes but the first as one
    #[arg(long)]
    pub(crate) merge_classes: bool,
    /// Re-initialise the classification head
    #[arg(long, requires = "weights")]
    pub(crate) new_head: bool,
    /// Start even if the estimated memory exceeds what is free
    #[arg(long)]
    pub(crate) ignore_memory: bool,
    /// Write a sheet of training samples as the network would see them, and stop
    #[arg(long, value_name = "FILE.png", conflicts_with_all = ["output_path", "overwrite"])]
    #[arg(conflicts_with_all = ["cache", "max_time", "save_every", "validation_images", "save_epoch", "ignore_memory"])]
    pub(crate) show_augmented: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) procedure: Procedure,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// What may be used and what is kept; a resumed run takes all of these, too.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits and images")]
pub(crate) struct Limits {
    /// Threads that read and prepare images
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = threads)]
    pub(crate) workers: usize,
    /// Save and stop after this time, such as 90m or 1h30m
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) max_time: Option<Duration>,
    /// Also save within an epoch, at this interval; none saves only at the end of each
    #[arg(long, value_name = "TIME", value_parser = interval, default_value = "10m")]
    pub(crate) save_every: Interval,
    /// Keep decoded images in this much memory, 0 for none [default: a part of what is free, where that is known]
    #[arg(long, value_name = "SIZE", value_parser = bytes_or_none)]
    pub(crate) cache: Option<u64>,
    /// Also keep the weights of every Nth epoch, as epochs/epoch_NNNN.safetensors in the run folder
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) save_epoch: Option<usize>,
    /// Draw so many of the best and of the worst validation images of each epoch, into validation/
    #[arg(long, alias = "validation-pictures", value_name = "N", default_value_t = 0)]
    pub(crate) validation_images: usize,
}

/// What a resumed run takes besides its [`Limits`].
const RESUMED: [&str; 3] = ["--resume", "--num-epoch", "--device"];

/// Refuses flags that cannot change a run that goes on.
pub(super) fn check_resume(train: &Train) -> Result<(), String> {
    let Some(run) = &train.resume else { return Ok(()) };
    let mut wrong = train.given.of::<Train>();
    let limits = train.given.of::<Limits>();
    wrong.retain(|flag| !RESUMED.contains(&flag.as_str()) && !limits.contains(flag));
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} cannot be used with --resume: a run goes on with its own settings (of which --num-epoch alone may change); to \
         train on from its weights: segtool train ... --weights {} --output-path NEW",
        wrong.join(" and "),
        run.display()
    ))
}
