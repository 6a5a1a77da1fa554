//! What surrounds the commands: exit codes, all that is printed, flags in error messages, settings of the process.

pub(crate) mod allocator;
pub(crate) mod exit;
pub(crate) mod flags;
pub(crate) mod ui;
