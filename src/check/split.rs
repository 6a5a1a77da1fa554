//! Findings about related images, and about a split that separates them.

use std::path::Path;

use super::content::{Link, LinkKind, alike, overlapping, same};
use super::finding::{Finding, Kind, Place, Severity};
use super::recoded::{Recoded, recoded};
use super::report::Data;
use super::scenes::Scenes;
use crate::base::event::Sink;
use crate::base::words::counted;
use crate::data::{Footprint, GroupBy, linked, overlapping as placed_over};

/// Maximum number of pairs listed per finding; the message counts all of them.
const MAX_PLACES: usize = 100_000;

/// How images are related.
struct Together {
    links: Vec<Link>,
    /// Pairs of images whose georeferences overlap.
    placed: Vec<(usize, usize)>,
    scenes: Option<Scenes>,
    all_placed: bool,
    /// Number of candidate pairs of crops that were not compared; a lower bound unless `all_counted`.
    left_out: usize,
    all_counted: bool,
}

/// The findings, and the group of each pair: related images are in the same group.
pub(super) fn findings(data: &Data, by: Option<&GroupBy>, sink: &dyn Sink) -> (Vec<Finding>, Vec<usize>) {
    let together = Together::of(data, sink);
    let mut found = Vec::new();
    found.extend(together.duplicates(data));
    found.extend(together.conflicting(data));
    found.extend(together.near_duplicates(data));
    found.extend(together.crops(data));
    found.extend(together.not_compared());
    found.extend(together.georeferenced(data));
    found.extend(together.named(data));
    found.extend(by.and_then(|by| grouped(data, by)));
    (found, together.groups(data.pairs.len()))
}

impl Together {
    fn of(data: &Data, sink: &dyn Sink) -> Self {
        let images: Vec<_> = data.images().collect();
        let mut links = same(&images);
        let crops = overlapping(&images);
        let known: std::collections::HashSet<(usize, usize)> =
            crops.iter().map(|link| (link.first, link.second)).collect();
        links.extend(crops);
        // Crops that cover nearly the whole scene also look alike.
        links.extend(alike(&images).into_iter().filter(|link| !known.contains(&(link.first, link.second))));
        let known = links.iter().map(|link| (link.first, link.second)).collect();
        let Recoded { links: crops, left_out, all_counted } = recoded(&images, &known, |i| data.image_path(i), sink);
        links.extend(crops);
        let mut places: Vec<Option<Footprint>> = vec![None; data.pairs.len()];
        images.iter().for_each(|(i, image)| places[*i] = image.place);
        let paths: Vec<&Path> = (0..data.pairs.len()).map(|i| data.image_path(i)).collect();
        let all_placed = places.iter().all(Option::is_some);
        Self { links, placed: placed_over(&places), scenes: Scenes::of(&paths), all_placed, left_out, all_counted }
    }

