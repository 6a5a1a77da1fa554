//! The numbers that describe the samples, wherever they lie.

use std::ops::Range;

use crate::base::{Error, Result};

/// A view of `samples` x `features` float32 numbers.
///
/// A forest fits and predicts from either layout. Planes are the faster one: they are copied to the trees in strips,
/// whereas rows are turned first.
#[derive(Debug, Clone, Copy)]
pub struct Features<'a> {
    values: &'a [f32],
    samples: usize,
    features: usize,
    layout: Layout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `[samples, features]`.
    Rows,
    /// `[features, samples]`, planes this far apart.
    Planes(usize),
}

/// This many features of rows are turned together: a cache line holds as many.
pub(super) const LINE: usize = 16;

impl<'a> Features<'a> {
    /// `values` is `[samples, features]`: all features of the first sample, then of the next.
    pub fn rows(values: &'a [f32], features: usize) -> Result<Self> {
        if features == 0 || !values.len().is_multiple_of(features) {
            let value = format!("a list of {} values", values.len());
            return Err(Error::invalid("features", value, format!("rows of {features} features")));
        }
        Ok(Self { values, samples: values.len() / features, features, layout: Layout::Rows })
    }

    /// `values` is `[features, stride]`, of which the first `samples` of each plane are looked at.
    pub fn planes(values: &'a [f32], features: usize, samples: usize, stride: usize) -> Result<Self> {
        let needed = features.checked_sub(1).and_then(|last| last.checked_mul(stride)?.checked_add(samples));
        if samples > stride || needed.is_none_or(|needed| needed > values.len()) {
            let value = format!("a list of {} values", values.len());
            let expected = format!("{features} planes of {samples} samples, {stride} apart");
            return Err(Error::invalid("features", value, expected));
        }
        Ok(Self { values, samples, features, layout: Layout::Planes(stride) })
    }

    /// Number of samples (pixels).
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Number of features a sample.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Feature `feature` of sample `sample`.
    pub(super) fn at(&self, sample: usize, feature: usize) -> f32 {
        match self.layout {
            Layout::Rows => self.values[sample * self.features + feature],
            Layout::Planes(stride) => self.values[feature * stride + sample],
        }
    }

    /// Copies samples `first..first + count`, `count <= width`, of some features to `block`, `[wanted, width]`.
    pub(super) fn copy(&self, first: usize, count: usize, wanted: Range<usize>, width: usize, block: &mut [f32]) {
        match self.layout {
            Layout::Planes(stride) => {
                for (feature, strip) in wanted.zip(block.chunks_exact_mut(width)) {
                    let start = feature * stride + first;
                    strip[..count].copy_from_slice(&self.values[start..start + count]);
                }
            }
            Layout::Rows => self.turn(first, count, wanted, width, block),
        }
    }

    /// A cache line's worth of features at a time, so that every line of the source is read once.
    fn turn(&self, first: usize, count: usize, wanted: Range<usize>, width: usize, block: &mut [f32]) {
        let rows = &self.values[first * self.features..(first + count) * self.features];
        let starts = wanted.clone().step_by(LINE);
        for (start, part) in starts.zip(block.chunks_mut(LINE * width)) {
            let end = wanted.end.min(start + LINE);
            for (sample, row) in rows.chunks_exact(self.features).enumerate() {
                for (column, value) in row[start..end].iter().enumerate() {
                    part[column * width + sample] = *value;
                }
            }
        }
    }
}

/// Whether none of the values is infinite or not a number. No early end: whole vectors are compared.
pub(super) fn all_finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    values.iter().fold(0, |any, value| any | u32::from(value.to_bits() & EXPONENT == EXPONENT)) == 0
}
