//! What a person has found of pairs: which are to be left out.

use std::path::{Path, PathBuf};

use super::file_table::FileTable;
use super::pair::Pair;
use crate::base::event::Sink;
use crate::base::words::counted;
use crate::base::{Error, Result};

/// The ratings that a table may hold.
const RATINGS: [&str; 3] = ["good", "doubtful", "bad"];
/// That of pairs that are left out.
const BAD: &str = "bad";

/// A table of ratings, a CSV file with the columns `file` and `rating` (good, doubtful or bad); others, such as `notes`, are
/// for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ratings(FileTable);

impl Ratings {
    /// Reads a table.
    ///
    /// # Errors
    ///
    /// If a column is missing, or a rating is none of the three.
    pub fn read(path: &Path) -> Result<Self> {
        let table = FileTable::read(path, "rating")?;
        if let Some((line, rating)) = table.values().find(|(_, rating)| !RATINGS.contains(rating)) {
            let reason = format!("line {line}: rating is '{rating}'; it must be {}", RATINGS.join(", "));
            return Err(Error::content(path, reason));
        }
        Ok(Self(table))
    }

    /// The pairs that are not rated bad, in their order, and the images of those that are.
    pub fn keep(&self, pairs: Vec<Pair>) -> Result<(Vec<Pair>, Vec<PathBuf>)> {
        let bad: Vec<bool> = self.0.of_pairs(&pairs)?.into_iter().map(|rating| rating == Some(BAD)).collect();
        let (mut kept, mut left_out) = (Vec::new(), Vec::new());
        for (pair, bad) in pairs.into_iter().zip(bad) {
            if bad { left_out.push(pair.image) } else { kept.push(pair) }
        }
        Ok((kept, left_out))
    }

    /// [`Self::keep`], with a note of how many pairs are left out; that none is left is an error.
    pub fn apply(&self, pairs: Vec<Pair>, sink: &dyn Sink) -> Result<Vec<Pair>> {
        let all = pairs.len();
        let (kept, left_out) = self.keep(pairs)?;
        let table = self.0.path().display();
        if kept.is_empty() {
            let missing = format!("{table} rates all {} as bad", counted(all, "pair"));
            return Err(Error::no_data(missing, "rate some as good or doubtful, or leave `exclude` out"));
        }
        sink.note(format!("{} of {} left out: rated bad in {table}", left_out.len(), counted(all, "pair")));
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_pairs_are_left_out_by_path_or_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("qc.csv");
        let pair = |image: &str| Pair { image: folder.path().join(image), label: PathBuf::from("m.png").into() };
        let pairs = vec![pair("i/a.png"), pair("i/b.png"), pair("j/a.png"), pair("i/c.png")];
        std::fs::write(&table, "\u{feff}File;Rating;notes\ni/a.png;bad;\"torn; half\"\nb.png;doubtful;\nc.png;bad;\n")
            .unwrap();
        let (kept, left_out) = Ratings::read(&table).unwrap().keep(pairs).unwrap();
        // Of two files of one name, the path says which is meant.
        let names: Vec<_> = kept.iter().map(|pair| pair.image.strip_prefix(folder.path()).unwrap()).collect();
        assert_eq!(names, [Path::new("i/b.png"), Path::new("j/a.png")]);
        assert_eq!(left_out.len(), 2);
        std::fs::write(&table, "file,rating\na.png,awful\n").unwrap();
        assert_refused!(Ratings::read(&table), "line 2", "'awful'", "good, doubtful, bad");
        std::fs::write(&table, "name,rating\na.png,bad\n").unwrap();
        assert_refused!(Ratings::read(&table), "file,rating");
        // Blank lines count.
        std::fs::write(&table, "\n\nfile;rating\r\n\r\na.png;awful\n").unwrap();
        assert_refused!(Ratings::read(&table), "line 5", "'awful'");
    }

    #[test]
    fn lines_of_one_file_must_agree() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("qc.csv");
        let keep = |rows: &str| {
            std::fs::write(&table, format!("file,rating\n{rows}")).unwrap();
            let pair = |image: &str| Pair { image: folder.path().join(image), label: PathBuf::from("m.png").into() };
            Ratings::read(&table).unwrap().keep(vec![pair("i/a.png"), pair("j/a.png")])
        };
        assert_refused!(keep("i/a.png,bad\ni/a.png,good\n"), "line 3: i/a.png is 'good'", "line 2 says 'bad'");
        assert_refused!(keep("i/a.png,good\n./i/a.png,bad\n"), "line 3: ./i/a.png is 'bad'", "line 2 says 'good'");
        // Those that agree speak of that file alone.
        let (kept, left_out) = keep("i/a.png,bad\ni/a.png,bad\n").unwrap();
        assert_eq!((kept.len(), left_out), (1, vec![folder.path().join("i/a.png")]));
    }
}
