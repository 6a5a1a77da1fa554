//! `segtool bench`.

use clap::Args;
use segtool::bench::Mode;
use segtool::nn::device::DeviceChoice;
use segtool::nn::group::Collectives;
use segtool::nn::precision::Precision;

use super::headings::{HARDWARE, MODEL, OUTPUT};
use super::training::{Devices, Synchronised, devices};
use super::values::{positive, side};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segtool bench --recipe unet-seeps --mode train --batch 4 --size 256
  segtool bench --recipe pspnet50-torchvision --size 473 --device gpu \\
      --precision bf16 --steps 20 --profile
  segtool bench --recipe pspnet50-ade20k --mode train --batch 8 --size 473 \\
      --devices all

Prints one line: mode, batch, size, median time of a step (after two warm-up
steps), images per second and peak memory (of the process on a CPU, of the
tensors on a GPU). A training step is the forward pass, cross-entropy against
random labels (with a sigmoid, the recipe's own loss), the backward pass and SGD
with momentum.

--check uses the recipe's own training step, for each of its phases. Results
that are not finite fail at any precision.

--devices and --processes print one line for each number of processes: 1, 2, 4
and so on, up to the number given. Every process computes --batch images per
step, so the global batch grows with the number of processes (weak scaling).
On the CPU, a process has equally many threads in every line.

  efficiency   images per second, relative to linear scaling from one process
  collectives  share of the time spent exchanging values with other processes;
               a dash with NCCL, whose exchanges the program does not wait for
  transfer     share that a single all-reduce of as many bytes takes if no
               process has to wait for another
  sent         bytes that each process exchanges per step

Under torchrun, mpirun or srun, the line of the processes that they started is
printed.")]
pub(crate) struct Bench {
    /// A built-in recipe or a .toml file
    #[arg(long, value_name = "NAME|FILE", help_heading = MODEL)]
    pub(crate) recipe: String,
    /// Number of classes [default: that of the recipe's data set]
    #[arg(long, value_name = "K", value_parser = positive, help_heading = MODEL)]
    pub(crate) classes: Option<usize>,
    /// Channels of the network's first block [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = positive, help_heading = MODEL)]
    pub(crate) width: Option<usize>,
    /// Override a field of the recipe, such as training.ema=0.999 (repeatable)
    #[arg(long, value_name = "KEY=VALUE", help_heading = MODEL)]
    pub(crate) set: Vec<String>,
    /// train or infer
    #[arg(long, value_name = "MODE", default_value = "infer")]
    pub(crate) mode: Mode,
    /// Images per step; with several processes, of each of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(crate) batch: usize,
    /// Height and width of the images, in pixels
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = side)]
    pub(crate) size: usize,
    /// Number of timed steps
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = positive)]
    pub(crate) steps: usize,
    /// Train with the recipe's own loss, optimiser and settings instead of cross-entropy and SGD
    #[arg(long)]
    pub(crate) own_step: bool,
    /// Instead of timing: compare output, loss and gradients with flex in float32; in float32, a relative difference above
    /// 1e-3 is a failure
    #[arg(long, conflicts_with_all = ["profile", "devices", "processes"])]
    pub(crate) check: bool,
    /// Also print the time by kind of operation, measured in a second series of steps
    #[arg(long, conflicts_with_all = ["devices", "processes"], help_heading = OUTPUT)]
    pub(crate) profile: bool,
    /// Print JSON instead of text: one object, or a list of one for each number of processes
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
    /// auto, cpu, gpu, flex, libtorch, libtorch-cuda:N, vulkan:N or metal:N [default: auto, the fastest available]
    #[arg(long, value_name = "DEVICE", help_heading = HARDWARE)]
    pub(crate) device: Option<DeviceChoice>,
    /// float32, tf32 (NVIDIA GPUs), bf16 (libtorch) or auto: bf16 on NVIDIA GPUs from Ampere on, else
    /// float32
    #[arg(long, value_name = "PRECISION", default_value_t = Precision::Float32, help_heading = HARDWARE)]
    pub(crate) precision: Precision,
    /// Scaling over these GPUs, one process per GPU: numbers such as 0,1,2,3, or all (needs a build with libtorch)
    #[arg(long, visible_alias = "gpus", value_name = "LIST", value_parser = devices, help_heading = HARDWARE)]
    #[arg(conflicts_with = "device")]
    pub(crate) devices: Option<Devices>,
    /// Scaling on the CPU, up to this many processes, each of which has its part of the cores in every line (needs a build
    /// with libtorch)
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with = "devices", help_heading = HARDWARE)]
    pub(crate) processes: Option<usize>,
    /// Synchronised batch normalisation in training steps of several processes: on, off or auto (on below 16 images per
    /// process) [default: auto]
    #[arg(long, value_name = "WHEN", help_heading = HARDWARE)]
    pub(crate) sync_batch_norm: Option<Synchronised>,
    /// Library that exchanges gradients between several processes: nccl (between NVIDIA GPUs directly), gloo (through main
    /// memory) or auto [default: auto]
    #[arg(long, value_name = "LIBRARY", help_heading = HARDWARE)]
    pub(crate) collectives: Option<Collectives>,
    /// How the program starts itself for one line: this many threads
    #[arg(long, value_name = "THREADS", hide = true)]
    pub(crate) line: Option<usize>,
}
