//! The `segtool` program: parse, run, exit code.

mod cli;
mod commands;
mod memory;
mod ui;

use clap::Parser;

use crate::cli::{Cli, Command};

/// How the program ends. clap, too, ends with 2 on a wrong command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Done = 0,
    Failed = 1,
    WrongUsage = 2,
    SomeSkipped = 3,
}

fn main() -> std::process::ExitCode {
    memory::keep_freed();
    let cli = Cli::parse_from(cli::modernise(std::env::args_os()));
    let result = match cli.command {
        Command::Demo(arguments) => commands::demo::run(arguments),
        Command::Train(arguments) => commands::train::run(*arguments),
        Command::Predict(arguments) => commands::predict::run(arguments),
        Command::Metrics(arguments) => commands::metrics::run(&arguments),
        Command::Rgb2Gray(arguments) => commands::rgb2gray::run(arguments),
        Command::Concat(arguments) => commands::concat::run(&arguments),
        Command::Import(arguments) => commands::import::run(arguments),
        Command::Export(arguments) => commands::export::run(arguments),
        Command::Info(arguments) => commands::info::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(arguments),
    };
    let exit = result.unwrap_or_else(|error| {
        ui::error(&error);
        match error.downcast_ref() {
            Some(segtool::error::Error::Unknown { .. }) => Exit::WrongUsage,
            _ => Exit::Failed,
        }
    });
    std::process::ExitCode::from(exit as u8)
}
