//! What samples a network was trained on.

use crate::image::SampleType;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
/// The samples that training saw. Images of another type are read accordingly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainedSamples {
    /// Their type in most of the files.
    pub sample_type: SampleType,
    /// The smallest number that occurred, as stored.
    pub smallest: f64,
    /// The largest.
    pub largest: f64,
}

impl TrainedSamples {
    /// The type that most images have, and the range of their samples.
    pub(super) fn most_frequent(seen: impl IntoIterator<Item = (SampleType, (f64, f64))>) -> Option<Self> {
        let mut types: BTreeMap<SampleType, (usize, (f64, f64))> = BTreeMap::new();
        for (sample_type, range) in seen {
            let (files, all) = types.entry(sample_type).or_insert((0, range));
            *files += 1;
            *all = (all.0.min(range.0), all.1.max(range.1));
        }
        let (&sample_type, &(_, (smallest, largest))) = types.iter().max_by_key(|(_, (files, _))| *files)?;
        Some(Self { sample_type, smallest, largest })
    }
}
