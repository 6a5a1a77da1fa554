//! libtorch's own kernels.

#![allow(deprecated)] // see `device/libtorch.rs` on burn-tch

mod counter;
mod ffi;
mod gathered;
mod layout;
mod lists;
mod products;
mod sums;
mod transfer;

use burn::backend::libtorch::TchTensor;
use burn::backend::ops::ModuleOps;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{LibTorch, TensorMetadata};
use burn::tensor::{FloatDType, Shape};
use tch::{Kind, Tensor};

use super::argmax::largest_channel;
use super::common::Common;
use super::flex;
use super::generic::{as_type, float_dtype};
use super::kernels::Kernels;
use super::results::{CrossEntropy, Gradients, Normalised, Statistics, Wanted};
use super::settings::{ConvSettings, ConvTransposeSettings, Interpolation, NormSettings, Resampling};
use crate::nn::group::Group;

pub(super) use counter::count_calls;
use ffi::Floats;
pub(super) use ffi::{keep_freed_memory, peak_memory};
pub(super) use gathered::Gathered;
pub(super) use layout::allow_tf32;
pub(super) use transfer::{Arrival, gpu_number, is_libtorch, send_classes_home, send_home, upload, upload_integers};

impl Kernels for LibTorch {
    fn kernel(weight: FloatTensor<Self>, dtype: FloatDType) -> FloatTensor<Self> {
        if !layout::has_channels_innermost(&weight.tensor, dtype) {
            return as_type::<Self>(weight, dtype);
        }
        TchTensor::new(layout::with_channels_innermost(&weight.tensor, dtype))
    }

    fn kernel_differs(weight: &FloatTensor<Self>, dtype: FloatDType) -> bool {
        float_dtype::<Self>(weight) != dtype || layout::has_channels_innermost(&weight.tensor, dtype)
    }

