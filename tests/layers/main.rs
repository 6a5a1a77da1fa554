//! The order of the source, which the compiler does not look after: rooms use only rooms below them, files do not use each
//! other in a circle, and `docs/developers/architecture.md` shows the rooms that there are.
//!
//! A crate of its own, for it needs neither the library nor the program, and runs in a second.

#![allow(clippy::unwrap_used)]

mod circles;
mod paths;
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use circles::circles;
use source::{Source, Use};

/// The most entries at the top of `src`: what a reader can take in at a glance.
const MOST_ENTRIES: usize = 24;

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// Groups of rooms as `lib.rs` lists them, from the top down.
fn rooms(text: &str) -> Vec<Vec<String>> {
    let room = |line: &str| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())
    };
    let group = |block: &str| block.lines().filter_map(room).collect::<Vec<_>>();
    text.split("\n\n").map(group).filter(|group| !group.is_empty()).collect()
}

/// Groups of rooms in the first block of text of the diagram: the first word of each line.
fn drawn_rooms(text: &str) -> Vec<Vec<String>> {
    let diagram = text.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of text");
    let room = |line: &str| line.split_whitespace().next().map(str::to_owned);
    diagram.split("\n\n").map(|block| block.lines().filter_map(room).collect()).collect()
}

/// What of `uses` does not point to a room further down; the program, which is no room, may use all of them.
fn upward(groups: &[Vec<String>], uses: &[Use]) -> Vec<String> {
    let place = |room: &String| groups.iter().position(|group| group.contains(room));
    let level = |file: &Path| {
        let first = file.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        place(&first.trim_end_matches(".rs").to_owned()).map(|level| (level, first))
    };
    let is_upward = |one: &&Use| match (level(&one.from), level(&one.to)) {
        (Some((from, room)), Some((to, used))) => room != used && to <= from,
        // The root of the crate stands above all rooms.
        (Some(_), None) => true,
        (None, _) => false,
    };
    uses.iter().filter(is_upward).map(ToString::to_string).collect()
}

#[test]
fn rooms_use_only_rooms_below_them() {
    let groups = rooms(&fs::read_to_string(root().join("src/lib.rs")).unwrap());
    assert!(groups.len() > 5 && groups.last() == Some(&vec!["base".to_owned()]), "{groups:?}");
    let source = Source::read(&root().join("src"), "lib.rs");
    let upward = upward(&groups, &source.uses());
    assert!(upward.is_empty(), "upward or sideways:\n{}", upward.join("\n"));
}

#[test]
fn no_file_uses_itself_through_others() {
    let found = circles(&Source::read(&root().join("src"), "lib.rs").uses());
    assert!(found.is_empty(), "circles between files:\n{}", found.join("\n"));
}

#[test]
fn every_file_is_of_the_library_or_the_program() {
    let source = root().join("src");
    let mut known: Vec<PathBuf> =
        ["lib.rs", "main.rs"].into_iter().flat_map(|top| Source::read(&source, top).files()).collect();
    known.sort();
    let mut there = Vec::new();
    walk(&source, &source, &mut there);
    there.sort();
    assert_eq!(there, known);
}

fn walk(folder: &Path, root: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, root, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path.strip_prefix(root).unwrap().into());
        }
    }
}

#[test]
fn the_top_of_the_source_can_be_taken_in_at_a_glance() {
    let entries = fs::read_dir(root().join("src")).unwrap().count();
    assert!(entries <= MOST_ENTRIES, "{entries} entries at the top of src");
}

#[test]
fn the_diagram_shows_the_rooms() {
    let listed = rooms(&fs::read_to_string(root().join("src/lib.rs")).unwrap());
    let drawn = drawn_rooms(&fs::read_to_string(root().join("docs/developers/architecture.md")).unwrap());
    assert_eq!(drawn, listed, "docs/developers/architecture.md and src/lib.rs list other rooms");
}

/// A made crate: names and contents of its files.
fn made(files: &[(&str, &str)]) -> Source {
    let files: BTreeMap<PathBuf, String> =
        files.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned())).collect();
    Source::of("lib.rs", &|name| files.get(name).cloned())
}

