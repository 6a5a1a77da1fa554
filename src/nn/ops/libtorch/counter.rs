//! How many operators of libtorch a piece of work calls.

#![allow(unsafe_code)] // the boundary to C++

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::nn::ffi::take_text;

unsafe extern "C" {
    fn segtool_start_counting() -> u64;
    fn segtool_stop_counting(handle: u64, nested: *mut i64) -> *mut c_char;
}

/// Operator calls on one thread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::nn::ops) struct OperatorCalls {
    /// Calls by operator, of those that no other operator called.
    pub(in crate::nn::ops) direct: BTreeMap<String, u64>,
    /// Calls that operators made of one another.
    pub(in crate::nn::ops) nested: u64,
}

/// Runs `work` and counts the operators that it calls on this thread.
pub(in crate::nn::ops) fn count_calls<T>(work: impl FnOnce() -> T) -> (T, OperatorCalls) {
    // SAFETY: no pointers; the callback stays until counting is stopped below, also if `work` panics.
    let handle = unsafe { segtool_start_counting() };
    let result = catch_unwind(AssertUnwindSafe(work));
    let mut nested = 0;
    // SAFETY: the handle is of a counting that goes on, on this thread; a string is handed over.
    let lines = unsafe { take_text(segtool_stop_counting(handle, &mut nested)) };
    let count = |line: &str| {
        let (name, calls) = line.rsplit_once(' ')?;
        Some((name.to_owned(), calls.parse().ok()?))
    };
    let calls = OperatorCalls { direct: lines.lines().filter_map(count).collect(), nested: nested.unsigned_abs() };
    match result {
        Ok(result) => (result, calls),
        Err(panic) => resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn calls_are_counted_by_operator_and_those_within_operators_apart() {
        let x = Tensor::ones([2, 3, 8, 8], (Kind::Float, Device::Cpu));
        let weight = Tensor::ones([4, 3, 3, 3], (Kind::Float, Device::Cpu));
        let (sum, calls) = count_calls(|| {
            let y = x.conv2d::<Tensor>(&weight, None, [1, 1], [0, 0], [1, 1], 1);
            (&y + &y).sum(Kind::Float)
        });
        assert_eq!(sum.double_value(&[]), 2.0 * 27.0 * 4.0 * 2.0 * 36.0);
        let expected = [("aten::add", 1), ("aten::conv2d", 1), ("aten::sum", 1)].map(|(name, n)| (name.to_owned(), n));
        assert_eq!(calls.direct, expected.into());
        assert!(calls.nested > 0, "a convolution calls others");
        let ((), calls) = count_calls(|| ());
        assert_eq!(calls, OperatorCalls::default());
        let failed = std::panic::catch_unwind(|| count_calls(|| panic!("in the middle")));
        assert!(failed.is_err());
        assert_eq!(count_calls(|| &x + 1.0).1.direct.len(), 1);
    }
}
