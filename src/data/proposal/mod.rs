//! A data set file that fits label images, proposed from what they hold.

mod annotated;
mod meaning;
mod names;
mod write;

use std::collections::BTreeMap;
use std::path::Path;

use super::dataset::Dataset;
use super::image_probe::ImageProbe;
use super::label_survey::LabelSurvey;
use super::{Count, RawLabel};
use crate::base::{Error, Result};
use meaning::{Item, Role, items, roles};

pub(super) use annotated::class_lines;
pub use annotated::{AnnotatedClass, AnnotatedClasses, dataset_of_annotations};
pub use names::{ClassNames, NamedClass};
pub(super) use write::quoted;

/// What a proposal is made from, besides the label images.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Name of the data set.
    pub name: &'a str,
    /// What the label images are called.
    pub labels: &'a str,
    /// What the images are like.
    pub images: Option<&'a ImageProbe>,
    /// What the classes are called.
    pub names: Option<&'a ClassNames>,
}

/// A data set file that fits label images.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The file, with comments.
    pub text: String,
    /// What it says.
    pub dataset: Dataset,
    /// What each number and colour of the label images is taken as: the name of a class, or "not labelled".
    pub meanings: BTreeMap<RawLabel, String>,
}

/// A class as proposed.
#[derive(Debug, Clone, Default)]
struct Draft {
    name: String,
    /// Colour for drawings, where one is known.
    shown: Option<[u8; 3]>,
    /// Colours that mean it in label images.
    colors: Vec<[u8; 3]>,
    count: Count,
    files: usize,
}

/// What means "not labelled".
#[derive(Debug, Clone)]
struct NoLabel {
    /// The number or colour as TOML writes it.
    text: String,
    reason: String,
    /// Where it occurs, unless a names file alone speaks of it.
    found: Option<(Count, usize)>,
}

/// What the file is to say.
#[derive(Debug, Default)]
struct Content {
    /// By label value.
    classes: BTreeMap<u16, Draft>,
    ignore: Vec<NoLabel>,
    ignore_colors: Vec<NoLabel>,
    /// Pixels along soft edges.
    edges: u64,
    meanings: BTreeMap<RawLabel, String>,
}

/// Proposes a data set file. The error says why there is none: what the label images hold cannot be a set of classes.
pub fn propose(survey: &LabelSurvey, known: &Known<'_>) -> Result<Proposal> {
    let no_classes = |reason| Error::failed("propose a data set", reason);
    let items = items(survey).map_err(no_classes)?;
    let content = content(&items, roles(&items, survey).map_err(no_classes)?, survey, known.names)?;
    if content.classes.len() < 2 {
        let reason = "a data set needs at least two classes; give label images that show more than one";
        return Err(Error::no_data(format!("the label images hold {}", survey.sentence()), reason));
    }
    let text = write::data_set_file(&content, survey, known);
    let dataset = Dataset::parse(&text, Path::new(known.name))?;
    // Such as a colour that a names file gives to two classes.
    if !content.meanings.is_empty() && survey.undefined_in(&dataset) > 0 {
        let source = known.names.map_or(Path::new("the palette"), |names| &names.path);
        return Err(Error::content(source, "gives one colour to several classes; give each its own colour"));
    }
    Ok(Proposal { text, dataset, meanings: content.meanings })
}

/// Classes and what is no class, with the names that are known.
fn content(items: &[Item], mut roles: Vec<Role>, survey: &LabelSurvey, names: Option<&ClassNames>) -> Result<Content> {
    let mut content = Content::default();
    let by_value = items.iter().all(|item| item.number.is_some());
    if let Some(names) = names {
        content.take_names(names, items, &roles, by_value).map_err(|reason| Error::content(&names.path, reason))?;
        content.overrule(items, &mut roles, names);
    }
    let named = names.is_some();
    for (item, role) in items.iter().zip(roles) {
        match role {
            Role::Class => content.add_class(item, named),
            Role::NoLabel(reason) => content.add_no_label(item, &reason),
            Role::Edge => {
                content.edges += item.count.pixels;
                content.mean(item, "soft edge, not labelled");
            }
        }
    }
    if survey.masks && by_value && !content.classes.contains_key(&0) {
        // An image without a mask is all background.
        content.classes.insert(0, Draft { name: "background".into(), ..Draft::default() });
    }
    let first = content.classes.get(&0);
    if !named && content.classes.len() == 2 && first.is_some_and(|first| first.name == "background") {
        content.classes.values_mut().skip(1).for_each(|draft| draft.name = "foreground".into());
    }
    Ok(content)
}

