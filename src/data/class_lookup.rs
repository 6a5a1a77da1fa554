//! Classes by the names that annotation files have for them.

use std::path::Path;

use super::dataset::Dataset;
use crate::base::label_map::IGNORE;
use crate::base::{Error, Result};

/// What annotation tools call what is no object, in small letters.
const BACKGROUND: [&str; 3] = ["background", "_background_", "bg"];
/// Names that mean that a pixel has no label.
const UNLABELLED: [&str; 8] =
    ["void", "ignore", "ignored", "unlabeled", "unlabelled", "not labeled", "not labelled", "no label"];
/// Most names that an error suggests, and how alike they must be, from 0 to 1.
const MAX_NEAREST: usize = 3;
const ALIKE: f64 = 0.7;

/// Whether a name stands for the background.
pub(super) fn means_background(name: &str) -> bool {
    BACKGROUND.contains(&plain(name).as_str())
}

/// Whether a name stands for regions without a label.
pub(super) fn means_unlabelled(name: &str) -> bool {
    UNLABELLED.contains(&plain(name).trim_matches('_').replace(['_', '-'], " ").as_str())
}

fn plain(name: &str) -> String {
    name.trim().to_lowercase()
}

impl Dataset {
    /// The class of a name, as it is written or but for capitals and blanks around it; [`IGNORE`] of a name such as `void`
    /// that no class has.
    pub fn class_named(&self, name: &str) -> Option<u16> {
        let place = |is_it: &dyn Fn(&str) -> bool| {
            let place = self.classes.iter().position(|class| class.names().any(is_it))?;
            u16::try_from(place).ok()
        };
        let wanted = plain(name);
        let known = place(&|known| known == name).or_else(|| place(&|known| plain(known) == wanted));
        known
            .or_else(|| if means_background(name) { self.background_class() } else { None })
            .or_else(|| means_unlabelled(name).then_some(IGNORE))
    }

    /// The class of what no shape covers: the one called background, if there is one.
    pub fn background_class(&self) -> Option<u16> {
        let place = self.classes.iter().position(|class| means_background(&class.name))?;
        u16::try_from(place).ok()
    }

    /// The error for a name in a file that no class has, with the nearest names.
    pub(super) fn unknown_class(&self, name: &str, file: &Path) -> Error {
        let mut names: Vec<(f64, &str)> = self
            .classes
            .iter()
            .flat_map(|class| class.names())
            .map(|known| (strsim::jaro_winkler(&plain(known), &plain(name)), known))
            .collect();
        names.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        names.truncate(MAX_NEAREST);
        let alike = names.iter().take_while(|(likeness, _)| *likeness >= ALIKE).count();
        let (begin, shown) = if alike == 0 { ("it has", &names[..]) } else { ("nearest:", &names[..alike]) };
        let shown: Vec<String> = shown.iter().map(|(_, known)| format!("'{known}'")).collect();
        let nearest = format!("{begin} {}", shown.join(", "));
        let reason = format!(
            "names class '{name}', which data set '{}' does not have ({nearest}); rename it there, list it as one of the \
             `other_names` of a class in the data set file, or leave out `dataset` to have the classes of the annotations",
            self.name
        );
        Error::content(file, reason)
    }

    /// The class of a name in a file, or the error that lists the nearest.
    pub(super) fn expect_class(&self, name: &str, file: &Path) -> Result<u16> {
        self.class_named(name).ok_or_else(|| self.unknown_class(name, file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_written_then_without_regard_to_capitals() {
        let seeps = Dataset::find("seeps").unwrap();
        let found = |name: &str| seeps.class_named(name);
        assert_eq!(["seep 1", " Seep 2 ", "background", "_background_", "BG"].map(found), [1, 2, 0, 0, 0].map(Some));
        assert_eq!([found("__ignore__"), found("Void"), found("seep")], [Some(IGNORE), Some(IGNORE), None]);
        assert_eq!(seeps.background_class(), Some(0));
        // Merged classes keep their names.
        let merged = seeps.merged();
        assert_eq!(
            ["seep 1", "seep 7", "seep", "background"].map(|name| merged.class_named(name)),
            [1, 1, 1, 0].map(Some)
        );
        let core = Dataset::find("core").unwrap();
        assert_eq!((core.background_class(), core.class_named("bg")), (None, None));
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_nearest() {
        let demo = Dataset::find("camvid").unwrap();
        assert_refused!(demo.expect_class("Bicycle", Path::new("a.json")), "a.json: ", "'Bicycle'", "'Bicyclist'");
        assert_refused!(demo.expect_class("zzz", Path::new("a.json")), "it has ");
    }
}
