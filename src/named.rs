//! Options that are chosen by name: one table for reading and for writing them.

use crate::error::{Error, Result};

/// The value that a name stands for, whatever its case; an unknown name lists the known ones.
pub fn by_name<T: Copy>(kind: &str, name: &str, table: &[(&'static str, T)]) -> Result<T> {
    let wanted = name.to_lowercase();
    table.iter().find(|(known, _)| *known == wanted).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = table.iter().map(|(known, _)| *known).collect();
        Error::Config(format!("there is no {kind} '{name}'; there are {}", known.join(", ")))
    })
}

/// The name of a value.
pub fn name_of<T: PartialEq>(value: &T, table: &[(&'static str, T)]) -> &'static str {
    table.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name)
}
