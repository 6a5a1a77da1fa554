//! Memory formats of libtorch's tensors, which follow from the precision.
//!
//! Where a GPU multiplies in its tensor cores (bfloat16 and TF32), convolutions are fastest with channels innermost
//! (`channels_last`): weights are laid out so in each forward pass, and libtorch's convolutions then lay out the images likewise.
//! Elsewhere, and for parameters, gradients and the optimiser's state, values are in the order of the shape. The precision itself
//! is that of the pass (`nn/ops/tf32.rs`). Figures: `benches/GPU.md`.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::FloatDType;
use tch::{Kind, Tensor};

use super::ffi;

/// Whether products may be rounded to TF32 first. libtorch's own setting has a different name in each version.
static TF32: AtomicBool = AtomicBool::new(false);

/// Whether float32 products on a GPU may be rounded to TF32 first.
pub(in crate::nn::ops) fn allow_tf32(allowed: bool) {
    TF32.store(allowed, Ordering::Relaxed);
    ffi::allow_tf32(allowed);
}

/// Whether the weight of a convolution, converted to `dtype`, has its channels innermost.
pub(super) fn has_channels_innermost(weight: &Tensor, dtype: FloatDType) -> bool {
    let tensor_cores = match dtype {
        FloatDType::BF16 => true,
        FloatDType::F32 => TF32.load(Ordering::Relaxed),
        _ => false,
    };
    weight.device().is_cuda() && tensor_cores
}

/// Such a weight, converted to `dtype`.
pub(super) fn with_channels_innermost(weight: &Tensor, dtype: FloatDType) -> Tensor {
    ffi::converted(weight, dtype == FloatDType::BF16, true)
}

/// The gradient of a weight in the type and layout of the parameter, which the fused optimisers require.
pub(super) fn as_parameter(gradient: &Tensor) -> Tensor {
    ffi::converted(gradient, false, false)
}

/// Whether a GPU multiplies such numbers in its tensor cores.
pub(super) fn in_tensor_cores(x: &Tensor) -> bool {
    match x.kind() {
        Kind::BFloat16 => true,
        Kind::Float => TF32.load(Ordering::Relaxed),
        _ => false,
    }
}
