//! Batches for training and validation, prepared ahead on worker threads.

use super::random::{Purpose, stream};
use std::ops::Range;
use std::sync::Arc;

use super::augment::{Augmentation, Draws};
use super::cache::Cache;
use super::dataset::Dataset;
use super::pair::Pair;
use super::prefetch::{AHEAD, ordered};
use super::presence::{ClassPresence, Group};
use super::sample::{Decoded, Sample};
use super::sampling::{Pick, Pool, Sampling};
use crate::base::label_map::IGNORE;
use crate::base::{Error, Result, Size};

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
    /// Place of the first sample in the whole batch, of which a process may have a share.
    pub first: usize,
    /// Samples of the whole batch.
    pub total: usize,
}

impl Batch {
    /// Samples of a batch of `total`, from the `first` on.
    fn new(samples: &[Sample], bands: usize, indices: Vec<usize>, (first, total): (usize, usize)) -> Self {
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
        Self { count: samples.len(), bands, size, planes, classes, indices, first, total }
    }
}

fn copy_rows<T: Copy>(source: &[T], size: Size, target: &mut [T], width: usize) {
    for (from, to) in source.chunks_exact(size.width).zip(target.chunks_exact_mut(width)) {
        to[..size.width].copy_from_slice(from);
    }
}

/// Prepares batches of a list of pairs.
#[derive(Debug, Clone)]
pub struct Loader {
    /// The pairs.
    pub pairs: Arc<Vec<Pair>>,
    /// The data set that describes bands, normalisation and classes of the pairs.
    pub dataset: Arc<Dataset>,
    /// Samples a batch.
    pub batch_size: usize,
    /// Threads that prepare batches.
    pub workers: usize,
    /// Which pairs make up an epoch.
    pub sampling: Sampling,
    /// What the pairs show; sampling may ask.
    pub presence: Arc<ClassPresence>,
    /// Decoded pairs.
    pub cache: Arc<Cache>,
    /// Number and count of the processes among which the samples of a batch of training are shared out.
    pub among: (usize, usize),
}

/// A training sample as it looks, before normalisation.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// Position in the loader's pairs.
    pub pair: usize,
    /// Samples between 0 and 1, NaN where nothing was measured or covered.
    pub sample: Sample,
    /// Whether the file has 8-bit samples, which can be shown as they are.
    pub is_8_bit: bool,
}

/// What is done to every sample of an epoch.
struct Changes {
    seed: u64,
    epoch: usize,
    augmentations: Vec<Augmentation>,
}

impl Loader {
    /// A loader that visits every pair once per epoch and keeps no decoded images in memory.
    pub fn new(pairs: Vec<Pair>, dataset: Arc<Dataset>, batch_size: usize, workers: usize) -> Self {
        Self {
            pairs: Arc::new(pairs),
            dataset,
            batch_size: batch_size.max(1),
            workers,
            sampling: Sampling::default(),
            presence: Arc::default(),
            cache: Arc::default(),
            among: (0, 1),
        }
    }

    /// The same with epochs made up in another way. `presence` must be that of the pairs where the sampling asks for
    /// it.
    pub fn sampled(self, sampling: Sampling, presence: Arc<ClassPresence>) -> Result<Self> {
        sampling.check()?;
        if sampling.needs_presence() && presence.len() != self.pairs.len() {
            let missing = format!(
                "which classes an image shows is known for only {} of {} training images",
                presence.len(),
                self.pairs.len()
            );
            return Err(Error::no_data(missing, "the sampling needs it for all of them; start the run again"));
        }
        if sampling.foreground > 0.0 && presence.pairs_by_class(Group::All).is_empty() {
            let missing = "no training image shows a class other than the first";
            return Err(Error::no_data(missing, "leave out `sampling.foreground`, which asks for such images"));
        }
        Ok(Self { sampling, presence, ..self })
    }

    /// The same with a cache, of these pairs alone.
    #[must_use]
    pub fn cached(self, cache: Arc<Cache>) -> Self {
        Self { cache, ..self }
    }

    /// The same for process `rank` of `size`.
    #[must_use]
    pub fn among(self, rank: usize, size: usize) -> Self {
        Self { among: (rank, size), ..self }
    }

