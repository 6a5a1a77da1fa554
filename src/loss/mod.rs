//! Losses on logits `[batch, outputs, height, width]` and class indices `[batch, height, width]`.
//!
//! Pixels without a label ([`crate::label::IGNORE`]) count for nothing in any of them.

mod bce_dice;
mod cross_entropy;
mod soft_dice;

use burn::tensor::{Bool, DType, Int, Tensor};
use serde::{Deserialize, Serialize};

pub use bce_dice::bce_dice;
pub use cross_entropy::cross_entropy;
pub use soft_dice::soft_dice;

/// Labels of a batch on the device.
#[derive(Debug, Clone)]
pub struct Target {
    /// Class indices `[batch, height, width]`; 0 where there is no label.
    pub classes: Tensor<3, Int>,
    /// Where there is a label; `None` if every pixel has one.
    pub labelled: Option<Tensor<3, Bool>>,
}

impl Target {
    /// 1 where there is a label, else 0; `None` if every pixel has one.
    fn weights(&self) -> Option<Tensor<3>> {
        self.labelled.clone().map(|labelled| labelled.float())
    }
}

/// A loss as a recipe writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LossConfig {
    /// Softmax cross-entropy, averaged over the labelled pixels.
    CrossEntropy,
    /// Softmax cross-entropy plus soft Dice over the classes except the first (the background).
    CrossEntropyDice {
        /// Weight of the cross-entropy.
        ce_weight: f64,
        /// Weight of the soft Dice.
        dice_weight: f64,
    },
    /// Soft Dice over the classes except the first (the background).
    SoftDice,
    /// Sigmoid binary cross-entropy plus soft Dice of the one output.
    BceDice {
        /// Weight of the binary cross-entropy.
        bce_weight: f64,
        /// Weight of the soft Dice.
        dice_weight: f64,
    },
}

impl LossConfig {
    /// Whether the loss wants one sigmoid output instead of a softmax over classes.
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::BceDice { .. })
    }

    /// The loss of a batch, a tensor of one element; computed in float32 whatever the logits are.
    pub fn compute(&self, logits: Tensor<4>, target: &Target) -> Tensor<1> {
        let logits = if logits.dtype() == DType::F32 { logits } else { logits.cast(DType::F32) };
        match *self {
            Self::CrossEntropy => cross_entropy(logits, target),
            Self::CrossEntropyDice { ce_weight, dice_weight } => {
                cross_entropy(logits.clone(), target).mul_scalar(ce_weight)
                    + soft_dice(logits, target).mul_scalar(dice_weight)
            }
            Self::SoftDice => soft_dice(logits, target),
            Self::BceDice { bce_weight, dice_weight } => bce_dice(logits, target, bce_weight, dice_weight),
        }
    }
}
