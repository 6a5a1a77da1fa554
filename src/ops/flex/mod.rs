//! Kernels on the CPU without libtorch, in float32; other types go burn's way.

mod conv;
mod matrix;
mod unfold;

use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Bytes, Flex, TensorMetadata};
use burn::tensor::{DType, Shape};

use super::kernels::{Gradients, Kernels, Wanted};
use super::settings::{ConvSettings, ConvTransposeSettings};
use conv::Problem;
use unfold::Geometry;

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
        let problem = problem(sides(&x), &x, &weight, settings);
        let (x, weight, bias) = (single(x), single(weight), bias.map(single));
        let [rows, columns] = problem.geometry.output;
        let mut out = vec![0.0; problem.batch * problem.groups * problem.outputs * rows * columns];
        let bias = bias.as_ref().map(FlexTensor::storage::<f32>);
        conv::forward(&problem, x.storage(), weight.storage(), bias, &mut out);
        as_type(tensor(out, [problem.batch, problem.groups * problem.outputs, rows, columns]), dtype)
    }

    fn convolution_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        settings: ConvSettings,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        let problem = problem(sides(&x), &x, &weight, settings);
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
        match bias {
            None => out,
            Some(bias) => {
                let channels = bias.shape()[0];
                Self::float_add(out, bias.reshape(Shape::new([1, channels, 1, 1])))
            }
        }
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
            wanted[0].then(|| Self::convolution(gradient.clone(), single(weight), None, settings.conv)),
            wanted[1].then(|| weight_gradient(&problem, &gradient, &x, shape)),
            wanted[2].then(|| bias_gradient(&gradient)),
        ];
        gradients.map(|gradient| gradient.map(|gradient| as_type(gradient, dtype)))
    }
}

fn sides(picture: &FlexTensor) -> [usize; 2] {
    let [_, _, height, width] = picture.shape().dims();
    [height, width]
}

/// The convolution of `x` with `weight`; or, with the sides of its result for `input`, the one that a transposed
/// convolution of `x` is the input gradient of.
fn problem(input: [usize; 2], x: &FlexTensor, weight: &FlexTensor, settings: ConvSettings) -> Problem {
    let [outputs, inputs, rows, columns] = weight.shape().dims();
    Problem {
        batch: x.shape()[0],
        inputs,
        outputs: outputs / settings.groups,
        groups: settings.groups,
        geometry: Geometry::new(input, [rows, columns], settings),
    }
}

fn transposed_problem(x: &FlexTensor, weight: &FlexTensor, settings: ConvTransposeSettings) -> Problem {
    let [_, _, rows, columns] = weight.shape().dims();
    problem(settings.output(sides(x), [rows, columns]), x, weight, settings.conv)
}

fn input_gradient(problem: &Problem, weight: &FlexTensor, gradient: &FlexTensor) -> FlexTensor {
    let [height, width] = problem.geometry.input;
    let channels = problem.groups * problem.inputs;
    let mut out = vec![0.0; problem.batch * channels * height * width];
    conv::input_gradient(problem, weight.storage(), gradient.storage(), &mut out);
    tensor(out, [problem.batch, channels, height, width])
}

fn weight_gradient(problem: &Problem, x: &FlexTensor, gradient: &FlexTensor, shape: Shape) -> FlexTensor {
    let mut out = vec![0.0; shape.num_elements()];
    conv::weight_gradient(problem, x.storage(), gradient.storage(), &mut out);
    tensor(out, shape)
}

fn bias_gradient(gradient: &FlexTensor) -> FlexTensor {
    let [_, channels, height, width] = gradient.shape().dims();
    tensor(conv::channel_sums(gradient.storage(), channels, height * width), [channels])
}

/// In float32 and in one piece.
fn single(tensor: FlexTensor) -> FlexTensor {
    as_type(tensor, DType::F32).to_contiguous()
}

fn as_type(tensor: FlexTensor, dtype: DType) -> FlexTensor {
    if tensor.dtype() == dtype { tensor } else { Flex::float_cast(tensor, dtype.into()) }
}

fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape.into()), DType::F32)
}
