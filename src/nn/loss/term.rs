//! The losses that a recipe can name.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::region::{Over, Region};
use crate::base::named_enum::{kind_of, usual_spelling};
use crate::base::{Error, Result, require};
use crate::nn::activation::Activation;

/// One summand of a loss, as a recipe writes it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossTerm {
    /// What is computed.
    #[serde(flatten)]
    pub kind: LossKind,
    /// Its factor in the sum.
    #[serde(default = "one")]
    pub weight: f64,
}

/// A loss.
///
/// The losses of overlap (Dice, Jaccard, Tversky, focal Tversky) count true positives `TP = sum p t`, false positives
/// `FP = sum p (1 - t)` and false negatives `FN = sum (1 - p) t` over the labelled pixels of the whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LossKind {
    /// Softmax cross-entropy: the mean over the labelled pixels; with class weights divided by the sum of the pixels'
    /// weights, as in PyTorch. Needs a softmax.
    CrossEntropy {
        /// Share of the truth that is spread over all classes, as PyTorch's `label_smoothing` (arXiv 1512.00567).
        #[serde(default)]
        label_smoothing: f64,
    },
    /// Cross-entropy over the hard pixels only (online hard example mining, arXiv 1604.03540, in the form of
    /// hszhao/semseg and mmsegmentation). Needs a softmax.
    OhemCrossEntropy {
        /// Pixels whose class has a probability below this are hard.
        #[serde(default = "threshold")]
        threshold: f64,
        /// For every image of the batch at least this many of the batch's least probable pixels count; all labelled
        /// pixels if there are fewer.
        #[serde(default = "min_kept")]
        min_kept: usize,
    },
    /// Binary cross-entropy: the mean over labelled pixels and outputs. The weight of a class is a factor where it is
    /// there, that of class 0 where an output's class is not. Needs a sigmoid.
    Bce {},
    /// Focal loss, `-(1 - p)^gamma log p` for the probability `p` of what is true (arXiv 1708.02002). With a softmax
    /// the mean is cross-entropy's, with a sigmoid BCE's; class weights likewise.
    Focal {
        /// How much pixels that are already right are played down; 0 for not at all.
        #[serde(default = "gamma")]
        gamma: f64,
        /// A factor on classes that are there; `1 - alpha` that on the background (softmax) or on classes that are not
        /// there (sigmoid).
        alpha: Option<f64>,
    },
    /// Soft Dice, `1 - (2 TP + smooth) / (2 TP + FP + FN + smooth)` (arXiv 1606.04797).
    Dice(Overlap),
    /// Soft Jaccard, `1 - (TP + smooth) / (TP + FP + FN + smooth)`.
    Jaccard(Overlap),
    /// Tversky, `1 - TI` with `TI = (TP + smooth) / (TP + false_positives FP + false_negatives FN + smooth)`
    /// (arXiv 1706.05721).
    Tversky {
        /// Weight of the false positives.
        #[serde(default = "false_positives")]
        false_positives: f64,
        /// Weight of the false negatives.
        #[serde(default = "false_negatives")]
        false_negatives: f64,
        /// As [`Overlap::smooth`].
        #[serde(default = "one")]
        smooth: f64,
        /// As [`Overlap::over`].
        #[serde(default)]
        over: Over,
        /// As [`Overlap::background`].
        #[serde(default)]
        background: bool,
    },
    /// A power of the Tversky loss (arXiv 1810.07842).
    FocalTversky {
        /// Which power.
        #[serde(default)]
        form: FocalForm,
        /// See the forms.
        #[serde(default = "focal_tversky_gamma")]
        gamma: f64,
        /// Weight of the false positives.
        #[serde(default = "false_positives")]
        false_positives: f64,
        /// Weight of the false negatives.
        #[serde(default = "false_negatives")]
        false_negatives: f64,
        /// As [`Overlap::smooth`].
        #[serde(default = "one")]
        smooth: f64,
        /// As [`Overlap::over`].
        #[serde(default)]
        over: Over,
        /// As [`Overlap::background`].
        #[serde(default)]
        background: bool,
    },
    /// Lovasz-softmax, the mean over the classes that occur; with a sigmoid the Lovasz hinge, the mean over outputs
    /// (arXiv 1705.08790).
    Lovasz {
        /// Whether it is the mean over images of the loss of each; else the loss of the batch.
        #[serde(default)]
        per_image: bool,
    },
}

