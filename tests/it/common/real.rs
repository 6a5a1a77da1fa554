//! Real data sets, where they are: `SEGTOOL_DATA` names a folder with `seeps.tar.gz`, `camvid.tar.gz` and
//! `parihaka.tar.gz`, each holding images, label images and the lists `train_*.txt` and `val_*.txt`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file below `SEGTOOL_DATA`; `None`, saying so, where it is not there.
#[allow(clippy::print_stdout)]
pub(crate) fn real(name: &str) -> Option<PathBuf> {
    let file = std::env::var_os("SEGTOOL_DATA").map(|data| Path::new(&data).join(name)).filter(|file| file.exists());
    if file.is_none() {
        println!("skipped: SEGTOOL_DATA does not name a folder with {name}");
    }
    file
}

/// Unpacks a data set, where it is there.
pub(crate) fn unpacked(name: &str, folder: &Path) -> Option<PathBuf> {
    let archive = real(&format!("{name}.tar.gz"))?;
    assert!(Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(folder).status().unwrap().success());
    Some(folder.join(name))
}
