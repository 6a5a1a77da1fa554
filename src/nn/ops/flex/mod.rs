//! Kernels on the CPU without libtorch, in float32; other types go burn's way.

mod buffer;
mod conv;
mod cross_entropy;
mod hollow;
mod lanes;
mod matrix;
mod norm;
mod pool;
mod resample;
mod sums;
mod unfold;
mod winograd;

use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::ops::{FloatTensorOps, IntTensorOps, ModuleOps};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Bytes, Flex, TensorMetadata};
use burn::tensor::{DType, IntDType, Shape, TensorData};

use rayon::prelude::*;

use super::argmax::largest_channel;
use super::dry;
use super::kernels::Kernels;
use super::results::{CrossEntropy, Gradients, Normalised, Statistics, Wanted};
use super::settings::{ConvSettings, ConvTransposeSettings, NormSettings, PoolSettings, Resampling};
use conv::{Epilogue, Problem};
use hollow::hollow;
use unfold::Geometry;

/// Values that one task works on.
const STRETCH: usize = 1 << 16;

impl Kernels for Flex {
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        settings: ConvSettings,
    ) -> FloatTensor<Self> {
        // burn-flex has a kernel of its own for depthwise convolutions.
        if weight.shape()[1] == 1 && settings.groups > 1 {
            return <Self as ModuleOps<Self>>::conv2d(x, weight, bias, settings.burn());
        }
        let dtype = x.dtype();
        let problem = convolution(&x, &weight, settings);
        let (x, weight, bias) = (single(x), single(weight), bias.map(single));
        let [rows, columns] = problem.geometry.output;
        let bias = bias.as_ref().map(FlexTensor::storage::<f32>);
        let epilogue = Epilogue { bias, ..Epilogue::default() };
        let shape = [problem.batch, problem.groups * problem.outputs, rows, columns];
        as_type(computed(shape, || conv::forward(&problem, x.storage(), weight.storage(), &epilogue)), dtype)
    }

    fn rectified_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        shortcut: Option<FloatTensor<Self>>,
        settings: ConvSettings,
    ) -> FloatTensor<Self> {
        if weight.shape()[1] == 1 && settings.groups > 1 {
            let out = Self::convolution(x, weight, bias, settings);
            return Self::rectify(shortcut.into_iter().fold(out, Self::float_add));
        }
        let dtype = x.dtype();
        let problem = convolution(&x, &weight, settings);
        let (x, weight, bias, shortcut) = (single(x), single(weight), bias.map(single), shortcut.map(single));
        let by_winograd = winograd::suits(&problem);
        if by_winograd {
            dry::count_for_a_moment(winograd::workspace(&problem));
        }
        let compute = || {
            let epilogue = Epilogue {
                bias: bias.as_ref().map(FlexTensor::storage),
                shortcut: shortcut.as_ref().map(FlexTensor::storage),
                rectify: true,
            };
            let forward = if by_winograd { winograd::forward } else { conv::forward };
            forward(&problem, x.storage(), weight.storage(), &epilogue)
        };
        let [rows, columns] = problem.geometry.output;
        as_type(computed([problem.batch, problem.groups * problem.outputs, rows, columns], compute), dtype)
    }

    fn convolution_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        settings: ConvSettings,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        let problem = convolution(&x, &weight, settings);
        let dtype = gradient.dtype();
        let (x, weight, gradient) = (single(x), single(weight), single(gradient));
        let gradients = [
            wanted[0].then(|| input_gradient(&problem, &weight, &gradient)),
            wanted[1].then(|| weight_gradient(&problem, &x, &gradient, weight.shape())),
            wanted[2].then(|| bias_gradient(&gradient)),
        ];
        gradients.map(|gradient| gradient.map(|gradient| as_type(gradient, dtype)))
    }

    fn transposed_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        settings: ConvTransposeSettings,
    ) -> FloatTensor<Self> {
        let problem = transposed_problem(&x, &weight, settings);
        let dtype = x.dtype();
        let out = as_type(input_gradient(&problem, &single(weight), &single(x)), dtype);
        bias.into_iter().fold(out, |out, bias| {
            let channels = bias.shape()[0];
            hollow::counted(Self::float_add(out, bias.reshape(Shape::new([1, channels, 1, 1]))))
        })
    }

    fn transposed_convolution_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        settings: ConvTransposeSettings,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        let problem = transposed_problem(&x, &weight, settings);
        let (dtype, shape) = (gradient.dtype(), weight.shape());
        let (x, gradient) = (single(x), single(gradient));
        let gradients = [
            wanted[0].then(|| transposed_input_gradient(&problem, &single(weight), &gradient)),
            wanted[1].then(|| weight_gradient(&problem, &gradient, &x, shape)),
            wanted[2].then(|| bias_gradient(&gradient)),
        ];
        gradients.map(|gradient| gradient.map(|gradient| as_type(gradient, dtype)))
    }

    fn batch_normalisation(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        running_mean: FloatTensor<Self>,
        running_var: FloatTensor<Self>,
        settings: NormSettings,
    ) -> Normalised<Self> {
        let (dtype, shape) = (x.dtype(), x.shape());
        let (x, weight, bias) = (single(x), single(weight), single(bias));
        let (channels, area) = (shape[1], shape[2] * shape[3]);
        if dry::is_on() {
            return hollow::normalised(shape);
        }
        let values: &[f32] = x.storage();
        let moments = norm::moments(values, channels, area);
        let mean: Vec<f32> = moments.iter().map(|m| m.mean as f32).collect();
        let inverse: Vec<f32> = moments.iter().map(|m| (m.variance + settings.epsilon).sqrt().recip() as f32).collect();
        let output = norm::normalise(values, area, &mean, &inverse, weight.storage(), bias.storage());
        let count = (values.len() / channels) as f64;
        let unbiased = moments.iter().map(|m| m.variance * count / (count - 1.0));
        Normalised {
            output: as_type(tensor(output, shape), dtype),
            running_mean: moving(running_mean, moments.iter().map(|m| m.mean), settings.momentum),
            running_var: moving(running_var, unbiased, settings.momentum),
            statistics: Statistics {
                mean: tensor(mean, [channels]),
                inverse_deviation: tensor(inverse, [channels]),
                reserved: None,
            },
        }
    }

    fn batch_normalisation_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        statistics: Statistics<Self>,
        gradient: FloatTensor<Self>,
        _epsilon: f64,
        _wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        let (dtype, shape) = (gradient.dtype(), x.shape());
        let (x, weight, gradient) = (single(x), single(weight), single(gradient));
        if dry::is_on() {
            return hollow::normalised_gradients(shape);
        }
        let channels = shape[1];
        let [for_x, for_weight, for_bias] = norm::gradients(
            x.storage(),
            shape[2] * shape[3],
            statistics.mean.storage(),
            statistics.inverse_deviation.storage(),
            weight.storage(),
            gradient.storage(),
        );
        [
            Some(as_type(tensor(for_x, shape), dtype)),
            Some(tensor(for_weight, [channels])),
            Some(tensor(for_bias, [channels])),
        ]
    }

    fn fixed_normalisation(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        var: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let (dtype, shape) = (x.dtype(), x.shape());
        let [x, weight, bias, mean, var] = [x, weight, bias, mean, var].map(single);
        let inverse = |var: &f32| (f64::from(*var) + epsilon).sqrt().recip() as f32;
        let out = computed(shape.clone(), || {
            let inverse: Vec<f32> = var.storage::<f32>().iter().map(inverse).collect();
            let (area, mean) = (shape[2] * shape[3], mean.storage());
            norm::normalise(x.storage(), area, mean, &inverse, weight.storage(), bias.storage())
        });
        as_type(out, dtype)
    }

    fn rectify(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (dtype, shape) = (x.dtype(), x.shape());
        let mut x = single(x);
        if dry::is_on() {
            return if x.is_unique() { x } else { hollow(shape, DType::F32) };
        }
        // NaN stays NaN.
        let rectified = |value: f32| if value < 0.0 { 0.0 } else { value };
        match x.try_storage_mut::<f32>() {
            Some(values) => {
                values.par_chunks_mut(STRETCH).for_each(|values| values.iter_mut().for_each(|v| *v = rectified(*v)));
                as_type(x, dtype)
            }
            None => {
                let mut out = buffer::zeros(shape.num_elements());
                let stretches = out.par_chunks_mut(STRETCH).zip(x.storage::<f32>().par_chunks(STRETCH));
                stretches.for_each(|(out, x)| out.iter_mut().zip(x).for_each(|(out, x)| *out = rectified(*x)));
                as_type(tensor(out, shape), dtype)
            }
        }
    }

    fn rectify_gradient(output: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let (dtype, shape) = (gradient.dtype(), gradient.shape());
        let (output, mut gradient) = (single(output), single(gradient));
        if dry::is_on() {
            return if gradient.is_unique() { gradient } else { hollow(shape, DType::F32) };
        }
        let output = output.storage::<f32>().par_chunks(STRETCH);
        let passed = |output: f32, gradient: f32| if output > 0.0 { gradient } else { 0.0 };
        if let Some(gradient) = gradient.try_storage_mut::<f32>() {
            let stretches = gradient.par_chunks_mut(STRETCH).zip(output);
            stretches.for_each(|(g, o)| g.iter_mut().zip(o).for_each(|(g, o)| *g = passed(*o, *g)));
        } else {
            let mut out = buffer::zeros(shape.num_elements());
            let stretches = out.par_chunks_mut(STRETCH).zip(output).zip(gradient.storage::<f32>().par_chunks(STRETCH));
            stretches.for_each(|((out, o), g)| {
                out.iter_mut().zip(o).zip(g).for_each(|((out, o), g)| *out = passed(*o, *g));
            });
            gradient = tensor(out, shape);
        }
        as_type(gradient, dtype)
    }

    fn maximum_pooling(x: FloatTensor<Self>, settings: PoolSettings) -> (FloatTensor<Self>, IntTensor<Self>) {
        let (dtype, [batch, channels, ..], input) = (x.dtype(), x.shape().dims::<4>(), sides(&x));
        let [height, width] = pool::output(input, &settings);
        let shape = [batch, channels, height, width];
        let x = single(x);
        if dry::is_on() {
            return (hollow(shape, DType::F32), hollow(shape, DType::I32));
        }
        let (values, places) = pool::maximum(x.storage(), input, &settings);
        let places = FlexTensor::new(Bytes::from_elems(places), Layout::contiguous(shape.into()), DType::I32);
        (as_type(tensor(values, shape), dtype), places)
    }

    fn maximum_pooling_gradient(
        x: FloatTensor<Self>,
        indices: IntTensor<Self>,
        gradient: FloatTensor<Self>,
        _settings: PoolSettings,
    ) -> FloatTensor<Self> {
        let (dtype, shape) = (gradient.dtype(), x.shape());
        let [[height, width], input] = [sides(&gradient), sides(&x)];
        let gradient = single(gradient);
        let (area, input_area) = (height * width, input[0] * input[1]);
        let out = computed(shape, || pool::gradient(gradient.storage(), indices.storage(), area, input_area));
        as_type(out, dtype)
    }

    fn adaptive_average_pooling(x: FloatTensor<Self>, size: [usize; 2]) -> FloatTensor<Self> {
        let [batch, channels, ..] = x.shape().dims::<4>();
        if dry::is_on() {
            let _x = single(x);
            return hollow([batch, channels, size[0], size[1]], DType::F32);
        }
        Self::adaptive_avg_pool2d(x, size)
    }

    fn adaptive_average_pooling_gradient(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        if dry::is_on() {
            let (shape, _gradient) = (x.shape(), single(gradient));
            return hollow(shape, DType::F32);
        }
        Self::adaptive_avg_pool2d_backward(x, gradient)
    }

    fn resample(x: FloatTensor<Self>, size: [usize; 2], how: Resampling) -> FloatTensor<Self> {
        let (dtype, [batch, channels, ..], input) = (x.dtype(), x.shape().dims::<4>(), sides(&x));
        let x = single(x);
        let shape = [batch, channels, size[0], size[1]];
        as_type(computed(shape, || resample::resample(x.storage(), input, size, how)), dtype)
    }

    fn resample_gradient(gradient: FloatTensor<Self>, input: Shape, how: Resampling) -> FloatTensor<Self> {
        let (dtype, size) = (gradient.dtype(), sides(&gradient));
        let (gradient, sides) = (single(gradient), [input[2], input[3]]);
        as_type(computed(input, || resample::gradient(gradient.storage(), sides, size, how)), dtype)
    }

    fn argmax_channels(x: FloatTensor<Self>) -> IntTensor<Self> {
        let [batch, channels, height, width] = x.shape().dims::<4>();
        let x = single(x);
        if dry::is_on() {
            return hollow([batch, height, width], DType::I64);
        }
        let places = largest_channel(x.storage(), channels, height * width);
        FlexTensor::from_data(TensorData::new(places, [batch, height, width]))
    }

    fn note(x: FloatTensor<Self>) -> FloatTensor<Self> {
        hollow::counted(x)
    }

    fn softmax_cross_entropy(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        class_weights: Option<FloatTensor<Self>>,
        ignore: i64,
    ) -> CrossEntropy<Self> {
        let shape = logits.shape();
        let (logits, weights) = (single(logits), class_weights.map(single));
        if dry::is_on() {
            return hollow::cross_entropy(shape, labels);
        }
        let labels = Flex::int_cast(labels, IntDType::I64).to_contiguous();
        let weights = weights.as_ref().map(FlexTensor::storage::<f32>);
        let (classes, area) = (shape[1], shape[2] * shape[3]);
        let done = cross_entropy::forward(logits.storage(), labels.storage(), classes, area, weights, ignore);
        // Without a label the sums are 0, and so must their quotient be.
        let total_weight = if done.total_weight == 0.0 { 1.0 } else { done.total_weight as f32 };
        CrossEntropy {
            loss: tensor(vec![(done.weighted_sum / f64::from(total_weight)) as f32], [1]),
            kept: tensor(done.kept, shape),
            total_weight: tensor(vec![total_weight], [1]),
        }
    }
}