/// Settings of the losses of overlap.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlap {
    /// Added to numerator and denominator.
    #[serde(default = "one")]
    pub smooth: f64,
    /// What is counted together.
    #[serde(default)]
    pub over: Over,
    /// Whether class 0 takes part; for a softmax.
    #[serde(default)]
    pub background: bool,
}

/// How the focal Tversky loss is focused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FocalForm {
    /// `(1 - TI)^(1 / gamma)`, as the paper has it: above 1, gamma plays up what is almost right.
    #[default]
    Paper,
    /// `(1 - TI)^gamma`, as the oil-seep system has it: above 1, gamma plays down what is almost right.
    Seeps,
}

fn one() -> f64 {
    1.0
}

fn threshold() -> f64 {
    0.7
}

fn min_kept() -> usize {
    100_000
}

fn gamma() -> f64 {
    2.0
}

fn false_positives() -> f64 {
    0.3
}

fn false_negatives() -> f64 {
    0.7
}

fn focal_tversky_gamma() -> f64 {
    4.0 / 3.0
}

const KINDS: [&str; 9] =
    ["cross-entropy", "ohem-cross-entropy", "bce", "focal", "dice", "jaccard", "tversky", "focal-tversky", "lovasz"];

/// Losses from a text such as `cross-entropy+0.5*dice`: names as in recipes, each with its other settings at their
/// defaults and, before a star, its weight.
///
/// # Errors
///
/// [`Error::Unknown`] or [`Error::Invalid`] if a name is unknown or a weight is no number from 0 up.
pub fn parse_terms(text: &str) -> Result<Vec<LossTerm>> {
    text.split('+').map(|term| parse_term(term.trim())).collect()
}

fn parse_term(text: &str) -> Result<LossTerm> {
    let (weight, name) = text.split_once('*').map_or((None, text), |(weight, name)| (Some(weight.trim()), name.trim()));
    let kind = json!({ "kind": usual_spelling(name) });
    let known = format!("{}. A sum is written cross-entropy+0.5*dice", KINDS.join(", "));
    let mut term: LossTerm = serde_json::from_value(kind).map_err(|_| Error::unknown("loss", name, &[&known]))?;
    if let Some(weight) = weight {
        let number = weight.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
        let wrong = || Error::invalid(format!("loss.{name}.weight"), format!("'{weight}'"), "a number from 0 up");
        term.weight = number.ok_or_else(wrong)?;
    }
    Ok(term)
}

