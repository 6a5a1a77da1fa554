//! The files of a crate, and which of them use which.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use crate::paths::{Found, Kind, read};

/// The path of a module from the root of its crate.
pub(crate) type Module = Vec<String>;

/// One file's use of another.
#[derive(Debug, Clone)]
pub(crate) struct Use {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    /// As it is written.
    pub(crate) path: String,
    pub(crate) kind: Kind,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} uses {} ({})", self.from.display(), self.to.display(), self.path)
    }
}

/// The modules of a crate.
pub(crate) struct Source {
    /// The file of each module; modules within a file have the same.
    files: BTreeMap<Module, PathBuf>,
    /// The names that modules hand on with `pub use`, and where they come from.
    handed_on: BTreeMap<(Module, String), Module>,
    found: Vec<(PathBuf, Found)>,
}

impl Source {
    /// The crate that begins with the file `top` in a folder.
    pub(crate) fn read(folder: &Path, top: &str) -> Self {
        Self::of(top, &|name| fs::read_to_string(folder.join(name)).ok())
    }

    /// The crate that begins with the file `top`, of files that `content` knows.
    pub(crate) fn of(top: &str, content: &dyn Fn(&Path) -> Option<String>) -> Self {
        let mut source = Self { files: BTreeMap::new(), handed_on: BTreeMap::new(), found: Vec::new() };
        source.add(top.into(), Vec::new(), false, content);
        source.hand_on();
        source
    }

    /// Reads a file, and those of the modules that it declares.
    fn add(&mut self, name: PathBuf, module: Module, test: bool, content: &dyn Fn(&Path) -> Option<String>) {
        let text = content(&name).unwrap_or_else(|| panic!("{} is not there", name.display()));
        let file = read(&text, &module, test).unwrap_or_else(|e| panic!("{}: {e}", name.display()));
        for inner in file.inner {
            self.files.insert(inner, name.clone());
        }
        self.files.insert(module, name.clone());
        self.found.extend(file.found.into_iter().map(|found| (name.clone(), found)));
        for (child, test) in file.declared {
            let place: PathBuf = child.iter().collect();
            let options = [place.with_extension("rs"), place.join("mod.rs")];
            let there = options.into_iter().find(|path| content(path).is_some());
            self.add(there.unwrap_or_else(|| panic!("no file of {child:?}")), child, test, content);
        }
    }

    fn hand_on(&mut self) {
        for (_, found) in &self.found {
            if let (Kind::HandedOn, Some(target)) = (found.kind, self.absolute(found)) {
                self.handed_on.insert((found.module.clone(), found.name.clone()), target);
            }
        }
    }

    /// All files.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.files.values().cloned().collect();
        files.sort();
        files.dedup();
        files
    }

    /// What files use of others, a use for each pair, kind and path.
    pub(crate) fn uses(&self) -> Vec<Use> {
        let mut uses = Vec::new();
        for (from, found) in &self.found {
            let Some(target) = self.absolute(found) else { continue };
            let to = self.file_of(&target, 0);
            if to != from {
                let path = found.path.join("::");
                uses.push(Use { from: from.clone(), to: to.clone(), path, kind: found.kind });
            }
        }
        uses.sort_by_key(|one| (one.from.clone(), one.to.clone(), one.path.clone()));
        uses
    }

    /// A path from the root of the crate; `None` for one into another crate.
    fn absolute(&self, found: &Found) -> Option<Module> {
        let (first, rest) = found.path.split_first()?;
        let mut module = match first.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => found.module.clone(),
            _ => {
                let child = [&found.module[..], std::slice::from_ref(first)].concat();
                return self.files.contains_key(&child).then(|| [&child[..], rest].concat());
            }
        };
        if first == "super" {
            module.pop();
        }
        let further = rest.iter().take_while(|word| *word == "super").count();
        module.truncate(module.len().saturating_sub(further));
        module.extend(rest[further..].iter().cloned());
        Some(module)
    }

    /// The file where the item of a path is defined.
    fn file_of(&self, path: &[String], depth: usize) -> &PathBuf {
        assert!(depth < 20, "{} leads nowhere", path.join("::"));
        let mut known = 0;
        while known < path.len() && self.files.contains_key(&path[..=known]) {
            known += 1;
        }
        let (module, rest) = path.split_at(known);
        let handed_on = rest.first().and_then(|name| self.handed_on.get(&(module.to_vec(), name.clone())));
        match handed_on {
            Some(target) => self.file_of(&[&target[..], &rest[1..]].concat(), depth + 1),
            None => &self.files[module],
        }
    }
}
