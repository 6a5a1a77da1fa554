//! What the numbers and colours of label images seem to mean: classes, no label, or soft edges.

use std::collections::BTreeMap;

use crate::data::{Count, LabelSurvey, RawLabel, StoredNumber};

/// Most classes that are proposed.
const MAX_CLASSES: usize = 1024;

/// Share of an area's pixels that are equal to their neighbours; along soft edges next to none are.
const SOLID_SHARE: f64 = 0.5;
/// Largest share of the label images that one number or colour of a soft edge has.
const EDGE_SHARE: f64 = 0.02;
/// Largest share of all soft edges together.
const EDGES_SHARE: f64 = 0.2;
/// Fewest numbers or colours that make a soft edge.
const MIN_EDGES: usize = 3;
/// Share of them that must lie between two areas.
const BETWEEN_SHARE: f64 = 0.8;
/// Distance of their numbers for that, and how far a colour may be from the line between two others, in each channel, and
/// beyond its ends, as a share: lossy compression moves colours.
const BETWEEN_NUMBERS: f64 = 16.0;
const BETWEEN_COLORS: f64 = 24.0;
const BEYOND_ENDS: f64 = 0.1;
/// Most areas, the largest, between which mixtures are looked for.
const MAX_AREAS: usize = 32;

/// Most areas that an error lists.
const MAX_LISTED: usize = 12;

/// Largest share of pixels deep inside what counts as a border line, and of the label images that it covers.
const LINE_DEEP_SHARE: f64 = 0.05;
const LINE_SHARE: f64 = 0.15;
/// Smallest share of all pixels deep inside an area, for lines to be told apart.
const AREAS_DEEP_SHARE: f64 = 0.3;

/// Values that are usual for "not labelled", and those below which classes are numbered one after another.
const USUAL_IGNORE: [u16; 2] = [255, u16::MAX];
const NUMBERED_BELOW: u16 = 64;
/// The border lines of PASCAL VOC.
const VOC_BORDER: [u8; 3] = [224, 224, 192];

/// A number, with the colours that mean the same, or a colour.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Item {
    pub(super) number: Option<StoredNumber>,
    pub(super) colors: Vec<[u8; 3]>,
    pub(super) count: Count,
    pub(super) files: usize,
    pub(super) palette: Option<[u8; 3]>,
}

/// What an item stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    Class,
    /// No label, with what speaks for it.
    NoLabel(String),
    /// A mixture of two classes at a soft edge.
    Edge,
}

impl Item {
    fn share_of(&self, part: u64) -> f64 {
        part as f64 / self.count.pixels.max(1) as f64
    }

    /// The label value that it may have as a class.
    pub(super) fn value(&self) -> Option<u16> {
        self.number.and_then(StoredNumber::as_value)
    }

    fn is(&self, value: u16, color: [u8; 3]) -> bool {
        self.number.map_or_else(|| self.colors.contains(&color), |number| number == value.into())
    }

    fn text(&self) -> String {
        let color = || self.colors.first().map(|color| RawLabel::Color(*color).to_string());
        self.number.map(|number| number.to_string()).or_else(color).unwrap_or_default()
    }
}

/// The numbers and colours, those that mean the same together: colours that are all grey mean their grey value, and the
/// colours of a palette its indices. Numbers come first, then colours, black before the others, which are in the order of their
/// areas.
pub(super) fn items(survey: &LabelSurvey) -> Result<Vec<Item>, String> {
    let is_gray = |color: [u8; 3]| color[1..].iter().all(|channel| *channel == color[0]);
    let mut gray = true;
    let (mut numbers, mut colors): (BTreeMap<StoredNumber, Item>, Vec<Item>) = Default::default();
    let mut index_of = BTreeMap::new();
    for found in &survey.labels {
        let (count, files, palette) = (found.count, found.files, found.palette);
        match found.label {
            RawLabel::Number(number) => {
                numbers.insert(number, Item { number: Some(number), count, files, palette, ..Item::default() });
                index_of.extend(palette.map(|color| (color, number)));
            }
            RawLabel::Color(color) => {
                gray &= is_gray(color);
                colors.push(Item { colors: vec![color], count, files, ..Item::default() });
            }
        }
    }
    let mut alone = Vec::new();
    for item in colors {
        let color = item.colors[0];
        let number = if gray { Some(u16::from(color[0]).into()) } else { index_of.get(&color).copied() };
        let Some(number) = number else {
            alone.push(item);
            continue;
        };
        let same = numbers.entry(number).or_insert_with(|| Item { number: Some(number), ..Item::default() });
        same.count += item.count;
        same.files += item.files;
        same.colors.push(color);
    }
    if !alone.is_empty() && !numbers.is_empty() {
        return Err(mixed(survey));
    }
    alone.sort_by_key(|item| (item.colors[0] != [0; 3], std::cmp::Reverse(item.count.pixels), item.colors[0]));
    Ok(numbers.into_values().chain(alone).collect())
}