    fn kernel_gradient(gradient: FloatTensor<Self>, dtype: FloatDType) -> FloatTensor<Self> {
        if dtype != FloatDType::F32 || !gradient.tensor.device().is_cuda() {
            return as_type::<Self>(gradient, dtype);
        }
        TchTensor::new(layout::as_parameter(&gradient.tensor))
    }

    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        settings: ConvSettings,
    ) -> FloatTensor<Self> {
        let ConvSettings { stride, padding, dilation, groups } = settings;
        let bias = bias.map(|bias| bias.tensor);
        let [stride, padding, dilation] = [stride, padding, dilation].map(signed);
        TchTensor::new(x.tensor.conv2d(&weight.tensor, bias.as_ref(), stride, padding, dilation, groups as i64))
    }

    fn rectified_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        shortcut: Option<FloatTensor<Self>>,
        settings: ConvSettings,
    ) -> FloatTensor<Self> {
        if let Some(out) = winograd(&x, &weight, bias.as_ref(), shortcut.as_ref(), settings) {
            return out;
        }
        // The sum is nobody else's yet.
        let mut out = Self::convolution(x, weight, bias, settings).tensor;
        if let Some(shortcut) = shortcut {
            let _ = out.g_add_(&shortcut.tensor);
        }
        TchTensor::new(out.relu_())
    }

    fn convolution_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        settings: ConvSettings,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        ffi::convolution_backward(&gradient.tensor, &x.tensor, &weight.tensor, settings, None, wanted)
            .map(|gradient| gradient.map(TchTensor::new))
    }

    fn transposed_convolution_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        settings: ConvTransposeSettings,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        let ConvTransposeSettings { conv, output_padding } = settings;
        ffi::convolution_backward(&gradient.tensor, &x.tensor, &weight.tensor, conv, Some(output_padding), wanted)
            .map(|gradient| gradient.map(TchTensor::new))
    }

    fn batch_normalisation(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        running_mean: FloatTensor<Self>,
        running_var: FloatTensor<Self>,
        settings: NormSettings,
    ) -> Normalised<Self> {
        // libtorch updates in place; whoever else holds the old statistics keeps them.
        let [mean, var] = [running_mean, running_var].map(writable);
        let (found, kernel) = ffi::batch_norm(&x.tensor, &weight.tensor, &bias.tensor, &mean, &var, settings);
        let [running_mean, running_var] = [mean, var].map(TchTensor::new);
        let [output, mean, inverse_deviation, reserved] = found.map(TchTensor::new);
        let statistics = Statistics { mean, inverse_deviation, reserved: Some((reserved, kernel)) };
        Normalised { output, running_mean, running_var, statistics }
    }

    fn batch_normalisation_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        statistics: Statistics<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        let Statistics { mean, inverse_deviation, reserved } = statistics;
        let (reserved, kernel) = reserved.map_or_else(Default::default, |(t, kernel)| (t.tensor, kernel));
        let kept = [&mean.tensor, &inverse_deviation.tensor, &reserved];
        ffi::batch_norm_backward(&gradient.tensor, &x.tensor, &weight.tensor, kept, kernel, epsilon, wanted)
            .map(|gradient| gradient.map(TchTensor::new))
    }

    fn fixed_normalisation(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        var: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let [weight, bias, mean, var] = [weight, bias, mean, var].map(|channels| Some(channels.tensor));
        TchTensor::new(x.tensor.batch_norm(weight, bias, mean, var, false, 0.0, epsilon, true))
    }

    fn fixed_normalisation_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        var: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        let statistics = [&mean.tensor, &var.tensor];
        ffi::fixed_norm_backward(&gradient.tensor, &x.tensor, &weight.tensor, statistics, epsilon, wanted)
            .map(|gradient| gradient.map(TchTensor::new))
    }

    fn sum_over_processes(x: FloatTensor<Self>, group: &Group) -> FloatTensor<Self> {
        sums::sum(x, group)
    }

    fn common_statistics(mean: FloatTensor<Self>, squares: FloatTensor<Self>, own: f64, group: &Group) -> Common<Self> {
        sums::common_statistics(mean, squares, own, group)
    }

    fn rectify_gradient(output: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        if !gradient.can_mut() {
            return TchTensor::new(output.tensor.threshold_backward(&gradient.tensor, 0.0));
        }
        let result = output.tensor.threshold_backward_grad_input(&gradient.tensor, &gradient.tensor, 0.0);
        TchTensor::from_existing(result, gradient.storage)
    }

    fn adaptive_average_pooling(x: FloatTensor<Self>, size: [usize; 2]) -> FloatTensor<Self> {
        let [areas, image] = [signed(size), image_size(&x.tensor)];
        if products::suits_pooling(&x.tensor, image, areas) {
            return TchTensor::new(products::average(&x.tensor, areas));
        }
        Self::adaptive_avg_pool2d(x, size)
    }

    fn resample(x: FloatTensor<Self>, size: [usize; 2], how: Resampling) -> FloatTensor<Self> {
        let output = signed(size);
        if products::suits_resampling(&x.tensor, image_size(&x.tensor), output, how) {
            return TchTensor::new(products::resample(&x.tensor, output, how));
        }
        Self::interpolate(x, size, how.burn())
    }

    fn resample_gradient(gradient: FloatTensor<Self>, input: Shape, how: Resampling) -> FloatTensor<Self> {
        let input = input.dims::<4>().map(|side| side as i64);
        let [_, _, height, width] = input;
        let gradient = gradient.tensor;
        let size = gradient.size();
        if products::suits_resampling(&gradient, [height, width], image_size(&gradient), how) {
            return TchTensor::new(products::resample_gradient(&gradient, [height, width], how));
        }
        let (size, input, align) = (&size[2..], &input[..], how.align_corners);
        TchTensor::new(match how.interpolation {
            Interpolation::Nearest => Tensor::upsample_nearest2d_backward(&gradient, size, input, None, None),
            Interpolation::Bilinear => Tensor::upsample_bilinear2d_backward(&gradient, size, input, align, None, None),
            Interpolation::Bicubic => Tensor::upsample_bicubic2d_backward(&gradient, size, input, align, None, None),
        })
    }

    fn argmax_channels(x: FloatTensor<Self>) -> IntTensor<Self> {
        let x = x.tensor;
        let size = x.size();
        let (channels, area) = (size[1] as usize, (size[2] * size[3]) as usize);
        // libtorch's own takes the pixels one after the other on the CPU, through all planes.
        let places = Floats::of(&x).map(|values| largest_channel(&values, channels, area));
        TchTensor::new(match places {
            Some(places) => Tensor::from_slice(&places).reshape([size[0], size[2], size[3]]),
            None => x.argmax(1, false),
        })
    }

    fn softmax_cross_entropy(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        class_weights: Option<FloatTensor<Self>>,
        ignore: i64,
    ) -> CrossEntropy<Self> {
        let log_probabilities = log_softmax(&logits.tensor);
        let (classes, weights) = pixel_weights(&labels.tensor, class_weights.as_ref(), ignore);
        let picked = log_probabilities.gather(1, &classes, false);
        // Without a label the sums are 0, and so must their quotient be.
        let total_weight = weights.sum(Kind::Float);
        let total_weight = &total_weight + total_weight.eq(0.0);
        let loss = (picked * weights).sum(Kind::Float).neg() / &total_weight;
        CrossEntropy {
            loss: TchTensor::new(loss.reshape([1])),
            kept: TchTensor::new(log_probabilities),
            total_weight: TchTensor::new(total_weight),
        }
    }

    fn softmax_cross_entropy_gradient(
        forward: CrossEntropy<Self>,
        labels: IntTensor<Self>,
        class_weights: Option<FloatTensor<Self>>,
        ignore: i64,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        // weight (softmax - one-hot) / total weight
        let (classes, weights) = pixel_weights(&labels.tensor, class_weights.as_ref(), ignore);
        let scale = gradient.tensor / forward.total_weight.tensor;
        let weights = weights * scale;
        let mut kept = forward.kept;
        let mut result = if kept.can_mut() { kept.tensor.exp_() } else { kept.tensor.exp() };
        let _ = result.g_mul_(&weights);
        let _ = result.scatter_add_(1, &classes, &weights.neg());
        TchTensor::new(result)
    }
}

