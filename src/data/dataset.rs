//! What a data set means: its classes, the label values on disk, its bands and their normalisation.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

use super::normalise::{Normalisation, ValidPixels};
use super::number::StoredNumber;
use super::trained_samples::TrainedSamples;
use crate::base::error::plain_types;
use crate::base::named_enum::find_text;
use crate::base::{Error, Result, require};
use crate::image::{MINUS_ONE, OrientationPolicy, distinct_colors, follow_orientation_policy, orientation_policy};
use crate::metric::{Convention, LabelValues, OtherValues};

/// Data sets that are compiled in, by name.
const BUILT_IN: &[(&str, &str)] = &[
    ("ade20k", include_str!("../../datasets/ade20k.toml")),
    ("camvid", include_str!("../../datasets/camvid.toml")),
    ("cityscapes", include_str!("../../datasets/cityscapes.toml")),
    ("cityscapes-trainids", include_str!("../../datasets/cityscapes-trainids.toml")),
    ("coco-stuff", include_str!("../../datasets/coco-stuff.toml")),
    ("core", include_str!("../../datasets/core.toml")),
    ("demo", include_str!("../../datasets/demo.toml")),
    ("earthquake", include_str!("../../datasets/earthquake.toml")),
    ("f3-facies", include_str!("../../datasets/f3-facies.toml")),
    ("isaid", include_str!("../../datasets/isaid.toml")),
    ("loveda", include_str!("../../datasets/loveda.toml")),
    ("parihaka", include_str!("../../datasets/parihaka.toml")),
    ("potsdam", include_str!("../../datasets/potsdam.toml")),
    ("seeps", include_str!("../../datasets/seeps.toml")),
    ("vaihingen", include_str!("../../datasets/vaihingen.toml")),
    ("voc2012", include_str!("../../datasets/voc2012.toml")),
];

/// One class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Its name, for tables and legends.
    pub name: String,
    /// The label values that stand for it on disk; predictions are written with the first.
    #[serde(deserialize_with = "one_or_many")]
    pub values: Vec<u16>,
    /// Its colour in images, and in RGB label images.
    pub color: [u8; 3],
    /// Further colours that mean it in RGB label images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_colors: Vec<[u8; 3]>,
    /// Further names that mean it in files of annotation tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_names: Vec<String>,
}

/// `values = 3` as well as `values = [3, 4]`.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u16>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "`values` must be a whole number from 0 to 65535, or a list of such numbers")]
    enum OneOrMany {
        One(u16),
        Many(Vec<u16>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(value) => vec![value],
        OneOrMany::Many(values) => values,
    })
}

impl Class {
    /// All names that mean it.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.other_names.iter().map(String::as_str))
    }

    /// All colours that mean it.
    pub(super) fn colors(&self) -> impl Iterator<Item = [u8; 3]> + '_ {
        std::iter::once(self.color).chain(self.other_colors.iter().copied())
    }
}

/// A data set, as a file in `datasets/` describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// Its short name.
    pub name: String,
    /// What it shows and where it is from.
    #[serde(default)]
    pub title: String,
    /// Bands that the network gets. A grey image fills all of them.
    pub bands: usize,
    /// Label values that mean "not labelled"; negative numbers and NaN may be among them.
    #[serde(default)]
    pub ignore: Vec<StoredNumber>,
    /// Numbers in images that mean "no data", as stored: such pixels are never learnt from, scored or drawn, and are "not
    /// labelled" in predictions. The nodata value, mask and alpha band of a file count in any case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodata: Vec<StoredNumber>,
    /// The samples that a run was trained on; training writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<TrainedSamples>,
    /// What a run's training did with declared orientations, if it did not apply them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orientation: Option<OrientationPolicy>,
    /// What label values from 0 to 65,535 are that are not listed; other numbers are errors unless `ignore` names them.
    #[serde(default)]
    pub other_values: OtherValues,
    /// Colours that mean "not labelled", in RGB label images.
    #[serde(default)]
    pub ignore_colors: Vec<[u8; 3]>,
    /// Name of all classes but the first, when they are merged into one.
    #[serde(default = "foreground")]
    pub merged_name: String,
    /// How samples become network input.
    pub normalisation: Normalisation,
    /// The classes, in the order of the network's outputs; the first is the background where there is one.
    pub classes: Vec<Class>,
}

