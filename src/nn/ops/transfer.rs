//! Copies between main memory and a device.
//!
//! burn's own wait until a GPU has done everything that it was asked for before. Here a copy is one more piece of work in
//! the GPU's queue, and the program goes on; it waits only when it asks for numbers that have not arrived.

use burn::tensor::{DType, Device, Element, Int, Tensor, TensorData};

use super::profile;
use crate::base::{Error, Result};

/// Values in main memory, as a tensor on `device`.
pub fn upload<const D: usize>(values: TensorData, device: &Device) -> Tensor<D> {
    #[cfg(feature = "libtorch")]
    if let Some(gpu) = super::libtorch::gpu_number(device) {
        let there = super::libtorch::upload(&values, gpu);
        return if device.is_autodiff() { there.autodiff() } else { there };
    }
    Tensor::from_data(values, device)
}

/// [`upload`] of integers, which have the type `dtype` there.
pub fn upload_integers<const D: usize>(values: TensorData, device: &Device, dtype: DType) -> Tensor<D, Int> {
    #[cfg(feature = "libtorch")]
    if let Some(gpu) = super::libtorch::gpu_number(device).filter(|_| values.dtype() == dtype) {
        let there = super::libtorch::upload_integers(&values, gpu);
        return if device.is_autodiff() { there.autodiff() } else { there };
    }
    Tensor::from_data(values, (device, dtype))
}

/// The number of a tensor that holds one. The program waits until the device has done all it was asked for.
pub fn read_number(tensor: Tensor<1>) -> f64 {
    profile::note_read();
    f64::from(tensor.into_scalar::<f32>())
}

/// The numbers of a tensor. The program waits until the device has done all it was asked for.
pub fn read_numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    profile::note_read();
    tensor.into_data().iter::<f32>().collect()
}

/// Numbers of a tensor on their way to main memory.
#[derive(Debug)]
pub struct Arriving(Place);

#[derive(Debug)]
enum Place {
    /// They are there, or cannot be.
    Home(Result<TensorData>),
    #[cfg(feature = "libtorch")]
    OnTheWay(super::libtorch::Arrival),
}

impl Arriving {
    /// Starts to copy the numbers of `tensor` to main memory; on libtorch's GPUs this does not wait for the device.
    pub fn new<const D: usize>(tensor: Tensor<D>) -> Self {
        profile::note_read();
        let tensor = tensor.inner();
        #[cfg(feature = "libtorch")]
        if let Some(arrival) = super::libtorch::send_home(&tensor) {
            return Self(Place::OnTheWay(arrival));
        }
        Self(Place::Home(tensor.try_into_data().map_err(unreadable)))
    }

    /// Sends off class numbers below 65,536, which [`Self::read_classes`] waits for; from libtorch's GPUs they come as 16-bit
    /// integers.
    pub fn of_classes<const D: usize>(tensor: Tensor<D, Int>) -> Self {
        profile::note_read();
        let tensor = tensor.inner();
        #[cfg(feature = "libtorch")]
        if let Some(arrival) = super::libtorch::send_classes_home(&tensor) {
            return Self(Place::OnTheWay(arrival));
        }
        Self(Place::Home(tensor.try_into_data().map_err(unreadable)))
    }

    /// Waits for the copy that [`Self::of_classes`] started and returns the class indices, in the order of the tensor.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if they cannot be read from the device.
    pub fn read_classes(self) -> Result<Vec<u16>> {
        // The same 16 bits, without a sign.
        #[cfg(feature = "libtorch")]
        if let Place::OnTheWay(_) = &self.0 {
            return Ok(self.read::<i16>()?.into_iter().map(|class| class as u16).collect());
        }
        Ok(self.read::<i32>()?.into_iter().map(|class| class as u16).collect())
    }

    /// Waits for the copy and returns the numbers in the order of the tensor, as type `T`.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if the numbers cannot be read from the device.
    pub fn read<T: Element>(self) -> Result<Vec<T>> {
        let data = match self.0 {
            Place::Home(data) => data?,
            #[cfg(feature = "libtorch")]
            Place::OnTheWay(arrival) => arrival.wait().map_err(unreadable)?,
        };
        data.try_cast_as::<T>().map_err(unreadable)?.try_into_vec::<T>().map_err(unreadable)
    }
}

fn unreadable(cause: impl std::fmt::Display) -> Error {
    Error::failed("read the result from the device", cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_come_back() {
        let classes: Vec<u16> = (0..1001).map(|i| (i * 40_503 % 65_536) as u16).collect();
        let values: Vec<i32> = classes.iter().map(|&class| i32::from(class)).collect();
        let tensor = Tensor::<1, Int>::from_data(TensorData::new(values, [1001]), &Device::flex());
        assert_eq!(Arriving::of_classes(tensor.reshape([7, 143])).read_classes().unwrap(), classes);
    }
}
