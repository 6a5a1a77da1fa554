//! The exponential moving average of weights.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::nn::model::Network;
use crate::nn::ops::Updates;

/// `average`, moved towards `network`, parameters and running statistics alike: it keeps `share` of itself, less in the
/// first steps, `(1 + step) / (10 + step)`, so that it does not stay with the weights it began with.
pub(super) fn moved(average: Network, network: &Network, share: f64, step: usize, updates: &Updates) -> Network {
    let share = share.min((1 + step) as f64 / (10 + step) as f64);
    // A container of tensors by parameter; that they are no gradients does not matter to it.
    let mut now = Values(GradientsParams::new());
    network.visit(&mut now);
    let average = average.map(&mut Mover { now: now.0, share: 1.0 - share, updates });
    updates.run(None);
    average
}

struct Values(GradientsParams);

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, param.val());
    }
}

struct Mover<'a> {
    now: GradientsParams,
    /// Of the way.
    share: f64,
    updates: &'a Updates,
}

impl ModuleMapper for Mover<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(now) = self.now.remove::<D>(param.id) else { return param };
        param.map(|average| self.updates.towards(average, now, self.share))
    }
}
