//! How the program ends.

use segtool::base::Error;

/// Exit codes, as the help lists them. What a signal has stopped ends as shells count it, 128 and the signal's number,
/// whether it was saved before or a second signal ended it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All was done.
    Done = 0,
    /// Something went wrong that another command line need not mend.
    Failed = 1,
    /// Options with values that cannot work, that contradict each other or that would do nothing, whoever finds it: clap,
    /// which has this code of its own, a command or the library.
    WrongUsage = 2,
    /// Done, but some inputs were skipped.
    SomeSkipped = 3,
    /// Stopped by SIGHUP.
    HungUp = 129,
    /// Stopped by SIGINT.
    Interrupted = 130,
    /// Stopped by SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// How the program ends with this error.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        let by_library = error.downcast_ref::<Error>().is_some_and(Error::is_wrong_usage);
        if by_library || error.is::<WrongUsage>() { Self::WrongUsage } else { Self::Failed }
    }
}

/// What a command finds wrong with its options.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUsage(pub(crate) String);

/// As `anyhow::bail!`, for what is wrong with the options.
macro_rules! wrong_usage {
    ($($text:tt)*) => {
        return Err($crate::program::exit::WrongUsage(format!($($text)*)).into())
    };
}
pub(crate) use wrong_usage;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_usage_is_told_from_failures_under_any_context() {
        let invalid = || Error::invalid("tile", 0, "at least 1");
        let exits =
            [invalid(), Error::content("a.toml", invalid())].map(|e| Exit::of(&anyhow::Error::from(e).context("a")));
        assert_eq!(exits, [Exit::WrongUsage, Exit::Failed]);
        assert_eq!(Exit::of(&anyhow::Error::from(WrongUsage("--a".into())).context("b")), Exit::WrongUsage);
    }
}