    fn pool(&self) -> Pool<'_> {
        Pool { pairs: self.pairs.len(), presence: &self.presence, batch_size: self.batch_size }
    }

    /// Batches an epoch of training has.
    pub fn batches(&self) -> usize {
        self.sampling.batches(self.pool())
    }

    /// Samples an epoch of training has.
    pub fn samples(&self) -> usize {
        self.sampling.samples(self.pool())
    }

    /// The samples in the order of the pairs, as they are, in batches of one size each: nothing is filled up, so a
    /// sample's result does not depend on its neighbours.
    pub fn in_order(&self) -> impl Iterator<Item = Result<Vec<Batch>>> + use<> {
        self.of_pairs((0..self.pairs.len()).collect())
    }

    /// [`Self::in_order`] of the samples at these positions in the pairs.
    pub fn of_pairs(&self, pairs: Vec<usize>) -> impl Iterator<Item = Result<Vec<Batch>>> + use<> {
        let bands = self.dataset.bands;
        let picks: Vec<Pick> = pairs.into_iter().map(|pair| Pick { pair, class: None }).collect();
        let batches = picks.chunks(self.batch_size).map(<[Pick]>::to_vec).collect();
        self.start(batches, 0, None, move |samples, indices, _| {
            let runs = samples.chunk_by(|a, b| a.labels.size == b.labels.size);
            let mut indices = indices.into_iter();
            runs.map(|run| Batch::new(run, bands, indices.by_ref().take(run.len()).collect(), (0, run.len()))).collect()
        })
    }

    /// The sampled and augmented batches of an epoch, from batch `skip` on, or this process's shares of them. They depend on
    /// `seed`, `epoch` and their place in the epoch alone, not on the workers, the cache, the number of processes or where
    /// the epoch is entered.
    pub fn shuffled(
        &self,
        seed: u64,
        epoch: usize,
        skip: usize,
        augmentations: &[Augmentation],
    ) -> impl Iterator<Item = Result<Batch>> + use<> {
        let batches = self.sampling.epoch(self.pool(), seed, epoch);
        let changes = Changes { seed, epoch, augmentations: augmentations.to_vec() };
        let bands = self.dataset.bands;
        self.start(batches, skip, Some(changes), move |samples, indices, share| {
            Batch::new(samples, bands, indices, share)
        })
    }

    /// The first `count` samples of an epoch, as [`Self::shuffled`] makes them, before normalisation.
    pub fn preview(
        &self,
        seed: u64,
        epoch: usize,
        count: usize,
        augmentations: &[Augmentation],
    ) -> impl Iterator<Item = Result<Preview>> {
        let changes = Changes { seed, epoch, augmentations: augmentations.to_vec() };
        let batches = self.sampling.epoch(self.pool(), seed, epoch);
        let places = batches
            .into_iter()
            .enumerate()
            .flat_map(|(batch, picks)| picks.into_iter().enumerate().map(move |(slot, pick)| (batch, slot, pick)));
        let size = self.batch_size;
        places.take(count).map(move |(batch, slot, pick)| {
            let decoded = self.decoded(pick.pair)?;
            let (mut sample, _) = decoded.sample(&self.pairs[pick.pair], &self.dataset)?;
            changes.apply(&mut sample, pick, batch, batch * size + slot);
            Ok(Preview { pair: pick.pair, sample, is_8_bit: decoded.has_bytes() })
        })
    }

    fn decoded(&self, pair: usize) -> Result<Arc<Decoded>> {
        self.cache.get(pair, || Decoded::load(&self.pairs[pair], &self.dataset))
    }

    /// `gather` is also given the place of the first sample in its batch, and the samples of that.
    fn start<T: Send + 'static, F: Fn(&[Sample], Vec<usize>, (usize, usize)) -> T + Send + Sync + 'static>(
        &self,
        batches: Vec<Vec<Pick>>,
        skip: usize,
        changes: Option<Changes>,
        gather: F,
    ) -> impl Iterator<Item = Result<T>> + use<T, F> {
        let loader = self.clone();
        ordered(batches.len().saturating_sub(skip), (self.workers, AHEAD), move |i| {
            let batch = i + skip;
            let load = |(slot, &pick): (usize, &Pick)| -> Result<Sample> {
                let decoded = loader.decoded(pick.pair)?;
                let (mut sample, normaliser) = decoded.sample(&loader.pairs[pick.pair], &loader.dataset)?;
                drop(decoded);
                if let Some(changes) = &changes {
                    changes.apply(&mut sample, pick, batch, batch * loader.batch_size + slot);
                }
                normaliser.apply(&mut sample.planes);
                Ok(sample)
            };
            let total = batches[batch].len();
            let share = match &changes {
                Some(_) => share_of(total, loader.among.0, loader.among.1),
                None => 0..total,
            };
            let picks = || batches[batch].iter().enumerate().skip(share.start).take(share.len());
            let samples = picks().map(load).collect::<Result<Vec<_>>>()?;
            Ok(gather(&samples, picks().map(|(_, pick)| pick.pair).collect(), (share.start, total)))
        })
    }
}

/// Which of `count` samples process `rank` of `size` computes. Fewer samples than processes are computed by all of them.
fn share_of(count: usize, rank: usize, size: usize) -> Range<usize> {
    if count < size {
        return 0..count;
    }
    rank * count / size..(rank + 1) * count / size
}

impl Changes {
    /// Augments the sample at a place of the epoch.
    fn apply(&self, sample: &mut Sample, pick: Pick, batch: usize, place: usize) {
        let mut draws = Draws {
            own: stream(self.seed, self.epoch, place, Purpose::Sample),
            shared: stream(self.seed, self.epoch, batch, Purpose::Batch),
            class: pick.class,
        };
        self.augmentations.iter().for_each(|augmentation| augmentation.apply(sample, &mut draws));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::LabelMap;

    fn sample(width: usize, height: usize, class: u16) -> Sample {
        let size = Size { width, height };
        let classes = vec![class; width * height];
        Sample { planes: vec![f32::from(class); 2 * width * height], labels: LabelMap { size, classes } }
    }

    #[test]
    fn every_sample_is_in_one_share() {
        for (count, size) in [(8, 2), (7, 2), (5, 4), (4, 4), (9, 1), (1000, 7)] {
            let all: Vec<usize> = (0..size).flat_map(|rank| share_of(count, rank, size)).collect();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
        assert_eq!([share_of(3, 0, 4), share_of(3, 3, 4)], [0..3, 0..3]);
    }

    #[test]
    fn samples_of_different_size_are_filled_up_with_ignore() {
        let batch = Batch::new(&[sample(2, 1, 1), sample(1, 2, 3)], 2, vec![0, 1], (0, 2));
        assert_eq!(batch.size, Size { width: 2, height: 2 });
        assert_eq!(batch.classes, [1, 1, IGNORE, IGNORE, 3, IGNORE, 3, IGNORE]);
        assert_eq!(batch.planes[8..], [3.0, 0.0, 3.0, 0.0, 3.0, 0.0, 3.0, 0.0]);
    }
}