fn foreground() -> String {
    "foreground".into()
}

/// This many label values from `first`.
fn values(first: u16, classes: usize) -> Result<Vec<u16>> {
    // The largest value stays free: it is read from -1, the usual "not labelled".
    if usize::from(first) + classes > usize::from(u16::MAX) {
        let expected = format!("lower: label values count up from {first} and must fit in 16 bits");
        return Err(Error::invalid("classes", classes, expected));
    }
    Ok((first..first + classes as u16).collect())
}

impl Dataset {
    /// Most classes that 16-bit values tell apart, with two values of another meaning.
    pub const MAX_CLASSES: usize = u16::MAX as usize - 2;
    /// Most characters of a class's name.
    pub const LONGEST_NAME: usize = 1000;

    /// A built-in dataset by name, or the one in a `.toml` file.
    pub fn find(name_or_path: &str) -> Result<Self> {
        Self::parse(&find_text("data set", name_or_path, BUILT_IN)?, Path::new(name_or_path))
    }

    /// `classes` nameless classes with label values 1..=K; any other value means "not labelled". So the original
    /// Capstone script reads ADE20K. Without colours, RGB label images cannot be read.
    pub fn numbered(classes: usize) -> Result<Self> {
        Self::numbered_from(classes, Convention::default().label_values())
    }

    /// `classes` nameless classes with label values as a convention of scoring has them.
    pub fn numbered_from(classes: usize, LabelValues { first, ignore, others }: LabelValues) -> Result<Self> {
        let name = format!("{classes} numbered classes");
        let normalisation = Normalisation::PerImage { valid: ValidPixels::All };
        let numbered = Self::nameless(name, values(first, classes)?, (3, normalisation));
        let ignore = ignore.into_iter().map(StoredNumber::from).collect();
        let numbered = Self { ignore, other_values: others, ignore_colors: vec![[0; 3]], ..numbered };
        numbered.check_values()?;
        Ok(numbered)
    }

    /// What is known of the classes of weights that come without a data set: their number, and perhaps their label
    /// values; 0..K-1 if not. `input` is the number of bands and how they are normalised.
    pub fn unnamed(classes: usize, label_values: Option<Vec<u16>>, input: (usize, Normalisation)) -> Result<Self> {
        let values = label_values.map_or_else(|| values(0, classes), Ok)?;
        Ok(Self::nameless(format!("{classes} unnamed classes"), values, input))
    }

    fn nameless(name: String, values: Vec<u16>, (bands, normalisation): (usize, Normalisation)) -> Self {
        let class = |value: u16| Class {
            name: format!("class {value}"),
            values: vec![value],
            color: [0; 3],
            other_colors: Vec::new(),
            other_names: Vec::new(),
        };
        Self {
            name,
            title: String::new(),
            bands,
            ignore: Vec::new(),
            nodata: Vec::new(),
            samples: None,
            orientation: None,
            other_values: OtherValues::Error,
            ignore_colors: Vec::new(),
            merged_name: foreground(),
            normalisation,
            classes: values.into_iter().map(class).collect(),
        }
    }

