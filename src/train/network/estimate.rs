//! Whether a training fits into the memory, before it begins.

use std::fmt;

use super::plan::Plan;
use crate::base::words::bytes_in_words;
use crate::base::{Error, Remedy, Result, Size};
use crate::data::largest_after_all;
use crate::nn::cost::{Memory, inference_memory, training_memory};
use crate::nn::device::{DeviceChoice, free_memory};
use crate::nn::group::Group;
use crate::nn::learner::Settings;
use crate::nn::loss::Loss;
use crate::nn::precision::Precision;
use crate::recipe::Training;

/// What a training needs, and what there is.
#[derive(Debug, Clone)]
pub struct Need {
    memory: Memory,
    /// Images a batch, or a process's share of them.
    pub batch_size: usize,
    /// Their size, the largest that occurs.
    pub size: Size,
    /// How many processes share a batch.
    processes: usize,
    /// Bytes that are free on the device, where that is known.
    pub free: Option<u64>,
    /// What is larger: a step of training, or the prediction of the validation images.
    kind: Kind,
}

/// What needs the memory.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Training {
        /// Bytes with activations computed again, if they are not already.
        checkpointed: Option<u64>,
        /// Whether half as many bytes a number are possible and not used.
        halves: bool,
    },
    Validation,
}

impl Need {
    /// Estimates the memory of the plan's most demanding phase, or of its validation if that needs more.
    /// Of several processes, each has a share of every batch, and of the memory of its machine.
    pub fn of(plan: &Plan, device: DeviceChoice, group: Option<&Group>) -> Result<Self> {
        let device = device.resolve()?;
        let processes = group.map_or(1, Group::size);
        let batch_size = plan.recipe.training.batch_size.div_ceil(processes);
        let here = if device.is_gpu() { 1 } else { group.map_or(1, |group| group.local_size() as u64) };
        let free = free_memory(device).map(|free| free / here);
        let need = |(memory, size, kind)| Self { memory, batch_size, processes, size, free, kind };
        let mut needs = Vec::new();
        for phase in plan.recipe.training.resolved_phases() {
            needs.push(need(of_phase(plan, &phase, device, batch_size)?));
        }
        if !plan.validation_sizes.is_empty() {
            let size = largest_after_all(&[], &plan.validation_sizes);
            needs.push(need((inference_memory(&plan.recipe.network, size, device)?, size, Kind::Validation)));
        }
        Ok(needs.into_iter().max_by_key(Self::bytes).expect("a training has a phase"))
    }

    /// Bytes that are needed.
    pub fn bytes(&self) -> u64 {
        self.memory.bytes(self.batch_size)
    }

    /// An error that says what to change if the memory does not suffice.
    pub fn check(&self) -> Result<()> {
        let Some(free) = self.free.filter(|free| *free < self.bytes()) else { return Ok(()) };
        let mut remedies = Vec::new();
        match self.memory.images_within(free) {
            0 => {}
            fitting => remedies.push(Remedy::SmallerBatch(Some(fitting.saturating_mul(self.processes)))),
        }
        let what = match self.kind {
            Kind::Validation => {
                remedies.push(Remedy::Pieces);
                "validation"
            }
            Kind::Training { checkpointed, halves } => {
                if let Some(bytes) = checkpointed.filter(|bytes| *bytes < self.bytes()) {
                    remedies.push(Remedy::Checkpointing(Some(bytes)));
                }
                if halves {
                    remedies.push(Remedy::Bf16);
                }
                remedies.push(Remedy::SmallerImages);
                "training"
            }
        };
        remedies.push(Remedy::IgnoreMemory);
        let images = format!("{} images of {}", self.batch_size, self.size);
        let work = match self.processes {
            1 => format!("{what} on batches of {images}"),
            several => format!("{what} in each of {several} processes, on batches of {images},"),
        };
        Err(Error::Memory { work, needed: self.bytes(), free, remedies })
    }
}

/// Memory of a phase, and of images of which size.
fn of_phase(plan: &Plan, phase: &Training, device: DeviceChoice, batch_size: usize) -> Result<(Memory, Size, Kind)> {
    let recipe = &plan.recipe;
    let size = largest_after_all(&phase.augment, &plan.sizes);
    let settings = Settings::from(phase);
    let loss = Loss::new(&phase.loss, recipe.activation, None)?;
    let estimate = |checkpointing| {
        let settings = Settings { checkpointing, ..settings.clone() };
        let memory = training_memory(&recipe.network, size, device, &settings, &loss)?;
        Ok::<_, Error>(if phase.precision == Precision::Bf16 { memory.with_halved_images() } else { memory })
    };
    let memory = estimate(settings.checkpointing)?;
    let checkpointed = if settings.checkpointing { None } else { Some(estimate(true)?.bytes(batch_size)) };
    let halves = device.supports(Precision::Bf16).is_ok() && phase.precision != Precision::Bf16;
    Ok((memory, size, Kind::Training { checkpointed, halves }))
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "needs about {} of memory", bytes_in_words(self.bytes()))?;
        self.free.map_or(Ok(()), |free| write!(f, ", {} is free", bytes_in_words(free)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::NetworkRecipe;

    #[test]
    fn the_batch_size_that_fits_is_that_of_all_processes() {
        let network = NetworkRecipe::find("unet-demo").unwrap().fitted_network(None).unwrap();
        let size = Size { width: 64, height: 64 };
        let memory = inference_memory(&network, size, DeviceChoice::Flex).unwrap();
        for (processes, fitting) in [(1, "use `batch_size` 2 "), (3, "use `batch_size` 6 ")] {
            let (memory, free) = (memory.clone(), Some(memory.bytes(2)));
            let need = Need { memory, batch_size: 4, processes, size, free, kind: Kind::Validation };
            assert_refused!(need.check(), fitting);
        }
    }
}