impl Content {
    /// The classes of a names file, whether they occur or not.
    fn take_names(&mut self, names: &ClassNames, items: &[Item], roles: &[Role], by_value: bool) -> Result<(), String> {
        let classes = items.iter().zip(roles).filter(|(_, role)| **role == Role::Class);
        let found: Vec<u16> = classes.filter_map(|(item, _)| item.value()).collect();
        let counted = || names.classes.iter().filter(|class| !class.means_no_label());
        let valued: Vec<(u16, &NamedClass)> = match (by_value, names.has_values()) {
            (true, _) | (false, true) => names.with_values(&found)?,
            // Values of one's own: those that mean no label get none.
            (false, false) => (0..=u16::MAX).zip(counted()).collect(),
        };
        if !by_value && names.classes.iter().any(|class| class.color.is_none()) {
            let reason = "names no colours, but the label images hold colours; add colours, as in a table with columns name,r,g,b";
            return Err(reason.into());
        }
        let reason = |class: &NamedClass| format!("called '{}' in {}", class.name, names.path.display());
        for (value, class) in valued {
            if class.means_no_label() {
                self.ignore.push(NoLabel { text: value.to_string(), reason: reason(class), found: None });
                continue;
            }
            let colors = if by_value { Vec::new() } else { class.color.into_iter().collect() };
            let draft = Draft { name: class.name.clone(), shown: class.color, colors, ..Draft::default() };
            self.classes.insert(value, draft);
        }
        if !by_value {
            for class in names.classes.iter().filter(|class| class.means_no_label()) {
                let text = class.color.map(|color| format!("{color:?}")).unwrap_or_default();
                self.ignore_colors.push(NoLabel { text, reason: reason(class), found: None });
            }
        }
        Ok(())
    }

    /// What a names file says, or leaves out, counts for more than what the label images look like.
    fn overrule(&self, items: &[Item], roles: &mut [Role], names: &ClassNames) {
        for (item, role) in items.iter().zip(roles) {
            let unlabelled = self.no_label_of(item).map(|known| known.reason.clone());
            let usual = match item.value() {
                Some(value) => names.has_values() && [0, 255].contains(&value),
                None => item.colors.contains(&[0; 3]),
            } && names.classes.len() >= 2;
            if let Some(reason) = unlabelled {
                *role = Role::NoLabel(reason);
            } else if self.place_of(item).is_some_and(|value| self.classes.contains_key(&value)) {
                *role = Role::Class;
            } else if usual && *role == Role::Class {
                *role = Role::NoLabel(format!("not in {}", names.path.display()));
            }
        }
    }

    fn no_label_of(&self, item: &Item) -> Option<&NoLabel> {
        let (list, text) = match item.number {
            Some(number) => (&self.ignore, number.to_string()),
            None => (&self.ignore_colors, format!("{:?}", item.colors.first()?)),
        };
        list.iter().find(|known| known.text == text)
    }

    /// The label value of an item: its own, or that of the class of its colour.
    fn place_of(&self, item: &Item) -> Option<u16> {
        let by_color = || {
            let is_of = |draft: &Draft| draft.colors.iter().any(|color| item.colors.contains(color));
            self.classes.iter().find(|(_, draft)| is_of(draft)).map(|(value, _)| *value)
        };
        item.value().or_else(by_color)
    }

    /// The label value after the largest, or the smallest that no class has.
    fn free_value(&self) -> u16 {
        let next = self.classes.keys().next_back().map_or(Some(0), |last| last.checked_add(1));
        let free = || (0..=u16::MAX).find(|value| !self.classes.contains_key(value));
        next.or_else(free).unwrap_or_default()
    }

    fn add_class(&mut self, item: &Item, named: bool) {
        let value = self.place_of(item).unwrap_or_else(|| self.free_value());
        let first = value == 0 && !named && (item.number.is_some() || item.colors.contains(&[0; 3]));
        let draft = self.classes.entry(value).or_insert_with(|| Draft {
            name: if first { "background".into() } else { format!("class {value}") },
            ..Draft::default()
        });
        draft.count = item.count;
        draft.files = item.files;
        let own = if item.number.is_none() { item.colors.first().copied() } else { item.palette };
        draft.shown = draft.shown.or(own);
        for color in &item.colors {
            if !draft.colors.contains(color) {
                draft.colors.push(*color);
            }
        }
        let name = draft.name.clone();
        self.mean(item, &name);
    }

    fn add_no_label(&mut self, item: &Item, reason: &str) {
        let found = Some((item.count, item.files));
        let no_label = |text: String| NoLabel { text, reason: reason.into(), found };
        if let Some(number) = item.number {
            let text = if number.0.is_nan() { "\"nan\"".into() } else { number.to_string() };
            replace(&mut self.ignore, no_label(text));
        }
        for color in &item.colors {
            replace(&mut self.ignore_colors, no_label(format!("{color:?}")));
        }
        self.mean(item, "not labelled");
    }

    fn mean(&mut self, item: &Item, meaning: &str) {
        let colors = item.colors.iter().map(|color| RawLabel::Color(*color));
        let labels = item.number.map(RawLabel::Number).into_iter().chain(colors);
        self.meanings.extend(labels.map(|label| (label, meaning.to_owned())));
    }
}

/// Adds what means "not labelled" in the place of what a names file says of the same.
fn replace(list: &mut Vec<NoLabel>, no_label: NoLabel) {
    // Those of the names file stand first; of numbers that were found there may be tens of thousands, each once.
    let mut named = list.iter().take_while(|known| known.found.is_none());
    if let Some(place) = named.position(|known| known.text == no_label.text) {
        list.remove(place);
    }
    list.push(no_label);
}
