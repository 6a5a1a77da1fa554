//! The operations that every network here stands on, with gradients as fast as the hardware allows.
//!
//! burn derives the gradient of a convolution from transposed convolutions and that of a batch norm from elementary
//! operations. Here each operation is one step of burn's graph with a kernel for its gradients: libtorch's own on
//! libtorch, matrix products over unfolded images on flex, and burn's on any other backend. Numbers are computed in
//! the type of the images: with images in bfloat16, weights (kept in float32) are converted for convolutions, and
//! statistics and losses stay float32, which is PyTorch's autocast.

mod argmax;
mod autodiff;
pub(crate) mod axis;
mod common;
#[cfg(any(feature = "vulkan", feature = "metal"))]
mod cube;
mod dispatch;
pub mod dry;
pub(crate) mod flex;
mod generic;
mod kernels;
#[cfg(feature = "libtorch")]
mod libtorch;
mod products;
pub mod profile;
mod results;
mod settings;
mod side_by_side;
mod synchronised;
mod tf32;
mod transfer;
mod update;

use std::ops::Range;

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, FloatDType, Int, Slice, Tensor};

use super::group::{Group, Share};
use dispatch::{Maybe, Operations};
pub use settings::{
    AdamStep, ConvSettings, ConvTransposeSettings, Interpolation, NormSettings, PoolSettings, Resampling, SgdStep,
};
pub use side_by_side::{share, side_by_side};
pub use tf32::{Tf32Pass, allow_tf32};
pub use transfer::{Arriving, read_number, read_numbers, upload, upload_integers};
pub use update::Updates;

/// Convolution of `x` `[batch, inputs, height, width]` with `weight` `[outputs, inputs / groups, rows, columns]`.
///
/// # Panics
///
/// If channels do not fit, or the kernel is larger than the padded image.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, settings: ConvSettings) -> Tensor<4> {
    check_groups(x.dims()[1], weight.dims(), settings.groups);
    check_channels("bias", weight.dims()[0], bias.iter());
    let dtype = x.dtype();
    let bias: Maybe<Dispatch> = bias.map(|bias| as_type(bias, dtype).into_dispatch()).into();
    let weight = Dispatch::run_kernel(weight.into_dispatch(), FloatDType::from(dtype));
    Tensor::from_dispatch(Dispatch::run_convolution(x.into_dispatch(), weight, bias, settings))
}

/// [`conv2d`], plus `shortcut`, of the result's shape, if there is one, then `max(., 0)`. Without gradients it is computed
/// in one go, by whatever algorithm is fastest: sums come in another order than in [`conv2d`].
///
/// # Panics
///
/// As [`conv2d`], and if the shortcut has another shape than the result.
pub fn conv2d_relu(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    shortcut: Option<Tensor<4>>,
    settings: ConvSettings,
) -> Tensor<4> {
    let ([batch, _, height, width], [outputs, inputs, rows, columns]) = (x.dims(), weight.dims());
    check_groups(x.dims()[1], [outputs, inputs, rows, columns], settings.groups);
    check_channels("bias", outputs, bias.iter());
    let [height, width] = settings.output([height, width], [rows, columns]);
    if let Some(shortcut) = &shortcut {
        assert_eq!(shortcut.dims(), [batch, outputs, height, width], "the shortcut has another shape than the result");
    }
    let dtype = x.dtype();
    let bias: Maybe<Dispatch> = bias.map(|bias| as_type(bias, dtype).into_dispatch()).into();
    let shortcut: Maybe<Dispatch> = shortcut.map(|shortcut| as_type(shortcut, dtype).into_dispatch()).into();
    let weight = Dispatch::run_kernel(weight.into_dispatch(), FloatDType::from(dtype));
    Tensor::from_dispatch(Dispatch::run_rectified_convolution(x.into_dispatch(), weight, bias, shortcut, settings))
}

/// Transposed convolution of `x` `[batch, inputs, height, width]` with `weight`
/// `[inputs, outputs / groups, rows, columns]`.
///
/// # Panics
///
/// If channels do not fit, or the output padding is not less than the stride or the dilation.
pub fn conv_transpose2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    settings: ConvTransposeSettings,
) -> Tensor<4> {
    let ([_, channels, ..], [inputs, outputs, ..]) = (x.dims(), weight.dims());
    let groups = settings.conv.groups;
    assert!(
        channels == inputs && inputs % groups == 0,
        "a weight of {:?} in {groups} groups does not fit an image of {channels} channels",
        weight.dims()
    );
    let reach = |i: usize| settings.conv.stride[i].max(settings.conv.dilation[i]);
    let padding = settings.output_padding;
    assert!((0..2).all(|i| padding[i] < reach(i)), "output padding {padding:?} is not less than stride or dilation");
    check_channels("bias", outputs * groups, bias.iter());
    let dtype = x.dtype();
    let bias: Maybe<Dispatch> = bias.map(|bias| as_type(bias, dtype).into_dispatch()).into();
    let weight = as_type(weight, dtype).into_dispatch();
    Tensor::from_dispatch(Dispatch::run_transposed_convolution(x.into_dispatch(), weight, bias, settings))
}

