//! Every operation from burn's own, for any backend; and what the native kernels are tested against.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Scalar, TensorMetadata};
use burn::tensor::{FloatDType, IndexingUpdateOp, Shape, Slice};

use super::results::{CrossEntropy, Gradients, Normalised, Statistics, Wanted};
use super::settings::{ConvSettings, ConvTransposeSettings, NormSettings, PoolSettings};

pub(super) fn convolution_gradients<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    settings: ConvSettings,
    wanted: Wanted<3>,
) -> Gradients<B, 3> {
    let options = settings.burn();
    [
        wanted[0].then(|| B::conv2d_x_backward(x.clone(), weight.clone(), gradient.clone(), options.clone())),
        wanted[1].then(|| B::conv2d_weight_backward(x, weight, gradient.clone(), options)),
        wanted[2].then(|| sum_by_channel::<B>(gradient)),
    ]
}

pub(super) fn transposed_convolution_gradients<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    settings: ConvTransposeSettings,
    wanted: Wanted<3>,
) -> Gradients<B, 3> {
    // The transpose of the transpose is the convolution; and the weight's gradient is the convolution's with the
    // roles of input and output gradient exchanged.
    let options = settings.conv.burn();
    // Output padding may leave room for more outputs of that convolution than there were inputs.
    let inputs: Vec<Slice> = x.shape().iter().map(|side| Slice::from(0..*side)).collect();
    let for_x = || B::float_slice(B::conv2d(gradient.clone(), weight.clone(), None, options.clone()), &inputs);
    [
        wanted[0].then(for_x),
        wanted[1].then(|| B::conv2d_weight_backward(gradient.clone(), weight, x, options.clone())),
        wanted[2].then(|| sum_by_channel::<B>(gradient)),
    ]
}

pub(super) fn batch_normalisation<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    running_mean: FloatTensor<B>,
    running_var: FloatTensor<B>,
    settings: NormSettings,
) -> Normalised<B> {
    let shape = x.shape();
    let count = (shape.num_elements() / shape[1]) as f64;
    let (narrow, wide) = (float_dtype::<B>(&x), float_dtype::<B>(&weight));
    let done = B::batch_norm_train(as_type::<B>(x, wide), weight, bias, settings.epsilon);
    let mix = |old, new, factor: f64| {
        let old = B::float_mul_scalar(old, Scalar::Float(1.0 - settings.momentum));
        B::float_add(old, B::float_mul_scalar(new, Scalar::Float(settings.momentum * factor)))
    };
    let shifted = B::float_add_scalar(done.variance.clone(), Scalar::Float(settings.epsilon));
    Normalised {
        output: as_type::<B>(done.output, narrow),
        running_mean: mix(running_mean, done.mean.clone(), 1.0),
        running_var: mix(running_var, done.variance, count / (count - 1.0)),
        statistics: Statistics {
            mean: done.mean,
            inverse_deviation: B::float_recip(B::float_sqrt(shifted)),
            reserved: None,
        },
    }
}

pub(super) fn batch_normalisation_gradients<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    statistics: Statistics<B>,
    gradient: FloatTensor<B>,
    epsilon: f64,
    _wanted: Wanted<3>,
) -> Gradients<B, 3> {
    let squared = B::float_mul(statistics.inverse_deviation.clone(), statistics.inverse_deviation);
    let variance = B::float_add_scalar(B::float_recip(squared), Scalar::Float(-epsilon));
    let (narrow, wide) = (float_dtype::<B>(&x), float_dtype::<B>(&weight));
    let (x, gradient) = (as_type::<B>(x, wide), as_type::<B>(gradient, wide));
    let done = B::batch_norm_train_backward(x, weight, statistics.mean, variance, epsilon, gradient);
    [Some(as_type::<B>(done.x_grad, narrow)), Some(done.gamma_grad), Some(done.beta_grad)]
}

pub(super) fn fixed_normalisation<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    mean: FloatTensor<B>,
    var: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let (narrow, wide) = (float_dtype::<B>(&x), float_dtype::<B>(&weight));
    as_type::<B>(B::batch_norm(as_type::<B>(x, wide), weight, bias, mean, var, epsilon), narrow)
}

