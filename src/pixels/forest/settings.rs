//! What can be chosen about a forest.

use serde::{Deserialize, Serialize};

use super::MAX_TREES;
use crate::base::{Error, Result, require};

/// Settings of a forest. The defaults are those of scikit-learn's `RandomForestClassifier`, except that the
/// out-of-bag score is computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Number of trees; 100.
    pub trees: usize,
    /// Most splits between a root and a leaf; `None`: trees grow until their leaves are pure.
    pub max_depth: Option<usize>,
    /// Nodes of fewer samples are not split; 2. A sample that was drawn several times counts once.
    pub min_samples_split: usize,
    /// Fewest samples on either side of a split; 1. A sample that was drawn several times counts once.
    pub min_samples_leaf: usize,
    /// How many features a node tries; `sqrt`.
    pub features_per_split: FeaturesPerSplit,
    /// Whether every tree sees its own draw, with replacement, of the samples; `true`.
    pub bootstrap: bool,
    /// Samples in a tree's draw, as a share of all samples, above 0 and at most 1; 1.
    pub sample_share: f64,
    /// Weights of the classes; `equal`.
    pub class_weights: ClassWeights,
    /// Most values that a feature is rounded to while trees grow, 2 to 256; 256. Features with no more distinct values
    /// are not rounded.
    pub bins: usize,
    /// Whether the forest is scored on the samples that its trees did not see; `true`. Needs `bootstrap`.
    pub out_of_bag: bool,
    /// Seed of all random choices; 0. A run has it, not its recipe.
    #[serde(skip)]
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trees: 100,
            max_depth: None,
            min_samples_split: 2,
            min_samples_leaf: 1,
            features_per_split: FeaturesPerSplit::Sqrt,
            bootstrap: true,
            sample_share: 1.0,
            class_weights: ClassWeights::Equal,
            bins: MAX_BINS,
            out_of_bag: true,
            seed: 0,
        }
    }
}

/// How many features, drawn anew, a node tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", expecting = "`features_per_split` must be \"sqrt\", \"log2\", \"all\" or a number")]
pub enum FeaturesPerSplit {
    /// The root of the number of features, rounded down.
    Sqrt,
    /// The binary logarithm of the number of features, rounded down.
    Log2,
    /// Every feature.
    All,
    /// This many; all, if there are fewer.
    #[serde(untagged)]
    Number(usize),
}

impl FeaturesPerSplit {
    /// The number for this many features, at least 1.
    pub fn of(self, features: usize) -> usize {
        let number = match self {
            Self::Sqrt => features.isqrt(),
            Self::Log2 => features.checked_ilog2().unwrap_or(0) as usize,
            Self::All => features,
            Self::Number(number) => number.min(features),
        };
        number.max(1)
    }
}

/// How much the samples of each class count: in the impurity of nodes and in the probabilities of leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", expecting = "class_weights must be \"equal\", \"balanced\" or a list of numbers")]
pub enum ClassWeights {
    /// Every sample counts 1.
    Equal,
    /// Every class counts the same: `samples / (classes * samples of the class)`, over the classes that occur.
    Balanced,
    /// One number a class. Samples of a class with weight 0 are left out of the trees.
    #[serde(untagged)]
    Numbers(Vec<f64>),
}

/// The greatest class weight, and the inverse of the least: far from where sums would lose digits.
const MAX_WEIGHT: f64 = 1e9;

impl Settings {
    /// Refuses values that cannot work, by name.
    pub fn check(&self) -> Result<()> {
        let least = |name: &str, value: usize, least: usize| {
            require(value >= least, format!("forest.{name}"), value, format!("at least {least}"))
        };
        least("trees", self.trees, 1)?;
        least("max_depth", self.max_depth.unwrap_or(1), 1)?;
        least("min_samples_split", self.min_samples_split, 2)?;
        least("min_samples_leaf", self.min_samples_leaf, 1)?;
        if let FeaturesPerSplit::Number(number) = self.features_per_split {
            least("features_per_split", number, 1)?;
        }
        require(self.trees <= MAX_TREES, "forest.trees", self.trees, format!("at most {MAX_TREES}"))?;
        require((2..=MAX_BINS).contains(&self.bins), "forest.bins", self.bins, format!("2 to {MAX_BINS}"))?;
        let share = self.sample_share;
        require(share > 0.0 && share <= 1.0, "forest.sample_share", share, "above 0 and at most 1")?;
        if share != 1.0 && !self.bootstrap {
            return Err(Error::conflict("forest.sample_share", format!("{share} needs bootstrap = true")));
        }
        self.check_weights()
    }

