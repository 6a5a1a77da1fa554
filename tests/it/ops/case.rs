//! Cases of the golden file: what each computes, from which tensors, with which gradients.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use burn::tensor::{DType, Device, Gradients, Int, Tensor, TensorData};
use segtool::nn::ops::{
    self, ConvSettings, ConvTransposeSettings, Interpolation, NormSettings, PoolSettings, Resampling,
};
use serde::Deserialize;

use crate::common::{fixture, fixture_path, floats, metadata, relative_error};

const FILE: &str = "ops.safetensors";

/// Tensors by name.
pub(crate) type Tensors = HashMap<String, TensorData>;

/// Outputs by name, and gradients as `<input>.grad`.
pub(crate) type Results = BTreeMap<String, TensorData>;

/// In what form a case gets its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As the file has them.
    Plain,
    /// Views with another order in memory, inside larger tensors; the gradients of outputs likewise.
    Views,
    /// Images converted to bfloat16.
    Bfloat16,
}

/// One case of the golden file.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(flatten)]
    operation: Operation,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Conv {
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
}

impl Conv {
    fn settings(self) -> ConvSettings {
        let Self { stride, padding, dilation, groups } = self;
        ConvSettings { stride, padding, dilation, groups }
    }
}

#[derive(Debug, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
enum Operation {
    Conv2d {
        #[serde(flatten)]
        conv: Conv,
    },
    ConvTranspose2d {
        #[serde(flatten)]
        conv: Conv,
        output_padding: [usize; 2],
    },
    BatchNormTrain {
        momentum: f64,
        epsilon: f64,
    },
    BatchNormInfer {
        epsilon: f64,
    },
    Relu,
    MaxPool2d {
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: [usize; 2],
        ceil_mode: bool,
    },
    AdaptiveAvgPool2d {
        size: [usize; 2],
    },
    Interpolate {
        size: [usize; 2],
        interpolation: Interpolation,
        align_corners: bool,
    },
    CrossEntropy {
        ignore: i64,
    },
    Chain {
        ignore: i64,
    },
}

/// All cases and their tensors.
pub(crate) fn golden() -> (Vec<Case>, Tensors) {
    let cases: Vec<Case> = serde_json::from_str(&metadata(&fixture_path(FILE), "cases")).unwrap();
    assert!(cases.len() > 100);
    (cases, fixture(FILE))
}

impl Case {
    /// Names of the inputs that have a gradient.
    pub(crate) fn leaves(&self, golden: &Tensors) -> Vec<String> {
        let name = |key: &String| Some(key.strip_prefix(&self.name)?.strip_prefix('.')?.strip_suffix(".grad")?.into());
        golden.keys().filter_map(name).collect()
    }

    /// Computes the case; on a device that differentiates also the gradients of those leaves that are `wanted`.
    pub(crate) fn run(&self, golden: &Tensors, device: &Device, form: Form, wanted: &dyn Fn(&str) -> bool) -> Results {
        let run = Run {
            prefix: format!("{}.", self.name),
            golden,
            device,
            form,
            wanted,
            leaves: RefCell::default(),
            loss: RefCell::default(),
            results: RefCell::default(),
        };
        self.operation.compute(&run);
        run.finish()
    }

    /// Names of all results that the golden file has.
    pub(crate) fn expected(&self, golden: &Tensors) -> Vec<String> {
        let prefix = format!("{}.", self.name);
        let names = || golden.keys().filter_map(|key| key.strip_prefix(&prefix));
        let outputs = names().filter_map(|name| name.strip_suffix(".upstream"));
        let others = names().filter(|name| name.ends_with(".grad") || name.ends_with(".after"));
        outputs.chain(others).map(str::to_owned).collect()
    }

    /// What is wrong with `results`, a line each.
    pub(crate) fn faults(&self, results: &Results, golden: &Tensors, tolerance: f32) -> Vec<String> {
        let fault = |(name, found): (&String, &TensorData)| {
            let expected = &golden[&format!("{}.{name}", self.name)];
            let place = format!("{}: {name}", self.name);
            if found.shape() != expected.shape() {
                return Some(format!("{place}: shape {:?} for {:?}", found.shape(), expected.shape()));
            }
            let found = floats(found);
            if !found.iter().all(|value| value.is_finite()) {
                return Some(format!("{place}: not finite"));
            }
            let error = relative_error(&found, &floats(expected));
            (error > tolerance).then(|| format!("{place}: {error:e}"))
        };
        results.iter().filter_map(fault).collect()
    }
}

type Gradient = Box<dyn Fn(&Gradients) -> Option<TensorData>>;

