//! Memory that does not suffice, in words.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::base::{Error, Result};

/// What is said when an allocation fails: the first three by libtorch, on a GPU and on the CPU, the next four by cuDNN and
/// cuBLAS, which then find no memory to work in, the last two by burn's wgpu backend.
const SIGNS: [&str; 9] = [
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "STATUS_ALLOC_FAILED",
    "unable to find an engine to execute",
    "Unable to find a valid cuDNN algorithm",
    "STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "out of device memory",
    "OutOfMemory {",
];

/// Whether what ended a computation was that there was no memory for it.
pub fn is_out_of_memory(payload: &(dyn Any + Send)) -> bool {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.is_some_and(|text| SIGNS.iter().any(|sign| text.contains(sign)))
}

/// Computes; that there was no memory becomes an error. burn has no other way to say so than to panic.
pub(super) fn caught<T>(compute: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(compute)).unwrap_or_else(|payload| {
        if is_out_of_memory(payload.as_ref()) { Err(Error::OutOfMemory) } else { resume_unwind(payload) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_concerns_memory_becomes_an_error() {
        let message = "Torch(\"CUDA out of memory. Tried to allocate 2.00 GiB\")";
        assert!(matches!(caught::<()>(|| std::panic::panic_any(message.to_owned())), Err(Error::OutOfMemory)));
        assert!(catch_unwind(|| caught::<()>(|| std::panic::panic_any("another"))).is_err());
    }
}
