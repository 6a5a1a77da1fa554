//! Classes on their way from a GPU to main memory.

use crate::nn::ops::Arriving;
use burn::tensor::{DType, Int, Tensor};

use crate::base::{Error, Result};
use crate::nn::device::is_gpu;

/// Classes that travel as one 64-bit integer, the only integers that burn reads from libtorch.
const PACKED: usize = 4;

/// Reads classes, which are below 65,536, row by row. From a GPU they travel in two bytes each instead of eight.
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
    count: usize,
    are_packed: bool,
}

impl ArrivingClasses {
    /// Sends them off.
    pub fn new<const D: usize>(classes: Tensor<D, Int>) -> Self {
        let count = classes.dims().iter().product();
        let classes = classes.reshape([count]);
        let are_packed = is_gpu(&classes.device());
        let numbers = Arriving::of_integers(if are_packed { packed(classes) } else { classes });
        Self { numbers, count, are_packed }
    }

    /// Waits for them: those of [`read_classes`].
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device failed.
    pub fn read(self) -> Result<Vec<u16>> {
        if self.are_packed {
            return Ok(unpacked(&self.numbers.read::<i64>()?, self.count));
        }
        let classes: Vec<i32> = self.numbers.read()?;
        Ok(classes.into_iter().map(|class| class as u16).collect())
    }
}

pub(super) fn unreadable(cause: impl std::fmt::Display) -> Error {
    Error::failed("read the result from the device", cause)
}

/// Four classes a number, the first of them in its lowest bits; the last number is completed with zeros.
fn packed(classes: Tensor<1, Int>) -> Tensor<1, Int> {
    let count = classes.dims()[0];
    let words = count.div_ceil(PACKED);
    let classes = classes.cast(DType::I64);
    let rest = Tensor::zeros([words * PACKED - count], (&classes.device(), DType::I64));
    let rows = Tensor::cat(vec![classes, rest], 0).reshape([words, PACKED]);
    let column = |i: usize| rows.clone().narrow(1, i, 1).bitwise_left_shift_scalar(16 * i as i64);
    let sum = (1..PACKED).fold(column(0), |sum, i| sum.bitwise_or(column(i)));
    sum.reshape([words])
}

fn unpacked(words: &[i64], count: usize) -> Vec<u16> {
    let classes = |word: &i64| std::array::from_fn::<u16, PACKED, _>(|i| (word >> (16 * i)) as u16);
    let mut classes: Vec<u16> = words.iter().flat_map(classes).collect();
    classes.truncate(count);
    classes
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn packed_classes_come_back() {
        for count in [1usize, 4, 7, 1001] {
            let classes: Vec<u16> = (0..count).map(|i| (i * 40_503 % 65_536) as u16).collect();
            let values: Vec<i32> = classes.iter().map(|&class| i32::from(class)).collect();
            let tensor = Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &Device::flex());
            let words: Vec<i64> = Arriving::of_integers(packed(tensor.clone())).read().unwrap();
            assert_eq!(words.len(), count.div_ceil(4));
            assert_eq!(unpacked(&words, count), classes);
            assert_eq!(read_classes(tensor).unwrap(), classes);
        }
    }
}
