//! The operations on a differentiated backend: the kernel, and its gradients for burn's graph.

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as GradientStore;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::backend::AutodiffBackend;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{FloatDType, Shape};

use super::dispatch::{Maybe, Operations};
use super::generic::float_dtype;
use super::kernels::Kernels;
use super::profile::timed;
use super::results::{Gradients, Wanted};
use super::settings::{ConvSettings, ConvTransposeSettings, NormSettings, PoolSettings, Resampling};
use super::synchronised;
use crate::nn::group::Group;

/// A step of the graph with `N` inputs: its gradients are a function of what the forward pass kept, of the gradient of
/// its output, and of which inputs want one.
#[derive(Debug)]
struct Step<B: Backend, S, const N: usize> {
    kind: &'static str,
    gradients: fn(S, FloatTensor<B>, Wanted<N>) -> Gradients<B, N>,
}

impl<B: Backend, S: Clone + Send + std::fmt::Debug + 'static, const N: usize> Backward<B, N> for Step<B, S, N> {
    type State = S;

    fn backward(self, ops: Ops<S, N>, grads: &mut GradientStore, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let device = gradient.device();
        let found = timed::<B, _>(self.kind, &device, || (self.gradients)(ops.state, gradient, wanted));
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// Puts an operation that is already computed into the graph.
fn record<B, C, S, const N: usize>(
    kind: &'static str,
    inputs: [NodeGuard; N],
    output: FloatTensor<B>,
    kept: S,
    gradients: fn(S, FloatTensor<B>, Wanted<N>) -> Gradients<B, N>,
) -> FloatTensor<Autodiff<B, C>>
where
    B: Backend,
    C: CheckpointStrategy,
    S: Clone + Send + std::fmt::Debug + 'static,
{
    match (Step { kind, gradients }).prepare::<C>(inputs).compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(kept, output),
        OpsKind::UnTracked(step) => step.finish(output),
    }
}

/// A convolution, and its gradients for input, weight and bias.
type Convolution<B, S> = fn(FloatTensor<B>, FloatTensor<B>, Maybe<B>, S) -> FloatTensor<B>;
type ConvolutionGradients<B, S> = fn(FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, S, Wanted<3>) -> Gradients<B, 3>;

/// What the gradients of a convolution need: input, weight, settings and how they are computed.
type Convolved<B, S> = (FloatTensor<B>, FloatTensor<B>, S, ConvolutionGradients<B, S>);

/// The first `N` of the three gradients: a convolution without a bias has two inputs.
fn convolution_gradients<B: Backend, S, const N: usize>(
    (x, weight, settings, gradients): Convolved<B, S>,
    gradient: FloatTensor<B>,
    wanted: Wanted<N>,
) -> Gradients<B, N> {
    let wanted = std::array::from_fn(|i| wanted.get(i) == Some(&true));
    let mut found = gradients(x, weight, gradient, settings, wanted).into_iter();
    std::array::from_fn(|_| found.next().flatten())
}

/// Computes a convolution and puts it into the graph; `kind` is its gradients' name.
fn convolve<B: Backend, C: CheckpointStrategy, S: Copy + Send + std::fmt::Debug + 'static>(
    kind: &'static str,
    (run, gradients): (Convolution<B, S>, ConvolutionGradients<B, S>),
    [x, weight]: [FloatTensor<Autodiff<B, C>>; 2],
    bias: Maybe<Autodiff<B, C>>,
    settings: S,
) -> FloatTensor<Autodiff<B, C>> {
    let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
    let kept = (x.clone(), weight.clone(), settings, gradients);
    match bias {
        Maybe::None => {
            let output = run(x, weight, Maybe::None, settings);
            record::<B, C, _, 2>(kind, [x_node, weight_node], output, kept, convolution_gradients::<B, S, 2>)
        }
        Maybe::Some(bias) => {
            let (bias, bias_node) = bias.into_parts();
            let output = run(x, weight, Maybe::Some(bias), settings);
            record::<B, C, _, 3>(kind, [x_node, weight_node, bias_node], output, kept, convolution_gradients::<B, S, 3>)
        }
    }
}

impl<B: Kernels + Operations, C: CheckpointStrategy> Operations for Autodiff<B, C> {
    fn run_kernel(weight: FloatTensor<Self>, dtype: FloatDType) -> FloatTensor<Self> {
        if !B::kernel_differs(weight.primitive(), dtype) {
            return weight;
        }
        let (weight, node) = weight.into_parts();
        let own = float_dtype::<B>(&weight);
        let output = B::kernel(weight, dtype);
        record::<B, C, _, 1>("weight gradient", [node], output, own, |own, gradient, _| {
            [Some(B::kernel_gradient(gradient, own))]
        })
    }

