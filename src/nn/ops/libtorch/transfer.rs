//! Copies that take their turn among the work of a GPU, through pinned memory.
//!
//! That memory is libtorch's, which knows of the copies it made from and to it, and gives a block to the next tensor only
//! when they are over, however soon the tensor is dropped.

use burn::backend::libtorch::{LibTorchDevice, TchTensor};
use burn::backend::{DispatchDevice, LibTorch};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use tch::Kind;

use super::ffi::{Copying, upload_bytes};

/// Which of the GPUs a device is, if it is one.
pub(in crate::nn::ops) fn gpu_number(device: &Device) -> Option<usize> {
    match device.clone().inner().as_dispatch() {
        DispatchDevice::LibTorch(LibTorchDevice::Cuda(number)) => Some(*number),
        _ => None,
    }
}

/// Whether tensors of a device are libtorch's, with gradients or without.
pub(in crate::nn::ops) fn is_libtorch(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::LibTorch(_))
}

pub(in crate::nn::ops) fn upload<const D: usize>(values: &TensorData, gpu: usize) -> Tensor<D> {
    Tensor::from_primitive::<LibTorch>(there(values, Some(gpu)))
}

pub(in crate::nn::ops) fn upload_integers<const D: usize>(values: &TensorData, gpu: usize) -> Tensor<D, Int> {
    Tensor::from_primitive::<LibTorch>(there(values, Some(gpu)))
}

/// The values on a GPU, or else in a tensor of their own in main memory.
pub(super) fn there(values: &TensorData, gpu: Option<usize>) -> TchTensor {
    let shape: Vec<i64> = values.shape().iter().map(|&side| side as i64).collect();
    TchTensor::new(upload_bytes(values.as_bytes(), &shape, kind(values.dtype()), gpu))
}

fn kind(dtype: DType) -> Kind {
    match dtype {
        DType::F32 => Kind::Float,
        DType::F64 => Kind::Double,
        DType::I16 => Kind::Int16,
        DType::I32 => Kind::Int,
        DType::I64 => Kind::Int64,
        other => panic!("values of type {other:?} are not copied to a GPU"),
    }
}

/// Sends the numbers of a tensor without gradients off to main memory; `None` if it is there.
pub(in crate::nn::ops) fn send_home<const D: usize>(tensor: &Tensor<D>) -> Option<Arrival> {
    gpu_number(&tensor.device())?;
    tensor.clone().try_into_primitive::<LibTorch>().ok().map(|tensor| Arrival::begin(&tensor))
}

/// [`send_home`] of class numbers below 65,536, as 16-bit integers, which burn itself does not take from libtorch.
pub(in crate::nn::ops) fn send_classes_home<const D: usize>(tensor: &Tensor<D, Int>) -> Option<Arrival> {
    gpu_number(&tensor.device())?;
    tensor.clone().try_into_primitive::<LibTorch>().ok().map(|tensor| Arrival::of_classes(&tensor.tensor))
}

/// A tensor's numbers on their way to main memory.
#[derive(Debug)]
pub(in crate::nn::ops) struct Arrival(Copying);

impl Arrival {
    fn begin(tensor: &TchTensor) -> Self {
        Self(Copying::begin(&tensor.tensor))
    }

    fn of_classes(classes: &tch::Tensor) -> Self {
        Self(Copying::begin(&classes.to_kind(Kind::Int16)))
    }

    /// The numbers, when they are there.
    pub(in crate::nn::ops) fn wait(self) -> Result<TensorData, String> {
        let home = self.0.wait()?;
        let shape: Vec<usize> = home.size().iter().map(|&side| side as usize).collect();
        let flat = home.reshape([home.numel() as i64]);
        let read = match flat.kind() {
            Kind::Int16 => Vec::<i16>::try_from(&flat).map(|values| TensorData::new(values, shape)),
            _ => Vec::<f32>::try_from(&flat.to_kind(Kind::Float)).map(|values| TensorData::new(values, shape)),
        };
        read.map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In main memory, where there is nothing to wait for.
    #[test]
    fn what_is_copied_there_comes_back() {
        let floats = TensorData::new(vec![1.5f32, -2.0, 0.25, 3.0, f32::INFINITY, 0.1], [2, 3]);
        let there = there(&floats, None);
        assert_eq!((there.tensor.size(), there.tensor.kind()), (vec![2, 3], Kind::Float));
        assert_eq!(Arrival::begin(&there).wait().unwrap(), floats);
        let labels = TensorData::new(vec![0i16, -1, 7, 32_000], [1, 2, 2]);
        let wide = super::there(&labels, None).tensor.to_kind(Kind::Int64);
        assert_eq!(Arrival::of_classes(&wide).wait().unwrap(), labels);
        drop(Arrival::begin(&there));
    }
}
