//! Whether a device computes what flex computes.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::TensorData;
use serde::Serialize;

use super::{Job, Mode, Options, Work};
use crate::base::{Error, Result};
use crate::nn::device::DeviceChoice;
use crate::nn::learner::Learner;
use crate::nn::model::{Network, Parameter, collect, collect_gradients, replace};
use crate::nn::precision::Precision;

/// Of layers in the check.
const SCALE: f32 = 0.1;
/// Of layers in the check, to either side.
const SHIFT: f32 = 0.5;

/// Where the gradients begin in the results.
const GRADIENTS: usize = 2;
/// A gradient shorter than this share of the longest one is compared with that share: where a batch norm takes a shift
/// out again, nothing but rounding is left of it.
const FLOOR: f64 = 1e-3;

/// How far a device is from flex in one result: the length of the difference relative to that of flex's
/// (or, for a gradient, to a thousandth of the longest one's if that is more).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The phase of the training, from 1, where the recipe has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<usize>,
    /// `output`, `loss`, or the parameter whose gradient it is.
    pub what: String,
    /// The relative difference.
    pub error: f64,
}

/// Computes output, loss and all gradients of the recipe's own training step twice, in float32 on flex and as the options
/// say; for each phase of the recipe, with the gradients last, the worst first.
///
/// # Errors
///
/// [`Error::Failed`] if a result, or a weight after the step, is not a finite number; those of opening the devices.
pub fn check(options: &Options) -> Result<Vec<Difference>> {
    let own = Options { own_step: true, mode: Mode::Train, ..options.settled()? };
    let reference = Options { device: DeviceChoice::Flex, precision: Precision::Float32, ..own.clone() };
    let phases = options.recipe.training.resolved_phases().len();
    let mut all = Vec::new();
    for phase in 0..phases {
        let mut differences = compare(&results(&reference, phase)?, &results(&own, phase)?);
        differences.iter_mut().for_each(|difference| difference.phase = (phases > 1).then_some(phase + 1));
        all.extend(differences);
    }
    Ok(all)
}

fn compare(expected: &[Parameter], found: &[Parameter]) -> Vec<Difference> {
    let largest = expected[GRADIENTS..].iter().map(|gradient| length(gradient.data.iter())).fold(0.0, f64::max);
    let difference = |(i, (expected, found)): (usize, (&Parameter, &Parameter))| {
        let floor = if i < GRADIENTS { 0.0 } else { FLOOR * largest };
        let apart = length(expected.data.iter::<f64>().zip(found.data.iter::<f64>()).map(|(e, f)| e - f));
        // What is the same is no further apart for being 0.
        let error = if apart == 0.0 { 0.0 } else { apart / length(expected.data.iter()).max(floor) };
        Difference { phase: None, what: expected.name.clone(), error }
    };
    let mut differences: Vec<Difference> = expected.iter().zip(found).enumerate().map(difference).collect();
    differences[GRADIENTS..].sort_by(|a, b| b.error.total_cmp(&a.error));
    differences
}

/// Output, loss and gradients of a phase.
fn results(options: &Options, phase: usize) -> Result<Vec<Parameter>> {
    let work = Work::of_phase(options, phase)?;
    let Job::Train(training) = work.job else { unreachable!("a training was asked for") };
    let (learner, part) = *training;
    let network = away_from_kinks(learner.network().valid()).train();
    let mut learner = Learner::new(network, learner.settings().clone(), learner.loss().clone())?;
    let named = |name: &str, data| Parameter { name: name.to_owned(), data };
    // The output first: in training, running statistics move.
    let output = learner.network().valid().forward(part.input.clone().inner()).into_data();
    let (loss, gradients) = learner.gradients(part);
    let mut results = vec![named("output", output), named("loss", loss.into_data())];
    results.extend(collect_gradients(learner.network(), &gradients));
    check_finite(options, &results)?;
    learner.apply(gradients, options.recipe.training.resolved_phases()[phase].learning_rate, 0);
    check_finite(options, &collect(learner.network()))?;
    Ok(results)
}

/// Refuses what is not a finite number: it can be compared with nothing.
fn check_finite(options: &Options, results: &[Parameter]) -> Result<()> {
    match results.iter().find(|result: &&Parameter| result.data.iter::<f64>().any(|value| !value.is_finite())) {
        None => Ok(()),
        Some(result) => {
            let Options { recipe, device, precision, .. } = options;
            let work = format!("compare a training step of recipe {} on {device} in {precision}", recipe.name);
            Err(Error::failed(work, format!("it gives numbers that are not finite ({})", result.name)))
        }
    }
}

/// Weights with which layers shift by more than they scale: hardly a value lies close to a ReLU's kink, where the last
/// digit decides on a gradient. With the usual initial weights, PyTorch's own float32 gradients differ from float64 by
/// percents.
fn away_from_kinks(network: Network) -> Network {
    let all: BTreeMap<String, TensorData> = collect(&network).into_iter().map(|p| (p.name, p.data)).collect();
    replace(network, |name| {
        let (layer, leaf) = name.rsplit_once('.')?;
        let old = &all[name];
        let side = |i: usize| if i.is_multiple_of(2) { SHIFT } else { -SHIFT };
        let values: Vec<f32> = match (leaf, old.shape().len()) {
            ("bias", _) => (0..old.num_elements()).map(side).collect(),
            ("weight", 1) => vec![SCALE; old.num_elements()],
            // A batch norm takes the size out of what comes before it, so only layers with a bias of their own count.
            ("weight", _) if all.contains_key(&format!("{layer}.bias")) => {
                old.iter::<f32>().map(|w| w * SCALE).collect()
            }
            _ => return None,
        };
        Some(TensorData::new(values, old.shape().to_vec()))
    })
}

fn length(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(values: [f32; 3]) -> Vec<Parameter> {
        let named = |(name, value): (&str, f32)| Parameter { name: name.into(), data: TensorData::from([value]) };
        ["output", "loss", "weight"].into_iter().zip(values).map(named).collect()
    }

    #[test]
    fn equal_results_are_not_apart_even_where_they_are_0() {
        let errors = |expected, found| compare(&results(expected), &results(found)).iter().map(|d| d.error).collect();
        let found: Vec<f64> = errors([1.0, 0.0, 0.0], [1.5, 0.0, 0.0]);
        assert_eq!(found, [0.5, 0.0, 0.0]);
        let found: Vec<f64> = errors([1.0, 0.0, 1.0], [f32::NAN, 1.0, 1.0]);
        assert!(found[0].is_nan() && found[1].is_infinite() && found[2] == 0.0, "{found:?}");
    }
}