    fn run_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
        settings: ConvSettings,
    ) -> FloatTensor<Self> {
        let how: (Convolution<B, _>, ConvolutionGradients<B, _>) = (B::run_convolution, B::convolution_gradients);
        convolve("convolution gradient", how, [x, weight], bias, settings)
    }

    fn run_rectified_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
        shortcut: Maybe<Self>,
        settings: ConvSettings,
    ) -> FloatTensor<Self> {
        let out = Self::run_convolution(x, weight, bias, settings);
        Self::run_rectify(shortcut.into_option().into_iter().fold(out, Self::float_add))
    }

    fn run_transposed_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
        settings: ConvTransposeSettings,
    ) -> FloatTensor<Self> {
        let how: (Convolution<B, _>, ConvolutionGradients<B, _>) =
            (B::run_transposed_convolution, B::transposed_convolution_gradients);
        convolve("transposed convolution gradient", how, [x, weight], bias, settings)
    }

    fn run_batch_normalisation(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        running_mean: FloatTensor<Self>,
        running_var: FloatTensor<Self>,
        settings: NormSettings,
        group: Option<Group>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let ((x, x_node), (weight, weight_node), (bias, bias_node)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        let device = x.device();
        let (kept_x, kept_weight) = (x.clone(), weight.clone());
        let (mean, var) = (running_mean.into_primitive(), running_var.into_primitive());
        let nodes = [x_node, weight_node, bias_node];
        if let Some(group) = group {
            let done = timed::<B, _>("batch norm", &device, || {
                synchronised::normalisation::<B>(x, [weight, bias, mean, var], settings, group)
            });
            let kept = (kept_x, kept_weight, done.statistics);
            let output =
                record::<B, C, _, 3>("batch norm gradient", nodes, done.output, kept, |kept, gradient, wanted| {
                    let (x, weight, shared) = kept;
                    synchronised::gradients::<B>(x, weight, shared, gradient, wanted)
                });
            return (output, Self::from_inner(done.running_mean), Self::from_inner(done.running_var));
        }
        let done =
            timed::<B, _>("batch norm", &device, || B::batch_normalisation(x, weight, bias, mean, var, settings));
        let kept = (kept_x, kept_weight, done.statistics, settings.epsilon);
        let output = record::<B, C, _, 3>("batch norm gradient", nodes, done.output, kept, |kept, gradient, wanted| {
            let (x, weight, statistics, epsilon) = kept;
            B::batch_normalisation_gradients(x, weight, statistics, gradient, epsilon, wanted)
        });
        (output, Self::from_inner(done.running_mean), Self::from_inner(done.running_var))
    }

    fn run_fixed_normalisation(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        var: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (weight, weight_node), (bias, bias_node)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        let (mean, var) = (mean.into_primitive(), var.into_primitive());
        let kept = (x.clone(), weight.clone(), mean.clone(), var.clone(), epsilon);
        let output = B::run_fixed_normalisation(x, weight, bias, mean, var, epsilon);
        let nodes = [x_node, weight_node, bias_node];
        record::<B, C, _, 3>("batch norm gradient", nodes, output, kept, |kept, gradient, wanted| {
            let (x, weight, mean, var, epsilon) = kept;
            B::fixed_normalisation_gradients(x, weight, mean, var, gradient, epsilon, wanted)
        })
    }

    fn run_rectify(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let output = B::run_rectify(x);
        record::<B, C, _, 1>("relu gradient", [node], output.clone(), output, |output, gradient, _| {
            [Some(B::rectify_gradient(output, gradient))]
        })
    }

    fn run_maximum_pooling(x: FloatTensor<Self>, settings: PoolSettings) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let device = x.device();
        let kept = x.clone();
        let (output, indices) = timed::<B, _>("max pooling", &device, || B::maximum_pooling(x, settings));
        let kept = (kept, indices, settings);
        record::<B, C, _, 1>("max pooling gradient", [node], output, kept, |(x, indices, settings), gradient, _| {
            [Some(B::maximum_pooling_gradient(x, indices, gradient, settings))]
        })
    }

    fn run_adaptive_average_pooling(x: FloatTensor<Self>, size: [usize; 2]) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let kept = x.clone();
        let output = B::run_adaptive_average_pooling(x, size);
        record::<B, C, _, 1>("average pooling gradient", [node], output, kept, |x, gradient, _| {
            [Some(B::adaptive_average_pooling_gradient(x, gradient))]
        })
    }

    fn run_resample(x: FloatTensor<Self>, size: [usize; 2], how: Resampling) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let shape = x.shape();
        let output = B::run_resample(x, size, how);
        record::<B, C, _, 1>("interpolation gradient", [node], output, (shape, how), |(shape, how), gradient, _| {
            [Some(B::resample_gradient(gradient, shape, how))]
        })
    }

    fn run_argmax_channels(x: FloatTensor<Self>) -> IntTensor<Self> {
        B::run_argmax_channels(x.into_parts().0)
    }

    fn run_all_reduce(x: FloatTensor<Self>, group: Group) -> FloatTensor<Self> {
        Self::from_inner(B::run_all_reduce(x.into_parts().0, group))
    }

    fn run_note(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::from_inner(B::run_note(x.into_parts().0))
    }

    fn run_with_gradient(
        x: FloatTensor<Self>,
        value: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (_, node) = x.into_parts();
        let (value, kept) = (value.into_primitive(), gradient.into_primitive());
        record::<B, C, _, 1>("loss gradient", [node], value, kept, |gradient, factor, _| {
            [Some(B::float_mul(gradient, B::float_reshape(factor, Shape::new([1, 1, 1, 1]))))]
        })
    }

    fn run_softmax_cross_entropy(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        class_weights: Maybe<Self>,
        ignore: i64,
    ) -> FloatTensor<Self> {
        let (logits, node) = logits.into_parts();
        let device = logits.device();
        let weights = class_weights.into_option().map(|weights| weights.into_primitive());
        let (kept_labels, kept_weights) = (labels.clone(), weights.clone());
        let forward =
            timed::<B, _>("cross-entropy", &device, || B::softmax_cross_entropy(logits, labels, weights, ignore));
        let (loss, kept) = (forward.loss.clone(), (forward, kept_labels, kept_weights, ignore));
        record::<B, C, _, 1>("cross-entropy gradient", [node], loss, kept, |kept, gradient, _| {
            let (forward, labels, weights, ignore) = kept;
            [Some(B::softmax_cross_entropy_gradient(forward, labels, weights, ignore, gradient))]
        })
    }
}
