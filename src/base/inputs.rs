//! Files that a command reads, which its results must not take the place of: under whatever name, link or path.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::{Error, Result};
use super::remedy::Remedy;

/// A set of files by what they are, not by their names; one question to the system a file.
#[derive(Debug, Clone, Default)]
pub struct ReadFiles {
    files: HashMap<Identity, PathBuf>,
}

impl ReadFiles {
    /// A set of these files and folders; paths that do not exist are left out.
    pub fn new<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        let mut inputs = Self::default();
        inputs.add(paths);
        inputs
    }

    /// Adds more.
    pub fn add<P: AsRef<Path>>(&mut self, paths: impl IntoIterator<Item = P>) {
        let known = paths.into_iter().filter_map(|path| Some((identity(path.as_ref())?, path.as_ref().into())));
        self.files.extend(known);
    }

    /// The input that writing `output` would replace.
    pub fn replaced_by(&self, output: &Path) -> Option<&Path> {
        self.files.get(&identity(output)?).map(PathBuf::as_path)
    }

    /// An error if writing `output` would replace an input; `field` is what chooses another place.
    pub fn refuse(&self, output: &Path, field: &'static str) -> Result<()> {
        let Some(input) = self.replaced_by(output) else { return Ok(()) };
        let same =
            if input == output { String::new() } else { format!(" (it is the same file as {})", input.display()) };
        let reason = format!("is also an input: the result would overwrite it{same}");
        Err(Error::occupied(output, reason, [Remedy::Another(field)]))
    }
}

/// What tells a file from all others on this machine.
#[cfg(unix)]
type Identity = (u64, u64);
#[cfg(not(unix))]
type Identity = PathBuf;

/// Links are followed.
#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<Identity> {
    fs::canonicalize(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_under_all_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.png"), "a").unwrap();
        fs::write(at("b.png"), "b").unwrap();
        fs::create_dir(at("sub")).unwrap();
        let inputs = ReadFiles::new([at("a.png"), at("gone.png")]);
        assert_eq!(inputs.replaced_by(&at("sub/../a.png")), Some(at("a.png").as_path()));
        for other in ["b.png", "gone.png", "new.png"] {
            assert!(inputs.refuse(&at(other), "output").is_ok(), "{other}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("a.png"), at("soft.png")).unwrap();
            fs::hard_link(at("a.png"), at("hard.png")).unwrap();
            for link in ["soft.png", "hard.png"] {
                let message = inputs.refuse(&at(link), "output").unwrap_err().to_string();
                assert!(message.contains("would overwrite it") && message.contains("a.png)"), "{message}");
                assert!(message.ends_with("choose another `output`"), "{message}");
            }
        }
    }
}