    /// The links of the wanted kinds, those across the split first, and the number of those.
    fn links<'a>(&'a self, data: &Data, wanted: impl Fn(LinkKind) -> bool) -> (Vec<&'a Link>, usize) {
        let mut links: Vec<&Link> = self.links.iter().filter(|link| wanted(link.kind)).collect();
        links.sort_by_key(|link| (!is_across(data, (link.first, link.second)), link.second, link.first));
        let across = links.iter().filter(|link| is_across(data, (link.first, link.second))).count();
        (links, across)
    }

    fn duplicates(&self, data: &Data) -> Option<Finding> {
        let (links, across) = self.links(data, |kind| kind == LinkKind::Same);
        let places = links.iter().map(|link| place(data, (link.first, link.second), "")).collect();
        let what = format!("with the same pixels as another image{}", across_text(across));
        Finding::about(Kind::Duplicate, Severity::Warning, places, ("image", &what), "keep one of each")
    }

    fn conflicting(&self, data: &Data) -> Option<Finding> {
        let content = |i: usize| data.summaries[i].labels.as_ref().map(|labels| labels.content);
        let differ = |link: &&Link| {
            link.kind == LinkKind::Same && content(link.first).zip(content(link.second)).is_some_and(|(a, b)| a != b)
        };
        let places: Vec<Place> =
            self.links.iter().filter(differ).map(|link| place(data, (link.first, link.second), "")).collect();
        let what = ("image", "with the same pixels as another image, but different labels");
        Finding::about(Kind::ConflictingLabels, Severity::Warning, places, what, "keep the correct labels of each")
    }

    fn near_duplicates(&self, data: &Data) -> Option<Finding> {
        let (links, across) = self.links(data, |kind| matches!(kind, LinkKind::Alike | LinkKind::AlikeTurned));
        let detail = |link: &Link| if link.kind == LinkKind::AlikeTurned { "turned or mirrored" } else { "" };
        let listed = links.iter().take(MAX_PLACES);
        let places = listed.map(|link| place(data, (link.first, link.second), detail(link))).collect();
        let message = format!(
            "{} of near-duplicate images (re-encoded, resized, brightened or taken moments apart){}",
            counted(links.len(), "pair"),
            across_text(across)
        );
        self.leak(data, Finding::new(Kind::NearDuplicate, Severity::Note, message, places), across)
    }

    fn crops(&self, data: &Data) -> Option<Finding> {
        let (links, across) = self.links(data, |kind| matches!(kind, LinkKind::Overlap(..)));
        let detail = |link: &Link| match link.kind {
            LinkKind::Overlap(x, y, share) => format!(
                "the second begins at ({x}, {y}) in the first; they share {} % of the smaller one",
                f64::from(share) / 10.0
            ),
            _ => String::new(),
        };
        let listed = links.iter().take(MAX_PLACES);
        let places = listed.map(|link| place(data, (link.first, link.second), &detail(link))).collect();
        let message = format!(
            "{} of overlapping crops of one scene, by their content{}",
            counted(links.len(), "pair"),
            across_text(across)
        );
        self.leak(data, Finding::new(Kind::Overlap, Severity::Note, message, places), across)
    }

    /// A note if the search for crops was cut short.
    fn not_compared(&self) -> Option<Finding> {
        if self.left_out == 0 && self.all_counted {
            return None;
        }
        let at_least = if self.all_counted { "" } else { "at least " };
        let pairs = counted(self.left_out.max(1), "more pair");
        let message = format!("{at_least}{pairs} that may be crops of one scene, too many to compare them all");
        Some(Finding::new(Kind::Overlap, Severity::Note, message, Vec::new()))
    }

    fn georeferenced(&self, data: &Data) -> Option<Finding> {
        let mut pairs = self.placed.clone();
        pairs.sort_by_key(|pair| (!is_across(data, *pair), *pair));
        let across = pairs.iter().filter(|pair| is_across(data, **pair)).count();
        let places = pairs.iter().take(MAX_PLACES).map(|pair| place(data, *pair, "")).collect();
        let message = format!(
            "{} of images that overlap, by their georeference{}",
            counted(pairs.len(), "pair"),
            across_text(across)
        );
        self.leak(data, Finding::new(Kind::Georeference, Severity::Note, message, places), across)
    }

    /// Scenes on both sides, judging by names alone, which need not be a fault.
    fn named(&self, data: &Data) -> Option<Finding> {
        let scenes = self.scenes.as_ref().filter(|_| data.has_validation())?;
        let learnt: std::collections::HashMap<&str, usize> =
            (0..data.training).filter_map(|i| Some((scenes.of[i].as_deref()?, i))).collect();
        let both = |i: usize| Some((*learnt.get(scenes.of[i].as_deref()?)?, i));
        let pairs: Vec<(usize, usize)> = (data.training..data.pairs.len()).filter_map(both).collect();
        if pairs.is_empty() {
            return None;
        }
        let detail = |i: usize| format!("'{}'", scenes.of[i].as_deref().unwrap_or_default());
        let places = pairs.iter().map(|pair| place(data, *pair, &detail(pair.1))).collect();
        let message = format!(
            "{} of {} validation images have names of the same scene or sequence as training images",
            pairs.len(),
            data.pairs.len() - data.training
        );
        let finding = Finding::new(Kind::SceneNames, Severity::Note, message, places);
        let remedy = match data.points {
            true => format!("if so, scores will be too optimistic; {}", data.how_to_leave_out()),
            false => format!("if so, scores will be too optimistic; split by scene with {}", group_by_pattern(scenes)),
        };
        Some(finding.remedy(remedy))
    }

    /// A finding that becomes a warning about leakage if any pair is across the split; `None` without places.
    fn leak(&self, data: &Data, finding: Finding, across: usize) -> Option<Finding> {
        if finding.places.is_empty() {
            return None;
        }
        if across == 0 {
            // With tables, no images are set aside for validation.
            let remedy = if data.has_validation() || data.points { String::new() } else { self.split_by() };
            return Some(finding.remedy(remedy));
        }
        let how = if data.points { data.how_to_leave_out().to_owned() } else { self.split_by() };
        let remedy = format!("scores of the validation set will be too optimistic; {how}");
        Some(Finding { severity: Severity::Warning, ..finding }.remedy(remedy))
    }

    /// How to split so that related images stay together.
    fn split_by(&self) -> String {
        let all = || self.links.iter().map(|link| (link.first, link.second)).chain(self.placed.iter().copied());
        if let Some(scenes) = self.scenes.as_ref().filter(|scenes| scenes.is_complete())
            && all().all(|(a, b)| scenes.of[a] == scenes.of[b])
        {
            return format!("split by scene: give all images as training images, with {}", group_by_pattern(scenes));
        }
        if self.all_placed
            && self.links.iter().all(|link| self.placed.binary_search(&(link.first, link.second)).is_ok())
        {
            return "split by place: give all images as training images, with `val_fraction` 0.1 `group_by` georeference".into();
        }
        "split by scene: `write_groups` groups.csv writes which images belong together; then give all images as training \
         images, with `val_fraction` 0.1 `group_by` groups.csv"
            .into()
    }

    /// Group numbers: images that are linked, directly or through others, are in the same group.
    fn groups(&self, count: usize) -> Vec<usize> {
        let links = self.links.iter().map(|link| (link.first, link.second));
        linked(count, |link| links.chain(self.placed.iter().copied()).for_each(link))
    }
}

