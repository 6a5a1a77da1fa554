//! Training of a random forest over hypercolumns.

mod encoder;
mod engine;
mod evaluate;
mod labels;
mod pixels;
pub(super) mod report;
mod result;
mod samples;
mod split;

#[cfg(feature = "serve")]
pub(crate) use encoder::{encoder, fit_to_weights};
pub use engine::Plan;
pub(super) use engine::train;
#[cfg(feature = "serve")]
pub(crate) use evaluate::Fitting;
#[cfg(feature = "serve")]
pub(crate) use labels::leave_out_unmeasured;
pub use labels::{LabelSource, LabelledImage};
#[cfg(feature = "serve")]
pub(crate) use result::{RunContent, importances};
#[cfg(feature = "serve")]
pub(crate) use samples::{Samples, chosen_for};
pub use split::Split;
