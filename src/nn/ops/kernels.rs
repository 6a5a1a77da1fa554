//! What a backend computes: every operation forward, and its gradients from what the forward pass kept.
//!
//! The default bodies work on any backend; `flex` and `libtorch` replace them by native ones.

use super::results::{CrossEntropy, Gradients, Normalised, Statistics, Wanted};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Scalar, TensorMetadata};
use burn::tensor::{FloatDType, Shape};

use super::common::{self, Common};
use super::generic::{self, as_type, float_dtype, spread, sum_by_channel};
use super::products;
use super::settings::{ConvSettings, ConvTransposeSettings, NormSettings, PoolSettings, Resampling};
use crate::nn::group::Group;

/// The operations of one backend. Shapes are PyTorch's: images `[batch, channels, height, width]`.
pub(super) trait Kernels: Backend {
    /// The weight of a convolution in the type of the images, laid out as the device is fastest with it: once a step, for
    /// the convolution and its gradients.
    fn kernel(weight: FloatTensor<Self>, dtype: FloatDType) -> FloatTensor<Self> {
        as_type::<Self>(weight, dtype)
    }

    /// Whether [`Self::kernel`] is anything but the weight itself.
    fn kernel_differs(weight: &FloatTensor<Self>, dtype: FloatDType) -> bool {
        float_dtype::<Self>(weight) != dtype
    }

    /// The gradient of a weight from that of [`Self::kernel`], in the weight's type and layout.
    fn kernel_gradient(gradient: FloatTensor<Self>, dtype: FloatDType) -> FloatTensor<Self> {
        as_type::<Self>(gradient, dtype)
    }

