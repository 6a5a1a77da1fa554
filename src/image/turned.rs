//! Images, and whether they were turned.

use std::path::Path;

use super::declares_orientation;
use super::read::read;
use super::samples::Image;
use crate::base::Result;

/// As [`read_image`](super::read_image), and whether the file declares that its pixels are to be turned, and they were.
pub(crate) fn read_image_turned(path: &Path) -> Result<(Image, bool)> {
    read(path).map(|(image, turned)| (image, turned.unwrap_or_else(|| declares_orientation(path))))
}
