//! The way from burn's tensors, whose backend is known at run time only, to the kernels.

#![cfg_attr(feature = "libtorch", allow(deprecated))] // see `device/libtorch.rs` on burn-tch

#[cfg(any(feature = "vulkan", feature = "metal"))]
use burn::backend::Cube;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, ExtensionType, Flex, TensorMetadata, backend_extension};
use burn::tensor::FloatDType;

use super::kernels::Kernels;
use super::profile::timed;
use super::settings::{ConvSettings, ConvTransposeSettings, NormSettings, PoolSettings, Resampling};
use super::synchronised;
use crate::nn::group::Group;

/// A tensor that may be missing, in a form that burn's dispatch understands.
#[derive(Debug, Clone, ExtensionType)]
pub(super) enum Maybe<B: Backend> {
    /// There is one.
    Some(FloatTensor<B>),
    /// There is none.
    None,
}

impl<B: Backend> From<Option<FloatTensor<B>>> for Maybe<B> {
    fn from(tensor: Option<FloatTensor<B>>) -> Self {
        tensor.map_or(Self::None, Self::Some)
    }
}

impl<B: Backend> Maybe<B> {
    /// The tensor, if there is one.
    pub(super) fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Some(tensor) => Some(tensor),
            Self::None => None,
        }
    }
}

/// Declares the operations, for plain and for differentiated backends. Without gradients, an operation is its kernel.
macro_rules! operations {
    ($($(#[$doc:meta])* fn $name:ident($($(#[$kind:ident])? $argument:ident: $type:tt $(<$own:ident>)?),* $(,)?)
        -> $result:tt $(<$of:ident>)? $kernel:block)*) => {
        /// Every operation once, for plain and for differentiated backends.
        #[backend_extension(
            Flex,
            LibTorch: cfg(feature = "libtorch"),
            Cube: cfg(any(feature = "vulkan", feature = "metal")),
            Autodiff
        )]
        pub(super) trait Operations: Backend {
            $($(#[$doc])* fn $name($($(#[$kind])? $argument: $type $(<$own>)?),*) -> $result $(<$of>)?;)*
        }

        impl Operations for Flex {
            $(fn $name($($argument: $type $(<$own>)?),*) -> $result $(<$of>)? $kernel)*
        }

        #[cfg(feature = "libtorch")]
        impl Operations for burn::backend::LibTorch {
            $(fn $name($($argument: $type $(<$own>)?),*) -> $result $(<$of>)? $kernel)*
        }

        #[cfg(any(feature = "vulkan", feature = "metal"))]
        impl Operations for Cube {
            $(fn $name($($argument: $type $(<$own>)?),*) -> $result $(<$of>)? $kernel)*
        }
    };
}

operations! {
    /// See [`Kernels::kernel`].
    fn run_kernel(weight: FloatTensor<Self>, dtype: FloatDType) -> FloatTensor<Self> {
        Self::kernel(weight, dtype)
    }

    /// See [`Kernels::convolution`].
    fn run_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
        settings: ConvSettings,
    ) -> FloatTensor<Self> {
        timed::<Self, _>("convolution", &x.device(), || Self::convolution(x, weight, bias.into_option(), settings))
    }

    /// See [`Kernels::rectified_convolution`].
    fn run_rectified_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
        #[extension_type] shortcut: Maybe<Self>,
        settings: ConvSettings,
    ) -> FloatTensor<Self> {
        let (bias, shortcut) = (bias.into_option(), shortcut.into_option());
        timed::<Self, _>("convolution", &x.device(), || {
            Self::rectified_convolution(x, weight, bias, shortcut, settings)
        })
    }

    /// See [`Kernels::transposed_convolution`].
    fn run_transposed_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
        settings: ConvTransposeSettings,
    ) -> FloatTensor<Self> {
        timed::<Self, _>("transposed convolution", &x.device(), || {
            Self::transposed_convolution(x, weight, bias.into_option(), settings)
        })
    }

    /// See [`Kernels::batch_normalisation`], or [`synchronised::normalisation`] in a group: the output and the two running
    /// statistics.
    fn run_batch_normalisation(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        running_mean: FloatTensor<Self>,
        running_var: FloatTensor<Self>,
        settings: NormSettings,
        group: Option<Group>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if let Some(group) = group {
            let done = timed::<Self, _>("batch norm", &x.device(), || {
                synchronised::normalisation::<Self>(x, [weight, bias, running_mean, running_var], settings, group)
            });
            return (done.output, done.running_mean, done.running_var);
        }
        let done = timed::<Self, _>("batch norm", &x.device(), || {
            Self::batch_normalisation(x, weight, bias, running_mean, running_var, settings)
        });
        (done.output, done.running_mean, done.running_var)
    }

    /// See [`Kernels::sum_over_processes`].
    fn run_all_reduce(x: FloatTensor<Self>, group: Group) -> FloatTensor<Self> {
        Self::sum_over_processes(x, &group)
    }

    /// See [`Kernels::fixed_normalisation`].
    fn run_fixed_normalisation(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        var: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        timed::<Self, _>("batch norm", &x.device(), || Self::fixed_normalisation(x, weight, bias, mean, var, epsilon))
    }

    /// See [`Kernels::rectify`].
    fn run_rectify(x: FloatTensor<Self>) -> FloatTensor<Self> {
        timed::<Self, _>("relu", &x.device(), || Self::rectify(x))
    }

    /// See [`Kernels::maximum_pooling`].
    fn run_maximum_pooling(x: FloatTensor<Self>, settings: PoolSettings) -> FloatTensor<Self> {
        timed::<Self, _>("max pooling", &x.device(), || Self::maximum_pooling(x, settings).0)
    }

    /// See [`Kernels::adaptive_average_pooling`].
    fn run_adaptive_average_pooling(x: FloatTensor<Self>, size: [usize; 2]) -> FloatTensor<Self> {
        timed::<Self, _>("average pooling", &x.device(), || Self::adaptive_average_pooling(x, size))
    }

    /// See [`Kernels::resample`].
    fn run_resample(x: FloatTensor<Self>, size: [usize; 2], how: Resampling) -> FloatTensor<Self> {
        timed::<Self, _>("interpolation", &x.device(), || Self::resample(x, size, how))
    }

    /// See [`Kernels::argmax_channels`].
    fn run_argmax_channels(x: FloatTensor<Self>) -> IntTensor<Self> {
        timed::<Self, _>("argmax", &x.device(), || Self::argmax_channels(x))
    }

    /// See [`Kernels::note`].
    fn run_note(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::note(x)
    }

    /// `value`; where there are gradients, that for `x` is `gradient`.
    fn run_with_gradient(
        x: FloatTensor<Self>,
        value: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        drop((x, gradient));
        value
    }

    /// See [`Kernels::softmax_cross_entropy`].
    fn run_softmax_cross_entropy(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        #[extension_type] class_weights: Maybe<Self>,
        ignore: i64,
    ) -> FloatTensor<Self> {
        timed::<Self, _>("cross-entropy", &logits.device(), || {
            Self::softmax_cross_entropy(logits, labels, class_weights.into_option(), ignore).loss
        })
    }
}