    /// Convolution of `x` with `weight` `[outputs, inputs / groups, height, width]`.
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        settings: ConvSettings,
    ) -> FloatTensor<Self> {
        Self::conv2d(x, weight, bias, settings.burn())
    }

    /// `max(convolution + shortcut, 0)`; the sums may come in another order than in [`Self::convolution`].
    fn rectified_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        shortcut: Option<FloatTensor<Self>>,
        settings: ConvSettings,
    ) -> FloatTensor<Self> {
        Self::rectify(shortcut.into_iter().fold(Self::convolution(x, weight, bias, settings), Self::float_add))
    }

    /// Gradients for input, weight and bias.
    fn convolution_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        settings: ConvSettings,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        generic::convolution_gradients::<Self>(x, weight, gradient, settings, wanted)
    }

    /// Transposed convolution of `x` with `weight` `[inputs, outputs / groups, height, width]`.
    fn transposed_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        settings: ConvTransposeSettings,
    ) -> FloatTensor<Self> {
        Self::conv_transpose2d(x, weight, bias, settings.burn())
    }

    /// Gradients for input, weight and bias.
    fn transposed_convolution_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        settings: ConvTransposeSettings,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        generic::transposed_convolution_gradients::<Self>(x, weight, gradient, settings, wanted)
    }

    /// Batch norm with the statistics of the batch, computed in the type of the weight.
    fn batch_normalisation(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        running_mean: FloatTensor<Self>,
        running_var: FloatTensor<Self>,
        settings: NormSettings,
    ) -> Normalised<Self> {
        generic::batch_normalisation::<Self>(x, weight, bias, running_mean, running_var, settings)
    }

    /// Gradients for input, weight and bias.
    fn batch_normalisation_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        statistics: Statistics<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        generic::batch_normalisation_gradients::<Self>(x, weight, statistics, gradient, epsilon, wanted)
    }

    /// Batch norm with given statistics.
    fn fixed_normalisation(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        var: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        generic::fixed_normalisation::<Self>(x, weight, bias, mean, var, epsilon)
    }

    /// Gradients for input, weight and bias.
    fn fixed_normalisation_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        var: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        let (narrow, wide) = (float_dtype::<Self>(&x), float_dtype::<Self>(&weight));
        let (x, gradient) = (as_type::<Self>(x, wide), as_type::<Self>(gradient, wide));
        let shifted = Self::float_add_scalar(var, Scalar::Float(epsilon));
        let inverse_deviation = Self::float_recip(Self::float_sqrt(shifted));
        let [weight, mean, inverse_deviation] = [weight, mean, inverse_deviation].map(spread::<Self>);
        let for_x = || Self::float_mul(gradient.clone(), Self::float_mul(weight, inverse_deviation.clone()));
        let for_weight = || {
            let normalised = Self::float_mul(Self::float_sub(x, mean), inverse_deviation.clone());
            sum_by_channel::<Self>(Self::float_mul(gradient.clone(), normalised))
        };
        [
            wanted[0].then(|| as_type::<Self>(for_x(), narrow)),
            wanted[1].then(for_weight),
            wanted[2].then(|| sum_by_channel::<Self>(gradient.clone())),
        ]
    }

    /// All-reduce: the sum of `x` over the processes of a group.
    fn sum_over_processes(x: FloatTensor<Self>, group: &Group) -> FloatTensor<Self> {
        common::sum_in_main_memory::<Self>(x, group)
    }

    /// Per-channel statistics of the whole batch. Passed are, for this process's share, means, sums of squared differences from
    /// them, and the number of values per channel.
    fn common_statistics(mean: FloatTensor<Self>, squares: FloatTensor<Self>, own: f64, group: &Group) -> Common<Self> {
        common::common_in_main_memory::<Self>(mean, squares, own, group)
    }

    /// `max(x, 0)`, in the place of `x` where nothing else holds it.
    fn rectify(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::relu(x)
    }

    /// Gradient for the input, from the output.
    fn rectify_gradient(output: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::relu_backward(output, gradient)
    }

    /// Maximum of every window, and which pixel it was.
    fn maximum_pooling(x: FloatTensor<Self>, settings: PoolSettings) -> (FloatTensor<Self>, IntTensor<Self>) {
        generic::maximum_pooling::<Self>(x, settings)
    }

    /// Gradient for the input.
    fn maximum_pooling_gradient(
        x: FloatTensor<Self>,
        indices: IntTensor<Self>,
        gradient: FloatTensor<Self>,
        settings: PoolSettings,
    ) -> FloatTensor<Self> {
        generic::maximum_pooling_gradient::<Self>(x, indices, gradient, settings)
    }

    /// Means over `size` areas that cover the image.
    fn adaptive_average_pooling(x: FloatTensor<Self>, size: [usize; 2]) -> FloatTensor<Self> {
        Self::adaptive_avg_pool2d(x, size)
    }

    /// Gradient for the input.
    fn adaptive_average_pooling_gradient(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::adaptive_avg_pool2d_backward(x, gradient)
    }

    /// `x` at another size.
    fn resample(x: FloatTensor<Self>, size: [usize; 2], how: Resampling) -> FloatTensor<Self> {
        Self::interpolate(x, size, how.burn())
    }

    /// Gradient for the input, whose shape was `input`.
    fn resample_gradient(gradient: FloatTensor<Self>, input: Shape, how: Resampling) -> FloatTensor<Self> {
        products::resample_gradient::<Self>(gradient, input, how)
    }

    /// Index of the largest channel of every pixel, `[batch, height, width]`.
    fn argmax_channels(x: FloatTensor<Self>) -> IntTensor<Self> {
        let (shape, indices) = (x.shape(), burn::backend::get_or_init_device_settings::<Self>(&x.device()).int_dtype);
        Self::int_reshape(Self::float_argmax(x, 1, indices), Shape::new([shape[0], shape[2], shape[3]]))
    }

    /// `x` itself; in a dry run, its memory is counted.
    fn note(x: FloatTensor<Self>) -> FloatTensor<Self> {
        x
    }

    /// Mean over the labelled pixels of `-weight[class] log softmax(logits)[class]`, divided by the sum of those
    /// weights; 0 if no pixel has a label. `labels` `[batch, height, width]` are class indices or `ignore`.
    fn softmax_cross_entropy(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        class_weights: Option<FloatTensor<Self>>,
        ignore: i64,
    ) -> CrossEntropy<Self> {
        generic::softmax_cross_entropy::<Self>(logits, labels, class_weights, ignore)
    }

    /// Gradient for the logits.
    fn softmax_cross_entropy_gradient(
        forward: CrossEntropy<Self>,
        labels: IntTensor<Self>,
        class_weights: Option<FloatTensor<Self>>,
        ignore: i64,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        drop((labels, class_weights, ignore));
        let scale = Self::float_div(gradient, forward.total_weight);
        Self::float_mul(forward.kept, Self::float_reshape(scale, Shape::new([1, 1, 1, 1])))
    }
}
