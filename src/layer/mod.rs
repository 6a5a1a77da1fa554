//! Layers: parameters under PyTorch's names, over the operations of [`crate::ops`].

mod conv;
mod init;
mod norm;

pub use conv::{Conv2d, ConvTranspose2d};
pub use init::{Init, Initialisation};
pub use norm::BatchNorm2d;