impl LossTerm {
    /// Its name in recipes.
    pub fn name(&self) -> &'static str {
        kind_of(&self.kind, &KINDS)
    }

    /// Whether the weights of the classes count in it.
    pub fn takes_class_weights(&self) -> bool {
        use LossKind::{Bce, CrossEntropy, Focal, OhemCrossEntropy};
        matches!(self.kind, CrossEntropy { .. } | OhemCrossEntropy { .. } | Bce {} | Focal { .. })
    }

    /// Says what is wrong with it.
    pub(super) fn check(&self, activation: Activation) -> Result<()> {
        let name = self.name();
        let fault = |reason: &str| Err(Error::conflict(format!("loss.{name}"), reason));
        match (self.kind, activation) {
            (LossKind::CrossEntropy { .. } | LossKind::OhemCrossEntropy { .. }, Activation::Sigmoid) => {
                return fault("needs a softmax; with activation = \"sigmoid\" use `bce`");
            }
            (LossKind::Bce {}, Activation::Softmax) => {
                return fault("needs a sigmoid; with activation = \"softmax\" use `cross-entropy`");
            }
            _ => {}
        }
        for (field, value, range) in self.numbers() {
            require(range.holds(value), format!("loss.{name}.{field}"), value, range.words())?;
        }
        match (self.kind, self.region()) {
            (LossKind::OhemCrossEntropy { min_kept: 0, .. }, _) => {
                Err(Error::invalid(format!("loss.{name}.min_kept"), 0, "at least 1"))
            }
            (_, Some(region)) if region.false_positives + region.false_negatives == 0.0 => {
                fault("has `false_positives` and `false_negatives` that are both 0; set one above 0")
            }
            (_, Some(Region { background: true, .. })) if activation == Activation::Sigmoid => {
                fault("with `background` needs a softmax: with a sigmoid the background has no output")
            }
            _ => Ok(()),
        }
    }

    /// Its numbers with their names and ranges.
    fn numbers(&self) -> Vec<(&'static str, f64, Range)> {
        let mut numbers = vec![("weight", self.weight, Range::FromZero)];
        match self.kind {
            LossKind::CrossEntropy { label_smoothing: share } => {
                numbers.push(("label_smoothing", share, Range::BelowOne))
            }
            LossKind::OhemCrossEntropy { threshold, .. } => numbers.push(("threshold", threshold, Range::Share)),
            LossKind::Focal { gamma, alpha } => {
                numbers.push(("gamma", gamma, Range::FromZero));
                numbers.extend(alpha.map(|alpha| ("alpha", alpha, Range::Share)));
            }
            LossKind::FocalTversky { gamma, .. } => numbers.push(("gamma", gamma, Range::AboveZero)),
            _ => {}
        }
        if let Some(region) = self.region() {
            numbers.push(("smooth", region.smooth, Range::FromZero));
            numbers.push(("false_positives", region.false_positives, Range::FromZero));
            numbers.push(("false_negatives", region.false_negatives, Range::FromZero));
        }
        numbers
    }

    /// As a loss of overlap, if it is one.
    pub(super) fn region(&self) -> Option<Region> {
        let (shares, exponent, smooth, over, background) = match self.kind {
            LossKind::Dice(Overlap { smooth, over, background }) => ([0.5; 2], 1.0, smooth / 2.0, over, background),
            LossKind::Jaccard(Overlap { smooth, over, background }) => ([1.0; 2], 1.0, smooth, over, background),
            LossKind::Tversky { false_positives, false_negatives, smooth, over, background } => {
                ([false_positives, false_negatives], 1.0, smooth, over, background)
            }
            LossKind::FocalTversky { form, gamma, false_positives, false_negatives, smooth, over, background } => {
                let exponent = if form == FocalForm::Paper { 1.0 / gamma } else { gamma };
                ([false_positives, false_negatives], exponent, smooth, over, background)
            }
            _ => return None,
        };
        let [false_positives, false_negatives] = shares;
        Some(Region { weight: self.weight, false_positives, false_negatives, exponent, smooth, over, background })
    }
}

/// What a number may be.
#[derive(Debug, Clone, Copy)]
enum Range {
    FromZero,
    AboveZero,
    /// From 0 to 1.
    Share,
    /// From 0 to below 1.
    BelowOne,
}

impl Range {
    fn holds(self, value: f64) -> bool {
        value.is_finite()
            && match self {
                Self::FromZero => value >= 0.0,
                Self::AboveZero => value > 0.0,
                Self::Share => (0.0..=1.0).contains(&value),
                Self::BelowOne => (0.0..1.0).contains(&value),
            }
    }

    fn words(self) -> &'static str {
        match self {
            Self::FromZero => "0 or above",
            Self::AboveZero => "above 0",
            Self::Share => "from 0 to 1",
            Self::BelowOne => "0 or above and below 1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Holder {
        loss: Vec<LossTerm>,
    }

    fn from_toml(text: &str) -> LossTerm {
        toml::from_str::<Holder>(&format!("loss = [{{ {text} }}]")).unwrap().loss[0]
    }

    #[test]
    fn every_loss_has_defaults_and_its_name() {
        for name in KINDS {
            let terms = parse_terms(name).unwrap();
            assert_eq!((terms.len(), terms[0].name(), terms[0].weight), (1, name, 1.0));
            let json = serde_json::to_value(terms[0]).unwrap();
            assert_eq!(json["kind"], name);
            assert_eq!(serde_json::from_value::<LossTerm>(json).unwrap(), terms[0]);
        }
        let focal = LossTerm { kind: LossKind::Focal { gamma: 2.0, alpha: None }, weight: 1.0 };
        assert_eq!(from_toml("kind = \"focal\""), focal);
        let kind = LossKind::OhemCrossEntropy { threshold: 0.7, min_kept: 100_000 };
        let ohem = LossTerm { kind, weight: 2.0 };
        assert_eq!(from_toml("kind = \"ohem-cross-entropy\", weight = 2"), ohem);
    }

