//! Classes on their way from a GPU to main memory.

use crate::nn::ops::Arriving;
use burn::tensor::{Int, Tensor};

use crate::base::{Error, Result};
use crate::nn::device::is_gpu;

/// Reads classes, which are below 65,536, row by row. From a GPU they are copied as 16-bit integers.
///
/// # Errors
///
/// [`Error::Failed`] if the device fails.
pub fn read_classes<const D: usize>(classes: Tensor<D, Int>) -> Result<Vec<u16>> {
    ArrivingClasses::new(classes).read()
}

/// Classes on their way to main memory.
#[derive(Debug)]
pub struct ArrivingClasses {
    numbers: Arriving,
    /// Whether they are 16-bit integers.
    are_short: bool,
}

impl ArrivingClasses {
    /// Sends them off.
    pub fn new<const D: usize>(classes: Tensor<D, Int>) -> Self {
        let are_short = is_gpu(&classes.device());
        Self { numbers: Arriving::of_classes(classes), are_short }
    }

    /// Waits for them: those of [`read_classes`].
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device failed.
    pub fn read(self) -> Result<Vec<u16>> {
        if self.are_short {
            return Ok(self.numbers.read::<i16>()?.into_iter().map(|class| class as u16).collect());
        }
        let classes: Vec<i32> = self.numbers.read()?;
        Ok(classes.into_iter().map(|class| class as u16).collect())
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
