//! Networks and what trains them: models, layers, losses, the learner, cost, kernels, devices.

pub mod activation;
pub mod cost;
pub mod device;
#[cfg(feature = "libtorch")]
mod ffi;
pub mod group;
#[doc(hidden)]
pub mod layer;
#[doc(hidden)]
pub mod learner;
pub mod loss;
pub mod model;
#[doc(hidden)]
pub mod ops;
pub mod precision;
