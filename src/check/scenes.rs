//! Scenes inferred from the file names of tiles, such as `north` from `north_03_11.tif`.

use std::collections::HashMap;
use std::path::Path;

/// What separates the parts of a name.
const SEPARATORS: [char; 4] = ['_', '-', '.', ' '];
/// Minimum share of the images that must belong to a scene of more than one image.
const MIN_SHARE: f64 = 0.5;

/// Scenes inferred from file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scenes {
    /// The scene of each image; `None` if its name does not tell.
    pub(super) of: Vec<Option<String>>,
    /// A regular expression that captures the scene from a file name.
    pub(super) pattern: &'static str,
}

/// Patterns of names in which the scene is followed by two tile numbers, or by one.
const PATTERNS: [(usize, &str); 2] =
    [(2, r"^(.+)[._ -][A-Za-z]*[0-9]+[._ -][A-Za-z]*[0-9]+\.[^.]+$"), (1, r"^(.+)[._ -][A-Za-z]*[0-9]+\.[^.]+$")];

impl Scenes {
    /// The scenes of images; `None` if there is only one, or if too few images share a scene.
    pub(super) fn of(images: &[&Path]) -> Option<Self> {
        PATTERNS.into_iter().find_map(|(numbers, pattern)| {
            let of: Vec<Option<String>> = images.iter().map(|image| scene(image, numbers)).collect();
            let mut sizes: HashMap<&str, usize> = HashMap::new();
            of.iter().flatten().for_each(|scene| *sizes.entry(scene).or_insert(0) += 1);
            let in_scenes: usize = sizes.values().filter(|size| **size > 1).sum();
            let tells = sizes.len() > 1 && in_scenes as f64 >= MIN_SHARE * images.len() as f64;
            tells.then_some(Self { of, pattern })
        })
    }

    /// Whether every image has a scene.
    pub(super) fn is_complete(&self) -> bool {
        self.of.iter().all(Option::is_some)
    }
}

/// The stem without the given number of tile numbers at its end.
fn scene(image: &Path, numbers: usize) -> Option<String> {
    let stem = image.file_stem()?.to_str()?;
    let mut rest = stem;
    for _ in 0..numbers {
        let (before, last) = rest.rsplit_once(SEPARATORS)?;
        let digits = last.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
            return None;
        }
        rest = before;
    }
    (!rest.is_empty()).then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use regex::Regex;

    use super::*;

    fn scenes(names: &[&str]) -> Option<(usize, &'static str)> {
        let images: Vec<&Path> = names.iter().map(Path::new).collect();
        let found = Scenes::of(&images)?;
        let pattern = Regex::new(found.pattern).unwrap();
        for (name, scene) in names.iter().zip(&found.of) {
            let captured = pattern.captures(name).map(|captures| captures[1].to_owned());
            assert_eq!(&captured, scene, "{name}");
        }
        Some((found.of.iter().flatten().collect::<HashSet<_>>().len(), found.pattern))
    }

    #[test]
    fn tile_numbers_at_the_end_of_names_leave_the_scene() {
        let [two, one] = PATTERNS.map(|(_, pattern)| pattern);
        assert_eq!(scenes(&["a_1_1.tif", "a_1_2.tif", "b_r2_c3.tif", "b_1_7.tif"]), Some((2, two)));
        assert_eq!(
            scenes(&["0016E5_07959.png", "0016E5_07965.png", "0001TP_006690.png", "0001TP_1.png"]),
            Some((2, one))
        );
        assert_eq!(scenes(&["041869.000003.tif", "041869.000005.tif", "041870.1.tif"]), Some((2, one)));
        for names in [["img_1.png", "img_2.png"], ["a.png", "b.png"], ["a_1.png", "b_1.png"]] {
            assert_eq!(scenes(&names), None, "{names:?}");
        }
    }
}
