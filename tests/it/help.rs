//! What `--help` prints, compared with `tests/snapshots/help`. `SEGTOOL_UPDATE_SNAPSHOTS=1 cargo test help` writes the
//! files; read the difference before you commit it.

use std::fs;
use std::path::PathBuf;

use crate::common::{stderr_of, stdout_of};

const COMMANDS: [&str; 16] = [
    "", "demo", "dataset", "check", "train", "predict", "serve", "metrics", "rgb2gray", "concat", "convert", "report",
    "import", "export", "info", "bench",
];

fn file(command: &str, form: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/help");
    folder.join(format!("{}-{form}.txt", if command.is_empty() { "segtool" } else { command }))
}

/// What `--help` prints, as reviewed; that the program prints it is shown once, below.
pub(crate) fn reviewed(command: &str) -> String {
    fs::read_to_string(file(command, "long")).unwrap()
}

/// Whether a help text lists an option.
pub(crate) fn has_option(help: &str, name: &str) -> bool {
    let ends = |rest: &str| rest.starts_with(|c: char| c.is_whitespace() || c == '[');
    help.match_indices(name).any(|(at, _)| ends(&help[at + name.len()..]))
}

#[test]
fn help_texts_are_as_reviewed() {
    let mut changed = Vec::new();
    for command in COMMANDS {
        for (flag, form) in [("--help", "long"), ("-h", "short")] {
            let file = file(command, form);
            let found = if command.is_empty() { stdout_of(&[flag]) } else { stdout_of(&[command, flag]) };
            if std::env::var_os("SEGTOOL_UPDATE_SNAPSHOTS").is_some() {
                fs::write(&file, &found).unwrap();
            } else if fs::read_to_string(&file).ok().as_deref() != Some(&found) {
                changed.push(file);
            }
        }
    }
    assert!(changed.is_empty(), "changed: {changed:?}; SEGTOOL_UPDATE_SNAPSHOTS=1 writes them");
}

/// What is broken by a terminal of 80 columns cannot be copied.
#[test]
fn examples_fit_80_columns() {
    // The program's own help alone has none.
    for command in COMMANDS.into_iter().filter(|command| !command.is_empty()) {
        let text = reviewed(command);
        let Some(examples) = text.split("\nExample").nth(1) else { panic!("{command} has no examples") };
        for line in examples.lines() {
            assert!(line.chars().count() <= 80, "{command}: {line}");
        }
    }
}

#[test]
fn examples_have_options_that_exist() {
    for command in COMMANDS {
        let text = reviewed(command);
        for line in text.replace("\\\n", " ").lines().filter(|line| line.starts_with("  segtool ")) {
            let mut words = line.split_whitespace().skip(1);
            let all = reviewed(words.next().unwrap());
            for option in words.filter(|word| word.starts_with("--")) {
                let name = option.split('=').next().unwrap();
                assert!(has_option(&all, name) || name == "--num_epoch", "{line}: {name}");
            }
        }
    }
}

/// The field's words; the list is of words that were used for others.
#[test]
fn words_that_are_not_the_fields_do_not_come_back() {
    let banned =
        ["picture", "anew", "of its own", "so many", "is looked at", "are looked at", "once more for", "filled up"];
    let mut texts: Vec<(String, String)> =
        COMMANDS.iter().map(|command| (format!("--help of {command}"), reviewed(command))).collect();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("docs"), root.join("models"), root.join("datasets")];
    texts.push(("README.md".into(), fs::read_to_string(root.join("README.md")).unwrap()));
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let is_text = path.extension().is_some_and(|e| e == "md" || e == "toml");
            if path.is_dir() {
                folders.push(path);
            } else if is_text && !path.ends_with("glossary.md") {
                texts.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    for (place, text) in texts {
        let text = text.to_lowercase();
        for word in banned {
            assert!(!text.contains(word), "{place}: {word}");
        }
    }
}

#[test]
fn what_is_missing_is_named_with_every_way_to_give_it() {
    let said = stderr_of(&["train"], 2);
    for way in ["--images", "--train-list", "--mask-folders", "--label-csv", "--resume"] {
        assert!(said.contains(way), "{way} is not in: {said}");
    }
    let said = stderr_of(&["predict"], 2);
    for way in ["--run", "--weights", "--input-list", "no images", "no model"] {
        assert!(said.contains(way), "{way} is not in: {said}");
    }
    assert!(said.contains("Usage: segtool predict --run RUN"), "{said}");
    assert!(stderr_of(&["train", "--lr", "1"], 2).contains("--learning-rate"));
}

#[test]
fn a_file_where_a_folder_is_expected_is_named_as_that() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("label.png").display().to_string();
    fs::write(&file, "").unwrap();
    let other = folder.path().display().to_string();
    for line in [
        ["metrics", "--predictions", &other, "--labels", &file, "--num-class", "2"],
        ["metrics", "--predictions", &file, "--labels", &other, "--num-class", "2"],
    ] {
        let said = stderr_of(&line, 1);
        assert!(said.contains(&format!("{file}: is a file, but must be a folder")), "{said}");
    }
}
