//! Where tensors live: devices by their names, what they compute in, and how much memory they have.

mod adapters;
mod libtorch;

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

use super::ops;
use super::precision::Precision;
use crate::base::{Error, Result, main_memory};
use adapters::Api;

/// The device to compute on; `segtool::Device` is this type, whereas tensors have a `burn::tensor::Device` ([`Self::open`]).
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
    /// burn's wgpu backend on an adapter that Vulkan finds: GPUs of AMD, Intel, NVIDIA and others.
    Vulkan(usize),
    /// burn's wgpu backend on an adapter that Metal finds: GPUs of Apple.
    Metal(usize),
}

/// The names of devices.
const NAMES: [&str; 8] = ["auto", "cpu", "gpu", "flex", "libtorch", "libtorch-cuda:N", "vulkan:N", "metal:N"];

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" | "cuda" => Ok(Self::Gpu),
            "flex" => Ok(Self::Flex),
            "libtorch" => Ok(Self::Libtorch),
            lower => numbered(lower).ok_or_else(|| Error::unknown("device", name, &NAMES)),
        }
    }
}

/// The device of a name such as `vulkan:1`; without a number it is the first.
fn numbered(name: &str) -> Option<DeviceChoice> {
    let (kind, number) = name.split_once(':').unwrap_or((name, "0"));
    let number = number.parse().ok()?;
    match kind {
        "libtorch-cuda" => Some(DeviceChoice::LibtorchCuda(number)),
        "vulkan" => Some(DeviceChoice::Vulkan(number)),
        "metal" => Some(DeviceChoice::Metal(number)),
        _ => None,
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
            Self::Vulkan(index) => write!(f, "vulkan:{index}"),
            Self::Metal(index) => write!(f, "metal:{index}"),
        }
    }
}

impl DeviceChoice {
    /// Whether tensors lie in memory of their own, beside that of the process. `Auto` and `Gpu` have to be resolved first.
    pub fn is_gpu(self) -> bool {
        matches!(self, Self::LibtorchCuda(_) | Self::Vulkan(_) | Self::Metal(_))
    }

    /// The number of an NVIDIA GPU.
    pub fn cuda_number(self) -> Option<usize> {
        if let Self::LibtorchCuda(number) = self { Some(number) } else { None }
    }

    /// The concrete device that a word stands for on this machine. Never `Auto`, `Cpu` or `Gpu`.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if it is not built in, or not there.
    pub fn resolve(self) -> Result<Self> {
        let cpu = if libtorch::BUILT_IN { Self::Libtorch } else { Self::Flex };
        let gpus = libtorch::cuda_devices();
        if let Some((api, number)) = self.adapter() {
            return self.check_adapter(api, number).map(|()| self);
        }
        match self {
            Self::Auto if gpus > 0 => Ok(Self::LibtorchCuda(0)),
            Self::Auto | Self::Cpu => Ok(cpu),
            Self::Gpu if gpus == 0 => first_adapter().map_or_else(|| Self::LibtorchCuda(0).resolve(), Ok),
            Self::Gpu => Ok(Self::LibtorchCuda(0)),
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
            _ => Ok(self),
        }
    }

    /// The API and number of an adapter of burn's wgpu backend.
    fn adapter(self) -> Option<(Api, usize)> {
        match self {
            Self::Vulkan(number) => Some((Api::Vulkan, number)),
            Self::Metal(number) => Some((Api::Metal, number)),
            _ => None,
        }
    }

    fn check_adapter(self, api: Api, number: usize) -> Result<()> {
        let (name, remedy) = (api.name(), api.remedy());
        if !api.is_built_in() {
            let build = format!("build it with cargo build --release --features {name}");
            return Err(Error::device(self, format!("is not built into this program: {build}, or use `device` cpu")));
        }
        let found: Vec<String> = adapters::adapters(api).map(ToString::to_string).collect();
        if found.is_empty() {
            let reason = format!("is not available: {api} finds no adapter; {remedy}, or use `device` cpu");
            return Err(Error::device(self, reason));
        }
        if number >= found.len() {
            let list: Vec<_> = found.iter().enumerate().map(|(i, found)| format!("{name}:{i} is {found}")).collect();
            return Err(Error::device(self, format!("does not exist: {api} finds {}", list.join(", "))));
        }
        Ok(())
    }