    #[test]
    fn runs_of_earlier_versions_are_read() {
        for text in [
            r#"{"kind":"cross-entropy","weight":1.0,"label_smoothing":0.0}"#,
            r#"{"kind":"ohem-cross-entropy","weight":2.0,"threshold":0.5,"min_kept":7}"#,
            r#"{"kind":"bce","weight":0.5}"#,
            r#"{"kind":"focal","weight":1.0,"gamma":2.0,"alpha":null}"#,
            r#"{"kind":"dice","weight":1.0,"smooth":1.0,"over":"classes","background":false}"#,
            r#"{"kind":"jaccard","weight":1.0,"smooth":0.5,"over":"all","background":true}"#,
            r#"{"kind":"tversky","weight":1.0,"false_positives":0.3,"false_negatives":0.7,"smooth":1.0,"over":"all",
                "background":false}"#,
            r#"{"kind":"focal-tversky","weight":1.0,"form":"seeps","gamma":0.75,"false_positives":0.3,
                "false_negatives":0.7,"smooth":1.0,"over":"classes","background":false}"#,
            r#"{"kind":"lovasz","weight":1.0,"per_image":true}"#,
        ] {
            let written: serde_json::Value = serde_json::from_str(text).unwrap();
            let term: LossTerm = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_value(term).unwrap(), written);
        }
    }

    #[test]
    fn a_flag_names_a_sum() {
        let terms = parse_terms("cross-entropy + 0.5 * dice+2e-1*lovasz").unwrap();
        let found: Vec<_> = terms.iter().map(|term| (term.name(), term.weight)).collect();
        assert_eq!(found, [("cross-entropy", 1.0), ("dice", 0.5), ("lovasz", 0.2)]);
        assert_eq!(parse_terms("Cross_Entropy+0.5*DICE").unwrap(), parse_terms("cross-entropy+0.5*dice").unwrap());
        for wrong in ["", "cross", "cross-entropy+", "0.5*", "crossentropy"] {
            assert_refused!(parse_terms(wrong), "unknown loss", "focal-tversky");
        }
        for wrong in ["-1*dice", "x*dice", "inf*dice", "*dice"] {
            assert_refused!(parse_terms(wrong), "`loss.dice.weight`");
        }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let cases = [
            ("kind = \"dice\", weight = -1", "`loss.dice.weight`"),
            ("kind = \"dice\", smooth = -0.5", "`loss.dice.smooth`"),
            ("kind = \"dice\", weight = inf", "`loss.dice.weight`"),
            ("kind = \"cross-entropy\", label_smoothing = 1.0", "`loss.cross-entropy.label_smoothing`"),
            ("kind = \"ohem-cross-entropy\", threshold = 1.5", "`loss.ohem-cross-entropy.threshold`"),
            ("kind = \"ohem-cross-entropy\", min_kept = 0", "`loss.ohem-cross-entropy.min_kept`"),
            ("kind = \"focal\", gamma = -1", "`loss.focal.gamma`"),
            ("kind = \"focal\", alpha = 2", "`loss.focal.alpha`"),
            ("kind = \"focal-tversky\", gamma = 0", "`loss.focal-tversky.gamma`"),
            ("kind = \"tversky\", false_positives = nan", "`loss.tversky.false_positives`"),
            ("kind = \"tversky\", false_positives = 0, false_negatives = 0", "both 0"),
        ];
        for (text, words) in cases {
            assert_refused!(from_toml(text).check(Activation::Softmax), words);
        }
        assert_refused!(from_toml("kind = \"dice\", background = true").check(Activation::Sigmoid), "`background`");
        from_toml("kind = \"dice\", background = true").check(Activation::Softmax).unwrap();
    }

    #[test]
    fn unknown_fields_are_refused() {
        for text in ["kind = \"dice\", gamma = 2", "kind = \"bce\", alpha = 0.5", "kind = \"tversky\", beta = 0.5"] {
            assert!(toml::from_str::<Holder>(&format!("loss = [{{ {text} }}]")).is_err(), "{text}");
        }
    }
}
