//! Layers: parameters under PyTorch's names, over the operations of [`super::ops`].

mod conv;
mod dropout;
mod init;
mod norm;
mod statistic;
mod unit;

pub use conv::{Conv2d, ConvTranspose2d};
pub use dropout::{dropout_channels, dropout_pixels};
pub use init::{Init, Initialisation};
pub use norm::BatchNorm2d;
pub use statistic::Statistic;
pub use unit::{ConvNorm, DoubleUnit};