/// The convolution by the kernel that flex has for it, which needs a quarter of the multiplications; `None` where it is
/// not for that, or not in main memory.
fn winograd<'a>(
    x: &'a TchTensor,
    weight: &'a TchTensor,
    bias: Option<&'a TchTensor>,
    shortcut: Option<&'a TchTensor>,
    settings: ConvSettings,
) -> Option<TchTensor> {
    let shapes = [x, weight].map(|tensor| tensor.shape().dims::<4>());
    if !flex::suits_winograd(shapes, settings) {
        return None;
    }
    let [x, weight] = [x, weight].map(|tensor| Floats::of(&tensor.tensor));
    // Where there is one, it must be readable, too.
    let optional = |tensor: Option<&'a TchTensor>| match tensor {
        None => Some(None),
        Some(tensor) => Floats::of(&tensor.tensor).map(Some),
    };
    let ((x, weight), bias, shortcut) = (x.zip(weight)?, optional(bias)?, optional(shortcut)?);
    let (bias, shortcut) = (bias.as_deref(), shortcut.as_deref());
    let (out, shape) = flex::winograd(shapes, [&x, &weight], bias, shortcut, settings);
    Some(TchTensor::new(Tensor::from_slice(&out).reshape(shape.map(|side| side as i64))))
}

/// The tensor itself if nothing else holds it, else a copy.
fn writable(tensor: TchTensor) -> Tensor {
    if tensor.can_mut() { tensor.tensor } else { tensor.tensor.copy() }
}

/// Over the channels. Where they lie innermost they stay there: libtorch's own kernel for the second dimension would first
/// make a copy in the other order.
fn log_softmax(logits: &Tensor) -> Tensor {
    if logits.size()[1] > 1 && logits.stride()[1] == 1 {
        return logits.permute([0, 2, 3, 1]).log_softmax(-1, Kind::Float).permute([0, 3, 1, 2]);
    }
    logits.log_softmax(1, Kind::Float)
}

/// Class indices and weights `[batch, 1, height, width]` of the pixels; 0 and 0 where a pixel has no label.
fn pixel_weights(labels: &Tensor, class_weights: Option<&TchTensor>, ignore: i64) -> (Tensor, Tensor) {
    let labels = labels.unsqueeze(1);
    let labelled = labels.ne(ignore);
    let classes = labels * &labelled;
    let weights = match class_weights {
        None => labelled.to_kind(Kind::Float),
        Some(weights) => weights.tensor.take(&classes) * labelled,
    };
    (classes, weights)
}

/// Rows and columns of images `[batch, channels, height, width]`.
fn image_size(images: &Tensor) -> [i64; 2] {
    let size = images.size();
    [size[2], size[3]]
}

fn signed(pair: [usize; 2]) -> [i64; 2] {
    pair.map(|side| side as i64)
}