    /// Names of the built-in data sets.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The text of a built-in dataset's file.
    pub fn built_in_text(name: &str) -> Option<&'static str> {
        BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// The dataset that a file with this text holds; `path` is what errors call it.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let failed = |e: toml::de::Error| Error::content(path, plain_types(&e.to_string()));
        let dataset: Self = toml::from_str(text).map_err(failed)?;
        dataset.validate().map_err(|fault| Error::content(path, fault))?;
        if dataset.other_values == OtherValues::Wrong {
            return Err(Error::content(path, "`other_values` must be \"error\" or \"unlabelled\""));
        }
        Ok(dataset)
    }

    /// Checks what the format alone does not.
    pub fn validate(&self) -> Result<()> {
        require(self.bands > 0, "bands", self.bands, "at least 1")?;
        let classes = self.classes.len();
        require(classes >= 2, "[[classes]]", format!("a list of {classes}"), "a list of 2 or more classes")?;
        self.check_values()
    }

    /// As [`Self::validate`], but a single class will do, as it does for scoring.
    pub fn check_values(&self) -> Result<()> {
        let (classes, most) = (self.classes.len(), Self::MAX_CLASSES);
        let expected = format!("a list of 1 to {most} classes");
        require((1..=most).contains(&classes), "[[classes]]", format!("a list of {classes}"), expected)?;
        let mut values: BTreeSet<u16> = self.ignored_values().collect();
        for class in &self.classes {
            let letters = class.name.chars().count();
            if letters > Self::LONGEST_NAME {
                let beginning: String = class.name.chars().take(20).collect();
                let expected = format!("at most {} characters long, not {letters}", Self::LONGEST_NAME);
                return Err(Error::invalid("[[classes]].name", format!("'{beginning}...'"), expected));
            }
            if class.values.is_empty() {
                let value = format!("empty for class '{}'", class.name);
                return Err(Error::invalid("[[classes]].values", value, "a list of at least one label value"));
            }
            for &value in &class.values {
                if !values.insert(value) {
                    let reason = format!(
                        "lists label value {value}, of class '{}', a second time; each value may have only one meaning",
                        class.name
                    );
                    return Err(Error::conflict("[[classes]].values", reason));
                }
            }
        }
        self.normalisation.validate(self.bands)
    }

    /// Number of classes.
    pub fn class_count(&self) -> usize {
        self.classes.len()
    }

    /// The colours of the classes.
    pub fn colors(&self) -> Vec<[u8; 3]> {
        self.classes.iter().map(|c| c.color).collect()
    }

    /// Colours to show the classes with: their own, or, where all have one colour, generated ones that depend on a class's
    /// label value alone.
    pub fn shown_colors(&self) -> Vec<[u8; 3]> {
        let colors = self.colors();
        if colors.windows(2).any(|pair| pair[0] != pair[1]) {
            return colors;
        }
        let generated = distinct_colors(usize::from(self.largest_value()) + 1);
        self.classes.iter().map(|class| generated[usize::from(class.values[0])]).collect()
    }

    /// The same data set with all classes but the first merged into one, if there are others.
    #[must_use]
    pub fn merged(&self) -> Self {
        let [background, first, ..] = &self.classes[..] else { return self.clone() };
        let rest = &self.classes[1..];
        let foreground = Class {
            name: self.merged_name.clone(),
            values: rest.iter().flat_map(|c| c.values.iter().copied()).collect(),
            color: first.color,
            other_colors: rest.iter().flat_map(Class::colors).skip(1).collect(),
            other_names: rest.iter().flat_map(Class::names).map(str::to_owned).collect(),
        };
        Self { classes: vec![background.clone(), foreground], ..self.clone() }
    }

    /// The largest value that a prediction can carry.
    pub fn largest_value(&self) -> u16 {
        self.classes.iter().map(|c| c.values[0]).max().unwrap_or(0)
    }

    /// The value that a class index has on disk; [`Self::unlabelled_value`] for [`IGNORE`](crate::base::label_map::IGNORE).
    pub fn value_of(&self, class: u16) -> u16 {
        self.classes.get(usize::from(class)).map_or_else(|| self.unlabelled_value(), |c| c.values[0])
    }

    /// The value that predictions carry where there is no class: the data set's first ignore value that the type of the
    /// predictions holds; without one, 255, or the next smaller number that no class has.
    pub fn unlabelled_value(&self) -> u16 {
        let largest = if self.largest_value() <= u16::from(u8::MAX) { u8::MAX.into() } else { u16::MAX };
        let declared = self.ignore.iter().filter_map(|number| number.as_value()).find(|value| *value <= largest);
        let free = || (0..=largest).rev().find(|value| !self.classes.iter().any(|class| class.values.contains(value)));
        declared.or_else(free).unwrap_or(u16::MAX)
    }

    /// The data set as a run records it: with the samples that training saw, unless an earlier one is recorded, and with
    /// what was done with declared orientations.
    pub(crate) fn trained_on(&self, samples: Option<TrainedSamples>) -> Self {
        let orientation = Some(orientation_policy()).filter(|policy| *policy != OrientationPolicy::default());
        Self { samples: self.samples.clone().or(samples), orientation, ..self.clone() }
    }

    /// Has images and labels read as training read them, unless [`crate::image::set_orientation_policy`] said otherwise.
    pub(crate) fn follow_orientation(&self) {
        follow_orientation_policy(self.orientation.unwrap_or_default());
    }

    /// The numbers that mean "no data" in images.
    pub fn nodata_numbers(&self) -> Vec<f64> {
        self.nodata.iter().map(|number| number.0).collect()
    }

    /// Ignore values as 16-bit label images hold them.
    pub(super) fn ignored_values(&self) -> impl Iterator<Item = u16> + '_ {
        let value = |number: &StoredNumber| if number.0 == -1.0 { Some(MINUS_ONE) } else { number.as_value() };
        self.ignore.iter().filter_map(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Size;
    use crate::base::label_map::IGNORE;
    use crate::image::RawLabels;

    #[test]
    fn every_built_in_data_set_is_valid_and_carries_its_name() {
        for name in Dataset::names() {
            assert_eq!(Dataset::find(name).unwrap().name, name);
        }
        assert_eq!(Dataset::find("ade20k").unwrap().class_count(), 150);
        assert_eq!(Dataset::find("CamVid").unwrap().name, "camvid");
        assert!(Dataset::find("nothing").unwrap_err().to_string().contains("seeps"));
    }

    #[test]
    fn values_map_to_classes_and_back() {
        let ade = Dataset::find("ade20k").unwrap();
        let labels = RawLabels::Values(Size { width: 3, height: 1 }, vec![0, 1, 150]);
        assert_eq!(ade.class_map(Path::new("x"), &labels).unwrap().classes, [IGNORE, 0, 149]);
        assert_eq!([ade.value_of(0), ade.value_of(149), ade.value_of(IGNORE)], [1, 150, 0]);
    }

    #[test]
    fn merging_keeps_every_value() {
        let merged = Dataset::find("seeps").unwrap().merged();
        let labels = RawLabels::Values(Size { width: 8, height: 1 }, (0..8).collect());
        assert_eq!(merged.class_map(Path::new("x"), &labels).unwrap().classes, [0, 1, 1, 1, 1, 1, 1, 1]);
        merged.validate().unwrap();
        let labels = RawLabels::Colors(Size { width: 8, height: 1 }, Dataset::find("seeps").unwrap().colors());
        assert_eq!(merged.class_map(Path::new("x"), &labels).unwrap().classes, [0, 1, 1, 1, 1, 1, 1, 1]);
        let single = Dataset::numbered(1).unwrap();
        assert_eq!(single.merged(), single);
    }

    #[test]
    fn numbered_classes_ignore_every_other_value() {
        let labels = RawLabels::Values(Size { width: 4, height: 1 }, vec![0, 1, 3, 4]);
        let map = Dataset::numbered(3).unwrap().class_map(Path::new("x"), &labels).unwrap();
        assert_eq!(map.classes, [IGNORE, 0, 2, IGNORE]);
    }

    #[test]
    fn classes_without_colours_are_shown_with_those_of_their_value() {
        let (few, many) = (Dataset::numbered(3).unwrap(), Dataset::numbered(40).unwrap());
        let all = Dataset::unnamed(9, None, (1, many.normalisation.clone())).unwrap();
        assert_eq!(few.shown_colors(), many.shown_colors()[..3]);
        assert_eq!(few.shown_colors(), all.shown_colors()[1..4]);
        assert_eq!(few.colors(), [[0; 3]; 3]);
        let camvid = Dataset::find("camvid").unwrap();
        assert_eq!(camvid.shown_colors(), camvid.colors());
    }
}