pub(super) fn maximum_pooling<B: Backend>(x: FloatTensor<B>, settings: PoolSettings) -> (FloatTensor<B>, IntTensor<B>) {
    let PoolSettings { kernel, stride, padding, dilation, ceil_mode } = settings;
    let indices = burn::backend::get_or_init_device_settings::<B>(&x.device()).int_dtype;
    let done = B::max_pool2d_with_indices(x, kernel, stride, padding, dilation, ceil_mode, indices);
    (done.output, done.indices)
}

pub(super) fn maximum_pooling_gradient<B: Backend>(
    x: FloatTensor<B>,
    indices: IntTensor<B>,
    gradient: FloatTensor<B>,
    settings: PoolSettings,
) -> FloatTensor<B> {
    let PoolSettings { kernel, stride, padding, dilation, ceil_mode } = settings;
    let done = B::max_pool2d_with_indices_backward(x, kernel, stride, padding, dilation, ceil_mode, gradient, indices);
    done.x_grad
}

pub(super) fn softmax_cross_entropy<B: Backend>(
    logits: FloatTensor<B>,
    labels: IntTensor<B>,
    class_weights: Option<FloatTensor<B>>,
    ignore: i64,
) -> CrossEntropy<B> {
    let shape = logits.shape();
    let device = logits.device();
    let dtype = float_dtype::<B>(&logits);
    let settings = burn::backend::get_or_init_device_settings::<B>(&device);
    let log_probabilities = B::log_softmax(logits, 1);
    let pixels = Shape::new([shape[0], 1, shape[2], shape[3]]);
    let labels = B::int_reshape(labels, pixels.clone());
    let ignored = B::int_equal_elem(labels.clone(), Scalar::Int(ignore), settings.bool_dtype);
    let classes = B::int_mask_fill(labels, ignored.clone(), Scalar::Int(0));
    let weights = match class_weights {
        None => B::float_ones(pixels.clone(), &device, dtype),
        Some(weights) => {
            let flat = B::int_reshape(classes.clone(), Shape::new([pixels.num_elements()]));
            B::float_reshape(B::float_select(weights, 0, flat), pixels.clone())
        }
    };
    let weights = B::float_mask_fill(weights, ignored, Scalar::Float(0.0));
    let total_weight = sum::<B>(weights.clone());
    let nothing = B::float_equal_elem(total_weight.clone(), Scalar::Float(0.0), settings.bool_dtype);
    let total_weight = B::float_mask_fill(total_weight, nothing, Scalar::Float(1.0));
    let picked = B::float_gather(1, log_probabilities.clone(), classes.clone());
    let sum = sum::<B>(B::float_mul(picked, weights.clone()));
    let loss = B::float_neg(B::float_div(sum, total_weight.clone()));
    // The gradient but for the loss's own and the total weight: weight (softmax - one-hot).
    let kept = B::float_mul(B::float_exp(log_probabilities), weights.clone());
    let kept = B::float_scatter(1, kept, classes, B::float_neg(weights), IndexingUpdateOp::Add);
    CrossEntropy { loss, kept, total_weight }
}

/// The sum of all values, `[1]`. On GPUs, burn's own sum uses atomic additions, whose order varies and which crash some
/// drivers.
fn sum<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    let count = tensor.shape().num_elements();
    B::float_sum_dim(B::float_reshape(tensor, Shape::new([count])), 0)
}

/// The sum over batch and image, by channel: the gradient of a bias.
pub(super) fn sum_by_channel<B: Backend>(gradient: FloatTensor<B>) -> FloatTensor<B> {
    let channels = gradient.shape()[1];
    let rows = B::float_sum_dim(B::float_sum_dim(gradient, 3), 2);
    B::float_reshape(B::float_sum_dim(rows, 0), Shape::new([channels]))
}

/// Reshapes `[channels]` so that it broadcasts over images.
pub(super) fn spread<B: Backend>(channels: FloatTensor<B>) -> FloatTensor<B> {
    let count = channels.shape()[0];
    B::float_reshape(channels, Shape::new([1, count, 1, 1]))
}

