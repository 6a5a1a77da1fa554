//! Which options a command line gives, by the types that define them.

use clap::{Args, Command, Id};

/// The options that were given, rather than left at their defaults.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given(pub(super) Vec<Id>);

impl Given {
    /// The options of a group that were given, as flags.
    pub(crate) fn of<T: Args>(&self) -> Vec<String> {
        let group = T::augment_args(Command::new("group"));
        let flags = group.get_arguments().filter(|argument| self.0.contains(argument.get_id()));
        flags.map(|argument| format!("--{}", argument.get_long().unwrap_or(argument.get_id().as_str()))).collect()
    }

    /// Counts an option as given under the name of another.
    pub(crate) fn rename(&mut self, from: &str, to: &'static str) {
        self.0.iter_mut().filter(|id| id.as_str() == from).for_each(|id| *id = to.into());
    }
}
