//! Whether a device computes what flex computes.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::TensorData;
use serde::Serialize;

use super::{Job, Mode, Options, Training, Work};
use crate::device::DeviceChoice;
use crate::error::Result;
use crate::model::{Network, Parameter, collect, collect_gradients, replace};
use crate::precision::Precision;
use crate::recipe::OptimizerConfig;
use crate::step::{Learner, Settings};

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
    /// `output`, `loss`, or the parameter whose gradient it is.
    pub what: String,
    /// The relative difference.
    pub error: f64,
}

/// Computes output, loss and all gradients of a training step twice, in float32 on flex and as the options say; the
/// gradients come last, the worst first.
pub fn check(options: &Options) -> Result<Vec<Difference>> {
    let reference = Options { device: DeviceChoice::Flex, precision: Precision::Float32, ..options.clone() };
    let expected = results(&reference)?;
    let found = results(options)?;
    let largest = expected[GRADIENTS..].iter().map(|gradient| length(gradient.data.iter())).fold(0.0, f64::max);
    let difference = |(i, (expected, found)): (usize, (&Parameter, &Parameter))| {
        let floor = if i < GRADIENTS { 0.0 } else { FLOOR * largest };
        let apart = length(expected.data.iter::<f64>().zip(found.data.iter::<f64>()).map(|(e, f)| e - f));
        Difference { what: expected.name.clone(), error: apart / length(expected.data.iter()).max(floor) }
    };
    let mut differences: Vec<Difference> = expected.iter().zip(&found).enumerate().map(difference).collect();
    differences[GRADIENTS..].sort_by(|a, b| b.error.total_cmp(&a.error));
    Ok(differences)
}

/// Output, loss and gradients.
fn results(options: &Options) -> Result<Vec<Parameter>> {
    let work = Work::new(&Options { mode: Mode::Train, ..options.clone() })?;
    let Job::Train(training) = work.job else { unreachable!("a training was asked for") };
    let Training { learner, part } = *training;
    let network = away_from_kinks(learner.network().valid()).train();
    let learner = Learner::new(network, Settings::plain(OptimizerConfig::sgd()), learner.loss().clone())?;
    let named = |name: &str, data| Parameter { name: name.to_owned(), data };
    // The output first: in training, running statistics move.
    let output = learner.network().valid().forward(part.input.clone().inner()).into_data();
    let (loss, gradients) = learner.gradients(part);
    let mut results = vec![named("output", output), named("loss", loss.into_data())];
    results.extend(collect_gradients(learner.network(), &gradients));
    Ok(results)
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
