//! Classes on their way from a GPU to main memory.

use crate::nn::ops::Arriving;
use burn::tensor::{Int, Tensor};

use crate::base::{Error, Result};

/// Reads classes, which are below 65,536, row by row.
///
/// # Errors
///
/// [`Error::Failed`] if the device fails.
pub fn read_classes<const D: usize>(classes: Tensor<D, Int>) -> Result<Vec<u16>> {
    ArrivingClasses::new(classes).read()
}

/// Classes on their way to main memory.
#[derive(Debug)]
pub struct ArrivingClasses(Arriving);

impl ArrivingClasses {
    /// Starts to copy class indices, which are below 65,536, from the device to main memory.
    pub fn new<const D: usize>(classes: Tensor<D, Int>) -> Self {
        Self(Arriving::of_classes(classes))
    }

    /// Waits for the copy and returns the class indices, row by row, as [`read_classes`] does.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if the device fails.
    pub fn read(self) -> Result<Vec<u16>> {
        self.0.read_classes()
    }
}

pub(super) fn unreadable(cause: impl std::fmt::Display) -> Error {
    Error::failed("read the result from the device", cause)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn classes_come_back() {
        let classes: Vec<u16> = (0..1001).map(|i| (i * 40_503 % 65_536) as u16).collect();
        let values: Vec<i32> = classes.iter().map(|&class| i32::from(class)).collect();
        let tensor = Tensor::<1, Int>::from_data(TensorData::new(values, [1001]), &Device::flex());
        assert_eq!(read_classes(tensor.reshape([7, 143])).unwrap(), classes);
    }
}