fn mixed(survey: &LabelSurvey) -> String {
    let [numbers, colors] = [&survey.with_numbers, &survey.with_colors];
    let first = |path: &Option<std::path::PathBuf>| path.as_ref().map_or_else(String::new, |p| p.display().to_string());
    format!(
        "{} label images hold values (the first is {}) and {} hold colours (the first is {}), and nothing says which colour \
         means which value; save all of them with values or all with colours, or give only those of one kind",
        numbers.count,
        first(&numbers.first),
        colors.count,
        first(&colors.first)
    )
}

/// The role of each item, as far as the label images themselves tell.
pub(super) fn roles(items: &[Item], survey: &LabelSurvey) -> Result<Vec<Role>, String> {
    let mut roles = soft_edges(items, survey)?;
    for (item, role) in items.iter().zip(&mut roles) {
        match item.number.map(|number| number.0) {
            Some(_) if item.value().is_some() => {}
            Some(number) if number.is_nan() || number < 0.0 => {
                *role = Role::NoLabel("not the number of a class".into())
            }
            Some(number) => {
                return Err(format!(
                    "the label images hold {number}, which is not an integer from 0 to 65535; are they measurements instead \
                     of labels?"
                ));
            }
            None => {}
        }
        if item.count.transparent == item.count.pixels {
            *role = Role::NoLabel("transparent wherever it occurs".into());
        }
    }
    let classes: Vec<usize> = (0..items.len()).filter(|i| roles[*i] == Role::Class).collect();
    if classes.len() > MAX_CLASSES {
        return Err(format!(
            "the label images hold {}; are they object numbers or measurements instead of classes?",
            survey.sentence()
        ));
    }
    for &i in &classes {
        let is_other = |j: &&usize| **j != i && roles[**j] == Role::Class;
        let others: Vec<&Item> = classes.iter().filter(is_other).map(|j| &items[*j]).collect();
        if others.len() >= 2
            && let Some(reason) = no_label(&items[i], &others, survey)
        {
            roles[i] = Role::NoLabel(reason.into());
        }
    }
    Ok(roles)
}

/// What speaks for an item, beside at least two classes, to mean "not labelled".
fn no_label(item: &Item, others: &[&Item], survey: &LabelSurvey) -> Option<&'static str> {
    let pixels = |items: &[&Item]| items.iter().map(|item| item.count.deep).sum::<u64>();
    let areas = survey.share(pixels(others) + item.count.deep) >= AREAS_DEEP_SHARE;
    let is_line =
        areas && item.share_of(item.count.deep) <= LINE_DEEP_SHARE && survey.share(item.count.pixels) <= LINE_SHARE;
    if is_line && (item.is(0, [0; 3]) || item.is(255, [255; 3]) || item.is(255, VOC_BORDER)) {
        return Some("only in thin lines between the classes");
    }
    if item.number == Some(u16::MAX.into()) {
        return Some("the largest 16-bit value, which -1 in a .npy file is read as");
    }
    let values: Vec<u16> = others.iter().filter_map(|other| other.value()).collect();
    let largest = values.iter().max()?;
    let numbered = *largest < NUMBERED_BELOW || values.len() * 2 > usize::from(*largest);
    let apart = item.value().is_some_and(|value| USUAL_IGNORE.contains(&value) && largest.saturating_add(1) < value);
    (numbered && apart).then_some("separated by a gap from the numbers of the classes")
}

