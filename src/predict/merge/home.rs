//! Classes on their way from a GPU to main memory.

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
    let count = classes.dims().iter().product();
    let classes = classes.reshape([count]);
    if is_gpu(&classes.device()) {
        let words: Vec<i64> = read(packed(classes))?;
        return Ok(unpacked(&words, count));
    }
    let classes: Vec<i32> = read(classes)?;
    Ok(classes.into_iter().map(|class| class as u16).collect())
}

fn read<T: burn::tensor::Element>(tensor: Tensor<1, Int>) -> Result<Vec<T>> {
    tensor.try_into_vec_as().map_err(unreadable)
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
            let words: Vec<i64> = read(packed(tensor.clone())).unwrap();
            assert_eq!(words.len(), count.div_ceil(4));
            assert_eq!(unpacked(&words, count), classes);
            assert_eq!(read_classes(tensor).unwrap(), classes);
        }
    }
}
