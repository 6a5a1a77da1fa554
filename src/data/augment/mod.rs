//! Random changes of a training sample, image and labels together.
//!
//! They act on samples between 0 and 1, before normalisation. Pixels that carry no measurement, and those that a change
//! leaves uncovered, are NaN in the image; labels of uncovered pixels are [`crate::base::label_map::IGNORE`], never a class.

mod blur;
mod check;
mod crop;
mod geometry;
mod parse;
mod photometric;
mod reach;
mod rotate;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::sample::Sample;
pub use reach::{largest_after, largest_after_all};

use crate::base::Size;
use crate::image::Scaling;

/// A change and how often it is made. A recipe writes it as a name (`"flip-horizontal"`) or as a table
/// (`{ kind = "rotate", degrees = 10, probability = 0.5 }`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "parse::NameOrTable")]
pub struct Augmentation {
    /// What is done.
    #[serde(flatten)]
    pub change: Change,
    /// How often, 0 to 1. Where a recipe is silent: 1/2 for flips, `rotate180`, `color-jitter`, `blur` and `noise`, 1
    /// for the others.
    pub probability: f64,
}

/// What is done to a sample. Images are mixed linearly, labels are those of the nearest pixel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Change {
    /// Left and right exchanged.
    FlipHorizontal {},
    /// Top and bottom exchanged.
    FlipVertical {},
    /// Turned by 180 degrees.
    Rotate180 {},
    /// Turned by 0, 90, 180 or 270 degrees, each as often; a quarter turn exchanges width and height.
    Rotate90 {},
    /// Turned about the centre by an angle drawn evenly, at the same size; the corners that come in are uncovered.
    Rotate {
        /// Largest angle to either side, up to 180.
        degrees: f64,
    },
    /// Enlarged or reduced by a factor drawn evenly, without averaging over the pixels that fall together, as
    /// hszhao/semseg and mmsegmentation do it.
    Scale {
        /// Smallest factor.
        min: f64,
        /// Largest factor.
        max: f64,
        /// Smallest and largest ratio of the factor across to the factor down; 1 if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        aspect: Option<[f64; 2]>,
    },
    /// Resized, averaging where it shrinks, to a short side that is drawn once for all samples of a batch, as CSAIL
    /// does, so that little of a batch is filled up.
    ResizeShort {
        /// Short sides in pixels, each as often.
        sides: Vec<usize>,
        /// The long side's limit in pixels, which goes before the short side.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        longest: Option<usize>,
        /// Both sides are then filled up, at the right and the bottom, to a multiple of this.
        #[serde(default = "one")]
        multiple: usize,
    },
    /// Resized, averaging where it shrinks.
    Resize {
        /// To this size, whatever the aspect ratio.
        size: Extent,
    },
    /// A window at a place drawn evenly. Smaller images are filled up, half on either side.
    Crop {
        /// Of this size.
        size: Extent,
        /// Drawn again, up to ten times, while one class has this share of the labelled pixels or more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_class_share: Option<f64>,
    },
    /// Brightness, contrast, saturation and hue by random amounts in random order, as torchvision's `ColorJitter`.
    /// Brightness and contrast change all bands; saturation and hue change images of three bands only. Samples stay
    /// between 0 and 1, or in the image's own range where that is wider.
    ColorJitter {
        /// Samples times 1 ± this.
        #[serde(default)]
        brightness: f64,
        /// Distance from the image's mean times 1 ± this.
        #[serde(default)]
        contrast: f64,
        /// Distance from grey times 1 ± this.
        #[serde(default)]
        saturation: f64,
        /// Hue turned by ± this share of the colour circle, at most 1/2.
        #[serde(default)]
        hue: f64,
    },
    /// Gaussian blur.
    Blur {
        /// Smallest and largest standard deviation in pixels, drawn evenly.
        sigma: [f64; 2],
        /// Pixels that the kernel reaches to each side; three standard deviations if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        radius: Option<usize>,
    },
    /// Gaussian noise, every sample by itself.
    Noise {
        /// Its standard deviation, in units of the range of samples from 0 to 1.
        std: f64,
    },
}

fn one() -> usize {
    1
}

/// A size as recipes write it: one side, or height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a side in pixels, or [height, width]")]
pub enum Extent {
    /// Both sides.
    Square(usize),
    /// Height and width.
    Sides([usize; 2]),
}

impl Extent {
    /// In pixels.
    pub fn size(self) -> Size {
        match self {
            Self::Square(side) => Size { width: side, height: side },
            Self::Sides([height, width]) => Size { width, height },
        }
    }
}

/// What chance decides for one sample.
pub(super) struct Draws {
    /// The sample's own.
    pub(super) own: ChaCha8Rng,
    /// The same for all samples of a batch.
    pub(super) shared: ChaCha8Rng,
    /// The class that the sample was chosen for: a crop shows it.
    pub(super) class: Option<u16>,
}