/// The result of [`batch_norm_train`].
#[derive(Debug, Clone)]
pub struct BatchNormed {
    /// Normalised by the statistics of the batch, scaled and shifted.
    pub output: Tensor<4>,
    /// Running mean after this batch.
    pub running_mean: Tensor<1>,
    /// Running variance after this batch; as in PyTorch from the unbiased variance of the batch.
    pub running_var: Tensor<1>,
}

/// Batch norm of `x` `[batch, channels, height, width]` by the statistics of the batch, or of the whole batch of which several
/// processes compute a [`Share`] each. All else is `[channels]`.
///
/// # Panics
///
/// If a channel has a single value, which has no variance.
pub fn batch_norm_train(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    running_mean: Tensor<1>,
    running_var: Tensor<1>,
    settings: NormSettings,
) -> BatchNormed {
    let [batch, channels, height, width] = x.dims();
    check_channels("batch norm", channels, [&weight, &bias, &running_mean, &running_var]);
    let group = Share::statistics();
    assert!(
        batch * height * width != 1 || group.is_some(),
        "batch norm in training needs more than one value a channel"
    );
    let (output, running_mean, running_var) = Dispatch::run_batch_normalisation(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        running_mean.into_dispatch(),
        running_var.into_dispatch(),
        settings,
        group,
    );
    BatchNormed {
        output: Tensor::from_dispatch(output),
        running_mean: Tensor::from_dispatch(running_mean),
        running_var: Tensor::from_dispatch(running_var),
    }
}

/// Batch norm by given statistics, all `[channels]`, of `x` `[batch, channels, height, width]`. The statistics have no
/// gradient.
pub fn batch_norm_infer(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    mean: Tensor<1>,
    var: Tensor<1>,
    epsilon: f64,
) -> Tensor<4> {
    check_channels("batch norm", x.dims()[1], [&weight, &bias, &mean, &var]);
    Tensor::from_dispatch(Dispatch::run_fixed_normalisation(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        mean.into_dispatch(),
        var.into_dispatch(),
        epsilon,
    ))
}

/// All-reduce: the sum of `x` over the processes of a group, all of which pass as many values. It has no gradient.
pub fn all_reduce(x: Tensor<1>, group: &Group) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::run_all_reduce(x.into_dispatch(), group.clone()))
}

/// The sum of all values, `[1]`. On GPUs of any maker it is computed along one axis: burn's own sum uses atomic additions
/// there, whose order varies and which crash some drivers.
pub fn sum<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    #[cfg(any(feature = "vulkan", feature = "metal"))]
    if matches!(tensor.device().inner().as_dispatch(), burn::backend::DispatchDevice::Cube(_)) {
        let count = tensor.shape().num_elements();
        return tensor.reshape([count]).sum_dim(0);
    }
    tensor.sum()
}

/// Tensors `[batch, channels, height, width]`, joined along their channels.
pub fn concatenate(parts: Vec<Tensor<4>>) -> Tensor<4> {
    let parts: Vec<Tensor<4>> = parts.into_iter().map(noted).collect();
    let held = dry::is_on().then(|| parts.clone());
    let joined = noted(Tensor::cat(parts, 1));
    drop(held);
    joined
}

/// Rows and columns of `x` `[batch, channels, height, width]`. burn's own cut of an empty batch leaves the graph, and with it
/// a dry run.
pub fn cut(x: Tensor<4>, rows: Range<usize>, columns: Range<usize>) -> Tensor<4> {
    let [batch, channels, _, _] = x.dims();
    let slices = [0..batch, 0..channels, rows, columns].map(Slice::from);
    noted(Tensor::from_dispatch(Dispatch::float_slice(x.into_dispatch(), &slices)))
}

/// `x`, which an operation of burn's made: in a dry run, its memory is counted.
pub(crate) fn noted(x: Tensor<4>) -> Tensor<4> {
    if dry::is_on() {
        drop(Dispatch::run_note(x.clone().into_dispatch()));
    }
    x
}

