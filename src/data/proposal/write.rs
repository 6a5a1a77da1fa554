//! The proposed data set file as text, with comments for the person who edits it.

use std::collections::BTreeSet;

use super::{Content, Draft, Known, NoLabel};
use crate::data::{ImageProbe, LabelSurvey, SampleKind};
use crate::image::distinct_colors;

/// Width of comment lines.
const WIDTH: usize = 110;
/// Colour of a background that has none.
pub(super) const BACKGROUND: [u8; 3] = [32, 32, 40];
/// Share of empty pixels from which 16-bit and float images count as filled with 0 outside of what was measured.
const FILLED_SHARE: f64 = 0.01;

/// The whole file.
pub(super) fn data_set_file(content: &Content, survey: &LabelSurvey, known: &Known<'_>) -> String {
    let found = format!("{} {}", survey.sentence(), if survey.skipped > 0 { "that could be read" } else { "" });
    let named = known.names.map_or_else(
        || "Give the classes their names.".into(),
        |names| format!("Names of the classes are from {}.", names.path.display()),
    );
    let mut text = comment(&format!(
        "Proposed by `segtool dataset` for the label images {}: {}. {named}",
        known.labels,
        found.trim()
    ));
    text += &format!("name = {}\ntitle = {}\n", quoted(known.name), quoted(&format!("Label images {}", known.labels)));
    text += &bands(known.images);
    text += &not_labelled("ignore", &content.ignore, survey);
    text += &not_labelled("ignore_colors", &content.ignore_colors, survey);
    if content.edges > 0 {
        let share = percent(survey.share(content.edges));
        text += &comment(&format!(
            "Soft edges ({share} of the pixels) mix the values of neighbouring classes, as after resizing or JPEG compression. They \
             are not labelled; it is better to export the label images without anti-aliasing and remove this line."
        ));
        text += "other_values = \"unlabelled\"\n";
    }
    text += &normalisation(known.images);
    text += &comment(
        "Classes, the background first if there is one. Values that mean \"not labelled\" are not classes: list them in \
         `ignore = [...]`, colours in `ignore_colors = [...]`.",
    );
    text + &classes(content, survey)
}

pub(super) fn bands(images: Option<&ImageProbe>) -> String {
    let Some(images) = images else {
        return "bands = 3  # RGB or grey images; give --images to have this measured\n".into();
    };
    let [measured, all] = images.measured;
    let kind = match images.samples {
        SampleKind::Bytes => "8-bit",
        SampleKind::Words => "16-bit",
        SampleKind::Floats => "float",
    };
    let of = match (measured, all) {
        (1, 1) => "1 image".into(),
        _ if measured < all => format!("{measured} of {all} images"),
        _ => format!("{all} images"),
    };
    let mut text = format!("bands = {}  # measured on {of}, {kind}\n", images.bands);
    let others = images.band_counts.keys().filter(|bands| ![1, images.bands].contains(*bands));
    let others: Vec<String> = others.map(usize::to_string).collect();
    if !others.is_empty() {
        text = comment(&format!("Other images have {} bands; convert them, or leave them out.", others.join(" or ")))
            + &text;
    }
    if images.gray {
        text =
            comment("The bands of each image are all the same; bands = 1 is enough, unless pretrained weights need 3.")
                + &text;
    }
    text
}

/// The list of what means "not labelled"; nothing where there is none.
fn not_labelled(key: &str, list: &[NoLabel], survey: &LabelSurvey) -> String {
    if list.is_empty() {
        return String::new();
    }
    let line = |no_label: &NoLabel| {
        let found = no_label
            .found
            .map_or_else(|| "in none of the files".to_owned(), |(count, files)| shares(survey, count.pixels, files));
        format!("  {},  # {found}: {}\n", no_label.text, one_line(&no_label.reason))
    };
    let lines: String = list.iter().map(line).collect();
    format!(
        "{}{key} = [\n{lines}]\n",
        comment("Not labelled: excluded from training and scores. Move a value that is a class to `classes`.")
    )
}

pub(super) fn normalisation(images: Option<&ImageProbe>) -> String {
    let filled = images.is_some_and(|i| i.samples != SampleKind::Bytes && i.empty >= FILLED_SHARE);
    let (without, valid) =
        if filled { (", without pixels that are 0 in all bands", ", valid = \"nonzero\"") } else { ("", "") };
    let mut text =
        comment(&format!("Mean and standard deviation of the training images{without}, measured before training."));
    if images.is_none_or(|images| images.bands == 3 && images.samples == SampleKind::Bytes) {
        text += "# For ImageNet-pretrained weights, use:\n";
        text += "# normalisation = { kind = \"fixed\", mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] }\n";
    }
    format!("{text}normalisation = {{ kind = \"per-dataset\"{valid} }}\n")
}

fn classes(content: &Content, survey: &LabelSurvey) -> String {
    let colors = colors(content);
    let line = |((value, draft), color): ((&u16, &Draft), &[u8; 3])| {
        let others: Vec<&[u8; 3]> = draft.colors.iter().filter(|other| *other != color).collect();
        let others = if others.is_empty() { String::new() } else { format!(", other_colors = {others:?}") };
        let name = quoted(&draft.name);
        let found = shares(survey, draft.count.pixels, draft.files);
        format!("  {{ name = {name}, values = {value}, color = {color:?}{others} }},  # {found}\n")
    };
    let lines: String = content.classes.iter().zip(&colors).map(line).collect();
    format!("classes = [\n{lines}]\n")
}

/// A colour for each class: its own, where no other has it before, or one that can be told from all others.
fn colors(content: &Content) -> Vec<[u8; 3]> {
    let drafts = || content.classes.values();
    let mut taken: BTreeSet<[u8; 3]> =
        drafts().flat_map(|draft| draft.shown.iter().chain(&draft.colors)).copied().collect();
    let is_free = |color: &[u8; 3]| content.ignore_colors.iter().all(|ignored| ignored.text != format!("{color:?}"));
    let mut generated = distinct_colors(content.classes.len() + taken.len() + content.ignore_colors.len())
        .into_iter()
        .filter(|color| !taken.contains(color) && is_free(color))
        .collect::<Vec<_>>()
        .into_iter();
    let mut used = BTreeSet::new();
    let mut color = |draft: &Draft| {
        let own = draft.shown.filter(|color| used.insert(*color));
        let background = || (draft.name == "background" && taken.insert(BACKGROUND)).then_some(BACKGROUND);
        own.or_else(background).or_else(|| generated.next()).unwrap_or_default()
    };
    drafts().map(&mut color).collect()
}

/// Such as "12.34 % of the pixels, in 7 of 12 files".
fn shares(survey: &LabelSurvey, pixels: u64, files: usize) -> String {
    if pixels == 0 {
        return "in none of the files".into();
    }
    format!("{} of the pixels, in {files} of {} files", percent(survey.share(pixels)), survey.files())
}

fn percent(share: f64) -> String {
    if share < 0.0001 { "under 0.01 %".into() } else { format!("{:.2} %", 100.0 * share) }
}

/// A text as TOML writes it, on one line.
pub(in crate::data) fn quoted(text: &str) -> String {
    toml::Value::String(one_line(text)).to_string()
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Comment lines that are not too wide.
pub(super) fn comment(text: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in one_line(text).split_whitespace() {
        let last = lines.len() - 1;
        if lines[last].chars().count() + 1 + word.chars().count() > WIDTH && lines[last] != "#" {
            lines.push("#".into());
        }
        let last = lines.len() - 1;
        lines[last] += " ";
        lines[last] += word;
    }
    lines.join("\n") + "\n"
}
