//! Objects in stores, by URL: S3, Google Cloud Storage, Azure Blob Storage and web servers.
//!
//! A URL stands where a path stands, as in `Path::new("s3://bucket/scenes/a.tif")`, so that its name, its folder and what is
//! said of it are those of any file. Only the parts of an object that are asked for travel. Without the feature `cloud`, every
//! question about a URL is answered with the build that has it.

#[cfg(not(feature = "cloud"))]
mod absent;
#[cfg(feature = "cloud")]
mod client;
#[cfg(feature = "cloud")]
mod object;
#[cfg(feature = "cloud")]
mod registry;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

#[cfg(not(feature = "cloud"))]
use absent as access;
#[cfg(feature = "cloud")]
use registry as access;

pub use access::check;
pub(crate) use access::{
    Object, Reader, delete, download, fetch_ahead, is_there, list, object, open, read, upload, version,
};

use super::error::{Error, Result};

/// What the URLs of stores begin with.
const SCHEMES: [&str; 8] = ["s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://", "http://", "https://"];
/// Those of web servers, which do not list what they have.
const WEB: [&str; 2] = ["http://", "https://"];

/// Whether a path is the URL of an object or of a folder in a store.
pub fn is_url(path: &Path) -> bool {
    begins(path, &SCHEMES)
}

/// Whether it is the URL of a web server.
pub fn is_web(path: &Path) -> bool {
    begins(path, &WEB)
}

fn begins(path: &Path, schemes: &[&str]) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    schemes.iter().any(|scheme| text.get(..scheme.len()).is_some_and(|begin| begin == scheme.as_bytes()))
}

/// Refuses a URL in a place that takes files alone; `use_instead` is what to do.
pub fn refuse(path: &Path, use_instead: &str) -> Result<()> {
    if is_url(path) { Err(Error::content(path, format!("is a URL; {use_instead}"))) } else { Ok(()) }
}

/// The URL of what is called `name` in the folder `url`.
pub(crate) fn below(url: &Path, name: &str) -> PathBuf {
    let folder = url.to_string_lossy();
    format!("{}/{name}", folder.trim_end_matches('/')).into()
}

/// An object as a listing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its URL.
    pub(crate) url: PathBuf,
    /// Its name below the folder, with `/` between the parts.
    pub(crate) name: String,
    /// Bytes of it.
    pub(crate) bytes: u64,
    /// When it was last changed, in seconds since 1970.
    pub(crate) modified: i64,
}

/// A file on this machine or an object in a store, open for reading.
#[derive(Debug)]
pub enum Opened {
    /// A file.
    File(File),
    /// An object.
    #[doc(hidden)]
    Object(Reader),
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Object(object) => object.read(buffer),
        }
    }
}

impl Seek for Opened {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        match self {
            Self::File(file) => file.seek(to),
            Self::Object(object) => object.seek(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        for url in ["s3://bucket/a.tif", "gs://b/x/", "az://c/a", "http://localhost:1/a.png", "https://h/a.tif"] {
            assert!(is_url(Path::new(url)), "{url}");
        }
        for path in ["s3:/bucket/a.tif", "a.tif", "file:///a.tif", "scenes/s3://x", "", "C:\\a.tif"] {
            assert!(!is_url(Path::new(path)), "{path}");
        }
        assert!(is_web(Path::new("https://h/a")) && !is_web(Path::new("s3://b/a")));
        // A URL is a path whose parts are known.
        let url = Path::new("s3://bucket/scenes/north/a.tif");
        assert_eq!(url.file_stem().unwrap(), "a");
        assert_eq!(url.strip_prefix("s3://bucket/scenes/").unwrap(), Path::new("north/a.tif"));
        assert_eq!(below(Path::new("s3://bucket/out/"), "x/a.npy"), Path::new("s3://bucket/out/x/a.npy"));
    }

    #[cfg(not(feature = "cloud"))]
    #[test]
    fn a_build_without_the_feature_names_the_one_that_has_it() {
        let said = check(Path::new("s3://bucket/a.tif")).unwrap_err().to_string();
        assert!(said.contains("s3://bucket/a.tif") && said.contains("--features cloud"), "{said}");
        check(Path::new("a.tif")).unwrap();
        assert_eq!(object(Path::new("gs://b/a")).unwrap_err().to_string().matches("--features cloud").count(), 2);
    }
}
