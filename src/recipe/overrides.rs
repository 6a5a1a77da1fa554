//! Single values of a recipe, exchanged from the command line.

use std::fmt::Display;

use toml::{Table, Value};

use crate::base::error::plain_types;
use crate::base::named_enum::usual_spelling;
use crate::base::{Error, Result};

/// Sets what `change` names, such as `training.optimizer.weight_decay=1e-4` or `training.phases.0.epochs=5`. Tables on the
/// way that are not there are made.
pub(super) fn apply(table: &mut Table, change: &str) -> Result<()> {
    let wrong = |reason: String| {
        let expected = "KEY=VALUE, such as training.optimizer.weight_decay=1e-4";
        Error::invalid("set", format!("{change} ({reason})"), expected)
    };
    let (path, value) = change.split_once('=').ok_or_else(|| wrong("there is no `=`".into()))?;
    let keys: Vec<&str> = path.trim().split('.').map(str::trim).collect();
    if keys.contains(&"") {
        return Err(wrong("a key is empty".into()));
    }
    set_in_table(table, &keys, parse(value)).map_err(wrong)
}

/// The error of a recipe that is none with these changes.
pub(super) fn refused(recipe: &dyn Display, changes: &[String], cause: &dyn Display) -> Error {
    let cause = plain_types(cause.to_string().trim_end());
    Error::conflict("set", format!("{} does not fit recipe {recipe}: {cause}", changes.join(" ")))
}

fn set_in_table(table: &mut Table, keys: &[&str], value: Value) -> Result<(), String> {
    match keys {
        [] => Err("there is no key".into()),
        [last] => {
            // Kinds are names, and known in any spelling.
            let value = match value {
                Value::String(name) if *last == "kind" => Value::String(usual_spelling(&name)),
                value => value,
            };
            // Another kind has keys of its own.
            if *last == "kind" && table.get("kind").is_some_and(|old| *old != value) {
                table.clear();
            }
            table.insert((*last).to_owned(), value);
            Ok(())
        }
        [key, rest @ ..] => match table.entry(*key).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(next) => set_in_table(next, rest, value),
            Value::Array(entries) => set_in_array(entries, (key, rest), value),
            _ => Err(format!("`{key}` is a value, not a table")),
        },
    }
}

/// Entries go by their number, from 0, and must be there.
fn set_in_array(entries: &mut [Value], (name, keys): (&str, &[&str]), value: Value) -> Result<(), String> {
    let count = entries.len();
    let number = keys.first().and_then(|key| key.parse::<usize>().ok());
    let entry = number.and_then(|number| entries.get_mut(number));
    match (entry, &keys[1.min(keys.len())..]) {
        (None, _) => Err(format!("there is no such entry; `{name}` has {count} entries, numbered from 0")),
        (Some(entry), []) => {
            *entry = value;
            Ok(())
        }
        (Some(Value::Table(table)), rest) => set_in_table(table, rest, value),
        (Some(_), _) => Err(format!("an entry of `{name}` is a value, not a table")),
    }
}

/// The value as TOML writes it; what is not TOML is text.
fn parse(text: &str) -> Value {
    let text = text.trim();
    let parsed: Option<Table> = format!("value = {text}").parse().ok();
    parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_exchanged_and_added() {
        let mut table: Table = "[training]\nepochs = 3\nphases = [{ epochs = 1 }, { epochs = 2 }]".parse().unwrap();
        for change in [
            "training.epochs=5",
            "training.schedule.kind=poly",
            "training.phases.1.epochs = 7",
            "name=a b",
            "x.y=[1, 2]",
        ] {
            apply(&mut table, change).unwrap();
        }
        let expected: Table =
            "name = 'a b'\nx = { y = [1, 2] }\n[training]\nepochs = 5\nschedule = { kind = 'poly' }\n\
                               phases = [{ epochs = 1 }, { epochs = 7 }]"
                .parse()
                .unwrap();
        assert_eq!(table, expected);
    }

    #[test]
    fn another_kind_begins_with_its_defaults() {
        let mut table: Table = "schedule = { kind = 'poly', power = 0.9 }".parse().unwrap();
        apply(&mut table, "schedule.kind=poly").unwrap();
        assert!(table["schedule"].get("power").is_some());
        apply(&mut table, "schedule.kind=cosine").unwrap();
        assert_eq!(table, "schedule = { kind = 'cosine' }".parse().unwrap());
    }

    #[test]
    fn what_cannot_be_set_says_why() {
        let mut table: Table = "a = 1\nb = [1]".parse().unwrap();
        for (change, reason) in
            [("a", "no `=`"), (".x=1", "empty"), ("a.b=1", "not a table"), ("b.4=1", "no such entry")]
        {
            assert_refused!(apply(&mut table, change), reason);
        }
    }
}
