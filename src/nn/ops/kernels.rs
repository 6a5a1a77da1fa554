//! What a backend computes: every operation forward, and its gradients from what the forward pass kept.
//!
//! The default bodies work on any backend; `flex` and `libtorch` replace them by native ones.

use super::results::{CrossEntropy, Gradients, Normalised, Statistics, Wanted};
use burn::backend::Backend;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::Shape;

use super::generic;
use super::settings::{AdamStep, ConvSettings, ConvTransposeSettings, NormSettings, PoolSettings, Resampling, SgdStep};

/// The operations of one backend. Shapes are PyTorch's: images `[batch, channels, height, width]`.
pub(super) trait Kernels: Backend {
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
        let out = Self::convolution(x, weight, bias, settings);
        Self::rectify(shortcut.into_iter().fold(out, Self::float_add))
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
        generic::fixed_normalisation_gradients::<Self>(x, weight, mean, var, gradient, epsilon, wanted)
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
        generic::resample_gradient::<Self>(gradient, input, how)
    }

    /// Index of the largest channel of every pixel, `[batch, height, width]`.
    fn argmax_channels(x: FloatTensor<Self>) -> IntTensor<Self> {
        generic::argmax_channels::<Self>(x)
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
        generic::softmax_cross_entropy_gradient::<Self>(forward, labels, class_weights, ignore, gradient)
    }

    /// Parameter and velocity after a step.
    fn sgd(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        velocity: FloatTensor<Self>,
        step: SgdStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        generic::sgd::<Self>(parameter, gradient, velocity, step)
    }

    /// Parameter and both moments after a step.
    fn adam(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        moments: [FloatTensor<Self>; 2],
        step: AdamStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        generic::adam::<Self>(parameter, gradient, moments, step)
    }
}
