//! libtorch's devices; in a build without it there are none.

use burn::tensor::Device;

pub(super) const BUILT_IN: bool = cfg!(feature = "libtorch");

pub(super) use devices::{cpu, cuda, cuda_devices};

#[cfg(feature = "libtorch")]
#[allow(deprecated)] // burn 0.22 is the last line with burn-tch; the design keeps it for its CUDA kernels
mod devices {
    use burn::tensor::DeviceType;

    use super::Device;

    pub(in super::super) fn cuda_devices() -> usize {
        let cpu = Device::libtorch();
        Device::enumerate(DeviceType::LibTorch).iter().filter(|device| **device != cpu).count()
    }

    pub(in super::super) fn cpu() -> Device {
        Device::libtorch()
    }

    pub(in super::super) fn cuda(index: usize) -> Device {
        Device::libtorch_cuda(index)
    }
}

#[cfg(not(feature = "libtorch"))]
mod devices {
    use super::Device;

    pub(in super::super) fn cuda_devices() -> usize {
        0
    }

    // `resolve` never lets these two be reached in this build; flex keeps them total.
    pub(in super::super) fn cpu() -> Device {
        Device::flex()
    }

    pub(in super::super) fn cuda(_index: usize) -> Device {
        Device::flex()
    }
}
