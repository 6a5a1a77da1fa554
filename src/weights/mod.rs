//! Weights on disk: safetensors with PyTorch's names.

mod safetensors;

pub use self::safetensors::{load, save, to_bytes};
