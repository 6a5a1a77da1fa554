//! Optimisers and what is frozen, as recipes spell them.

use serde::{Deserialize, Serialize};

use crate::base::named_enum::read_by_name;
use crate::base::{Error, Result, require};

/// Optimisers. Where a recipe is silent, Adam and AdamW have PyTorch's defaults and SGD a momentum of 0.9.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Adam (arXiv 1412.6980).
    Adam {
        /// Decay of the mean of the gradient.
        #[serde(default = "beta_1")]
        beta_1: f32,
        /// Decay of the mean of its square.
        #[serde(default = "beta_2")]
        beta_2: f32,
        /// Added to the denominator.
        #[serde(default = "epsilon")]
        epsilon: f32,
        /// L2 penalty.
        #[serde(default)]
        weight_decay: f32,
        /// What the penalty is on.
        #[serde(default)]
        decay: Decayed,
    },
    /// Adam with decoupled weight decay (arXiv 1711.05101).
    #[serde(rename = "adamw", alias = "adam-w", alias = "adam_w")]
    AdamW {
        /// Decay of the mean of the gradient.
        #[serde(default = "beta_1")]
        beta_1: f32,
        /// Decay of the mean of its square.
        #[serde(default = "beta_2")]
        beta_2: f32,
        /// Added to the denominator.
        #[serde(default = "epsilon")]
        epsilon: f32,
        /// Share of the weights, times the learning rate, that goes at each step.
        #[serde(default = "adam_w_decay")]
        weight_decay: f32,
        /// What decays.
        #[serde(default)]
        decay: Decayed,
    },
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Share of the last step that is kept; 0 for none.
        #[serde(default = "momentum")]
        momentum: f64,
        /// Nesterov's form of the momentum.
        #[serde(default)]
        nesterov: bool,
        /// L2 penalty.
        #[serde(default)]
        weight_decay: f32,
        /// What the penalty is on.
        #[serde(default)]
        decay: Decayed,
    },
}

/// Which parameters weight decay is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decayed {
    /// All, as PyTorch's optimisers do unless told otherwise.
    #[default]
    All,
    /// The kernels of convolutions: neither biases nor batch norms.
    Kernels,
}

fn beta_1() -> f32 {
    0.9
}

fn beta_2() -> f32 {
    0.999
}

fn epsilon() -> f32 {
    1e-8
}

fn adam_w_decay() -> f32 {
    0.01
}

fn momentum() -> f64 {
    0.9
}

/// Parts of a network that do not learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Freeze {
    /// The encoder's parameters; the statistics of its batch norms, too.
    Encoder,
    /// All batch norms: their parameters stay, and they use and keep their running statistics.
    Norm,
}

read_by_name!(Freeze, "part", [("encoder", Self::Encoder), ("norm", Self::Norm)]);

impl OptimizerConfig {
    /// Adam with its defaults.
    pub fn adam() -> Self {
        let (beta_1, beta_2, epsilon) = (beta_1(), beta_2(), epsilon());
        Self::Adam { beta_1, beta_2, epsilon, weight_decay: 0.0, decay: Decayed::All }
    }

    /// AdamW with its defaults.
    pub fn adam_w() -> Self {
        let (beta_1, beta_2, epsilon) = (beta_1(), beta_2(), epsilon());
        Self::AdamW { beta_1, beta_2, epsilon, weight_decay: adam_w_decay(), decay: Decayed::All }
    }

    /// SGD with its defaults.
    pub fn sgd() -> Self {
        Self::Sgd { momentum: momentum(), nesterov: false, weight_decay: 0.0, decay: Decayed::All }
    }

    /// Says what is wrong with the numbers.
    pub(crate) fn check(&self) -> Result<()> {
        let (shares, decay): (Vec<(&str, f64)>, f32) = match *self {
            Self::Adam { beta_1, beta_2, epsilon, weight_decay, .. }
            | Self::AdamW { beta_1, beta_2, epsilon, weight_decay, .. } => {
                require(epsilon > 0.0 && epsilon.is_finite(), "optimizer.epsilon", epsilon, "above 0")?;
                (vec![("beta_1", beta_1.into()), ("beta_2", beta_2.into())], weight_decay)
            }
            Self::Sgd { momentum, nesterov, weight_decay, .. } => {
                if nesterov && momentum == 0.0 {
                    return Err(Error::conflict("optimizer.nesterov", "needs a momentum above 0"));
                }
                (vec![("momentum", momentum)], weight_decay)
            }
        };
        for (name, value) in shares {
            let field = format!("optimizer.{name}");
            require((0.0..1.0).contains(&value), field, value, "a share from 0 to below 1")?;
        }
        require(decay >= 0.0 && decay.is_finite(), "optimizer.weight_decay", decay, "0 or above")
    }
}
