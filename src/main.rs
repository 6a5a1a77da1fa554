//! The `segtool` program: parse, run, exit code.

mod cli;
mod commands;
mod program;

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use segtool::base::words::bytes_in_words;
use segtool::nn::device::{DeviceChoice, peak_memory};
use segtool::train::is_out_of_memory;

use crate::cli::Command;
use crate::program::exit::Exit;
use crate::program::{allocator, ui};

fn main() -> std::process::ExitCode {
    allocator::keep_freed();
    let note = allocator::limit_threads(cli::most_threads());
    let cli = cli::parse(std::env::args_os());
    let began = Instant::now();
    if let Some(note) = note {
        ui::say(&format!("note: {note}"));
    }
    if let Some(policy) = cli.orientation {
        segtool::image::set_orientation_policy(policy);
    }
    let exit = in_words(|| run(cli.command)).unwrap_or_else(|error| {
        ui::error(&error);
        Exit::of(&error)
    });
    if cli.verbosity.verbose {
        say_cost(began.elapsed());
    }
    std::process::ExitCode::from(printed(exit) as u8)
}

/// What `--verbose` adds: what a report of a fault or of a slow command should say.
fn say_cost(time: Duration) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = peak_memory(DeviceChoice::Flex)
        .map_or_else(String::new, |bytes| format!(", peak memory {}", bytes_in_words(bytes)));
    let version = env!("CARGO_PKG_VERSION");
    ui::say(&format!(
        "segtool {version}, {} backends: {:.1} s on {cores} cores{memory}",
        backends(),
        time.as_secs_f64()
    ));
}

fn backends() -> String {
    let optional = [
        ("libtorch", cfg!(feature = "libtorch")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("metal", cfg!(feature = "metal")),
    ];
    let built_in = optional.into_iter().filter(|(_, is)| *is).map(|(name, _)| name);
    std::iter::once("flex").chain(built_in).collect::<Vec<_>>().join(" and ")
}

/// What was asked for is not done if its result is lost.
fn printed(exit: Exit) -> Exit {
    let Some(cause) = ui::unprinted() else { return exit };
    ui::warn(&format!("error: cannot write the result to standard output: {cause}"));
    if exit == Exit::Done || exit == Exit::SomeSkipped { Exit::Failed } else { exit }
}

fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Demo(arguments) => commands::demo::run(arguments),
        Command::Dataset(arguments) => commands::dataset::run(&arguments),
        Command::Check(arguments) => commands::check::run(&arguments),
        Command::Train(arguments) => commands::train::run(*arguments),
        Command::Predict(arguments) => commands::predict::run(*arguments),
        #[cfg(feature = "serve")]
        Command::Serve(arguments) => commands::serve::run(&arguments),
        Command::Metrics(arguments) => commands::metrics::run(&arguments),
        Command::Rgb2Gray(arguments) => commands::rgb2gray::run(arguments),
        Command::Concat(arguments) => commands::concat::run(&arguments),
        Command::Convert(arguments) => commands::convert::run(&arguments),
        Command::Report(arguments) => commands::report::run(&arguments),
        Command::Import(arguments) => commands::import::run(arguments),
        Command::Export(arguments) => commands::export::run(arguments),
        Command::Info(arguments) => commands::info::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(arguments),
    }
}

/// Runs a command. That a device has no memory left, of which burn panics, becomes an error without a trace; panics of image
/// decoders become errors of their files before they get here.
fn in_words(command: impl FnOnce() -> anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !is_out_of_memory(info.payload()) && !segtool::image::is_decoding() {
            usual(info);
        }
    }));
    panic::catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|payload| {
        if is_out_of_memory(payload.as_ref()) {
            return Err(segtool::Error::OutOfMemory.into());
        }
        panic::resume_unwind(payload)
    })
}
