//! The frame of a JPEG: size and components.

use crate::base::Size;
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) progressive: bool,
    pub(super) size: Size,
    pub(super) components: Vec<Component>,
}

#[derive(Debug)]
pub(crate) struct Component {
    pub(super) id: u8,
    /// Blocks of a minimum coded unit.
    pub(super) across: u8,
    pub(super) down: u8,
}

pub(crate) const RST0: u8 = 0xd0;
