//! A folder for results where none is named.

use std::path::PathBuf;

use super::Outputs;
use super::record::{Maker, Record};
use super::target::{Claim, Target};
use crate::base::{Error, Result};

/// The first of the folders `base`, `base-2`, `base-3`, ... that may take these results, where `base` is that of the target: it
/// holds none of other makers or images.
pub(crate) fn free_folder(
    target: &Target<'_>,
    inputs: &[PathBuf],
    outputs: &Outputs,
    maker: &Maker,
) -> Result<PathBuf> {
    let base = target.folder;
    let numbered = (2..).map(|number| {
        let mut name = base.as_os_str().to_owned();
        name.push(format!("-{number}"));
        PathBuf::from(name)
    });
    for folder in std::iter::once(base.to_path_buf()).chain(numbered) {
        let target = Target { folder: &folder, overwrite: false, read: &[], shard: None, ..*target };
        match Claim::new((&target, None), inputs, outputs, maker) {
            Ok(claim) if claim.takes_all_of(Record::read(&folder).ok().flatten().as_ref()) => return Ok(folder),
            Ok(_) | Err(Error::Occupied { .. }) => {}
            Err(fault) => return Err(fault),
        }
    }
    unreachable!("there are more numbers than folders")
}
