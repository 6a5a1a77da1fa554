//! What a backend computes: every operation forward, and its gradients from what the forward pass kept.
//!
//! The default bodies compose burn's own operations and work on any backend; `flex` and `libtorch` replace them by
//! native ones.

use burn::backend::ops::InterpolateOptions;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Scalar, TensorMetadata};
use burn::tensor::{FloatDType, IndexingUpdateOp, Shape};

use super::settings::{ConvSettings, ConvTransposeSettings, NormSettings, PoolSettings, Resampling};

/// Which of the inputs a gradient is wanted for, in the order of the operation's arguments.
pub(super) type Wanted<const N: usize> = [bool; N];

/// Gradients in the order of the operation's arguments; `None` where none was wanted.
pub(super) type Gradients<B, const N: usize> = [Option<FloatTensor<B>>; N];

/// The result of a batch norm in training.
#[derive(Debug, Clone)]
pub(super) struct Normalised<B: Backend> {
    /// The normalised, scaled and shifted input.
    pub(super) output: FloatTensor<B>,
    /// Running mean after this batch.
    pub(super) running_mean: FloatTensor<B>,
    /// Running variance after this batch, from the unbiased variance of the batch.
    pub(super) running_var: FloatTensor<B>,
    /// What the gradient needs.
    pub(super) statistics: Statistics<B>,
}

/// Statistics of a batch, for the gradient.
#[derive(Debug, Clone)]
pub(super) struct Statistics<B: Backend> {
    /// Mean by channel.
    pub(super) mean: FloatTensor<B>,
    /// `1 / sqrt(variance + epsilon)` by channel, with the biased variance.
    pub(super) inverse_deviation: FloatTensor<B>,
    /// What a backend's own kernel keeps beside, and the number of that kernel.
    #[cfg_attr(not(feature = "libtorch"), allow(dead_code))] // only libtorch keeps any
    pub(super) reserved: Option<(FloatTensor<B>, i64)>,
}

/// A cross-entropy and what its gradient needs.
#[derive(Debug, Clone)]
pub(super) struct CrossEntropy<B: Backend> {
    /// The loss, of shape `[1]`.
    pub(super) loss: FloatTensor<B>,
    /// A tensor like the logits: what that is, is the backend's own affair.
    pub(super) kept: FloatTensor<B>,
    /// Sum of the weights of the labelled pixels, of shape `[1]`, at least the smallest positive number.
    pub(super) total_weight: FloatTensor<B>,
}