/// Classes and soft edges. Those of colours are an error, which a data set file cannot mend.
fn soft_edges(items: &[Item], survey: &LabelSurvey) -> Result<Vec<Role>, String> {
    let is_area = |item: &Item| item.share_of(item.count.solid) >= SOLID_SHARE;
    let is_speck = |item: &Item| !is_area(item) && survey.share(item.count.pixels) <= EDGE_SHARE;
    let mut areas: Vec<&Item> = items.iter().filter(|item| is_area(item)).collect();
    areas.sort_by_key(|item| std::cmp::Reverse(item.count.pixels));
    let specks: Vec<&Item> = items.iter().filter(|item| is_speck(item)).collect();
    let between = specks.iter().filter(|speck| lies_between(speck, &areas[..areas.len().min(MAX_AREAS)])).count();
    let covered: u64 = specks.iter().map(|speck| speck.count.pixels).sum();
    let soft = specks.len() >= MIN_EDGES
        && specks.len() > areas.len()
        && between as f64 >= BETWEEN_SHARE * specks.len() as f64
        && survey.share(covered) <= EDGES_SHARE;
    let by_color = items.iter().any(|item| item.number.is_none());
    if !survey.complete || (by_color && (soft || items.len() > MAX_CLASSES)) {
        return Err(soft_colors(&areas, specks.len(), survey));
    }
    Ok(items.iter().map(|item| if soft && is_speck(item) { Role::Edge } else { Role::Class }).collect())
}

/// Whether it lies between two of the areas that are not next to each other.
fn lies_between(item: &Item, areas: &[&Item]) -> bool {
    if let Some(StoredNumber(number)) = item.number {
        let numbers = areas.iter().filter_map(|area| area.number).map(|number| number.0);
        let (least, largest) = numbers.fold((f64::MAX, f64::MIN), |(a, b), number| (a.min(number), b.max(number)));
        return least < number && number < largest && largest - least >= BETWEEN_NUMBERS;
    }
    let colors: Vec<[u8; 3]> = areas.iter().filter_map(|area| area.colors.first()).copied().collect();
    let Some(&color) = item.colors.first() else { return false };
    (0..colors.len()).any(|i| colors[..i].iter().any(|&other| is_mixture(color, colors[i], other)))
}

/// Whether a colour lies on the line between two others.
fn is_mixture(color: [u8; 3], a: [u8; 3], b: [u8; 3]) -> bool {
    let [color, a, b] = [color, a, b].map(|color| color.map(f64::from));
    let along: [f64; 3] = std::array::from_fn(|i| b[i] - a[i]);
    let length: f64 = along.iter().map(|d| d * d).sum();
    let share = (0..3).map(|i| (color[i] - a[i]) * along[i]).sum::<f64>() / length;
    (-BEYOND_ENDS..=1.0 + BEYOND_ENDS).contains(&share)
        && (0..3).all(|i| (a[i] + share * along[i] - color[i]).abs() <= BETWEEN_COLORS)
}

fn soft_colors(areas: &[&Item], edges: usize, survey: &LabelSurvey) -> String {
    if areas.len() < 2 || areas.len() > edges {
        return format!("the label images hold {}; are they images instead of labels?", survey.sentence());
    }
    let listed = |item: &&Item| format!("{} ({:.1} %)", item.text(), 100.0 * survey.share(item.count.pixels));
    let texts: Vec<String> = areas.iter().take(MAX_LISTED).map(listed).collect();
    let more = if areas.len() > texts.len() { ", ..." } else { "" };
    format!(
        "the label images have soft edges: {} colours fill areas ({}{more}), and {edges} others are mixtures of them along edges; \
         export the label images without anti-aliasing, as PNG or TIFF, and resize them with nearest neighbour only",
        areas.len(),
        texts.join(", ")
    )
}
