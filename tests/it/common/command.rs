//! Command lines of the program, put together argument by argument.

use std::ffi::{OsStr, OsString};
use std::process::{Command, Output};

/// A command line of the program.
#[must_use = "nothing runs before `run`, `says` or `fails_with`"]
#[derive(Debug, Clone)]
pub(crate) struct Segtool(Vec<OsString>);

/// The program with the name of a command, still without arguments.
pub(crate) fn segtool(command: &str) -> Segtool {
    Segtool(vec![command.into()])
}

impl Segtool {
    /// An option with its value.
    pub(crate) fn arg(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.flag(name).file(value)
    }

    /// An option without a value.
    pub(crate) fn flag(self, name: &str) -> Self {
        self.file(name)
    }

    /// What stands without an option's name, such as an input.
    pub(crate) fn file(mut self, path: impl AsRef<OsStr>) -> Self {
        self.0.push(path.as_ref().to_owned());
        self
    }

    /// Arguments as they are.
    pub(crate) fn args(self, arguments: &[&str]) -> Self {
        arguments.iter().fold(self, Self::file)
    }

    /// The process to be, for what the methods below do not do.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segtool"));
        command.args(&self.0);
        command
    }

    /// Runs it, whatever becomes of it.
    pub(crate) fn output(&self) -> Output {
        self.command().output().unwrap()
    }

    /// Standard output of a run that must succeed.
    pub(crate) fn run(&self) -> String {
        self.ended(0).0
    }

    /// Standard error of a run that must succeed.
    pub(crate) fn says(&self) -> String {
        self.ended(0).1
    }

    /// Standard error of a run that must end with this exit code.
    pub(crate) fn fails_with(&self, code: i32) -> String {
        self.ended(code).1
    }

    /// Standard output and error, after checking how it ended.
    fn ended(&self, code: i32) -> (String, String) {
        let output = self.output();
        let [said, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert_eq!(output.status.code(), Some(code), "{:?}\n{errors}", self.0);
        (said, errors)
    }
}
