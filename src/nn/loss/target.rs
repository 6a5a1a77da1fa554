//! Labels of a batch on the device.

use burn::tensor::{Int, Tensor};

/// The label of a pixel that has none.
pub(super) const UNLABELLED: i32 = -1;

/// Labels of a batch on the device.
#[derive(Debug, Clone)]
pub struct Target {
    /// Class indices `[batch, height, width]`; -1 where there is no label.
    pub labels: Tensor<3, Int>,
    /// Whether every pixel is known to have a label, which saves masks.
    pub complete: bool,
}