/// Whether [`winograd`] computes a convolution of images and weights of these shapes.
#[cfg(feature = "libtorch")]
pub(super) fn suits_winograd([x, weight]: [[usize; 4]; 2], settings: ConvSettings) -> bool {
    weight[2..] == [3, 3] && winograd::suits(&problem_of(x, weight, settings))
}

/// `max(convolution + shortcut, 0)` for other backends' tensors in main memory, and its shape.
#[cfg(feature = "libtorch")]
pub(super) fn winograd(
    [x_shape, weight_shape]: [[usize; 4]; 2],
    [x, weight]: [&[f32]; 2],
    bias: Option<&[f32]>,
    shortcut: Option<&[f32]>,
    settings: ConvSettings,
) -> (Vec<f32>, [usize; 4]) {
    let problem = problem_of(x_shape, weight_shape, settings);
    let [height, width] = problem.geometry.output;
    let out = winograd::forward(&problem, x, weight, &Epilogue { bias, shortcut, rectify: true });
    (out, [problem.batch, problem.outputs, height, width])
}

fn sides(image: &FlexTensor) -> [usize; 2] {
    let [_, _, height, width] = image.shape().dims();
    [height, width]
}

fn convolution(x: &FlexTensor, weight: &FlexTensor, settings: ConvSettings) -> Problem {
    problem_of(x.shape().dims(), weight.shape().dims(), settings)
}

