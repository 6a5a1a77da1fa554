//! What the numbers and colours of label images mean in a data set.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::dataset::Dataset;
use super::number::StoredNumber;
use crate::base::label_map::{IGNORE, LabelMap, NO_CLASS};
use crate::base::{Error, Result};
use crate::image::{MINUS_ONE, NumberLabels, RawLabels};
use crate::metric::OtherValues;

/// A label value that the dataset does not define.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelFault {
    /// The value or colour, as text.
    pub value: String,
    /// Column of the first such pixel.
    pub x: usize,
    /// Row of the first such pixel.
    pub y: usize,
    /// How many pixels have it.
    pub pixels: usize,
}

impl Dataset {
    /// Class indices of a label image; the first value that is not defined is an error.
    pub fn class_map(&self, path: &Path, labels: &RawLabels) -> Result<LabelMap> {
        self.class_map_where(path, labels, |_| true)
    }

    /// Class indices of a prediction: as [`Self::class_map`], but the value that predictions carry for "not labelled" is
    /// understood even if the data set does not list it.
    pub fn prediction_class_map(&self, path: &Path, labels: &RawLabels) -> Result<LabelMap> {
        let unlabelled = self.unlabelled_value();
        match labels {
            RawLabels::Values(_, values) => self.class_map_where(path, labels, |i| values[i] != unlabelled),
            RawLabels::Numbers(labels_of_numbers) => {
                self.class_map_where(path, labels, |i| labels_of_numbers.values[i] != f64::from(unlabelled))
            }
            RawLabels::Colors(..) => self.class_map(path, labels),
        }
    }

    /// As [`Self::class_map`], but a value that is not defined is an error only at pixels that `counts` is true for;
    /// elsewhere it is [`IGNORE`].
    pub(super) fn class_map_where(
        &self,
        path: &Path,
        labels: &RawLabels,
        counts: impl Fn(usize) -> bool,
    ) -> Result<LabelMap> {
        let size = labels.size();
        let mut unknown = None;
        let mut note = |i: usize| {
            if unknown.is_none() && counts(i) {
                unknown = Some(i);
            }
            IGNORE
        };
        let classes = match labels {
            RawLabels::Values(_, values) => {
                let table = self.table_up_to(values.iter().fold(0, |most, value| most.max(*value)));
                let is_class = |(value, class): (u16, &Option<u16>)| *class == Some(value);
                if (0..).zip(&table).all(is_class) {
                    values.clone()
                } else {
                    let class = |(i, &value): (usize, &u16)| table[usize::from(value)].unwrap_or_else(|| note(i));
                    values.iter().enumerate().map(class).collect()
                }
            }
            RawLabels::Numbers(numbers) => {
                let meaning = self.number_meaning(numbers);
                numbers.values.iter().enumerate().map(|(i, &v)| meaning(v).unwrap_or_else(|| note(i))).collect()
            }
            RawLabels::Colors(_, colors) => {
                let table = self.color_table();
                colors.iter().enumerate().map(|(i, c)| table.get(c).copied().unwrap_or_else(|| note(i))).collect()
            }
        };
        match unknown {
            None => Ok(LabelMap { size, classes }),
            Some(i) => Err(Error::LabelValue {
                path: path.into(),
                value: value_text(labels, i),
                x: i % size.width,
                y: i / size.width,
                dataset: self.name.clone(),
                expected: self.expected(labels),
            }),
        }
    }

    /// The first `limit` values of a label image that are not defined, each with its first pixel, and how many such
    /// values there are.
    pub fn label_faults(&self, labels: &RawLabels, limit: usize) -> (Vec<LabelFault>, usize) {
        let width = labels.size().width;
        let mut found: BTreeMap<[u8; 8], (usize, usize)> = BTreeMap::new();
        let mut note = |key: u64, i: usize| found.entry(key.to_be_bytes()).or_insert((i, 0)).1 += 1;
        match labels {
            RawLabels::Values(_, values) => {
                let table = self.value_table();
                for (i, &v) in values.iter().enumerate().filter(|(_, v)| table[usize::from(**v)].is_none()) {
                    note(v.into(), i);
                }
            }
            RawLabels::Numbers(numbers) => {
                let meaning = self.number_meaning(numbers);
                for (i, v) in numbers.values.iter().enumerate().filter(|(_, v)| meaning(**v).is_none()) {
                    note(v.to_bits(), i);
                }
            }
            RawLabels::Colors(_, colors) => {
                let table = self.color_table();
                for (i, c) in colors.iter().enumerate().filter(|(_, c)| !table.contains_key(*c)) {
                    note(u32::from_be_bytes([0, c[0], c[1], c[2]]).into(), i);
                }
            }
        }
        let fault = |(first, pixels): (usize, usize)| LabelFault {
            value: value_text(labels, first),
            x: first % width,
            y: first / width,
            pixels,
        };
        let total = found.len();
        (found.into_values().take(limit).map(fault).collect(), total)
    }

