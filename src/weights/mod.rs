//! Weights on disk: safetensors with PyTorch's names, and what others call them.

mod names;
mod safetensors;

pub use names::Names;
pub use self::safetensors::{load, save, to_bytes};
