//! Pixels that a forest learns from, and which of too many those are.

use crate::base::Result;
use crate::data::pixel_split;
use crate::pixels::forest::Features;

/// Pixels with their features and classes.
#[derive(Debug)]
pub(crate) struct Samples {
    /// `[features, samples]`.
    planes: Vec<f32>,
    features: usize,
    pub(crate) classes: Vec<u16>,
    pub(crate) regions: Vec<u32>,
}

impl Samples {
    /// Samples of `planes`, `[features, samples]`, with the class of each and the connected region that it is of.
    pub(crate) fn new(planes: Vec<f32>, features: usize, classes: Vec<u16>, regions: Vec<u32>) -> Self {
        Self { planes, features, classes, regions }
    }

    /// A view for the forest.
    pub(crate) fn features(&self) -> Result<Features<'_>> {
        let samples = self.classes.len();
        Features::planes(&self.planes, self.features, samples, samples)
    }

    /// Those that `chosen` is true for.
    pub(crate) fn part(&self, chosen: &[bool]) -> Self {
        fn part<T: Copy>(values: &[T], chosen: &[bool]) -> Vec<T> {
            values.iter().zip(chosen).filter(|(_, chosen)| **chosen).map(|(value, _)| *value).collect()
        }
        let planes = self.planes.chunks_exact(chosen.len().max(1)).flat_map(|plane| part(plane, chosen)).collect();
        let (classes, regions) = (part(&self.classes, chosen), part(&self.regions, chosen));
        Self { planes, features: self.features, classes, regions }
    }
}

/// Of more than `most` pixels of these classes about that many, a random part of every class; `None` if all are kept.
pub(crate) fn chosen_for(classes: &[u16], most: usize, seed: u64) -> Result<Option<Vec<bool>>> {
    if classes.len() <= most {
        return Ok(None);
    }
    let mut of_class = vec![0usize; usize::from(u16::MAX) + 1];
    classes.iter().for_each(|class| of_class[usize::from(*class)] += 1);
    let mut chosen = pixel_split(classes, most as f64 / classes.len() as f64, seed)?;
    let single = |class: &u16| of_class[usize::from(*class)] == 1;
    chosen.iter_mut().zip(classes).for_each(|(chosen, class)| *chosen |= single(class));
    Ok(Some(chosen))
}
