//! One file a subcommand: glue between the command line and the library, no algorithms.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod metrics;
pub(crate) mod predict;
pub(crate) mod train;
