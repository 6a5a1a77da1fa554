//! How the learning rate changes over the steps.

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result, require};

/// A warm-up, if there is one, then a curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// How the rate changes.
    #[serde(flatten)]
    pub curve: Curve,
    /// How it begins.
    pub warmup: Option<Warmup>,
}

/// A factor on the learning rate over the steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Curve {
    /// The learning rate stays.
    Constant {},
    /// `(1 - step / steps)^power`, as PyTorch's `PolynomialLR`.
    Poly {
        /// The exponent.
        #[serde(default = "usual_power")]
        power: f64,
    },
    /// Half a cosine from 1 to `floor`, as PyTorch's `CosineAnnealingLR`.
    Cosine {
        /// The factor at the end.
        #[serde(default)]
        floor: f64,
    },
    /// Multiplied by `factor` at the end of every `every` epochs, as PyTorch's `StepLR`.
    Step {
        /// Epochs between two falls.
        every: usize,
        /// What is left of the rate at each.
        #[serde(default = "usual_factor")]
        factor: f64,
    },
}

/// A linear rise of the factor to that of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// Steps it takes.
    pub steps: usize,
    /// The share of the rate that the first step has.
    #[serde(default = "usual_start")]
    pub start: f64,
}

fn usual_power() -> f64 {
    0.9
}

fn usual_factor() -> f64 {
    0.1
}

fn usual_start() -> f64 {
    1e-3
}

impl From<Curve> for Schedule {
    /// Without a warm-up.
    fn from(curve: Curve) -> Self {
        Self { curve, warmup: None }
    }
}

impl Schedule {
    /// The factor on the learning rate at `step` (from 0) of `steps`, of which `epoch_steps` make an epoch.
    pub fn factor(&self, step: usize, steps: usize, epoch_steps: usize) -> f64 {
        let part = step.min(steps) as f64 / steps.max(1) as f64;
        let curve = match self.curve {
            Curve::Constant {} => 1.0,
            Curve::Poly { power } => (1.0 - part).powf(power),
            Curve::Cosine { floor } => floor + (1.0 - floor) * (1.0 + (std::f64::consts::PI * part).cos()) / 2.0,
            Curve::Step { every, factor } => factor.powf((step / every.saturating_mul(epoch_steps).max(1)) as f64),
        };
        match self.warmup {
            Some(Warmup { steps, start }) if step < steps => {
                curve * (start + (1.0 - start) * step as f64 / steps as f64)
            }
            _ => curve,
        }
    }

    /// Whether the rate of a step depends on how many steps there are in all, so that a longer training would have gone
    /// otherwise from its first step.
    pub fn depends_on_length(&self) -> bool {
        matches!(self.curve, Curve::Poly { .. } | Curve::Cosine { .. })
    }

    /// Says what is wrong with the numbers.
    pub fn check(&self) -> Result<()> {
        let within = |name: &str, value: f64, most: f64| {
            let expected = format!("between 0 and {most}");
            require((0.0..=most).contains(&value), format!("schedule.{name}"), value, expected)
        };
        if let Some(Warmup { start, .. }) = self.warmup {
            within("start", start, 1.0)?;
        }
        match self.curve {
            Curve::Constant {} => Ok(()),
            Curve::Poly { power } => within("power", power, 100.0),
            Curve::Cosine { floor } => within("floor", floor, 1.0),
            Curve::Step { every: 0, .. } => Err(Error::invalid("schedule.every", 0, "at least 1")),
            Curve::Step { factor, .. } => within("factor", factor, 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_equal_pytorch() {
        let warmup = Some(Warmup { steps: 3, start: 0.25 });
        for (schedule, steps, epoch_steps, expected) in [
            // torch.optim.lr_scheduler.PolynomialLR(opt, 4, power=0.9) with lr 1.
            (
                Schedule::from(Curve::Poly { power: 0.9 }),
                4,
                2,
                &[1.0, 0.771_889_51, 0.535_886_73, 0.287_174_59, 0.0][..],
            ),
            // CosineAnnealingLR(opt, 4, eta_min=0.1) with lr 1.
            (Curve::Cosine { floor: 0.1 }.into(), 4, 2, &[1.0, 0.868_198_05, 0.55, 0.231_801_95, 0.1]),
            // StepLR(opt, 2, gamma=0.1), stepped once an epoch of two steps.
            (
                Curve::Step { every: 2, factor: 0.1 }.into(),
                10,
                2,
                &[1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01],
            ),
            // LinearLR(opt, start_factor=0.25, total_iters=3) times a constant.
            (Schedule { curve: Curve::Constant {}, warmup }, 5, 5, &[0.25, 0.5, 0.75, 1.0, 1.0]),
        ] {
            for (step, expected) in expected.iter().enumerate() {
                let found = schedule.factor(step, steps, epoch_steps);
                assert!((found - expected).abs() < 1e-7, "{schedule:?} at {step}: {found}");
            }
        }
    }

    #[test]
    fn a_fall_that_never_comes_is_no_fall() {
        let schedule = Schedule::from(Curve::Step { every: usize::MAX, factor: 0.1 });
        assert_eq!(schedule.factor(1_000_000, usize::MAX, 5), 1.0);
    }

    #[test]
    fn what_depends_on_the_length_is_told() {
        let warmup = Some(Warmup { steps: 3, start: 0.25 });
        for curve in [
            Curve::Constant {},
            Curve::Step { every: 2, factor: 0.1 },
            Curve::Poly { power: 0.9 },
            Curve::Cosine { floor: 0.1 },
        ] {
            let schedule = Schedule { curve, warmup };
            let same = (0..20).all(|step| schedule.factor(step, 20, 5) == schedule.factor(step, 40, 5));
            assert_eq!(schedule.depends_on_length(), !same, "{schedule:?}");
        }
    }

    #[test]
    fn runs_of_earlier_versions_are_read() {
        for text in [
            r#"{"kind":"constant","warmup":null}"#,
            r#"{"kind":"poly","power":0.9,"warmup":{"steps":5,"start":0.001}}"#,
            r#"{"kind":"cosine","floor":0.1,"warmup":null}"#,
            r#"{"kind":"step","every":2,"factor":0.5,"warmup":null}"#,
        ] {
            let schedule: Schedule = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&schedule).unwrap(), text);
        }
        assert_eq!(toml::from_str::<Schedule>("kind = 'poly'").unwrap(), Curve::Poly { power: 0.9 }.into());
        assert_refused!(toml::from_str::<Schedule>("kind = 'poly'\nfloor = 0.1"), "unknown field `floor`");
    }
}
