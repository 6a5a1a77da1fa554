//! From scores to probabilities.

use serde::{Deserialize, Serialize};

/// How scores of one pixel become probabilities of classes. It decides how many outputs a network has, and so belongs
/// to its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// One output a class; probabilities add up to 1.
    #[default]
    Softmax,
    /// One output for each class but the first, the background: each is there or not, whatever the others are. The
    /// background is where none of them is.
    Sigmoid,
}

impl Activation {
    /// Outputs of a network for this many classes.
    pub fn outputs(self, classes: usize) -> usize {
        match self {
            Self::Softmax => classes,
            Self::Sigmoid => classes.saturating_sub(1),
        }
    }

    /// Classes that this many outputs tell apart.
    pub fn classes(self, outputs: usize) -> usize {
        match self {
            Self::Softmax => outputs,
            Self::Sigmoid => outputs + 1,
        }
    }
}

/// How the probabilities of a pixel become its class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Softmax: the most probable class, the first of equally probable ones.
    MostProbable,
    /// Sigmoid: the most probable class but the first, where its probability is above this threshold; else the first
    /// class, the background. The background's own probability is 1 less the highest of the others.
    Above(f32),
}

impl Rule {
    /// The rule that goes with an activation; only a sigmoid has a threshold.
    pub fn new(activation: Activation, threshold: f64) -> Self {
        match activation {
            Activation::Softmax => Self::MostProbable,
            Activation::Sigmoid => Self::Above(threshold as f32),
        }
    }

    /// The activation that it goes with.
    pub fn activation(self) -> Activation {
        match self {
            Self::MostProbable => Activation::Softmax,
            Self::Above(_) => Activation::Sigmoid,
        }
    }

    /// The logit whose sigmoid is `threshold`; minus infinity for 0.
    pub fn logit(threshold: f32) -> f32 {
        let threshold = f64::from(threshold);
        (threshold / (1.0 - threshold)).ln() as f32
    }
}
