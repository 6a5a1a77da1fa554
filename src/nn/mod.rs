//! Networks and what trains them: models, layers, losses, the learner, cost, kernels, devices.

pub mod activation;
pub mod cost;
pub mod device;
pub mod layer;
pub mod learner;
pub mod loss;
pub mod model;
pub mod ops;
pub mod precision;
