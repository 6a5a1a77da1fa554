//! Images that belong together, such as the tiles of one scene: a split keeps them on one side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use regex::Regex;

use super::file_table::FileTable;
use super::footprint::{Footprint, each_overlap, footprints};
use super::pair::Pair;
use crate::base::{Error, Result, require};

/// What makes images one group.
#[derive(Debug, Clone)]
pub enum GroupBy {
    /// The parts of their file names, or of their paths, that a regular expression captures.
    Pattern(Regex),
    /// That they lie over each other, in the coordinates of their files.
    Georeference,
    /// A CSV file with the columns `file` and `group`.
    Table(PathBuf),
}

impl PartialEq for GroupBy {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl std::fmt::Display for GroupBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pattern(pattern) => write!(f, "{pattern}"),
            Self::Georeference => f.write_str("georeference"),
            Self::Table(path) => write!(f, "{}", path.display()),
        }
    }
}

impl FromStr for GroupBy {
    type Err = Error;

    /// `georeference`, a file whose name ends in `.csv`, or else a pattern.
    fn from_str(text: &str) -> Result<Self> {
        if text == "georeference" {
            return Ok(Self::Georeference);
        }
        if Path::new(text).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) {
            return Ok(Self::Table(text.into()));
        }
        let expected = "georeference, a .csv file with the columns file,group, or a regular expression with the group in \
                        parentheses, such as '^(.+)_[0-9]+'";
        let invalid = |reason: String| Error::invalid("group_by", format!("'{text}' ({reason})"), expected);
        let pattern = Regex::new(text).map_err(|e| {
            let last = e.to_string().lines().last().unwrap_or_default().trim().to_owned();
            invalid(last)
        })?;
        match pattern.captures_len() {
            1 => Err(invalid("without parentheses".into())),
            _ => Ok(Self::Pattern(pattern)),
        }
    }
}

impl GroupBy {
    /// The group of each pair, by a number from 0 in the order in which groups first occur.
    ///
    /// # Errors
    ///
    /// If an image has no group: its name does not match, it has no georeference, or the table does not name it.
    pub fn groups(&self, pairs: &[Pair]) -> Result<Vec<usize>> {
        let images: Vec<&Path> = pairs.iter().map(|pair| pair.image.as_path()).collect();
        let (keys, otherwise): (Vec<Option<String>>, &str) = match self {
            Self::Pattern(pattern) => {
                let keys = images.iter().map(|image| captured(pattern, image)).collect();
                (keys, "its name does not match the pattern")
            }
            Self::Georeference => {
                let keys =
                    united(&footprints(pairs)).into_iter().map(|group| group.map(|group| group.to_string())).collect();
                (keys, "it has no georeference; use a pattern or a table")
            }
            Self::Table(path) => {
                let table = FileTable::read(path, "group")?;
                let keys = table.of_pairs(pairs)?.into_iter().map(|group| group.map(str::to_owned)).collect();
                (keys, "the table does not name it")
            }
        };
        let alone: Vec<&Path> =
            images.iter().zip(&keys).filter(|(_, key)| key.is_none()).map(|(image, _)| *image).collect();
        if let Some(first) = alone.first() {
            let (count, all, first) = (alone.len(), images.len(), first.display());
            let reason = format!("leaves {count} of {all} images without a group, the first is {first}: {otherwise}");
            return Err(Error::conflict("group_by", reason));
        }
        let mut numbers = BTreeMap::new();
        let number = |key: String| {
            let next = numbers.len();
            *numbers.entry(key).or_insert(next)
        };
        Ok(keys.into_iter().flatten().map(number).collect())
    }
}

/// What the pattern captures of the file name, otherwise of the path.
fn captured(pattern: &Regex, image: &Path) -> Option<String> {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let whole = image.to_string_lossy().replace('\\', "/");
    let found = pattern.captures(&name).or_else(|| pattern.captures(&whole))?;
    let parts = found.iter().skip(1).flatten().map(|part| part.as_str());
    Some(parts.collect::<Vec<_>>().join("/"))
}

/// Groups of what lies over each other, also through others.
fn united(places: &[Option<Footprint>]) -> Vec<Option<usize>> {
    let groups = linked(places.len(), |link| each_overlap(places, link));
    places.iter().zip(groups).map(|(place, group)| place.as_ref().map(|_| group)).collect()
}

/// The group of each of `count` things, by the first in it: what is linked, directly or through others, is one group.
/// `links` hands out what is linked.
pub(crate) fn linked(count: usize, links: impl FnOnce(&mut dyn FnMut((usize, usize)))) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..count).collect();
    fn root(parent: &mut [usize], mut at: usize) -> usize {
        while parent[at] != at {
            parent[at] = parent[parent[at]];
            at = parent[at];
        }
        at
    }
    links(&mut |(a, b)| {
        let (a, b) = (root(&mut parent, a), root(&mut parent, b));
        parent[a.max(b)] = a.min(b);
    });
    (0..count).map(|i| root(&mut parent, i)).collect()
}

