//! In which numbers to compute.

use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::base::named_enum::named_enum;

/// Numbers of the images between layers and of the products in them. Weights, statistics and losses are float32 in
/// any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 significant bits throughout.
    #[default]
    Float32,
    /// float32 whose products have 11 significant bits: NVIDIA GPUs only.
    Tf32,
    /// 8 significant bits, half the memory: libtorch only.
    Bf16,
    /// What suits the device; see [`DeviceChoice::settle`](super::device::DeviceChoice::settle).
    Auto,
}

impl Precision {
    /// `x` in the type that layers compute with; [`Self::Auto`] has to be settled first.
    pub fn of_input(self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Float32 | Self::Tf32 | Self::Auto => x,
            Self::Bf16 => x.cast(DType::BF16),
        }
    }
}

named_enum!(Precision, "precision", "float32" => Float32, "tf32" => Tf32, "bf16" => Bf16, "auto" => Auto);
