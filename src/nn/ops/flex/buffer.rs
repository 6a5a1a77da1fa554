//! New buffers for results, without a sweep of one thread over them first.

#![allow(unsafe_code)] // memory that is not written yet

use std::mem::MaybeUninit;

use rayon::prelude::*;

/// Values that one task fills.
const STRETCH: usize = 1 << 16;

/// `count` zeros, written by all threads.
pub(super) fn zeros(count: usize) -> Vec<f32> {
    let mut buffer = Vec::with_capacity(count);
    let spare = &mut buffer.spare_capacity_mut()[..count];
    spare.par_chunks_mut(STRETCH).for_each(|stretch| stretch.fill(MaybeUninit::new(0.0)));
    // SAFETY: the first `count` elements were all written above.
    unsafe { buffer.set_len(count) };
    buffer
}

/// `count` values as `write` leaves them.
///
/// # Safety
///
/// `write` must write every element, and must not read one before.
pub(super) unsafe fn written(count: usize, write: impl FnOnce(Target)) -> Vec<f32> {
    let mut buffer = Vec::with_capacity(count);
    write(Target { data: buffer.as_mut_ptr(), length: count });
    // SAFETY: the capacity suffices, and the caller promises that all elements are written.
    unsafe { buffer.set_len(count) };
    buffer
}

/// Where results go: parts of one buffer that tasks write side by side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    data: *mut f32,
    length: usize,
}

// SAFETY: the ways to write are unsafe and ask for parts that do not overlap.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    pub(super) fn new(data: &mut [f32]) -> Self {
        Self { data: data.as_mut_ptr(), length: data.len() }
    }

    /// Where `rows` rows of `columns` elements begin that are `row_stride` apart, the first of them at `start`.
    ///
    /// # Panics
    ///
    /// If they do not lie inside the buffer.
    pub(super) fn rows(self, start: usize, row_stride: usize, rows: usize, columns: usize) -> *mut f32 {
        assert!(rows * columns > 0 && start + (rows - 1) * row_stride + columns <= self.length);
        // SAFETY: `start` is inside the buffer.
        unsafe { self.data.add(start) }
    }

    /// Writes `values` from `start` on.
    ///
    /// # Safety
    ///
    /// The buffer must be alive, and until this returns, nothing else may read or write those elements.
    pub(super) unsafe fn copy(self, start: usize, values: &[f32]) {
        let first = self.rows(start, values.len(), 1, values.len());
        // SAFETY: the elements lie inside the buffer, which `values` cannot overlap: they are this call's own.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), first, values.len()) };
    }

    /// The `columns` elements from `start` on.
    ///
    /// # Safety
    ///
    /// The buffer must be alive and those elements written, and as long as the slice is used, nothing else may read or
    /// write them.
    pub(super) unsafe fn slice<'a>(self, start: usize, columns: usize) -> &'a mut [f32] {
        let first = self.rows(start, columns, 1, columns);
        // SAFETY: the elements lie inside the buffer, and the caller promises the rest.
        unsafe { std::slice::from_raw_parts_mut(first, columns) }
    }
}