/// `max(x, 0)`.
pub fn relu(x: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::run_rectify(x.into_dispatch()))
}

/// Maximum of every window of `x` `[batch, channels, height, width]`.
///
/// # Panics
///
/// If the window is larger than the padded image, or less than twice as large as the padding.
pub fn max_pool2d(x: Tensor<4>, settings: PoolSettings) -> Tensor<4> {
    let PoolSettings { kernel, padding, .. } = settings;
    assert!((0..2).all(|i| 2 * padding[i] <= kernel[i]), "a padding of {padding:?} is too wide for windows {kernel:?}");
    Tensor::from_dispatch(Dispatch::run_maximum_pooling(x.into_dispatch(), settings))
}

/// Means of `x` `[batch, channels, height, width]` over `size` areas, rows and columns, that cover the image.
pub fn adaptive_avg_pool2d(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::run_adaptive_average_pooling(x.into_dispatch(), size))
}

/// `x` `[batch, channels, height, width]` at another `size`, rows and columns.
pub fn interpolate(x: Tensor<4>, size: [usize; 2], how: Resampling) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    if [height, width] == size {
        return x;
    }
    Tensor::from_dispatch(Dispatch::run_resample(x.into_dispatch(), size, how))
}

/// Softmax cross-entropy of `logits` `[batch, classes, height, width]` and `labels` `[batch, height, width]`: the mean
/// over the labelled pixels, weighted by `class_weights` `[classes]`. A label that equals `ignore` counts for nothing; a
/// batch without labels gives 0, where PyTorch gives NaN. Computed in float32. Any other label must be a class: on a GPU,
/// libtorch ends the program over one that is not.
pub fn cross_entropy(
    logits: Tensor<4>,
    labels: Tensor<3, Int>,
    class_weights: Option<Tensor<1>>,
    ignore: i64,
) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::run_softmax_cross_entropy(
        as_type(logits, DType::F32).into_dispatch(),
        labels.into_dispatch(),
        class_weights.map(Tensor::into_dispatch).into(),
        ignore,
    ))
}

/// `value` `[1]`, which is a function of `x`: whatever it goes into, its gradient for `x` is `gradient`, of the shape of
/// `x`. Neither `value` nor `gradient` is differentiated itself.
///
/// # Panics
///
/// If `gradient` has another shape than `x`.
pub fn with_gradient(x: Tensor<4>, value: Tensor<1>, gradient: Tensor<4>) -> Tensor<1> {
    assert_eq!(x.dims(), gradient.dims(), "a gradient of another shape");
    if !x.is_autodiff() {
        return value;
    }
    let (value, gradient) = (value.autodiff().into_dispatch(), gradient.autodiff().into_dispatch());
    Tensor::from_dispatch(Dispatch::run_with_gradient(x.into_dispatch(), value, gradient))
}

/// Index of the largest channel of every pixel of `x` `[batch, channels, height, width]`, the first where several are as
/// large: `[batch, height, width]`. Has no gradient.
pub fn argmax_channels(x: Tensor<4>) -> Tensor<3, Int> {
    Tensor::from_dispatch(Dispatch::run_argmax_channels(x.into_dispatch()))
}

/// Lets libtorch on the CPU keep the memory of freed tensors for new ones, up to an eighth more in all than tensors
/// have held at once.
/// Without libtorch there is nothing to set.
pub fn keep_freed_memory() {
    #[cfg(feature = "libtorch")]
    libtorch::keep_freed_memory();
}

/// Most bytes that tensors have held at once on the GPU of that number, where that is known.
pub fn peak_gpu_memory(device: usize) -> Option<u64> {
    #[cfg(feature = "libtorch")]
    return libtorch::peak_memory(device);
    #[cfg(not(feature = "libtorch"))]
    {
        let _ = device;
        None
    }
}

fn check_groups(channels: usize, weight: [usize; 4], groups: usize) {
    let [outputs, inputs, ..] = weight;
    assert!(
        channels == inputs * groups && outputs % groups == 0,
        "a weight of {weight:?} in {groups} groups does not fit an image of {channels} channels"
    );
}

fn check_channels<'a>(what: &str, channels: usize, tensors: impl IntoIterator<Item = &'a Tensor<1>>) {
    for tensor in tensors {
        assert!(tensor.dims() == [channels], "{what} of {:?} values for {channels} channels", tensor.dims());
    }
}

fn as_type<const D: usize>(tensor: Tensor<D>, dtype: DType) -> Tensor<D> {
    if tensor.dtype() == dtype { tensor } else { tensor.cast(dtype) }
}
