//! GPUs of any maker, through burn's wgpu backend: Vulkan, or Metal on a Mac.

use std::fmt;

/// A graphics API through which adapters are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// GPUs of AMD, Intel, NVIDIA and others on Linux and Windows.
    Vulkan,
    /// GPUs of Apple.
    Metal,
}

impl Api {
    /// Whether this program was built with it.
    pub(super) fn is_built_in(self) -> bool {
        match self {
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Metal => cfg!(feature = "metal"),
        }
    }

    /// The Cargo feature, and the device on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
        }
    }

    /// What to do if no adapter is found.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Vulkan => {
                "install the GPU's Vulkan driver (on Debian and Ubuntu: libvulkan1, with mesa-vulkan-drivers for AMD and Intel; \
                 NVIDIA's own driver brings one) and check that vulkaninfo --summary lists the GPU"
            }
            Self::Metal => "it needs a Mac whose GPU supports Metal",
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A GPU or a software renderer, as its driver describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Adapter {
    /// Name given by the driver.
    pub(super) name: String,
    /// The driver and its version.
    pub(super) driver: String,
    /// Whether it is a software renderer, which computes on the CPU.
    pub(super) is_software: bool,
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.is_software { f.write_str(", computes on the CPU") } else { Ok(()) }
    }
}

#[cfg(any(feature = "vulkan", feature = "metal"))]
pub(super) use wgpu_backend::{adapters, is_adapter, open};

#[cfg(any(feature = "vulkan", feature = "metal"))]
mod wgpu_backend {
    use std::sync::{Mutex, OnceLock};

    use burn::tensor::wgpu::{WgpuBackend, wgpu};
    use burn::tensor::{Device, DeviceKind, try_read_sync};

    use super::{Adapter, Api};
    use crate::base::{Error, Result, locked};

    impl Api {
        fn burn(self) -> WgpuBackend {
            match self {
                Self::Vulkan => WgpuBackend::Vulkan,
                Self::Metal => WgpuBackend::Metal,
            }
        }

        fn wgpu(self) -> wgpu::Backends {
            match self {
                Self::Vulkan => wgpu::Backends::VULKAN,
                Self::Metal => wgpu::Backends::METAL,
            }
        }
    }

    /// An adapter, and burn's kind and number of it.
    type Found = (Adapter, DeviceKind);

    /// The adapters, discrete GPUs first, software renderers last. They are enumerated once, because the Vulkan loader fails
    /// if another thread opens a device at the same time.
    fn found(api: Api) -> &'static [Found] {
        static FOUND: [OnceLock<Vec<Found>>; 2] = [OnceLock::new(), OnceLock::new()];
        FOUND[api as usize].get_or_init(|| if api.is_built_in() { ask(api) } else { Vec::new() })
    }

    fn ask(api: Api) -> Vec<Found> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: api.wgpu(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let listed = try_read_sync(instance.enumerate_adapters(api.wgpu())).unwrap_or_default();
        numbered(listed.iter().map(wgpu::Adapter::get_info).map(|info| {
            let driver = format!("{} {}", info.driver, info.driver_info).trim().to_owned();
            (info.device_type, info.name, driver)
        }))
    }

    /// Adapters by kind. burn numbers each kind from zero, knows a single software renderer, and cannot open adapters of
    /// unknown kind.
    fn numbered(listed: impl Iterator<Item = (wgpu::DeviceType, String, String)>) -> Vec<Found> {
        use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, VirtualGpu};
        let listed: Vec<_> = listed.collect();
        let of = |kind: wgpu::DeviceType, burn: fn(usize) -> DeviceKind| {
            let alike = listed.iter().filter(move |(its, ..)| *its == kind).enumerate();
            alike.map(move |(i, (_, name, driver))| {
                let adapter = Adapter { name: name.clone(), driver: driver.clone(), is_software: kind == Cpu };
                (adapter, burn(i))
            })
        };
        let gpus = of(DiscreteGpu, DeviceKind::DiscreteGpu).chain(of(IntegratedGpu, DeviceKind::IntegratedGpu));
        gpus.chain(of(VirtualGpu, DeviceKind::VirtualGpu)).chain(of(Cpu, |_| DeviceKind::Cpu).take(1)).collect()
    }

    /// The adapters of `api`, in the order of their numbers.
    pub(in super::super) fn adapters(api: Api) -> impl ExactSizeIterator<Item = &'static Adapter> {
        found(api).iter().map(|(adapter, _)| adapter)
    }

    /// The adapters that are in use.
    static OPENED: Mutex<Vec<(Api, usize, Device)>> = Mutex::new(Vec::new());

    /// The burn device of an existing adapter.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] with the driver's words if it does not open.
    pub(in super::super) fn open(api: Api, number: usize) -> Result<Device> {
        let mut opened = locked(&OPENED);
        if let Some((.., device)) = opened.iter().find(|(its, which, _)| (*its, *which) == (api, number)) {
            return Ok(device.clone());
        }
        let (adapter, kind) = &found(api)[number];
        let device =
            Device::wgpu_options().device_kind(kind.clone()).graphics_api(api.burn()).init().map_err(|cause| {
                let device = format!("{}:{number}", api.name());
                let reason = format!("({adapter}) does not open: {cause}; update its driver, or use `device` cpu");
                Error::device(device, reason)
            })?;
        opened.push((api, number, device.clone()));
        Ok(device)
    }

    /// Whether [`open`] returned this device.
    pub(in super::super) fn is_adapter(device: &Device) -> bool {
        locked(&OPENED).iter().any(|(.., opened)| opened == device)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn gpus_come_before_programs() {
            use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other};
            let listed =
                [(Cpu, "a"), (IntegratedGpu, "b"), (DiscreteGpu, "c"), (Other, "d"), (Cpu, "e"), (DiscreteGpu, "f")];
            let found = numbered(listed.into_iter().map(|(kind, name)| (kind, name.into(), String::new())));
            let kinds: Vec<_> = found.iter().map(|(adapter, kind)| (adapter.name.as_str(), kind.clone())).collect();
            let expected = [
                ("c", DeviceKind::DiscreteGpu(0)),
                ("f", DeviceKind::DiscreteGpu(1)),
                ("b", DeviceKind::IntegratedGpu(0)),
                ("a", DeviceKind::Cpu),
            ];
            assert_eq!(kinds, expected);
            assert_eq!(found[3].0.to_string(), "a, computes on the CPU");
        }
    }
}

#[cfg(not(any(feature = "vulkan", feature = "metal")))]
pub(super) fn adapters(_: Api) -> impl ExactSizeIterator<Item = &'static Adapter> {
    std::iter::empty()
}

#[cfg(not(any(feature = "vulkan", feature = "metal")))]
pub(super) fn is_adapter(_: &burn::tensor::Device) -> bool {
    false
}

// `resolve` never lets this be reached in this build.
#[cfg(not(any(feature = "vulkan", feature = "metal")))]
pub(super) fn open(_: Api, _: usize) -> crate::base::Result<burn::tensor::Device> {
    Ok(burn::tensor::Device::flex())
}