    /// The device, and what hardware it is where that is known: `vulkan:0 (AMD Radeon RX 7600)`. [`Self::Auto`] and the like
    /// have to be resolved first.
    pub fn described(self) -> String {
        let adapter = self.adapter().and_then(|(api, number)| adapters::adapters(api).nth(number));
        adapter.map_or_else(|| self.to_string(), |adapter| format!("{self} ({adapter})"))
    }

    /// Every device that this program can compute on here, with a line on each.
    pub fn all() -> Vec<(Self, String)> {
        let mut all = vec![(Self::Flex, "the CPU, with segtool's own kernels".to_owned())];
        if libtorch::BUILT_IN {
            all.push((Self::Libtorch, "the CPU, with libtorch".to_owned()));
        }
        all.extend((0..libtorch::cuda_devices()).map(|number| {
            let name = asked_of_driver(number, "name").unwrap_or_else(|| "an NVIDIA GPU".to_owned());
            (Self::LibtorchCuda(number), format!("{name}, with libtorch"))
        }));
        for (api, device) in [(Api::Vulkan, Self::Vulkan as fn(usize) -> Self), (Api::Metal, Self::Metal)] {
            let found = adapters::adapters(api).enumerate();
            all.extend(found.map(|(i, adapter)| (device(i), format!("{adapter} (driver: {})", adapter.driver))));
        }
        all
    }

    /// The burn device, without automatic differentiation, set up to compute in float32.
    pub fn open(self) -> Result<Device> {
        self.open_for(Precision::Float32)
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
        let device = self.resolve()?;
        if device.is_gpu() {
            ops::allow_tf32(precision == Precision::Tf32);
        }
        ops::keep_freed_memory();
        match device {
            Self::Libtorch => Ok(libtorch::cpu()),
            Self::LibtorchCuda(index) => Ok(libtorch::cuda(index)),
            Self::Vulkan(number) => adapters::open(Api::Vulkan, number),
            Self::Metal(number) => adapters::open(Api::Metal, number),
            _ => Ok(Device::flex()),
        }
    }

    /// Says whether the device computes in `precision`.
    pub fn supports(self, precision: Precision) -> Result<()> {
        let device = self.resolve()?;
        let who = match (precision, device) {
            (Precision::Float32 | Precision::Auto, _)
            | (Precision::Tf32 | Precision::Bf16, Self::LibtorchCuda(_))
            | (Precision::Bf16, Self::Libtorch) => return Ok(()),
            (Precision::Tf32, _) => "NVIDIA GPUs (libtorch-cuda:N)",
            (Precision::Bf16, _) => "libtorch devices (libtorch, libtorch-cuda:N)",
        };
        let advice = "choose one of them as `device`, or `precision` float32";
        let reason = format!("{precision} does not work on device '{device}': only {who} support it; {advice}");
        Err(Error::conflict("precision", reason))
    }
}

/// The first GPU that burn's wgpu backend finds; software renderers do not count.
fn first_adapter() -> Option<DeviceChoice> {
    let first = |api| adapters::adapters(api).position(|adapter| !adapter.is_software);
    first(Api::Vulkan).map(DeviceChoice::Vulkan).or_else(|| first(Api::Metal).map(DeviceChoice::Metal))
}

/// How many GPUs libtorch finds; 0 in builds without it.
pub fn gpus() -> usize {
    libtorch::cuda_devices()
}

/// Whether tensors of `device` lie in the memory of a GPU: what is small there comes home sooner.
pub(crate) fn is_gpu(device: &Device) -> bool {
    *device != Device::flex() && *device != libtorch::cpu()
}

