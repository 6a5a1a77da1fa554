//! What functions of the C++ files hand out.

#![allow(unsafe_code)] // the boundary to C++

use std::ffi::{CStr, c_char};

/// Turns the message of a failed call into an error.
pub(super) fn outcome(message: *mut c_char) -> Result<(), String> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null message is a NUL-terminated string from `strdup` that nothing else owns.
    Err(unsafe { take_text(message) })
}

/// Takes over a text that C++ handed out.
///
/// # Safety
///
/// It is a NUL-terminated string from `strdup` that nothing else holds.
pub(super) unsafe fn take_text(text: *mut c_char) -> String {
    // SAFETY: the caller's promise.
    unsafe {
        let owned = CStr::from_ptr(text).to_string_lossy().into_owned();
        libc::free(text.cast());
        owned
    }
}