/// A case while it is computed.
struct Run<'a> {
    prefix: String,
    golden: &'a Tensors,
    device: &'a Device,
    form: Form,
    wanted: &'a dyn Fn(&str) -> bool,
    leaves: RefCell<Vec<(String, Gradient)>>,
    loss: RefCell<Option<Tensor<1>>>,
    results: RefCell<Results>,
}

impl Run<'_> {
    fn data(&self, name: &str) -> Option<TensorData> {
        self.golden.get(&format!("{}{name}", self.prefix)).cloned()
    }

    fn constant<const D: usize>(&self, name: &str) -> Tensor<D> {
        let tensor = Tensor::from_data(self.data(name).unwrap(), self.device);
        if self.form == Form::Views { view(tensor) } else { tensor }
    }

    fn labels(&self) -> Tensor<3, Int> {
        let labels = Tensor::<3, Int>::from_data(self.data("labels").unwrap(), self.device);
        if self.form != Form::Views {
            return labels;
        }
        Tensor::<3, Int>::from_data(labels.swap_dims(1, 2).into_data(), self.device).swap_dims(1, 2)
    }

    /// A leaf of shape `[batch, channels, height, width]`.
    fn image(&self, name: &str) -> Tensor<4> {
        let image = self.leaf(name);
        if self.form == Form::Bfloat16 { image.cast(DType::BF16) } else { image }
    }

    /// An input that has a gradient where that is wanted.
    fn leaf<const D: usize>(&self, name: &str) -> Tensor<D> {
        if !self.device.is_autodiff() {
            return self.constant(name);
        }
        let wanted = (self.wanted)(name);
        let tensor = if wanted { self.constant(name).require_grad() } else { self.constant(name) };
        let kept = tensor.clone();
        let gradient: Gradient = Box::new(move |gradients| kept.grad(gradients).map(Tensor::into_data));
        self.leaves.borrow_mut().push((name.to_owned(), gradient));
        tensor
    }

    fn leaf_if_there<const D: usize>(&self, name: &str) -> Option<Tensor<D>> {
        self.data(name).map(|_| self.leaf(name))
    }

    /// A result that is part of the loss.
    fn output<const D: usize>(&self, name: &str, output: Tensor<D>) {
        let loss = name == "loss";
        assert_eq!(
            output.dtype() == DType::BF16,
            self.form == Form::Bfloat16 && !loss,
            "type of {}{name}",
            self.prefix
        );
        let output = output.cast(DType::F32);
        if self.device.is_autodiff() {
            let (result, upstream) = (output.clone(), self.constant(&format!("{name}.upstream")));
            let turn = self.form == Form::Views && D > 1;
            // As a view, the output's gradient comes with its axes exchanged.
            let (result, upstream) = if turn { (turned(result), turned(upstream)) } else { (result, upstream) };
            let part = (result * upstream).sum();
            let loss = self.loss.take();
            self.loss.replace(Some(loss.map_or(part.clone(), |loss| loss + part)));
        }
        self.results.borrow_mut().insert(name.to_owned(), output.into_data());
    }

    /// Running statistics after the case.
    fn statistics(&self, mean: Tensor<1>, var: Tensor<1>) {
        for (name, value) in [("running_mean", mean), ("running_var", var)] {
            self.results.borrow_mut().insert(format!("{name}.after"), value.into_data());
        }
    }

    fn finish(self) -> Results {
        let mut results = self.results.into_inner();
        let Some(loss) = self.loss.into_inner() else { return results };
        let gradients = loss.backward();
        for (name, gradient) in self.leaves.into_inner() {
            let gradient = gradient(&gradients);
            assert_eq!(gradient.is_some(), (self.wanted)(&name), "{}{name}", self.prefix);
            assert!(gradient.iter().all(|gradient| gradient.dtype() == DType::F32), "{}{name}", self.prefix);
            results.extend(gradient.map(|gradient| (format!("{name}.grad"), gradient)));
        }
        results
    }
}

/// The last two axes exchanged.
fn turned<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.swap_dims(D - 2, D - 1)
}

/// The same numbers, with the last two axes exchanged in memory, after others that do not belong to it.
fn view<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let device = tensor.device();
    let rows = tensor.dims()[0];
    let memory = Tensor::cat(vec![tensor.ones_like() * 1e6, tensor], 0);
    if D == 1 {
        return memory.narrow(0, rows, rows);
    }
    let memory = Tensor::<D>::from_data(turned(memory).into_data(), &device);
    turned(memory).narrow(0, rows, rows)
}

