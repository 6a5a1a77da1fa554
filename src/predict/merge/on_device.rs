//! Decisions where the scores were computed.

use burn::tensor::{DType, Device, Int, Tensor};

use crate::base::{Error, Result, Size};
use crate::nn::activation::Rule;
use crate::nn::device::is_gpu;
use crate::nn::ops::{Arriving, Resampling, argmax_channels, interpolate};

/// Most bytes that the enlarged scores of one image may take on the device, where two or three such tensors are held at a
/// time: small beside what the network itself takes for an image of that size.
const LARGEST: usize = 512 << 20;

/// Whether [`decide_on_device`] is the faster way for images of `size`, from `outputs` logits a pixel.
///
/// On a GPU, the enlargement costs little beside the network, and of its result two bytes a pixel have to come home; the
/// scores of all classes take four bytes each. The CPU decides row by row and holds less at a time.
pub fn decides_on_device(device: &Device, outputs: usize, size: Size) -> bool {
    let bytes = [size.width, size.height, size_of::<f32>()].iter().fold(outputs, |bytes, n| bytes.saturating_mul(*n));
    is_gpu(device) && bytes <= LARGEST
}

/// The classes of each image of a batch of logits `[batch, outputs, height, width]`, enlarged to `size` on their device;
/// `None` for an image with logits that are not numbers, which would decide for any class.
///
/// # Errors
///
/// [`Error::Failed`] if the device fails.
pub fn decide_on_device(
    logits: &Tensor<4>,
    enlargement: Resampling,
    rule: Rule,
    size: Size,
) -> Result<Vec<Option<Vec<u16>>>> {
    let [batch, outputs, height, width] = logits.dims();
    let sums = logits.clone().cast(DType::F32).reshape([batch, outputs * height * width]).sum_dim(1);
    // One by one: at their full size, the scores of many classes are large.
    let classes = (0..batch).map(|i| {
        let scores = logits.clone().narrow(0, i, 1).cast(DType::F32);
        decided(interpolate(scores, [size.height, size.width], enlargement), rule)
    });
    let all = Arriving::of_classes(Tensor::cat(classes.collect(), 0)).read_classes()?;
    let sums: Vec<f32> = sums.try_into_vec_as().map_err(|e| Error::failed("read the result from the device", e))?;
    let images = all.chunks_exact(size.width * size.height).zip(sums);
    Ok(images.map(|(classes, sum)| sum.is_finite().then(|| classes.to_vec())).collect())
}

/// The class of every pixel by `rule`, `[count, height, width]`, from logits `[count, outputs, height, width]`.
pub fn decided(logits: Tensor<4>, rule: Rule) -> Tensor<3, Int> {
    argmax_channels(match rule {
        Rule::MostProbable => logits,
        // The background wins where no other class is above the threshold's logit.
        Rule::Above(threshold) => {
            let [count, _, height, width] = logits.dims();
            let logits = if logits.dtype() == DType::F32 { logits } else { logits.cast(DType::F32) };
            let limit = Tensor::full([count, 1, height, width], Rule::logit(threshold), (&logits.device(), DType::F32));
            Tensor::cat(vec![limit, logits], 1)
        }
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::nn::ops::Interpolation;
    use crate::predict::merge::{Wanted, WeightedScores, decide};

    /// Both ways decide alike but where two scores are equal up to rounding.
    #[test]
    fn decisions_are_those_of_main_memory() {
        let (outputs, small, size) = (5, [6, 7], Size { width: 29, height: 23 });
        let values: Vec<f32> = (0..2 * outputs * 42).map(|i| ((i * 7919 + 13) % 1000) as f32 / 100.0 - 5.0).collect();
        let data = TensorData::new(values, [2, outputs, small[0], small[1]]);
        let logits = Tensor::<4>::from_data(data, &Device::flex());
        let spoilt = logits.clone().mask_fill(logits.clone().equal_elem(-5.0), f32::NAN);
        let found = decide_on_device(&spoilt, Resampling::default(), Rule::MostProbable, size).unwrap();
        assert!(found.iter().any(Option::is_none));
        for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
            for rule in [Rule::MostProbable, Rule::Above(0.5), Rule::Above(0.9)] {
                let how = Resampling { interpolation, align_corners: false };
                let there = decide_on_device(&logits, how, rule, size).unwrap();
                let parts = WeightedScores::of_batch(logits.clone(), how, rule, |_| false).unwrap();
                for (found, part) in there.iter().flatten().zip(parts) {
                    let expected = decide(&[part], size, 0..size.height, Wanted::default()).classes;
                    let unlike = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
                    assert!(unlike <= 1, "{unlike} of {} pixels, {rule:?}, {how:?}", expected.len());
                }
            }
        }
    }
}
