//! What the library calls fields and remedies, in the flags of the command that runs.

use std::borrow::Cow;
use std::sync::OnceLock;

use segtool::base::{Error, Remedy};
use segtool::data::shell_word;

/// Long flags of the command.
static FLAGS: OnceLock<Vec<String>> = OnceLock::new();

/// Fields whose flags have other names: the first that the command has, or what another command takes.
const OTHER_NAMES: [(&str, &[&str]); 8] = [
    ("output", &["output-path", "output-folder", "output"]),
    ("epochs", &["num-epoch"]),
    ("classes", &["num-class", "classes"]),
    ("ignore", &["ignore-label"]),
    ("averaged", &["ema", "segtool import --ema"]),
    ("prefix", &["prefix", "segtool import --prefix"]),
    ("resume", &["resume", "segtool train --resume"]),
    ("new_head", &["new-head", "segtool train --new-head"]),
];

/// Keeps the flags of the command that runs, and those of all commands.
pub(crate) fn keep(command: &clap::Command, all: &clap::Command) {
    let arguments = command.get_arguments().chain(all.get_arguments());
    let _ = FLAGS.set(arguments.filter_map(|argument| argument.get_long()).map(str::to_owned).collect());
}

/// An error in the words of the command line.
pub(crate) fn error_text(error: &anyhow::Error) -> String {
    worded(format!("{error:#}"), error.downcast_ref().map_or(&[][..], Error::remedies))
}

/// A text with these remedies in the words of the command line.
pub(crate) fn worded(text: String, remedies: &[Remedy]) -> String {
    remedies.iter().fold(text, |text, remedy| text.replace(&remedy.to_string(), &in_words(remedy)))
}

/// A remedy as the command line has it.
pub(crate) fn in_words(remedy: &Remedy) -> String {
    match remedy {
        Remedy::DefineLabel if FLAGS.get().is_some_and(|flags| flags.iter().any(|flag| flag == "first-label")) => {
            format!("{remedy}, or with --num-class, --first-label and --ignore-label")
        }
        Remedy::ProposeDataset(folder) => {
            let folder = folder.as_deref().map_or_else(|| "LABELS".into(), shell_word);
            format!("`segtool dataset {folder} --output my.toml` writes a data set file that fits them")
        }
        other => other.to_string(),
    }
}

/// A text of the library with its fields, between backticks, as flags; those that the command does not have stay as they
/// are.
pub(crate) fn in_flags(text: &str) -> Cow<'_, str> {
    match FLAGS.get() {
        Some(flags) if text.contains('`') => in_these_flags(text, flags).into(),
        _ => text.into(),
    }
}

fn in_these_flags(text: &str, flags: &[String]) -> String {
    let mut pieces = text.split('`');
    let mut worded = pieces.next().unwrap_or_default().to_owned();
    let mut in_name = true;
    while let Some(piece) = pieces.next() {
        match flag_of(piece, flags).filter(|_| in_name) {
            Some(flag) => {
                worded += &flag;
                worded += pieces.next().unwrap_or_default();
            }
            None => {
                worded.push('`');
                worded += piece;
                in_name = !in_name;
            }
        }
    }
    worded
}

fn flag_of(field: &str, flags: &[String]) -> Option<String> {
    let has = |name: &str| flags.iter().any(|flag| flag == name);
    let Some((_, names)) = OTHER_NAMES.iter().find(|(known, _)| *known == field) else {
        let name = field.replace('_', "-");
        return has(&name).then(|| format!("--{name}"));
    };
    let own = names.iter().find(|name| has(name)).map(|name| format!("--{name}"));
    own.or_else(|| names.iter().find(|name| name.contains(' ')).map(|name| (*name).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_command_become_flags() {
        let flags = ["batch-size", "output-path", "orientation"].map(str::to_owned);
        let worded = |text: &str| in_these_flags(text, &flags);
        assert_eq!(worded("use a smaller `batch_size`"), "use a smaller --batch-size");
        assert_eq!(worded("`width` is 0; choose another `output`"), "`width` is 0; choose another --output-path");
        assert_eq!(
            worded("`orientation` keeps `a` `output` as it is"),
            "--orientation keeps `a` --output-path as it is"
        );
        assert_eq!(worded("say which with `prefix`"), "say which with segtool import --prefix");
        assert_eq!(worded("a name` with one"), "a name` with one");
        assert_eq!(worded("no names"), "no names");
    }
}
