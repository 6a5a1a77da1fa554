//! The classes that are painted.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::markup::hex;
use crate::base::{Error, Result, require};
use crate::data::{Class, Dataset, StoredNumber};
use crate::image::distinct_colors;
use crate::metric::OtherValues;

/// Most classes: their values are those of a byte, without 0 for no label and 255 for a pixel that stays as it is.
pub const MAX_CLASSES: usize = 254;

/// A class that is painted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelClass {
    /// Its value in label images.
    pub value: u8,
    /// Its name.
    pub name: String,
    /// Its colour.
    pub color: Color,
}

/// A colour; `#rrggbb` as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color(pub [u8; 3]);

impl Serialize for Color {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex(self.0))
    }
}

impl<'de> Deserialize<'de> for Color {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let channel = |at: usize| digits.and_then(|digits| u8::from_str_radix(&digits[at..at + 2], 16).ok());
        match (channel(0), channel(2), channel(4)) {
            (Some(red), Some(green), Some(blue)) => Ok(Self([red, green, blue])),
            _ => Err(serde::de::Error::custom(format!("color '{text}' must be #rrggbb, as in #d9a441"))),
        }
    }
}

/// Refuses classes that cannot be told apart or be written.
pub(super) fn check(classes: &[LabelClass]) -> Result<()> {
    let count = classes.len();
    require((2..=MAX_CLASSES).contains(&count), "classes", format!("a list of {count}"), "a list of 2 to 254 classes")?;
    let (mut values, mut names) = (BTreeSet::new(), BTreeSet::new());
    for LabelClass { value, name, .. } in classes {
        let expected = "1 to 254; 0 means not labelled";
        require((1..=MAX_CLASSES).contains(&usize::from(*value)), "value", value, expected)?;
        if !values.insert(*value) {
            return Err(Error::conflict("value", format!("{value} is that of two classes; give one of them another")));
        }
        let is_name = !name.trim().is_empty() && !name.contains(char::is_control);
        require(is_name, "name", format!("'{}'", name.escape_debug()), "a text of one line that is not empty")?;
        let letters = name.chars().count();
        let most = Dataset::LONGEST_NAME;
        require(letters <= most, "name", format!("{letters} characters long"), format!("at most {most}"))?;
        if !names.insert(name.trim().to_lowercase()) {
            return Err(Error::conflict("name", format!("'{name}' is that of two classes; rename one of them")));
        }
    }
    Ok(())
}

/// Two classes to begin with.
pub(super) fn first() -> Vec<LabelClass> {
    let class = |(value, name, color)| LabelClass { value, name: String::from(name), color: Color(color) };
    [(1, "class 1", [0xd9, 0xa4, 0x41]), (2, "class 2", [0x3b, 0x7d, 0xb8])].map(class).into()
}

/// Nameless classes of label values that were found.
pub(super) fn of_values(values: &BTreeSet<u8>) -> Vec<LabelClass> {
    let colors = distinct_colors(MAX_CLASSES + 1);
    let class =
        |value: u8| LabelClass { value, name: format!("class {value}"), color: Color(colors[usize::from(value)]) };
    let mut classes: Vec<LabelClass> = values.iter().copied().map(class).collect();
    let free = (1..=MAX_CLASSES as u8).filter(|value| !values.contains(value));
    let missing = 2usize.saturating_sub(classes.len());
    classes.extend(free.take(missing).map(class));
    classes
}

/// The classes of a data set, each with its first value; `None` if they are not values that can be painted.
pub(super) fn of_dataset(dataset: &Dataset) -> Option<Vec<LabelClass>> {
    let class = |(class, color): (&Class, [u8; 3])| {
        let value = u8::try_from(*class.values.first()?).ok()?;
        Some(LabelClass { value, name: class.name.clone(), color: Color(color) })
    };
    let classes: Vec<LabelClass> =
        dataset.classes.iter().zip(dataset.shown_colors()).map(class).collect::<Option<_>>()?;
    check(&classes).is_ok().then_some(classes)
}

/// What label images with these classes mean, of images as `base` says.
pub(super) fn dataset(classes: &[LabelClass], base: &Dataset) -> Dataset {
    let class = |LabelClass { value, name, color }: &LabelClass| Class {
        name: name.clone(),
        values: vec![u16::from(*value)],
        color: color.0,
        other_colors: Vec::new(),
        other_names: Vec::new(),
    };
    Dataset {
        ignore: vec![StoredNumber(0.0)],
        other_values: OtherValues::Error,
        ignore_colors: Vec::new(),
        classes: classes.iter().map(class).collect(),
        ..base.clone()
    }
}

/// The colours of values 0 to the greatest; of 0, which is not labelled, and those between, black.
pub(super) fn palette(classes: &[LabelClass]) -> Vec<[u8; 3]> {
    let last = classes.iter().map(|class| class.value).max().unwrap_or(1);
    let mut colors = vec![[0; 3]; usize::from(last) + 1];
    classes.iter().for_each(|class| colors[usize::from(class.value)] = class.color.0);
    colors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_text() {
        let json = r##"{"value":3,"name":"sand","color":"#d9a441"}"##;
        let class: LabelClass = serde_json::from_str(json).unwrap();
        assert_eq!(class.color, Color([0xd9, 0xa4, 0x41]));
        assert_eq!(serde_json::to_string(&class).unwrap(), json);
        for wrong in ["d9a441", "#d9a44", "#d9a44g", "#ä441", "#+1+2+3"] {
            let json = format!(r#"{{"value":3,"name":"sand","color":"{wrong}"}}"#);
            assert!(serde_json::from_str::<LabelClass>(&json).is_err(), "{wrong}");
        }
    }

    #[test]
    fn classes_that_cannot_be_told_apart_are_refused() {
        let two = |value, name: &str| {
            let mut classes = first();
            classes[1] = LabelClass { value, name: name.into(), ..classes[1].clone() };
            check(&classes)
        };
        two(254, "b").unwrap();
        assert_refused!(two(1, "b"), "`value` 1 is that of two classes");
        assert_refused!(two(0, "b"), "`value` is 0; it must be 1 to 254");
        assert_refused!(two(255, "b"), "`value` is 255");
        assert_refused!(two(2, "Class 1 "), "is that of two classes; rename one");
        assert_refused!(two(2, " "), "must be a text of one line");
        assert_refused!(check(&first()[..1]), "`classes` is a list of 1; it must be a list of 2 to 254");
    }

    #[test]
    fn a_data_set_gives_its_classes_if_they_can_be_painted() {
        let core = Dataset::find("core").unwrap();
        let classes = of_dataset(&core).unwrap();
        assert_eq!((classes.len(), classes[3].value, classes[3].name.as_str()), (4, 4, "dark gap"));
        assert_eq!(dataset(&classes, &core).classes.len(), 4);
        assert_eq!(of_dataset(&Dataset::find("demo").unwrap()), None, "its background is 0");
        assert_eq!(palette(&classes)[4], [25, 25, 25]);
    }
}
