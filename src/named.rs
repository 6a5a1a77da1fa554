//! Options that are chosen by name: one table for reading and for writing them.

use crate::error::{Error, Result};

/// A name as tables have it: in small letters, with hyphens.
pub fn usual_spelling(name: &str) -> String {
    name.trim().to_lowercase().replace('_', "-")
}

/// The value that a name stands for, whatever its case; an unknown name lists the known ones.
pub fn by_name<T: Copy>(kind: &str, name: &str, table: &[(&'static str, T)]) -> Result<T> {
    let wanted = usual_spelling(name);
    table.iter().find(|(known, _)| *known == wanted).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = table.iter().map(|(known, _)| *known).collect();
        Error::Config(format!("there is no {kind} '{name}'; there are {}", known.join(", ")))
    })
}

/// The name of a value.
pub fn name_of<T: PartialEq>(value: &T, table: &[(&'static str, T)]) -> &'static str {
    table.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name)
}

/// The first of several names in quotes, and how many more there are.
pub fn some_of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<String> = names.take(SHOWN).map(|name| format!("'{name}'")).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_with_underscores() {
        let table = [("mean-iou", 1), ("loss", 2)];
        let found = ["mean-iou", "Mean_IoU", " LOSS"].map(|name| by_name("score", name, &table).unwrap());
        assert_eq!(found, [1, 1, 2]);
        let said = by_name("score", "Dice", &table).unwrap_err().to_string();
        assert!(said.contains("there is no score 'Dice'; there are mean-iou, loss"), "{said}");
    }

    #[test]
    fn long_lists_are_cut_with_their_count() {
        let names: Vec<String> = (0..8).map(|i| i.to_string()).collect();
        let listed = |count| some_of(names[..count].iter().map(String::as_str));
        assert_eq!(listed(2), "'0', '1'");
        assert_eq!(listed(8), "'0', '1', '2', '3', '4' and 3 more");
    }
}
