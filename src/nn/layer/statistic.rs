//! A running statistic of a layer.

use std::fmt;
use std::sync::{Arc, Mutex};

use burn::module::{Content, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor};

use crate::base::locked;

/// A per-channel buffer, updated by the forward pass and not trained. Clones share it, as long as none of them goes
/// to another device. burn's own, `RunningState`, is for several threads at once: it keeps the last value twice and copies
/// it at every step.
#[derive(Clone)]
pub struct Statistic {
    id: ParamId,
    /// Only missing during an update.
    value: Arc<Mutex<Option<Tensor<1>>>>,
}

impl Statistic {
    /// With a first value.
    pub fn new(value: Tensor<1>) -> Self {
        Self::with_id(ParamId::new(), value)
    }

    fn with_id(id: ParamId, value: Tensor<1>) -> Self {
        Self { id, value: Arc::new(Mutex::new(Some(value))) }
    }

    /// The value as it is now.
    ///
    /// # Panics
    ///
    /// If an update of it has failed.
    pub fn value(&self) -> Tensor<1> {
        locked(&self.value).clone().expect(UPDATED)
    }

    /// Updates two values; `update` owns them exclusively, so it can change them in place.
    pub(super) fn update<T>(both: [&Self; 2], update: impl FnOnce([Tensor<1>; 2]) -> ([Tensor<1>; 2], T)) -> T {
        let old = both.map(|statistic| locked(&statistic.value).take().expect(UPDATED));
        let (new, result) = update(old);
        for (statistic, new) in both.into_iter().zip(new) {
            *locked(&statistic.value) = Some(new);
        }
        result
    }
}

const UPDATED: &str = "an update of a running statistic has failed";

impl fmt::Debug for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Statistic({})", self.id)
    }
}

impl ModuleDisplayDefault for Statistic {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&"Statistic".to_owned()).optional()
    }
}

impl ModuleDisplay for Statistic {}

impl Module for Statistic {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.visit_float(&Param::initialized(self.id, self.value()));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let mut value = locked(&self.value);
        let mapped = mapper.map_float(Param::initialized(self.id, value.take().expect(UPDATED)));
        let (_, mapped, _) = mapped.consume();
        // A mapper that lets parameters learn must not let this.
        *value = Some(mapped.set_require_grad(false));
        drop(value);
        self
    }

    fn to_device(self, device: &Device) -> Self {
        Self::with_id(self.id, self.value().to_device(device))
    }

    fn fork(self, device: &Device) -> Self {
        self.to_device(device)
    }

    fn collect_devices(&self, mut devices: Vec<Device>) -> Vec<Device> {
        let device = self.value().device();
        if !devices.contains(&device) {
            devices.push(device);
        }
        devices
    }

    fn materialize(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        Self::with_id(self.id, self.value().without_autodiff())
    }

    fn train(self) -> Self {
        Self::with_id(self.id, Tensor::from_inner(self.value()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(statistic: &Statistic) -> f32 {
        statistic.value().into_scalar()
    }

    fn add_one(statistic: &Statistic) {
        let other = Statistic::new(Tensor::zeros([1], &statistic.value().device()));
        Statistic::update([statistic, &other], |[value, zero]| ([value + 1.0, zero], ()));
    }

    #[test]
    fn clones_share_a_value_and_those_that_predict_have_their_own() {
        let statistic = Statistic::new(Tensor::ones([1], &Device::flex().autodiff()));
        let clone = statistic.clone();
        let predicts = statistic.valid();
        let trains_again = predicts.clone().train();
        add_one(&clone);
        assert_eq!([&statistic, &clone, &predicts, &trains_again].map(number), [2.0, 2.0, 1.0, 1.0]);
        add_one(&trains_again);
        assert_eq!([&statistic, &predicts, &trains_again].map(number), [2.0, 1.0, 2.0]);
    }

    #[test]
    fn a_mapper_changes_the_value_and_never_lets_it_learn() {
        struct Doubler;
        impl ModuleMapper for Doubler {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                param.map(|value| (value * 2.0).set_require_grad(true))
            }
        }
        let statistic = Statistic::new(Tensor::ones([1], &Device::flex().autodiff())).map(&mut Doubler);
        assert_eq!(number(&statistic), 2.0);
        assert!(!statistic.value().is_require_grad());
    }
}