    fn check_weights(&self) -> Result<()> {
        let ClassWeights::Numbers(weights) = &self.class_weights else { return Ok(()) };
        let usable = |weight: f64| weight == 0.0 || (1.0 / MAX_WEIGHT..=MAX_WEIGHT).contains(&weight);
        let Some(class) = weights.iter().position(|&weight| !usable(weight)) else { return Ok(()) };
        let value = format!("{} for class {class}", weights[class]);
        let expected = format!("0, or {:e} to {MAX_WEIGHT:e}", 1.0 / MAX_WEIGHT);
        Err(Error::invalid("forest.class_weights", value, expected))
    }

    /// The weight of every class that has this many samples each.
    pub(super) fn weights(&self, counts: &[usize]) -> Result<Vec<f64>> {
        match &self.class_weights {
            ClassWeights::Equal => Ok(vec![1.0; counts.len()]),
            ClassWeights::Balanced => {
                let present = counts.iter().filter(|&&count| count > 0).count();
                let samples: usize = counts.iter().sum();
                Ok(counts.iter().map(|&count: &usize| samples as f64 / (present * count.max(1)) as f64).collect())
            }
            ClassWeights::Numbers(weights) => self.check_classes(counts.len()).map(|()| weights.clone()),
        }
    }

    /// Refuses weights that are not one a class.
    pub(crate) fn check_classes(&self, classes: usize) -> Result<()> {
        let ClassWeights::Numbers(weights) = &self.class_weights else { return Ok(()) };
        let value = format!("a list of {} numbers", weights.len());
        let expected = format!("a list of {classes} numbers, one for each class");
        require(weights.len() == classes, "forest.class_weights", value, expected)
    }
}

/// Most bins: they are numbered by a byte.
pub(super) const MAX_BINS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_with_its_number() {
        let settings = Settings::default;
        let cases = [
            (Settings { trees: 0, ..settings() }, "trees` is 0"),
            (Settings { trees: 70_000, ..settings() }, "trees` is 70000"),
            (Settings { max_depth: Some(0), ..settings() }, "max_depth` is 0"),
            (Settings { min_samples_split: 1, ..settings() }, "min_samples_split` is 1"),
            (Settings { min_samples_leaf: 0, ..settings() }, "min_samples_leaf` is 0"),
            (Settings { features_per_split: FeaturesPerSplit::Number(0), ..settings() }, "features_per_split` is 0"),
            (Settings { bins: 1, ..settings() }, "bins` is 1"),
            (Settings { bins: 257, ..settings() }, "bins` is 257"),
            (Settings { sample_share: 0.0, ..settings() }, "sample_share` is 0"),
            (Settings { sample_share: f64::NAN, ..settings() }, "sample_share` is NaN"),
            (Settings { sample_share: 0.5, bootstrap: false, ..settings() }, "0.5 needs bootstrap"),
            (Settings { class_weights: ClassWeights::Numbers(vec![1.0, -2.0]), ..settings() }, "is -2 for class 1"),
            (Settings { class_weights: ClassWeights::Numbers(vec![f64::NAN]), ..settings() }, "is NaN for class 0"),
        ];
        for (settings, expected) in cases {
            assert_refused!(settings.check(), expected);
        }
        assert!(settings().check().is_ok());
    }

    #[test]
    fn settings_read_as_written_and_unknown_ones_are_refused() {
        let text = r#"{"trees": 7, "features_per_split": 5, "class_weights": [1, 0.5], "max_depth": null}"#;
        let settings: Settings = serde_json::from_str(text).unwrap();
        assert_eq!((settings.trees, settings.features_per_split), (7, FeaturesPerSplit::Number(5)));
        assert_eq!(settings.class_weights, ClassWeights::Numbers(vec![1.0, 0.5]));
        let again = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&again).unwrap(), settings);
        let text = r#"{"features_per_split": "log2", "class_weights": "balanced"}"#;
        let settings: Settings = serde_json::from_str(text).unwrap();
        assert_eq!(
            (settings.features_per_split, settings.class_weights),
            (FeaturesPerSplit::Log2, ClassWeights::Balanced)
        );
        assert!(serde_json::from_str::<Settings>(r#"{"tree": 7}"#).is_err());
        assert_refused!(
            serde_json::from_str::<Settings>(r#"{"features_per_split": "root"}"#),
            "\"sqrt\", \"log2\", \"all\" or a number"
        );
    }

    #[test]
    fn features_per_split_of_192_and_of_1() {
        let of = |features| {
            let number = FeaturesPerSplit::Number(50);
            [FeaturesPerSplit::Sqrt, FeaturesPerSplit::Log2, FeaturesPerSplit::All, number]
                .map(|each| each.of(features))
        };
        assert_eq!(of(192), [13, 7, 192, 50]);
        assert_eq!(of(1), [1, 1, 1, 1]);
    }
}