    /// The values (or colours) that label images of this kind may hold, as text.
    pub fn expected(&self, labels: &RawLabels) -> String {
        if matches!(labels, RawLabels::Colors(..)) && self.color_table().len() <= self.ignore_colors.len() {
            return "no colours; save the labels as grey values, or give a data set with colours".into();
        }
        if matches!(labels, RawLabels::Colors(..)) {
            return "the colours of its classes, except those that several classes share".into();
        }
        let others = self.ignore.iter().filter(|number| number.as_value().is_none() && number.0 != -1.0);
        let others: String = others.map(|number| format!(", {number}")).collect();
        format!("values {}{others}", ranges(&self.listed_values()))
    }

    /// The label values of its classes, and those that mean "not labelled".
    pub fn listed_values(&self) -> BTreeSet<u16> {
        self.classes.iter().flat_map(|c| c.values.iter().copied()).chain(self.ignored_values()).collect()
    }

    /// Class index (or [`IGNORE`], or [`NO_CLASS`]) by label value, `None` for a value that is an error.
    pub fn value_table(&self) -> Vec<Option<u16>> {
        self.table_up_to(u16::MAX)
    }

    /// The part of [`Self::value_table`] for values up to a largest one: that of all takes longer than a small image.
    fn table_up_to(&self, largest: u16) -> Vec<Option<u16>> {
        let mut table = vec![self.meaning_of_others(); usize::from(largest) + 1];
        for value in self.ignored_values().filter(|value| *value <= largest) {
            table[usize::from(value)] = Some(IGNORE);
        }
        for (index, class) in self.classes.iter().enumerate() {
            for &value in class.values.iter().filter(|value| **value <= largest) {
                table[usize::from(value)] = Some(index as u16);
            }
        }
        table
    }

    /// The class index (or [`IGNORE`], or [`NO_CLASS`]) by number, of a label image that may hold any. A class's own values
    /// go before the file's nodata value, which is often 0. Numbers that no class could have are errors unless they are named
    /// as "not labelled" or as nodata.
    fn number_meaning<'a>(&'a self, labels: &'a NumberLabels) -> impl Fn(f64) -> Option<u16> + 'a {
        let mut table = self.value_table();
        if let Some(nodata) = labels.nodata.and_then(|nodata| StoredNumber(nodata).as_value())
            && !self.classes.iter().any(|class| class.values.contains(&nodata))
        {
            table[usize::from(nodata)] = Some(IGNORE);
        }
        move |number| {
            let value = number as u16;
            if f64::from(value) == number {
                return table[usize::from(value)];
            }
            if labels.is_nodata(number) || self.ignore.iter().any(|ignored| ignored.is(number)) {
                return Some(IGNORE);
            }
            if number == -1.0 { table[usize::from(MINUS_ONE)] } else { None }
        }
    }

    /// What label values are that are not listed.
    fn meaning_of_others(&self) -> Option<u16> {
        match self.other_values {
            OtherValues::Error => None,
            OtherValues::Unlabelled => Some(IGNORE),
            OtherValues::Wrong => Some(NO_CLASS),
        }
    }

    /// Class index (or [`IGNORE`]) by colour. A colour that two classes share says nothing and is left out.
    fn color_table(&self) -> HashMap<[u8; 3], u16> {
        let ignored = self.ignore_colors.iter().map(|&color| (color, IGNORE));
        let classes = self.classes.iter().enumerate();
        let meanings = ignored.chain(classes.flat_map(|(i, class)| class.colors().map(move |color| (color, i as u16))));
        let mut table: HashMap<[u8; 3], Option<u16>> = HashMap::new();
        for (color, class) in meanings {
            let entry = table.entry(color).or_insert(Some(class));
            if *entry != Some(class) {
                *entry = None;
            }
        }
        table.into_iter().filter_map(|(color, class)| Some((color, class?))).collect()
    }
}

