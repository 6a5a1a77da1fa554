//! Matrix products on parts of tensors, by the kernels that burn-flex itself uses.

#![allow(unsafe_code)] // the kernels take pointers

use super::buffer::Target;

/// A matrix inside a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    /// Distance between rows and between columns.
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// Rows `row_stride` apart, columns next to each other.
    pub(super) fn new(data: &'a [f32], row_stride: usize) -> Self {
        Self { data, strides: [row_stride, 1] }
    }

    pub(super) fn transposed(self) -> Self {
        let [rows, columns] = self.strides;
        Self { strides: [columns, rows], ..self }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        (rows - 1) * self.strides[0] + (columns - 1) * self.strides[1] < self.data.len()
    }
}

impl Target {
    /// Writes `left` (`rows` x `inner`) times `right` (`inner` x `columns`) into the rows that begin at `start` and are
    /// `row_stride` apart; or adds it, if `add`. On one thread: the callers split the work.
    ///
    /// # Safety
    ///
    /// The buffer must be alive, and until this returns, nothing else may read or write those rows.
    pub(super) unsafe fn product(
        self,
        start: usize,
        row_stride: usize,
        [rows, inner, columns]: [usize; 3],
        left: Matrix<'_>,
        right: Matrix<'_>,
        add: bool,
    ) {
        assert!(rows * inner * columns > 0 && left.holds(rows, inner) && right.holds(inner, columns));
        let first = self.rows(start, row_stride, rows, columns);
        // SAFETY: all elements that the kernel reads and writes lie inside their buffers, as was just checked.
        unsafe {
            gemm::gemm(
                rows,
                columns,
                inner,
                first,
                1,
                row_stride as isize,
                add,
                left.data.as_ptr(),
                left.strides[1] as isize,
                left.strides[0] as isize,
                right.data.as_ptr(),
                right.strides[1] as isize,
                right.strides[0] as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}