pub(super) fn as_type<B: Backend>(tensor: FloatTensor<B>, dtype: FloatDType) -> FloatTensor<B> {
    if float_dtype::<B>(&tensor) == dtype { tensor } else { B::float_cast(tensor, dtype) }
}

pub(super) fn float_dtype<B: Backend>(tensor: &FloatTensor<B>) -> FloatDType {
    tensor.dtype().into()
}

#[cfg(test)]
mod tests {
    use burn::backend::flex::FlexTensor;
    use burn::backend::ops::{ActivationOps, ModuleOps};
    use burn::backend::{Flex, TensorData};

    use super::*;
    use crate::nn::ops::kernels::Kernels;
    use crate::nn::ops::products;
    use crate::nn::ops::{Interpolation, Resampling};

    fn noise(shape: &[usize], seed: u32) -> FlexTensor {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
        FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
    }

    fn assert_close(what: &str, found: &FlexTensor, expected: &FlexTensor) {
        let (found, expected) = (found.to_contiguous(), expected.to_contiguous());
        assert_eq!(found.shape(), expected.shape(), "{what}");
        let pairs = found.storage::<f32>().iter().zip(expected.storage::<f32>());
        let apart = pairs.map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
        let size = expected.storage::<f32>().iter().fold(0f32, |size, e| size.max(e.abs()));
        assert!(apart <= 1e-5 * size.max(1e-3), "{what}: {apart} apart, of {size}");
    }

    fn assert_all_close<const N: usize>(what: &str, found: Gradients<Flex, N>, expected: Gradients<Flex, N>) {
        for (i, pair) in found.iter().zip(&expected).enumerate() {
            let (Some(found), Some(expected)) = pair else { panic!("{what}: gradient {i} is missing") };
            assert_close(&format!("{what}, gradient {i}"), found, expected);
        }
    }

    #[test]
    fn convolutions() {
        for (stride, padding, dilation, groups) in
            [([1, 1], [1, 1], [1, 1], 1), ([2, 1], [0, 2], [1, 2], 2), ([2, 2], [3, 3], [2, 1], 1)]
        {
            let settings = ConvSettings { stride, padding, dilation, groups };
            let (x, weight) = (noise(&[2, 4, 11, 9], 1), noise(&[6, 4 / groups, 3, 3], 2));
            let bias = noise(&[6], 3);
            let found = Flex::convolution(x.clone(), weight.clone(), Some(bias.clone()), settings);
            let expected = Flex::conv2d(x.clone(), weight.clone(), Some(bias), settings.burn());
            assert_close("convolution", &found, &expected);
            let gradient = noise(&found.shape(), 4);
            let run = (Flex::convolution_gradients, convolution_gradients::<Flex>);
            let found = run.0(x.clone(), weight.clone(), gradient.clone(), settings, [true; 3]);
            assert_all_close("convolution", found, run.1(x, weight, gradient, settings, [true; 3]));
        }
    }

    #[test]
    fn transposed_convolutions() {
        for (stride, dilation, output_padding, groups) in [([2, 2], [1, 1], [1, 0], 2), ([1, 1], [2, 2], [1, 1], 1)] {
            let conv = ConvSettings { stride, padding: [1, 1], dilation, groups };
            let settings = ConvTransposeSettings { conv, output_padding };
            let (x, weight, bias) = (noise(&[2, 4, 6, 5], 1), noise(&[4, 3, 3, 2], 2), noise(&[3 * groups], 3));
            let found = Flex::transposed_convolution(x.clone(), weight.clone(), Some(bias.clone()), settings);
            let expected = Flex::conv_transpose2d(x.clone(), weight.clone(), Some(bias), settings.burn());
            assert_close("transposed", &found, &expected);
            let gradient = noise(&found.shape(), 4);
            let run = (Flex::transposed_convolution_gradients, transposed_convolution_gradients::<Flex>);
            let found = run.0(x.clone(), weight.clone(), gradient.clone(), settings, [true; 3]);
            assert_all_close("transposed", found, run.1(x, weight, gradient, settings, [true; 3]));
        }
    }

