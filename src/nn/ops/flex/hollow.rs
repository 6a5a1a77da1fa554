//! Tensors without numbers, for dry runs.

use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::{Bytes, Flex, TensorMetadata};
use burn::tensor::{DType, Shape};

use crate::nn::ops::dry;
use crate::nn::ops::results::{CrossEntropy, Normalised, Statistics};

/// A tensor of `shape` that is counted but holds nothing: no image, or one number in place of all.
pub(super) fn hollow(shape: impl Into<Shape>, dtype: DType) -> FlexTensor {
    let shape = shape.into();
    let mut strides = vec![0; shape.num_dims()];
    let numbers = if shape[0] == 0 {
        // A part of it begins at 0, too, and still tells how large the whole is.
        strides[0] = image(&shape);
        vec![]
    } else {
        vec![0f32]
    };
    counted(FlexTensor::new(Bytes::from_elems(numbers), Layout::new(shape, strides, 0), dtype))
}

/// A tensor that one of burn's operations made.
pub(super) fn counted(tensor: FlexTensor) -> FlexTensor {
    dry::count(&tensor.data_arc(), &tensor.shape(), tensor.dtype().size() as u64);
    tensor
}

/// An input of a kernel, copied if it is part of another tensor. Parameters are not counted here: their number is known.
pub(super) fn input(tensor: FlexTensor) -> FlexTensor {
    let shape = tensor.shape();
    if shape[0] != 0 {
        return tensor;
    }
    let whole = tensor.layout().strides()[0] == image(&shape);
    if whole { counted(tensor) } else { hollow(shape, tensor.dtype()) }
}

/// Elements of one image of a batch.
fn image(shape: &Shape) -> isize {
    shape.iter().skip(1).product::<usize>() as isize
}

/// A batch norm of `shape`.
pub(super) fn normalised(shape: Shape) -> Normalised<Flex> {
    let channels = shape[1];
    let [running_mean, running_var, mean, inverse_deviation] = [(); 4].map(|()| hollow([channels], DType::F32));
    let statistics = Statistics { mean, inverse_deviation, reserved: None };
    Normalised { output: hollow(shape, DType::F32), running_mean, running_var, statistics }
}

/// The gradients of a batch norm of `shape`.
pub(super) fn normalised_gradients(shape: Shape) -> [Option<FlexTensor>; 3] {
    let channels = shape[1];
    [shape, Shape::new([channels]), Shape::new([channels])].map(|shape| Some(hollow(shape, DType::F32)))
}

/// A cross-entropy of logits of `shape`.
pub(super) fn cross_entropy(shape: Shape, labels: FlexTensor) -> CrossEntropy<Flex> {
    let labels = input(labels);
    let _wide = hollow(labels.shape(), DType::I64);
    let [loss, total_weight] = [(); 2].map(|()| hollow([1], DType::F32));
    CrossEntropy { loss, kept: hollow(shape, DType::F32), total_weight }
}