/// Sets about a share of the pairs aside for validation, whole groups, chosen by `seed`. Returns training, validation.
///
/// # Errors
///
/// If there is only one group.
pub fn split_groups(pairs: Vec<Pair>, fraction: f64, seed: u64, by: &GroupBy) -> Result<(Vec<Pair>, Vec<Pair>)> {
    require(fraction > 0.0 && fraction < 1.0, "val_fraction", fraction, "between 0 and 1")?;
    let groups = by.groups(&pairs)?;
    let count = groups.iter().max().map_or(0, |last| last + 1);
    if count < 2 {
        let missing = format!("`group_by` {by} puts all {} images into one group, which cannot be split", pairs.len());
        return Err(Error::no_data(missing, "group by something else, or give separate validation images"));
    }
    let chosen = chosen(&groups, count, (pairs.len() as f64 * fraction).round().max(1.0) as usize, seed);
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for (pair, group) in pairs.into_iter().zip(groups) {
        if chosen[group] { validation.push(pair) } else { train.push(pair) }
    }
    train.sort();
    validation.sort();
    Ok((train, validation))
}

/// The groups that go into validation: in random order those that do not exceed the number that is wanted, at least the
/// smallest, and never all.
fn chosen(groups: &[usize], count: usize, wanted: usize, seed: u64) -> Vec<bool> {
    let mut sizes = vec![0; count];
    groups.iter().for_each(|group| sizes[*group] += 1);
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let (mut chosen, mut taken, mut left) = (vec![false; count], 0, count - 1);
    for group in order.iter().copied() {
        if left > 0 && taken + sizes[group] <= wanted {
            chosen[group] = true;
            taken += sizes[group];
            left -= 1;
        }
    }
    if taken == 0
        && let Some(smallest) = order.into_iter().min_by_key(|group| sizes[*group])
    {
        chosen[smallest] = true;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(names: &[&str]) -> Vec<Pair> {
        names.iter().map(|name| Pair { image: name.into(), label: PathBuf::from(name).into() }).collect()
    }

    #[test]
    fn groups_are_what_the_parentheses_capture() {
        let by: GroupBy = r"scene(\d+)_".parse().unwrap();
        assert_eq!(by.groups(&pairs(&["a/scene1_0.png", "a/scene22_0.png", "b/scene1_9.png"])).unwrap(), [0, 1, 0]);
        let folders: GroupBy = "^([^/]+)/".parse().unwrap();
        assert_eq!(folders.groups(&pairs(&["a/1.png", "b/1.png", "a/2.png"])).unwrap(), [0, 1, 0]);
        assert_refused!(by.groups(&pairs(&["scene1_0.png", "other.png"])), "1 of 2 images", "other.png");
        assert_refused!("scene".parse::<GroupBy>(), "without parentheses", "regular expression");
        assert_refused!("scene(".parse::<GroupBy>(), "group_by", "scene(");
        assert!(matches!("a.csv".parse(), Ok(GroupBy::Table(_))));
    }

    #[test]
    fn a_table_names_the_group_of_each_file() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("groups.csv");
        std::fs::write(&table, "file,group\n1.png,x\n2.png,y\n3.png,x\n").unwrap();
        let by = GroupBy::Table(table);
        assert_eq!(by.groups(&pairs(&["1.png", "2.png", "3.png"])).unwrap(), [0, 1, 0]);
        assert_refused!(by.groups(&pairs(&["4.png"])), "the table does not name it");
    }

    #[test]
    fn groups_stay_together() {
        let names: Vec<String> = (0..60).map(|i| format!("s{}_{i}.png", i % 12)).collect();
        let all = pairs(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let by: GroupBy = "^(s[0-9]+)_".parse().unwrap();
        for seed in 0..20 {
            let (train, validation) = split_groups(all.clone(), 0.25, seed, &by).unwrap();
            assert_eq!((train.len(), validation.len()), (45, 15));
            let scenes =
                |pairs: &[Pair]| pairs.iter().map(|p| captured_name(&by, p)).collect::<std::collections::BTreeSet<_>>();
            assert!(scenes(&train).is_disjoint(&scenes(&validation)));
        }
        // At least one group, and never all.
        let (train, validation) = split_groups(pairs(&["s1_1.png", "s2_1.png", "s2_2.png"]), 0.01, 0, &by).unwrap();
        assert_eq!((train.len(), validation.len()), (2, 1));
        assert_refused!(split_groups(pairs(&["s1_1.png", "s1_2.png"]), 0.5, 0, &by), "one group");
    }

    fn captured_name(by: &GroupBy, pair: &Pair) -> String {
        let GroupBy::Pattern(pattern) = by else { return String::new() };
        captured(pattern, &pair.image).unwrap()
    }
}