/// The convolution of images and weights of these shapes.
fn problem_of(x: [usize; 4], weight: [usize; 4], settings: ConvSettings) -> Problem {
    let ([batch, _, height, width], [_, _, rows, columns]) = (x, weight);
    let (input, kernel) = ([height, width], [rows, columns]);
    problem(batch, weight, Geometry { input, output: settings.output(input, kernel), kernel, settings })
}

/// The convolution that a transposed convolution of `x` is the input gradient of.
fn transposed_problem(x: &FlexTensor, weight: &FlexTensor, settings: ConvTransposeSettings) -> Problem {
    let (output, kernel) = (sides(x), sides(weight));
    let geometry = Geometry { input: settings.output(output, kernel), output, kernel, settings: settings.conv };
    problem(x.shape()[0], weight.shape().dims(), geometry)
}

fn problem(batch: usize, [outputs, inputs, ..]: [usize; 4], geometry: Geometry) -> Problem {
    let groups = geometry.settings.groups;
    Problem { batch, inputs, outputs: outputs / groups, groups, geometry }
}

fn input_gradient(problem: &Problem, weight: &FlexTensor, gradient: &FlexTensor) -> FlexTensor {
    let [height, width] = problem.geometry.input;
    // The turned weight that the quick way needs.
    dry::count_for_a_moment(4 * weight.shape().num_elements() as u64);
    let shape = [problem.batch, problem.groups * problem.inputs, height, width];
    computed(shape, || conv::input_gradient(problem, weight.storage(), gradient.storage()))
}