#[test]
fn upward_and_sideways_paths_are_seen() {
    let lib = "pub mod top;\n\npub mod left;\npub mod right;\n\npub mod base;\n";
    let source = made(&[
        ("lib.rs", lib),
        ("top.rs", "use crate::{left::a, base};"),
        ("left.rs", "pub fn a() { crate::right::b(); }"),
        ("right.rs", "pub fn b() {}\n#[cfg(test)]\nmod tests { use super::b; use crate::base::c; }"),
        ("base.rs", "pub fn c() { println!(\"{}\", crate::top::D); }"),
    ]);
    let found = upward(&rooms(lib), &source.uses());
    assert_eq!(found, ["base.rs uses top.rs (crate::top::D)", "left.rs uses right.rs (crate::right::b)"]);
}

#[test]
fn circles_are_seen_through_every_kind_of_path() {
    let of = |inner: &str, other: &str| {
        let root = "mod a;";
        let folder = "mod inner;\nmod other;\npub use inner::Inner;\npub fn own() {}";
        made(&[("lib.rs", root), ("a/mod.rs", folder), ("a/inner.rs", inner), ("a/other.rs", other)])
    };
    let circular = |inner: &str, other: &str| !circles(&of(inner, other).uses()).is_empty();
    let to_inner = "use super::Inner;";
    for back in [
        "use super::other::X;",
        "use crate::a::other::{self, X};",
        "fn f() -> super::other::X { todo!() }",
        "fn f() { let x = vec![super::other::x()]; }",
        "mod deep { fn f() { super::super::other::x(); } }",
        "#[arg(parser = super::other::x)]\nstruct Y;",
    ] {
        assert!(circular(&format!("pub struct Inner;\n{back}"), to_inner), "{back}");
    }
    // A name that its folder hands on is not the folder; what the folder itself has is.
    assert!(!circular("pub struct Inner;", to_inner));
    assert!(circles(&of("pub struct Inner;\nfn f() { super::own(); }", "").uses()).is_empty());
    let folder = "mod inner;\nuse inner::f;\nfn own() { f(); }";
    let both = made(&[("lib.rs", "mod a;"), ("a/mod.rs", folder), ("a/inner.rs", "fn f() { super::own(); }")]);
    assert_eq!(circles(&both.uses()), ["a/inner.rs uses a/mod.rs (super::own)\n  a/mod.rs uses a/inner.rs (inner::f)"]);
    // A folder may hand work to a file of its own.
    let folder = "mod inner;\nfn own() { inner::f(); }";
    let handed = made(&[("lib.rs", "mod a;"), ("a/mod.rs", folder), ("a/inner.rs", "fn f() { super::own(); }")]);
    assert!(circles(&handed.uses()).is_empty());
    // Tests, visibility and names handed on are no use.
    for nothing in [
        "#[cfg(test)]\nmod tests { use super::super::other::X; }",
        "pub(in super::other) fn f() {}",
        "pub use super::other::X;",
        "// use super::other::X;",
    ] {
        assert!(!circular(&format!("pub struct Inner;\n{nothing}"), to_inner), "{nothing}");
    }
}

/// Where numbers may be read back from a device within a training step or near it, and the functions that do.
const READERS: [&str; 4] = ["nn/ops/transfer.rs", "nn/model/parameters.rs", "nn/learner/rules.rs", "nn/ops/common.rs"];
const READING: [&str; 6] = ["into_data(", "to_data(", "into_scalar", "try_into_vec", "double_value(", "int64_value("];

#[test]
fn a_training_step_reads_numbers_where_they_are_counted() {
    let rooms = ["nn/layer", "nn/learner", "nn/loss", "nn/model", "nn/ops"];
    for file in Source::read(&root().join("src"), "lib.rs").files() {
        if !rooms.iter().any(|room| file.starts_with(room)) || READERS.iter().any(|reader| file == Path::new(reader)) {
            continue;
        }
        let text = fs::read_to_string(root().join("src").join(&file)).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let found: Vec<&str> = READING.into_iter().filter(|call| code.contains(call)).collect();
        assert!(found.is_empty(), "{} calls {found:?}: `ops::read_numbers` counts what is read", file.display());
    }
}
