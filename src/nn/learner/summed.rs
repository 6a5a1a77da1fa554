//! Gradients and statistics that are all-reduced over several processes.

use std::collections::HashSet;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use crate::nn::group::Group;
use crate::nn::loss::{Loss, Target};
use crate::nn::model::{Network, Outputs, shapes};
use crate::nn::ops::{Arriving, Updates, upload};

/// What is backpropagated in a part of a step: the loss, or this process's summand of it.
pub(super) struct Summand<'a> {
    pub(super) loss: &'a Loss,
    /// The processes that hold the other samples.
    pub(super) group: Option<&'a Group>,
    /// Factor on the loss if all processes compute the same samples.
    pub(super) factor: f64,
}

impl Summand<'_> {
    pub(super) fn of(&self, outputs: Outputs, target: &Target) -> Tensor<1> {
        let loss = self.loss.of_outputs(outputs.logits, outputs.auxiliary, target, self.group);
        if self.factor == 1.0 { loss } else { loss.mul_scalar(self.factor) }
    }
}

/// The sums of the processes' gradients, which must be for the same parameters in the same order.
pub(super) fn summed(
    network: &Network,
    gradients: GradientsParams,
    group: &Group,
    updates: &Updates,
) -> GradientsParams {
    if updates.wait() {
        let mut deferred = Deferred { gradients, updates };
        network.visit(&mut deferred);
        updates.run(Some(group));
        return deferred.gradients;
    }
    let mut taken = Taken { gradients, values: Vec::with_capacity(network.num_params()), device: None };
    network.visit(&mut taken);
    let Taken { gradients, values, device } = taken;
    let Some(device) = device else { return gradients };
    let mut given = Given { gradients, sums: group.sum_in_place(values), taken: 0, device };
    network.visit(&mut given);
    given.gradients
}

/// Replaces each gradient with a tensor that holds the sum once the deferred updates are run.
struct Deferred<'a> {
    gradients: GradientsParams,
    updates: &'a Updates,
}

impl ModuleVisitor for Deferred<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return };
        self.gradients.register(param.id, self.updates.summed(gradient));
    }
}

/// Concatenates the values of gradients.
struct Taken {
    gradients: GradientsParams,
    values: Vec<f32>,
    device: Option<Device>,
}

impl ModuleVisitor for Taken {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
        self.device = Some(gradient.device());
        self.values.extend(values(gradient));
    }
}

/// Replaces gradients with their sums.
struct Given {
    gradients: GradientsParams,
    sums: Vec<f32>,
    /// How many are in their places.
    taken: usize,
    device: Device,
}

impl ModuleVisitor for Given {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return };
        let shape = gradient.shape();
        let sum = self.sums[self.taken..][..shape.num_elements()].to_vec();
        self.taken += sum.len();
        self.gradients.register(param.id, upload::<D>(TensorData::new(sum, shape), &self.device));
    }
}

/// `network` with the parameters and statistics of process 0.
pub(crate) fn broadcast(network: Network, group: &Group) -> Network {
    replaced(network, |_| true, &mut |own| group.broadcast(own))
}

/// `network` with the means of the processes' running statistics, which differ where each normalises by its own samples.
pub(crate) fn with_common_statistics(network: Network, group: &Group) -> Network {
    let is_statistic = |name: &str| [".running_mean", ".running_var"].iter().any(|end| name.ends_with(end));
    let size = group.size() as f32;
    replaced(network, is_statistic, &mut |own| group.sum(own).into_iter().map(|sum| sum / size).collect())
}

fn replaced(network: Network, which: impl Fn(&str) -> bool, exchange: &mut dyn FnMut(&[f32]) -> Vec<f32>) -> Network {
    let ids = shapes(&network).into_iter().filter(|parameter| which(&parameter.name)).map(|parameter| parameter.id);
    network.map(&mut Replacer { ids: ids.collect(), exchange })
}

struct Replacer<'a> {
    ids: HashSet<ParamId>,
    exchange: &'a mut dyn FnMut(&[f32]) -> Vec<f32>,
}

impl ModuleMapper for Replacer<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !self.ids.contains(&param.id) {
            return param;
        }
        param.map(|tensor| {
            let (shape, device, learns) = (tensor.shape(), tensor.device(), tensor.is_require_grad());
            let found = (self.exchange)(&values(tensor));
            let tensor = upload::<D>(TensorData::new(found, shape), &device);
            if learns { tensor.require_grad() } else { tensor }
        })
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    // A device that fails here also fails in the next operation, which reports it; the other processes expect as many
    // values.
    let count = tensor.shape().num_elements();
    Arriving::new(tensor).read().unwrap_or_else(|_| vec![0.0; count])
}
