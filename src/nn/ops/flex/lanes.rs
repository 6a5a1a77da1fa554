//! SIMD registers of `f32` with operators, so that formulas can be written as for single numbers.

use std::ops::{Add, Mul, Sub};

use pulp::Simd;

/// As many numbers as a register of the processor holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lanes<S: Simd> {
    simd: S,
    values: S::f32s,
}

// Everything is forced inline: a call would pass registers through memory, compiled for the baseline instruction set.
impl<S: Simd> Lanes<S> {
    pub(super) const COUNT: usize = S::F32_LANES;

    #[inline(always)]
    pub(super) fn zero(simd: S) -> Self {
        Self { simd, values: simd.splat_f32s(0.0) }
    }

    /// Up to [`COUNT`](Self::COUNT) numbers, followed by zeros.
    #[inline(always)]
    pub(super) fn load(simd: S, numbers: &[f32]) -> Self {
        // pulp's partial loads and stores take much longer than whole ones.
        let values = match S::as_simd_f32s(numbers).0.first() {
            Some(values) => *values,
            None => simd.partial_load_f32s(numbers),
        };
        Self { simd, values }
    }

    /// Writes the first numbers, up to [`COUNT`](Self::COUNT).
    #[inline(always)]
    pub(super) fn store(self, numbers: &mut [f32]) {
        if let Some(values) = S::as_mut_simd_f32s(numbers).0.first_mut() {
            *values = self.values;
        } else {
            self.simd.partial_store_f32s(numbers, self.values);
        }
    }
}

impl<S: Simd> Add for Lanes<S> {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self { values: self.simd.add_f32s(self.values, other.values), ..self }
    }
}

impl<S: Simd> Sub for Lanes<S> {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self { values: self.simd.sub_f32s(self.values, other.values), ..self }
    }
}

impl<S: Simd> Mul<f32> for Lanes<S> {
    type Output = Self;

    #[inline(always)]
    fn mul(self, factor: f32) -> Self {
        Self { values: self.simd.mul_f32s(self.values, self.simd.splat_f32s(factor)), ..self }
    }
}
