//! Where tensors live. The only file that names a backend or asks which were built in.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

use super::ops;
use super::precision::Precision;
use crate::base::{Error, Result, main_memory};

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The best there is: CUDA, else libtorch on the CPU, else flex.
    #[default]
    Auto,
    /// The best on the CPU: libtorch if it is built in, else flex.
    Cpu,
    /// The first GPU.
    Gpu,
    /// burn's own CPU backend; always there.
    Flex,
    /// libtorch on the CPU.
    Libtorch,
    /// libtorch on a CUDA GPU.
    LibtorchCuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" | "cuda" => Ok(Self::Gpu),
            "flex" => Ok(Self::Flex),
            "libtorch" => Ok(Self::Libtorch),
            "libtorch-cuda" => Ok(Self::LibtorchCuda(0)),
            lower => match lower.strip_prefix("libtorch-cuda:").map(str::parse) {
                Some(Ok(index)) => Ok(Self::LibtorchCuda(index)),
                _ => {
                    Err(Error::unknown("device", name, &["auto", "cpu", "gpu", "flex", "libtorch", "libtorch-cuda:N"]))
                }
            },
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu => f.write_str("gpu"),
            Self::Flex => f.write_str("flex"),
            Self::Libtorch => f.write_str("libtorch"),
            Self::LibtorchCuda(index) => write!(f, "libtorch-cuda:{index}"),
        }
    }
}

impl DeviceChoice {
    /// Whether tensors lie in memory of their own, beside that of the process. `Auto` and `Gpu` have to be resolved first.
    pub fn is_gpu(self) -> bool {
        matches!(self, Self::LibtorchCuda(_))
    }

    /// The concrete device that a word stands for on this machine. Never `Auto`, `Cpu` or `Gpu`.
    pub fn resolve(self) -> Result<Self> {
        let cpu = if libtorch::BUILT_IN { Self::Libtorch } else { Self::Flex };
        let gpus = libtorch::cuda_devices();
        match self {
            Self::Auto if gpus > 0 => Ok(Self::LibtorchCuda(0)),
            Self::Auto | Self::Cpu => Ok(cpu),
            Self::Gpu => Self::LibtorchCuda(0).resolve(),
            Self::Flex => Ok(self),
            Self::Libtorch | Self::LibtorchCuda(_) if !libtorch::BUILT_IN => Err(Error::device(
                self,
                "is not built into this program: build it with the feature libtorch (see the README), or use `device` flex",
            )),
            Self::LibtorchCuda(_) if gpus == 0 => Err(Error::device(
                self,
                "is not available: libtorch finds no CUDA GPU; check that nvidia-smi lists one and that libtorch is a CUDA build, \
                 or use `device` cpu",
            )),
            Self::LibtorchCuda(index) if index >= gpus => {
                Err(Error::device(self, format!("does not exist: libtorch finds {gpus} GPU(s), numbered from 0")))
            }
            Self::Libtorch | Self::LibtorchCuda(_) => Ok(self),
        }
    }

    /// The burn device, without automatic differentiation, set up to compute in float32.
    pub fn open(self) -> Result<Device> {
        self.open_for(Precision::Float32)
    }

    fn connect(self) -> Result<Device> {
        ops::keep_freed_memory();
        match self.resolve()? {
            Self::Libtorch => Ok(libtorch::cpu()),
            Self::LibtorchCuda(index) => Ok(libtorch::cuda(index)),
            _ => Ok(Device::flex()),
        }
    }

    /// What [`Precision::Auto`] stands for on this device: bf16 on NVIDIA GPUs that multiply such numbers in their tensor
    /// cores (Ampere and newer), else float32, for the others have no TF32 either. Other precisions stay.
    pub fn settle(self, precision: Precision) -> Result<Precision> {
        if precision != Precision::Auto {
            return Ok(precision);
        }
        match self.resolve()? {
            Self::LibtorchCuda(index) if multiplies_bf16(index) => Ok(Precision::Bf16),
            _ => Ok(Precision::Float32),
        }
    }

    /// [`Self::open`], set up to compute in `precision`; an error where the device cannot.
    pub fn open_for(self, precision: Precision) -> Result<Device> {
        self.supports(precision)?;
        if self.resolve()?.is_gpu() {
            ops::allow_tf32(precision == Precision::Tf32);
        }
        self.connect()
    }

    /// Says whether the device computes in `precision`.
    pub fn supports(self, precision: Precision) -> Result<()> {
        let (fits, who) = match (precision, self.resolve()?) {
            (Precision::Float32 | Precision::Auto, _) => (true, ""),
            (Precision::Tf32, device) => (device.is_gpu(), "NVIDIA GPUs (libtorch-cuda:N)"),
            (Precision::Bf16, device) => (device != Self::Flex, "libtorch devices (libtorch, libtorch-cuda:N)"),
        };
        if fits {
            return Ok(());
        }
        let (device, advice) = (self.resolve()?, "choose one of them as `device`, or `precision` float32");
        let reason = format!("{precision} does not work on device '{device}': only {who} support it; {advice}");
        Err(Error::conflict("precision", reason))
    }
}

/// How many GPUs libtorch finds; 0 in builds without it.
pub fn gpus() -> usize {
    libtorch::cuda_devices()
}

