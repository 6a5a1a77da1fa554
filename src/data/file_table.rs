//! Tables that say something of files: a column `file` and others, matched with pairs by path or by file name.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord};

use super::folder::name;
use super::pair::Pair;
use crate::base::files::{absolute, read_text};
use crate::base::{Error, Result};

/// What may separate columns; at equal numbers in the header the last.
const SEPARATORS: [char; 3] = ['\t', ';', ','];

/// What separates the columns of a table, by its header.
pub(super) fn separator(text: &str) -> u8 {
    let header = text.lines().find(|line| line.contains(char::is_alphanumeric)).unwrap_or("");
    SEPARATORS.into_iter().max_by_key(|separator| header.matches(*separator).count()).unwrap_or(',') as u8
}

/// The line that a record stands in. Its position is where the one before ended, with empty lines in between.
pub(super) fn line_of(text: &str, record: &StringRecord) -> u64 {
    record.position().map_or(0, |position| {
        let rest = &text.as_bytes()[position.byte() as usize..];
        let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
        position.line() + ends.filter(|byte| **byte == b'\n').count() as u64
    })
}

/// A table with a column `file` and a column of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileTable {
    path: PathBuf,
    /// Path as written, line from 1, value.
    rows: Vec<(String, u64, String)>,
}

impl FileTable {
    /// Reads the columns `file` and `column`, in whatever order and capitals; others are left out. A row without a value is
    /// none.
    pub(super) fn read(path: &Path, column: &str) -> Result<Self> {
        let text = read_text(path)?;
        let mut reader = ReaderBuilder::new();
        let mut reader = reader.delimiter(separator(&text)).flexible(true).from_reader(text.as_bytes());
        let names = reader.headers().map_err(|e| Error::content(path, e))?.clone();
        let place = |wanted: &str| {
            names.iter().position(|name| name.trim().eq_ignore_ascii_case(wanted)).ok_or_else(|| {
                let found = names.iter().collect::<Vec<_>>().join(",");
                Error::content(path, format!("has the columns '{found}'; it needs a header with file,{column}"))
            })
        };
        let (file, value) = (place("file")?, place(column)?);
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|e| Error::content(path, e))?;
            let field = |at: usize| record.get(at).unwrap_or_default().trim().to_owned();
            if !field(file).is_empty() && !field(value).is_empty() {
                rows.push((field(file), line_of(&text, &record), field(value)));
            }
        }
        Ok(Self { path: path.into(), rows })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Line and value of every row.
    pub(super) fn values(&self) -> impl Iterator<Item = (u64, &str)> {
        self.rows.iter().map(|(_, line, value)| (*line, value.as_str()))
    }

    /// Of each pair the value of the row that names its image or a file of its labels: by path, relative to the table or to
    /// the working directory; otherwise by file name, of the rows that name no file by its path. Values of equal paths, and
    /// of equal names, must be equal.
    pub(super) fn of_pairs(&self, pairs: &[Pair]) -> Result<Vec<Option<&str>>> {
        let files =
            |pair: &Pair| -> Vec<PathBuf> { std::iter::once(&pair.image).chain(pair.label.files()).cloned().collect() };
        let by_path = self.by_path();
        let rows_of = |pair: &Pair| files(pair).iter().find_map(|file| by_path.get(&absolute(file)));
        let found: Vec<Option<&Vec<usize>>> = pairs.iter().map(rows_of).collect();
        let mut used: HashSet<usize> = found.iter().copied().flatten().flatten().copied().collect();
        // Paths of the other side of a split name no file of this one.
        let has_folder = |row: &usize| self.rows[*row].0.contains(['/', '\\']);
        let elsewhere = by_path.iter().filter(|(path, rows)| rows.iter().any(has_folder) && path.is_file());
        used.extend(elsewhere.flat_map(|(_, rows)| rows).copied().filter(has_folder));
        let by_name = self.by_name(&used);
        let named = |pair: &Pair| files(pair).iter().find_map(|file| by_name.get(name(file).as_str()));
        let value = |(pair, rows): (&Pair, Option<&Vec<usize>>)| match (rows, named(pair)) {
            (Some(rows), _) => self.agreed(rows).map(Some),
            (None, None) => Ok(None),
            (None, Some((row, true))) => Ok(Some(self.rows[*row].2.as_str())),
            (None, Some((row, false))) => {
                let (file, line, _) = &self.rows[*row];
                let reason = format!(
                    "line {line}: {file} occurs with different values, but not with the path {}; give paths",
                    pair.image.display()
                );
                Err(Error::content(&self.path, reason))
            }
        };
        pairs.iter().zip(found).map(value).collect()
    }

    /// What rows of one path say.
    fn agreed(&self, rows: &[usize]) -> Result<&str> {
        let (_, line, value) = &self.rows[rows[0]];
        let Some((file, other_line, other)) = rows.iter().map(|row| &self.rows[*row]).find(|row| row.2 != *value)
        else {
            return Ok(value.as_str());
        };
        let reason = format!(
            "line {other_line}: {file} is '{other}', but line {line} says '{value}' of the same file; delete one of the two \
             lines, or give absolute paths"
        );
        Err(Error::content(&self.path, reason))
    }

    /// The rows of each path.
    fn by_path(&self) -> HashMap<PathBuf, Vec<usize>> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let mut found: HashMap<PathBuf, Vec<usize>> = HashMap::new();
        for (row, (file, ..)) in self.rows.iter().enumerate() {
            for path in [folder.join(file), PathBuf::from(file)] {
                found.entry(absolute(&path)).or_default().push(row);
            }
        }
        found
    }

    /// The first row of each file name, but for the rows that name a file by its path, and whether all say the same.
    fn by_name(&self, used: &HashSet<usize>) -> HashMap<String, (usize, bool)> {
        let mut found: HashMap<String, (usize, bool)> = HashMap::new();
        for (row, (file, _, value)) in self.rows.iter().enumerate().filter(|(row, _)| !used.contains(row)) {
            // Tables are written on other systems, too.
            let last = file.rsplit(['/', '\\']).next().unwrap_or(file);
            let known = found.entry(last.to_owned()).or_insert((row, true));
            known.1 &= self.rows[known.0].2 == *value;
        }
        found
    }
}
