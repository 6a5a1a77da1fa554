//! In which numbers to compute.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};

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
}

impl Precision {
    /// `x` in the type that layers compute with.
    pub fn of_input(self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Float32 | Self::Tf32 => x,
            Self::Bf16 => x.cast(DType::BF16),
        }
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        [Self::Float32, Self::Tf32, Self::Bf16]
            .into_iter()
            .find(|precision| precision.to_string().eq_ignore_ascii_case(name))
            .ok_or_else(|| Error::Config(format!("unknown precision '{name}'; choose float32, tf32 or bf16")))
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        })
    }
}