impl From<Change> for Augmentation {
    /// With the probability that holds where none is given.
    fn from(change: Change) -> Self {
        let probability = match change {
            Change::FlipHorizontal {}
            | Change::FlipVertical {}
            | Change::Rotate180 {}
            | Change::ColorJitter { .. }
            | Change::Blur { .. }
            | Change::Noise { .. } => 0.5,
            Change::Rotate90 {}
            | Change::Rotate { .. }
            | Change::Scale { .. }
            | Change::ResizeShort { .. }
            | Change::Resize { .. }
            | Change::Crop { .. } => 1.0,
        };
        Self { change, probability }
    }
}

impl Augmentation {
    /// Draws whether to change the sample, and does it.
    pub(super) fn apply(&self, sample: &mut Sample, draws: &mut Draws) {
        if draws.own.random_bool(self.probability.clamp(0.0, 1.0)) {
            self.change.apply(sample, draws);
        }
    }
}

impl Change {
    fn apply(&self, sample: &mut Sample, draws: &mut Draws) {
        let size = sample.labels.size;
        match self {
            Self::FlipHorizontal {} => geometry::flip_horizontal(sample),
            Self::FlipVertical {} => geometry::flip_vertical(sample),
            Self::Rotate180 {} => geometry::quarter_turns(sample, 2),
            Self::Rotate90 {} => geometry::quarter_turns(sample, draws.own.random_range(0..4)),
            Self::Rotate { degrees } => rotate::rotate(sample, even(&mut draws.own, [-degrees, *degrees])),
            Self::Scale { min, max, aspect } => {
                let factor = even(&mut draws.own, [*min, *max]);
                let stretch = aspect.map_or(1.0, |range| even(&mut draws.own, range).sqrt());
                geometry::resize(sample, scaled(size, factor * stretch, factor / stretch), Scaling::OpenCv);
            }
            Self::ResizeShort { sides, longest, multiple } => {
                let side = sides[draws.shared.random_range(0..sides.len())];
                let to = with_short_side(size, side, *longest);
                geometry::resize(sample, to, Scaling::Pillow);
                let whole = |side: usize| side.next_multiple_of(*multiple);
                geometry::window(sample, (0, 0), Size { width: whole(to.width), height: whole(to.height) });
            }
            Self::Resize { size } => geometry::resize(sample, size.size(), Scaling::Pillow),
            Self::Crop { size, max_class_share } => crop::crop(sample, size.size(), *max_class_share, draws),
            Self::ColorJitter { brightness, contrast, saturation, hue } => {
                photometric::jitter(sample, [*brightness, *contrast, *saturation, *hue], &mut draws.own);
            }
            Self::Blur { sigma, radius } => blur::blur(sample, even(&mut draws.own, *sigma), *radius),
            Self::Noise { std } => photometric::noise(sample, *std, &mut draws.own),
        }
    }
}

/// A number drawn evenly between two.
fn even(rng: &mut ChaCha8Rng, [low, high]: [f64; 2]) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

fn scaled(size: Size, across: f64, down: f64) -> Size {
    let side = |side: usize, factor: f64| ((side as f64 * factor).round_ties_even() as usize).max(1);
    Size { width: side(size.width, across), height: side(size.height, down) }
}

/// CSAIL's training size: the short side as asked unless the long one then passes its limit; fractions are cut off.
fn with_short_side(size: Size, short: usize, longest: Option<usize>) -> Size {
    let (least, most) = (size.width.min(size.height), size.width.max(size.height));
    let by_longest = longest.map_or(f64::INFINITY, |longest| longest as f64 / most as f64);
    let scale = (short as f64 / least as f64).min(by_longest);
    let side = |side: usize| ((side as f64 * scale) as usize).max(1);
    Size { width: side(size.width), height: side(size.height) }
}

