//! Files that are held in memory, such as what was sent to a server: each has a path of its own while somebody holds it, under
//! which it is opened as any file is.

use std::collections::HashMap;
use std::io::{Error as IoError, ErrorKind, Result as IoResult};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use crate::base::locked;

/// What paths of such files begin with.
const SCHEME: &str = "memory://";
/// Longest name of a file.
const LONGEST_NAME: usize = 128;

static NUMBER: AtomicU64 = AtomicU64::new(1);

fn files() -> MutexGuard<'static, HashMap<PathBuf, HeldBytes>> {
    static FILES: LazyLock<Mutex<HashMap<PathBuf, HeldBytes>>> = LazyLock::new(Mutex::default);
    locked(&FILES)
}

/// The bytes of a file in memory.
#[derive(Debug, Clone)]
pub struct HeldBytes(Arc<Vec<u8>>);

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl HeldBytes {
    /// Bytes of it.
    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Exactly those bytes.
    pub(crate) fn read_at(&self, offset: u64, length: usize) -> IoResult<Vec<u8>> {
        let start = usize::try_from(offset).ok();
        let part = start.and_then(|start| self.0.get(start..start.checked_add(length)?));
        part.map(<[u8]>::to_vec).ok_or_else(|| IoError::new(ErrorKind::UnexpectedEof, "the file ends before"))
    }
}

/// A file in memory: until this is dropped, its [path](Self::path) can be read by every function that reads files.
#[derive(Debug)]
pub struct HeldFile {
    path: PathBuf,
    bytes: HeldBytes,
}

impl HeldFile {
    /// Holds bytes as a file of this name, as far as it can be one.
    pub fn new(name: &str, bytes: Vec<u8>) -> Self {
        let bytes = HeldBytes(Arc::new(bytes));
        let path = PathBuf::from(format!("{SCHEME}{}/{}", NUMBER.fetch_add(1, Ordering::Relaxed), plain_name(name)));
        files().insert(path.clone(), bytes.clone());
        Self { path, bytes }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// A text about it, such as that of an error, with its name for its path.
    pub fn named(&self, text: &str) -> String {
        let folder = self.path.parent().map(|folder| format!("{}/", folder.display())).unwrap_or_default();
        text.replace(&folder, "")
    }
}

impl Drop for HeldFile {
    fn drop(&mut self) {
        files().remove(&self.path);
    }
}

/// The last part of a name, without what has a meaning in paths or on a terminal; the end of a long one, with its ending.
fn plain_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: Vec<char> = last.chars().filter(|c| !c.is_control()).collect();
    let from = kept.len().saturating_sub(LONGEST_NAME);
    match kept[from..].iter().collect::<String>().trim() {
        "" | "." | ".." => "image".into(),
        name => name.into(),
    }
}

/// The file in memory that a path names; `None` of other paths.
pub(crate) fn held(path: &Path) -> Option<HeldBytes> {
    let is_held = path.as_os_str().as_encoded_bytes().starts_with(SCHEME.as_bytes());
    is_held.then(|| files().get(path).cloned()).flatten()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom};

    use super::*;
    use crate::base::files::{is_file, open_input, read_bytes};

    #[test]
    fn a_file_in_memory_is_read_while_it_is_held() {
        let file = HeldFile::new("a.tif", vec![1, 2, 3]);
        let other = HeldFile::new("a.tif", vec![4]);
        let path = file.path().to_path_buf();
        assert_ne!(path, other.path());
        assert_eq!(read_bytes(&path).unwrap(), [1, 2, 3]);
        let (mut opened, length) = open_input(&path).unwrap();
        let mut last = [0];
        opened.seek(SeekFrom::Start(2)).unwrap();
        opened.read_exact(&mut last).unwrap();
        assert_eq!((length, last, is_file(&path)), (3, [3], true));
        assert!(held(&path).unwrap().read_at(2, 2).is_err());
        let said = crate::Error::content(&path, "is damaged").to_string();
        assert_eq!(file.named(&said), "a.tif: is damaged");
        drop(file);
        assert!(!is_file(&path) && open_input(&path).is_err() && held(&path).is_none());
    }

    #[test]
    fn names_stay_names() {
        for (given, kept) in [
            ("../../etc/passwd", "passwd"),
            ("C:\\a\\b.tif", "b.tif"),
            ("", "image"),
            ("..", "image"),
            ("a\u{1b}[2J\n.png", "a[2J.png"),
        ] {
            assert_eq!(plain_name(given), kept);
        }
        let long = plain_name(&format!("{}.tif", "x".repeat(500)));
        assert!(long.chars().count() == LONGEST_NAME && long.ends_with("x.tif"));
    }
}
