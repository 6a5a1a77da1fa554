//! libtorch's devices; in a build without it there are none.

use burn::tensor::Device;

pub(super) const BUILT_IN: bool = cfg!(feature = "libtorch");

pub(super) use devices::{bus_address, cpu, cuda, cuda_devices};

#[cfg(feature = "libtorch")]
#[allow(deprecated)] // burn 0.22 is the last line with burn-tch, which is kept for its CUDA kernels
mod devices {
    use std::ffi::{CStr, c_char, c_int};

    use burn::tensor::DeviceType;
    use libloading::os::unix::Library;

    use super::Device;

    /// `cudaDeviceGetPCIBusId`.
    type BusAddress = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;

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

    /// Where a GPU is on the bus, such as `0000:3b:00.0`; `None` if this libtorch does not export the function. CUDA and
    /// nvidia-smi number GPUs in different orders.
    #[allow(unsafe_code)] // the boundary to C
    pub(in super::super) fn bus_address(index: usize) -> Option<String> {
        let program = Library::this();
        let mut text = [0u8; 32];
        // SAFETY: the type is that in cuda_runtime_api.h; the function writes at most as many bytes as it is told.
        let code = unsafe {
            let find = program.get::<BusAddress>(b"cudaDeviceGetPCIBusId").ok()?;
            find(text.as_mut_ptr().cast(), text.len() as c_int, index as c_int)
        };
        let text = CStr::from_bytes_until_nul(&text).ok().filter(|_| code == 0)?;
        text.to_str().ok().map(str::to_owned)
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

    pub(in super::super) fn bus_address(_index: usize) -> Option<String> {
        None
    }
}
