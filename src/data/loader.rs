//! Batches for training and validation, prepared ahead on worker threads.

use std::sync::Arc;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Augmentation, Descriptor, Pair, Sample, ordered};
use crate::error::{Result, Size};
use crate::label::IGNORE;

/// Several samples in one piece. Smaller samples are filled up at the right and the bottom: the input with 0 (the
/// mean), the labels with [`IGNORE`].
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Samples.
    pub count: usize,
    /// Input bands.
    pub bands: usize,
    /// Size of the largest sample.
    pub size: Size,
    /// `[count, bands, height, width]`.
    pub planes: Vec<f32>,
    /// `[count, height, width]`.
    pub classes: Vec<u16>,
    /// Positions of the samples in the loader's pairs.
    pub indices: Vec<usize>,
}

impl Batch {
    fn new(samples: &[Sample], bands: usize, indices: Vec<usize>) -> Self {
        let size = Size {
            width: samples.iter().map(|s| s.labels.size.width).max().unwrap_or(0),
            height: samples.iter().map(|s| s.labels.size.height).max().unwrap_or(0),
        };
        let pixels = size.width * size.height;
        let mut planes = vec![0.0; samples.len() * bands * pixels];
        let mut classes = vec![IGNORE; samples.len() * pixels];
        for (i, sample) in samples.iter().enumerate() {
            let own = sample.labels.size;
            for (band, plane) in sample.planes.chunks_exact(own.width * own.height).enumerate() {
                copy_rows(plane, own, &mut planes[(i * bands + band) * pixels..][..pixels], size.width);
            }
            copy_rows(&sample.labels.classes, own, &mut classes[i * pixels..][..pixels], size.width);
        }
        Self { count: samples.len(), bands, size, planes, classes, indices }
    }
}

fn copy_rows<T: Copy>(source: &[T], size: Size, target: &mut [T], width: usize) {
    for (from, to) in source.chunks_exact(size.width).zip(target.chunks_exact_mut(width)) {
        to[..size.width].copy_from_slice(from);
    }
}

/// What is done to the sample at a position of the pairs.
type Change = Box<dyn Fn(&mut Sample, usize) + Send + Sync>;

/// Prepares batches of a list of pairs.
#[derive(Debug, Clone)]
pub struct Loader {
    /// The pairs.
    pub pairs: Arc<Vec<Pair>>,
    /// What they mean.
    pub descriptor: Arc<Descriptor>,
    /// Samples a batch.
    pub batch_size: usize,
    /// Threads that prepare batches.
    pub workers: usize,
}

impl Loader {
    /// Batches an epoch has.
    pub fn batches(&self) -> usize {
        self.pairs.len().div_ceil(self.batch_size)
    }

    /// The samples in the order of the pairs, as they are, in batches of one size each: nothing is filled up, so a
    /// sample's result does not depend on its neighbours.
    pub fn in_order(&self) -> impl Iterator<Item = Result<Vec<Batch>>> + use<> {
        let bands = self.descriptor.bands;
        self.start((0..self.pairs.len()).collect(), 0, Box::new(|_, _| ()), move |samples, indices| {
            let runs = samples.chunk_by(|a, b| a.labels.size == b.labels.size);
            let mut indices = indices.into_iter();
            runs.map(|run| Batch::new(run, bands, indices.by_ref().take(run.len()).collect())).collect()
        })
    }

    /// The shuffled and augmented batches of an epoch, from batch `skip` on. Order and augmentation depend on `seed`,
    /// `epoch` and the sample alone, not on the workers or on where the epoch is entered.
    pub fn shuffled(
        &self,
        seed: u64,
        epoch: usize,
        skip: usize,
        augmentations: &[Augmentation],
    ) -> impl Iterator<Item = Result<Batch>> + use<> {
        let mut order: Vec<usize> = (0..self.pairs.len()).collect();
        order.shuffle(&mut stream(seed, epoch, usize::MAX));
        let augmentations = augmentations.to_vec();
        let change: Change = Box::new(move |sample, index| {
            let mut rng = stream(seed, epoch, index);
            for augmentation in &augmentations {
                augmentation.apply(sample, &mut rng);
            }
        });
        let bands = self.descriptor.bands;
        self.start(order, skip, change, move |samples, indices| Batch::new(samples, bands, indices))
    }

    fn start<T: Send + 'static, F: Fn(&[Sample], Vec<usize>) -> T + Send + Sync + 'static>(
        &self,
        order: Vec<usize>,
        skip: usize,
        change: Change,
        gather: F,
    ) -> impl Iterator<Item = Result<T>> + use<T, F> {
        let (pairs, descriptor, size) = (Arc::clone(&self.pairs), Arc::clone(&self.descriptor), self.batch_size);
        ordered(self.batches().saturating_sub(skip), self.workers, move |i| {
            let from = (i + skip) * size;
            let indices = order[from..(from + size).min(order.len())].to_vec();
            let load = |&index: &usize| -> Result<Sample> {
                let mut sample = Sample::load(&pairs[index], &descriptor)?;
                change(&mut sample, index);
                Ok(sample)
            };
            let samples = indices.iter().map(load).collect::<Result<Vec<_>>>()?;
            Ok(gather(&samples, indices))
        })
    }
}

/// The random stream of one sample in one epoch (or of the epoch's order).
fn stream(seed: u64, epoch: usize, index: usize) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (part, number) in key.chunks_exact_mut(8).zip([seed, epoch as u64, index as u64, 0x5e67_7001]) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::LabelMap;

    fn sample(width: usize, height: usize, class: u16) -> Sample {
        let size = Size { width, height };
        let classes = vec![class; width * height];
        Sample { planes: vec![f32::from(class); 2 * width * height], labels: LabelMap { size, classes } }
    }

    #[test]
    fn samples_of_different_size_are_filled_up_with_ignore() {
        let batch = Batch::new(&[sample(2, 1, 1), sample(1, 2, 3)], 2, vec![0, 1]);
        assert_eq!(batch.size, Size { width: 2, height: 2 });
        assert_eq!(batch.classes, [1, 1, IGNORE, IGNORE, 3, IGNORE, 3, IGNORE]);
        assert_eq!(batch.planes[8..], [3.0, 0.0, 3.0, 0.0, 3.0, 0.0, 3.0, 0.0]);
    }
}
