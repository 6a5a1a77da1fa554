//! Paths as text in JSON. Serde refuses those that are not UTF-8; here they have replacement characters, as in messages.

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// For `serialize_with` of a path.
pub(crate) fn one<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}

/// For `serialize_with` of a path that may be left out.
pub(crate) fn optional<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    path.as_deref().map(Path::to_string_lossy).serialize(to)
}
