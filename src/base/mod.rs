//! Types that all other modules share: errors, events, files, sizes, label maps.

pub mod error;
pub mod event;
#[doc(hidden)]
pub mod files;
#[doc(hidden)]
pub mod inputs;
pub mod label_map;
mod lock;
pub(crate) mod main_memory;
pub(crate) mod markup;
#[doc(hidden)]
pub mod named_enum;
pub(crate) mod path_text;
pub mod remedy;
pub mod size;
#[doc(hidden)]
pub mod store;
mod vectorised;
#[doc(hidden)]
pub mod words;

pub(crate) use error::require;
pub use error::{Error, Result};
pub use label_map::LabelMap;
pub(crate) use lock::locked;
pub use remedy::Remedy;
pub use size::Size;
pub(crate) use vectorised::vectorised;
