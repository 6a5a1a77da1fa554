//! Options of `segtool train` that override the recipe.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use segtool::data::Augmentation;
use segtool::nn::group::Collectives;
use segtool::nn::loss::{ClassWeights, LossTerm, parse_terms};
use segtool::nn::precision::Precision;
use segtool::recipe::{Criterion, Freeze};

use super::Train;
use super::data::WAYS;
use super::headings::{DATA, HARDWARE, OUTPUT, TRAINING};
use super::values::{Interval, bytes_or_none, interval, positive, rate, share, span, threads};

/// The optimisers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Optimizer {
    Adam,
    #[value(name = "adamw", aliases = ["adam-w", "adam_w"])]
    AdamW,
    Sgd,
}

/// The terms of a loss, from one text.
#[derive(Debug, Clone)]
pub(crate) struct Terms(pub(crate) Vec<LossTerm>);

/// Augmentations, from one text.
#[derive(Debug, Clone)]
pub(crate) struct Changes(pub(crate) Vec<Augmentation>);

fn terms(text: &str) -> segtool::base::Result<Terms> {
    parse_terms(text).map(Terms)
}

fn changes(text: &str) -> segtool::base::Result<Changes> {
    Augmentation::parse_list(text).map(Changes)
}

/// What a recipe says, overridden.
#[derive(Debug, Args)]
#[command(next_help_heading = TRAINING)]
pub(crate) struct Procedure {
    /// Number of epochs; for a recipe with phases one number each, as in 10,20
    #[arg(long, value_name = "N", value_parser = positive, value_delimiter = ',')]
    pub(crate) num_epoch: Vec<usize>,
    /// Images per batch
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) batch_size: Option<usize>,
    /// Initial learning rate, for all phases
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) learning_rate: Option<f64>,
    /// adam, adamw or sgd; if the recipe has another one, with PyTorch's default settings (sgd: momentum 0.9)
    #[arg(long, value_name = "NAME", ignore_case = true)]
    pub(crate) optimizer: Option<Optimizer>,
    /// Loss for all phases: a weighted sum of cross-entropy, ohem-cross-entropy, bce, focal, dice, jaccard, tversky,
    /// focal-tversky and lovasz, such as cross-entropy+0.5*dice
    #[arg(long, value_name = "SUM", value_parser = terms)]
    pub(crate) loss: Option<Terms>,
    /// Per-class loss weights: equal, auto (median frequency) or numbers, such as 1,2.5,2.5
    #[arg(long, value_name = "WEIGHTS")]
    pub(crate) class_weights: Option<ClassWeights>,
    /// Augmentation for all phases, such as flip-horizontal,rotate=10,scale=0.5:2,crop=473 (degrees, factors,
    /// pixels); or none. Also flip-vertical, rotate90, rotate180, resize, resize-short, color-jitter, blur, noise
    #[arg(long, value_name = "LIST", value_parser = changes)]
    pub(crate) augment: Option<Changes>,
    /// Share of the samples that are chosen to show a class other than the first (the background), each class equally
    /// often; crops are placed to contain it
    #[arg(long, value_name = "SHARE", value_parser = share, hide_short_help = true)]
    pub(crate) foreground: Option<f64>,
    /// Gradient clipping: maximum L2 norm over all parameters
    #[arg(long, value_name = "NORM", value_parser = rate, hide_short_help = true)]
    pub(crate) clip_norm: Option<f64>,
    /// Gradient accumulation: batches per optimiser step
    #[arg(long, value_name = "N", value_parser = positive, hide_short_help = true)]
    pub(crate) accumulate: Option<usize>,
    /// Learning rate multiplier for everything but the encoder
    #[arg(long, value_name = "FACTOR", value_parser = rate, hide_short_help = true)]
    pub(crate) head_rate: Option<f64>,
    /// Exponential moving average of the weights with this decay; used for validation and prediction
    #[arg(long, value_name = "DECAY", value_parser = share, hide_short_help = true)]
    pub(crate) ema: Option<f64>,
    /// Parts to freeze: encoder, norm (all batch norms), or both
    #[arg(long, value_name = "PART", value_delimiter = ',', hide_short_help = true)]
    pub(crate) freeze: Vec<Freeze>,
    /// Validation score that selects the best weights: mean-iou, pixel-accuracy or loss [default: the recipe's,
    /// otherwise mean-iou]
    #[arg(long, value_name = "SCORE", hide_short_help = true)]
    pub(crate) best_by: Option<Criterion>,
    /// Early stopping: end a phase after this many epochs without a better validation score (see --best-by)
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) patience: Option<usize>,
    /// Channels of the network's first block
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) width: Option<usize>,
    /// float32, tf32 (NVIDIA GPUs), bf16 (libtorch) or auto: bf16 on NVIDIA GPUs from Ampere on, else
    /// float32 [default: the recipe's, float32 if it names none]
    #[arg(long, value_name = "PRECISION", help_heading = HARDWARE)]
    pub(crate) precision: Option<Precision>,
    /// Activation checkpointing: recompute activations in the backward pass (less memory, slower)
    #[arg(long, help_heading = HARDWARE, hide_short_help = true)]
    pub(crate) checkpointing: bool,
}

