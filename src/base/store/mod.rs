//! Objects in stores, by URL: S3, Google Cloud Storage, Azure Blob Storage and web servers.
//!
//! Also files that are held in memory, which have paths of their own.
//!
//! A URL stands where a path stands, as in `Path::new("s3://bucket/scenes/a.tif")`, so that its name, its folder and what is
//! said of it are those of any file. Only the parts of an object that are asked for travel. Without the feature `cloud`, every
//! question about a URL is answered with the build that has it.

#[cfg(not(feature = "cloud"))]
mod absent;
#[cfg(feature = "cloud")]
mod client;
mod held;
#[cfg(feature = "cloud")]
mod object;
#[cfg(feature = "cloud")]
mod registry;
mod url;

use std::io::{Read, Seek};

#[cfg(not(feature = "cloud"))]
use absent as access;
#[cfg(feature = "cloud")]
use registry as access;

pub use access::check;
pub(crate) use access::{Object, delete, download, fetch_ahead, is_there, list, object, open, read, upload, version};
pub(crate) use held::held;
pub use held::{HeldBytes, HeldFile};
pub(crate) use url::below;
pub use url::{is_url, is_web, refuse};

/// A file on this machine or in memory, or an object in a store, open for reading.
pub(crate) trait Opened: Read + Seek {}

impl<T: Read + Seek> Opened for T {}

#[cfg(all(test, not(feature = "cloud")))]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_build_without_the_feature_names_the_one_that_has_it() {
        let said = check(Path::new("s3://bucket/a.tif")).unwrap_err().to_string();
        assert!(said.contains("s3://bucket/a.tif") && said.contains("--features cloud"), "{said}");
        check(Path::new("a.tif")).unwrap();
        assert_eq!(object(Path::new("gs://b/a")).unwrap_err().to_string().matches("--features cloud").count(), 2);
    }
}