/// The convolution itself, of the gradient.
fn transposed_input_gradient(problem: &Problem, weight: &FlexTensor, gradient: &FlexTensor) -> FlexTensor {
    let [height, width] = problem.geometry.output;
    let shape = [problem.batch, problem.groups * problem.outputs, height, width];
    computed(shape, || conv::forward(problem, gradient.storage(), weight.storage(), &Epilogue::default()))
}

fn weight_gradient(problem: &Problem, x: &FlexTensor, gradient: &FlexTensor, shape: Shape) -> FlexTensor {
    computed(shape, || conv::weight_gradient(problem, x.storage(), gradient.storage()))
}

fn bias_gradient(gradient: &FlexTensor) -> FlexTensor {
    let [_, channels, height, width] = gradient.shape().dims();
    computed([channels], || conv::channel_sums(gradient.storage(), channels, height * width))
}

/// The running statistics after a batch.
fn moving(running: FlexTensor, batch: impl Iterator<Item = f64>, momentum: f64) -> FlexTensor {
    let running = single(running);
    let mix = |(old, new): (&f32, f64)| ((1.0 - momentum) * f64::from(*old) + momentum * new) as f32;
    let values: Vec<f32> = running.storage::<f32>().iter().zip(batch).map(mix).collect();
    let channels = values.len();
    tensor(values, [channels])
}

/// In float32 and in one piece.
fn single(tensor: FlexTensor) -> FlexTensor {
    if dry::is_on() { hollow::input(tensor) } else { as_type(tensor, DType::F32).to_contiguous() }
}

fn as_type(tensor: FlexTensor, dtype: DType) -> FlexTensor {
    if tensor.dtype() == dtype { tensor } else { Flex::float_cast(tensor, dtype.into()) }
}

/// The tensor of `shape` whose values `compute` gives; in a dry run one without values.
fn computed(shape: impl Into<Shape>, compute: impl FnOnce() -> Vec<f32>) -> FlexTensor {
    let shape = shape.into();
    if dry::is_on() { hollow(shape, DType::F32) } else { tensor(compute(), shape) }
}

fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape.into()), DType::F32)
}