impl Operation {
    fn compute(&self, run: &Run<'_>) {
        let weights = || (run.leaf("weight"), run.leaf_if_there("bias"));
        match *self {
            Self::Conv2d { conv } => {
                let (weight, bias) = weights();
                run.output("output", ops::conv2d(run.image("x"), weight, bias, conv.settings()));
            }
            Self::ConvTranspose2d { conv, output_padding } => {
                let (weight, bias) = weights();
                let settings = ConvTransposeSettings { conv: conv.settings(), output_padding };
                run.output("output", ops::conv_transpose2d(run.image("x"), weight, bias, settings));
            }
            Self::BatchNormTrain { momentum, epsilon } => batch_norm_train(run, NormSettings { momentum, epsilon }),
            Self::BatchNormInfer { epsilon } => {
                let (weight, bias, mean, var) =
                    (run.leaf("weight"), run.leaf("bias"), run.constant("mean"), run.constant("var"));
                run.output("output", ops::batch_norm_infer(run.image("x"), weight, bias, mean, var, epsilon));
            }
            Self::Relu => run.output("output", ops::relu(run.image("x"))),
            Self::MaxPool2d { kernel, stride, padding, dilation, ceil_mode } => {
                let settings = PoolSettings { kernel, stride, padding, dilation, ceil_mode };
                run.output("output", ops::max_pool2d(run.image("x"), settings));
            }
            Self::AdaptiveAvgPool2d { size } => run.output("output", ops::adaptive_avg_pool2d(run.image("x"), size)),
            Self::Interpolate { size, interpolation, align_corners } => {
                let how = Resampling { interpolation, align_corners };
                run.output("output", ops::interpolate(run.image("x"), size, how));
            }
            Self::CrossEntropy { ignore } => {
                let class_weights = run.data("class_weights").map(|_| run.constant("class_weights"));
                run.output("loss", ops::cross_entropy(run.image("logits"), run.labels(), class_weights, ignore));
            }
            Self::Chain { ignore } => chain(run, ignore),
        }
    }
}

/// Two batches, the second from the first's running statistics.
fn batch_norm_train(run: &Run<'_>, settings: NormSettings) {
    let (weight, bias): (Tensor<1>, Tensor<1>) = (run.leaf("weight"), run.leaf("bias"));
    let (mut mean, mut var) = (run.constant("running_mean"), run.constant("running_var"));
    for i in 1..=2 {
        let x = run.image(&format!("x{i}"));
        let done = ops::batch_norm_train(x, weight.clone(), bias.clone(), mean, var, settings);
        run.output(&format!("output{i}"), done.output);
        (mean, var) = (done.running_mean, done.running_var);
    }
    run.statistics(mean, var);
}

/// `chain` of `make_ops_golden.py`. Tensors are handed over where they are used last, so that an operation may work in
/// their place, and must not where they are still used.
fn chain(run: &Run<'_>, ignore: i64) {
    let plain = ConvSettings::default();
    let same = ConvSettings { padding: [1, 1], ..plain };
    let how = |interpolation, align_corners| Resampling { interpolation, align_corners };
    let (mean, var) = (run.constant("running_mean"), run.constant("running_var"));
    let settings = NormSettings { momentum: 0.1, epsilon: 1e-5 };

    let x = ops::conv2d(run.image("x"), run.leaf("conv1"), None, same);
    let done = ops::batch_norm_train(x, run.leaf("weight"), run.leaf("bias"), mean, var, settings);
    run.statistics(done.running_mean, done.running_var);
    let normed = done.output;
    let active = ops::relu(normed.clone());
    let pool = PoolSettings { kernel: [3, 3], stride: [2, 2], padding: [1, 1], ..PoolSettings::square(3) };
    let pooled = ops::conv2d(ops::max_pool2d(active.clone(), pool), run.leaf("conv3"), None, plain);
    let changed = ops::conv2d(active.clone(), run.leaf("conv2"), None, same);
    let added = ops::relu(active + changed);
    let [_, _, height, width] = added.dims();
    let raised = ops::interpolate(pooled, [height, width], how(Interpolation::Bilinear, false));
    let means = ops::adaptive_avg_pool2d(added.clone(), [2, 2]);
    let means = ops::interpolate(means, [height, width], how(Interpolation::Bilinear, true));
    let last = ops::conv2d(added + raised + means + normed, run.leaf("conv4"), Some(run.leaf("conv4_bias")), plain);
    let labels = run.labels();
    let [_, height, width] = labels.dims();
    let logits = ops::interpolate(last, [height, width], how(Interpolation::Bicubic, false));
    run.output("logits", logits.clone());
    run.output("loss", ops::cross_entropy(logits, labels, None, ignore));
}
