//! Optimisers and what is frozen, as recipes spell them.

use serde::{Deserialize, Serialize};

use crate::base::named_enum::named_enum;
use crate::base::{Error, Result, require};

/// An optimiser and what decays. Where a recipe is silent, Adam and AdamW have PyTorch's defaults and SGD a momentum of
/// 0.9.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct OptimizerConfig {
    /// How a gradient becomes a step.
    #[serde(flatten)]
    pub kind: OptimizerKind,
    /// With AdamW the share of the weights, times the learning rate, that goes at each step; else an L2 penalty.
    pub weight_decay: f32,
    /// What decays.
    pub decay: Decayed,
}

/// How a gradient becomes a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimizerKind {
    /// Adam (arXiv 1412.6980).
    Adam(AdamSettings),
    /// Adam with decoupled weight decay (arXiv 1711.05101).
    #[serde(rename = "adamw", alias = "adam-w", alias = "adam_w")]
    AdamW(AdamSettings),
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Share of the last step that is kept; 0 for none.
        #[serde(default = "momentum")]
        momentum: f64,
        /// Nesterov's form of the momentum.
        #[serde(default)]
        nesterov: bool,
    },
}

/// Settings of Adam.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamSettings {
    /// Decay of the mean of the gradient; 0.9.
    pub beta_1: f32,
    /// Decay of the mean of its square; 0.999.
    pub beta_2: f32,
    /// Added to the denominator; 1e-8.
    pub epsilon: f32,
}

impl Default for AdamSettings {
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 }
    }
}

/// An optimiser as a recipe has it.
#[derive(Deserialize)]
struct Written {
    #[serde(flatten)]
    kind: OptimizerKind,
    weight_decay: Option<f32>,
    #[serde(default)]
    decay: Decayed,
}

impl From<Written> for OptimizerConfig {
    fn from(Written { kind, weight_decay, decay }: Written) -> Self {
        let usual = Self::from(kind);
        Self { weight_decay: weight_decay.unwrap_or(usual.weight_decay), decay, ..usual }
    }
}

impl From<OptimizerKind> for OptimizerConfig {
    /// With the weight decay that holds where none is given.
    fn from(kind: OptimizerKind) -> Self {
        let weight_decay = if matches!(kind, OptimizerKind::AdamW(_)) { 0.01 } else { 0.0 };
        Self { kind, weight_decay, decay: Decayed::All }
    }
}

/// The parameters to which weight decay applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decayed {
    /// All, as PyTorch's optimisers do unless told otherwise.
    #[default]
    All,
    /// The kernels of convolutions: neither biases nor batch norms.
    Kernels,
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

named_enum!(Freeze, "part", "encoder" => Encoder, "norm" => Norm);

impl OptimizerConfig {
    /// Adam with its defaults.
    pub fn adam() -> Self {
        OptimizerKind::Adam(AdamSettings::default()).into()
    }

    /// AdamW with its defaults.
    pub fn adam_w() -> Self {
        OptimizerKind::AdamW(AdamSettings::default()).into()
    }

    /// SGD with its defaults.
    pub fn sgd() -> Self {
        OptimizerKind::Sgd { momentum: momentum(), nesterov: false }.into()
    }

    /// Says what is wrong with the numbers.
    pub(crate) fn check(&self) -> Result<()> {
        let shares: Vec<(&str, f64)> = match self.kind {
            OptimizerKind::Adam(AdamSettings { beta_1, beta_2, epsilon })
            | OptimizerKind::AdamW(AdamSettings { beta_1, beta_2, epsilon }) => {
                require(epsilon > 0.0 && epsilon.is_finite(), "optimizer.epsilon", epsilon, "above 0")?;
                vec![("beta_1", beta_1.into()), ("beta_2", beta_2.into())]
            }
            OptimizerKind::Sgd { momentum: 0.0, nesterov: true } => {
                return Err(Error::conflict("optimizer.nesterov", "needs a momentum above 0"));
            }
            OptimizerKind::Sgd { momentum, .. } => vec![("momentum", momentum)],
        };
        for (name, value) in shares {
            let field = format!("optimizer.{name}");
            require((0.0..1.0).contains(&value), field, value, "a share from 0 to below 1")?;
        }
        let decay = self.weight_decay;
        require(decay >= 0.0 && decay.is_finite(), "optimizer.weight_decay", decay, "0 or above")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_earlier_versions_are_read() {
        for text in [
            r#"{"kind":"adam","beta_1":0.9,"beta_2":0.999,"epsilon":1e-8,"weight_decay":0.0,"decay":"all"}"#,
            r#"{"kind":"adamw","beta_1":0.8,"beta_2":0.99,"epsilon":0.000001,"weight_decay":0.01,"decay":"kernels"}"#,
            r#"{"kind":"sgd","momentum":0.9,"nesterov":true,"weight_decay":0.0001,"decay":"all"}"#,
        ] {
            let config: OptimizerConfig = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&config).unwrap(), text);
        }
    }

    #[test]
    fn recipes_may_be_silent_but_not_wrong() {
        let read = |text: &str| toml::from_str::<OptimizerConfig>(text);
        for (text, expected) in [
            ("kind = 'adam'", OptimizerConfig::adam()),
            ("kind = 'adam_w'", OptimizerConfig::adam_w()),
            ("kind = 'sgd'", OptimizerConfig::sgd()),
        ] {
            assert_eq!(read(text).unwrap(), expected);
        }
        for text in ["kind = 'adam'\nmomentum = 0.9", "kind = 'sgd'\nbeta_1 = 0.9"] {
            assert_refused!(read(text), "unknown field `");
        }
    }
}
