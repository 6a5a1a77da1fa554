//! What is set for the whole process before it begins: what becomes of freed memory, and how many threads there may be.
//!
//! Activations are tens of megabytes each. glibc gives blocks of that size back to the system when they are freed and
//! asks for new, zeroed pages at the next allocation; in training, a third of the time went into that.

/// Tells glibc's allocator to keep what is freed for the next tensor. Other allocators stay as they are.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)] // a C function that only stores numbers
pub(crate) fn keep_freed() {
    // SAFETY: called first thing in `main`, before any other thread exists; the arguments are documented constants.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}

/// Nothing to do for other allocators.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_freed() {}

/// The variable by which libraries choose their number of threads.
const THREADS: &str = "RAYON_NUM_THREADS";

/// Takes back a number of threads from the environment that no machine could start. Returns the note on it.
#[allow(unsafe_code)] // the environment has no lock of its own
pub(crate) fn limit_threads(most: usize) -> Option<String> {
    let wanted = std::env::var(THREADS).ok()?;
    let number: usize = wanted.trim().parse().ok()?;
    if number <= most {
        return None;
    }
    // SAFETY: called first thing in `main`, before any other thread exists.
    unsafe { std::env::set_var(THREADS, most.to_string()) };
    Some(format!("{THREADS} is {wanted}; {most} threads are started, the most that make sense on this machine"))
}
