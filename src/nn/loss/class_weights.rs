//! What a pixel of each class counts.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::named_enum::usual_spelling;
use crate::base::{Error, Result, require};

/// What a pixel of each class counts. Written `"equal"`, `"auto"` or as a list of numbers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", expecting = "class weights must be `equal`, `auto`, or a number for each class")]
pub enum ClassWeights {
    /// The same.
    #[default]
    Equal,
    /// The median of the classes' frequencies over its own, counted from the training data; see [`median_frequency`].
    Auto,
    /// These, one a class.
    #[serde(untagged)]
    Given(Vec<f32>),
}

impl ClassWeights {
    /// Checks numbers that are given, for this many classes.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if they are not one a class, or not numbers from 0 up of which one is above 0.
    pub fn check(&self, classes: usize) -> Result<()> {
        let Self::Given(weights) = self else { return Ok(()) };
        check_numbers(weights)?;
        let (found, expected) = (weights.len(), format!("a list of {classes} numbers, one for each class"));
        require(found == classes, "class_weights", format!("a list of {found} numbers"), expected)
    }

    /// The numbers, one a class, or `None` if they are equal. The counts of pixels, one a class, are those of
    /// [`median_frequency`].
    ///
    /// # Errors
    ///
    /// As [`ClassWeights::check`].
    pub fn resolve(&self, pixels: &[u64], pixels_where_present: &[u64]) -> Result<Option<Vec<f32>>> {
        self.check(pixels.len())?;
        Ok(match self {
            Self::Equal => None,
            Self::Auto => Some(median_frequency(pixels, pixels_where_present)),
            Self::Given(weights) => Some(weights.clone()),
        })
    }
}

/// Says which number cannot be a weight.
pub(super) fn check_numbers(weights: &[f32]) -> Result<()> {
    for (class, weight) in weights.iter().enumerate() {
        let value = format!("{weight} for class {class}");
        require(weight.is_finite() && *weight >= 0.0, "class_weights", value, "0 or above")?;
    }
    let some = weights.iter().any(|weight| *weight > 0.0);
    require(some, "class_weights", "0 for every class", "above 0 for at least one class, or there is nothing to learn")
}

/// Median frequency balancing (arXiv 1411.4734): the frequency of a class is its share of the labelled pixels in the
/// images where it occurs, and its weight the median of the classes' frequencies over its own. `pixels` are the
/// pixels of each class, `pixels_where_present` all labelled pixels of the images where it occurs. A class that does
/// not occur has the weight 0 and is not in the median; that of an even number of classes is the mean of the middle
/// two.
///
/// # Panics
///
/// If the two are not of one length.
pub fn median_frequency(pixels: &[u64], pixels_where_present: &[u64]) -> Vec<f32> {
    assert_eq!(pixels.len(), pixels_where_present.len(), "two counts a class");
    let frequency = |(&own, &all): (&u64, &u64)| if own == 0 { 0.0 } else { own as f64 / all.max(own) as f64 };
    let frequencies: Vec<f64> = pixels.iter().zip(pixels_where_present).map(frequency).collect();
    let mut occurring: Vec<f64> = frequencies.iter().copied().filter(|frequency| *frequency > 0.0).collect();
    occurring.sort_by(f64::total_cmp);
    let Some(last) = occurring.len().checked_sub(1) else { return vec![0.0; pixels.len()] };
    let median = (occurring[last / 2] + occurring[last.div_ceil(2)]) / 2.0;
    frequencies.iter().map(|&own| if own > 0.0 { (median / own) as f32 } else { 0.0 }).collect()
}

impl FromStr for ClassWeights {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match usual_spelling(text).as_str() {
            "equal" => return Ok(Self::Equal),
            "auto" => return Ok(Self::Auto),
            _ => {}
        }
        let expected = "`equal`, `auto`, or a number for each class, such as 1,2.5,0.5";
        let number =
            |part: &str| part.parse().map_err(|_| Error::invalid("class_weights", format!("'{part}'"), expected));
        let weights = text.split(',').map(|part| number(part.trim())).collect::<Result<Vec<f32>>>()?;
        check_numbers(&weights)?;
        Ok(Self::Given(weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder {
        class_weights: ClassWeights,
    }

    #[test]
    fn they_are_words_or_numbers() {
        let cases = [
            ("class_weights = \"equal\"\n", ClassWeights::Equal),
            ("class_weights = \"auto\"\n", ClassWeights::Auto),
            ("class_weights = [1.0, 2.5]\n", ClassWeights::Given(vec![1.0, 2.5])),
        ];
        for (text, class_weights) in cases {
            let holder = Holder { class_weights };
            assert_eq!(toml::from_str::<Holder>(text).unwrap(), holder);
            assert_eq!(toml::to_string(&holder).unwrap(), text);
            let json = serde_json::to_string(&holder).unwrap();
            assert_eq!(serde_json::from_str::<Holder>(&json).unwrap(), holder);
        }
        let whole: Holder = toml::from_str("class_weights = [1, 2]").unwrap();
        assert_eq!(whole.class_weights, ClassWeights::Given(vec![1.0, 2.0]));
        assert_refused!(
            toml::from_str::<Holder>("class_weights = \"median\""),
            "median",
            "`equal`, `auto`, or a number for each class"
        );
    }

    #[test]
    fn they_are_read_from_a_flag() {
        assert_eq!("auto".parse::<ClassWeights>().unwrap(), ClassWeights::Auto);
        assert_eq!("equal".parse::<ClassWeights>().unwrap(), ClassWeights::Equal);
        assert_eq!("1, 2.5".parse::<ClassWeights>().unwrap(), ClassWeights::Given(vec![1.0, 2.5]));
        for wrong in ["", "median", "1,,2", "1;2", "1,-2", "nan,1", "0,0"] {
            assert_refused!(wrong.parse::<ClassWeights>(), "`class_weights` is");
        }
    }

    #[test]
    fn there_is_one_for_each_class() {
        let weights = ClassWeights::Given(vec![1.0, 2.0]);
        assert_eq!(weights.resolve(&[1, 1], &[2, 2]).unwrap(), Some(vec![1.0, 2.0]));
        assert_refused!(weights.resolve(&[1, 1, 1], &[3, 3, 3]), "a list of 2", "3 numbers");
        assert_eq!(ClassWeights::Equal.resolve(&[1], &[1]).unwrap(), None);
    }

    #[test]
    fn the_median_class_weighs_one() {
        // Frequencies 1/2, 1/10, 4/10.
        let weights = median_frequency(&[50, 10, 80], &[100, 100, 200]);
        assert_eq!(weights, [0.8, 4.0, 1.0]);
        // Frequencies 3/4 and 1/4: the median is 1/2.
        assert_eq!(median_frequency(&[75, 0, 25], &[100, 0, 100]), [0.5 / 0.75, 0.0, 2.0]);
        assert_eq!(median_frequency(&[0, 0], &[0, 0]), [0.0, 0.0]);
        assert_eq!(ClassWeights::Auto.resolve(&[5, 5], &[10, 10]).unwrap(), Some(vec![1.0, 1.0]));
    }
}
