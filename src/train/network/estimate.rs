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
    /// Images a batch.
    pub batch_size: usize,
    /// Their size, the largest that occurs.
    pub size: Size,
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
        let training = Self::of_training(plan, device, group)?;
        if plan.validation_sizes.is_empty() {
            return Ok(training);
        }
        let size = largest_after_all(&[], &plan.validation_sizes);
        let memory = inference_memory(&plan.recipe.network, size, device)?;
        let validation = Self { memory, size, kind: Kind::Validation, ..training.clone() };
        Ok(if validation.bytes() > training.bytes() { validation } else { training })
    }

    fn of_training(plan: &Plan, device: DeviceChoice, group: Option<&Group>) -> Result<Self> {
        let recipe = &plan.recipe;
        let phases = recipe.training.resolved_phases();
        let size_of = |phase: &Training| largest_after_all(&phase.augment, &plan.sizes);
        let most = phases.iter().max_by_key(|phase| size_of(phase).width * size_of(phase).height);
        let most = most.unwrap_or(&recipe.training);
        let size = size_of(most);
        let settings = Settings::from(most);
        let loss = Loss::new(&most.loss, recipe.activation, None)?;
        let estimate = |checkpointing| {
            let settings = Settings { checkpointing, ..settings.clone() };
            let memory = training_memory(&recipe.network, size, device, &settings, &loss)?;
            Ok::<_, Error>(if most.precision == Precision::Bf16 { memory.with_halved_images() } else { memory })
        };
        let memory = estimate(settings.checkpointing)?;
        let batch_size = most.batch_size.div_ceil(group.map_or(1, Group::size));
        let here = if device.is_gpu() { 1 } else { group.map_or(1, |group| group.local_size() as u64) };
        let checkpointed = if settings.checkpointing { None } else { Some(estimate(true)?.bytes(batch_size)) };
        let halves = device.supports(Precision::Bf16).is_ok() && most.precision != Precision::Bf16;
        let kind = Kind::Training { checkpointed, halves };
        Ok(Self { memory, batch_size, size, free: free_memory(device).map(|free| free / here), kind })
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
            fitting => remedies.push(Remedy::SmallerBatch(Some(fitting))),
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
        let work = format!("{what} on batches of {} images of {}", self.batch_size, self.size);
        Err(Error::Memory { work, needed: self.bytes(), free, remedies })
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "needs about {} of memory", bytes_in_words(self.bytes()))?;
        self.free.map_or(Ok(()), |free| write!(f, ", {} is free", bytes_in_words(free)))
    }
}