fn value_text(labels: &RawLabels, i: usize) -> String {
    match labels {
        RawLabels::Values(_, values) if values[i] == MINUS_ONE => format!("{MINUS_ONE} (or -1)"),
        RawLabels::Numbers(labels) => StoredNumber(labels.values[i]).to_string(),
        RawLabels::Values(_, values) => values[i].to_string(),
        RawLabels::Colors(_, colors) => format!("colour {:?}", colors[i]),
    }
}

/// `0..=7, 255` for {0, ..., 7, 255}.
fn ranges(values: &BTreeSet<u16>) -> String {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for &value in values {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == value => *end = value,
            _ => runs.push((value, value)),
        }
    }
    let texts: Vec<String> =
        runs.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}..={b}") }).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Size;

    #[test]
    fn an_undefined_value_is_named_with_its_pixel() {
        let seeps = Dataset::find("seeps").unwrap();
        let labels = RawLabels::Values(Size { width: 2, height: 2 }, vec![0, 7, 9, 9]);
        assert_refused!(seeps.class_map(Path::new("m.tif"), &labels), "m.tif: label 9 at pixel (0, 1)", "0..=7");
        let expected = LabelFault { value: "9".into(), x: 0, y: 1, pixels: 2 };
        assert_eq!(seeps.label_faults(&labels, 3), (vec![expected], 1));
    }

    #[test]
    fn a_colour_that_two_classes_share_is_refused() {
        let ade = Dataset::find("ade20k").unwrap();
        // Road (7) and skyscraper (49) have one colour in the published table.
        assert_eq!(ade.classes[6].color, ade.classes[48].color);
        let labels = |class: usize| RawLabels::Colors(Size { width: 1, height: 1 }, vec![ade.classes[class].color]);
        assert!(ade.class_map(Path::new("x"), &labels(6)).is_err());
        assert_eq!(ade.class_map(Path::new("x"), &labels(0)).unwrap().classes, [0]);
        let black = RawLabels::Colors(Size { width: 1, height: 1 }, vec![[0; 3]]);
        assert!(Dataset::numbered(3).unwrap().class_map(Path::new("x"), &black).is_err());
    }

    #[test]
    fn colours_are_looked_up_in_the_colour_map() {
        let camvid = Dataset::find("camvid").unwrap();
        let colors = vec![camvid.classes[2].color, [1, 2, 3]];
        let labels = RawLabels::Colors(Size { width: 2, height: 1 }, colors);
        assert_refused!(camvid.class_map(Path::new("x.png"), &labels), "colour [1, 2, 3] at pixel (1, 0)");
    }

    #[test]
    fn numbers_that_are_no_class_value_must_be_named() {
        let dataset = Dataset { other_values: OtherValues::Unlabelled, ..Dataset::find("seeps").unwrap() };
        let meaning = |dataset: &Dataset, number: f64, nodata: Option<f64>| {
            let size = Size { width: 1, height: 1 };
            let labels = RawLabels::Numbers(NumberLabels { size, values: vec![number], nodata });
            dataset.class_map(Path::new("a.tif"), &labels).ok().map(|map| map.classes[0])
        };
        assert_eq!(meaning(&dataset, 1.0, None), Some(1));
        // What the data set says of a value goes before the file's nodata value.
        assert_eq!([meaning(&dataset, 0.0, Some(0.0)), meaning(&dataset, 99.0, Some(99.0))], [Some(0), Some(IGNORE)]);
        for number in [1.5, 70_000.0, f64::NAN, -3.0] {
            assert_eq!(meaning(&dataset, number, None), None, "{number}");
            assert_eq!(meaning(&dataset, number, Some(number)), Some(IGNORE), "{number}");
            let ignoring = Dataset { ignore: vec![StoredNumber(number)], ..dataset.clone() };
            assert_eq!(meaning(&ignoring, number, None), Some(IGNORE), "{number}");
        }
        assert_eq!(meaning(&dataset, NumberLabels::MASKED, None), Some(IGNORE));
    }
}