#[cfg(test)]
pub(super) mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::base::label_map::{IGNORE, LabelMap};

    /// Draws of a seed.
    pub(crate) fn draws(seed: u64) -> Draws {
        let rng = ChaCha8Rng::seed_from_u64;
        Draws { own: rng(seed), shared: rng(seed + 1_000), class: None }
    }

    /// A sample of one band whose value is its class.
    pub(crate) fn coded(width: usize, classes: &[u16]) -> Sample {
        let size = Size { width, height: classes.len() / width };
        let planes = classes.iter().map(|&class| if class == IGNORE { f32::NAN } else { f32::from(class) }).collect();
        Sample { planes, labels: LabelMap { size, classes: classes.to_vec() } }
    }

    /// Vertical stripes of classes 0, 1, 2, each `stripe` wide, in two bands.
    fn stripes(size: Size, stripe: usize) -> Sample {
        let classes: Vec<u16> = (0..size.width * size.height).map(|i| (i % size.width / stripe % 3) as u16).collect();
        let mut sample = coded(size.width, &classes);
        sample.planes.extend_from_within(..);
        sample
    }

    #[test]
    fn image_and_labels_move_together() {
        let text = "flip-horizontal,flip-vertical,rotate90,rotate180,rotate=90,scale=0.5:2,resize-short=40:60,\
                    resize=50:70,crop=48";
        for augmentation in Augmentation::parse_list(text).unwrap() {
            let mut agreeing = 0.0;
            for seed in 0..20 {
                let mut sample = stripes(Size { width: 61, height: 47 }, 12);
                augmentation.change.apply(&mut sample, &mut draws(seed));
                let pixels = sample.labels.classes.len();
                assert_eq!(sample.planes.len(), 2 * pixels, "{augmentation:?}");
                assert_eq!(pixels, sample.labels.size.width * sample.labels.size.height);
                let (first, second) = sample.planes.split_at(pixels);
                let same = |(value, class): (&f32, &u16)| match *class {
                    IGNORE => value.is_nan(),
                    class => (value - f32::from(class)).abs() < 0.51,
                };
                let right = first.iter().zip(&sample.labels.classes).filter(|pair| same(*pair)).count();
                agreeing += right as f64 / pixels as f64 / 20.0;
                assert!(first.iter().zip(second).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
            // Between the third stripe and the first, mixtures pass through the second's value.
            assert!(agreeing > 0.97, "{augmentation:?}: {agreeing}");
        }
    }

    #[test]
    fn draws_are_as_likely_as_asked() {
        let change = Augmentation { probability: 0.3, ..Augmentation::from(Change::FlipHorizontal {}) };
        let mut draws = draws(5);
        let mut changed = 0;
        for _ in 0..2_000 {
            let mut sample = coded(2, &[0, 1]);
            change.apply(&mut sample, &mut draws);
            changed += usize::from(sample.labels.classes == [1, 0]);
        }
        assert!((540..660).contains(&changed), "{changed}");
        let mut never = coded(2, &[0, 1]);
        Augmentation { probability: 0.0, ..change.clone() }.apply(&mut never, &mut draws);
        assert_eq!(never.labels.classes, [0, 1]);
        let mut turns = [0; 4];
        for _ in 0..2_000 {
            let mut sample = coded(2, &[0, 1, 2, 3]);
            Change::Rotate90 {}.apply(&mut sample, &mut draws);
            turns[usize::from(sample.labels.classes[0])] += 1;
        }
        assert!(turns.iter().all(|count| (420..580).contains(count)), "{turns:?}");
    }

    #[test]
    fn scales_cover_their_range() {
        let mut draws = draws(1);
        let mut widths: Vec<usize> = (0..400)
            .map(|_| {
                let mut sample = coded(100, &[0; 200]);
                Change::Scale { min: 0.5, max: 2.0, aspect: None }.apply(&mut sample, &mut draws);
                sample.labels.size.width
            })
            .collect();
        widths.sort_unstable();
        assert!(widths[0] >= 50 && widths[0] < 54 && widths[399] > 195 && widths[399] <= 200);
        assert!((115..136).contains(&widths[200]), "{}", widths[200]);
        let mut sample = coded(100, &[0; 10_000]);
        Change::Scale { min: 1.0, max: 1.0, aspect: Some([1.44, 1.44]) }.apply(&mut sample, &mut draws);
        assert_eq!(sample.labels.size, Size { width: 120, height: 83 });
    }

    #[test]
    fn the_short_side_is_csails_and_one_for_a_batch() {
        let size = Size { width: 683, height: 512 };
        assert_eq!(with_short_side(size, 300, Some(1000)), Size { width: 400, height: 300 });
        // 1000/683 goes before 900/512.
        assert_eq!(with_short_side(size, 900, Some(1000)), Size { width: 1000, height: 749 });
        let change = Change::ResizeShort { sides: vec![8, 16, 24], longest: None, multiple: 8 };
        for seed in 0..10 {
            let size = |width: usize, own: u64| {
                let mut sample = coded(width, &vec![1; width * 12]);
                let mut draws = Draws { own: ChaCha8Rng::seed_from_u64(own), ..draws(seed) };
                change.apply(&mut sample, &mut draws);
                let ignored = sample.labels.classes.iter().filter(|class| **class == IGNORE).count();
                assert_eq!(ignored, sample.planes.iter().filter(|value| value.is_nan()).count());
                sample.labels.size
            };
            let (one, other) = (size(12, 1), size(15, 2));
            assert_eq!((one.width, one.height), (other.height, other.height));
            assert_eq!(other.width, (one.width * 15 / 12).next_multiple_of(8));
        }
    }
}