/// How a network is trained: options without effect on a random forest.
#[derive(Debug, Args)]
pub(crate) struct NetworkTraining {
    /// Train all classes but the first as one class
    #[arg(long, help_heading = DATA, hide_short_help = true)]
    pub(crate) merge_classes: bool,
    /// Re-initialise the classification head, for a data set with other classes than the weights
    #[arg(long, requires = "weights", help_heading = DATA)]
    pub(crate) new_head: bool,
    /// Draw training samples as the network sees them, after augmentation, and exit
    #[arg(long, value_name = "FILE.png", conflicts_with_all = ["output_path", "overwrite"], help_heading = OUTPUT)]
    #[arg(conflicts_with_all = ["cache", "max_time", "save_every", "validation_images", "save_epoch", "ignore_memory"])]
    pub(crate) show_augmented: Option<PathBuf>,
    /// Train even if the estimated memory exceeds what is free
    #[arg(long, help_heading = HARDWARE, hide_short_help = true)]
    pub(crate) ignore_memory: bool,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) procedure: Procedure,
}

/// What may be used and what is kept; these options also go with `--resume`.
#[derive(Debug, Args)]
pub(crate) struct Limits {
    /// Draw this many of the best and the worst validation images of each epoch, into validation/ of the run
    #[arg(long, alias = "validation-pictures", value_name = "N", default_value_t = 0, help_heading = OUTPUT)]
    pub(crate) validation_images: usize,
    /// Also keep the weights of every Nth epoch, as epochs/epoch_NNNN.safetensors in the run folder
    #[arg(long, value_name = "N", value_parser = positive, help_heading = OUTPUT, hide_short_help = true)]
    pub(crate) save_epoch: Option<usize>,
    /// Save a checkpoint at this interval within an epoch, such as 10m; or none
    #[arg(long, value_name = "TIME", value_parser = interval, default_value = "10m")]
    #[arg(help_heading = OUTPUT, hide_short_help = true)]
    pub(crate) save_every: Interval,
    /// Save and stop after this time, such as 90m or 1h30m
    #[arg(long, value_name = "TIME", value_parser = span, help_heading = OUTPUT)]
    pub(crate) max_time: Option<Duration>,
    /// Threads that read and prepare images
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = threads, help_heading = HARDWARE)]
    pub(crate) workers: usize,
    #[command(flatten)]
    pub(crate) together: Together,
    /// Memory that keeps decoded images between epochs, such as 4GiB; 0 for none [default: up to a quarter of the free
    /// memory]
    #[arg(long, value_name = "SIZE", value_parser = bytes_or_none, help_heading = HARDWARE, hide_short_help = true)]
    pub(crate) cache: Option<u64>,
}

/// Several processes that train together, each on a share of every batch.
#[derive(Debug, Args)]
pub(crate) struct Together {
    /// GPUs for data-parallel training, one process per GPU: numbers such as 0,1,2,3, or all. Launchers that start
    /// the processes themselves (torchrun, mpirun, srun) are recognised by their environment variables
    #[arg(long, visible_alias = "gpus", value_name = "LIST", value_parser = devices, help_heading = HARDWARE)]
    #[arg(conflicts_with_all = ["device", "show_augmented"])]
    pub(crate) devices: Option<Devices>,
    /// Data-parallel training on the CPU in this many processes, which share each batch and the cores
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with_all = ["devices", "show_augmented"])]
    #[arg(help_heading = HARDWARE, hide_short_help = true)]
    pub(crate) processes: Option<usize>,
    /// Synchronised batch normalisation (statistics over the batch of all processes): on, off or auto (on below 16
    /// images per process)
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = HARDWARE, hide_short_help = true)]
    pub(crate) sync_batch_norm: Synchronised,
    /// Library that exchanges gradients between processes: nccl (between NVIDIA GPUs directly), gloo (through main memory)
    /// or auto (NCCL if every process has its own GPU and NCCL works there) [default: auto]
    #[arg(long, value_name = "LIBRARY", help_heading = HARDWARE, hide_short_help = true)]
    pub(crate) collectives: Option<Collectives>,
}

/// When batch norms of several processes share their statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Synchronised {
    Auto,
    On,
    Off,
}

impl Synchronised {
    pub(crate) fn choice(self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::On => Some(true),
            Self::Off => Some(false),
        }
    }
}

/// GPUs by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Devices {
    All,
    Numbers(Vec<usize>),
}

pub(super) fn devices(text: &str) -> Result<Devices, String> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(Devices::All);
    }
    let numbers = text.split(',').map(|number| number.trim().parse::<usize>()).collect::<Result<Vec<_>, _>>();
    let numbers = numbers.map_err(|_| "is not a list of GPU numbers such as 0,1, nor all".to_owned())?;
    match numbers.iter().enumerate().find(|(i, number)| numbers[..*i].contains(number)) {
        Some((_, twice)) => Err(format!("names GPU {twice} twice")),
        None => Ok(Devices::Numbers(numbers)),
    }
}

/// What a resumed run takes besides its [`Limits`].
const RESUMED: [&str; 3] = ["--resume", "--num-epoch", "--device"];

/// Names every way to give images and labels, where none is taken.
pub(super) fn check_data(train: &Train) -> Result<(), String> {
    if train.data.are_named() || train.resume.is_some() {
        return Ok(());
    }
    Err(format!("no training data: {WAYS}. To continue a run: --resume RUN"))
}

/// Refuses options that cannot change a run that is resumed.
pub(super) fn check_resume(train: &Train) -> Result<(), String> {
    let Some(run) = &train.resume else { return Ok(()) };
    let mut wrong = train.given.of::<Train>();
    let limits = train.given.of::<Limits>();
    wrong.retain(|flag| !RESUMED.contains(&flag.as_str()) && !limits.contains(flag));
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} cannot be used with --resume: a run continues with its own settings, of which only --num-epoch may change; to \
         start a new training from its weights: segtool train ... --weights {} --output-path NEW",
        wrong.join(" and "),
        run.display()
    ))
}
