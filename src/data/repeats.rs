//! Images that a data set holds more than once, found by their content.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::path::Path;

use foldhash::quality::{FixedState, FoldHasher};

use crate::base::LabelMap;
use crate::image::{Image, Samples};

/// Floats that are hashed at a time.
const BLOCK: usize = 1024;

/// A decoded image and its labels as numbers that are the same for the same content, whatever the file's name and coding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of the image.
    pub image: u64,
    /// Of its labels.
    pub labels: u64,
}

impl Fingerprint {
    /// The number of an image.
    pub fn image(Image { size, bands, samples, .. }: &Image) -> u64 {
        let mut hasher = hasher();
        (size, bands).hash(&mut hasher);
        match samples {
            Samples::U8(samples) => samples.hash(&mut hasher),
            Samples::U16(samples) => samples.hash(&mut hasher),
            Samples::F32(samples) => samples.chunks(BLOCK).for_each(|samples| {
                samples.iter().map(|sample| sample.to_bits()).collect::<Vec<u32>>().hash(&mut hasher);
            }),
        }
        hasher.finish()
    }

    /// The number of a label map.
    pub fn labels(LabelMap { size, classes }: &LabelMap) -> u64 {
        let mut hasher = hasher();
        (size, classes).hash(&mut hasher);
        hasher.finish()
    }
}

/// Of the same numbers in every run.
fn hasher() -> FoldHasher<'static> {
    FixedState::with_seed(0).build_hasher()
}

/// An image of a data set.
pub type KnownImage<'a> = (&'a Path, Fingerprint);

/// What there is to say of images that are there more than once: within the training set, within the validation set, and in
/// both, where scores will be too good. Equal labels of different images are nothing unusual.
pub fn repeat_notes(train: &[KnownImage<'_>], validation: &[KnownImage<'_>]) -> Vec<String> {
    let within = [("training", train), ("validation", validation)].map(|(name, set)| note_within(name, set));
    let mut learnt = HashMap::new();
    for known in train {
        learnt.entry(known.1.image).or_insert(known.0);
    }
    let both: Vec<(&Path, &Path)> =
        validation.iter().filter_map(|(path, known)| Some((*path, *learnt.get(&known.image)?))).collect();
    let both = both.first().map(|(path, learnt)| {
        format!(
            "{} of {} validation images are also in the training set ({}): validation scores will be too optimistic",
            both.len(),
            validation.len(),
            same(path, learnt, "in both")
        )
    });
    within.into_iter().flatten().chain(both).collect()
}

fn note_within(name: &str, set: &[KnownImage<'_>]) -> Option<String> {
    let mut firsts: HashMap<u64, KnownImage<'_>> = HashMap::new();
    let (mut repeated, mut relabelled) = (Vec::new(), Vec::new());
    for &(path, known) in set {
        let Some((first, before)) = firsts.get(&known.image) else {
            firsts.insert(known.image, (path, known));
            continue;
        };
        repeated.push((path, *first));
        if before.labels != known.labels {
            relabelled.push((path, *first));
        }
    }
    let (path, first) = relabelled.first().or(repeated.first())?;
    let differ = match relabelled.len() {
        0 => String::new(),
        count => format!("; {count} of them with different labels"),
    };
    let (count, all) = (repeated.len(), set.len());
    Some(format!(
        "{count} of {all} {name} images repeat an earlier one ({}){differ}",
        same(path, first, "listed twice")
    ))
}

/// `what` is said where both are one file.
fn same(path: &Path, first: &Path, what: &str) -> String {
    if path == first {
        format!("{} is {what}", path.display())
    } else {
        format!("{} is the same image as {}", path.display(), first.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Size;

    const SIZE: Size = Size { width: 2, height: 1 };

    fn raster(samples: Samples) -> Image {
        Image::new(SIZE, 1, samples)
    }

    #[test]
    fn equal_content_has_an_equal_number() {
        let of = |samples: Samples| Fingerprint::image(&raster(samples));
        assert_eq!(of(Samples::U8(vec![1, 2])), of(Samples::U8(vec![1, 2])));
        assert_ne!(of(Samples::U8(vec![1, 2])), of(Samples::U8(vec![2, 1])));
        assert_eq!(of(Samples::F32(vec![1.5, f32::NAN])), of(Samples::F32(vec![1.5, f32::NAN])));
        assert_ne!(of(Samples::F32(vec![1.5, 2.0])), of(Samples::F32(vec![1.5, 2.5])));
        let high = Image { size: Size { width: 1, height: 2 }, ..raster(Samples::U8(vec![1, 2])) };
        assert_ne!(Fingerprint::image(&high), of(Samples::U8(vec![1, 2])));
    }

    fn known(set: &[(&'static str, u64, u64)]) -> Vec<KnownImage<'static>> {
        set.iter().map(|&(path, image, labels)| (Path::new(path), Fingerprint { image, labels })).collect()
    }

    #[test]
    fn repeated_images_are_noted_within_and_across_sets() {
        let train = known(&[("a", 1, 7), ("b", 2, 7), ("c", 1, 7), ("d", 3, 7)]);
        // Equal labels alone are nothing to tell.
        assert_eq!(repeat_notes(&train[..2], &train[3..]), Vec::<String>::new());
        assert_eq!(
            repeat_notes(&train, &[]),
            ["1 of 4 training images repeat an earlier one (c is the same image as a)"]
        );
        let validation = known(&[("v", 2, 7), ("b", 2, 8), ("w", 9, 7)]);
        assert_eq!(
            repeat_notes(&train[..2], &validation),
            [
                "1 of 3 validation images repeat an earlier one (b is the same image as v); 1 of them with different labels",
                "2 of 3 validation images are also in the training set (v is the same image as b): validation scores will be \
             too optimistic"
            ]
        );
        let twice = known(&[("a", 1, 7), ("a", 1, 7)]);
        assert_eq!(repeat_notes(&twice, &[]), ["1 of 2 training images repeat an earlier one (a is listed twice)"]);
        assert_eq!(
            repeat_notes(&twice[..1], &twice[..1]),
            ["1 of 1 validation images are also in the training set (a is in both): validation scores will be \
             too optimistic"]
        );
    }
}
