//! Decoders may panic on damaged files; that is an error of the file, and the batch goes on.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use crate::base::{Error, Result};

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread is decoding a file, so that a panic becomes an error. For panic hooks, which need not report it.
pub fn is_decoding() -> bool {
    DEPTH.get() > 0
}

/// Runs a decoder. A panic inside becomes an error of the file; a failed assertion about memory goes on.
pub(super) fn contained<T>(path: &Path, decode: impl FnOnce() -> Result<T>) -> Result<T> {
    DEPTH.set(DEPTH.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(decode));
    DEPTH.set(DEPTH.get() - 1);
    match result {
        Ok(result) => result,
        Err(payload) if payload.is::<String>() || payload.is::<&str>() => {
            Err(Error::content(path, format!("damaged: its decoder stopped at \"{}\"", text(payload.as_ref()))))
        }
        Err(payload) => resume_unwind(payload),
    }
}

fn text(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_the_file() {
        let result: Result<()> = contained(Path::new("a.bmp"), || panic!("index {} is too large", 3));
        assert_eq!(result.unwrap_err().to_string(), "a.bmp: damaged: its decoder stopped at \"index 3 is too large\"");
        assert!(!is_decoding());
        assert!(contained(Path::new("a.bmp"), || Ok(is_decoding())).unwrap());
    }
}
