//! Options that are chosen by name: one table for reading and for writing them. Names in sentences.

use std::borrow::Cow;
use std::path::Path;

use serde::Serialize;

use super::error::{Error, Result};
use super::files::read_text;

/// A name as tables have it: in small letters, with hyphens.
pub fn usual_spelling(name: &str) -> String {
    name.trim().to_lowercase().replace('_', "-")
}

/// The value that a name stands for, whatever its case; an unknown name lists the known ones.
pub fn by_name<T: Copy + PartialEq>(kind: &'static str, name: &str, table: &[(&'static str, T)]) -> Result<T> {
    let wanted = usual_spelling(name);
    table.iter().find(|(known, _)| *known == wanted).map(|(_, value)| *value).ok_or_else(|| {
        // Of several names of a value, the first is enough.
        let known = table.iter().filter(|(known, value)| name_of(value, table) == *known);
        Error::unknown(kind, name, &known.map(|(known, _)| *known).collect::<Vec<_>>())
    })
}

/// The name of a value; the first, if it has several.
pub fn name_of<T: PartialEq>(value: &T, table: &[(&'static str, T)]) -> &'static str {
    table.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name)
}

/// The name among `known` that serde writes as the `kind` of a value.
pub(crate) fn kind_of(value: &impl Serialize, known: &[&'static str]) -> &'static str {
    let written = serde_json::to_value(value).unwrap_or_default();
    known.iter().find(|name| written["kind"] == **name).copied().unwrap_or_default()
}

/// The text of a thing of that kind: one that is compiled in, by its name in whatever spelling, or that of a `.toml` file.
pub(crate) fn find_text(
    kind: &'static str,
    name: &str,
    built_in: &[(&str, &'static str)],
) -> Result<Cow<'static, str>> {
    let known = |name: &str| built_in.iter().find(|(known, _)| *known == name).map(|(_, text)| Cow::Borrowed(*text));
    if let Some(text) = known(name) {
        return Ok(text);
    }
    let path = Path::new(name);
    if path.extension().is_some_and(|e| e == "toml") || path.is_file() {
        return read_text(path).map(Cow::Owned);
    }
    known(&usual_spelling(name)).ok_or_else(|| {
        let known = built_in.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        Error::Unknown { kind, name: name.into(), known, or_file: true }
    })
}

/// Lets the values of an enum be read and written by their names.
macro_rules! named_enum {
    ($enum:ty, $kind:literal, $($name:literal => $value:ident),+ $(,)?) => {
        impl std::str::FromStr for $enum {
            type Err = $crate::base::Error;

            fn from_str(name: &str) -> $crate::base::Result<Self> {
                $crate::base::named_enum::by_name($kind, name, &[$(($name, Self::$value)),+])
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($crate::base::named_enum::name_of(self, &[$(($name, Self::$value)),+]))
            }
        }
    };
}
pub(crate) use named_enum;

/// Most names that a sentence lists.
const MOST_LISTED: usize = 5;

/// Classes by name as the subject of a sentence, with the form of the verb that goes with them: `class 'a' is`,
/// `classes 'a' and 'b' are`, `classes 'a', 'b', 'c', 'd', 'e' and 9 more are`. `None` if there is no class.
pub fn classes_that<'a>(names: impl IntoIterator<Item = &'a str>, [one, several]: [&str; 2]) -> Option<String> {
    let names: Vec<String> = names.into_iter().map(|name| format!("'{name}'")).collect();
    Some(match names.as_slice() {
        [] => return None,
        [only] => format!("class {only} {one}"),
        [before @ .., last] if names.len() <= MOST_LISTED => {
            format!("classes {} and {last} {several}", before.join(", "))
        }
        _ => {
            let (listed, more) = (names[..MOST_LISTED].join(", "), names.len() - MOST_LISTED);
            format!("classes {listed} and {more} more {several}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_with_underscores() {
        let table = [("mean-iou", 1), ("loss", 2), ("cost", 2)];
        let found = ["mean-iou", "Mean_IoU", " LOSS", "cost"].map(|name| by_name("score", name, &table).unwrap());
        assert_eq!(found, [1, 1, 2, 2]);
        assert_eq!(name_of(&2, &table), "loss");
        assert_refused!(by_name("score", "Dice", &table), "unknown score 'Dice'; choose mean-iou or loss");
    }

    #[test]
    fn classes_are_listed_up_to_a_few() {
        let of =
            |count: usize| classes_that(["a", "b", "c", "d", "e", "f", "g"].into_iter().take(count), ["is", "are"]);
        assert_eq!(of(0), None);
        assert_eq!(of(1).unwrap(), "class 'a' is");
        assert_eq!(of(2).unwrap(), "classes 'a' and 'b' are");
        assert_eq!(of(5).unwrap(), "classes 'a', 'b', 'c', 'd' and 'e' are");
        assert_eq!(of(7).unwrap(), "classes 'a', 'b', 'c', 'd', 'e' and 2 more are");
    }
}