/// The operations of one backend. Shapes are PyTorch's: pictures `[batch, channels, height, width]`.
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

    /// Gradients for input, weight and bias.
    fn convolution_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        settings: ConvSettings,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        let options = settings.burn();
        [
            wanted[0].then(|| Self::conv2d_x_backward(x.clone(), weight.clone(), gradient.clone(), options.clone())),
            wanted[1].then(|| Self::conv2d_weight_backward(x, weight, gradient.clone(), options)),
            wanted[2].then(|| sum_by_channel::<Self>(gradient)),
        ]
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
        // The transpose of the transpose is the convolution; and the weight's gradient is the convolution's with the
        // roles of input and output gradient exchanged.
        let options = settings.conv.burn();
        [
            wanted[0].then(|| Self::convolution(gradient.clone(), weight.clone(), None, settings.conv)),
            wanted[1].then(|| Self::conv2d_weight_backward(gradient.clone(), weight, x, options)),
            wanted[2].then(|| sum_by_channel::<Self>(gradient)),
        ]
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
        let shape = x.shape();
        let count = (shape.num_elements() / shape[1]) as f64;
        let (narrow, wide) = (float_dtype::<Self>(&x), float_dtype::<Self>(&weight));
        let done = Self::batch_norm_train(as_type::<Self>(x, wide), weight, bias, settings.epsilon);
        let mix = |old, new, factor: f64| {
            let old = Self::float_mul_scalar(old, Scalar::Float(1.0 - settings.momentum));
            Self::float_add(old, Self::float_mul_scalar(new, Scalar::Float(settings.momentum * factor)))
        };
        let shifted = Self::float_add_scalar(done.variance.clone(), Scalar::Float(settings.epsilon));
        Normalised {
            output: as_type::<Self>(done.output, narrow),
            running_mean: mix(running_mean, done.mean.clone(), 1.0),
            running_var: mix(running_var, done.variance, count / (count - 1.0)),
            statistics: Statistics {
                mean: done.mean,
                inverse_deviation: Self::float_recip(Self::float_sqrt(shifted)),
                reserved: None,
            },
        }
    }

    /// Gradients for input, weight and bias.
    fn batch_normalisation_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        statistics: Statistics<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        _wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        let squared = Self::float_mul(statistics.inverse_deviation.clone(), statistics.inverse_deviation);
        let variance = Self::float_add_scalar(Self::float_recip(squared), Scalar::Float(-epsilon));
        let (narrow, wide) = (float_dtype::<Self>(&x), float_dtype::<Self>(&weight));
        let (x, gradient) = (as_type::<Self>(x, wide), as_type::<Self>(gradient, wide));
        let done = Self::batch_norm_train_backward(x, weight, statistics.mean, variance, epsilon, gradient);
        [Some(as_type::<Self>(done.x_grad, narrow)), Some(done.gamma_grad), Some(done.beta_grad)]
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
        let (narrow, wide) = (float_dtype::<Self>(&x), float_dtype::<Self>(&weight));
        as_type::<Self>(Self::batch_norm(as_type::<Self>(x, wide), weight, bias, mean, var, epsilon), narrow)
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
        let spread = |channels: FloatTensor<Self>| {
            let count = channels.shape()[0];
            Self::float_reshape(channels, Shape::new([1, count, 1, 1]))
        };
        let shifted = Self::float_add_scalar(var, Scalar::Float(epsilon));
        let inverse_deviation = spread(Self::float_recip(Self::float_sqrt(shifted)));
        let for_x = || Self::float_mul(gradient.clone(), Self::float_mul(spread(weight), inverse_deviation.clone()));
        let for_weight = || {
            let normalised = Self::float_mul(Self::float_sub(x, spread(mean)), inverse_deviation.clone());
            sum_by_channel::<Self>(Self::float_mul(gradient.clone(), normalised))
        };
        [
            wanted[0].then(|| as_type::<Self>(for_x(), narrow)),
            wanted[1].then(for_weight),
            wanted[2].then(|| sum_by_channel::<Self>(gradient.clone())),
        ]
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
        let PoolSettings { kernel, stride, padding, dilation, ceil_mode } = settings;
        let indices = burn::backend::get_or_init_device_settings::<Self>(&x.device()).int_dtype;
        let done = Self::max_pool2d_with_indices(x, kernel, stride, padding, dilation, ceil_mode, indices);
        (done.output, done.indices)
    }

    /// Gradient for the input.
    fn maximum_pooling_gradient(
        x: FloatTensor<Self>,
        indices: IntTensor<Self>,
        gradient: FloatTensor<Self>,
        settings: PoolSettings,
    ) -> FloatTensor<Self> {
        let PoolSettings { kernel, stride, padding, dilation, ceil_mode } = settings;
        let done =
            Self::max_pool2d_with_indices_backward(x, kernel, stride, padding, dilation, ceil_mode, gradient, indices);
        done.x_grad
    }

    /// Means over `size` areas that cover the picture.
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
        let shape = gradient.shape();
        let options: InterpolateOptions = how.burn();
        // burn asks for the input although only its shape counts.
        let x = Self::float_zeros(input, &gradient.device(), float_dtype::<Self>(&gradient));
        Self::interpolate_backward(x, gradient, [shape[2], shape[3]], options)
    }

    /// Mean over the labelled pixels of `-weight[class] log softmax(logits)[class]`, divided by the sum of those
    /// weights; 0 if no pixel has a label. `labels` `[batch, height, width]` are class indices or `ignore`.
    fn softmax_cross_entropy(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        class_weights: Option<FloatTensor<Self>>,
        ignore: i64,
    ) -> CrossEntropy<Self> {
        let shape = logits.shape();
        let device = logits.device();
        let dtype = float_dtype::<Self>(&logits);
        let settings = burn::backend::get_or_init_device_settings::<Self>(&device);
        let log_probabilities = Self::log_softmax(logits, 1);
        let pixels = Shape::new([shape[0], 1, shape[2], shape[3]]);
        let labels = Self::int_reshape(labels, pixels.clone());
        let ignored = Self::int_equal_elem(labels.clone(), Scalar::Int(ignore), settings.bool_dtype);
        let classes = Self::int_mask_fill(labels, ignored.clone(), Scalar::Int(0));
        let weights = match class_weights {
            None => Self::float_ones(pixels.clone(), &device, dtype),
            Some(weights) => {
                let flat = Self::int_reshape(classes.clone(), Shape::new([pixels.num_elements()]));
                Self::float_reshape(Self::float_select(weights, 0, flat), pixels.clone())
            }
        };
        let weights = Self::float_mask_fill(weights, ignored, Scalar::Float(0.0));
        let total_weight =
            Self::float_clamp_min(Self::float_sum(weights.clone()), Scalar::Float(f32::MIN_POSITIVE.into()));
        let picked = Self::float_gather(1, log_probabilities.clone(), classes.clone());
        let sum = Self::float_sum(Self::float_mul(picked, weights.clone()));
        let loss = Self::float_neg(Self::float_div(sum, total_weight.clone()));
        // The gradient but for the loss's own and the total weight: weight (softmax - one-hot).
        let probabilities = Self::float_exp(log_probabilities);
        let kept = Self::float_mul(probabilities, weights.clone());
        let kept = Self::float_scatter(1, kept, classes, Self::float_neg(weights), IndexingUpdateOp::Add);
        CrossEntropy { loss, kept, total_weight }
    }

    /// Gradient for the logits.
    fn softmax_cross_entropy_gradient(
        forward: CrossEntropy<Self>,
        _labels: IntTensor<Self>,
        _class_weights: Option<FloatTensor<Self>>,
        _ignore: i64,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let scale = Self::float_div(gradient, forward.total_weight);
        Self::float_mul(forward.kept, Self::float_reshape(scale, Shape::new([1, 1, 1, 1])))
    }
}

/// The sum over batch and picture, by channel: the gradient of a bias.
pub(super) fn sum_by_channel<B: Backend>(gradient: FloatTensor<B>) -> FloatTensor<B> {
    let channels = gradient.shape()[1];
    let rows = B::float_sum_dim(B::float_sum_dim(gradient, 3), 2);
    B::float_reshape(B::float_sum_dim(rows, 0), Shape::new([channels]))
}

fn as_type<B: Backend>(tensor: FloatTensor<B>, dtype: FloatDType) -> FloatTensor<B> {
    if float_dtype::<B>(&tensor) == dtype { tensor } else { B::float_cast(tensor, dtype) }
}

fn float_dtype<B: Backend>(tensor: &FloatTensor<B>) -> FloatDType {
    tensor.dtype().into()
}
