//! The import rule: a module uses only modules further down the list in `src/lib.rs`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Groups of modules as `lib.rs` lists them: the module's name and its group, 0 at the bottom.
fn groups(source: &Path) -> BTreeMap<String, usize> {
    let text = fs::read_to_string(source.join("lib.rs")).unwrap();
    let blocks: Vec<Vec<String>> = text
        .split("\n\n")
        .map(|block| {
            let name = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
            block.lines().filter_map(name).collect()
        })
        .filter(|block: &Vec<String>| !block.is_empty())
        .collect();
    let levels = blocks.len();
    let level = |(i, block): (usize, Vec<String>)| block.into_iter().map(move |name| (name, levels - 1 - i));
    blocks.into_iter().enumerate().flat_map(level).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// Modules named after `crate::` in the code of a file; of `crate::{a::{b, c}, d}` both `a` and `d`.
fn imports(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            found.push(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut at_item = true;
        for (i, character) in list.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => at_item = true,
                c if at_item && !c.is_whitespace() => {
                    found.push(word(&list[i..]));
                    at_item = false;
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn imports_point_downwards() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let groups = groups(&source);
    assert!(groups.len() > 10 && groups["base"] == 0, "{groups:?}");
    let mut faults = Vec::new();
    for path in files(&source) {
        let inside = path.strip_prefix(&source).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
        let module = first.trim_end_matches(".rs");
        // The program's own files (main, cli, ui, commands) stand above the library.
        let Some(level) = groups.get(module) else { continue };
        for used in imports(&fs::read_to_string(&path).unwrap()) {
            if used != module && groups.get(&used).is_some_and(|other| other >= level) {
                faults.push(format!("{} uses crate::{used}", inside.display()));
            }
        }
    }
    assert!(faults.is_empty(), "upward or sideways imports:\n{}", faults.join("\n"));
}

#[test]
fn the_test_sees_upward_imports() {
    assert_eq!(imports("use crate::train::Plan;\n// use crate::no;\nlet x = crate::run::a();"), ["train", "run"]);
    assert_eq!(imports("use crate::{error, files};"), ["error", "files"]);
    assert_eq!(imports("use crate::{model::{A, B},\n    train};"), ["model", "train"]);
}