    #[test]
    fn batch_norms() {
        let (x, weight, bias) = (noise(&[3, 5, 7, 6], 1), noise(&[5], 2), noise(&[5], 3));
        let (mean, var) =
            (noise(&[5], 4), FlexTensor::from_data(TensorData::new(vec![0.5f32, 1.0, 2.0, 0.1, 3.0], [5])));
        let settings = NormSettings { momentum: 0.1, epsilon: 1e-3 };
        let arguments = || (x.clone(), weight.clone(), bias.clone(), mean.clone(), var.clone());
        let (a, b, c, d, e) = arguments();
        let found = Flex::batch_normalisation(a, b, c, d, e, settings);
        let (a, b, c, d, e) = arguments();
        let expected = batch_normalisation::<Flex>(a, b, c, d, e, settings);
        assert_close("output", &found.output, &expected.output);
        assert_close("running mean", &found.running_mean, &expected.running_mean);
        assert_close("running variance", &found.running_var, &expected.running_var);
        let gradient = noise(&x.shape(), 5);
        let run = (Flex::batch_normalisation_gradients, batch_normalisation_gradients::<Flex>);
        let found = run.0(x.clone(), weight.clone(), found.statistics, gradient.clone(), 1e-3, [true; 3]);
        let expected = run.1(x.clone(), weight.clone(), expected.statistics, gradient, 1e-3, [true; 3]);
        assert_all_close("batch norm", found, expected);
        let (a, b, c, d, e) = arguments();
        let found = Flex::fixed_normalisation(a, b, c, d, e, 1e-3);
        let (a, b, c, d, e) = arguments();
        assert_close("fixed", &found, &fixed_normalisation::<Flex>(a, b, c, d, e, 1e-3));
    }

    #[test]
    fn cross_entropies() {
        let logits = noise(&[2, 4, 5, 3], 1);
        let labels: Vec<i64> = (0..30).map(|i| if i % 7 == 0 { 255 } else { i % 4 }).collect();
        let labels = FlexTensor::from_data(TensorData::new(labels, [2, 5, 3]));
        for weights in [None, Some(FlexTensor::from_data(TensorData::new(vec![1f32, 0.5, 2.0, 3.0], [4])))] {
            let found = Flex::softmax_cross_entropy(logits.clone(), labels.clone(), weights.clone(), 255);
            let expected = softmax_cross_entropy::<Flex>(logits.clone(), labels.clone(), weights, 255);
            assert_close("loss", &found.loss, &expected.loss);
            assert_close("kept", &found.kept, &expected.kept);
            assert_close("total weight", &found.total_weight, &expected.total_weight);
        }
    }

    #[test]
    fn the_rest() {
        let x = noise(&[2, 3, 9, 7], 1);
        let settings = PoolSettings { stride: [2, 2], padding: [1, 1], ..PoolSettings::square(3) };
        let (found, places) = Flex::maximum_pooling(x.clone(), settings);
        let (expected, indices) = maximum_pooling::<Flex>(x.clone(), settings);
        assert_close("pooling", &found, &expected);
        let gradient = noise(&found.shape(), 2);
        let found = Flex::maximum_pooling_gradient(x.clone(), places, gradient.clone(), settings);
        assert_close("pooling", &found, &maximum_pooling_gradient::<Flex>(x.clone(), indices, gradient, settings));
        for interpolation in [Interpolation::Nearest, Interpolation::Bilinear, Interpolation::Bicubic] {
            for align_corners in [false, true] {
                let how = Resampling { interpolation, align_corners };
                let found = Flex::resample(x.clone(), [13, 5], how);
                assert_close("resampling", &found, &Flex::interpolate(x.clone(), [13, 5], how.burn()));
                let gradient = noise(&found.shape(), 3);
                let found = Flex::resample_gradient(gradient.clone(), x.shape(), how);
                let expected = products::resample_gradient::<Flex>(gradient, x.shape(), how);
                assert_close("resampling gradient", &found, &expected);
            }
        }
        let output = Flex::rectify(x.clone());
        assert_close("relu", &output, &Flex::relu(x.clone()));
        let gradient = noise(&x.shape(), 3);
        let found = Flex::rectify_gradient(output.clone(), gradient.clone());
        assert_close("relu", &found, &Flex::relu_backward(output, gradient));
    }
}