/// Begins a pass of a network on `device`; until the result is dropped, products are computed in `precision`, whichever
/// precision the device was opened for last.
#[must_use]
pub(crate) fn begin_pass(device: &Device, precision: Precision) -> Option<ops::Tf32Pass> {
    is_gpu(device).then(|| ops::Tf32Pass::begin(precision == Precision::Tf32))
}

/// Whether integers of 16 and of 64 bits are known to work there: some adapters have those of 32 bits alone.
pub(crate) fn has_every_integer(device: &Device) -> bool {
    !adapters::is_adapter(device)
}

/// Whether the device has threads of its own on the CPU, which wait for one another after every operation. Those of flex
/// take other work meanwhile.
pub(crate) fn has_own_threads(device: &Device) -> bool {
    *device != Device::flex() && *device == libtorch::cpu()
}

/// The most memory that was held at a time since the program began, in bytes: on a GPU by tensors, else by the process;
/// `None` where it is not measured.
pub fn peak_memory(device: DeviceChoice) -> Option<u64> {
    match device {
        DeviceChoice::LibtorchCuda(index) => return ops::peak_gpu_memory(index),
        DeviceChoice::Vulkan(_) | DeviceChoice::Metal(_) => return None,
        _ => {}
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
        DeviceChoice::LibtorchCuda(index) => {
            let mebibytes: u64 = asked_of_driver(index, "memory.free")?.parse().ok()?;
            Some(mebibytes << 20)
        }
        DeviceChoice::Vulkan(_) | DeviceChoice::Metal(_) => None,
        _ => main_memory::free(),
    }
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
    let by_number = || match std::env::var("CUDA_VISIBLE_DEVICES") {
        Ok(visible) => visible.split(',').nth(index).map(|id| id.trim().to_owned()),
        Err(_) => Some(index.to_string()),
    };
    let id = libtorch::bus_address(index).or_else(by_number)?;
    let output = std::process::Command::new("nvidia-smi").arg(format!("--id={id}")).args(asked).output().ok()?;
    // It writes its errors to standard output, too; but with 14, it warns of the GPU's own record and answers.
    if !matches!(output.status.code(), Some(0 | 14)) {
        return None;
    }
    Some(String::from_utf8(output.stdout).ok()?.lines().next()?.trim().to_owned())
}

/// Bytes that the libraries of this build occupy in a process, whichever device it computes on. Measured with the CUDA
/// build of libtorch 2.9; that for CPUs alone may take less.
pub fn library_memory() -> u64 {
    if libtorch::BUILT_IN { 370 << 20 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["auto", "cpu", "gpu", "flex", "libtorch", "libtorch-cuda:3", "vulkan:2", "metal:1"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("Libtorch-CUDA:1".parse::<DeviceChoice>().unwrap(), DeviceChoice::LibtorchCuda(1));
        for (name, first) in [("vulkan", DeviceChoice::Vulkan(0)), ("Metal", DeviceChoice::Metal(0))] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap(), first);
        }
        for name in
            ["", "tpu", "libtorch-cuda:", "libtorch-cuda:-1", "libtorch-cuda:x", "vulkan:", "vulkan:x", "flex:0"]
        {
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
    fn adapters_that_are_not_there_are_refused() {
        for (device, api) in [(DeviceChoice::Vulkan(99), Api::Vulkan), (DeviceChoice::Metal(99), Api::Metal)] {
            let expected = match (api.is_built_in(), adapters::adapters(api).len()) {
                (false, _) => format!("cargo build --release --features {}", api.name()),
                (true, 0) => format!("{api} finds no adapter"),
                (true, _) => format!("{api} finds {}:0 is ", api.name()),
            };
            assert_refused!(device.open(), &expected);
            assert_refused!(device.supports(Precision::Float32), &expected);
        }
    }

    #[test]
    fn a_backend_that_is_not_built_in_names_the_feature() {
        if !libtorch::BUILT_IN {
            assert_refused!(DeviceChoice::Libtorch.open(), "feature libtorch");
        }
    }
}
