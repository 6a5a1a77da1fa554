//! Labels of a batch on the device.

use burn::tensor::{Bool, Int, Tensor};

/// Labels of a batch on the device.
#[derive(Debug, Clone)]
pub struct Target {
    /// Class indices `[batch, height, width]`; 0 where there is no label.
    pub classes: Tensor<3, Int>,
    /// Where there is a label; `None` if every pixel has one.
    pub labelled: Option<Tensor<3, Bool>>,
}
