//! Whether the names in two lists say that the lists are in the same order.

use std::collections::BTreeSet;
use std::path::Path;

use super::folder::stem;

/// Words that name a part of a data set, and what they stand for: a list of one part beside one of another is no naming
/// scheme.
const PARTS: [(&str, &str); 8] = [
    ("train", "training"),
    ("training", "training"),
    ("val", "validation"),
    ("valid", "validation"),
    ("validation", "validation"),
    ("test", "test"),
    ("testing", "test"),
    ("eval", "validation"),
];

/// The note on pairs whose names do not match, if there are any: lists that are not in the same order train and score badly,
/// and nothing else shows it. Names match if their stems are equal, or if they are once the beginning and the end that all
/// names of a list share are left out, as in `img_7.jpg` with `mask_7.png` or `a.png` with `a_L.png`.
pub fn name_note(pairs: &[[&Path; 2]]) -> Option<String> {
    let names = Names::of(pairs);
    let differ: Vec<&[&Path; 2]> = pairs.iter().enumerate().filter(|(i, _)| !names.fit(*i)).map(|(_, p)| p).collect();
    let [image, label] = differ.first()?;
    Some(format!(
        "in {} of {} pairs the names do not match (the first is {} with {}); are the lists in the same order?",
        differ.len(),
        pairs.len(),
        image.display(),
        label.display()
    ))
}

/// The names of two lists of one length.
struct Names {
    lists: [Column; 2],
    /// Whether names may be compared without what is the same in all of a list.
    comparable: bool,
}

/// The names of a list.
struct Column {
    names: Vec<String>,
    /// Bytes that all of them begin and end with.
    shared: [usize; 2],
}

impl Names {
    fn of(pairs: &[[&Path; 2]]) -> Self {
        let lists = |name: fn(&Path) -> String| [0, 1].map(|i| Column::of(pairs.iter().map(|p| name(p[i])).collect()));
        let mut found = lists(|path| stem(path).to_lowercase());
        let [left, right] = [found[0].parts(), found[1].parts()];
        let mut same_part = left.is_empty() || right.is_empty() || left == right;
        // As in 17/image.png and 17/mask.png, the folders tell which is which.
        if pairs.len() > 1 && found.iter().all(Column::is_uniform) {
            found = lists(|path| path.with_extension("").to_string_lossy().to_lowercase());
            same_part = true;
        }
        let comparable = same_part && !found.iter().any(Column::is_uniform);
        Self { lists: found, comparable }
    }

    fn fit(&self, i: usize) -> bool {
        let [left, right] = &self.lists;
        let (a, b) = (&left.names[i], &right.names[i]);
        let single = left.names.len() == 1;
        a == b || (self.comparable && left.core(i) == right.core(i)) || (single && (extends(a, b) || extends(b, a)))
    }
}

impl Column {
    fn of(names: Vec<String>) -> Self {
        let first = names.first().cloned().unwrap_or_default();
        let start = names.iter().fold(first.len(), |start, name| start.min(common(first.chars(), name.chars())));
        let rest = &first[start..];
        let end =
            names.iter().fold(rest.len(), |end, name| end.min(common(rest.chars().rev(), name[start..].chars().rev())));
        Self { names, shared: [start, end] }
    }

    /// Whether all names are the same.
    fn is_uniform(&self) -> bool {
        self.names.windows(2).all(|pair| pair[0] == pair[1])
    }

    /// What is left of a name.
    fn core(&self, i: usize) -> &str {
        let (name, [start, end]) = (&self.names[i], self.shared);
        &name[start..name.len() - end]
    }

    /// The parts of a data set that all names tell of.
    fn parts(&self) -> BTreeSet<&'static str> {
        let Some(name) = self.names.first().filter(|_| !self.is_uniform()) else { return BTreeSet::new() };
        let [start, end] = self.shared;
        let words = [&name[..start], &name[name.len() - end..]];
        let words = words.into_iter().flat_map(|text| text.split(|c: char| !c.is_alphabetic()));
        words.filter_map(|word| PARTS.iter().find(|(known, _)| *known == word)).map(|(_, part)| *part).collect()
    }
}

/// Bytes that two texts begin with.
fn common(a: impl Iterator<Item = char>, b: impl Iterator<Item = char>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

/// Whether a name is another one with something behind it that is set off, as `a_mask` is of `a`.
fn extends(long: &str, short: &str) -> bool {
    let rest = long.strip_prefix(short).filter(|_| !short.is_empty());
    rest.is_some_and(|rest| rest.starts_with(|c: char| !c.is_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the pairs the note names.
    fn differing(images: &[&str], labels: &[&str]) -> usize {
        let pairs: Vec<[&Path; 2]> = images.iter().zip(labels).map(|(a, b)| [Path::new(a), Path::new(b)]).collect();
        name_note(&pairs).map_or(0, |note| note.split(' ').nth(1).unwrap().parse().unwrap())
    }

    #[test]
    fn names_of_one_scheme_match() {
        for (images, labels) in [
            (["i/p0.jpg", "i/p1.jpg", "i/p10.jpg"], ["l/p0.png", "l/p1.png", "l/p10.png"]),
            (["img_1.jpg", "img_10.jpg", "img_2.jpg"], ["mask_1.png", "mask_10.png", "mask_2.png"]),
            (["a.png", "b.png", "ab.png"], ["a_L.png", "b_L.png", "ab_L.png"]),
            (
                ["x_19_leftImg8bit.png", "x_29_leftImg8bit.png", "y_9_leftImg8bit.png"],
                ["x_19_gtFine_labelIds.png", "x_29_gtFine_labelIds.png", "y_9_gtFine_labelIds.png"],
            ),
            (["d/1/image.png", "d/2/image.png", "d/3/image.png"], ["d/1/mask.png", "d/2/mask.png", "d/3/mask.png"]),
            (["val_1.png", "val_2.png", "val_3.png"], ["val_mask_1.png", "val_mask_2.png", "val_mask_3.png"]),
            (["train_1.png", "train_2.png", "train_3.png"], ["mask_1.png", "mask_2.png", "mask_3.png"]),
            (["A.JPG", "B.JPG", "C.JPG"], ["a.png", "b.png", "c.png"]),
        ] {
            assert_eq!(differing(&images, &labels), 0, "{images:?}");
        }
        assert_eq!(differing(&["a.png"], &["a_mask.png"]), 0);
    }

    #[test]
    fn names_of_another_order_differ() {
        assert_eq!(differing(&["p0.jpg", "p1.jpg", "p2.jpg"], &["p2.png", "p1.png", "p0.png"]), 2);
        assert_eq!(differing(&["img_1.jpg", "img_2.jpg"], &["mask_2.png", "mask_1.png"]), 2);
        assert_eq!(differing(&["a.png", "b.png"], &["b_L.png", "a_L.png"]), 2);
        assert_eq!(differing(&["d/1/image.png", "d/2/image.png"], &["d/2/mask.png", "d/1/mask.png"]), 2);
        // One label image for all, another part of the data set, one pair of strangers.
        assert_eq!(differing(&["a.png", "b.png"], &["label.png", "label.png"]), 2);
        assert_eq!(differing(&["train_1.png", "train_2.png"], &["val_1.png", "val_2.png"]), 2);
        assert_eq!(differing(&["p1.png"], &["p10.png"]), 1);
        assert_eq!(differing(&["ä1.png", "ö1.png"], &["ö2.png", "ä2.png"]), 2);
    }
}
