//! Weights on disk: segtool's own and everybody's.

mod beside;
mod checkpoint;
mod content;
mod describe;
mod download;
mod export;
mod extras;
mod features;
mod foreign_files;
mod load;
mod manifest;
mod names;
mod recognise;
mod safetensors;
mod signs;
mod torch;
mod torch_file;
mod unwrap;
mod whose;

pub use checkpoint::{Checkpoint, Stored};
pub use content::{Content, Description};
pub use download::cache;
pub use export::Target;
pub use load::Report;
pub use manifest::{Entry, entries, locate};
pub use names::Names;
pub use recognise::Weights;
pub use safetensors::{load, save, save_encoder};
pub use unwrap::Choice;