fn group_by_pattern(scenes: &Scenes) -> String {
    format!("`val_fraction` 0.1 `group_by` '{}'", scenes.pattern)
}

/// User-defined groups that the split separates.
fn grouped(data: &Data, by: &GroupBy) -> Option<Finding> {
    let groups = match by.groups(&data.pairs) {
        Ok(groups) => groups,
        Err(error) => return Some(Finding::new(Kind::SplitGroup, Severity::Error, error.to_string(), Vec::new())),
    };
    let mut learnt = std::collections::HashMap::new();
    groups[..data.training].iter().enumerate().for_each(|(i, group)| {
        learnt.entry(*group).or_insert(i);
    });
    let both = |i: usize| Some(place(data, (*learnt.get(&groups[i])?, i), ""));
    let places: Vec<Place> = (data.training..data.pairs.len()).filter_map(both).collect();
    let what = ("validation image", "in a group that is also in the training set");
    let remedy = format!("give all images as training images, with `val_fraction` 0.1 `group_by` '{by}'");
    Finding::about(Kind::SplitGroup, Severity::Warning, places, what, remedy)
}

fn is_across(data: &Data, (a, b): (usize, usize)) -> bool {
    data.side(a) != data.side(b)
}

fn across_text(across: usize) -> String {
    if across == 0 { String::new() } else { format!(", {across} of them on both sides of the split") }
}

fn place(data: &Data, (first, second): (usize, usize), detail: &str) -> Place {
    let across = if is_across(data, (first, second)) { "training and validation" } else { "" };
    let detail = [across, detail].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
    Place::two(data.image_path(first), data.image_path(second), detail)
}