/// Whether tensors of `device` lie in the memory of a GPU: what is small there comes home sooner.
pub(crate) fn is_gpu(device: &Device) -> bool {
    *device != Device::flex() && *device != libtorch::cpu()
}

/// Whether the device has threads of its own on the CPU, which wait for one another after every operation. Those of flex
/// take other work meanwhile.
pub(crate) fn has_own_threads(device: &Device) -> bool {
    *device != Device::flex() && *device == libtorch::cpu()
}

/// The most memory that was held at a time since the program began, in bytes: on a GPU by tensors, else by the process;
/// `None` where it is not measured.
pub fn peak_memory(device: DeviceChoice) -> Option<u64> {
    if let DeviceChoice::LibtorchCuda(index) = device {
        return ops::peak_gpu_memory(index);
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Bytes that are free on a device, where that is known: of a GPU as nvidia-smi says, else of main memory on Linux, in the
/// machine, in the control groups of the process (containers, batch systems) and within its own limits (`ulimit`).
pub fn free_memory(device: DeviceChoice) -> Option<u64> {
    match device {
        DeviceChoice::LibtorchCuda(index) => free_gpu_memory(index),
        _ => main_memory::free(),
    }
}

fn free_gpu_memory(index: usize) -> Option<u64> {
    let mebibytes: u64 = asked_of_driver(index, "memory.free")?.parse().ok()?;
    Some(mebibytes << 20)
}

/// Whether a GPU is of the Ampere generation or newer.
fn multiplies_bf16(index: usize) -> bool {
    asked_of_driver(index, "compute_cap").is_some_and(|capability| is_ampere_or_newer(&capability))
}

fn is_ampere_or_newer(capability: &str) -> bool {
    let major = capability.split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major >= 8)
}

/// What the driver's own program says of a GPU: libtorch does not without a context on the GPU, which takes memory itself.
fn asked_of_driver(index: usize, what: &str) -> Option<String> {
    let asked = [format!("--query-gpu={what}"), "--format=csv,noheader,nounits".to_owned()];
    let id = match std::env::var("CUDA_VISIBLE_DEVICES") {
        Ok(visible) => visible.split(',').nth(index)?.trim().to_owned(),
        Err(_) => index.to_string(),
    };
    let output = std::process::Command::new("nvidia-smi").arg(format!("--id={id}")).args(asked).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.lines().next()?.trim().to_owned())
}

/// Bytes that the libraries of this build occupy in a process, whichever device it computes on. Measured with the CUDA
/// build of libtorch 2.9; that for CPUs alone may take less.
pub fn library_memory() -> u64 {
    if libtorch::BUILT_IN { 370 << 20 } else { 0 }
}

#[cfg(feature = "libtorch")]
#[allow(deprecated)] // burn 0.22 is the last line with burn-tch; the design keeps it for its CUDA kernels
mod libtorch {
    use burn::tensor::{Device, DeviceType};

    pub(super) const BUILT_IN: bool = true;

    pub(super) fn cuda_devices() -> usize {
        let cpu = Device::libtorch();
        Device::enumerate(DeviceType::LibTorch).iter().filter(|device| **device != cpu).count()
    }

    pub(super) fn cpu() -> Device {
        Device::libtorch()
    }

    pub(super) fn cuda(index: usize) -> Device {
        Device::libtorch_cuda(index)
    }
}

#[cfg(not(feature = "libtorch"))]
mod libtorch {
    use burn::tensor::Device;

    pub(super) const BUILT_IN: bool = false;

    pub(super) fn cuda_devices() -> usize {
        0
    }

    // `resolve` never lets these two be reached in this build; flex keeps them total.
    pub(super) fn cpu() -> Device {
        Device::flex()
    }

    pub(super) fn cuda(_index: usize) -> Device {
        Device::flex()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["auto", "cpu", "gpu", "flex", "libtorch", "libtorch-cuda:3"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("Libtorch-CUDA:1".parse::<DeviceChoice>().unwrap(), DeviceChoice::LibtorchCuda(1));
        for name in ["", "tpu", "libtorch-cuda:", "libtorch-cuda:-1", "libtorch-cuda:x"] {
            assert!(name.parse::<DeviceChoice>().unwrap_err().to_string().contains("choose auto"));
        }
    }

    #[test]
    fn a_precision_is_chosen_by_the_device() {
        for (capability, expected) in [("7.5", false), ("8.0", true), ("9.0", true), ("12.0", true), ("[N/A]", false)] {
            assert_eq!(is_ampere_or_newer(capability), expected, "{capability}");
        }
        for (precision, expected) in [
            (Precision::Auto, Precision::Float32),
            (Precision::Bf16, Precision::Bf16),
            (Precision::Tf32, Precision::Tf32),
        ] {
            assert_eq!(DeviceChoice::Flex.settle(precision).unwrap(), expected);
            assert_eq!(DeviceChoice::Cpu.settle(precision).unwrap(), expected);
        }
        DeviceChoice::Flex.open_for(Precision::Auto).unwrap();
    }

    #[test]
    fn a_backend_that_is_not_built_in_names_the_feature() {
        if !libtorch::BUILT_IN {
            assert_refused!(DeviceChoice::Libtorch.open(), "feature libtorch");
        }
    }
}
